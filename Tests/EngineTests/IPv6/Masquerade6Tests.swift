import Engine
import PacketTestKit
import Testing

/// Mappings of IPv6: what `MasqueradeTests`, `HairpinTests` and `LimitTests` ask of IPv4, over IPv6.
@Suite struct Masquerade6Tests {
  private static let host: Host6 = "2001:db8:2::10"
  private static let other: Host6 = "2001:db8:2::11"
  private static let router: Host6 = "2001:db8:1::fe"
  private static let wan: Host6 = "2001:db8:1::1"
  private static let (s1, s2): (Host6, Host6) = ("2001:db8:f::1", "2001:db8:f::2")
  private static let boot = BootIdentity(high: 1, low: 2)

  private static func plan(
    _ change: (inout MasqueradePlan) -> Void = { _ in }, more: (inout Plan) -> Void = { _ in }
  ) -> Plan {
    .home6 { plan in
      plan.masquerade {
        $0.external6 = wan.planned
        change(&$0)
      }
      more(&plan)
    }
  }

  private static func datagram(_ udp: Bool, _ a: Host6, _ port: UInt16, _ b: Host6, _ to: UInt16) -> Datagram6 {
    udp ? .udp(a, port, b, to) : .tcp(a, port, b, to, .syn)
  }

  /// The outside port that a datagram leaves by.
  private func mapped(
    _ gateway: TestGateway, _ source: Host6, _ port: UInt16, to peer: Host6 = Self.s1, _ peerPort: UInt16 = 53,
    udp: Bool = true, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> UInt16 {
    let outcome = gateway.receive6(Self.datagram(udp, source, port, peer, peerPort), on: "lan", at: time)
    let bytes = try #require(outcome.forwarded?.bytes, "\(outcome.reason)", sourceLocation: sourceLocation)
    let outside = UInt16(bytes[54]) << 8 | UInt16(bytes[55])
    outcome.expectForward6(
      Self.datagram(udp, Self.wan, outside, peer, peerPort).hopped, on: "wan", to: Self.router,
      sourceLocation: sourceLocation)
    return outside
  }

  private func comesIn(
    _ gateway: TestGateway, _ peer: Host6, _ peerPort: UInt16, _ outside: UInt16, to inside: Host6, _ port: UInt16,
    udp: Bool = true, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    gateway.receive6(Self.datagram(udp, peer, peerPort, Self.wan, outside), on: "wan", via: Self.router, at: time)
      .expectForward6(
        Self.datagram(udp, peer, peerPort, inside, port).hopped, on: "lan", to: inside, sourceLocation: sourceLocation)
  }

  private func staysOut(
    _ gateway: TestGateway, _ reason: DropReason, _ peer: Host6, _ peerPort: UInt16, _ outside: UInt16,
    udp: Bool = true, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    gateway.receive6(Self.datagram(udp, peer, peerPort, Self.wan, outside), on: "wan", via: Self.router, at: time)
      .expectDrop(reason, sourceLocation: sourceLocation)
  }

  // MARK: Mapping and filtering

  @Test(arguments: [true, false])
  func `U1 T1 V6 one inside endpoint of IPv6 keeps one outside endpoint to any destination`(udp: Bool) throws {
    let gateway = try TestGateway(Self.plan())
    // A second host holds port 4000 already, so the mapping is not simply the preserved port.
    #expect(try mapped(gateway, Self.other, 4000, udp: udp) == 4000)
    let first = try mapped(gateway, Self.host, 4000, to: Self.s1, 1, udp: udp)
    #expect(first != 4000)
    #expect(try mapped(gateway, Self.host, 4000, to: Self.s1, 2, udp: udp) == first)
    #expect(try mapped(gateway, Self.host, 4000, to: Self.s2, 1, udp: udp) == first)
    #expect(gateway.count(of: .mappingCreated) == 2 && gateway.live == 4)
    #expect(gateway.sessions().allSatisfy { $0.origin == .masquerade(0) })
  }

  @Test func `U1 V6 mapping by address, and by address and port, when asked for`() throws {
    for (rule, isSamePort) in [(EndpointRule.addressDependent, true), (.addressAndPortDependent, false)] {
      let gateway = try TestGateway(Self.plan { $0.mapping = rule })
      let first = try mapped(gateway, Self.host, 4000, to: Self.s1, 1)
      let otherPort = try mapped(gateway, Self.host, 4000, to: Self.s1, 2)
      let otherHost = try mapped(gateway, Self.host, 4000, to: Self.s2, 1)
      #expect((otherPort == first) == isSamePort && otherHost != first)
      #expect(gateway.count(of: .mappingCreated) == (isSamePort ? 2 : 3))
      comesIn(gateway, Self.s1, 2, otherPort, to: Self.host, 4000)
      comesIn(gateway, Self.s2, 1, otherHost, to: Self.host, 4000)
    }
  }

  @Test(arguments: EndpointRule.allCases)
  func `U2 V6 filtering of IPv6: who may use a mapping from outside`(rule: EndpointRule) throws {
    let gateway = try TestGateway(Self.plan { $0.filtering = rule })
    #expect(try mapped(gateway, Self.host, 4000, to: Self.s1, 1) == 4000)
    comesIn(gateway, Self.s1, 1, 4000, to: Self.host, 4000)
    for (peer, port, passes): (Host6, UInt16, Bool) in [
      (Self.s1, 2, rule != .addressAndPortDependent), (Self.s2, 1, rule == .endpointIndependent),
    ] {
      if passes {
        comesIn(gateway, peer, port, 4000, to: Self.host, 4000)
        // The answer leaves by the mapping, and another protocol has nothing of it (U16).
        gateway.receive6(.udp(Self.host, 4000, peer, port), on: "lan")
          .expectForward6(Datagram6.udp(Self.wan, 4000, peer, port).hopped, on: "wan", to: Self.router)
      } else {
        staysOut(gateway, .filtered, peer, port, 4000)
      }
      staysOut(gateway, .noForward, peer, port, 4000, udp: false)
      staysOut(gateway, .noForward, peer, port, 4001)
    }
  }

  @Test func `U2 V6 a peer is known by its whole address, not by its digest`() throws {
    // With 4,096 peers known, none of as many strangers gets in.
    let gateway = try TestGateway(Self.plan(more: { $0.sessions = 8192 }))
    func peer(_ index: Int, _ side: UInt8) -> Host6 {
      Host6(bytes: Host6("2001:db8:f::").bytes[0..<13] + [side, UInt8(index >> 8), UInt8(index & 255)])
    }
    for index in 0..<4096 { _ = try mapped(gateway, Self.host, 4000, to: peer(index, 1)) }
    for index in 0..<4096 { staysOut(gateway, .filtered, peer(index, 2), 1, 4000) }
    for index in 0..<16 { comesIn(gateway, peer(index * 256, 1), 54, 4000, to: Self.host, 4000) }
    #expect(gateway.count(of: .mappingCreated) == 1)
  }

  // MARK: Ports

  @Test(arguments: [true, false])
  func `U3 U4 U5 T13 V6 hosts of one source port share no outside port; class and parity are kept`(udp: Bool) throws {
    let gateway = try TestGateway(
      Self.plan(more: {
        for index in 0..<64 { $0.neighbor6(Host6("2001:db8:2::1:\(index)")) }
      }))
    for port: UInt16 in [500, 4000, 4001] {
      let ports = try (0..<64).map { try mapped(gateway, Host6("2001:db8:2::1:\($0)"), port, udp: udp) }
      #expect(Set(ports).count == 64 && ports[0] == port)
      #expect(ports.allSatisfy { ($0 < 1024) == (port < 1024) && $0 % 2 == port % 2 && $0 != 0 })
    }
  }

  @Test func `P5 P6 V6 a pool is used to its last port, then no-port`() throws {
    let gateway = try TestGateway(Self.plan { $0.pool = [PortRange(1, 2), PortRange(65534, 65535)] })
    var ports: Set<UInt16> = []
    for port: UInt16 in 2000..<2004 { ports.insert(try mapped(gateway, Self.host, port)) }
    #expect(ports == [1, 2, 65534, 65535])
    // No port is left: "administratively prohibited" (RFC 4443 section 3.1).
    let outcome = gateway.receive6(.udp(Self.host, 2004, Self.s1, 53), on: "lan")
    outcome.expectRefusal6(.noPort)
    #expect(gateway.live == 4)
  }

  @Test func `A2 P7 V6 nobody is given a forwarded port, and a forward added over a mapping cuts it`() throws {
    let gateway = try TestGateway(Self.plan())
    #expect(try mapped(gateway, Self.other, 9000) == 9000)
    #expect(try mapped(gateway, Self.other, 9100) == 9100)
    var forward = ForwardPlan(
      name: "game", protocols: [], interface: 0, externals: [], isOnInterface: false, isWholeHost: false, spans: [],
      target: IPv4Address(0))
    forward.pinhole = PinholePlan(target: Self.host.planned, protocols: .udp, ports: [])
    forward.pinhole?.external = Self.wan.planned
    forward.pinhole?.spans = [PortSpan(ports: PortRange(9000, 9000), target: 9000, isParallel: false)]
    try gateway.reload(Self.plan(more: { $0.forwards = [forward] }))
    #expect(gateway.live == 1)
    comesIn(gateway, Self.s2, 7, 9000, to: Self.host, 9000)
    #expect(try mapped(gateway, Self.other, 9000) != 9000)
    // And without the forward the port is anybody's again.
    try gateway.reload(Self.plan())
    #expect(try mapped(gateway, "2001:db8:2::12", 9000) == 9000)
  }

  @Test func `A2 A4 V6 a freed port waits 120 s for its former owner where anybody may come in by it`() throws {
    let gateway = try TestGateway(
      Self.plan {
        $0.filtering = .endpointIndependent
        $0.pool = [PortRange(4000, 4000)]
      })
    #expect(try mapped(gateway, Self.host, 4000, at: 0) == 4000)
    // Over at 300 s (the destination port 53 is a shorter matter: 10 s).
    gateway.receive6(.udp(Self.other, 4000, Self.s1, 53), on: "lan", at: 100).expectRefusal6(.noPort)
    #expect(try mapped(gateway, Self.host, 4000, at: 101) == 4000)
    gateway.receive6(.udp(Self.other, 4000, Self.s1, 53), on: "lan", at: 230).expectRefusal6(.noPort)
    #expect(try mapped(gateway, Self.other, 4000, at: 232) == 4000)
  }

  // MARK: Hairpin

  @Test(arguments: [true, false])
  func `U13 T12 V6 inside hosts reach a mapping by its outside endpoint, and are seen by theirs`(udp: Bool) throws {
    let gateway = try TestGateway(Self.plan())
    #expect(try mapped(gateway, Self.host, 4000, udp: udp) == 4000)
    #expect(try mapped(gateway, Self.other, 5000, udp: udp) == 5000)
    gateway.receive6(Self.datagram(udp, Self.other, 5000, Self.wan, 4000), on: "lan")
      .expectForward6(Self.datagram(udp, Self.wan, 5000, Self.host, 4000).hopped, on: "lan", to: Self.host)
    gateway.receive6(Self.datagram(udp, Self.host, 4000, Self.wan, 5000), on: "lan")
      .expectForward6(Self.datagram(udp, Self.wan, 4000, Self.other, 5000).hopped, on: "lan", to: Self.other)
    // Itself, by its own outside endpoint: both directions would be one.
    gateway.receive6(Self.datagram(udp, Self.host, 4000, Self.wan, 4000), on: "lan").expect(.forward)
    gateway.receive6(Self.datagram(udp, Self.other, 5000, Self.wan, 4001), on: "lan").expectDrop(.toUs)
    #expect(gateway.count(of: .mappingCreated) == 2)
  }

  @Test func `a mapping outlives its own sessions while a hairpin session goes to it`() throws {
    let gateway = try TestGateway(Self.plan())
    #expect(try mapped(gateway, Self.host, 4000, to: Self.s1, 99, at: 0) == 4000)
    for time in [200.0, 400, 600] {
      gateway.receive6(.udp(Self.other, 5000, Self.wan, 4000), on: "lan", at: time).expect(.forward)
    }
    #expect(try mapped(gateway, Self.host, 4000, to: Self.s2, 99, at: 601) == 4000)
    #expect(gateway.count(of: .mappingCreated) == 2)
  }

  // MARK: Time

  @Test func `U7 U8 U9 V6 what refreshes a mapping of IPv6, and what does not`() throws {
    for refresh in [true, false] {
      let gateway = try TestGateway(Self.plan { $0.inboundRefresh = refresh })
      #expect(try mapped(gateway, Self.host, 4000, to: Self.s1, 99, at: 0) == 4000)
      comesIn(gateway, Self.s1, 99, 4000, to: Self.host, 4000, at: 200)
      comesIn(gateway, Self.s1, 98, 4000, to: Self.host, 4000, at: 250)
      staysOut(gateway, .filtered, Self.s2, 99, 4000, at: 260)
      let quote = Datagram6.udp(Self.wan, 4000, Self.s1, 99).hopped.bytes
      gateway.receive6(
        .icmp("2001:db8:e::1", Self.wan, type: 1, code: 0, 0, quote), on: "wan", via: Self.router, at: 299
      ).expect(.forward)
      if refresh {
        comesIn(gateway, Self.s1, 98, 4000, to: Self.host, 4000, at: 549)
        comesIn(gateway, Self.s1, 97, 4000, to: Self.host, 4000, at: 550)
        staysOut(gateway, .noForward, Self.s1, 97, 4000, at: 851)
      } else {
        staysOut(gateway, .noForward, Self.s1, 99, 4000, at: 301)
      }
    }
  }

  // MARK: Limits

  @Test func `P1 V6 one IPv6 host has no more ports and sessions than it may; another is unaffected`() throws {
    let gateway = try TestGateway(
      Self.plan(more: {
        $0.limits.portsPerHost = 3
        $0.limits.sessionsPerHost = 6
      }))
    for host in [Self.host, Self.other] {
      for port: UInt16 in 4000..<4003 { _ = try mapped(gateway, host, port) }
      gateway.receive6(.udp(host, 4003, Self.s1, 53), on: "lan").expectRefusal6(.portLimit)
      gateway.receive6(.ping(host, Self.s1, 4003), on: "lan").expectRefusal6(.portLimit)
      for port: UInt16 in 1...3 { _ = try mapped(gateway, host, 4000, to: Self.s2, port) }
      gateway.receive6(.udp(host, 4000, Self.s2, 4), on: "lan").expectRefusal6(.sessionLimit)
      // What it has goes on, and what comes to it is not its own.
      #expect(try mapped(gateway, host, 4000, to: Self.s2, 3) == mapped(gateway, host, 4000, to: Self.s2, 3))
    }
    comesIn(gateway, Self.s1, 77, 4000, to: Self.host, 4000)
    #expect(gateway.live == 13)
    // What is over counts no more.
    #expect(try mapped(gateway, Self.host, 7000, at: 400) == 7000)
  }

  @Test func `P1 V6 sessions without translation count for their host too`() throws {
    let gateway = try TestGateway(.home6 { $0.limits.sessionsPerHost = 2 })
    for port: UInt16 in 1...2 { gateway.receive6(.udp(Self.host, 1, Self.s1, port), on: "lan").expect(.forward) }
    gateway.receive6(.udp(Self.host, 1, Self.s1, 3), on: "lan").expectRefusal6(.sessionLimit)
    gateway.receive6(.udp(Self.other, 1, Self.s1, 3), on: "lan").expect(.forward)
  }

  // MARK: Rules that change, restart, workers

  @Test func `P8 V6 a mapping follows the rules: kept where they would make it, cut where not`() throws {
    let gateway = try TestGateway(Self.plan { $0.filtering = .endpointIndependent })
    #expect(try mapped(gateway, Self.host, 4000) == 4000)
    #expect(try mapped(gateway, Self.other, 5000) == 5000)
    comesIn(gateway, Self.s2, 9, 4000, to: Self.host, 4000)
    try gateway.reload(
      Self.plan {
        $0.filtering = .endpointIndependent
        $0.pool = [PortRange(4000, 4999)]
      })
    #expect(gateway.live == 2)
    comesIn(gateway, Self.s2, 10, 4000, to: Self.host, 4000)
    staysOut(gateway, .noForward, Self.s2, 9, 5000)
    #expect(try (4000...4999).contains(mapped(gateway, Self.other, 5000)))
    // Other filtering is another mapping.
    try gateway.reload(Self.plan())
    #expect(gateway.live == 0)
    staysOut(gateway, .noForward, Self.s2, 9, 4000)
    #expect(try mapped(gateway, Self.host, 4000) == 4000)
  }

  @Test func `P8 V6 both ends of a connection that was cut are told by a reset, and nothing of it passes`() throws {
    for translates in [true, false] {
      func rules(_ change: (inout Plan) -> Void = { _ in }) -> Plan {
        translates ? Self.plan(more: change) : .home6(change)
      }
      let gateway = try TestGateway(rules())
      let own = translates ? Self.wan : Self.host
      gateway.receive6(.tcp(Self.host, 4000, Self.s1, 80, .syn, sequence: 1), on: "lan").expect(.forward)
      gateway.receive6(
        .tcp(Self.s1, 80, own, 4000, [.syn, .ack], sequence: 9, acknowledgment: 2), on: "wan", via: Self.router
      ).expect(.forward)
      #expect(gateway.cut(identity: try #require(gateway.sessions().first?.identity)))
      let late = Datagram6.tcp(Self.host, 4000, Self.s1, 80, .ack, sequence: 2, acknowledgment: 10, "late")
      let told = try #require(gateway.receive6(late, on: "lan").expectDropAnswered(.sessionCut))
      let reset = Datagram6.tcp(Self.s1, 80, Self.host, 4000, .rst, sequence: 10)
        .with { $0.payload.replaceSubrange(14..<16, with: [0, 0]) }.resummed
      #expect(told.bytes == gateway.frame(reset, on: "lan", to: Self.host))
      let outside = Datagram6.tcp(Self.s1, 80, own, 4000, .ack, sequence: 10, acknowledgment: 2, "data")
      let answer = Datagram6.tcp(own, 4000, Self.s1, 80, .rst, sequence: 2)
        .with { $0.payload.replaceSubrange(14..<16, with: [0, 0]) }.resummed
      let second = gateway.receive6(outside, on: "wan", via: Self.router).expectDropAnswered(.sessionCut)
      #expect(second?.bytes == gateway.frame(answer, on: "wan", to: Self.router))
      #expect(gateway.count(of: .resetSent) == 2)
      // A reset is never answered.
      gateway.receive6(.tcp(Self.host, 4000, Self.s1, 80, .rst, sequence: 2), on: "lan").expectDrop(.sessionCut)
    }
  }

  @Test func `U1 P1 V6 mappings, their peers, quarantine and limits outlive a restart`() throws {
    func plan(_ more: (inout Plan) -> Void = { _ in }) -> Plan {
      Self.plan(
        { $0.filtering = .endpointIndependent },
        more: {
          $0.limits.portsPerHost = 2
          more(&$0)
        })
    }
    let before = try TestGateway(plan(), boot: Self.boot)
    #expect(try mapped(before, Self.host, 4000, to: Self.s1, 1, at: 0) == 4000)
    let moved = try mapped(before, Self.other, 4000, to: Self.s1, 1, at: 0)
    #expect(try mapped(before, "2001:db8:2::12", 6000, at: 0) == 6000)
    before.receive6(.udp(Self.other, 5000, Self.wan, 4000), on: "lan", at: 1).expect(.forward)
    // 6000 is in quarantine: its only session was for port 53, which is over after 10 s.
    comesIn(before, Self.s2, 7, moved, to: Self.other, 4000, at: 20)
    let (gateway, report) = try before.restarted(plan(), boot: Self.boot, downFor: 1)
    #expect(report.damaged == 0 && report.refused == 0 && report.sessions == 4 && report.mappings >= 3)
    #expect(try mapped(gateway, Self.other, 4000, to: Self.s2, 99) == moved)
    comesIn(gateway, Self.s2, 8, moved, to: Self.other, 4000)
    comesIn(gateway, Self.s2, 8, 4000, to: Self.host, 4000)
    gateway.receive6(.udp(Self.other, 5000, Self.wan, 4000), on: "lan").expect(.forward)
    #expect(try mapped(gateway, Self.host, 6000) != 6000)
    gateway.receive6(.udp(Self.host, 6001, Self.s1, 53), on: "lan").expectRefusal6(.portLimit)
    #expect(try mapped(gateway, "2001:db8:2::12", 6000) == 6000)
    // With another mapping rule none of it would be.
    let (_, none) = try gateway.restarted(
      Self.plan { $0.mapping = .addressDependent }, boot: Self.boot, downFor: 1)
    #expect(none.sessions == 0 && none.mappings == 0)
  }

  @Test func `G7 V6 ports, mappings and hosts are all given back when the timers have run out`() throws {
    for workers in [1, 3] {
      let gateway = try TestGateway(
        Self.plan(more: {
          $0.limits.portsPerHost = 60
          $0.limits.sessionsPerHost = 60
        }), workers: workers)
      for round in 0..<3 {
        for port: UInt16 in 4000..<4060 {
          _ = try mapped(gateway, Self.host, port, to: Self.s1, 99, at: Double(round) * 500)
        }
        gateway.receive6(.udp(Self.host, 7, Self.s1, 99), on: "lan").expectRefusal6(.sessionLimit)
        gateway.advance(to: Double(round) * 500 + 499)
        #expect(gateway.live == 0)
      }
      #expect(gateway.count(of: .mappingCreated) == 180 && gateway.count(of: .mappingExpired) == 180)
    }
  }
}

extension Datagram6 {
  /// With the right checksum of its TCP segment.
  fileprivate var resummed: Datagram6 {
    with {
      $0.payload.replaceSubrange(16..<18, with: [0, 0])
      let pseudo = source.bytes + destination.bytes + [0, 0, 0, UInt8($0.payload.count), 0, 0, 0, 6]
      let sum = InternetChecksum.of(pseudo + $0.payload)
      $0.payload.replaceSubrange(16..<18, with: [UInt8(sum >> 8), UInt8(sum & 255)])
    }
  }
}

extension TestGateway.Outcome {
  /// Dropped for want of room, and the sender is told "administratively prohibited" (RFC 4443 section 3.1).
  fileprivate func expectRefusal6(_ reason: DropReason, sourceLocation: SourceLocation = #_sourceLocation) {
    guard let told = expectDropAnswered(reason, sourceLocation: sourceLocation) else { return }
    #expect(told.bytes[54..<56] == [1, 1], sourceLocation: sourceLocation)
  }
}
