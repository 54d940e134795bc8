import Synchronization

/// Who may begin one TCP session with a mapping, whatever its filtering, and until when: an endpoint that a helper has
/// read stands there. One word of the mapping's line.
///
///     bits  0  until   tick; from then on nobody may
///          32  remote  UInt32  raw; 0 = nobody
struct Expectation: Equatable {
  var rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }
  init(remote: UInt32, until: UInt32) { rawValue = UInt64(until) | UInt64(remote) &<< 32 }

  static let none = Expectation(rawValue: 0)
  /// How long a data connection is waited for: it begins with the command behind the one that announces it.
  static let ticks: UInt32 = 600

  var remote: UInt32 { UInt32(truncatingIfNeeded: rawValue &>> 32) }
  var until: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

  func admits(_ source: UInt32, at tick: UInt32) -> Bool {
    remote != 0 && remote == source && Int32(bitPattern: until &- tick) > 0
  }

  /// In this engine's ticks, where it can be one of another engine's: nobody is waited for longer than usual.
  func adopted(shift: UInt32, at tick: UInt32) -> Expectation {
    let moved = Expectation(remote: remote, until: until &+ shift)
    return remote != 0 && (1...Int32(Self.ticks)).contains(Int32(bitPattern: moved.until &- tick)) ? moved : .none
  }
}

extension MappingLine {
  private var word: UnsafeMutablePointer<Atomic<UInt64>> { shared64(line, 48) }

  var expectation: Expectation {
    get { Expectation(rawValue: word.pointee.load(ordering: .acquiring)) }
    nonmutating set { word.pointee.store(newValue.rawValue, ordering: .releasing) }
  }
  /// False where it is another one by now: it admits one session.
  func end(_ expectation: Expectation) -> Bool {
    word.pointee.compareExchange(
      expected: expectation.rawValue, desired: Expectation.none.rawValue, ordering: .acquiringAndReleasing
    ).exchanged
  }
  var expectsAsGateway: Bool {
    get { has(MappingMark.asGateway) }
    nonmutating set { if newValue { mark(MappingMark.asGateway) } else { unmark(MappingMark.asGateway) } }
  }
}

extension Flows {
  func helper(_ session: UInt32) -> HelperLine { tables.region.helpers[session] }

  /// The mapping that waits for a session of this remote (raw) at an outside endpoint. Between announcement and connection
  /// it has no user: it waits like a freed port for its former owner, and whatever ends such ones ends it.
  func expectedMapping(_ key: FlowKey, at tick: UInt32) -> UInt32? {
    let outside = MappingTable.outsideKey(
      address: key.destination, port: key.destinationPort, ipProtocol: key.ipProtocol)
    guard let mapping = mappings.find(outside: outside), mappings[mapping].expectation.admits(key.source, at: tick)
    else {
      return nil
    }
    return mapping
  }

  /// Counts the expected session as the mapping's user; false where another one came first, or the time is over.
  func takeExpected(_ mapping: UInt32, at tick: UInt32) -> Bool {
    let line = mappings[mapping]
    let expectation = line.expectation
    guard expectation.remote != 0, Int32(bitPattern: expectation.until &- tick) > 0, line.end(expectation) else {
      return false
    }
    return use(mapping, isOwner: true)
  }

  /// A mapping that its maker counts as a user of, from now on waits for an expected session.
  mutating func expect(_ expectation: Expectation, at mapping: UInt32, asGateway: Bool) {
    let line = mappings[mapping]
    line.expectsAsGateway = asGateway
    line.expectation = expectation
    while true {
      let before = line.life
      // Others keep it as long as they like, and it is gone with the last of them.
      let after =
        before.users > 1
        ? MappingLife(state: before.state, users: before.users &- 1, deadline: before.deadline)
        : MappingLife(state: MappingState.quarantined, users: 0, deadline: expectation.until)
      if line.exchange(before, after) { return }
    }
  }

  /// What has been expected there is so no more.
  mutating func forget(_ expectation: Expectation, at mapping: UInt32) {
    if mappings[mapping].end(expectation) { endUnused(mapping) }
  }
}

extension Core {
  /// The mapping at which a helper expects the session that this packet begins.
  mutating func expected(_ packet: Packet) -> UInt32? {
    guard packet.kind == FlowKind.tcp, Self.isSYN(packet.tcpFlags),
      let mapping = flows.expectedMapping(packet.key, at: clock.tick)
    else { return nil }
    _ = review(mapping: mapping)
    let state = flows.mappings[mapping].state
    return state == MappingState.live || state == MappingState.quarantined ? mapping : nil
  }

  /// An outside endpoint at which the peer of a connection reaches `port` of the host that sends by `flow`, and nobody
  /// else. nil where there is none to be had.
  ///
  /// The host's mapping at the address that the peer knows it by, made if there is none: so what it opens, keeps and gives
  /// back is as with any other. A forward that leads there already needs none.
  mutating func expect(_ flow: UInt32, at port: UInt16) -> UInt16? {
    let line = flows.sessions.flow(flow)
    let key = line.key
    let peer = flows.sessions.flow(flow ^ 1).key
    let inside = FlowKey(
      source: key.source, sourcePort: port.bigEndian, destination: key.destination,
      destinationPort: key.destinationPort, scope: key.scope, ipProtocol: key.ipProtocol)
    // Ports that no masquerade has for itself are the host's there.
    let pool = rules.masquerade(of: inside, from: Int(key.scope), at: line.newSource, flows.sessions.secret)
    guard pool != nil || !isAlongside else { return nil }
    var draft = Draft(
      key: inside, new: inside, hop: RouteTable.Hop(interface: Int(peer.scope), address: IPv4Address(0)),
      origin: .hairpin)
    if settleSource(&draft, .hairpin(address: line.newSource), Int(key.scope)) != nil
      || draft.new.source != line.newSource || draft.new.sourcePort.bigEndian < 1024
    {
      abandon(draft.claims)
      return nil
    }
    guard draft.mapping != 0 else { return draft.new.sourcePort.bigEndian }
    let isAsGateway = flow & 1 == 1 && rules.isAsGateway(origin(flow &>> 1))
    let expectation = Expectation(remote: peer.source, until: clock.tickUp &+ Expectation.ticks)
    let helper = flows.helper(flow &>> 1)
    flows.expect(expectation, at: draft.mapping, asGateway: isAsGateway)
    helper.mapping = draft.mapping
    helper.expected = expectation.rawValue
    return draft.new.sourcePort.bigEndian
  }

  /// One at a time: what a connection has announced before is closed, if nobody has come.
  mutating func forgetExpectation(of session: UInt32) {
    let helper = flows.helper(session)
    guard helper.mapping != 0 else { return }
    defer { helper.mapping = 0 }
    if flows.sessions.flow(session &<< 1).key.isIPv6 { return forgetExpectation6(of: session) }
    flows.forget(Expectation(rawValue: helper.expected), at: helper.mapping)
  }
}

extension Rules {
  func helper(_ origin: Origin) -> Helper? {
    switch origin.report {
    case .forward(let index): index < forwardRules.count ? forwardRules[index].helper : nil
    case .masquerade(let index): index < masquerades.count ? masquerades[index].helper : nil
    default: nil
    }
  }

  /// The same for a connection between two interfaces, which need not be translated over IPv6.
  func helper(_ origin: Origin, from: UInt16, to: UInt16) -> Helper? {
    guard case .outbound = origin.report else { return helper(origin) }
    return plan.masquerades.first { $0.from == Int(from) && $0.to == Int(to) }?.helper
  }

  fileprivate func isAsGateway(_ origin: Origin) -> Bool {
    if case .forward(let index) = origin.report { forwardRules[index].source == .gateway } else { false }
  }
}
