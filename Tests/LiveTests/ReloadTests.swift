import Foundation
import Lab
import Testing

extension Live {
  /// P8: a running gateway takes another configuration over, under load and without.
  @Suite struct ReloadTests {
    private static let outside = LabNetwork.gatewayOutside

    /// The lab's configuration with one forward more, from port 9200.
    private static func configuration(movingTo target: String?, onChange: String = "keep") -> String {
      var text = "[engine]\non-change = \"\(onChange)\"\n\n" + LabNetwork.configuration
      if let target {
        text += """

          [[forward]]
          name     = "moving"
          protocol = "tcp"
          on       = "wan"
          ports    = "9200"
          to       = "\(target)"

          """
      }
      return text
    }

    /// What `sluice WORDS` says of the running gateway.
    private func ask(_ rig: Rig, _ words: String...) throws -> Outcome {
      try #require(rig.gateway).ask(words)
    }

    private func reload(_ rig: Rig, _ text: String) throws -> Outcome {
      try rig.configure(text)
      return try ask(rig, "reload")
    }

    private func transfer(_ rig: Rig, port: Int, bytes: Int, rate: String) throws -> Child {
      let fetch = "curl -sS --fail --max-time 120 --limit-rate \(rate) http://\(Self.outside):\(port)/bytes/\(bytes)"
      return try rig.network.start(in: .client, ["bash", "-c", "set -o pipefail; \(fetch) | sha256sum"])
    }

    @Test(
      "P8 reloads that add, move and remove a forward while transfers run: who connects meets the target of the moment")
    func underLoad() throws {
      let rounds = isLong ? 100 : 24
      let (connections, count, rate) = isLong ? (200, 12_000_000, "400k") : (6, 60_000_000, "6M")
      try Rig.with("reload-load", forwarder: .sluice(Self.configuration(movingTo: nil))) { rig in
        let truth = try rig.truth(bytes: count)
        let transfers = try (0..<connections).map { number in
          try transfer(rig, port: [80, 8820, 8840][number % 3], bytes: count, rate: rate)
        }
        let start = ContinuousClock.now
        for round in 0..<rounds {
          let target = ["192.168.1.10:9100", "192.168.1.20:9101", nil][round % 3]
          let outcome = try reload(rig, Self.configuration(movingTo: target, onChange: ["keep", "cut"][round / 3 % 2]))
          try #require(outcome.succeeded, "\(outcome.complaint)")
          if let target {
            try #expect(rig.fetch(.client, "\(Self.outside):9200/").hasPrefix("server \(target) sees client"))
          } else {
            let probe = try rig.network.run(
              in: .client, ["curl", "-sS", "--max-time", isLong ? "0.1" : "0.5", "http://\(Self.outside):9200/"])
            #expect(probe.status == 28, "a removed forward answers: \(probe.complaint)")
          }
        }
        if isLong { print("P8: \(rounds) reloads in \(ContinuousClock.now - start)") }
        for transfer in transfers {
          let outcome = try transfer.wait(seconds: 120)
          #expect(outcome.succeeded && outcome.output.hasPrefix(truth), "\(outcome.complaint)")
        }
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test(
      "P8 a transfer ends at once when its forward is removed, or moved with on-change = \"cut\"",
      arguments: [true, false])
    func cut(isRemoved: Bool) throws {
      let first = Self.configuration(movingTo: "192.168.1.10:9100", onChange: "cut")
      try Rig.with("reload-cut", forwarder: .sluice(first)) { rig in
        let other = try transfer(rig, port: 80, bytes: 20_000_000, rate: "5M")
        let transfer = try transfer(rig, port: 9200, bytes: 500_000_000, rate: "5M")
        let hasBegun = try Interruption.wait(seconds: 10) { try ask(rig, "flow", "list").output.contains("moving") }
        try #require(hasBegun)
        let next = Self.configuration(movingTo: isRemoved ? nil : "192.168.1.20:9100", onChange: "cut")
        try rig.configure(next)
        let forecast = try ask(rig, "reload", "--plan").output
        #expect(forecast.contains("cut") && forecast.contains("moving") && forecast.contains("site"), "\(forecast)")
        try #require(ask(rig, "reload").succeeded)
        let outcome = try transfer.wait(seconds: 20)
        // 56: the connection was reset.
        #expect(outcome.status == 56 && outcome.errors.contains("reset"), "\(outcome.complaint)")
        try #expect(other.wait(seconds: 60).output.hasPrefix(rig.truth(bytes: 20_000_000)))
        #expect(try !ask(rig, "flow", "list").output.contains("moving"))
      }
    }

    @Test("a wrong file is refused whole, with every mistake at its place, and one that needs a restart too")
    func refused() throws {
      try Rig.with("reload-wrong", forwarder: .sluice(Self.configuration(movingTo: nil))) { rig in
        let good = Self.configuration(movingTo: nil)
        let wrong = good.replacingOccurrences(of: "ports    = \"80\"", with: "ports    = \"80-70\"")
          .replacingOccurrences(of: "to       = \"192.168.1.20\"", with: "to       = \"192.168.1.300\"")
        let outcome = try reload(rig, wrong)
        #expect(outcome.status == 2)
        let lines = outcome.errors.split(separator: "\n")
        #expect(lines.count == 2 && lines.allSatisfy { $0.contains(#/^sluice: .*sluice\.toml:\d+:\d+: /#) }, "\(lines)")
        try #expect(rig.fetch(.client, "\(Self.outside)/").contains("sees client"))
        for (change, word) in [
          ("[engine]\nworkers = 3\n", "workers"), ("[engine]\nsessions = 5000\n", "sessions"),
          ("[engine]\nmode = \"alongside\"\n", "mode"),
        ] {
          let pool = word == "mode" ? "ports = \"20000-29999\"\nfrom = \"lan\"" : "from = \"lan\""
          let outcome = try reload(
            rig,
            good.replacingOccurrences(of: "[engine]\n", with: change)
              .replacingOccurrences(of: "from = \"lan\"", with: pool))
          #expect(outcome.status == 2 && outcome.errors.contains("restart needed"), "\(word): \(outcome.complaint)")
          let place = try rig.shell(.gateway, "grep -n '^\(word)' '\(rig.network.folder)/sluice.toml' | cut -d : -f 1")
          #expect(outcome.errors.contains("sluice.toml:\(place):"), "\(outcome.errors)")
        }
        let renamed = try reload(
          rig,
          good.replacingOccurrences(of: "interface.lan", with: "interface.home")
            .replacingOccurrences(of: "from = \"lan\"", with: "from = \"home\""))
        #expect(renamed.status == 2 && renamed.errors.contains("no interface home"), "\(renamed.errors)")
        try #expect(rig.fetch(.client, "\(Self.outside)/").contains("sees client"))
        #expect(try reload(rig, good).output == "nothing has changed\n")
        // SIGHUP does the same, and says what it did in the log.
        let process = try #require(rig.gateway?.process)
        try rig.configure(wrong)
        kill(process.pid, SIGHUP)
        #expect(try Interruption.wait(seconds: 10) { process.errors.contains("the old one runs on") })
        try rig.configure(Self.configuration(movingTo: "192.168.1.10:9100"))
        kill(process.pid, SIGHUP)
        #expect(try Interruption.wait(seconds: 10) { process.errors.contains("in use now") })
        try #expect(rig.fetch(.client, "\(Self.outside):9200/").contains("192.168.1.10:9100"))
      }
    }

    @Test("forwards are listed, added, changed and removed by command; sessions shown and ended")
    func commands() throws {
      try Rig.with("reload-commands", forwarder: .sluice(Self.configuration(movingTo: nil))) { rig in
        func demand(_ words: String...) throws -> String {
          let outcome = try #require(rig.gateway).ask(words)
          try #require(outcome.succeeded, "\(words): \(outcome.complaint)")
          return outcome.output
        }
        #expect(try demand("forward", "list").contains("whole-host"))
        let keys = ["--protocol", "tcp", "--on", "wan", "--ports", "9200"]
        _ = try #require(rig.gateway).ask(["forward", "add", "extra", "--to", "192.168.1.10:9100"] + keys)
        try #expect(rig.fetch(.client, "\(Self.outside):9200/").contains("192.168.1.10:9100"))
        _ = try demand("forward", "set", "extra", "--to", "192.168.1.20:9101")
        try #expect(rig.fetch(.client, "\(Self.outside):9200/").contains("192.168.1.20:9101"))
        let wrong = try ask(rig, "forward", "set", "extra", "--ports", "80")
        #expect(wrong.status == 2 && wrong.errors.hasPrefix("sluice: forward extra: "), "\(wrong.errors)")
        #expect(try ask(rig, "forward", "remove", "nobody").status == 2)
        let transfer = try transfer(rig, port: 9200, bytes: 500_000_000, rate: "5M")
        var id: Int?
        let found = try Interruption.wait(seconds: 10) {
          let flows = try JSONSerialization.jsonObject(with: Data(demand("flow", "list", "--json").utf8))
          let mine = (flows as? [[String: Any]])?.first {
            $0["rule"] as? String == "extra" && $0["state"] as? String == "established"
          }
          id = mine?["id"] as? Int
          return id != nil
        }
        try #require(found)
        #expect(try demand("flow", "show", "\(id!)").contains("extra"))
        _ = try demand("flow", "kill", "\(id!)")
        #expect(try transfer.wait(seconds: 20).status == 56)
        #expect(try ask(rig, "flow", "show", "\(id!)").status == 1)
        _ = try demand("forward", "remove", "extra")
        #expect(try !demand("forward", "list", "--json").contains("extra"))
        // What was changed at run time is gone when the file is read again.
        _ = try demand("forward", "set", "site", "--disable-enabled")
        #expect(try demand("reload") == "the new configuration is in use\n")
        try #expect(rig.fetch(.client, "\(Self.outside)/").contains("sees client"))
      }
    }

    @Test("alongside, what is hidden from the host follows: a port changes hands and comes back")
    func alongside() throws {
      let base =
        "[engine]\nmode = \"alongside\"\n\n"
        + LabNetwork.configuration.replacingOccurrences(
          of: "from = \"lan\"", with: "ports = \"20000-29999\"\nfrom = \"lan\"")
      try Rig.with("reload-along", forwarder: .sluice(base)) { rig in
        let addresses =
          "ip address add \(Self.outside)/24 dev wan0 && ip address add \(LabNetwork.gatewayInside)/24 dev lan0"
        _ = try rig.shell(.gateway, addresses)
        let service = try rig.network.start(
          in: .gateway, ["socat", "TCP-LISTEN:9200,fork,reuseaddr", "SYSTEM:echo the host itself"])
        defer { service.kill() }
        try rig.waitForListener(.gateway, port: 9200)
        for _ in 0..<2 {
          #expect(try rig.shell(.client, "socat -u TCP:\(Self.outside):9200 -") == "the host itself")
          let keys = ["--protocol", "tcp", "--on", "wan", "--ports", "9200", "--to", "192.168.1.10:9100"]
          let added = try #require(rig.gateway).ask(["forward", "add", "taken"] + keys)
          #expect(added.succeeded, "\(added.complaint)")
          try #expect(rig.fetch(.client, "\(Self.outside):9200/").hasPrefix("server 192.168.1.10:9100"))
          #expect(try ask(rig, "forward", "remove", "taken").succeeded)
        }
      }
    }

    @Test("address = \"auto\" follows the device: a gained address serves, a lost one takes its sessions with it")
    func automatic() throws {
      let text = LabNetwork.configuration.replacingOccurrences(
        of: "address = [\"203.0.113.1/24\"]", with: "address = \"auto\"")
      try Rig.with("reload-auto", forwarder: .kernel) { rig in
        // The kernel's rig has the addresses; its NAT goes.
        _ = try rig.shell(
          .gateway, "nft flush ruleset && ip address del 203.0.113.5/32 dev wan0; ip address flush dev lan0")
        let path = try Rig.configure(rig.network, text)
        let gateway = try LabGateway(network: rig.network, executable: Rig.executable, configuration: path)
        defer { gateway.process.stop() }
        let transfer = try transfer(rig, port: 80, bytes: 500_000_000, rate: "5M")
        try #expect(rig.fetch(.client, "\(Self.outside)/").contains("sees client"))
        _ = try rig.shell(.gateway, "ip address add 203.0.113.2/24 dev wan0")
        let isServed = try Interruption.wait(seconds: 10) {
          try rig.network.run(in: .client, ["curl", "-sS", "--max-time", "1", "http://203.0.113.2/"]).succeeded
        }
        #expect(isServed, "\(gateway.process.errors)")
        #expect(transfer.isRunning)
        _ = try rig.shell(
          .gateway, "sysctl -qw net.ipv4.conf.all.promote_secondaries=1 && ip address del 203.0.113.1/24 dev wan0")
        #expect(try transfer.wait(seconds: 30).status != 0)
        try #expect(rig.fetch(.client, "203.0.113.2/").contains("sees client"))
        let flows = try gateway.ask(["flow", "list"]).output
        #expect(!flows.contains("203.0.113.1:80"), "\(flows)")
      }
    }
  }
}

/// Set for runs that may take their time.
let isLong = ProcessInfo.processInfo.environment["SLUICE_LONG"] != nil
