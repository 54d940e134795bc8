import Foundation
import Lab
import Testing

extension Live {
  /// 802.1Q and 802.1ad by interface. The kernel strips the outer tag into the ring's metadata; what a host on the
  /// VLAN sees must carry it again. The frames are written raw, since the lab's kernel may have no VLAN devices.
  @Suite struct TagTests {
    @Test("L2 a tagged datagram goes in, the answer comes back with the same tags", arguments: ["100", "200.100"])
    func tagged(vlan: String) throws {
      let configuration = LabNetwork.configuration.replacingOccurrences(
        of: "device  = \"wan0\"", with: "device  = \"wan0\"\nvlan    = \(vlan == "100" ? "100" : "\"200.100\"")")
      try Rig.with("tags", forwarder: .sluice(configuration)) { rig in
        let talk = try rig.shell(.client, "python3 \(Self.script) eth0 \(vlan)")
        #expect(talk == "tags \(vlan): datagram in a tagged frame", "\(talk)")
        let untagged = try rig.network.run(in: .client, ["python3", Self.script, "eth0", "none"])
        #expect(untagged.status == 1, "an untagged frame was answered: \(untagged.output)")
        let wrong = try rig.network.run(in: .client, ["python3", Self.script, "eth0", "101"])
        #expect(wrong.status == 1, "a frame with another tag was answered: \(wrong.output)")
      }
    }

    private static var script: String {
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("tagged-echo.py").path
    }
  }
}
