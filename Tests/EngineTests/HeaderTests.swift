import Engine
import PacketTestKit
import Testing

/// IP options and header sanity (RFC 791, RFC 1812 5.2.2, RFC 7126): F11, F12, L4, L8, A22.
@Suite struct HeaderTests {
  private func gateway() throws -> TestGateway {
    try TestGateway(.masqueraded(more: { $0.forward(.both, ports: "80", to: "192.168.1.10") }))
  }

  // MARK: F11

  @Test(
    arguments: [
      ("record route", [7, 7, 4, 0, 0, 0, 0]), ("timestamp", [68, 8, 5, 0, 0, 0, 0, 0]),
      ("router alert", [148, 4, 0, 0]),
      ("security", [130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]), ("no-operations", [1, 1, 1, 1]),
      ("forty bytes", [UInt8](repeating: 1, count: 40)),
    ] as [(String, [UInt8])])
  func `F11 harmless options pass untouched, the session's first frame and later ones`(name: String, options: [UInt8])
    throws
  {
    let gateway = try gateway()
    for _ in 0..<2 {
      let there = Packet.tcp(client, Peer(wan, 80), .syn) { $0.ip.options = options }
      gateway.receive(there, on: "wan").expectForward(there.translated(to: "192.168.1.10:80"), on: "lan")
    }
    let out = Packet.udp("192.168.1.10:4000", client, "with options") { $0.ip.options = options }
    gateway.receive(out, on: "lan").expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
    #expect(gateway.live == 2)
  }

  @Test(
    arguments: [
      [131, 7, 4, 10, 0, 0, 1], [137, 7, 4, 10, 0, 0, 1], [1, 1, 131, 3, 4], [7, 7, 4, 0, 0, 0, 0, 137, 3, 4],
    ] as [[UInt8]])
  func `F11 loose and strict source routes are dropped, wherever they stand`(options: [UInt8]) throws {
    let gateway = try gateway()
    gateway.receive(.tcp(client, Peer(wan, 80), .syn) { $0.ip.options = options }, on: "wan").expectDrop(.sourceRoute)
    // On a live session too.
    gateway.receive(.tcp(client, Peer(wan, 80), .syn), on: "wan").expect(.forward)
    gateway.receive(.tcp(client, Peer(wan, 80), .syn) { $0.ip.options = options }, on: "wan").expectDrop(.sourceRoute)
  }

  @Test(arguments: [[7, 0], [7, 1], [68, 0, 0, 0], [68, 255, 5, 0], [7], [131, 0], [0, 131, 7, 4]] as [[UInt8]])
  func `F11 A22 option lengths that lie end the walk`(options: [UInt8]) throws {
    let outcome = try gateway().receive(.tcp(client, Peer(wan, 80), .syn) { $0.ip.options = options }, on: "wan")
    #expect(outcome.verdict == .forward || outcome.verdict == .drop)
  }

  // MARK: F12

  @Test func `F12 what is wrong with an IP header`() throws {
    let good = Packet.tcp(client, Peer(wan, 80), .syn, "data")
    let cases: [(String, DropReason, Packet.Change)] = [
      ("version 5", .malformedIPv4, { $0.ip.version = 5 }),
      ("version 6", .malformedIPv4, { $0.ip.version = 6 }),
      ("header length 4", .malformedIPv4, { $0.ip.headerLength = 4 }),
      ("header length 0", .malformedIPv4, { $0.ip.headerLength = 0 }),
      ("total length 19", .malformedIPv4, { $0.ip.totalLength = 19 }),
      ("total length 0", .malformedIPv4, { $0.ip.totalLength = 0 }),
      ("checksum off by one", .malformedIPv4, { $0.ip.checksum = 0x0001 }),
      ("total length one over the frame", .truncated, { $0.ip.totalLength = 45 }),
      ("cut inside the data", .truncated, { $0.keep = 14 + 42 }),
      ("cut inside the IP header", .truncated, { $0.keep = 14 + 19 }),
      ("cut after the Ethernet header", .truncated, { $0.keep = 14 }),
      ("cut inside the Ethernet header", .truncated, { $0.keep = 13 }),
      ("one byte", .truncated, { $0.keep = 1 }),
      ("nothing", .truncated, { $0.keep = 0 }),
    ]
    for (name, reason, change) in cases {
      let gateway = try gateway()
      gateway.receive(good.with(change), on: "wan").expectDrop(reason)
      #expect(gateway.drops(reason) == 1, "\(name)")
      // The same on a live session: the fast path is no softer.
      gateway.receive(good, on: "wan").expectForward(good.translated(to: "192.168.1.10:80"), on: "lan")
      gateway.receive(good.with(change), on: "wan").expectDrop(reason)
    }
  }

  @Test func `F12 what is wrong with a transport header`() throws {
    let cases: [(String, DropReason, Packet)] = [
      ("TCP offset 4", .malformedTCP, .tcp(client, Peer(wan, 80), .syn) { $0.tcp.dataOffset = 4 }),
      ("TCP offset behind the end", .malformedTCP, .tcp(client, Peer(wan, 80), .syn) { $0.tcp.dataOffset = 6 }),
      (
        "TCP of 19 bytes", .malformedTCP,
        .other(protocol: 6, client.host, wan, Array(Packet.tcp(client, Peer(wan, 80), .syn).datagram[20..<39]))
      ),
      ("UDP length 7", .malformedUDP, .udp(client, Peer(wan, 80)) { $0.udp.length = 7 }),
      ("UDP length over the datagram", .malformedUDP, .udp(client, Peer(wan, 80)) { $0.udp.length = 16 }),
      ("UDP of 7 bytes", .malformedUDP, .other(protocol: 17, client.host, wan, [1, 2, 0, 80, 0, 8, 0])),
      ("ICMP of 7 bytes", .malformedICMP, .other(protocol: 1, client.host, wan, [8, 0, 0, 0, 0, 0, 0])),
    ]
    for (name, reason, packet) in cases {
      let gateway = try gateway()
      gateway.receive(packet, on: "wan").expectDrop(reason)
      #expect(gateway.drops(reason) == 1, "\(name)")
      gateway.receive(.tcp(client, Peer(wan, 80), .syn), on: "wan").expect(.forward)
      gateway.receive(.udp(client, Peer(wan, 80)), on: "wan").expect(.forward)
      gateway.receive(packet, on: "wan").expectDrop(reason)
    }
  }

  @Test(arguments: [2, 4, 41, 47, 50, 89, 132, 255] as [UInt8])
  func `A19 A20 other protocols have no way through`(number: UInt8) throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.any, ports: "all", to: "192.168.1.10") }))
    let payload = Packet.tcp("10.0.0.1:1", "10.0.0.2:2", .syn).datagram
    gateway.receive(.other(protocol: number, client.host, wan, payload), on: "wan").expectDrop(.unknownProtocol)
    gateway.receive(.other(protocol: number, server, client.host, payload), on: "lan").expectDrop(.unknownProtocol)
  }

  @Test func `Ethernet padding is ignored and lost`() throws {
    let there = Packet.udp(client, Peer(wan, 80), "x")
    try gateway().receive(there.with { $0.trailer = [UInt8](repeating: 0xFF, count: 17) }, on: "wan")
      .expectForward(there.translated(to: "192.168.1.10:80"), on: "lan")
  }

  @Test func `L8 other ethertypes are never read as IP`() throws {
    let gateway = try gateway()
    for type: UInt16 in [0x88CC, 0x8863, 0x8847, 0x88E5, 0x0026, 0x9000] {
      gateway.receive(.tcp(client, Peer(wan, 80), .syn) { $0.ethernet.etherType = type }, on: "wan")
        .expectDrop(.unknownEthertype)
    }
    gateway.receive(.udp(client, Peer(wan, 80)) { $0.ethernet.etherType = 0x86DD }, on: "wan").expectDrop(.ipv6Off)
  }

  @Test func `frames for other stations are counted as such`() throws {
    let gateway = try gateway()
    let there = Packet.tcp(client, Peer(wan, 80), .syn)
    gateway.receive(there.with { $0.ethernet.destination = "02:99:00:00:00:01" }, on: "wan").expectDrop(.notOurMAC)
    // The other interface's own station is another station here.
    gateway.receive(there.with { $0.ethernet.destination = "02:00:00:00:02:01" }, on: "wan").expectDrop(.notOurMAC)
    gateway.receive(there.with { $0.ethernet.destination = "01:00:5e:00:00:fb" }, on: "wan").expect(.drop)
    gateway.receive(there.with { $0.ethernet.destination = .broadcast }, on: "wan").expect(.drop)
  }
}
