import Engine
import PacketTestKit
import Testing

/// TCP states and timers (RFC 5382, RFC 7857 section 2, RFC 5961), probed in virtual time.
@Suite struct TCPTests {
  private func fresh(filtering: EndpointRule = .addressDependent) throws -> (TestGateway, TCPTalk) {
    let gateway = try TestGateway(.masqueraded { $0.filtering = filtering })
    return (gateway, .outward(gateway))
  }

  private func established() throws -> (TestGateway, TCPTalk) {
    let (gateway, talk) = try fresh()
    talk.open()
    talk.send(.inside, [.ack, .psh], "GET /")
    talk.send(.outside, [.ack, .psh], "200 OK")
    return (gateway, talk)
  }

  /// The session's life ends exactly `idle` seconds after the last step: alive one second before, gone one after.
  private func expectIdle(
    _ idle: Double, sourceLocation: SourceLocation = #_sourceLocation, _ prepare: () throws -> TestGateway
  ) rethrows {
    for (delta, live) in [(-1.0, 1), (1, 0)] {
      let gateway = try prepare()
      gateway.advance(to: gateway.now + idle + delta, sourceLocation: sourceLocation)
      #expect(gateway.live == live, "\(idle) \(delta)", sourceLocation: sourceLocation)
    }
  }

  // MARK: Timers

  @Test func `T5 a SYN alone lives 240 s`() throws {
    try expectIdle(240) {
      let (gateway, talk) = try fresh()
      talk.send(.inside, .syn)
      return gateway
    }
    let (gateway, talk) = try fresh()
    talk.send(.inside, .syn)
    talk.send(.outside, [.syn, .ack], at: 239)
    #expect(gateway.live == 1)
  }

  @Test func `T5 a half open connection lives 240 s from its last segment`() throws {
    try expectIdle(240) {
      let (gateway, talk) = try fresh()
      talk.send(.inside, .syn)
      talk.send(.outside, [.syn, .ack], at: 100)
      return gateway
    }
  }

  @Test func `T5 an established connection lives 7440 s`() throws {
    try expectIdle(7440) { try established().0 }
    let (_, talk) = try established()
    talk.send(.outside, .ack, "still there", at: 7439)
    talk.send(.inside, .ack, "and after", at: 7439 + 7439)
  }

  @Test func `T5 after one FIN the connection is still established: closing begins with both (RFC 5382 section 2)`()
    throws
  {
    let (gateway, talk) = try established()
    talk.send(.inside, [.fin, .ack], at: 10)
    talk.send(.outside, .ack, "more", at: 10 + 7439)
    #expect(gateway.live == 1)
  }

  @Test func `T5 after FIN from both sides 240 s are left`() throws {
    try expectIdle(240) {
      let (gateway, talk) = try established()
      talk.send(.inside, [.fin, .ack])
      talk.send(.outside, [.fin, .ack])
      talk.send(.inside, .ack)
      return gateway
    }
  }

  @Test func `T5 T6 after RST 240 s are left`() throws {
    try expectIdle(240) {
      let (gateway, talk) = try established()
      talk.send(.outside, .rst)
      return gateway
    }
  }

  @Test(arguments: [TCPTalk.Side.inside, .outside])
  func `T6 a RST deletes nothing: later data restores what was before, with its timer`(side: TCPTalk.Side) throws {
    let (gateway, talk) = try established()
    talk.send(side, .rst, at: 10)
    talk.send(.inside, .ack, "alive", at: 200)
    talk.send(.outside, .ack, "me too", at: 201)
    talk.send(.inside, .ack, "later", at: 201 + 7439)
    #expect(gateway.sessionCounts.created == 1)
  }

  @Test func `T6 a RST after a RST restores nothing`() throws {
    let (gateway, talk) = try established()
    talk.send(.outside, .rst, at: 10)
    talk.offer(talk.segment(.outside, .rst), from: .outside, at: 20)
    gateway.advance(to: 20 + 241)
    #expect(gateway.live == 0)
  }

  @Test func `T7 A3 blind resets shorten nothing`() throws {
    let (gateway, talk) = try established()
    for step: UInt32 in 1...64 {
      // Positions all over the space but the receiver's window (RFC 5961 section 3).
      let guess = talk.outsideNext &+ 0x0010_0000 &+ step &* 0x0300_0000
      let reset = talk.segment(.outside, .rst).with { $0.tcp.sequence = guess }
      talk.offer(reset, from: .outside)
    }
    gateway.advance(to: 7439)
    #expect(gateway.live == 1)
    talk.send(.inside, .ack, "unimpressed", at: 7439)
  }

  @Test func `T8 a challenge ACK passes, and the RST that answers it`() throws {
    let (_, talk) = try established()
    // An old incarnation's SYN; the server answers with where it stands; the client resets exactly there.
    talk.offer(talk.segment(.inside, .syn).with { $0.tcp.sequence = 77 }, from: .inside)
    talk.send(.outside, .ack)
    let reset = talk.segment(.inside, .rst)
    talk.deliver(reset, from: .inside)
  }

  // MARK: Sequences

  @Test func `T2 both sides open at once and are connected`() throws {
    let (gateway, talk) = try fresh()
    talk.send(.inside, .syn)
    talk.send(.outside, .syn)
    // Each SYN/ACK repeats its side's SYN, so it stands one before what is due now.
    for side in [TCPTalk.Side.inside, .outside] {
      talk.deliver(talk.segment(side, [.syn, .ack]).with { $0.tcp.sequence -= 1 }, from: side)
    }
    talk.send(.inside, .ack, "open")
    talk.send(.outside, .ack, "open")
    gateway.advance(to: 7439)
    #expect(gateway.live == 1 && gateway.sessionCounts.created == 1)
  }

  @Test func `T3 data on the SYN, urgent, ECN, unknown options, keepalive, window probe: all pass as they are`() throws
  {
    let (_, talk) = try fresh()
    let syn = talk.segment(.inside, [.syn, .ece, .cwr], "early").with {
      $0.tcp.options = [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 253, 6, 1, 2, 3, 4, 34, 2]
    }
    talk.deliver(syn, from: .inside)
    talk.insideNext &+= 6
    talk.send(.outside, [.syn, .ack, .ece])
    talk.send(.inside, .ack)
    talk.deliver(
      talk.segment(.inside, [.ack, .urg, .psh], "urgent").with { $0.tcp.urgentPointer = 3 }, from: .inside)
    talk.insideNext &+= 6
    // Keepalive: one before what is due, without and with a byte of garbage.
    for text in ["", "k"] {
      talk.deliver(talk.segment(.outside, .ack, text).with { $0.tcp.sequence &-= 1 }, from: .outside)
    }
    talk.deliver(talk.segment(.outside, .ack).with { $0.tcp.window = 0 }, from: .outside)
    talk.deliver(talk.segment(.inside, .ack, "p"), from: .inside)
  }

  @Test func `T3 a split handshake in four and in five steps`() throws {
    let (gateway, talk) = try fresh()
    talk.send(.inside, .syn)
    talk.send(.outside, .ack)
    talk.send(.outside, .syn)
    talk.deliver(talk.segment(.inside, [.syn, .ack]).with { $0.tcp.sequence -= 1 }, from: .inside)
    talk.send(.outside, .ack)
    talk.send(.inside, .ack, "hello")
    talk.send(.outside, .ack, "hello")
    gateway.advance(to: 7439)
    #expect(gateway.live == 1)
  }

  @Test func `T3 half close, and FINs that cross`() throws {
    let (_, talk) = try established()
    talk.send(.inside, [.fin, .ack])
    talk.send(.outside, .ack, "the rest of the file")
    talk.send(.inside, .ack)
    talk.send(.outside, [.fin, .ack])
    talk.send(.inside, .ack)

    let (_, crossing) = try established()
    let fins = [TCPTalk.Side.inside, .outside].map { ($0, crossing.segment($0, [.fin, .ack])) }
    for (side, fin) in fins { crossing.deliver(fin, from: side) }
    crossing.insideNext &+= 1
    crossing.outsideNext &+= 1
    crossing.send(.inside, .ack)
    crossing.send(.outside, .ack)
  }

  @Test func `T11 repeated SYN and SYN ACK keep one mapping`() throws {
    let (gateway, talk) = try fresh()
    let syn = talk.segment(.inside, .syn)
    for _ in 0..<3 { talk.deliver(syn, from: .inside) }
    talk.insideNext &+= 1
    let answer = talk.segment(.outside, [.syn, .ack])
    for _ in 0..<3 { talk.deliver(answer, from: .outside) }
    talk.outsideNext &+= 1
    talk.send(.inside, .ack)
    #expect(gateway.sessionCounts.created == 1 && gateway.count(of: .mappingCreated) == 1)
  }

  @Test func `T10 a SYN on a closed connection opens it again`() throws {
    let (gateway, talk) = try established()
    talk.send(.inside, [.fin, .ack])
    talk.send(.outside, [.fin, .ack])
    talk.send(.inside, .ack)
    talk.insideNext = 90_000_000
    talk.outsideNext = 80_000_000
    talk.open(at: 10)
    talk.send(.inside, .ack, "again")
    talk.send(.outside, .ack, "again")
    gateway.advance(to: 10 + 7439)
    #expect(gateway.live == 1)
    talk.send(.outside, .ack, "still", at: 10 + 7439)
  }

  @Test func `T10 a SYN into a live connection does not kill it`() throws {
    let (gateway, talk) = try established()
    for side in [TCPTalk.Side.inside, .outside] {
      talk.offer(talk.segment(side, .syn).with { $0.tcp.sequence = 123 }, from: side)
    }
    gateway.advance(to: 7439)
    #expect(gateway.live == 1)
    talk.send(.outside, .ack, "here", at: 7439)
  }

  @Test func `T16 a connection is picked up by an ACK, transitory until answered`() throws {
    try expectIdle(240) {
      let (gateway, talk) = try fresh()
      talk.send(.inside, .ack, "mid stream")
      return gateway
    }
    try expectIdle(7440) {
      let (gateway, talk) = try fresh()
      talk.send(.inside, .ack, "mid stream")
      talk.send(.outside, .ack, "answer")
      return gateway
    }
  }

  @Test func `T16 with pick-up off a connection begins with a SYN`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.picksUpTCP = false
        $0.forward(ports: "80", to: "192.168.1.10")
      }))
    gateway.receive(.tcp("192.168.1.10:5000", client, .ack), on: "lan").expectDrop(.tcpNotSYN)
    gateway.receive(.tcp(client, Peer(wan, 80), .ack), on: "wan").expectDrop(.tcpNotSYN)
    let talk = TCPTalk.outward(gateway)
    talk.open()
    #expect(gateway.live == 1)
  }

  @Test func `T5 each state has its own time, separately settable`() throws {
    func gateway() throws -> (TestGateway, TCPTalk) {
      let gateway = try TestGateway(
        .masqueraded(more: {
          $0.timeouts.tcpOpening = 30
          $0.timeouts.tcpClosing = 50
          $0.timeouts.tcpReset = 70
        }))
      return (gateway, .outward(gateway))
    }
    try expectIdle(30) {
      let (gateway, talk) = try gateway()
      talk.send(.inside, .syn)
      return gateway
    }
    try expectIdle(50) {
      let (gateway, talk) = try gateway()
      talk.open()
      talk.send(.inside, [.fin, .ack])
      talk.send(.outside, [.fin, .ack])
      return gateway
    }
    try expectIdle(70) {
      let (gateway, talk) = try gateway()
      talk.open()
      talk.send(.outside, .rst)
      return gateway
    }
  }

  @Test(
    arguments: [
      [.syn, .ack], .rst, [.rst, .ack], .fin, [], [.psh], [.syn, .rst],
    ] as [TCPHeader.Flags])
  func `T16 what starts no session`(flags: TCPHeader.Flags) throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(ports: "80", to: "192.168.1.10") }))
    gateway.receive(.tcp("192.168.1.10:5000", client, flags), on: "lan").expectDrop(.tcpNotSYN)
    gateway.receive(.tcp(client, Peer(wan, 80), flags), on: "wan").expectDrop(.tcpNotSYN)
    #expect(gateway.sessionCounts.created == 0)
  }

  @Test func `T17 sequence numbers wrap`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway, insideFirst: 0xFFFF_FFF0, outsideFirst: 0xFFFF_FFFE)
    talk.open()
    for _ in 0..<8 {
      talk.send(.inside, .ack, "eight by")
      talk.send(.outside, .ack, "tes more")
    }
    talk.send(.outside, .rst, at: 10)
    gateway.advance(to: 251)
    #expect(gateway.live == 0, "a reset at the exact place counts on both sides of the wrap")
  }

  @Test func `T9 repeated, reordered and late segments are never leaked untranslated`() throws {
    let (_, talk) = try established()
    let old = talk.segment(.outside, .ack, "old data").with { $0.tcp.sequence &-= 6 }
    let early = talk.segment(.outside, .ack, "third").with { $0.tcp.sequence &+= 10 }
    for packet in [old, early, old] {
      let outcome = talk.offer(packet, from: .outside)
      if outcome.verdict == .forward {
        outcome.expectForward(packet.translated(to: talk.inside), on: "lan")
      } else {
        outcome.expect(.drop)
      }
    }
    talk.send(.outside, .ack, "in order")
  }

  @Test func `states have names in the session list`() throws {
    let (gateway, talk) = try fresh()
    talk.send(.inside, .syn)
    #expect(gateway.sessions().map(\.state) == ["opening"])
    talk.send(.outside, [.syn, .ack])
    talk.send(.inside, .ack)
    let session = try #require(gateway.sessions().first)
    #expect(session.state == "established" && session.ipProtocol == 6)
    #expect(session.original.packets == 2 && session.reply.packets == 1)
    #expect("\(session.original.source)" == "192.168.1.10:5000" && "\(session.reply.destination)" == "203.0.113.1:5000")
    #expect(session.origin == .masquerade(0))
    talk.send(.inside, [.fin, .ack])
    talk.send(.outside, [.fin, .ack])
    #expect(gateway.sessions().map(\.state) == ["closing"])
    let (other, reset) = try established()
    reset.send(.outside, .rst)
    #expect(other.sessions().map(\.state) == ["reset"])
  }
}
