import Lab
import Testing

extension Live {
  /// Frame by frame at both ends: what a port forward may change is changed, everything else is not.
  @Suite struct FrameTests {
    private static var bare: LabNetwork.Shape {
      var shape = LabNetwork.Shape()
      shape.offloads = false
      return shape
    }

    @Test("C5 L3 L5 every frame of a TCP transfer, both ways: right checksums, none doubled or changed, no reset")
    func transfer() throws {
      try Rig.with("frames", Self.bare) { rig in
        let audit = try CaptureAudit(rig) {
          try #expect(
            rig.digest(.client, LabNetwork.gatewayOutside, bytes: 10_000_000) == rig.truth(bytes: 10_000_000))
          try #expect(rig.uploadDigest(bytes: 5_000_000) == rig.truth(bytes: 5_000_000))
        }
        #expect(audit.problems(allowsLoss: true) == [])
        #expect(audit.forwardedFrames > 10_000)
      }
    }

    @Test(
      "C5 L3 with offloads on, every frame is what its virtio header says: partial sums, segment sizes, nothing over the MTU"
    )
    func offloaded() throws {
      try Rig.with("ring") { rig in
        let audit = try RingAudit(rig) {
          try #expect(
            rig.digest(.client, LabNetwork.gatewayOutside, bytes: 20_000_000) == rig.truth(bytes: 20_000_000))
          try #expect(rig.uploadDigest(bytes: 10_000_000) == rig.truth(bytes: 10_000_000))
          try #expect(rig.fetch(.server, "\(LabNetwork.client):8000/").contains(LabNetwork.gatewayOutside))
          #expect(
            try rig.shell(.client, "echo datagram | socat -t 1 - UDP:\(LabNetwork.gatewayOutside):7007") == "datagram")
        }
        #expect(audit.problems == [])
        // Both kinds must have been there for the audit to mean anything.
        #expect(audit.partialFrames > 100)
        #expect(audit.superFrames > 100)
      }
    }

    @Test("L5 small traffic one by one: nothing lost, doubled or changed")
    func smallTraffic() throws {
      try Rig.with("frames", Self.bare) { rig in
        let audit = try CaptureAudit(rig) {
          let outside = LabNetwork.gatewayOutside
          let echoes = try rig.shell(
            .client,
            "exec 3<>/dev/udp/\(outside)/7007; "
              // One read takes one datagram; bash's own `read` takes single bytes and loses the rest.
              + "for n in {1..20}; do echo datagram $n >&3; timeout 2 dd bs=2048 count=1 status=none <&3; done")
          #expect(echoes == (1...20).map { "datagram \($0)" }.joined(separator: "\n"))
          _ = try rig.fetch(.client, "\(outside)/")
          _ = try rig.fetch(.server, "\(LabNetwork.client):8000/")
          let ping = try rig.shell(.client, "ping -n -c 5 -i 0.2 \(LabNetwork.wholeHostOutside)")
          #expect(ping.contains("5 received, 0% packet loss") && !ping.contains("DUP"))
        }
        #expect(audit.problems() == [])
        #expect(audit.forwardedFrames > 60)
      }
    }
  }
}
