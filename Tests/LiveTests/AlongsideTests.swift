import Foundation
import Lab
import Testing

extension Live {
  /// `alongside` mode: the host keeps its addresses and stack, sluice takes only what it forwards.
  @Suite struct AlongsideTests {
    private static let configuration =
      "[engine]\nmode = \"alongside\"\n\n"
      + LabNetwork.configuration.replacingOccurrences(
        of: "from = \"lan\"", with: "ports = \"20000-29999\"\nfrom = \"lan\"")

    /// The addresses of the configuration, as the host's own.
    private static let addresses =
      "ip address add \(LabNetwork.gatewayOutside)/24 dev wan0 && ip address add \(LabNetwork.gatewayInside)/24 dev lan0"

    @Test(
      "what is forwarded and masqueraded goes through sluice, all else is the host's, and nothing is answered twice")
    func shared() throws {
      try Rig.with("along", forwarder: .sluice(Self.configuration)) { rig in
        _ = try rig.shell(.gateway, Self.addresses)
        let service = try rig.network.start(
          in: .gateway, ["socat", "TCP-LISTEN:9999,fork,reuseaddr", "SYSTEM:echo the host itself"])
        try rig.waitForListener(.gateway, port: 9999)
        let outside = LabNetwork.gatewayOutside
        // The host's own service and its own traffic.
        #expect(try rig.shell(.client, "socat -u TCP:\(outside):9999 -") == "the host itself")
        #expect(try rig.shell(.server, "socat -u TCP:\(LabNetwork.gatewayInside):9999 -") == "the host itself")
        #expect(try rig.shell(.client, "ping -n -c 1 -W 2 \(outside)").contains(" 0% packet loss"))
        // A port of nobody is refused by the host's stack, at once.
        let refused = try rig.network.run(in: .client, ["curl", "-sS", "--max-time", "5", "http://\(outside):81/"])
        #expect(refused.status == 7, "\(refused.complaint)")
        // Sluice's.
        #expect(try rig.digest(.client, outside, bytes: 20_000_000) == rig.truth(bytes: 20_000_000))
        #expect(try rig.fetch(.server, "\(LabNetwork.client):8000/").contains(outside))
        #expect(try rig.shell(.server, "ping -n -c 1 -W 2 \(LabNetwork.client)").contains(" 0% packet loss"))
        #expect(try rig.counters(.gateway)["TcpOutRsts"] == 1, "only the port of nobody is answered by a reset")
        _ = service.stop()
      }
    }
  }
}
