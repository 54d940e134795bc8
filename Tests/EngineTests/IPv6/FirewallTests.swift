import Engine
import PacketTestKit
import Testing

/// IPv6 between inside and outside: sessions from inside, pinholes from outside, and nothing else (RFC 6092, RFC 4890).
@Suite struct FirewallTests {
  private let host: Host6 = "2001:db8:2::10"
  private let server: Host6 = "2001:db8:f::7"
  private let router: Host6 = "2001:db8:1::fe"

  private func gateway(_ change: (inout Plan) -> Void = { _ in }) throws -> TestGateway {
    try TestGateway(.home6(change))
  }

  /// A pinhole to `host`.
  private func web(
    _ protocols: ForwardPlan.Protocols = .tcp, ports: [PortRange] = [PortRange(80, 80)],
    _ change: (inout ForwardPlan) -> Void = { _ in }
  ) -> (inout Plan) -> Void {
    var forward = ForwardPlan(
      name: "web", protocols: [], interface: 0, externals: [], isWholeHost: false, spans: [], target: IPv4Address(0))
    forward.pinhole = PinholePlan(target: host.planned, protocols: protocols, ports: ports)
    change(&forward)
    return { [forward] in $0.forwards.append(forward) }
  }

  private func expectOut(_ gateway: TestGateway, _ datagram: Datagram6, at time: Double? = nil) {
    gateway.receive6(datagram, on: "lan", at: time).expectForward6(datagram.hopped, on: "wan", to: router)
  }

  private func expectIn(_ gateway: TestGateway, _ datagram: Datagram6, at time: Double? = nil) {
    gateway.receive6(datagram, on: "wan", via: router, at: time).expectForward6(datagram.hopped, on: "lan", to: host)
  }

  private func expectOutcome(
    _ gateway: TestGateway, _ datagram: Datagram6, _ reason: DropReason, at time: Double? = nil
  ) {
    gateway.receive6(datagram, on: "wan", via: router, at: time).expectDrop(reason)
  }

  // MARK: From inside

  @Test func `what begins inside has its answers, untranslated, and lets nobody else in`() throws {
    let gateway = try gateway()
    let question = Datagram6.udp(host, 1000, server, 53, "question")
    for _ in 0..<3 {
      expectOut(gateway, question)
      expectIn(gateway, .udp(server, 53, host, 1000, "answer"))
    }
    #expect(gateway.live == 1)
    expectOutcome(gateway, .udp(server, 54, host, 1000), .noForward)
    expectOutcome(gateway, .udp(server, 53, host, 1001), .noForward)
    expectOutcome(gateway, .udp("2001:db8:f::8", 53, host, 1000), .noForward)
    expectOutcome(gateway, .tcp(server, 53, host, 1000, .syn), .noForward)
    #expect(gateway.live == 1 && gateway.totals.generated == 0)
  }

  @Test func `a session of one family is none of the other`() throws {
    let gateway = try gateway { $0.masquerade() }
    gateway.receive(.udp("192.168.1.10:1000", "198.51.100.7:53"), on: "lan").expect(.forward)
    expectOut(gateway, .udp(host, 1000, server, 53))
    #expect(gateway.live == 2)
    let ends = gateway.sessions().map { "\($0.original.source) > \($0.original.destination)" }
    #expect(ends == ["192.168.1.10:1000 > 198.51.100.7:53", "[2001:db8:2::10]:1000 > [2001:db8:f::7]:53"])
    #expect(gateway.sessions()[1].origin == .outbound && gateway.sessions()[1].reply.interface == 0)
  }

  @Test func `a connection is followed from its first segment to its last`() throws {
    let gateway = try gateway()
    func out(_ flags: PacketTestKit.TCPHeader.Flags, _ sent: UInt32, _ got: UInt32, _ text: String = "") -> Datagram6 {
      .tcp(host, 1000, server, 80, flags, sequence: 100 &+ sent, acknowledgment: 900 &+ got, text)
    }
    func back(_ flags: PacketTestKit.TCPHeader.Flags, _ sent: UInt32, _ got: UInt32, _ text: String = "") -> Datagram6 {
      .tcp(server, 80, host, 1000, flags, sequence: 900 &+ sent, acknowledgment: 100 &+ got, text)
    }
    expectOut(gateway, out(.syn, 0, 0))
    #expect(gateway.sessions().map(\.state) == ["opening"])
    expectIn(gateway, back([.syn, .ack], 0, 1))
    expectOut(gateway, out(.ack, 1, 1))
    #expect(gateway.sessions().map(\.state) == ["established"])
    expectOut(gateway, out([.ack, .psh], 1, 1, "GET /"))
    expectIn(gateway, back(.ack, 1, 6, "text"), at: 7000)
    // 2 h 4 min after the last segment, not sooner (RFC 5382 REQ-5).
    expectIn(gateway, back(.ack, 5, 6), at: 14_439)
    expectOut(gateway, out([.ack, .fin], 6, 5))
    expectIn(gateway, back([.ack, .fin], 5, 7))
    #expect(gateway.sessions().map(\.state) == ["closing"])
    expectOut(gateway, out(.ack, 7, 6))
    gateway.advance(to: 14_439 + 241)
    #expect(gateway.live == 0)
    expectOutcome(gateway, back(.rst, 6, 7), .tcpNotSYN)
  }

  @Test func `a blind reset moves nothing`() throws {
    let gateway = try gateway()
    expectOut(gateway, .tcp(host, 1000, server, 80, .syn, sequence: 100))
    expectIn(gateway, .tcp(server, 80, host, 1000, [.syn, .ack], sequence: 900, acknowledgment: 101))
    expectOut(gateway, .tcp(host, 1000, server, 80, .ack, sequence: 101, acknowledgment: 901))
    expectIn(gateway, .tcp(server, 80, host, 1000, .rst, sequence: 5000))
    #expect(gateway.sessions().map(\.state) == ["established"])
    expectIn(gateway, .tcp(server, 80, host, 1000, .rst, sequence: 901))
    #expect(gateway.sessions().map(\.state) == ["reset"])
  }

  @Test func `idle times are those of IPv4`() throws {
    let gateway = try gateway()
    expectOut(gateway, .udp(host, 1000, server, 2000))
    expectIn(gateway, .udp(server, 2000, host, 1000), at: 299)
    expectIn(gateway, .udp(server, 2000, host, 1000), at: 598)
    expectOutcome(gateway, .udp(server, 2000, host, 1000), .noForward, at: 899)
    expectOut(gateway, .ping(host, server))
    expectIn(gateway, .ping(server, host, isAnswer: true), at: 958)
    expectOutcome(gateway, .ping(server, host, isAnswer: true), .icmpUnmatched, at: 1019)
  }

  @Test func `echo is known by its identifier, other protocols by their addresses`() throws {
    let gateway = try gateway()
    expectOut(gateway, .ping(host, server, 7))
    expectIn(gateway, .ping(server, host, 7, isAnswer: true))
    expectOutcome(gateway, .ping(server, host, 8, isAnswer: true), .icmpUnmatched)
    expectOutcome(gateway, .ping(server, host, 7), .noForward)
    let secret = [UInt8](repeating: 9, count: 40)
    expectOutcome(gateway, Datagram6(server, host, 50, secret), .noForward)
    expectOut(gateway, Datagram6(host, server, 50, secret))
    expectIn(gateway, Datagram6(server, host, 50, secret))
    expectOutcome(gateway, Datagram6(server, host, 47, secret), .noForward)
  }

  @Test func `extension headers are walked to the ports, and stay`() throws {
    let gateway = try gateway()
    let options: [(number: UInt8, bytes: [UInt8])] = [(60, [0, 1, 4, 0, 0, 0, 0])]
    expectOut(gateway, .udp(host, 1000, server, 53).with { $0.extensions = options })
    expectIn(gateway, .udp(server, 53, host, 1000))
    expectIn(gateway, .udp(server, 53, host, 1000).with { $0.extensions = options })
    // An atomic fragment is a whole datagram (RFC 6946).
    expectIn(gateway, .udp(server, 53, host, 1000).with { $0.extensions = [(44, [0, 0, 0, 0, 0, 0, 5])] })
    #expect(gateway.live == 1)
  }

  @Test func `transport headers that do not fit are dropped`() throws {
    let gateway = try gateway()
    gateway.receive6(Datagram6(host, server, 6, [UInt8](repeating: 0, count: 19)), on: "lan").expectDrop(.malformedTCP)
    gateway.receive6(Datagram6(host, server, 17, [0, 1, 0, 2, 0, 99, 0, 0]), on: "lan").expectDrop(.malformedUDP)
    gateway.receive6(Datagram6(host, server, 58, [128, 0, 0, 0]), on: "lan").expectDrop(.malformedICMP)
    gateway.receive6(.icmp(host, server, type: 139), on: "lan").expectDrop(.icmpUnsupported)
    gateway.receive6(.tcp(host, 1000, server, 80, [.syn, .ack]), on: "lan").expectDrop(.tcpNotSYN)
    #expect(gateway.live == 0)
  }

  // MARK: Pinholes

  @Test func `a pinhole lets in exactly what it names`() throws {
    let gateway = try gateway(web(ports: [PortRange(80, 81)]))
    let other: Host6 = "2001:db8:2::11"
    expectOutcome(gateway, .tcp(server, 1000, host, 79, .syn), .noForward)
    expectOutcome(gateway, .tcp(server, 1000, host, 82, .syn), .noForward)
    expectOutcome(gateway, .tcp(server, 1000, other, 80, .syn), .noForward)
    expectOutcome(gateway, .udp(server, 1000, host, 80), .noForward)
    expectOutcome(gateway, .ping(server, host), .noForward)
    expectOutcome(gateway, Datagram6(server, host, 50, [1, 2, 3, 4]), .noForward)
    #expect(gateway.live == 0)
    expectIn(gateway, .tcp(server, 1000, host, 80, .syn))
    expectIn(gateway, .tcp(server, 1000, host, 81, .syn))
    expectOut(gateway, .tcp(host, 80, server, 1000, [.syn, .ack], acknowledgment: 1001))
    expectIn(gateway, .tcp(server, 1000, host, 80, .ack, sequence: 1001, acknowledgment: 1001))
    #expect(gateway.live == 2 && gateway.sessions().map(\.origin) == [.forward(0), .forward(0)])
  }

  @Test func `a whole host may be reached by everything`() throws {
    let gateway = try gateway(web([.tcp, .udp, .echo, .other], ports: [PortRange(1, 65535)]) { $0.isWholeHost = true })
    expectIn(gateway, .tcp(server, 1000, host, 65535, .syn))
    expectIn(gateway, .udp(server, 1000, host, 1))
    expectIn(gateway, .ping(server, host))
    expectOut(gateway, .ping(host, server, isAnswer: true))
    expectIn(gateway, Datagram6(server, host, 50, [1, 2, 3, 4]))
    #expect(gateway.live == 4)
  }

  @Test func `allow and deny see the client, and a pinhole that is off is none`() throws {
    let gateway = try gateway(
      web {
        $0.pinhole?.allow = [IPv6Prefix("2001:db8:f::/64")!]
        $0.pinhole?.deny = [IPv6Prefix("2001:db8:f::8")!]
      })
    expectOutcome(gateway, .tcp("2001:db8:e::1", 1000, host, 80, .syn), .notAllowed)
    expectOutcome(gateway, .tcp("2001:db8:f::8", 1000, host, 80, .syn), .notAllowed)
    expectIn(gateway, .tcp(server, 1000, host, 80, .syn))
    let off = try self.gateway(web { $0.isEnabled = false })
    expectOutcome(off, .tcp(server, 1000, host, 80, .syn), .noForward)
  }

  // MARK: Limits of the way

  @Test func `hop limit and MTU are minded in both directions, and make no session`() throws {
    let gateway = try gateway {
      web(.udp)(&$0)
      $0.change("lan") { $0.mtu = 1400 }
    }
    let large = Datagram6.udp(server, 1000, host, 80, String(repeating: "x", count: 1400 - 47))
    let told = gateway.receive6(large, on: "wan", via: router).expectDropAnswered(.fragmentationNeeded)
    let expected = Datagram6.icmp("2001:db8:1::1", server, type: 2, code: 0, 1400, Array(large.bytes.prefix(1232)))
    #expect(told?.bytes == gateway.frame(expected, on: "wan", to: router))
    let dying = Datagram6.udp(server, 1000, host, 80).with { $0.hopLimit = 1 }
    _ = gateway.receive6(dying, on: "wan", via: router).expectDropAnswered(.ttlExceeded)
    #expect(gateway.live == 0)
    expectIn(gateway, .udp(server, 1000, host, 80))
    _ = gateway.receive6(large, on: "wan", via: router).expectDropAnswered(.fragmentationNeeded)
    _ = gateway.receive6(dying, on: "wan", via: router).expectDropAnswered(.ttlExceeded)
    expectIn(gateway, .udp(server, 1000, host, 80).with { $0.hopLimit = 2 })
  }

  @Test func `a full table refuses, tells inside senders, and keeps what lives`() throws {
    let gateway = try gateway {
      $0.sessions = 64
      web(.udp)(&$0)
    }
    for port in 0..<64 { expectOut(gateway, .udp(host, 1000 + UInt16(port), server, 53)) }
    let one = Datagram6.udp(host, 2000, server, 53)
    let told = gateway.receive6(one, on: "lan").expectDropAnswered(.tableFull)
    let expected = Datagram6.icmp("2001:db8:2::1", host, type: 1, code: 1, 0, one.bytes)
    #expect(told?.bytes == gateway.frame(expected, on: "lan", to: host))
    expectOutcome(gateway, .udp(server, 1, host, 80), .tableFull)
    for port in 0..<64 { expectIn(gateway, .udp(server, 53, host, 1000 + UInt16(port))) }
  }

  @Test func `a burst gives what single frames give`() throws {
    var frames: [(Datagram6, String)] = []
    for index in 0..<40 {
      let port = UInt16(1000 + index % 3)
      frames.append((.udp(host, port, server, 2000, "\(index)"), "lan"))
      frames.append((.udp(server, 2000, host, port, "back"), "wan"))
    }
    let (single, together) = (try gateway(), try gateway())
    let one = frames.map { single.receive6($0.0, on: $0.1, via: $0.1 == "wan" ? router : nil).forwarded?.bytes }
    let all = together.burst(
      frames.map { datagram, interface in
        let mac: Station = interface == "wan" ? "02:00:00:00:01:01" : "02:00:00:00:02:01"
        return TestGateway.Arrival(
          datagram.frame(from: .of6(interface == "wan" ? router : host), to: mac), on: interface)
      })
    #expect(all.outcomes.map { $0.forwarded?.bytes } == one && one.allSatisfy { $0 != nil })
  }

  // MARK: Rules that change, restart

  @Test func `a pinhole that goes takes its sessions along, and no others`() throws {
    let gateway = try gateway(web(.udp))
    expectIn(gateway, .udp(server, 1000, host, 80))
    expectOut(gateway, .udp(host, 5000, server, 53))
    try gateway.reload { $0.forwards[0].pinhole?.ports = [PortRange(80, 90)] }
    #expect(gateway.live == 2)
    expectIn(gateway, .udp(server, 1000, host, 80))
    try gateway.reload { $0.forwards = [] }
    #expect(gateway.live == 1)
    expectOutcome(gateway, .udp(server, 1000, host, 80), .noForward)
    expectIn(gateway, .udp(server, 53, host, 5000))
  }

  @Test func `a connection that is cut is refused until a new one begins`() throws {
    let gateway = try gateway(web())
    expectIn(gateway, .tcp(server, 1000, host, 80, .syn))
    expectOut(gateway, .tcp(host, 80, server, 1000, [.syn, .ack], acknowledgment: 1001))
    #expect(gateway.cut(identity: gateway.sessions()[0].identity))
    let late = Datagram6.tcp(server, 1000, host, 80, .ack, sequence: 1001, acknowledgment: 1001)
    #expect(gateway.receive6(late, on: "wan", via: router).expectDropAnswered(.sessionCut) != nil)
    expectIn(gateway, .tcp(server, 1000, host, 80, .syn))
  }

  @Test func `sessions outlive a restart`() throws {
    let boot = BootIdentity(high: 1, low: 2)
    let plan = Plan.home6 {
      $0.masquerade()
      web(.udp)(&$0)
    }
    let before = try TestGateway(plan, boot: boot)
    expectIn(before, .udp(server, 1000, host, 80))
    expectOut(before, .udp(host, 5000, server, 53, "q"))
    expectOut(before, .ping(host, server))
    before.receive(.udp("192.168.1.10:1000", "198.51.100.7:53"), on: "lan").expect(.forward)
    let (after, report) = try before.restarted(plan, boot: boot, downFor: 1)
    #expect(report.sessions == 4 && report.damaged == 0 && report.refused == 0)
    expectIn(after, .udp(server, 53, host, 5000))
    expectIn(after, .ping(server, host, isAnswer: true))
    expectOut(after, .udp(host, 80, server, 1000))
    #expect(after.live == 4)
    let (closed, less) = try after.restarted(.home6 { $0.masquerade() }, boot: boot)
    #expect(less.sessions == 3 && less.refused == 1)
    expectOutcome(closed, .udp(server, 1000, host, 80), .noForward)
  }
}
