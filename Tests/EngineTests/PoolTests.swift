import Engine
import PacketTestKit
import Testing

/// Several outside addresses, destinations without translation, protocols without ports (RFC 4787 REQ-2, RFC 6888).
@Suite struct PoolTests {
  /// Three ranges that do not touch.
  private static let pool: [Host] = [
    "203.0.113.5", "203.0.113.16", "203.0.113.17", "203.0.113.32", "203.0.113.33", "203.0.113.34",
  ]

  private func pooled(_ change: (inout MasqueradePlan) -> Void = { _ in }, more: (inout Plan) -> Void = { _ in }) throws
    -> TestGateway
  {
    try TestGateway(
      .masqueraded(
        {
          $0.externals = Self.pool.map(\.planned)
          change(&$0)
        }, more: more))
  }

  private func seen(_ gateway: TestGateway, _ source: Peer, to destination: Peer = client, udp: Bool = true) -> Peer? {
    let packet: Packet = udp ? .udp(source, destination) : .tcp(source, destination, .syn)
    guard let peer = gateway.receive(packet, on: "lan").forwarded?.decoded.source else { return nil }
    return peer
  }

  @Test func `P3 U15 an inside host keeps one address of the pool for all it sends, and every address is used`() throws
  {
    let gateway = try pooled()
    var used: Set<Host> = []
    for index in 0..<64 {
      let host = Host("192.168.1.100").advanced(by: index)
      let first = try #require(seen(gateway, Peer(host, 4000)))
      #expect(Self.pool.contains(first.host) && first.port >= 1024)
      for port: UInt16 in [4001, 500, 65535] {
        #expect(seen(gateway, Peer(host, port), to: stranger)?.host == first.host)
        #expect(seen(gateway, Peer(host, port), udp: false)?.host == first.host)
      }
      let ping = gateway.receive(.ping(Peer(host, 9), client.host), on: "lan")
      #expect(ping.forwarded?.decoded.ip?.source == first.host)
      used.insert(first.host)
    }
    for host: Host in [server, neighbor, "192.168.1.12"] {
      let answer = Packet.udp(client, try #require(seen(gateway, Peer(host, 4000))))
      gateway.receive(answer, on: "wan").expectForward(answer.translated(to: Peer(host, 4000)), on: "lan")
    }
    #expect(used.count == Self.pool.count)
  }

  @Test func `U15 a host whose address has no port left gets none from another`() throws {
    let gateway = try pooled { $0.pool = [PortRange(2000, 2001)] }
    var perHost: [Host: Set<Peer>] = [:]
    for index in 0..<24 {
      let host = Host("192.168.1.100").advanced(by: index)
      for port: UInt16 in 4000..<4003 {
        if let peer = seen(gateway, Peer(host, port)) { perHost[host, default: []].insert(peer) }
      }
    }
    #expect(perHost.values.allSatisfy { Set($0.map(\.host)).count == 1 && $0.count <= 2 })
    #expect(gateway.count(of: .mappingCreated) == 12)
    #expect(gateway.drops(.noPort) == 72 - 12)
  }

  @Test func `the pool's addresses are answered for by ARP, and belong to nobody else`() throws {
    let gateway = try pooled()
    for host in Self.pool {
      let request = Packet.arp(operation: 1, sender: .of("203.0.113.254"), "203.0.113.254", host)
      let answer = gateway.receive(request, on: "wan")
      answer.expect(.consume)
      #expect(answer.made.first?.decoded.arp?.senderHost == host)
      gateway.receive(.udp(client, Peer(host, 9)), on: "wan").expectDrop(.noForward)
      gateway.receive(.udp(Peer(host, 9), Peer(wan, 9)), on: "wan").expectDrop(.martian)
    }
  }

  @Test func `U13 hairpin with a pool: the target sees the sender's own address and port`() throws {
    let gateway = try pooled { $0.filtering = .endpointIndependent }
    let a = try #require(seen(gateway, "192.168.1.10:4000"))
    let b = try #require(seen(gateway, "192.168.1.11:4001"))
    let packet = Packet.udp("192.168.1.10:4000", b)
    gateway.receive(packet, on: "lan").expectForward(packet.translated(from: a, to: "192.168.1.11:4001"), on: "lan")
  }

  @Test func `P5 one address is filled to its last port, each used once, and the end is an answer`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.sessions = 70_000 }))
    var ports = [Bool](repeating: false, count: 65_536)
    for index in 0..<65_535 {
      // All want port 1000 or 5000; 254 hosts with 259 destinations would share mappings, so ports differ.
      let inside = Peer(Host("192.168.1.2").advanced(by: index % 250), UInt16(1 + index / 250))
      guard let peer = seen(gateway, inside) else {
        Issue.record("no port for number \(index)")
        return
      }
      #expect(!ports[Int(peer.port)] && peer.port != 0)
      ports[Int(peer.port)] = true
    }
    #expect(gateway.count(of: .mappingCreated) == 65_535)
    let one = gateway.receive(.udp("192.168.1.253:60000", client), on: "lan")
    #expect(one.verdict == .drop && one.reason == .noPort)
    #expect(seen(gateway, "192.168.1.253:60000", udp: false) != nil)
  }

  // MARK: P4

  @Test func `P4 configured destinations are reached without translation, and answer`() throws {
    let gateway = try TestGateway(.masqueraded { $0.except = [IPv4Prefix("198.51.100.64/26")!] })
    for packet in [Packet.udp("192.168.1.10:4000", stranger), .tcp("192.168.1.10:4000", stranger, .syn)] {
      gateway.receive(packet, on: "lan").expectForward(packet.translated(), on: "wan")
      let answer: Packet =
        packet.ipProtocol == 17
        ? .udp(stranger, "192.168.1.10:4000") : .tcp(stranger, "192.168.1.10:4000", [.syn, .ack])
      gateway.receive(answer, on: "wan").expectForward(answer.translated(), on: "lan")
    }
    let ping = Packet.ping("192.168.1.10:7", stranger.host)
    gateway.receive(ping, on: "lan").expectForward(ping.translated(), on: "wan")
    let pieces = Packet.udp(stranger, "192.168.1.10:4000", String(repeating: "x", count: 3000)) {
      $0.ip.dontFragment = false
    }.fragments(of: 1480)
    for piece in pieces.reversed() { gateway.receive(piece, on: "wan") }
    #expect(gateway.counts("wan").forwarded == 5)
    // Others are translated, and nobody gets in unasked.
    #expect(seen(gateway, "192.168.1.10:4000") == "203.0.113.1:4000")
    gateway.receive(.udp(stranger, "192.168.1.10:4001"), on: "wan").expectDrop(.insideFromOutside)
    gateway.receive(.udp(client, "192.168.1.10:4000"), on: "wan").expectDrop(.insideFromOutside)
  }

  @Test func `P4 beside the host's own stack an exception is the host's to route`() throws {
    let gateway = try TestGateway(
      .masqueraded(
        {
          $0.except = [IPv4Prefix("198.51.100.64/26")!]
          $0.pool = [PortRange(2000, 3000)]
        }, more: { $0.mode = .alongside }))
    gateway.receive(.udp("192.168.1.10:4000", stranger), on: "lan").expect(.pass)
    gateway.receive(.udp("192.168.1.10:4000", client), on: "lan").expect(.forward)
    #expect(gateway.live == 1)
  }

  // MARK: P11

  private static let others: [UInt8] = [47, 50, 51, 4, 41, 132]

  @Test(arguments: others)
  func `P11 A19 other protocols are dropped unless configured`(number: UInt8) throws {
    let gateway = try TestGateway(.masqueraded())
    let out = Packet.other(protocol: number, server, client.host, [1, 2, 3, 4, 5, 6, 7, 8])
    gateway.receive(out, on: "lan").expectDrop(.unknownProtocol)
    gateway.receive(.other(protocol: number, client.host, wan, [0]), on: "wan").expectDrop(.unknownProtocol)
  }

  @Test(arguments: others)
  func `P11 with other-protocols one inside host for each peer and protocol`(number: UInt8) throws {
    let gateway = try TestGateway(.masqueraded { $0.otherProtocols = true })
    let payload: [UInt8] = [UInt8](repeating: number, count: 40)
    let out = Packet.other(protocol: number, server, client.host, payload)
    gateway.receive(out, on: "lan").expectForward(
      out.with {
        $0.ip.ttl -= 1
        $0.ip.source = wan
      }, on: "wan")
    let back = Packet.other(protocol: number, client.host, wan, [])
    gateway.receive(back, on: "wan").expectForward(
      back.with {
        $0.ip.ttl -= 1
        $0.ip.destination = server
      }, on: "lan")
    // Another host to the same peer has no way; to another peer, or by another protocol, it has.
    let second = gateway.receive(.other(protocol: number, neighbor, client.host, payload), on: "lan")
    #expect(second.reason == .noPort)
    gateway.receive(.other(protocol: number, neighbor, stranger.host, payload), on: "lan").expect(.forward)
    gateway.receive(.other(protocol: number ^ 3, neighbor, client.host, payload), on: "lan").expect(.forward)
    gateway.receive(.other(protocol: number, "198.51.100.50", wan, payload), on: "wan").expectDrop(.unknownProtocol)
    gateway.advance(to: 599.9)
    #expect(gateway.live == 3)
    gateway.advance(to: 600)
    #expect(gateway.live == 0)
  }

  @Test func `P11 C7 an SCTP packet keeps its CRC32c, which covers no addresses; DCCP and UDP-Lite have no way`() throws
  {
    let gateway = try TestGateway(.masqueraded { $0.otherProtocols = true })
    let sctp: [UInt8] = [0x13, 0x88, 0, 80, 0, 0, 0, 0, 0xDE, 0xAD, 0xBE, 0xEF, 1, 0, 0, 20] + [UInt8](0..<16)
    let outcome = gateway.receive(.other(protocol: 132, server, client.host, sctp), on: "lan")
    #expect(outcome.forwarded?.decoded.payload == sctp)
    for number: UInt8 in [33, 136] {
      gateway.receive(.other(protocol: number, server, client.host, sctp), on: "lan").expectDrop(.unknownProtocol)
    }
  }

  @Test func `P11 pieces and errors of other protocols find their way`() throws {
    let gateway = try TestGateway(.masqueraded { $0.otherProtocols = true })
    let whole = Packet.other(protocol: 47, server, client.host, [UInt8](repeating: 3, count: 3000)) {
      $0.ip.dontFragment = false
    }
    for piece in whole.fragments(of: 1480).reversed() {
      gateway.receive(piece, on: "lan").expectForward(
        piece.with {
          $0.ip.ttl -= 1
          $0.ip.source = wan
        }, on: "wan")
    }
    let about = Packet.other(protocol: 47, wan, client.host, [UInt8](repeating: 3, count: 16))
    let error = Packet.icmpError(type: 3, code: 4, rest: 1400, from: "198.51.100.1", to: wan, about: about)
    let inside = Packet.icmpError(
      type: 3, code: 4, rest: 1400, from: "198.51.100.1", to: server, about: about.with { $0.ip.source = server }
    ) { $0.ip.ttl = 63 }
    gateway.receive(error, on: "wan").expectForward(inside, on: "lan")
  }

  @Test func `P11 a forward of all protocols is an address for an address`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.forward("host", [.tcp, .udp, .echo, .other], ports: "all", to: "192.168.1.10", external: "203.0.113.5")
      }))
    let inward = Packet.other(protocol: 50, client.host, "203.0.113.5", [9, 9, 9, 9, 9, 9, 9, 9])
    gateway.receive(inward, on: "wan").expectForward(
      inward.with {
        $0.ip.ttl -= 1
        $0.ip.destination = server
      }, on: "lan")
    // Its own packets leave from that address too, to anybody; its neighbour's stay at home.
    let outward = Packet.other(protocol: 47, server, stranger.host, [1, 2, 3, 4, 5, 6, 7, 8])
    gateway.receive(outward, on: "lan").expectForward(
      outward.with {
        $0.ip.ttl -= 1
        $0.ip.source = "203.0.113.5"
      }, on: "wan")
    gateway.receive(.other(protocol: 47, neighbor, stranger.host, [0]), on: "lan").expectDrop(.unknownProtocol)
    gateway.receive(.other(protocol: 47, client.host, wan, [0]), on: "wan").expectDrop(.unknownProtocol)
  }

  // MARK: U17

  @Test(arguments: [true, false])
  func `U17 A1 what looks like SIP is carried as it is, and opens nothing`(udp: Bool) throws {
    let gateway = try TestGateway(.masqueraded())
    let text =
      "REGISTER sip:198.51.100.7 SIP/2.0\r\nContact: <sip:a@192.168.1.10:1234>\r\n\r\nc=IN IP4 192.168.1.10\r\n"
    if udp {
      let packet = Packet.udp("192.168.1.10:5060", "198.51.100.7:5060", text)
      gateway.receive(packet, on: "lan").expectForward(packet.translated(from: "203.0.113.1:5060"), on: "wan")
    } else {
      let talk = TCPTalk.outward(gateway, from: "192.168.1.10:5060", to: "198.51.100.7:5060")
      talk.open()
      talk.send(.inside, [.ack, .psh], text)
    }
    for probe in [
      Packet.udp("198.51.100.7:5060", "203.0.113.1:1234"), .tcp("198.51.100.7:9", "203.0.113.1:1234", .syn),
    ] {
      gateway.receive(probe, on: "wan").expectDrop(.noForward)
    }
    #expect(gateway.sessionCounts.created == 1)
  }
}
