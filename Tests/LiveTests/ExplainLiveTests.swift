import Explain
import Foundation
import Lab
import Testing

extension Live {
  /// `sluice explain` asks a running gateway about the frames that come next.
  @Suite struct ExplainLiveTests {
    @Test("live: only frames that match, no more than wanted, at their place in the configuration")
    func live() throws {
      try Rig.with("explain") { rig in
        let gateway = try #require(rig.gateway)
        let control = LabGateway.controlPath(rig.network)
        let asking = try rig.network.start(
          in: .gateway,
          [
            Rig.executable, "explain", "--match", "udp dst port 7008", "--count", "2", "--seconds", "30", "--json",
            "--control", control,
          ])
        try #require(try Interruption.wait(seconds: 10) { asking.errors.contains("watching") })
        #expect(try gateway.ask(["explain", "--count", "1"]).errors.contains("to somebody else"))
        #expect(try rig.fetch(.client, "\(LabNetwork.gatewayOutside)/").contains(LabNetwork.client))
        _ = try rig.shell(
          .client, "for n in 1 2 3; do echo $n | socat -t 0.1 - UDP:\(LabNetwork.gatewayOutside):7008; done")
        let ended = try asking.wait(seconds: 20)
        #expect(ended.succeeded, "\(ended.complaint)")
        let reports = try ended.output.split(separator: "\n").map {
          try JSONDecoder().decode(ExplanationReport.self, from: Data($0.utf8))
        }
        #expect(reports.map(\.cause) == ["no-forward", "no-forward"])
        #expect(reports.allSatisfy { $0.interface == "wan" && $0.conclusion.contains("udp 7008") })
        #expect(reports.first?.remedies.first?.place?.hasPrefix("\(rig.network.folder)/sluice.toml:") == true)
        // Afterwards everything is as before.
        #expect(try rig.fetch(.client, "\(LabNetwork.gatewayOutside)/").contains(LabNetwork.client))
        #expect(try gateway.ask(["explain", "--match", "no filter"]).status == 2)
      }
    }

    @Test("live: where nothing comes, the time is the bound")
    func silence() throws {
      try Rig.with("silence") { rig in
        let gateway = try #require(rig.gateway)
        let ended = try gateway.ask(["explain", "--match", "udp dst port 1", "--seconds", "1"])
        #expect(ended.status == 1 && ended.errors.contains("none of them came"))
      }
    }
  }
}
