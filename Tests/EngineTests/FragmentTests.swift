import Engine
import PacketTestKit
import Testing

/// Datagrams in pieces are translated piece by piece, whatever their order (RFC 4787 REQ-14, RFC 791 section 3.2).
@Suite struct FragmentTests {
  private let inside: Peer = "192.168.1.10:4000"
  private let outside: Peer = "203.0.113.1:4000"

  /// Bytes in `count` pieces of 1480, as many as a datagram may have.
  private func length(_ count: Int) -> Int { min(count * 1480, 65_512) }

  private func text(_ count: Int, _ seed: Int = 0) -> String {
    String((0..<count).map { Character(UnicodeScalar(UInt8(97 + ($0 * 7 + $0 / 26 + seed) % 26))) })
  }

  private func datagram(_ length: Int, from source: Peer = "192.168.1.10:4000", id: UInt16 = 77, _ seed: Int = 0)
    -> Packet
  {
    .udp(source, client, text(length - 8, seed)) {
      $0.ip.dontFragment = false
      $0.ip.identification = id
    }
  }

  /// Pieces in some order, and the frames that leave because of each.
  private func play(_ pieces: [Packet], on interface: String, _ gateway: TestGateway, at time: Double? = nil)
    -> [TestGateway.Emitted]
  {
    pieces.flatMap { gateway.burst([($0, on: interface)], at: time).emitted }
  }

  /// Exactly these pieces left, each as it must be, in any order.
  private func expect(
    _ emitted: [TestGateway.Emitted], are pieces: [Packet], on interface: String, _ gateway: TestGateway,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(emitted.count == pieces.count, sourceLocation: sourceLocation)
    for piece in pieces {
      let same = emitted.first { $0.decoded.ip?.fragmentOffset == piece.ip.fragmentOffset }
      guard let same else {
        Issue.record("no piece at \(piece.ip.fragmentOffset)", sourceLocation: sourceLocation)
        continue
      }
      same.expect(piece, on: interface, from: gateway, sourceLocation: sourceLocation)
    }
  }

  // MARK: Order

  @Test(arguments: [2, 3, 45])
  func `F1 pieces in order, outward and back, each translated as it comes`(count: Int) throws {
    let gateway = try TestGateway(.masqueraded())
    let out = datagram(length(count))
    for (piece, expected) in zip(out.fragments(of: 1480), out.translated(from: outside).fragments(of: 1480)) {
      gateway.receive(piece, on: "lan").expectForward(expected, on: "wan")
    }
    let back = Packet.udp(client, outside, text(length(count) - 8, 5)) { $0.ip.dontFragment = false }
    for (piece, expected) in zip(back.fragments(of: 1480), back.translated(to: inside).fragments(of: 1480)) {
      gateway.receive(piece, on: "wan").expectForward(expected, on: "lan")
    }
    #expect(gateway.totals.forwarded == UInt64(2 * count) && gateway.sessionCounts.created == 1)
  }

  @Test func `F1 TCP and echo in pieces`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway, from: inside)
    talk.open()
    let segment = talk.segment(.outside, [.ack, .psh], text(3000)).with { $0.ip.dontFragment = false }
    for (piece, expected) in zip(segment.fragments(of: 1480), segment.translated(to: inside).fragments(of: 1480)) {
      gateway.receive(piece, on: "wan").expectForward(expected, on: "lan")
    }
    let ping = Packet.ping(inside, client.host, text(4000)) { $0.ip.dontFragment = false }
    expect(
      play(ping.fragments(of: 1480).reversed(), on: "lan", gateway),
      are: ping.translated(from: outside).fragments(of: 1480), on: "wan", gateway)
    let pong = Packet.pong(client.host, outside, text(4000)) { $0.ip.dontFragment = false }
    expect(
      play(pong.fragments(of: 1480).reversed(), on: "wan", gateway),
      are: pong.translated(to: inside).fragments(of: 1480), on: "lan", gateway)
  }

  @Test(arguments: [3, 45])
  func `F2 the first piece last: the others are held, and follow it`(count: Int) throws {
    let gateway = try TestGateway(.masqueraded())
    let out = datagram(length(count))
    let pieces = out.fragments(of: 1480)
    for piece in pieces.dropFirst() { gateway.receive(piece, on: "lan").expect(.hold) }
    #expect(gateway.counts("lan").held == UInt64(count - 1))
    let emitted = gateway.burst([(pieces[0], on: "lan")]).emitted
    expect(emitted, are: out.translated(from: outside).fragments(of: 1480), on: "wan", gateway)
    #expect(emitted.first?.decoded.ip?.fragmentOffset == 0)
    #expect(gateway.counts("lan").held == 0 && gateway.counts("lan").forwarded == UInt64(count))
  }

  @Test(arguments: 0..<8)
  func `F2 any order, two datagrams interleaved, in one burst or piece by piece`(seed: Int) throws {
    for isBurst in [true, false] {
      let gateway = try TestGateway(.masqueraded())
      var random = Seeded(UInt64(seed))
      let datagrams = [datagram(7000, id: 1), datagram(9000, id: 2, 9)]
      let pieces = datagrams.flatMap { $0.fragments(of: 1480) }.shuffled(using: &random)
      let emitted =
        isBurst ? gateway.burst(pieces.map { ($0, on: "lan") }).emitted : play(pieces, on: "lan", gateway)
      for datagram in datagrams {
        expect(
          emitted.filter { $0.decoded.ip?.identification == datagram.ip.identification },
          are: datagram.translated(from: outside).fragments(of: 1480), on: "wan", gateway)
      }
      #expect(gateway.totals.held == 0)
    }
  }

  @Test func `F2 through a forward and back by its target, without a masquerade`() throws {
    let gateway = try TestGateway(.home { $0.forward(.udp, ports: "53", to: "192.168.1.10:5353") })
    let question = Packet.udp(client, Peer(wan, 53), text(3000)) { $0.ip.dontFragment = false }
    expect(
      play(question.fragments(of: 1480).reversed(), on: "wan", gateway),
      are: question.translated(to: "192.168.1.10:5353").fragments(of: 1480), on: "lan", gateway)
    let answer = Packet.udp("192.168.1.10:5353", client, text(3000)) { $0.ip.dontFragment = false }
    expect(
      play(answer.fragments(of: 1480).reversed(), on: "lan", gateway),
      are: answer.translated(from: Peer(wan, 53)).fragments(of: 1480), on: "wan", gateway)
  }

  @Test func `F2 between inside interfaces pieces are routed, and wait for nothing`() throws {
    let gateway = try TestGateway(
      .home {
        $0.interface("dmz", .inside, "192.168.2.1/24", mac: "02:00:00:00:03:01")
        $0.neighbor("192.168.2.10")
      })
    let piece = Packet.udp(inside, "192.168.2.10:1", text(3000)) { $0.ip.dontFragment = false }.fragments(of: 1480)[1]
    gateway.receive(piece, on: "lan").expectForward(piece.with { $0.ip.ttl -= 1 }, on: "dmz")
  }

  @Test func `F2 pieces wait for the neighbour too, in order`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.neighbors = [] }))
    let out = datagram(4400)
    for piece in out.fragments(of: 1480).reversed() { gateway.receive(piece, on: "lan").expect(.hold) }
    let router = Host("203.0.113.254")
    let answer = Packet.arp(
      operation: 2, sender: .of(router), router, target: Station(bytes: [2, 0, 0, 0, 1, 1]), wan)
    let made = gateway.burst([(answer, on: "wan")]).emitted
    expect(made, are: out.translated(from: outside).fragments(of: 1480), on: "wan", gateway)
  }

  // MARK: The first piece's verdict

  @Test func `later pieces follow the first one's verdict`() throws {
    let gateway = try TestGateway(.masqueraded())
    let pieces = Packet.udp(client, Peer(wan, 9), text(4400)) { $0.ip.dontFragment = false }.fragments(of: 1480)
    gateway.receive(pieces[1], on: "wan").expect(.hold)
    gateway.receive(pieces[0], on: "wan").expectDrop(.noForward)
    gateway.receive(pieces[2], on: "wan").expectDrop(.noForward)
    #expect(gateway.drops(.noForward) == 3 && gateway.totals.held == 0)
  }

  @Test func `a later piece is judged by its own TTL, and a session that is gone forwards no more`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.timeouts.udp = 5 }))
    let pieces = datagram(4400).fragments(of: 1480)
    gateway.receive(pieces[0], on: "lan").expect(.forward)
    gateway.receive(pieces[1].with { $0.ip.ttl = 1 }, on: "lan").expectDrop(.ttlExceeded)
    gateway.receive(pieces[2], on: "lan", at: 5).expectDrop(.fragment)
  }

  @Test func `a later piece too big for the next link is cut further`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.change("wan") { $0.mtu = 576 } }))
    let out = datagram(4400)
    let emitted = play(out.fragments(of: 1480), on: "lan", gateway)
    expect(emitted, are: Self.cut(out.translated(from: outside), [1480, 552]), on: "wan", gateway)
  }

  /// The pieces of a datagram that was cut twice.
  private static func cut(_ packet: Packet, _ sizes: [Int]) -> [Packet] {
    packet.fragments(of: sizes[0]).flatMap { piece in
      piece.fragments(of: sizes[1]).map { part in
        part.with {
          $0.ip.fragmentOffset += piece.ip.fragmentOffset
          $0.ip.moreFragments = part.ip.moreFragments || piece.ip.moreFragments
        }
      }
    }
  }

  // MARK: Identification

  @Test func `F4 two hosts with one identification: the outside puts the right pieces together`() throws {
    let gateway = try TestGateway(.masqueraded())
    let first = datagram(4000, from: "192.168.1.10:4000", id: 1)
    let second = datagram(4000, from: "192.168.1.11:4001", id: 1, 13)
    let pieces = zip(first.fragments(of: 1480), second.fragments(of: 1480)).flatMap { [$0, $1] }
    let emitted = play(pieces, on: "lan", gateway)
    let groups = Dictionary(grouping: emitted) { $0.decoded.ip!.identification }
    #expect(groups.count == 2 && groups[1] != nil)
    let bodies = groups.values.map { group in
      group.sorted { $0.decoded.ip!.fragmentOffset < $1.decoded.ip!.fragmentOffset }
        .flatMap { Array($0.bytes[$0.decoded.body]) }.dropFirst(8)
    }
    #expect(Set(bodies.map { Array($0) }) == [Array(text(3992).utf8), Array(text(3992, 13).utf8)])
  }

  @Test func `F4 an identification is somebody else's after 120 s, not before; one that is cut here is unique too`()
    throws
  {
    let gateway = try TestGateway(.masqueraded(more: { $0.change("wan") { $0.mtu = 1000 } }))
    func identification(_ source: Peer, at time: Double) -> UInt16? {
      gateway.receive(datagram(1400, from: source, id: 9), on: "lan", at: time).made.first?.decoded.ip?.identification
    }
    #expect(identification("192.168.1.10:4000", at: 0) == 9)
    #expect(identification("192.168.1.10:4000", at: 10) == 9)
    #expect(identification("192.168.1.11:4001", at: 129) != 9)
    #expect(identification("192.168.1.12:4002", at: 131) == 9)
  }

  @Test func `F4 what stays whole keeps its identification`() throws {
    let gateway = try TestGateway(.masqueraded())
    for host in ["192.168.1.10:4000", "192.168.1.11:4001"] as [Peer] {
      for isAtomic in [true, false] {
        let packet = Packet.udp(host, client) {
          $0.ip.identification = 5
          $0.ip.dontFragment = isAtomic
        }
        gateway.receive(packet, on: "lan").expectForward(packet.translated(from: Peer(wan, host.port)), on: "wan")
      }
    }
  }
}

/// A small generator, the same on every machine.
struct Seeded: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}
