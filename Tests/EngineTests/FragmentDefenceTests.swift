import Engine
import PacketTestKit
import Testing

/// Pieces that attack: floods, overlaps, cut headers (RFC 1858, RFC 3128; CVE-2018-5391, CVE-1999-0015).
@Suite struct FragmentDefenceTests {
  private let outside: Peer = "203.0.113.1:4000"

  private func datagram(_ length: Int, from source: Peer = "192.168.1.10:4000", id: UInt16 = 77) -> Packet {
    .udp(source, client, String(repeating: "x", count: length - 8)) {
      $0.ip.dontFragment = false
      $0.ip.identification = id
    }
  }

  /// A piece of nothing in particular.
  private func piece(
    _ source: Host, _ destination: Host, id: UInt16, offset: UInt16, more: Bool = true, protocol number: UInt8 = 17,
    _ bytes: Int = 8
  ) -> Packet {
    .other(protocol: number, source, destination, [UInt8](repeating: 7, count: bytes)) {
      $0.ip.dontFragment = false
      $0.ip.identification = id
      $0.ip.fragmentOffset = offset
      $0.ip.moreFragments = more
    }
  }

  @Test func `F3 pieces without a first one are dropped after 15 s, at the time, and once`() throws {
    let gateway = try TestGateway(.masqueraded())
    for (index, time) in [0, 3.05].enumerated() {
      let pieces = datagram(4400, id: UInt16(index)).fragments(of: 1480).dropFirst()
      for piece in pieces { gateway.receive(piece, on: "lan", at: time).expect(.hold) }
    }
    #expect(gateway.nextDeadline == 15)
    gateway.advance(to: 14.9)
    #expect(gateway.counts("lan").held == 4 && gateway.drops(.fragmentTimeout) == 0)
    gateway.advance(to: 15)
    #expect(gateway.counts("lan").held == 2 && gateway.drops(.fragmentTimeout) == 2)
    gateway.advance(to: 18.1)
    #expect(gateway.counts("lan").held == 0 && gateway.drops(.fragmentTimeout) == 4)
    #expect(gateway.nextDeadline == nil)
  }

  @Test func `F3 the time to hold is configured`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.timeouts.fragment = 2 }))
    let pieces = datagram(3000).fragments(of: 1480)
    gateway.receive(pieces[1], on: "lan").expect(.hold)
    gateway.advance(to: 2)
    #expect(gateway.drops(.fragmentTimeout) == 1)
  }

  @Test func `F3 64 pieces of a datagram and no more`() throws {
    let gateway = try TestGateway(.masqueraded())
    for index in 1...64 {
      gateway.receive(piece("192.168.1.10", client.host, id: 1, offset: UInt16(index)), on: "lan").expect(.hold)
    }
    gateway.receive(piece("192.168.1.10", client.host, id: 1, offset: 65), on: "lan").expectDrop(.fragmentLimit)
  }

  @Test func `F3 A7 a flood from one source takes nothing from others: neither in order nor out of it`() throws {
    let gateway = try TestGateway(.masqueraded())
    let waiting = datagram(4400, id: 1).fragments(of: 1480)
    for piece in waiting.dropFirst() { gateway.receive(piece, on: "lan").expect(.hold) }
    for index in 0..<20_000 {
      gateway.receive(
        piece("198.51.100.66", wan, id: UInt16(truncatingIfNeeded: index), offset: UInt16(1 + index / 65_536)),
        on: "wan")
    }
    // A large part of it was let go for newer pieces of the same source.
    #expect(gateway.totals.held <= 2100 && gateway.drops(.fragmentLimit) > 17_000)
    #expect(gateway.counts("lan").held == 2)
    #expect(gateway.burst([(waiting[0], on: "lan")]).emitted.count == 3)
    let inOrder = datagram(4400, id: 2).fragments(of: 1480)
    for piece in inOrder { gateway.receive(piece, on: "lan").expect(.forward) }
    gateway.advance(to: 15)
    #expect(gateway.totals.held == 0)
  }

  @Test func `F3 A7 a flood from everywhere takes nothing from datagrams in order`() throws {
    let gateway = try TestGateway(.masqueraded())
    for round in 0..<40 {
      let pieces = datagram(4400, id: UInt16(round)).fragments(of: 1480)
      for (index, part) in pieces.enumerated() {
        gateway.receive(part, on: "lan").expect(.forward)
        for flood in 0..<100 {
          let source = Host(number: 0xC633_0000 + UInt32(round * 300 + index * 100 + flood))
          gateway.receive(piece(source, wan, id: 1, offset: 5), on: "wan").expect(.hold)
        }
      }
    }
  }

  @Test func `F7 teardrop, a tail that overlaps, the same piece once more`() throws {
    let gateway = try TestGateway(.masqueraded())
    let pieces = datagram(4000).fragments(of: 1480)
    gateway.receive(pieces[0], on: "lan").expect(.forward)
    for offset: UInt16 in [0, 1, 100, 184] {
      gateway.receive(
        piece("192.168.1.10", client.host, id: 77, offset: offset, more: offset < 100, 24), on: "lan"
      ).expect(.drop)
    }
    gateway.receive(pieces[1], on: "lan").expect(.forward)
    gateway.receive(pieces[1], on: "lan").expect(.forward)
    gateway.receive(
      piece("192.168.1.10", client.host, id: 77, offset: 369, more: false, 2000), on: "lan"
    ).expectDrop(.fragmentOverlap)
    gateway.receive(pieces[2], on: "lan").expect(.forward)
  }

  @Test func `F7 a second first piece with other ports is dropped, and changes nothing`() throws {
    let gateway = try TestGateway(.masqueraded())
    let pieces = datagram(4000).fragments(of: 1480)
    gateway.receive(pieces[0], on: "lan").expect(.forward)
    let other = datagram(4000, from: "192.168.1.10:53").fragments(of: 1480)[0]
    gateway.receive(other, on: "lan").expectDrop(.fragmentOverlap)
    gateway.receive(pieces[0], on: "lan").expect(.forward)
    #expect(gateway.sessionCounts.created == 1)
    gateway.receive(pieces[1], on: "lan").expect(.forward)
  }

  @Test func `F7 a first piece that overlaps what waits is dropped`() throws {
    let gateway = try TestGateway(.masqueraded())
    gateway.receive(piece("192.168.1.10", client.host, id: 77, offset: 1), on: "lan").expect(.hold)
    gateway.receive(datagram(4000).fragments(of: 1480)[0], on: "lan").expectDrop(.fragmentOverlap)
    #expect(gateway.sessionCounts.created == 0)
  }

  @Test(arguments: 0...3)
  func `F8 a TCP header that is cut: pieces of 8 bytes at offsets 0 to 3`(offset: Int) throws {
    let gateway = try TestGateway(.masqueraded())
    let segment = Packet.tcp("192.168.1.10:4000", client, .syn, "some data behind the header") {
      $0.ip.dontFragment = false
    }
    let outcome = gateway.receive(segment.fragments(of: 8)[offset], on: "lan")
    if offset < 3 { outcome.expectDrop(.malformedFragment) } else { outcome.expect(.hold) }
    #expect(gateway.sessionCounts.created == 0)
  }

  @Test func `F8 a first piece of 16 bytes is too short for TCP, of 24 it is not, unless options are cut`() throws {
    let gateway = try TestGateway(.masqueraded())
    let segment = Packet.tcp("192.168.1.10:4000", client, .syn, "some data behind the header") {
      $0.ip.dontFragment = false
    }
    gateway.receive(segment.fragments(of: 16)[0], on: "lan").expectDrop(.malformedFragment)
    let options = segment.with { $0.tcp.options = [UInt8](repeating: 1, count: 8) }
    gateway.receive(options.fragments(of: 24)[0], on: "lan").expectDrop(.malformedTCP)
    gateway.receive(segment.with { $0.ip.identification = 3 }.fragments(of: 24)[0], on: "lan").expect(.forward)
  }

  @Test func `F9 A7 a datagram that would be longer than 65535 bytes (ping of death)`() throws {
    let gateway = try TestGateway(.masqueraded())
    for (offset, bytes, verdict) in [(8189, 3, Verdict.hold), (8189, 8, .drop), (8189, 1400, .drop), (8191, 8, .drop)] {
      gateway.receive(
        piece("198.51.100.66", wan, id: UInt16(bytes), offset: UInt16(offset), more: false, protocol: 1, bytes),
        on: "wan"
      ).expect(verdict)
    }
  }

  @Test func `pieces of no length, and middle ones not in eights`() throws {
    let gateway = try TestGateway(.masqueraded())
    for (bytes, more) in [(0, true), (0, false), (9, true), (1, true)] {
      gateway.receive(piece("198.51.100.66", wan, id: 4, offset: 10, more: more, bytes), on: "wan")
        .expectDrop(.malformedFragment)
    }
  }

  @Test func `pieces of ICMP errors and of echo to ourselves go nowhere`() throws {
    let gateway = try TestGateway(.masqueraded())
    let ping = Packet.ping("192.168.1.10:1", "192.168.1.1", String(repeating: "x", count: 3000)) {
      $0.ip.dontFragment = false
    }
    for piece in ping.fragments(of: 1480) { gateway.receive(piece, on: "lan").expectDrop(.toUs) }
    let error = Packet.icmpError(
      type: 3, code: 3, from: client.host, to: wan, about: datagram(1400).translated(from: outside), keeping: 1300
    ) { $0.ip.dontFragment = false }
    for piece in error.fragments(of: 800) { gateway.receive(piece, on: "wan").expectDrop(.fragment) }
  }
}
