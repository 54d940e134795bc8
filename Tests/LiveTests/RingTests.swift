import Foundation
import Lab
import Testing

extension Live {
  /// Every way for frames to come in and go out carries the same traffic.
  @Suite struct RingTests {
    private static func configuration(_ engine: String) -> String {
      "[engine]\n\(engine)\n\n" + LabNetwork.configuration
    }

    @Test(
      "bulk, many connections and single packets, both ways, by each kind of ring",
      arguments: ["ring = \"throughput\""], [true, false])
    func carriesEverything(engine: String, offloads: Bool) throws {
      var shape = LabNetwork.Shape()
      shape.offloads = offloads
      try Rig.with("ring", shape, forwarder: .sluice(Self.configuration(engine))) { rig in
        let outside = LabNetwork.gatewayOutside
        let count = offloads ? 200_000_000 : 20_000_000
        let truth = try rig.truth(bytes: count)
        try #expect(rig.digest(.client, outside, bytes: count) == truth)
        try #expect(rig.uploadDigest(bytes: count) == truth)
        let codes = try rig.shell(
          .client,
          "curl -sS --fail --parallel --parallel-immediate --parallel-max 100 -o /dev/null "
            + "-w '%{http_code}\\n' 'http://\(outside)/bytes/[1001-1100]' | sort | uniq -c")
        #expect(codes == "100 200")
        try #expect(rig.fetch(.server, "\(LabNetwork.client):8000/").contains(outside))
        #expect(try rig.shell(.server, "ping -n -c 3 -i 0.2 -W 2 \(LabNetwork.client)").contains(" 0% packet loss"))
        try #expect(rig.checksumErrors() == 0)
      }
    }
  }
}
