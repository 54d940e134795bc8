import Engine
import PacketTestKit
import Testing

/// What a segment may do to a session by where it lies in the sequence space (RFC 5961, RFC 7857 section 2.2). A blind
/// outsider knows the five-tuple and guesses the rest.
@Suite struct TCPWindowTests {
  /// Established, with windows of 8 MiB: a blind sweep of 2^16 places hits them many times.
  private func established(scale: UInt8? = 7) throws -> (TestGateway, TCPTalk) {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway)
    for (side, flags) in [(TCPTalk.Side.inside, TCPHeader.Flags.syn), (.outside, [.syn, .ack])] {
      let syn = talk.segment(side, flags).with {
        $0.tcp.window = 0xFFFF
        if let scale { $0.tcp.options = [2, 4, 5, 180, 1, 3, 3, scale] }
      }
      talk.deliver(syn, from: side)
      if side == .inside { talk.insideNext &+= 1 } else { talk.outsideNext &+= 1 }
    }
    for side in [TCPTalk.Side.inside, .outside] {
      talk.deliver(talk.segment(side, .ack).with { $0.tcp.window = 0xFFFF }, from: side)
    }
    return (gateway, talk)
  }

  private func state(_ gateway: TestGateway) -> String? { gateway.sessions().first?.state }

  private func blind(_ talk: TCPTalk, _ flags: TCPHeader.Flags, at sequence: UInt32) {
    let segment = talk.segment(.outside, flags).with { $0.tcp.sequence = sequence }
    talk.deliver(segment, from: .outside)
  }

  @Test func `T7 a blind sweep of 65536 resets, many of them in the window, moves nothing`() throws {
    let (gateway, talk) = try established()
    for step: UInt32 in 0..<65536 { blind(talk, .rst, at: talk.outsideNext &+ 1 &+ step &* 65536) }
    #expect(state(gateway) == "established")
    gateway.advance(to: 7439)
    #expect(gateway.live == 1)
  }

  @Test func `T7 nor do resets next to the one place that counts, or behind data that nobody vouches for`() throws {
    let (gateway, talk) = try established()
    for offset in [-1, 1, 1460] { blind(talk, .rst, at: talk.outsideNext &+ UInt32(bitPattern: Int32(offset))) }
    for step: UInt32 in 1..<1024 {
      // Every place of the window is offered as data, as a FIN, and then as a reset.
      let place = talk.outsideNext &+ step &* 8192
      talk.deliver(talk.segment(.outside, .ack, "x").with { $0.tcp.sequence = place }, from: .outside)
      blind(talk, .rst, at: place &+ 1)
      blind(talk, [.fin, .ack], at: place)
      blind(talk, .rst, at: place &+ 1)
      #expect(state(gateway) == "established", "\(step)")
    }
  }

  @Test func `T7 the exact RST counts: where the receiver is, and where the sender is`() throws {
    for unacknowledged in ["", "data in flight"] {
      let (gateway, talk) = try established()
      if !unacknowledged.isEmpty { talk.send(.outside, [.ack, .psh], unacknowledged) }
      talk.send(.outside, .rst)
      #expect(state(gateway) == "reset")
    }
    let (gateway, talk) = try established()
    let acknowledged = talk.outsideNext
    talk.send(.outside, [.ack, .psh], "data that the client has not taken")
    blind(talk, .rst, at: acknowledged)
    #expect(state(gateway) == "reset")
  }

  @Test func `T7 a FIN outside of the window ends nothing`() throws {
    let (gateway, talk) = try established()
    talk.send(.inside, [.fin, .ack], at: 10)
    for step: UInt32 in 1..<64 {
      blind(talk, [.fin, .ack], at: talk.outsideNext &+ 0x0100_0000 &+ step &* 0x0300_0000)
    }
    #expect(state(gateway) == "established")
    talk.send(.outside, .ack, "more", at: 10 + 7439)
    talk.send(.outside, [.fin, .ack], at: 10 + 7439)
    #expect(state(gateway) == "closing")
  }

  @Test func `T7 a blind FIN that hits the window is taken back by the data behind it`() throws {
    let (gateway, talk) = try established()
    talk.send(.inside, [.fin, .ack])
    blind(talk, [.fin, .ack], at: talk.outsideNext &+ 2)
    #expect(state(gateway) == "closing")
    talk.send(.outside, .ack, "goes on as if nothing had been")
    #expect(state(gateway) == "established")
    gateway.advance(to: 7439)
    #expect(gateway.live == 1)
  }

  @Test func `T9 a FIN that overtakes data, and one that is repeated, count once`() throws {
    let (gateway, talk) = try established()
    let late = talk.segment(.outside, .ack, "late")
    talk.outsideNext &+= 4
    let fin = talk.segment(.outside, [.fin, .ack])
    talk.outsideNext &+= 1
    for segment in [fin, late, fin] { talk.deliver(segment, from: .outside) }
    talk.send(.inside, [.fin, .ack])
    talk.send(.outside, .ack)
    #expect(state(gateway) == "closing")
  }

  @Test func `T9 the handshake of somebody who sees no answer makes nothing last for hours`() throws {
    let gateway = try TestGateway(.home { $0.forward(ports: "80", to: "192.168.1.10") })
    let talk = TCPTalk(gateway, inside: "192.168.1.10:80", seeing: client, outside: client, seeing: Peer(wan, 80))
    talk.send(.outside, .syn)
    talk.send(.inside, [.syn, .ack])
    talk.deliver(
      talk.segment(.outside, .ack).with { $0.tcp.acknowledgment = talk.insideNext &- 0x0100_0000 }, from: .outside)
    #expect(state(gateway) == "opening")
    talk.send(.outside, .ack)
    #expect(state(gateway) == "established")
  }

  @Test(arguments: [UInt8?.none, 0, 14])
  func `T9 any window scale: 3 segments out of order, repeated data and late ones end as they should`(scale: UInt8?)
    throws
  {
    let (gateway, talk) = try established(scale: scale)
    var parts: [Packet] = []
    for text in ["one", "two", "three", "four"] {
      parts.append(talk.segment(.outside, .ack, text))
      talk.outsideNext &+= UInt32(text.utf8.count)
    }
    for index in [3, 2, 1, 0, 0, 2] { talk.deliver(parts[index], from: .outside) }
    talk.send(.inside, .ack)
    talk.send(.outside, .rst)
    #expect(state(gateway) == "reset")
  }

  @Test func `T9 with the scale of one side alone both windows are as they stand`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway)
    talk.deliver(talk.segment(.inside, .syn).with { $0.tcp.options = [3, 3, 14, 0] }, from: .inside)
    talk.insideNext &+= 1
    talk.send(.outside, [.syn, .ack])
    talk.send(.inside, .ack)
    talk.send(.inside, [.fin, .ack])
    // Far outside of 64 KiB, well inside of 64 KiB << 14.
    blind(talk, [.fin, .ack], at: talk.outsideNext &+ 0x0100_0000)
    #expect(state(gateway) == "established")
  }

  @Test func `T9 an acknowledgement of data that went past us brings the tracker back (conntrack_ack_loss_stall)`()
    throws
  {
    let (gateway, talk) = try established()
    // The server's data takes another way; only the client's acknowledgement of it is seen here.
    talk.outsideNext &+= 4000
    talk.send(.inside, .ack)
    talk.send(.outside, .ack, "seen again")
    talk.send(.inside, .ack)
    talk.send(.inside, [.fin, .ack])
    talk.send(.outside, [.fin, .ack])
    #expect(state(gateway) == "closing")
  }

  @Test func `T9 of a connection that is seen in one direction only every segment is translated`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway)
    talk.send(.inside, .syn)
    for _ in 0..<4 {
      talk.outsideNext &+= 0x0010_0000
      talk.send(.inside, .ack, "to a server that answers elsewhere")
    }
    talk.send(.inside, [.fin, .ack])
    #expect(gateway.live == 1)
  }

  @Test func `T10 a SYN into a live connection, answered by a SYN ACK, opens anew: both had forgotten the old one`()
    throws
  {
    let (gateway, talk) = try established()
    talk.insideNext = 0x7000_0000
    talk.outsideNext = 0x9000_0000
    talk.open(at: 10)
    talk.send(.inside, .ack, "new")
    talk.send(.outside, .ack, "new")
    #expect(state(gateway) == "established")
    talk.send(.outside, .rst)
    #expect(state(gateway) == "reset", "the tracker follows the new numbers")
    #expect(gateway.sessionCounts.created == 1)
  }

  @Test func `T10 SYNs of one side alone never open a live connection anew`() throws {
    let (gateway, talk) = try established()
    for flags in [TCPHeader.Flags.syn, [.syn, .ack], .syn] {
      talk.deliver(talk.segment(.outside, flags).with { $0.tcp.sequence = 0x7000_0000 }, from: .outside)
      #expect(state(gateway) == "established")
    }
  }

  @Test(arguments: [TCPTalk.Side.inside, .outside])
  func `T7 T10 a SYN ACK that does not answer the SYN shortens nothing`(side: TCPTalk.Side) throws {
    let (gateway, talk) = try established()
    let other: TCPTalk.Side = side == .inside ? .outside : .inside
    talk.deliver(talk.segment(other, .syn).with { $0.tcp.sequence = 0x6000_0000 }, from: other)
    talk.deliver(talk.segment(side, .syn).with { $0.tcp.sequence = 0x7000_0000 }, from: side)
    for number: UInt32 in [talk.insideNext, talk.outsideNext, 0x7000_0000, 0x7100_0000, 0xF000_0001] {
      talk.deliver(
        talk.segment(other, [.syn, .ack]).with { $0.tcp.acknowledgment = number }, from: other)
      #expect(state(gateway) == "established", "acknowledging \(number)")
    }
    talk.deliver(
      talk.segment(other, [.syn, .ack]).with { $0.tcp.acknowledgment = 0x7000_0001 }, from: other)
    #expect(state(gateway) == "opening")
  }

  @Test func `T10 a SYN after a RST opens at once`() throws {
    let (gateway, talk) = try established()
    talk.send(.inside, .rst)
    talk.insideNext = 77
    talk.outsideNext = 99
    talk.open(at: 3)
    #expect(state(gateway) == "established")
  }

  @Test func `T17 windows hold across the wrap at 2^32`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway, insideFirst: 0xFFFF_FF00, outsideFirst: 0xFFFF_FF80)
    talk.open()
    for _ in 0..<32 {
      talk.send(.outside, .ack, "sixteen bytes of")
      talk.send(.inside, .ack)
    }
    #expect(talk.outsideNext < 0x1000)
    blind(talk, .rst, at: talk.outsideNext &- 1)
    blind(talk, [.fin, .ack], at: talk.outsideNext &+ 0x8000_0000)
    #expect(state(gateway) == "established")
    talk.send(.outside, .rst)
    #expect(state(gateway) == "reset")
  }
}
