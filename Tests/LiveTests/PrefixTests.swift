import Lab
import Testing

extension Live {
  /// Prefix translation (RFC 6296) as the outside sees it.
  @Suite struct PrefixTests {
    /// fd01:203:405::/48.
    private static let inside: [UInt8] = [0xFD, 0x01, 0x02, 0x03, 0x04, 0x05]

    @Test(
      "V5 no frame outside holds an inside prefix: not in its header, nor in what an error of a host or the gateway quotes"
    )
    func leaks() throws {
      let way = Way.prefix
      var shape = LabNetwork.Shape()
      shape.offloads = false
      // The gateway has packets too big to tell of, too.
      shape.lanMTU = 1280
      try way.with("leaks", shape) { rig in
        _ = try rig.shell(.server, "ip link set eth0 mtu 1280")
        let audit = try CaptureAudit(rig) { try speak(rig, way) }
        #expect(audit.frames(at: .client, holding: Self.inside) == 0)
        // The same frames do hold it inside.
        #expect(audit.frames(at: .server, holding: Self.inside) > 1000)
        #expect(audit.errors(at: .client, ofType: 1, holding: [0x20, 0x01, 0x0D, 0xB8, 0x00, 0x0B]) > 0)
        #expect(audit.errors(at: .client, ofType: 2) > 0)
        #expect(audit.errors(at: .client, ofType: 3) > 0)
      }
    }

    /// Sessions both ways, in pieces too; errors of the inside host and of the gateway; a source that has no counterpart.
    private func speak(_ rig: Rig, _ way: Way) throws {
      let count = 1_000_000
      try #expect(rig.digest(.client, way.web, bytes: count) == rig.truth(bytes: count))
      try #expect(rig.uploadDigest(to: Way.host(way.outside), bytes: count) == rig.truth(bytes: count))
      try #expect(rig.digest(.server, "\(Way.host(way.client)):8000", bytes: count) == rig.truth(bytes: count))
      _ = try rig.fetch(.server, "\(way.web)/")
      _ = try rig.shell(.client, "ping -n -c 3 -i 0.2 -s 4000 \(way.wholeHostOutside)")
      _ = try rig.shell(.server, "ping -n -c 3 -i 0.2 -s 4000 \(way.client)")
      let trace = try rig.shell(.client, "traceroute -n -U -q 1 -w 5 -m 4 \(way.wholeHostOutside)", seconds: 60)
      #expect(trace.contains(" 2  \(way.wholeHostOutside) "), "\(trace)")
      let lonely = "fd01:203:405:ffff::10"
      _ = try rig.shell(.server, "ip -6 address add \(lonely)/128 dev eth0 nodad")
      let ping = try rig.network.run(
        in: .server, ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", lonely, way.client])
      #expect(ping.status == 1, "\(ping.complaint)")
    }
  }
}
