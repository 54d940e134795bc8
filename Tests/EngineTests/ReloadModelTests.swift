import Engine
import PacketTestKit
import Testing

/// P8 at random: after any change of the rules a session's packets go where a gateway that never knew other rules would
/// send them, or nowhere.
@Suite struct ReloadModelTests {
  /// Numbers from a small generator of its own.
  private struct Dice {
    var state: UInt64
    mutating func callAsFunction(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
  }

  private static func plan(_ dice: inout Dice) -> Plan {
    var plan = Plan.home { $0.onChange = dice(2) == 0 ? .keep : .cut }
    if dice(4) > 0 { plan.masquerade { $0.filtering = EndpointRule.allCases[dice(3)] } }
    for port in 8000..<8004 where dice(3) > 0 {
      let target = "192.168.1.\(10 + dice(3))" + ["", ":80", ":\(8000 + dice(4))"][dice(3)]
      plan.forward("p\(port)", [.tcp, .udp, .both][dice(3)], ports: "\(port)", to: target) {
        $0.source = dice(4) == 0 ? .gateway : .preserve
        $0.hairpin = dice(4) > 0
        $0.isEnabled = dice(6) > 0
        if dice(4) == 0 { $0.deny = [IPv4Prefix("198.51.100.99/32")!] }
      }
    }
    return plan
  }

  private static func packet(_ dice: inout Dice, flags: PacketTestKit.TCPHeader.Flags) -> (Packet, on: String) {
    let outsider: Peer = dice(2) == 0 ? client : stranger
    let insider = Peer(Host("192.168.1.10").advanced(by: dice(3)), UInt16(8000 + dice(4)))
    let (from, to): (Peer, Peer) =
      [
        (outsider, Peer(wan, UInt16(8000 + dice(5)))), (insider, outsider),
        (insider, Peer(wan, UInt16(8000 + dice(4)))),
      ][
        dice(3)]
    return (dice(2) == 0 ? .udp(from, to) : .tcp(from, to, flags), from == outsider ? "wan" : "lan")
  }

  @Test(arguments: 0..<6)
  func `P8 no packet goes to a target that the current rules do not name`(seed: UInt64) throws {
    var dice = Dice(state: seed &* 7919 &+ 1)
    let gateway = try TestGateway(Self.plan(&dice))
    for _ in 0..<15 {
      for _ in 0..<30 {
        let (packet, interface) = Self.packet(&dice, flags: [.syn, .ack][dice(2)])
        gateway.receive(packet, on: interface)
      }
      let plan = Self.plan(&dice)
      let forecast = try gateway.forecast(plan)
      try gateway.reload(plan)
      // What was promised is what is.
      let kept = forecast.filter { $0.fate == .kept }.map(\.session.identity)
      #expect(gateway.sessions().map(\.identity) == kept)
      for session in forecast { try check(session.session, gateway, plan) }
      if dice(3) == 0 { gateway.advance(to: gateway.now + Double(dice(30))) }
    }
  }

  /// Sends one more packet of the session's original direction.
  private func check(_ session: SessionReport, _ gateway: TestGateway, _ plan: Plan) throws {
    func peer(_ end: SessionEnd) -> Peer { Peer("\(end)") }
    let (from, to) = (peer(session.original.source), peer(session.original.destination))
    let interface = plan.interfaces[session.original.interface].name
    let packet: Packet = session.ipProtocol == 17 ? .udp(from, to) : .tcp(from, to, .ack)
    // An outside peer that a target has sent to itself answers by that session, whatever the forward says of strangers.
    let isAnswer = gateway.sessions().contains { peer($0.reply.source) == from && peer($0.reply.destination) == to }
    let now = gateway.receive(packet, on: interface)
    let fresh = try TestGateway(plan).receive(packet, on: interface)
    guard let frame = now.forwarded, !isAnswer else { return }
    if let expected = fresh.forwarded {
      #expect(frame.decoded.destination == expected.decoded.destination, "\(packet)")
      #expect(frame.interface == expected.interface, "\(packet)")
      #expect(frame.decoded.source?.host == expected.decoded.source?.host, "\(packet)")
    } else {
      // A peer of a mapping may come in where a stranger may not; nobody else gets through.
      #expect(fresh.reason == .noForward || fresh.reason == .toUs, "\(packet) \(fresh.reason)")
    }
  }

  @Test(arguments: [1.0, 20.0])
  func `P8 reviewed by packets or by the pass: the same bytes go out, and twice the same`(pause: Double) throws {
    func run() throws -> [[UInt8]] {
      var dice = Dice(state: 99)
      var frames: [[UInt8]] = []
      let gateway = try TestGateway(Self.plan(&dice), seed: 5)
      for round in 0..<10 {
        for _ in 0..<40 {
          let (packet, interface) = Self.packet(&dice, flags: .syn)
          frames += gateway.burst([(packet, on: interface)]).emitted.map(\.bytes)
        }
        frames += try gateway.reload(Self.plan(&dice)).map(\.bytes)
        frames += gateway.advance(to: Double(round + 1) * pause).map(\.bytes)
      }
      return frames
    }
    #expect(try run() == run())
  }

  @Test func `one session is cut by its identity, and no other`() throws {
    let gateway = try TestGateway(.home { $0.forward(.udp, ports: "8000", to: "192.168.1.10") })
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
    gateway.receive(.udp(stranger, Peer(wan, 8000)), on: "wan").expect(.forward)
    let identities = gateway.sessions().map(\.identity)
    #expect(gateway.cut(identity: identities[0]) && !gateway.cut(identity: identities[0]))
    #expect(gateway.sessions().map(\.identity) == [identities[1]])
    #expect(!gateway.cut(identity: 1_000_000))
  }
}
