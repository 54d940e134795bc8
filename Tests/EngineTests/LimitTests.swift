import PacketTestKit
import Testing

@testable import Engine

/// What one inside host may have, and that nobody else pays for it (REQUIREMENTS P1; RFC 6888 REQ-4, REQ-5).
@Suite struct LimitTests {
  private static let boot = BootIdentity(high: 1, low: 2)

  private static func plan(
    sessions: Int? = nil, ports: Int? = nil, _ change: (inout Plan) -> Void = { _ in }
  ) -> Plan {
    .masqueraded(more: {
      $0.limits.sessionsPerHost = sessions
      $0.limits.portsPerHost = ports
      change(&$0)
    })
  }

  /// A datagram from one inside endpoint to another peer.
  private func send(
    _ gateway: TestGateway, _ source: Peer, to peer: Int = 0, at time: Double? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> TestGateway.Outcome {
    gateway.receive(
      .udp(source, Peer(client.host, UInt16(9000 + peer))), on: "lan", at: time, sourceLocation: sourceLocation)
  }

  @Test func `P1 one host opens a session more than it may; another host is unaffected`() throws {
    let gateway = try TestGateway(Self.plan(sessions: 8))
    for peer in 0..<8 { send(gateway, "192.168.1.10:5000", to: peer).expect(.forward) }
    for peer in 8..<12 {
      send(gateway, "192.168.1.10:5000", to: peer).expectRefusal(.sessionLimit)
    }
    for peer in 0..<8 { send(gateway, "192.168.1.11:5000", to: peer).expect(.forward) }
    // What it has goes on.
    for peer in 0..<8 { send(gateway, "192.168.1.10:5000", to: peer).expect(.forward) }
    #expect(gateway.drops(.sessionLimit) == 4 && gateway.live == 16)
  }

  @Test func `P1 one host takes a port more than it may; ports and sessions are limited apart`() throws {
    let gateway = try TestGateway(Self.plan(sessions: 20, ports: 4))
    for port in 0..<4 { send(gateway, Peer("192.168.1.10", UInt16(5000 + port))).expect(.forward) }
    send(gateway, "192.168.1.10:5004").expectRefusal(.portLimit)
    gateway.receive(.ping("192.168.1.10:77", client.host), on: "lan").expectRefusal(.portLimit)
    gateway.receive(.tcp("192.168.1.10:5004", client, .syn), on: "lan").expectRefusal(.portLimit)
    // More sessions by a port that it has cost none.
    for peer in 1..<17 { send(gateway, "192.168.1.10:5000", to: peer).expect(.forward) }
    send(gateway, "192.168.1.10:5000", to: 17).expectRefusal(.sessionLimit)
    for port in 0..<4 { send(gateway, Peer("192.168.1.11", UInt16(5000 + port))).expect(.forward) }
    #expect(gateway.live == 24 && gateway.count(of: .mappingCreated) == 8)
  }

  @Test func `P1 what is over does not count, whether swept or not`() throws {
    let gateway = try TestGateway(Self.plan(sessions: 4, ports: 4))
    for port in 0..<4 { send(gateway, Peer("192.168.1.10", UInt16(5000 + port))).expect(.forward) }
    send(gateway, "192.168.1.10:6000", at: 299).expectRefusal(.sessionLimit)
    for port in 0..<4 { send(gateway, Peer("192.168.1.10", UInt16(6000 + port)), at: 300.2).expect(.forward) }
    send(gateway, "192.168.1.10:7000").expectRefusal(.sessionLimit)
  }

  @Test func `P1 a port that waits for its former owner is still that host's`() throws {
    let eif = Self.plan(ports: 2) { $0.masquerades[0].filtering = .endpointIndependent }
    let gateway = try TestGateway(eif)
    for port in 0..<2 { send(gateway, Peer("192.168.1.10", UInt16(5000 + port))).expect(.forward) }
    send(gateway, "192.168.1.10:6000", at: 310).expectRefusal(.portLimit)
    send(gateway, "192.168.1.10:5000", at: 311).expect(.forward)
    send(gateway, "192.168.1.10:6000", at: 430).expect(.forward)
  }

  @Test func `P1 outsiders do not use up what an inside host may have`() throws {
    let gateway = try TestGateway(
      Self.plan(sessions: 2, ports: 1) {
        $0.masquerades[0].filtering = .endpointIndependent
        $0.forward(.udp, ports: "7000", to: "192.168.1.10:7000")
      })
    send(gateway, "192.168.1.10:5000").expect(.forward)
    for peer in 0..<20 {
      let outsider = Peer("198.51.100.50", UInt16(1000 + peer))
      gateway.receive(.udp(outsider, Peer(wan, 7000)), on: "wan").expect(.forward)
      gateway.receive(.udp(outsider, Peer(wan, 5000)), on: "wan").expect(.forward)
    }
    send(gateway, "192.168.1.10:5000", to: 1).expect(.forward)
    send(gateway, "192.168.1.10:5000", to: 2).expectRefusal(.sessionLimit)
  }

  @Test func `P1 whatever ends a session or fails to make one, the count is right`() throws {
    let gateway = try TestGateway(
      Self.plan(sessions: 2, ports: 2) { $0.masquerades[0].pool = [PortRange(5000, 5000), PortRange(5001, 5001)] })
    for round in 0..<5 {
      let start = Double(round) * 2000
      // No port: nothing is counted for what was not made.
      send(gateway, "192.168.1.11:5000", at: start).expect(.forward)
      send(gateway, "192.168.1.12:5001").expect(.forward)
      for port in 0..<9 { send(gateway, Peer("192.168.1.10", UInt16(4000 + port))).expectRefusal(.noPort) }
      gateway.advance(to: start + 400)
      // Killed, cut by a reload, or expired.
      let talk = TCPTalk.outward(gateway, from: "192.168.1.10:5000")
      talk.open()
      send(gateway, "192.168.1.10:5001").expect(.forward)
      send(gateway, "192.168.1.10:5001", to: 1).expectRefusal(.sessionLimit)
      for session in gateway.sessions() where round % 2 == 0 { #expect(gateway.cut(identity: session.identity)) }
      if round % 2 == 1 {
        try gateway.reload { $0.masquerades[0].mapping = .addressDependent }
        try gateway.reload { $0.masquerades[0].mapping = .endpointIndependent }
      }
      gateway.advance(to: start + 1500)
    }
    gateway.advance(to: 20_000)
    #expect(gateway.live == 0)
    for peer in 0..<2 { send(gateway, "192.168.1.10:5000", to: peer).expect(.forward) }
    send(gateway, "192.168.1.10:5000", to: 2).expectRefusal(.sessionLimit)
  }

  @Test func `P1 a reload holds for new sessions, and a restart counts anew`() throws {
    let first = try TestGateway(Self.plan(), boot: Self.boot)
    for peer in 0..<6 { send(first, Peer("192.168.1.10", UInt16(5000 + peer)), to: peer).expect(.forward) }
    // Those that are there stay, though they are more than may be.
    try first.reload(Self.plan(sessions: 4, ports: 4))
    for peer in 0..<6 { send(first, Peer("192.168.1.10", UInt16(5000 + peer)), to: peer).expect(.forward) }
    send(first, "192.168.1.10:5000", to: 9).expectRefusal(.sessionLimit)
    send(first, "192.168.1.11:5000", to: 9).expect(.forward)
    let (next, report) = try first.restarted(Self.plan(sessions: 7, ports: 6), boot: Self.boot)
    #expect(report.sessions == 7)
    send(next, "192.168.1.10:7000", to: 9).expectRefusal(.portLimit)
    send(next, "192.168.1.10:5000", to: 9).expect(.forward)
    send(next, "192.168.1.10:5000", to: 10).expectRefusal(.sessionLimit)
    try next.reload(Self.plan(sessions: 8, ports: 7))
    send(next, "192.168.1.10:7000", to: 9).expect(.forward)
    send(next, "192.168.1.10:7000", to: 10).expectRefusal(.sessionLimit)
  }

  @Test func `P1 spoofed sources fill no memory: the table of hosts has one size, and works again afterwards`() throws {
    let table = try HostTable(capacity: 64, secret: HashSecret(seed: 5))
    defer { table.release() }
    var counted: [UInt32] = []
    var uncounted = 0
    for host in 1...50_000 as ClosedRange<UInt32> {
      switch table.add(host, limit: 3) {
      case .counted: counted.append(host)
      case .uncounted: uncounted += 1
      case .refused: Issue.record("host \(host) has nothing yet")
      }
    }
    #expect(counted.count <= 1024 && counted.count > 512 && uncounted == 50_000 - counted.count)
    let host = counted[100]
    for _ in 0..<2 { #expect(table.add(host, limit: 3) == .counted) }
    #expect(table.add(host, limit: 3) == .refused && table.count(of: host) == 3)
    for _ in 0..<3 { table.remove(host) }
    for other in counted where other != host { table.remove(other) }
    for host in counted { #expect(table.count(of: host) == 0) }
    for host in 90_000..<90_100 as Range<UInt32> { #expect(table.add(host, limit: 1) == .counted) }
  }
}
