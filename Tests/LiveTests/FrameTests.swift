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

    @Test(
      "C5 L3 L5 every frame of a TCP transfer, both ways: right checksums, none doubled or changed, no reset",
      arguments: Way.allCases)
    func transfer(way: Way) throws {
      try way.with("frames", Self.bare) { rig in
        let count = way.bulk(10_000_000)
        let audit = try CaptureAudit(rig) {
          try #expect(rig.digest(.client, way.web, bytes: count) == rig.truth(bytes: count))
          try #expect(rig.uploadDigest(to: Way.host(way.outside), bytes: count / 2) == rig.truth(bytes: count / 2))
        }
        #expect(audit.problems(allowsLoss: true) == [])
        #expect(audit.forwardedFrames > count / 1000)
      }
    }

    @Test(
      "C5 L3 with offloads on, every frame is what its virtio header says: partial sums, segment sizes, nothing over the MTU",
      arguments: Way.allCases)
    func offloaded(way: Way) throws {
      try way.with("ring") { rig in
        let audit = try RingAudit(rig) {
          try #expect(rig.digest(.client, way.web, bytes: 10_000_000) == rig.truth(bytes: 10_000_000))
          try #expect(rig.uploadDigest(to: Way.host(way.outside), bytes: 5_000_000) == rig.truth(bytes: 5_000_000))
          try #expect(rig.fetch(.server, "\(Way.host(way.client)):8000/").contains(way.outside))
          #expect(try rig.shell(.client, "echo datagram | socat -t 1 - UDP:\(way.at(7007))") == "datagram")
        }
        #expect(audit.problems == [])
        // Both kinds must have been there for the audit to mean anything.
        #expect(audit.partialFrames > 100)
        #expect(audit.superFrames > 100)
      }
    }

    @Test("L5 small traffic one by one: nothing lost, doubled or changed", arguments: Way.allCases)
    func smallTraffic(way: Way) throws {
      try way.with("frames", Self.bare) { rig in
        let audit = try CaptureAudit(rig) {
          let echoes = try rig.shell(
            .client,
            "exec 3<>/dev/udp/\(way.outside)/7007; "
              // One read takes one datagram; bash's own `read` takes single bytes and loses the rest.
              + "for n in {1..20}; do echo datagram $n >&3; timeout 2 dd bs=2048 count=1 status=none <&3; done")
          #expect(echoes == (1...20).map { "datagram \($0)" }.joined(separator: "\n"))
          _ = try rig.fetch(.client, "\(way.web)/")
          _ = try rig.fetch(.server, "\(Way.host(way.client)):8000/")
          let ping = try rig.shell(.client, "ping -n -c 5 -i 0.2 \(way.wholeHostOutside)")
          #expect(ping.contains("5 received, 0% packet loss") && !ping.contains("DUP"))
        }
        #expect(audit.problems() == [])
        #expect(audit.forwardedFrames > 60)
      }
    }
  }
}
