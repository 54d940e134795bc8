import Engine
import PacketTestKit
import Testing

/// P7, P8: rules replaced while sessions live. Each obeys the rules of the moment: kept where they give the same result, else
/// begun anew or cut, never misdirected.
@Suite struct ReloadTests {
  private let target: Peer = "192.168.1.10:9090"
  private let other: Peer = "192.168.1.11:9090"

  private static func web(to target: String, _ change: Plan.OnChange = .keep) -> Plan {
    .masqueraded(more: {
      $0.onChange = change
      $0.forward("web", .both, ports: "8000", to: target)
      $0.forward("other", .both, ports: "7000", to: "192.168.1.12")
    })
  }

  /// A connection from outside through port 8000.
  private func connection(_ gateway: TestGateway) -> TCPTalk {
    let talk = TCPTalk(gateway, inside: target, seeing: client, outside: client, seeing: Peer(wan, 8000))
    talk.open(from: .outside)
    return talk
  }

  // MARK: Kept

  @Test func `P8 what has not changed goes on: connections, streams, mappings and their counters`() throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090"))
    let talk = connection(gateway)
    let out = TCPTalk.outward(gateway, from: "192.168.1.11:5000")
    out.open()
    let stream = Packet.udp(client, Peer(wan, 8000))
    gateway.receive(stream, on: "wan").expectForward(stream.translated(to: target), on: "lan")
    let before = gateway.sessions().map(\.identity)
    // Another order, other names, another forward more: all of it without a meaning for these sessions.
    try gateway.reload {
      $0.forwards.reverse()
      $0.forwards[1].name = "renamed"
      $0.forward("more", .tcp, ports: "9999", to: "192.168.1.12")
    }
    for _ in 0..<3 {
      talk.send(.outside, .ack, "request")
      talk.send(.inside, .ack, "answer")
      out.send(.inside, .ack, "request")
      out.send(.outside, .ack, "answer")
    }
    gateway.receive(stream, on: "wan").expectForward(stream.translated(to: target), on: "lan")
    let sessions = gateway.sessions()
    #expect(sessions.map(\.identity) == before)
    let kept = try #require(sessions.first { $0.ipProtocol == 6 && $0.original.destination.port == 8000 })
    #expect(kept.origin == .forward(1) && kept.original.packets == 5 && kept.state == "established")
    #expect(gateway.count(of: .sessionCut) == 0 && gateway.count(of: .sessionRetargeted) == 0)
  }

  @Test func `a session names the rule that makes it now, reviewed or not`() throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090"))
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
    try gateway.reload { $0.forwards.reverse() }
    #expect(gateway.sessions().map(\.origin) == [.forward(1)])
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
    #expect(gateway.sessions().map(\.origin) == [.forward(1)])
  }

  // MARK: Removed

  @Test(arguments: [Plan.OnChange.keep, .cut])
  func `P8 a forward that is gone ends its connections both ways, by a reset`(change: Plan.OnChange) throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090", change))
    let talk = connection(gateway)
    try gateway.reload { $0.forwards.removeFirst() }
    #expect(gateway.live == 0)
    for side in [TCPTalk.Side.outside, .inside, .outside] {
      let segment = talk.segment(side, .ack, "data")
      let answer = try #require(talk.offer(segment, from: side).expectDropAnswered(.sessionCut))
      let reset = try #require(answer.decoded.tcp)
      // RFC 9293 section 3.5.2: exactly what the sender awaits next, so that it takes the reset at its word.
      #expect(reset.flags == .rst && reset.sequence == segment.tcp.acknowledgment)
      #expect(answer.decoded.source == Peer(segment.ip.destination, segment.tcp.destinationPort))
      #expect(answer.decoded.destination == Peer(segment.ip.source, segment.tcp.sourcePort))
      #expect(answer.interface == (side == .inside ? "lan" : "wan"))
    }
    talk.offer(talk.segment(.inside, .rst), from: .inside).expectDrop(.sessionCut)
    gateway.receive(.tcp(client, Peer(wan, 8000), .syn), on: "wan").expectDrop(.noForward)
    #expect(gateway.count(of: .sessionCut) == 1 && gateway.live == 0)
  }

  @Test func `a mark of a cut connection goes with its time, or when the client connects again`() throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090"))
    let talk = connection(gateway)
    let all = gateway.plan
    try gateway.reload { $0.forwards.removeFirst() }
    talk.offer(talk.segment(.outside, .ack), from: .outside).expect(.drop)
    try gateway.reload(all)
    // The old connection does not come back with the forward; a new one from the same port does.
    talk.offer(talk.segment(.outside, .ack), from: .outside).expect(.drop)
    #expect(gateway.drops(.sessionCut) == 2)
    connection(gateway).send(.outside, .ack, "again")
    #expect(gateway.live == 1)
    try gateway.reload { $0.forwards.removeFirst() }
    talk.offer(talk.segment(.outside, .ack), from: .outside).expect(.drop)
    gateway.advance(to: 241)
    talk.offer(talk.segment(.outside, .ack), from: .outside).expectDrop(.noForward)
  }

  @Test func `a forward that is gone takes no datagram more, and one that is disabled neither`() throws {
    for change: (inout Plan) -> Void in [{ $0.forwards.removeFirst() }, { $0.forwards[0].isEnabled = false }] {
      let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090"))
      gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
      try gateway.reload(change)
      gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expectDrop(.noForward)
      #expect(gateway.live == 0)
    }
  }

  @Test func `sources that are no longer allowed are cut off, others not`() throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090"))
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
    gateway.receive(.udp(stranger, Peer(wan, 8000)), on: "wan").expect(.forward)
    try gateway.reload { $0.forwards[0].deny = [IPv4Prefix("198.51.100.99/32")!] }
    gateway.receive(.udp(stranger, Peer(wan, 8000)), on: "wan").expectDrop(.notAllowed)
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
  }

  // MARK: Another target

  @Test(arguments: [Plan.OnChange.keep, .cut])
  func `P8 datagrams go to the new target at once, whatever is set`(change: Plan.OnChange) throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090", change))
    let stream = Packet.udp(client, Peer(wan, 8000))
    gateway.receive(stream, on: "wan").expectForward(stream.translated(to: target), on: "lan")
    try gateway.reload(Self.web(to: "192.168.1.11:9090", change))
    gateway.receive(stream, on: "wan").expectForward(stream.translated(to: other), on: "lan")
    let answer = Packet.udp(other, client)
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 8000)), on: "wan")
    // The old target is an inside host like any other now, and never again the forward's outside endpoint.
    let late = gateway.receive(.udp(target, client), on: "lan").forwarded?.decoded
    #expect(late?.source != Peer(wan, 8000))
    #expect(gateway.count(of: change == .keep ? .sessionRetargeted : .sessionCut) == 1)
  }

  @Test func `P8 keep: a connection goes on at the new target, which will reset it`() throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090"))
    let talk = connection(gateway)
    try gateway.reload(Self.web(to: "192.168.1.11:9090"))
    let segment = talk.segment(.outside, .ack, "data")
    gateway.receive(segment, on: "wan").expectForward(segment.translated(to: other), on: "lan")
    let reset = Packet.tcp(other, client, .rst, sequence: segment.tcp.acknowledgment)
    gateway.receive(reset, on: "lan").expectForward(reset.translated(from: Peer(wan, 8000)), on: "wan")
  }

  @Test func `P8 cut: a connection ends by our own reset, and a new one goes to the new target`() throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090", .cut))
    let talk = connection(gateway)
    try gateway.reload(Self.web(to: "192.168.1.11:9090", .cut))
    #expect(talk.offer(talk.segment(.outside, .ack, "x"), from: .outside).expectDropAnswered(.sessionCut) != nil)
    let syn = Packet.tcp(client, Peer(wan, 8000), .syn)
    gateway.receive(syn, on: "wan").expectForward(syn.translated(to: other), on: "lan")
  }

  @Test func `a target port, source rule or hairpin switch that changes counts as another result`() throws {
    let gateway = try TestGateway(Self.web(to: "192.168.1.10:9090"))
    let inside = Packet.udp("192.168.1.12:6000", Peer(wan, 8000))
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
    gateway.receive(inside, on: "lan").expect(.forward)
    try gateway.reload { $0.forwards[0].source = .gateway }
    let seen = gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").forwarded?.decoded
    #expect(seen?.source?.host == "192.168.1.1" && seen?.destination == target)
    try gateway.reload { $0.forwards[0].hairpin = false }
    gateway.receive(inside, on: "lan").expectDrop(.hairpinOff)
    try gateway.reload { $0.forwards[0].spans[0].target = 9091 }
    let moved = gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").forwarded?.decoded
    #expect(moved?.destination == "192.168.1.10:9091")
  }
}
