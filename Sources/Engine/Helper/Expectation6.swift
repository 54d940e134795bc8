import Synchronization

/// Which IPv6 data connections helpers expect, in places that are found by what such a connection will be to. An IPv4 one
/// stands in the mapping of its outside endpoint; over IPv6 there need be none, since nothing need be translated. Where
/// there is one, its endpoint waits as for IPv4.
///
/// A place is open only as long as its control connection lives and names it: so there is never more than one for a
/// connection, and whatever closes one is done at once. Changed and read under the engine's lock.
///
///     offset  0  peer      16 bytes  who may come
///            16  outside   16 bytes  where it will send to
///            32  inside    16 bytes  who that is
///            48  ports     UInt32    raw: outside port, then inside port
///            52  until     UInt32    tick; from then on nobody may
///            56  control   UInt32    session that has announced it; 0 = free, or just being written
///            60  mapping   UInt32    that the outside endpoint is; 0 = none
///            64  scope     UInt16    interface that the peer comes in by
///            66  gateway   UInt8     1: the target sees the gateway
struct ExpectedPlace {
  static let bytes = 72

  let line: UnsafeMutableRawPointer

  private var word: UnsafeMutablePointer<Atomic<UInt32>> { shared32(line, 56) }

  var expected: Expected6 {
    get {
      Expected6(
        peer: IPv6Address(at: line), outside: IPv6Address(at: line + 16), inside: IPv6Address(at: line + 32),
        outsidePort: line.raw16(48), insidePort: line.raw16(50), until: line.raw32(52), mapping: line.raw32(60),
        scope: line.raw16(64), isAsGateway: line.byte(66) != 0)
    }
    nonmutating set {
      newValue.peer.put(at: line)
      newValue.outside.put(at: line + 16)
      newValue.inside.put(at: line + 32)
      line.putRaw(newValue.outsidePort, 48)
      line.putRaw(newValue.insidePort, 50)
      line.putRaw(newValue.until, 52)
      line.putRaw(newValue.mapping, 60)
      line.putRaw(newValue.scope, 64)
      line.put(newValue.isAsGateway ? 1 : 0, 66)
    }
  }
  var control: UInt32 {
    get { word.pointee.load(ordering: .acquiring) }
    nonmutating set { word.pointee.store(newValue, ordering: .sequentiallyConsistent) }
  }
}

/// A data connection that is expected. Ports are raw.
struct Expected6 {
  var peer: IPv6Address
  var outside: IPv6Address
  var inside: IPv6Address
  var outsidePort: UInt16
  var insidePort: UInt16
  var until: UInt32
  var mapping: UInt32 = 0
  var scope: UInt16
  var isAsGateway = false

  /// The key of what begins it, but for the peer's port.
  func key(_ secret: HashSecret) -> FlowKey {
    FlowKey(
      digest: secret.digest(peer, outside), ports: UInt64(outsidePort) &<< 16, scope: scope, ipProtocol: IPProtocol.tcp)
  }

  func isTo(_ other: Expected6) -> Bool {
    peer == other.peer && outside == other.outside && outsidePort == other.outsidePort && scope == other.scope
  }
}

/// All places. A connection has the choice among a few of them, by its hash: where those are open the announcement is
/// refused, and no flood of them costs more than looking there.
struct Expectations6 {
  static let capacity: UInt32 = 4096
  static let choice: UInt32 = 16

  let start: UnsafeMutableRawPointer

  subscript(place: UInt32) -> ExpectedPlace { ExpectedPlace(line: start + Int(place) &* ExpectedPlace.bytes) }

  /// The places where what is to be reached by this key may stand.
  func places(_ key: FlowKey, _ secret: HashSecret) -> [UInt32] {
    let first = UInt32(truncatingIfNeeded: secret.hash(key))
    return (0..<Self.choice).map { (first &+ $0) & (Self.capacity &- 1) }
  }
}

extension Flows {
  var expectations6: Expectations6 { tables.region.expectations6 }
}

extension Core {
  /// Who has announced it still lives, and has announced nothing since; nor has anybody else at that endpoint.
  private func isOpen(_ place: UInt32) -> Bool {
    let line = flows.expectations6[place]
    let (control, expected) = (line.control, line.expected)
    guard control != 0, Int32(bitPattern: expected.until &- clock.tick) > 0 else { return false }
    let key = flows.sessions.flow(control &<< 1)
    guard key.kind == FlowKind.helped, key.key.isIPv6, flows.sessions.isLive(control, at: clock.tick) else {
      return false
    }
    let helper = flows.helper(control)
    return helper.mapping == place &+ 1
      && (expected.mapping == 0 || flows.mappings[expected.mapping].expectation.rawValue == helper.expected)
  }

  /// The place of what is expected to come in like `expected`.
  private func find(_ expected: Expected6) -> UInt32? {
    let secret = flows.sessions.secret
    return flows.expectations6.places(expected.key(secret), secret).first {
      isOpen($0) && flows.expectations6[$0].expected.isTo(expected)
    }
  }

  /// Expects it, for a control connection that expects nothing else; false where there is no place for it.
  private func expect(_ expected: Expected6, for control: UInt32) -> Bool {
    let secret = flows.sessions.secret
    let places = flows.expectations6.places(expected.key(secret), secret)
    guard find(expected) == nil, let place = places.first(where: { !isOpen($0) }) else { return false }
    let line = flows.expectations6[place]
    line.control = 0
    line.expected = expected
    line.control = control
    flows.helper(control).mapping = place &+ 1
    return true
  }

  /// What a connection has announced before is closed.
  mutating func forgetExpectation6(of control: UInt32) {
    let helper = flows.helper(control)
    let line = flows.expectations6[helper.mapping &- 1]
    guard line.control == control else { return }
    line.control = 0
    let mapping = line.expected.mapping
    if mapping != 0 { flows.forget(Expectation(rawValue: helper.expected), at: mapping) }
  }

  // MARK: Announced

  /// The port at which the peer of a connection reaches `port` of the host that sends by `flow`, at the address that it
  /// knows the host by, and nobody else does. nil where there is none to be had.
  mutating func expect6(_ flow: UInt32, at port: UInt16) -> UInt16? {
    let sides = flows.sessions.sides
    let (inside, outside) = (sides.source(flow), sides.destination(flow ^ 1))
    var expected = Expected6(
      peer: sides.source(flow ^ 1), outside: outside, inside: inside, outsidePort: port.bigEndian,
      insidePort: port.bigEndian, until: clock.tickUp &+ Expectation.ticks,
      scope: flows.sessions.flow(flow ^ 1).key.scope)
    if case .forward(let rule) = origin(flow &>> 1).report {
      expected.isAsGateway = flow & 1 == 1 && plan.forwards[rule].source == .gateway
    }
    if own6[outside] != nil { return expectMapped(&expected, flow) }
    // What rules let in anyway needs nothing.
    return isLet(in: expected) || expect(expected, for: flow &>> 1) ? port : nil
  }

  /// The rules let the peer reach the very endpoint without being told to.
  private func isLet(in expected: Expected6) -> Bool {
    guard
      case .session(let draft) = rules.beginning(
        expected.key(flows.sessions.secret), from: expected.peer, to: expected.outside)
    else { return false }
    return draft.destination == expected.inside
      && UInt16(truncatingIfNeeded: draft.ports &>> 16) == expected.insidePort
  }

  /// At an address of ours: by the host's mapping there, made if there is none, or a forward that leads there already.
  private mutating func expectMapped(_ expected: inout Expected6, _ flow: UInt32) -> UInt16? {
    let own = flows.sessions.flow(flow).key
    let key = FlowKey(
      digest: flows.sessions.secret.digest(expected.inside, expected.peer),
      ports: UInt64(expected.insidePort) | UInt64(own.destinationPort) &<< 16, scope: own.scope,
      ipProtocol: IPProtocol.tcp)
    let hop = RouteTable6.Hop(interface: Int(expected.scope), address: .unspecified)
    var draft = Draft6(
      source: expected.outside, destination: expected.peer, ports: key.ports, hop: hop, origin: .hairpin)
    draft = rules.sentAsMapped(draft, key, expected.inside, at: expected.outside)
    guard case .mapped(let index) = draft.choice else {
      return draft.source == expected.outside ? draft.sourcePort.bigEndian : nil
    }
    let refusal = mapSource(&draft, key, from: expected.inside, to: expected.peer, index)
    guard refusal == nil, draft.sourcePort.bigEndian >= 1024 else {
      abandon(draft.claims)
      return nil
    }
    (expected.outsidePort, expected.mapping) = (draft.sourcePort, draft.claims.mapping)
    let expectation = Expectation(remote: flows.sessions.secret.host(expected.peer), until: expected.until)
    flows.expect(expectation, at: expected.mapping, asGateway: expected.isAsGateway)
    flows.helper(flow &>> 1).expected = expectation.rawValue
    guard expect(expected, for: flow &>> 1) else {
      flows.forget(expectation, at: expected.mapping)
      return nil
    }
    return expected.outsidePort.bigEndian
  }

  // MARK: Begun

  /// Begins the session that a helper expects; false where none expects this one.
  mutating func beginExpected(_ packet: Packet6) -> Bool {
    guard packet.kind == FlowKind.tcp, Self.isSYN(packet.tcpFlags) else { return false }
    return locked { $0.beginExpectedNow(packet) }
  }

  /// What a helper expects to come in like this packet.
  func expected(_ packet: Packet6) -> Expected6? { find(packet).map { flows.expectations6[$0].expected } }

  private func find(_ packet: Packet6) -> UInt32? {
    find(
      Expected6(
        peer: packet.source, outside: packet.destination, inside: packet.destination,
        outsidePort: packet.key.destinationPort, insidePort: 0, until: 0, scope: packet.key.scope))
  }

  private mutating func beginExpectedNow(_ packet: Packet6) -> Bool {
    guard let place = find(packet) else { return false }
    guard packet.header.hopLimit > 1 else {
      timeExceeded(packet)
      return true
    }
    let expected = flows.expectations6[place].expected
    let helper = flows.helper(flows.expectations6[place].control)
    guard let draft = draft(of: expected, packet) else { return false }
    make(packet, draft)
    if flows.find(packet.key, at: clock.tick) != nil {
      flows.expectations6[place].control = 0
      helper.mapping = 0
      if expected.mapping != 0 { flows.letGo(expected.mapping) }
    } else if expected.mapping != 0 {
      // There was no room for it: its SYN comes again.
      flows.expect(Expectation(rawValue: helper.expected), at: expected.mapping, asGateway: expected.isAsGateway)
    }
    return true
  }

  /// What it becomes. Where there is a mapping, that has two users more: the session, and whoever asks for this.
  private mutating func draft(of expected: Expected6, _ packet: Packet6) -> Draft6? {
    guard var draft = rules.draft(packet.key, from: packet.source, to: expected.inside, expected.insidePort) else {
      return nil
    }
    let (mapping, isFromOutside) = (expected.mapping, interfaces[packet.ingress].isOutside)
    if mapping != 0 {
      _ = review(mapping: mapping)
      guard flows.takeExpected(mapping, at: clock.tick) else { return nil }
      guard flows.use(mapping) else {
        flows.letGo(mapping)
        return nil
      }
      let line = flows.mappings[mapping]
      if isFromOutside {
        let index = rules.masquerade(from: Int(line.interface), as: line.outsideAddress)
        draft.origin = index.map(Origin.masquerade) ?? .hairpin
        draft.claims.mapping = mapping
      } else {
        draft = rules.sentAsMapped(draft, packet.key, packet.source, at: packet.destination)
        draft.claims.pinned = mapping
      }
    } else {
      guard let origin = rules.helperOrigin(inside: expected.inside, behind: draft.hop.interface) else { return nil }
      draft.origin = origin
      draft.isExpected = true
    }
    if expected.isAsGateway, let own = sixes[draft.hop.interface]?.firstAddress {
      draft.source = own
      draft.choice = .anyPort
    }
    return draft
  }
}

extension Rules {
  /// The rule whose helper lets an inside host be reached by what it announces, where nothing is translated to our own
  /// addresses: its pinhole's, or the masquerade's of its interface.
  func helperOrigin(inside: IPv6Address, behind interface: Int) -> Origin? {
    let pinhole = plan.forwards.firstIndex {
      $0.isEnabled && $0.helper != nil && $0.pinhole?.target == inside && $0.pinhole?.external == nil
    }
    return pinhole.map(Origin.forward)
      ?? plan.masquerades.firstIndex { $0.helper != nil && $0.from == interface }.map(Origin.masquerade)
  }

  /// What becomes of a session that a helper has let in without a mapping, where no pinhole does: it goes on as long as
  /// its host is known outside as before, and some helper is there for it.
  func fateOfExpected(_ session: UInt32, in flows: Flows) -> Fate {
    let sides = flows.sessions.sides
    let (outside, inside) = (sides.destination(session &<< 1), sides.source(session &<< 1 | 1))
    let egress = Int(flows.sessions.flow(session &<< 1 | 1).key.scope)
    let known = prefix(outside: outside).map { $0.inside(of: outside) } ?? (isTranslated(outside) ? nil : outside)
    let seen = [sides.source(session &<< 1), sixes[egress]?.firstAddress]
    guard let hop = routes6.find(inside), hop.interface == egress, !interfaces[egress].isOutside, known == inside,
      seen.contains(sides.destination(session &<< 1 | 1)),
      let origin = helperOrigin(inside: inside, behind: egress)
    else { return .cut }
    return .kept(origin)
  }
}

// MARK: - Restart

extension Core {
  /// Gives helped connections back what they expect, in the places that it has here; their helper lines still name those
  /// of the other engine. So there is one for each after a restart too.
  ///
  /// - Parameters:
  ///   - mappings: our numbers of the other engine's mappings, 0 for none.
  ///   - interface: the number that an interface of the other engine has here; nil where it is gone.
  mutating func adoptExpectations(
    _ saved: SavedRegion, _ mappings: [UInt32], shift: UInt32, interface: (UInt16) -> UInt16?
  ) {
    guard flows.helps else { return }
    for session in 1..<max(1, flows.sessions.highWater) {
      let line = flows.sessions.flow(session &<< 1)
      guard line.kind == FlowKind.helped, flows.sessions.isLive(session, at: clock.tick) else { continue }
      let helper = flows.helper(session)
      let number = Int(helper.mapping)
      helper.mapping = 0
      if line.key.isIPv6 {
        guard let places = saved.expectations6, number > 0, number <= Int(Expectations6.capacity) else { continue }
        adopt(places[UInt32(number - 1)], for: session, mappings, shift: shift, interface: interface)
      } else if number > 0, number < mappings.count, mappings[number] != 0,
        saved.mappings[UInt32(number)].expectation.rawValue == helper.expected
      {
        helper.mapping = mappings[number]
        helper.expected = flows.mappings[mappings[number]].expectation.rawValue
      }
    }
  }

  /// Believed where it is of the connection's ends and its mapping, and not for longer than usual.
  private mutating func adopt(
    _ place: ExpectedPlace, for control: UInt32, _ mappings: [UInt32], shift: UInt32, interface: (UInt16) -> UInt16?
  ) {
    var expected = place.expected
    expected.until = expected.until &+ shift
    guard place.control != 0, let scope = interface(expected.scope), expected.outsidePort.bigEndian >= 1024,
      expected.insidePort.bigEndian >= 1024,
      (1...Int32(Expectation.ticks)).contains(Int32(bitPattern: expected.until &- clock.tickUp))
    else { return }
    expected.scope = scope
    let sides = flows.sessions.sides
    let isOfConnection = (0..<2).contains { d in
      let (flow, back) = (control &<< 1 | UInt32(d), control &<< 1 | UInt32(1 - d))
      return sides.source(flow) == expected.inside && sides.destination(back) == expected.outside
        && sides.source(back) == expected.peer && flows.sessions.flow(back).key.scope == scope
    }
    guard isOfConnection, (expected.mapping != 0) == (own6[expected.outside] != nil) else { return }
    if expected.mapping != 0 {
      guard expected.mapping < mappings.count, mappings[Int(expected.mapping)] != 0 else { return }
      expected.mapping = mappings[Int(expected.mapping)]
      let line = flows.mappings[expected.mapping]
      guard line.isIPv6, line.outsideAddress == expected.outside.number, line.outsidePort == expected.outsidePort,
        line.insidePort == expected.insidePort, flows.mappings.sides[expected.mapping].inside == expected.inside,
        line.expectation != .none
      else { return }
      flows.helper(control).expected = line.expectation.rawValue
    } else {
      guard expected.insidePort == expected.outsidePort else { return }
    }
    _ = expect(expected, for: control)
  }
}
