import Engine
import PacketTestKit
import Testing

/// L4: a frame that ends early is dropped with a counter, wherever it ends, on the interface that it came in by.
@Suite struct TruncationTests {
  private typealias Tag = EthernetHeader.Tag

  private static func plan() -> Plan {
    .home {
      $0.interface("office", .inside, "192.168.2.1/24", mac: "02:00:00:00:02:01") {
        $0.device = "lan"
        $0.tags = [VLANTag(protocolID: 0x8100, vlan: 100)]
      }
      $0.forward(.both, ports: "80", to: "192.168.1.10")
    }
  }

  /// The conservation law of each interface is watched by the gateway itself, after every frame.
  @Test(arguments: [[], [100], [101], [0]] as [[UInt16]])
  func `L4 every beginning of a frame, tagged or not`(vlans: [UInt16]) throws {
    let gateway = try TestGateway(Self.plan())
    var packet = Packet.udp("192.168.1.10:4000", "192.168.2.9:80") { $0.ethernet.tags = vlans.map { Tag($0) } }
    packet.ethernet.destination = Station(bytes: [2, 0, 0, 0, 2, 1])
    packet.ethernet.source = Station.of("192.168.1.10")
    let bytes = packet.bytes
    for count in 0..<bytes.count { gateway.receive(bytes: Array(bytes.prefix(count)), on: "lan").expect(.drop) }
    #expect(gateway.totals.dropped == UInt64(bytes.count))
    #expect(gateway.drops(.truncated) > 10)
  }
}
