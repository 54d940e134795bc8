import Lab
import Testing

extension Live {
  /// Datagrams in pieces between real stacks.
  @Suite struct PieceTests {
    @Test("F1 F6 pings of 4000 bytes come back, from outside and from inside", arguments: [true, false])
    func pings(offloads: Bool) throws {
      var shape = LabNetwork.Shape()
      shape.offloads = offloads
      try Rig.with("pieces", shape) { rig in
        let ping = "ping -n -c 5 -i 0.2 -W 2 -s 4000 "
        #expect(try rig.shell(.client, ping + LabNetwork.wholeHostOutside).contains(" 0% packet loss"))
        #expect(try rig.shell(.server, ping + LabNetwork.client).contains(" 0% packet loss"))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("F1 datagrams of 4000 and 60000 bytes come back whole through a forward, and to a host inside")
    func datagrams() throws {
      try Rig.with("pieces") { rig in
        let outside = LabNetwork.gatewayOutside
        // The echo service reads up to 64 KiB; what comes back must be byte for byte what was sent.
        for size in [4000, 60_000] {
          let sent = "head -c \(size) /dev/zero | tr '\\0' 'x'"
          let echo = "socat -b 65000 -t 3 - UDP:\(outside):7007 | md5sum"
          let truth = try rig.shell(.client, "\(sent) | md5sum")
          #expect(try rig.shell(.client, "\(sent) | \(echo)") == truth, "\(size) bytes")
        }
        try #expect(rig.checksumErrors() == 0)
      }
    }
  }
}
