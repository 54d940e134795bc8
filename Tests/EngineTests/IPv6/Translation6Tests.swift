import Engine
import PacketTestKit
import Testing

/// Forwards and masquerade of IPv6 at the gateway's own address: addresses and ports rewritten, for those who ask for it.
@Suite struct Translation6Tests {
  private let host: Host6 = "2001:db8:2::10"
  private let other: Host6 = "2001:db8:2::11"
  private let server: Host6 = "2001:db8:f::7"
  private let router: Host6 = "2001:db8:1::fe"
  private let wan: Host6 = "2001:db8:1::1"

  /// 8080 and 9000-9009 lead to `host`, and `lan` is masqueraded.
  private func plan(_ change: @escaping (inout Plan) -> Void = { _ in }) -> Plan {
    .home6 { plan in
      plan.forwards = [
        self.forward("web", [PortSpan(ports: PortRange(8080, 8080), target: 80, isParallel: false)]),
        self.forward("range", [PortSpan(ports: PortRange(9000, 9009), target: 9100, isParallel: true)]),
      ]
      var masquerade = MasqueradePlan(from: 1, to: 0)
      masquerade.external6 = wan.planned
      plan.masquerades = [masquerade]
      change(&plan)
    }
  }

  private func forward(_ name: String, _ spans: [PortSpan]) -> ForwardPlan {
    var forward = ForwardPlan(
      name: name, protocols: [], interface: 0, externals: [], isOnInterface: false, isWholeHost: false, spans: [],
      target: IPv4Address(0))
    forward.pinhole = PinholePlan(target: host.planned, protocols: [.tcp, .udp], ports: [])
    forward.pinhole?.external = wan.planned
    forward.pinhole?.spans = spans
    return forward
  }

  private func gateway(_ change: @escaping (inout Plan) -> Void = { _ in }) throws -> TestGateway {
    try TestGateway(plan(change))
  }

  private func expectOut(_ gateway: TestGateway, _ came: Datagram6, _ left: Datagram6, at time: Double? = nil) {
    gateway.receive6(came, on: "lan", at: time).expectForward6(left.hopped, on: "wan", to: router)
  }

  private func expectIn(_ gateway: TestGateway, _ came: Datagram6, _ left: Datagram6, at time: Double? = nil) {
    gateway.receive6(came, on: "wan", via: router, at: time)
      .expectForward6(left.hopped, on: "lan", to: left.destination)
  }

  /// What the gateway has made of a datagram's source port.
  private func port(_ outcome: TestGateway.Outcome) throws -> UInt16 {
    let bytes = try #require(outcome.forwarded?.bytes)
    return UInt16(bytes[54]) << 8 | UInt16(bytes[55])
  }

  // MARK: Forwards

  @Test func `V6 a forward at our own address changes address and port, both ways`() throws {
    let gateway = try gateway()
    expectIn(gateway, .tcp(server, 1000, wan, 8080, .syn), .tcp(server, 1000, host, 80, .syn))
    expectOut(
      gateway, .tcp(host, 80, server, 1000, [.syn, .ack], acknowledgment: 1001),
      .tcp(wan, 8080, server, 1000, [.syn, .ack], acknowledgment: 1001))
    for _ in 0..<3 {
      expectIn(
        gateway, .tcp(server, 1000, wan, 8080, .ack, sequence: 1001, acknowledgment: 1001, "GET /"),
        .tcp(server, 1000, host, 80, .ack, sequence: 1001, acknowledgment: 1001, "GET /"))
    }
    for port: UInt16 in 9000...9009 {
      expectIn(gateway, .udp(server, 2000, wan, port), .udp(server, 2000, host, port + 100))
      expectOut(gateway, .udp(host, port + 100, server, 2000), .udp(wan, port, server, 2000))
    }
    gateway.receive6(.udp(server, 2000, wan, 9010), on: "wan", via: router).expectDrop(.noForward)
    gateway.receive6(.ping(server, wan), on: "wan", via: router).expectDrop(.toUs)
    #expect(
      gateway.live == 11 && gateway.sessions().allSatisfy { $0.origin == .forward(0) || $0.origin == .forward(1) })
  }

  @Test func `allow, deny and source work as for IPv4, and our own echo goes on`() throws {
    let gateway = try gateway {
      $0.forwards[0].pinhole?.deny = [IPv6Prefix("2001:db8:f::8")!]
      $0.forwards[1].source = .gateway
      $0.change("wan") { $0.ping = true }
    }
    gateway.receive6(.tcp("2001:db8:f::8", 1, wan, 8080, .syn), on: "wan", via: router).expectDrop(.notAllowed)
    let own: Host6 = "2001:db8:2::1"
    expectIn(gateway, .udp(server, 2000, wan, 9000), .udp(own, 2000, host, 9100))
    expectOut(gateway, .udp(host, 9100, own, 2000), .udp(wan, 9000, server, 2000))
    // Another client with the same port is another client.
    let second = gateway.receive6(.udp("2001:db8:f::8", 2000, wan, 9000), on: "wan", via: router)
    let port = try port(second)
    #expect(port != 2000 && port >= 1024)
    expectOut(gateway, .udp(host, 9100, own, port), .udp(wan, 9000, "2001:db8:f::8", 2000))
    #expect(gateway.receive6(.ping(server, wan), on: "wan", via: router).made.count == 1)
    #expect(gateway.receive6(.ping(host, own), on: "lan").made.count == 1)
    gateway.receive6(.udp(host, 1, own, 2), on: "lan").expectDrop(.toUs)
    gateway.receive6(.udp(server, 1, own, 2), on: "wan", via: router).expectDrop(.insideFromOutside)
  }

  @Test func `inside hosts reach a forward by its outside address`() throws {
    let gateway = try gateway()
    gateway.receive6(.udp(other, 2000, wan, 9003), on: "lan")
      .expectForward6(Datagram6.udp(wan, 2000, host, 9103).hopped, on: "lan", to: host)
    gateway.receive6(.udp(host, 9103, wan, 2000), on: "lan")
      .expectForward6(Datagram6.udp(wan, 9003, other, 2000).hopped, on: "lan", to: other)
    gateway.receive6(.udp(other, 2000, wan, 9010), on: "lan").expectDrop(.toUs)
    let off = try self.gateway { $0.forwards[1].hairpin = false }
    off.receive6(.udp(other, 2000, wan, 9003), on: "lan").expectDrop(.hairpinOff)
  }

  // MARK: Masquerade

  @Test func `V6 inside hosts share an address, keep their ports where they can, and nobody else gets in`() throws {
    let gateway = try gateway()
    expectOut(gateway, .udp(host, 5000, server, 53, "q"), .udp(wan, 5000, server, 53, "q"))
    expectIn(gateway, .udp(server, 53, wan, 5000, "a"), .udp(server, 53, host, 5000, "a"))
    let second = try port(gateway.receive6(.udp(other, 5000, server, 53), on: "lan"))
    #expect(second != 5000 && second >= 1024 && second % 2 == 0)
    expectIn(gateway, .udp(server, 53, wan, second), .udp(server, 53, other, 5000))
    expectIn(gateway, .udp(server, 53, wan, 5000), .udp(server, 53, host, 5000))
    gateway.receive6(.udp("2001:db8:f::8", 54, wan, 5000), on: "wan", via: router).expectDrop(.filtered)
    expectIn(gateway, .udp(server, 54, wan, 5000), .udp(server, 54, host, 5000))
    let low = try (
      port(gateway.receive6(.udp(host, 500, server, 53), on: "lan")),
      port(gateway.receive6(.udp(other, 500, server, 53), on: "lan"))
    )
    #expect(low.0 == 500 && low.1 < 1024 && low.1 != 500)
    // What comes from where no masquerade is keeps its address.
    gateway.receive6(.udp("2001:db8:3::10", 1, server, 53), on: "dmz")
      .expectForward6(Datagram6.udp("2001:db8:3::10", 1, server, 53).hopped, on: "wan", to: router)
  }

  @Test func `A2 nobody sends from a forward's port but its target`() throws {
    let gateway = try gateway()
    #expect(try port(gateway.receive6(.udp(other, 9000, server, 53), on: "lan")) != 9000)
    #expect(try port(gateway.receive6(.tcp(other, 8080, server, 80, .syn), on: "lan")) != 8080)
    expectOut(gateway, .udp(host, 9105, server, 53), .udp(wan, 9005, server, 53))
    expectOut(gateway, .tcp(host, 80, server, 99, .syn), .tcp(wan, 8080, server, 99, .syn))
  }

  @Test func `echo is told apart by its identifier, other protocols only where that is said`() throws {
    let gateway = try gateway()
    expectOut(gateway, .ping(host, server, 7), .ping(wan, server, 7))
    let outcome = gateway.receive6(.ping(other, server, 7), on: "lan")
    let bytes = try #require(outcome.forwarded?.bytes)
    let identifier = UInt16(bytes[58]) << 8 | UInt16(bytes[59])
    #expect(identifier != 7)
    outcome.expectForward6(Datagram6.ping(wan, server, identifier).hopped, on: "wan", to: router)
    expectIn(gateway, .ping(server, wan, identifier, isAnswer: true), .ping(server, other, 7, isAnswer: true))
    expectIn(gateway, .ping(server, wan, 7, isAnswer: true), .ping(server, host, 7, isAnswer: true))
    gateway.receive6(Datagram6(host, server, 50, [1, 2, 3, 4]), on: "lan").expectDrop(.unknownProtocol)
    let open = try self.gateway { $0.masquerades[0].otherProtocols = true }
    expectOut(open, Datagram6(host, server, 50, [1, 2, 3, 4]), Datagram6(wan, server, 50, [1, 2, 3, 4]))
    expectIn(open, Datagram6(server, wan, 50, [5]), Datagram6(server, host, 50, [5]))
    #expect(open.receive6(Datagram6(other, server, 50, [1]), on: "lan").verdict == .drop)
  }

  @Test func `V6 packet too big and its kin are brought back with their quotes`() throws {
    let gateway = try gateway()
    _ = gateway.receive6(.udp(host, 5000, server, 53), on: "lan")
    let taken = try port(gateway.receive6(.udp(other, 5000, server, 53), on: "lan"))
    for (type, code) in [(2, 0), (1, 4), (3, 0)] as [(UInt8, UInt8)] {
      let quoted = Datagram6.udp(wan, taken, server, 53).hopped.bytes
      expectIn(
        gateway, .icmp("2001:db8:e::1", wan, type: type, code: code, 1400, quoted),
        .icmp("2001:db8:e::1", other, type: type, code: code, 1400, Datagram6.udp(other, 5000, server, 53).hopped.bytes)
      )
    }
    // An inside host's refusal leaves as the forward's.
    expectIn(gateway, .udp(server, 2000, wan, 9000), .udp(server, 2000, host, 9100))
    for sender in [host, other] {
      expectOut(
        gateway, .icmp(sender, server, type: 1, code: 4, 0, Datagram6.udp(server, 2000, host, 9100).hopped.bytes),
        .icmp(wan, server, type: 1, code: 4, 0, Datagram6.udp(server, 2000, wan, 9000).hopped.bytes))
    }
  }

  // MARK: Checksums

  @Test func `U12 a UDP checksum is never 0 over IPv6, whatever it comes to`() throws {
    let gateway = try gateway()
    let mac = Station(planned: gateway.plan.interfaces[1].mac!)
    for high in 0..<256 {
      let pairs = (0..<256).map { low in
        let text = String(UnicodeScalar(UInt8(high / 2))) + String(UnicodeScalar(UInt8(low / 2)))
        let more = String(repeating: "~", count: high % 2 * 2) + String(repeating: "!", count: low % 2 * 2)
        return (Datagram6.udp(host, 5000, server, 53, text + more), Datagram6.udp(wan, 5000, server, 53, text + more))
      }
      let outcomes = gateway.burst(pairs.map { .init($0.0.frame(from: .of6(host), to: mac), on: "lan") }).outcomes
      for (outcome, pair) in zip(outcomes, pairs) {
        outcome.expectForward6(pair.1.hopped, on: "wan", to: router)
        #expect(pair.1.payload[6...7] != [0, 0])
      }
    }
    // The one payload that comes to 0 for the new source.
    let plain = Datagram6.udp(wan, 5000, server, 53, "\0\0").payload
    let (first, second) = (plain[6], plain[7])
    var came = Datagram6.udp(host, 5000, server, 53, "\0\0")
    came.payload.replaceSubrange(8..<10, with: [first, second])
    let change = came.payload
    came = Datagram6.raw(host, server, change)
    let left = Datagram6.raw(wan, server, change)
    #expect(left.payload[6...7] == [0xFF, 0xFF])
    expectOut(gateway, came, left)
    let none = Datagram6.udp(host, 5000, server, 53).with { $0.payload.replaceSubrange(6..<8, with: [0, 0]) }
    gateway.receive6(none, on: "lan").expectDrop(.malformedUDP)
    gateway.receive6(
      Datagram6.udp(server, 53, wan, 5000).with { $0.payload.replaceSubrange(6..<8, with: [0, 0]) },
      on: "wan", via: router
    ).expectDrop(.malformedUDP)
  }

  @Test func `C6 with a routing header the checksum is that of the final destination`() throws {
    let (hop, end): (Host6, Host6) = ("2001:db8:f::7", "2001:db8:e::9")
    for type: UInt8 in [2, 4] {
      let gateway = try gateway()
      let header: [(number: UInt8, bytes: [UInt8])] = [(43, [2, type, 1, 0, 0, 0, 0] + end.bytes)]
      func routed(_ datagram: Datagram6, by address: Host6) -> Datagram6 {
        datagram.with {
          $0.destination = address
          $0.extensions = header
        }
      }
      expectOut(
        gateway, routed(.udp(host, 5000, end, 53), by: hop), routed(.udp(wan, 5000, end, 53), by: hop))
      // On the way in the header's destination is rewritten, which the checksum does not know.
      expectIn(
        gateway, routed(.udp(server, 2000, end, 9000), by: wan),
        routed(.udp(server, 2000, end, 9100), by: host))
      let all = Datagram6.icmp(host, end, type: 1, code: 4, 0, Datagram6.udp(server, 2000, host, 9100).hopped.bytes)
      gateway.receive6(routed(all, by: server), on: "lan").expect(.forward)
    }
  }

  @Test func `an unfinished checksum stays unfinished, and right`() throws {
    let gateway = try gateway()
    _ = gateway.receive6(.udp(host, 5000, server, 53), on: "lan")
    func partial(_ datagram: Datagram6) -> Datagram6 {
      let pseudo =
        datagram.source.bytes + datagram.destination.bytes + [0, 0, 0, UInt8(datagram.payload.count), 0, 0, 0, 17]
      let sum = InternetChecksum.sum(pseudo)
      return datagram.with { $0.payload.replaceSubrange(6..<8, with: [UInt8(sum >> 8), UInt8(sum & 0xFF)]) }
    }
    var offload = OffloadHeader()
    offload.flags = OffloadHeader.needsChecksum
    offload.checksumStart = 54
    offload.checksumOffset = 6
    for extensions in [[], [(number: UInt8(60), bytes: [UInt8](repeating: 0, count: 7))]] {
      offload.checksumStart = UInt16(54 + 8 * extensions.count)
      let came = partial(.udp(host, 5000, server, 53)).with { $0.extensions = extensions }
      let left = partial(.udp(wan, 5000, server, 53)).with { $0.extensions = extensions }
      gateway.receive6(came, on: "lan", offload: offload).expectForward6(left.hopped, on: "wan", to: router)
    }
  }

  // MARK: Rules that change, restart

  @Test func `V6 sessions follow the rules, and outlive a restart`() throws {
    let boot = BootIdentity(high: 1, low: 2)
    let before = try TestGateway(plan(), boot: boot)
    expectIn(before, .udp(server, 2000, wan, 9000), .udp(server, 2000, host, 9100))
    expectOut(before, .udp(host, 5000, server, 53), .udp(wan, 5000, server, 53))
    let taken = try port(before.receive6(.udp(other, 5000, server, 53), on: "lan"))
    let (gateway, report) = try before.restarted(plan(), boot: boot, downFor: 1)
    #expect(report.sessions == 3 && report.damaged == 0 && report.refused == 0)
    expectIn(gateway, .udp(server, 53, wan, taken), .udp(server, 53, other, 5000))
    expectOut(gateway, .udp(host, 9100, server, 2000), .udp(wan, 9000, server, 2000))
    // The same rules keep them, others do not.
    try gateway.reload { $0.timeouts.udp = 400 }
    #expect(gateway.live == 3)
    expectIn(gateway, .udp(server, 53, wan, taken), .udp(server, 53, other, 5000))
    try gateway.reload { $0.masquerades[0].pool = [PortRange(5000, 5001)] }
    #expect(gateway.live == (taken == 5001 ? 3 : 2))
    try gateway.reload { $0.forwards.removeLast() }
    gateway.receive6(.udp(server, 2000, wan, 9000), on: "wan", via: router).expectDrop(.noForward)
  }
}

extension Datagram6 {
  /// UDP with this header and payload, its checksum made anew.
  fileprivate static func raw(_ source: Host6, _ destination: Host6, _ bytes: [UInt8]) -> Datagram6 {
    let blank = Array(bytes[0..<6]) + [0, 0] + Array(bytes[8...])
    let pseudo = source.bytes + destination.bytes + [0, 0, 0, UInt8(blank.count), 0, 0, 0, 17]
    let sum = InternetChecksum.of(pseudo + blank)
    let stated = sum == 0 ? 0xFFFF : sum
    return Datagram6(
      source, destination, 17, Array(bytes[0..<6]) + [UInt8(stated >> 8), UInt8(stated & 0xFF)] + Array(bytes[8...]))
  }
}
