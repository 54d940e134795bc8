import PacketTestKit
import Testing

@testable import Engine

/// A full table (REQUIREMENTS P2, A5; RFC 6888 REQ-11): what is not a connection yet, or not any more, gives way; what
/// lives never does.
@Suite struct PressureTests {
  private typealias Packet = PacketTestKit.Packet

  private static func plan(sessions: Int, halfOpen: Int? = nil) -> Plan {
    .masqueraded(more: {
      $0.sessions = sessions
      $0.limits.halfOpen = halfOpen
      $0.forward(.both, ports: "80", to: "192.168.1.10:80")
    })
  }

  private func syn(_ number: Int) -> Packet {
    .tcp(Peer(Host("198.18.0.1").advanced(by: number % 5000), UInt16(1024 + number % 50_000)), Peer(wan, 80), .syn)
  }

  private func talk(_ gateway: TestGateway, _ number: Int) -> TCPTalk {
    TCPTalk.outward(gateway, from: Peer("192.168.1.11", UInt16(10_000 + number)))
  }

  /// What the engine counts must be what is in the table.
  private func expectCounts(_ gateway: TestGateway, sourceLocation: SourceLocation = #_sourceLocation) {
    let opening = gateway.sessions().count { $0.state == "opening" }
    #expect(gateway.use.halfOpen == opening, sourceLocation: sourceLocation)
  }

  @Test func `P2 A5 ten tables full of SYNs: established flows go on, and who connects meanwhile gets through`() throws
  {
    let gateway = try TestGateway(Self.plan(sessions: 512))
    let talks = (0..<200).map { talk(gateway, $0) }
    talks.forEach { $0.open(at: 0) }
    let stream = Packet.udp("192.168.1.12:7000", client)
    gateway.receive(stream, on: "lan").expect(.forward)
    var newcomer = talk(gateway, 5000)
    for number in 0..<5120 {
      gateway.receive(syn(number), on: "wan", at: 1 + Double(number) / 1000).expect(.forward)
      if number % 3 == 0 { talks[number % talks.count].send(number % 2 == 0 ? .inside : .outside, .ack, "x") }
      // Again and again a connection begins in the flood, and ends; an answer takes 20 ms.
      switch number % 200 {
      case 0:
        newcomer = talk(gateway, 5000 + number)
        newcomer.send(.inside, .syn)
      case 20: newcomer.send(.outside, [.syn, .ack])
      case 40: newcomer.send(.inside, .ack)
      case 60: newcomer.send(.inside, [.fin, .ack])
      case 80: newcomer.send(.outside, [.fin, .ack])
      default: break
      }
    }
    for talk in talks { talk.send(.outside, .ack, "still here") }
    gateway.receive(stream, on: "lan").expect(.forward)
    #expect(gateway.drops(.tableFull) == 0 && gateway.drops(.halfOpenLimit) == 0)
    #expect(gateway.count(of: .sessionEvicted) > 4000 && gateway.use.halfOpen <= 256)
    expectCounts(gateway)
    gateway.advance(to: 100_000)
    #expect(gateway.live == 0 && gateway.use.halfOpen == 0)
  }

  @Test func `P2 a table full of live sessions refuses, and none of them gives way`() throws {
    let gateway = try TestGateway(Self.plan(sessions: 64))
    let talks = (0..<32).map { talk(gateway, $0) }
    talks.forEach { $0.open(at: 0) }
    let streams = (0..<32).map { Packet.udp(Peer("192.168.1.12", UInt16(7000 + $0)), client) }
    for stream in streams { gateway.receive(stream, on: "lan", at: 1).expect(.forward) }
    for number in 0..<500 { gateway.receive(syn(number), on: "wan", at: 2 + Double(number) / 50) }
    #expect(gateway.drops(.tableFull) > 400)
    for talk in talks { talk.send(.inside, .ack, "still here") }
    for stream in streams { gateway.receive(stream, on: "lan").expect(.forward) }
    #expect(gateway.count(of: .sessionEvicted) == 0)
  }

  @Test func `P2 half-open, closing and reset connections make way for a datagram, and the oldest of them first`()
    throws
  {
    let gateway = try TestGateway(Self.plan(sessions: 16, halfOpen: 16))
    let talks = (0..<8).map { talk(gateway, $0) }
    talks.forEach { $0.open(at: 0) }
    talks[1].send(.inside, [.fin, .ack], at: 1)
    talks[1].send(.outside, [.fin, .ack])
    talks[2].send(.inside, .rst, at: 2)
    for number in 0..<8 where gateway.use.sessions < 16 {
      gateway.receive(syn(number), on: "wan", at: 3 + Double(number)).expect(.forward)
    }
    let before = Set(gateway.sessions().map(\.identity))
    #expect(gateway.use.sessions == 16)
    for number in 0..<10 {
      let stream = Packet.udp(Peer("192.168.1.12", UInt16(7000 + number)), client)
      gateway.receive(stream, on: "lan", at: 12).expect(.forward)
    }
    // Ten have gone, and what is established is not among them.
    let after = gateway.sessions()
    #expect(gateway.count(of: .sessionEvicted) == 10 && before.subtracting(after.map(\.identity)).count == 10)
    #expect(after.count { $0.state == "established" } == 6 && after.allSatisfy { $0.state != "opening" })
    gateway.receive(.udp("192.168.1.12:8000", client), on: "lan").expectRefusal(.tableFull)
    #expect(gateway.use.halfOpen == 0 && gateway.use.fill == 100)
  }

  @Test func `P2 half-open connections have a budget of their own; the one idle longest gives way to a new one`() throws
  {
    let gateway = try TestGateway(Self.plan(sessions: 4096, halfOpen: 4))
    for number in 0..<4 { gateway.receive(syn(number), on: "wan", at: Double(number)).expect(.forward) }
    #expect(gateway.live == 4)
    gateway.receive(syn(4), on: "wan", at: 4).expect(.forward)
    let clients = Set(gateway.sessions().map(\.original.source.port))
    #expect(clients == [1025, 1026, 1027, 1028])
    // The budget is no limit for anything else.
    let talk = talk(gateway, 0)
    talk.open(at: 5)
    gateway.receive(.udp("192.168.1.12:7000", client), on: "lan").expect(.forward)
    gateway.receive(syn(5), on: "wan", at: 6).expect(.forward)
    #expect(gateway.use.halfOpen == 4 && gateway.count(of: .sessionEvicted) == 2)
    expectCounts(gateway)
    // Over by the clock is no half-open connection any more.
    gateway.receive(syn(6), on: "wan", at: 300).expect(.forward)
    gateway.advance(to: 320)
    #expect(gateway.use.halfOpen == 1)
    // A new budget holds at once, and for new ones.
    try gateway.reload { $0.limits.halfOpen = 1 }
    gateway.receive(syn(7), on: "wan", at: 321).expect(.forward)
    #expect(gateway.use.halfOpen == 1)
  }

  @Test func `P2 at 95 percent the sweep gives places back ahead of need, and no handshake under way`() throws {
    let gateway = try TestGateway(Self.plan(sessions: 200, halfOpen: 200))
    for number in 0..<170 {
      gateway.receive(.udp(Peer("192.168.1.12", UInt16(7000 + number)), client), on: "lan", at: 0).expect(.forward)
    }
    for number in 0..<26 { gateway.receive(syn(number), on: "wan", at: 0).expect(.forward) }
    #expect(gateway.use.sessions == 196)
    gateway.advance(to: 2.5)
    #expect(gateway.count(of: .sessionEvicted) == 0)
    gateway.advance(to: 6)
    #expect(gateway.use.sessions == 189 && gateway.use.halfOpen == 19)
    gateway.advance(to: 30)
    #expect(gateway.use.sessions == 189)
    expectCounts(gateway)
  }

  @Test func `P2 a half-open connection that a restart takes over counts there too`() throws {
    let boot = BootIdentity(high: 1, low: 2)
    let first = try TestGateway(Self.plan(sessions: 256, halfOpen: 4), boot: boot)
    for number in 0..<4 { first.receive(syn(number), on: "wan", at: Double(number)).expect(.forward) }
    talk(first, 0).open(at: 5)
    let (gateway, report) = try first.restarted(Self.plan(sessions: 256, halfOpen: 4), boot: boot)
    // One has given way to the connection, which is established now.
    #expect(report.sessions == 4 && gateway.use.halfOpen == 3)
    for number in 10..<13 { gateway.receive(syn(number), on: "wan").expect(.forward) }
    #expect(gateway.use.halfOpen == 4 && gateway.live == 5)
  }
}
