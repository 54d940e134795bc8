import Engine
import PacketTestKit
import Testing

/// V5: prefix translation (RFC 6296): a function of the address, both ways, that no checksum notices.
@Suite struct PrefixTranslationTests {
  private let server: Host6 = "2001:db8:f::7"
  private let router: Host6 = "2001:db8:1::fe"
  private let near: Host6 = "2001:db8:2::10"
  private let far: Host6 = "2001:db8:3::10"

  /// Hosts of `inside` are behind `near`, which is on the lan.
  private func gateway(
    _ inside: String = "fd01:203:405::/48", _ outside: String = "2001:db8:b::/48",
    with change: (inout Plan) -> Void = { _ in }
  ) throws -> TestGateway {
    try TestGateway(
      .home6 { plan in
        plan.sessions = 1 << 18
        plan.prefixes = [PrefixPlan(interface: 0, inside: IPv6Prefix(inside)!, outside: IPv6Prefix(outside)!)]
        plan.routes6 = [RoutePlan6(destination: IPv6Prefix("fd00::/8")!, via: near.planned, interface: 1)]
        change(&plan)
      })
  }

  /// The address that RFC 6296 makes of one, by arithmetic modulo 65535, which is what one's complement sums are.
  private func translated(_ host: Host6, _ old: String, _ new: String, length: Int = 48) -> Host6 {
    func words(_ host: Host6) -> [Int] { (0..<8).map { Int(host.bytes[2 * $0]) << 8 | Int(host.bytes[2 * $0 + 1]) } }
    var bits = host.bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
    let prefix = Host6(new).bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 } }
    bits.replaceSubrange(0..<length, with: prefix[0..<length])
    var result = words(
      Host6(bytes: (0..<16).map { at in bits[8 * at..<8 * at + 8].reduce(UInt8(0)) { $0 << 1 | $1 } }))
    let index = length <= 48 ? 3 : (4..<8).first { words(host)[$0] != 0xFFFF }!
    let difference = words(Host6(old)).reduce(0, +) - words(Host6(new)).reduce(0, +)
    result[index] = ((result[index] + difference) % 65_535 + 65_535) % 65_535
    return Host6(bytes: result.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] })
  }

  private func out(_ host: Host6) -> Host6 { translated(host, "fd01:203:405::", "2001:db8:b::") }

  private func host(subnet: Int, _ low: String = "1234") -> Host6 {
    Host6("fd01:203:405:\(String(subnet, radix: 16))::\(low)")
  }

  // MARK: Addresses

  @Test func `V5 the example of RFC 6296 section 3.6`() throws {
    let gateway = try gateway("fd01:203:405::/48", "2001:db8:1::/48") {
      $0.change("wan") { $0.addresses6 = [IPv6Prefix("2001:db8:f::1/64")!] }
      $0.change("wan") { $0.gateways6 = [IPv6Address("2001:db8:f::fe")!] }
      $0.neighbors6.removeFirst()
      $0.neighbor6("2001:db8:f::fe")
    }
    gateway.receive6(.udp("fd01:203:405:1::1234", 1, "2001:db8:f1::1", 2), on: "lan", via: near).expectForward6(
      Datagram6.udp("2001:db8:1:d550::1234", 1, "2001:db8:f1::1", 2).hopped, on: "wan", to: "2001:db8:f::fe")
  }

  @Test func `V5 every subnet of a 48 bit prefix goes out and comes back, and no checksum is touched`() throws {
    let gateway = try gateway()
    var seen: Set<Host6> = []
    for first in stride(from: 0, to: 0xFFFF, by: 255) {
      let insides = (first..<first + 255).map { host(subnet: $0) }
      let outsides = insides.map { out($0) }
      seen.formUnion(outsides)
      let questions = zip(insides, outsides).map {
        (Datagram6.udp($0, 1000, server, 2000), Datagram6.udp($1, 1000, server, 2000))
      }
      #expect(questions.allSatisfy { $0.payload == $1.payload && $1.source.bytes[6...7] != [0xFF, 0xFF] })
      expectPassage(gateway, questions, from: "lan", near, to: "wan", router)
      let answers = zip(insides, outsides).map {
        (Datagram6.udp(server, 2000, $1, 1000), Datagram6.udp(server, 2000, $0, 1000))
      }
      expectPassage(gateway, answers, from: "wan", router, to: "lan", near)
    }
    #expect(seen.count == 65_535)
    #expect(gateway.live == 65_535)
  }

  /// All at once: each of these comes as the first and leaves as the second.
  private func expectPassage(
    _ gateway: TestGateway, _ pairs: [(came: Datagram6, left: Datagram6)], from: String, _ sender: Host6, to: String,
    _ receiver: Host6
  ) {
    let station = Station(planned: gateway.plan.interfaces[gateway.plan.index(of: from)].mac!)
    let outcomes = gateway.burst(pairs.map { .init($0.came.frame(from: .of6(sender), to: station), on: from) }).outcomes
    for (outcome, pair) in zip(outcomes, pairs) { outcome.expectForward6(pair.left.hopped, on: to, to: receiver) }
  }

  @Test(arguments: [49, 52, 56, 60, 63, 64])
  func `V5 a longer prefix leaves its subnets, and takes the difference to the interface identifier`(length: Int) throws
  {
    let (old, new) = ("fd01:203:405:8000::", "2001:db8:b:8000::")
    let gateway = try gateway("\(old)/\(length)", "\(new)/\(length)")
    for identifier in ["::1", "::", "ffff:1:2:3", "ffff:ffff:1:2", "ffff:ffff:ffff:0", "8b1d:9999:0:1"] {
      let inside = Host6(
        "fd01:203:405:8000:" + (identifier.hasPrefix("::") ? String(identifier.dropFirst()) : identifier))
      let outside = translated(inside, old, new, length: length)
      let question = Datagram6.tcp(inside, 1000, server, 80, .syn)
      gateway.receive6(question, on: "lan", via: near)
        .expectForward6(Datagram6.tcp(outside, 1000, server, 80, .syn).hopped, on: "wan", to: router)
      let answer = Datagram6.tcp(server, 80, outside, 1000, [.syn, .ack], acknowledgment: 1001)
      gateway.receive6(answer, on: "wan", via: router).expectForward6(
        Datagram6.tcp(server, 80, inside, 1000, [.syn, .ack], acknowledgment: 1001).hopped, on: "lan", to: near)
    }
    let nobody = Host6("fd01:203:405:8000:ffff:ffff:ffff:ffff")
    let refused = gateway.receive6(.udp(nobody, 1, server, 2), on: "lan", via: near)
    #expect(refused.expectDropAnswered(.untranslatable) != nil)
  }

  @Test func `V5 subnet 0xffff is refused, and its sender told`() throws {
    let gateway = try gateway()
    let refused = Datagram6.udp(host(subnet: 0xFFFF), 1, server, 2)
    let told = gateway.receive6(refused, on: "lan", via: near).expectDropAnswered(.untranslatable)
    let expected = Datagram6.icmp("2001:db8:2::1", host(subnet: 0xFFFF), type: 1, code: 5, 0, refused.bytes)
    #expect(told?.bytes == gateway.frame(expected, on: "lan", to: near) && gateway.live == 0)
    gateway.receive6(.udp(server, 1, "2001:db8:b:ffff::1", 2), on: "wan", via: router).expectDrop(.untranslatable)
    let dying = refused.with { $0.hopLimit = 1 }
    #expect(gateway.receive6(dying, on: "lan", via: near).expectDropAnswered(.ttlExceeded) != nil)
    #expect(DropReason.untranslatable.name == "untranslatable")
  }

  // MARK: What must not leave

  @Test func `V5 nothing with an inside prefix leaves outside`() throws {
    let gateway = try gateway {
      $0.interface("wan2", .outside, "198.18.0.1/24", mac: "02:00:00:00:04:01") {
        $0.addresses6 = [IPv6Prefix("2001:db8:4::1/64")!]
      }
      $0.neighbor6("2001:db8:4::10")
      // Else the whole prefix has a way inside.
      $0.routes6.removeFirst()
      $0.routes6.append(
        RoutePlan6(
          destination: IPv6Prefix("fd01:203:405:1::/64")!, via: IPv6Address("2001:db8:2::10")!, interface: 1))
    }
    let inside = host(subnet: 1)
    // By an outside interface that has no translation for it.
    let astray = gateway.receive6(.udp(inside, 1, "2001:db8:4::10", 2), on: "lan", via: near)
    #expect(astray.expectDropAnswered(.untranslatable) != nil)
    // To an inside address that is nowhere inside.
    let nowhere = gateway.receive6(.udp(inside, 1, host(subnet: 2), 2), on: "lan", via: near)
    #expect(nowhere.expectDropAnswered(.noRoute) != nil)
    // Others keep their addresses.
    gateway.receive6(.udp(near, 1, server, 2), on: "lan").expectForward6(
      Datagram6.udp(near, 1, server, 2).hopped, on: "wan", to: router)
  }

  @Test func `from outside both names of an inside host are no sources, and the inside one no destination`() throws {
    let gateway = try gateway()
    for source in [host(subnet: 0x9999), out(host(subnet: 0x9999))] {
      gateway.receive6(.udp(source, 1, near, 2), on: "wan", via: router).expectDrop(.martian)
    }
    gateway.receive6(.udp(server, 1, host(subnet: 1), 2), on: "wan", via: router).expectDrop(.insideFromOutside)
  }

  // MARK: With the firewall

  private func pinhole(_ target: Host6) -> (inout Plan) -> Void {
    {
      var forward = ForwardPlan(
        name: "web", protocols: [], interface: 0, externals: [], isWholeHost: false, spans: [], target: IPv4Address(0))
      forward.pinhole = PinholePlan(target: target.planned, protocols: .tcp, ports: [PortRange(80, 80)])
      $0.forwards.append(forward)
    }
  }

  @Test func `V5 a pinhole names the inside address and is reached by the outside one, and nothing else is`() throws {
    let inside = host(subnet: 1)
    let gateway = try gateway(with: pinhole(inside))
    gateway.receive6(.tcp(server, 1000, out(inside), 80, .syn), on: "wan", via: router)
      .expectForward6(Datagram6.tcp(server, 1000, inside, 80, .syn).hopped, on: "lan", to: near)
    gateway.receive6(.tcp(inside, 80, server, 1000, [.syn, .ack], acknowledgment: 1001), on: "lan", via: near)
      .expectForward6(
        Datagram6.tcp(out(inside), 80, server, 1000, [.syn, .ack], acknowledgment: 1001).hopped, on: "wan", to: router)
    gateway.receive6(.tcp(server, 1000, out(inside), 81, .syn), on: "wan", via: router).expectDrop(.noForward)
    gateway.receive6(.tcp(server, 1000, out(host(subnet: 2)), 80, .syn), on: "wan", via: router).expectDrop(.noForward)
  }

  @Test func `V5 inside hosts reach each other by their outside addresses, and see those`() throws {
    let gateway = try gateway {
      let destination = IPv6Prefix("fd01:203:405:2000::/52")!
      $0.routes6.append(RoutePlan6(destination: destination, via: far.planned, interface: $0.index(of: "dmz")))
    }
    let (one, other) = (host(subnet: 1), host(subnet: 0x2001))
    gateway.receive6(.udp(one, 1000, out(other), 2000), on: "lan", via: near)
      .expectForward6(Datagram6.udp(out(one), 1000, other, 2000).hopped, on: "dmz", to: far)
    gateway.receive6(.udp(other, 2000, out(one), 1000), on: "dmz", via: far)
      .expectForward6(Datagram6.udp(out(other), 2000, one, 1000).hopped, on: "lan", to: near)
    #expect(gateway.live == 1 && gateway.sessions()[0].origin == .hairpin)
    // By the inside ones there is no session at all.
    gateway.receive6(.udp(one, 1000, other, 2000), on: "lan", via: near)
      .expectForward6(Datagram6.udp(one, 1000, other, 2000).hopped, on: "dmz", to: far)
    #expect(gateway.live == 1)
  }

  // MARK: ICMPv6

  @Test func `V5 errors from outside are brought back, quote and all`() throws {
    let gateway = try gateway()
    let inside = host(subnet: 1)
    let kinds: [(Host6) -> Datagram6] = [
      { .udp($0, 1000, server, 2000) }, { .tcp($0, 1000, server, 80, .syn) }, { .ping($0, server) },
      { Datagram6($0, server, 50, [UInt8](repeating: 1, count: 24)) },
    ]
    for make in kinds {
      gateway.receive6(make(inside), on: "lan", via: near)
        .expectForward6(make(out(inside)).hopped, on: "wan", to: router)
      let error = Datagram6.icmp("2001:db8:e::1", out(inside), type: 2, 1400, make(out(inside)).hopped.bytes)
      gateway.receive6(error, on: "wan", via: router).expectForward6(
        Datagram6.icmp("2001:db8:e::1", inside, type: 2, 1400, make(inside).hopped.bytes).hopped, on: "lan", to: near)
    }
  }

  @Test func `V5 errors from inside, a router's too, leave without an inside address`() throws {
    let (inside, router1) = (host(subnet: 1), host(subnet: 1, "ffff"))
    let gateway = try gateway(with: pinhole(inside))
    let question = Datagram6.tcp(server, 1000, out(inside), 80, .syn)
    gateway.receive6(question, on: "wan", via: router).expect(.forward)
    let quoted = Datagram6.tcp(server, 1000, inside, 80, .syn).hopped
    for sender in [inside, router1] {
      gateway.receive6(.icmp(sender, server, type: 1, code: 3, 0, quoted.bytes), on: "lan", via: near).expectForward6(
        Datagram6.icmp(out(sender), server, type: 1, code: 3, 0, question.hopped.bytes).hopped, on: "wan", to: router)
    }
  }

  @Test func `errors that we make quote what their sender has sent`() throws {
    let gateway = try gateway(with: {
      $0.change("wan") { $0.mtu = 1280 }
      $0.change("wan") { $0.gateways6 = [IPv6Address("2001:db8:1::aa")!] }
    })
    let large = Datagram6.udp(host(subnet: 1), 1, server, 2, String(repeating: "x", count: 1300))
    let told = gateway.receive6(large, on: "lan", via: near).expectDropAnswered(.fragmentationNeeded)
    #expect(told.map { Array($0.bytes.suffix(1232)) } == Array(large.bytes.prefix(1232)))
    // No answer from the next hop: what was held had been rewritten already.
    gateway.receive6(.udp(host(subnet: 1), 1, server, 2), on: "lan", via: near).expect(.hold)
    let made = gateway.advance(to: 5).filter { $0.interface == "lan" }
    #expect(made.count == 1)
    let original = Datagram6.udp(host(subnet: 1), 1, server, 2)
    #expect(made.first.map { Array($0.bytes.suffix(original.bytes.count)) } == original.bytes)
  }
}
