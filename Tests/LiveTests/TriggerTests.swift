import Foundation
import Lab
import Testing

extension Live {
  /// Port triggering between real hosts.
  @Suite struct TriggerTests {
    private static let outside = LabNetwork.gatewayOutside

    private static func configuration(for duration: String) -> String {
      LabNetwork.configuration + """

        [[trigger]]
        name     = "game"
        from     = "lan"
        protocol = "tcp"
        when     = "8000"
        open     = "9100-9101"
        for      = "\(duration)"

        """
    }

    private struct Listed: Decodable {
      var kind: String
      var name: String
      var owner: String?
      var remaining: Double?

      enum CodingKeys: String, CodingKey {
        case kind, name, owner
        case remaining = "remaining_seconds"
      }
    }

    /// The trigger as `sluice forward list` tells it.
    private func trigger(_ gateway: LabGateway) throws -> Listed {
      let outcome = try gateway.ask(["forward", "list", "--json"])
      try #require(outcome.succeeded, "\(outcome.complaint)")
      let list = try JSONDecoder().decode([Listed].self, from: Data(outcome.output.utf8))
      #expect(list.first?.kind == "forward" && list.first?.name == "site")
      return try #require(list.first { $0.kind == "trigger" && $0.name == "game" })
    }

    /// The client gets nothing from the port, and the reason is counted.
    private func expectClosed(_ rig: Rig, _ gateway: LabGateway) throws {
      let probe = try rig.network.run(
        in: .client, ["curl", "-sS", "--max-time", "0.5", "http://\(Self.outside):9100/"])
      #expect(probe.status == 28, "a closed trigger answers: \(probe.complaint)")
      #expect(try gateway.ask(["drops"]).output.contains("trigger-closed"))
    }

    @Test("what the inside host sends lets the client in to it, over a restart too, until the trigger's time is over")
    func opened() throws {
      try Rig.with("trigger", forwarder: .sluice(Self.configuration(for: "10m"))) { rig in
        let gateway = try #require(rig.gateway)
        try expectClosed(rig, gateway)
        try #expect(trigger(gateway).owner == nil)
        // The inside host sends, and the client reaches it back.
        _ = try rig.fetch(.server, "\(LabNetwork.client):8000/")
        let answer = "server 192.168.1.10:9100 sees client \(LabNetwork.client)"
        try #expect(rig.fetch(.client, "\(Self.outside):9100/").hasPrefix(answer))
        let open = try trigger(gateway)
        #expect(open.owner == "192.168.1.10" && (1...600).contains(open.remaining ?? 0))
        #expect(try gateway.ask(["forward", "list"]).output.contains("192.168.1.10"))
        #expect(try gateway.ask(["status"]).output.contains("trigger game: open for 192.168.1.10"))
        gateway.process.kill()
        try gateway.start()
        try #expect(rig.fetch(.client, "\(Self.outside):9100/").hasPrefix(answer))
        #expect(try trigger(gateway).remaining ?? 0 <= open.remaining ?? 0)
        try rig.configure(Self.configuration(for: "1s"))
        try #require(gateway.ask(["reload"]).succeeded)
        #expect(try Interruption.wait(seconds: 20) { try trigger(gateway).owner == nil })
        try expectClosed(rig, gateway)
        try #expect(rig.checksumErrors() == 0)
      }
    }
  }
}
