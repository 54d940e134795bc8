import Engine
import PacketTestKit
import Testing

/// ICMP errors that others send, translated outside and inside (RFC 5508 REQ-3 to REQ-6, RFC 792).
@Suite struct ErrorTests {
  static let router: Host = "198.51.100.1"
  static let udpOut = Packet.udp("192.168.1.10:4000", client, "some payload to quote")
  static let tcpOut = Packet.tcp("192.168.1.10:4000", client, .syn, "with some data to quote")
  static let pingOut = Packet.ping("192.168.1.10:4000", client.host)

  /// A gateway through which `out` has gone, and `out` as the outside knows it.
  private func sent(_ out: Packet) throws -> (TestGateway, Packet) {
    let gateway = try TestGateway(.masqueraded())
    let outside = out.translated(from: "203.0.113.1:4000")
    gateway.receive(out, on: "lan").expectForward(outside, on: "wan")
    return (gateway, outside.with { $0.ip.ttl = 3 })
  }

  private static let kinds: [(UInt8, UInt8, UInt32)] = [
    (3, 4, 1280), (11, 0, 0), (3, 3, 0), (3, 1, 0), (12, 0, 20 << 24),
  ]

  @Test(arguments: [udpOut, tcpOut, pingOut], [8, 200])
  func `I6 an error from outside is reverted inside and out, and keeps its sender`(out: Packet, quoted: Int) throws {
    for (type, code, rest) in Self.kinds {
      for sender in [Self.router, client.host] {
        let (gateway, outside) = try sent(out)
        let error = Packet.icmpError(
          type: type, code: code, rest: rest, from: sender, to: wan, about: outside, keeping: quoted)
        let inside = Packet.icmpError(
          type: type, code: code, rest: rest, from: sender, to: server, about: out.with { $0.ip.ttl = 3 },
          keeping: quoted
        ) { $0.ip.ttl = 63 }
        gateway.receive(error, on: "wan").expectForward(inside, on: "lan")
      }
    }
  }

  /// The inside host that sent `out` hears of an error about it in its own words.
  private func expectReverted(_ out: Packet) throws {
    let (gateway, outside) = try sent(out)
    let error = Packet.icmpError(type: 3, code: 3, from: client.host, to: wan, about: outside, keeping: 100)
    let inside = Packet.icmpError(
      type: 3, code: 3, from: client.host, to: server, about: out.with { $0.ip.ttl = 3 }, keeping: 100
    ) { $0.ip.ttl = 63 }
    gateway.receive(error, on: "wan").expectForward(inside, on: "lan")
  }

  @Test func `I6 a quoted UDP checksum of zero stays zero`() throws {
    try expectReverted(Self.udpOut.with { $0.udp.checksum = 0 })
  }

  /// Found by the reference model.
  @Test func `I6 U11 a quoted UDP checksum that comes to zero is 0xFFFF, as its sender had sent it`() throws {
    let empty = Self.udpOut.with { $0.udp.payload = [0, 0] }
    let checksum = try #require(Decoded(empty.datagram, isRawIP: true).udp).checksum
    let out = Self.udpOut.with { $0.udp.payload = [UInt8(checksum >> 8), UInt8(checksum & 0xFF)] }
    #expect(Decoded(out.datagram, isRawIP: true).udp?.checksum == 0xFFFF)
    try expectReverted(out)
  }

  @Test func `I2 wrong checksums: the message's and the quoted header's drop, the quoted transport's is never judged`()
    throws
  {
    let (gateway, outside) = try sent(Self.tcpOut)
    let error = Packet.icmpError(type: 3, code: 3, from: client.host, to: wan, about: outside, keeping: 40)
    gateway.receive(error.with { $0.icmp.checksum = 0x1234 }, on: "wan").expectDrop(.malformedICMP)
    let badHeader = outside.with { $0.ip.checksum = 0x1234 }
    gateway.receive(.icmpError(type: 3, code: 3, from: client.host, to: wan, about: badHeader), on: "wan")
      .expectDrop(.malformedICMP)
    let badTransport = outside.with { $0.tcp.checksum = 0x1234 }
    gateway.receive(
      .icmpError(type: 3, code: 3, from: client.host, to: wan, about: badTransport, keeping: 40), on: "wan"
    )
    .expect(.forward)
    gateway.receive(error, on: "wan").expect(.forward)
  }

  @Test func `I3 options in the quoted header are skipped`() throws {
    let out = Self.udpOut.with { $0.ip.options = [UInt8](repeating: 1, count: 40) }
    let (gateway, outside) = try sent(out)
    let error = Packet.icmpError(type: 11, code: 0, from: Self.router, to: wan, about: outside)
    let inside = Packet.icmpError(
      type: 11, code: 0, from: Self.router, to: server, about: out.with { $0.ip.ttl = 3 }
    ) { $0.ip.ttl = 63 }
    gateway.receive(error, on: "wan").expectForward(inside, on: "lan")
  }

  @Test(arguments: 0...8)
  func `I4 eight quoted bytes of transport are enough, fewer are not`(count: Int) throws {
    for out in [Self.udpOut, Self.tcpOut, Self.pingOut] {
      let (gateway, outside) = try sent(out)
      let error = Packet.icmpError(type: 3, code: 1, from: Self.router, to: wan, about: outside, keeping: count)
      gateway.receive(error, on: "wan").expect(count < 8 ? .drop : .forward)
    }
  }

  @Test func `I5 RFC 4884 extensions, padding and the length field are kept`() throws {
    let (gateway, outside) = try sent(Self.udpOut)
    // 128 bytes of quote, zero padded, length field 32 words, then an extension structure (version 2, one MPLS object).
    func extended(_ quoted: Packet) -> [UInt8] {
      let quote = quoted.quote(100)
      let padded = quote + [UInt8](repeating: 0, count: 128 - quote.count)
      return padded + [0x20, 0, 0xA5, 0x5A, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0xFF]
    }
    var error = Packet.icmpError(type: 11, code: 0, rest: 32 << 16, from: Self.router, to: wan, about: outside)
    error.icmp.payload = extended(outside)
    var inside = error.with {
      $0.ip.destination = server; $0.ip.ttl = 63
    }
    inside.icmp.payload = extended(Self.udpOut.with { $0.ip.ttl = 3 })
    gateway.receive(error, on: "wan").expectForward(inside, on: "lan")
  }

  @Test(arguments: [0, 2, 47, 50, 132, 255] as [UInt8])
  func `I8 an error about no session, or another protocol, is dropped in silence`(number: UInt8) throws {
    let (gateway, outside) = try sent(Self.udpOut)
    let unknown = Packet.other(protocol: number, wan, client.host, [UInt8](repeating: 7, count: 20))
    gateway.receive(.icmpError(type: 3, code: 2, from: client.host, to: wan, about: unknown), on: "wan")
      .expectDrop(.icmpUnmatched)
    let elsewhere = outside.with { $0.udp.sourcePort = 4001 }
    gateway.receive(.icmpError(type: 3, code: 3, from: client.host, to: wan, about: elsewhere), on: "wan")
      .expectDrop(.icmpUnmatched)
  }

  @Test func `A10 an error whose outer destination is not the quoted source opens nothing`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: { $0.change("wan") { $0.addresses.append(IPv4Prefix("203.0.113.2/24")!) } }))
    gateway.receive(Self.udpOut, on: "lan").expect(.forward)
    let outside = Self.udpOut.translated(from: "203.0.113.1:4000")
    gateway.receive(.icmpError(type: 3, code: 3, from: Self.router, to: "203.0.113.2", about: outside), on: "wan")
      .expect(.drop)
  }

  @Test func `I13 an error about a later fragment is dropped, about a first one translated`() throws {
    let (gateway, outside) = try sent(Self.udpOut)
    let pieces = outside.fragments(of: 16)
    let later = Packet.icmpError(type: 11, code: 1, from: Self.router, to: wan, about: pieces[1], keeping: 8)
    gateway.receive(later, on: "wan").expect(.drop)
    let first = Packet.icmpError(type: 11, code: 1, from: Self.router, to: wan, about: pieces[0], keeping: 8)
    let reverted = Self.udpOut.with { $0.ip.ttl = 3 }.fragments(of: 16)[0]
    let inside = Packet.icmpError(type: 11, code: 1, from: Self.router, to: server, about: reverted, keeping: 8) {
      $0.ip.ttl = 63
    }
    gateway.receive(first, on: "wan").expectForward(inside, on: "lan")
  }

  @Test func `I9 T14 errors delete nothing and restart nothing, for TCP too`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway)
    talk.open()
    let error = Packet.icmpError(
      type: 3, code: 3, from: talk.outside.host, to: wan,
      about: talk.segment(.inside, .ack).translated(from: talk.outsideSees))
    gateway.receive(error, on: "wan", at: 5000).expect(.forward)
    talk.send(.outside, .ack, "alive", at: 5001)
    gateway.receive(error, on: "wan", at: 10_000).expect(.forward)
    gateway.advance(to: 5001 + 7440)
    #expect(gateway.live == 0)
  }

  // MARK: From inside

  private func forwarded() throws -> (TestGateway, Packet) {
    let gateway = try TestGateway(.home { $0.forward([.tcp, .udp], ports: "8080", to: "192.168.1.10:80") })
    let there = Packet.udp(client, Peer(wan, 8080), "from outside, with a payload")
    let here = there.translated(to: "192.168.1.10:80")
    gateway.receive(there, on: "wan").expectForward(here, on: "lan")
    return (gateway, here)
  }

  @Test(arguments: ["192.168.1.10", "192.168.1.12"] as [Host])
  func `I7 an error from the target or an inside router leaves from our outside address`(sender: Host) throws {
    for (type, code, rest) in Self.kinds {
      let (gateway, here) = try forwarded()
      let error = Packet.icmpError(
        type: type, code: code, rest: rest, from: sender, to: client.host, about: here, keeping: 100)
      let reverted = here.with {
        $0.ip.destination = wan; $0.udp.destinationPort = 8080
      }
      let outside = Packet.icmpError(
        type: type, code: code, rest: rest, from: wan, to: client.host, about: reverted, keeping: 100
      ) { $0.ip.ttl = 63 }
      gateway.receive(error, on: "lan").expectForward(outside, on: "wan")
    }
  }

  @Test func `I7 the same through source gateway: the client gets what it sent quoted back`() throws {
    let gateway = try TestGateway(
      .home { $0.forward(.udp, ports: "8080", to: "192.168.1.10:80") { $0.source = .gateway } })
    let there = Packet.udp(client, Peer(wan, 8080))
    let here = there.translated(from: "192.168.1.1:40000", to: "192.168.1.10:80")
    gateway.receive(there, on: "wan").expectForward(here, on: "lan")
    let error = Packet.icmpError(type: 3, code: 3, from: server, to: "192.168.1.1", about: here)
    let outside = Packet.icmpError(type: 3, code: 3, from: wan, to: client.host, about: there.with { $0.ip.ttl -= 1 }) {
      $0.ip.ttl = 63
    }
    gateway.receive(error, on: "lan").expectForward(outside, on: "wan")
  }

  @Test func `I8 an inside error about nothing is dropped`() throws {
    let (gateway, here) = try forwarded()
    let other = here.with { $0.udp.sourcePort = 1 }
    gateway.receive(.icmpError(type: 3, code: 3, from: server, to: client.host, about: other), on: "lan")
      .expectDrop(.icmpUnmatched)
  }
}

/// A9, A10: errors that somebody made up who knows a connection's ends, and nothing of it (RFC 5927).
@Suite struct ForgedErrorTests {
  private func established() throws -> (TestGateway, TCPTalk) {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway)
    talk.open()
    talk.send(.inside, [.ack, .psh], "a request")
    return (gateway, talk)
  }

  private func error(_ talk: TCPTalk, sequence: UInt32, code: UInt8 = 3, rest: UInt32 = 0) -> Packet {
    let quoted = Packet.tcp("203.0.113.1:5000", talk.outside, .ack, sequence: sequence) { $0.ip.ttl = 9 }
    return .icmpError(type: 3, code: code, rest: rest, from: "198.51.100.1", to: wan, about: quoted)
  }

  @Test func `A9 the quoted TCP segment must be one that was sent, and not long ago`() throws {
    let (gateway, talk) = try established()
    let next = talk.insideNext
    for sequence in [next, next &- 9, next &- 10] {
      gateway.receive(error(talk, sequence: sequence), on: "wan").expect(.forward)
    }
    for sequence in [next &+ 1, next &+ 100_000, next &- 100_000, next ^ 0x8000_0000] {
      gateway.receive(error(talk, sequence: sequence), on: "wan").expectDrop(.icmpForged)
    }
  }

  @Test func `A9 an MTU below 576 is nobody's; zero is an old router's`() throws {
    let (gateway, talk) = try established()
    for (mtu, verdict) in [(UInt32(68), Verdict.drop), (575, .drop), (576, .forward), (1400, .forward), (0, .forward)] {
      gateway.receive(error(talk, sequence: talk.insideNext, code: 4, rest: mtu), on: "wan").expect(verdict)
    }
    #expect(gateway.drops(.icmpForged) == 2)
  }

  @Test func `A10 an error to another address than the quoted sender's is none of ours`() throws {
    let (gateway, talk) = try established()
    let other = error(talk, sequence: talk.insideNext).with { $0.ip.destination = "203.0.113.77" }
    gateway.receive(other, on: "wan").expect(.drop)
  }
}
