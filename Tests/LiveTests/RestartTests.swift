import Foundation
import Lab
import Testing

extension Live {
  /// A gateway that is killed and started again: nobody at either end notices more than a pause.
  @Suite struct RestartTests {
    @Test("kill -9 and restart, again and again, during transfers: every one ends with the right bytes, mappings stay")
    func killed() throws {
      let rounds = isLong ? 20 : 4
      let connections = isLong ? 50 : 8
      try Rig.with("restart") { rig in
        let gateway = try #require(rig.gateway)
        let count = isLong ? 40_000_000 : 20_000_000
        let truth = try rig.truth(bytes: count)
        let fetch = "curl -sS --fail --max-time 300 --limit-rate 1M"
        let transfers = try (0..<connections).map { number in
          // From outside by a forward, and from inside by the masquerade.
          let (place, address): (LabNetwork.Place, String) =
            number % 2 == 0 ? (.client, LabNetwork.gatewayOutside) : (.server, "\(LabNetwork.client):8000")
          return try rig.network.start(
            in: place, ["bash", "-c", "set -o pipefail; \(fetch) http://\(address)/bytes/\(count) | sha256sum"])
        }
        // Sent for as long as restarts go on, and three times more: nobody sends again what is lost in between.
        let stream =
          "timeout 300 bash -c 'exec 3<>/dev/udp/\(LabNetwork.gatewayOutside)/7007; "
          + "until [ -e \(rig.network.folder)/restarted ]; do echo datagram >&3; sleep 0.5; done; "
          + "for n in 1 2 3; do echo last >&3; sleep 0.2; done; timeout 3 cat <&3 | tail -n 1; true'"
        let datagrams = try rig.network.start(in: .client, ["bash", "-c", stream])
        let areUp = try Interruption.wait(seconds: 20) {
          try gateway.ask(["flow", "list", "--limit", "1000"]).output.split(separator: "\n")
            .count { $0.contains("established") } >= connections
        }
        try #require(areUp)
        var longest = Duration.zero
        for round in 0..<rounds {
          gateway.process.kill()
          let start = ContinuousClock.now
          try gateway.start()
          let process = gateway.process
          #expect(process.errors.contains("sessions and"), "round \(round): \(process.errors)")
          #expect(!process.errors.contains(" 0 sessions"), "round \(round): \(process.errors)")
          try #expect(rig.fetch(.client, "\(LabNetwork.gatewayOutside)/").contains("sees client"))
          longest = max(longest, ContinuousClock.now - start)
        }
        _ = try rig.network.write("", to: "restarted")
        if isLong { print("restart: \(rounds) times, at most \(longest) until a new connection's answer") }
        for transfer in transfers {
          let outcome = try transfer.wait(seconds: 300)
          #expect(outcome.succeeded && outcome.output.hasPrefix(truth), "\(outcome.complaint)")
        }
        let last = try datagrams.wait(seconds: 60)
        #expect(last.output.hasPrefix("last"), "\(last.complaint) \(last.output)")
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("SIGTERM leaves the sessions for the next start; a damaged, cut or foreign file is left aside, and said so")
    func files() throws {
      // What a host sends again after a kill must not pick a connection up: a session in the list would be an adopted one.
      let configuration = "[engine]\npick-up = false\n\n" + LabNetwork.configuration
      try Rig.with("restart-files", forwarder: .sluice(configuration)) { rig in
        let gateway = try #require(rig.gateway)
        let path = rig.network.statePath
        _ = try rig.fetch(.client, "\(LabNetwork.gatewayOutside)/")
        #expect(gateway.process.stop().succeeded)
        try gateway.start()
        #expect(gateway.process.errors.contains("sessions and"), "\(gateway.process.errors)")
        #expect(try gateway.ask(["flow", "list"]).output.contains("site"))
        let mode = try demand(["stat", "-c", "%a", path])
        #expect(mode.hasPrefix("600"))
        let damages = [
          ("printf x | dd of=\(path) bs=1 seek=30 conv=notrunc status=none", "damaged"),
          ("truncate -s 100000 \(path)", "damaged"), ("echo hello > \(path)", "damaged"),
          ("head -c 100000 /dev/urandom > \(path)", "no session table"), ("rm \(path)", ""),
        ]
        for (damage, word) in damages {
          gateway.process.kill()
          try demand(["bash", "-c", damage])
          try gateway.start()
          let said = gateway.process.errors
          #expect(
            word.isEmpty ? !said.contains("left aside") : said.contains("left aside") && said.contains(word), "\(said)")
          #expect(try gateway.ask(["flow", "list"]).output.split(separator: "\n").count == 1, "\(damage)")
          try #expect(rig.fetch(.client, "\(LabNetwork.gatewayOutside)/").contains("sees client"))
        }
      }
    }

    @Test("a second gateway on the same file, or on the same device, refuses and says why")
    func second() throws {
      try Rig.with("restart-second") { rig in
        let path = try rig.network.write(LabNetwork.configuration, to: "second.toml")
        func start(state: String) throws -> Outcome {
          let control = "\(rig.network.folder)/second.sock"
          return try rig.network.run(
            in: .gateway, [Rig.executable, "run", "-c", path, "--control", control, "--state", state], seconds: 20)
        }
        let sameFile = try start(state: rig.network.statePath)
        #expect(sameFile.status == 1 && sameFile.errors.contains("another sluice uses"), "\(sameFile.complaint)")
        let sameDevice = try start(state: "off")
        #expect(
          sameDevice.status == 1 && sameDevice.errors.contains("in use by another sluice"), "\(sameDevice.complaint)")
        try #expect(rig.fetch(.client, "\(LabNetwork.gatewayOutside)/").contains("sees client"))
      }
    }
  }
}
