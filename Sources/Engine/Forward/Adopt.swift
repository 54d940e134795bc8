/// What came of a region that another engine has left.
public struct AdoptionReport: Sendable, Equatable {
  /// Sessions and mappings that go on.
  public var sessions = 0
  public var mappings = 0
  /// Sessions that are over, that the current rules would not make, or that contradict themselves.
  public var expired = 0
  public var refused = 0
  public var damaged = 0

  public init() {}
}

// Records of another engine, made anew in this one's tables by the ordinary means: what is inconsistent finds no way in.
extension Core {
  /// Takes over what still holds. For an engine that has seen no frame yet.
  mutating func adopt(_ saved: SavedRegion) -> AdoptionReport {
    var report = AdoptionReport()
    let adopter = Adopter(
      interfaces: saved.interfaces.map { name in plan.interfaces.firstIndex { $0.name == name } },
      // Ticks are compared by signed difference, and so they may be moved.
      shift: UInt32(truncatingIfNeeded: saved.baseTick &- clock.base))
    var mappings = [UInt32](repeating: 0, count: Int(saved.mappingPlaces) + 1)
    for place in 1..<max(1, saved.mappingPlaces &+ 1) {
      guard let made = adopt(saved, mapping: place, adopter) else { continue }
      mappings[Int(place)] = made
    }
    var identity: UInt64 = 0
    for place in 1..<max(1, saved.sessionPlaces &+ 1) {
      adopt(place, saved, mappings, adopter, &report)
      identity = max(identity, UInt64(saved.sessions.common(place).identity))
    }
    adoptExpectations(saved, mappings, shift: adopter.shift, interface: adopter.interface)
    // Each mapping was kept by the adoption itself until now.
    for mapping in mappings where mapping != 0 && flows.mappings[mapping].state == MappingState.live {
      flows.letGo(mapping)
    }
    adoptOpenings(saved.openings, shift: adopter.shift)
    report.mappings = mappings.count { $0 != 0 && flows.mappings[$0].state != MappingState.free }
    // Identities go on, so that none is given twice; a count that cannot be is not believed.
    let isCredible = saved.createdSessions >= identity && saved.createdSessions < 1 &<< 48
    flows.tables.words.createdSessions.plain = isCredible ? saved.createdSessions : identity
    return report
  }

  /// How the numbers of another engine are to be read here.
  private struct Adopter {
    /// Its interfaces by ours.
    let interfaces: [Int?]
    /// From its ticks to ours.
    let shift: UInt32

    func interface(_ number: UInt16) -> UInt16? {
      guard Int(number) < interfaces.count, let own = interfaces[Int(number)] else { return nil }
      return UInt16(truncatingIfNeeded: own)
    }

    /// The key as it is here; nil where its interface is gone.
    func key(_ key: FlowKey) -> FlowKey? {
      interface(key.scope).map {
        FlowKey(addresses: key.addresses, rest: key.rest & ~(0xFFFF &<< 32) | UInt64($0) &<< 32)
      }
    }
  }

  // MARK: Mappings

  /// Makes a mapping anew, with one user: the adoption. nil where it is none, or the rules would not make it.
  private mutating func adopt(_ saved: SavedRegion, mapping place: UInt32, _ adopter: Adopter) -> UInt32? {
    let old = saved.mappings[place]
    let life = old.life
    let isKnown = [IPProtocol.tcp, IPProtocol.udp, IPProtocol.icmp].contains(old.ipProtocol)
    guard life.state == MappingState.live || life.state == MappingState.quarantined, isKnown,
      old.load(22, UInt8.self) < EndpointRule.allCases.count, old.outsidePort != 0,
      let interface = adopter.interface(old.interface), let pool = flows.pools.pool(of: old.outsideAddress),
      let key = insideKey(of: old, saved, place, pool: pool), let mapping = flows.mappingPlaces.take()
    else { return nil }
    let line = flows.mappings[mapping]
    line.clear()
    line.insideKey = key
    if line.isIPv6 { flows.mappings.sides[mapping] = saved.mappings.sides[place] }
    line.outsideAddress = old.outsideAddress
    line.outsidePort = old.outsidePort
    line.filtering = old.filtering
    line.interface = interface
    line.planGeneration = generation
    line.expectation = old.expectation.adopted(shift: adopter.shift, at: clock.tickUp)
    line.expectsAsGateway = old.expectsAsGateway
    let port = old.outsidePort.bigEndian
    guard rules.isValid(line), flows.pools.take(pool, old.ipProtocol, port) else {
      flows.mappingPlaces.discard(mapping)
      return nil
    }
    let isQuarantined = life.state == MappingState.quarantined
    line.life = MappingLife(
      state: isQuarantined ? MappingState.quarantined : MappingState.live, users: isQuarantined ? 0 : 1,
      deadline: life.deadline == 0 ? 0 : life.deadline &+ adopter.shift)
    if tables.hosts.ports.add(line.insideAddress, limit: .max) == .counted { line.mark(MappingMark.counted) }
    if flows.mappings.publish(mapping) == .made { return mapping }
    if line.has(MappingMark.counted) { tables.hosts.ports.remove(line.insideAddress) }
    line.life = MappingLife(rawValue: 0)
    flows.pools.giveBack(pool, old.ipProtocol, port)
    flows.mappingPlaces.discard(mapping)
    return nil
  }

  // MARK: Sessions

  private mutating func adopt(
    _ place: UInt32, _ saved: SavedRegion, _ mappings: [UInt32], _ adopter: Adopter, _ report: inout AdoptionReport
  ) {
    let common = saved.sessions.common(place)
    let word = common.word
    // A mark, or one that was just beginning or ending, is nothing to go on.
    guard (SessionState.open...SessionState.reset).contains(word.state) else { return }
    let old = (saved.sessions.flow(place &<< 1), saved.sessions.flow(place &<< 1 | 1))
    let isIPv6 = old.0.key.isIPv6
    let draft = isIPv6 ? nil : draft(place, saved, mappings, adopter)
    let draft6 = isIPv6 ? draft6(place, saved, mappings, interface: adopter.interface) : nil
    guard var claims = draft?.claims ?? draft6?.claims else { return report.damaged += 1 }
    let kind = old.0.kind
    let seen = (old.0.lastSeen &+ adopter.shift, old.1.lastSeen &+ adopter.shift)
    let latest = Int32(bitPattern: seen.0 &- seen.1) >= 0 ? seen.0 : seen.1
    guard Int32(bitPattern: latest &- clock.tickUp) <= 1 else { return report.damaged += 1 }
    guard let session = flows.allocate(at: clock.tick) else { return report.refused += 1 }
    if let draft {
      _ = fill(session, draft, kind)
    } else if let draft6, !refill(session, draft6, from: saved, place, interface: adopter.interface) {
      flows.discard(session)
      return report.damaged += 1
    }
    guard isWhole(session, old, kind: kind, word.state) else {
      flows.discard(session)
      return report.damaged += 1
    }
    guard kind != FlowKind.helped || adoptHelper(session, from: saved, place) else {
      flows.discard(session)
      return report.refused += 1
    }
    guard case .kept(let origin) = rules.fate(of: session, in: flows) else {
      flows.discard(session)
      return report.refused += 1
    }
    let timeout = timeouts(of: origin).idle(
      kind: kind, key: flows.sessions.flow(session &<< 1).key, state: word.state)
    guard Int32(bitPattern: latest &+ timeout &- clock.tick) > 0 else {
      flows.discard(session)
      return report.expired += 1
    }
    guard use(claims) else {
      flows.discard(session)
      return report.damaged += 1
    }
    // Limits are for new ones.
    let ingress = Int(flows.sessions.flow(session &<< 1).key.scope)
    if !interfaces[ingress].isOutside { _ = countHost(&claims, limit: .max) }
    flows.sessions.common(session).isCounted = claims.isCounted
    restore(session, old, common, origin, timeout: timeout, seen: seen)
    guard flows.publish(session, as: Self.revived(word, timeout: timeout), at: clock.tick) == .made else {
      abandon(claims)
      flows.discard(session)
      return report.damaged += 1
    }
    flows.sessions.common(session).identity = common.identity
    report.sessions += 1
  }

  /// State and marks as they were, as far as they can be.
  private static func revived(_ word: SessionWord, timeout: UInt32) -> SessionWord {
    var word = word
    word.timeout = timeout
    if !(SessionState.opening...SessionState.closing).contains(word.stateBeforeReset) {
      word.stateBeforeReset = SessionState.opening
    }
    return word
  }

  /// The draft that such a session was made from; nil where its two directions, or it and its mapping, do not fit.
  private func draft(
    _ place: UInt32, _ saved: SavedRegion, _ mappings: [UInt32], _ adopter: Adopter
  ) -> Draft? {
    let original = saved.sessions.flow(place &<< 1)
    let reply = saved.sessions.flow(place &<< 1 | 1)
    let common = saved.sessions.common(place)
    guard let key = adopter.key(original.key), let replyKey = adopter.key(reply.key), key.rest &>> 56 == 0 else {
      return nil
    }
    let hop = RouteTable.Hop(interface: Int(replyKey.scope), address: IPv4Address(0))
    let new = FlowKey(
      addresses: original.newAddresses, ports: UInt64(original.newPorts), scope: key.scope, ipProtocol: key.ipProtocol)
    // What made it is for the current rules to say; that it was let in by a trigger, which may be closed now, they cannot.
    var origin = Origin.hairpin
    if case .trigger = common.origin.report { origin = .trigger(0) }
    var draft = Draft(key: key, new: new, hop: hop, origin: origin)
    let back = draft.replyNew
    guard draft.replyKey == replyKey, reply.newAddresses == back.addresses, reply.newPorts == back.ports else {
      return nil
    }
    guard takeMappings(&draft.claims, common, mappings) else { return nil }
    draft.remote = interfaces[Int(key.scope)].isOutside ? key.source : key.destination
    if draft.mapping != 0, !interfaces[Int(key.scope)].isOutside {
      let line = flows.mappings[draft.mapping]
      guard line.outsideAddress == new.source, line.outsidePort == new.sourcePort else { return nil }
    }
    return draft
  }

  /// The mappings of a session by their places here; false where it has one that is not.
  func takeMappings(_ claims: inout Claims, _ common: CommonLine, _ mappings: [UInt32]) -> Bool {
    func number(_ old: UInt32) -> UInt32? {
      if old == 0 { return 0 }
      return Int(old) < mappings.count && mappings[Int(old)] != 0 ? mappings[Int(old)] : nil
    }
    guard let mapping = number(common.mapping), let pinned = number(common.pinned) else { return false }
    claims.mapping = mapping
    claims.pinned = pinned
    return true
  }

  /// What is derived was derived from the same, and what kind it is fits the protocol.
  private func isWhole(_ session: UInt32, _ old: (FlowLine, FlowLine), kind: UInt8, _ state: UInt8) -> Bool {
    let new = (flows.sessions.flow(session &<< 1), flows.sessions.flow(session &<< 1 | 1))
    let number = new.0.key.ipProtocol
    let icmp = new.0.key.isIPv6 ? ICMPv6.number : IPProtocol.icmp
    let fits =
      switch kind {
      case FlowKind.tcp, FlowKind.helped: number == IPProtocol.tcp && state != SessionState.open
      case FlowKind.udp: number == IPProtocol.udp && state == SessionState.open
      case FlowKind.echoRequest: number == icmp && state == SessionState.open
      case FlowKind.other: !IPProtocol.hasPorts(number) && number != icmp && state == SessionState.open
      default: false
      }
    return fits && new.1.kind == old.1.kind && new.0.networkDelta == old.0.networkDelta
      && new.0.transportDelta == old.0.transportDelta && new.1.networkDelta == old.1.networkDelta
      && new.1.transportDelta == old.1.transportDelta
  }

  /// Counts the session among the users of its mappings.
  private mutating func use(_ claims: Claims) -> Bool {
    if claims.mapping != 0, !flows.use(claims.mapping) { return false }
    if claims.pinned == 0 || flows.use(claims.pinned) { return true }
    if claims.mapping != 0 { flows.letGo(claims.mapping) }
    return false
  }

  /// What a session has lived through.
  private func restore(
    _ session: UInt32, _ old: (FlowLine, FlowLine), _ oldCommon: CommonLine, _ origin: Origin, timeout: UInt32,
    seen: (UInt32, UInt32)
  ) {
    for (line, before, tick) in [
      (flows.sessions.flow(session &<< 1), old.0, seen.0), (flows.sessions.flow(session &<< 1 | 1), old.1, seen.1),
    ] {
      line.lastSeen = tick
      line.timeout = timeout
      line.packets = before.packets
      line.byteCount = before.byteCount
    }
    let common = flows.sessions.common(session)
    common.origin = origin
    limitRefresh(session, old.0.kind, origin)
    common.copyWindows(from: oldCommon)
    letAsk(flows.sessions.flow(session &<< 1))
  }
}

// MARK: - From outside

/// Memory that a caller gives the tables, to outlive the engine.
public struct RegionStore {
  /// Zeroed, page-aligned, `Forwarder.regionBytes(for:)` long, there for as long as the forwarder.
  public var memory: UnsafeMutableRawPointer
  public var boot: BootIdentity

  public init(memory: UnsafeMutableRawPointer, boot: BootIdentity) {
    self.memory = memory
    self.boot = boot
  }
}

extension Forwarder {
  /// How many bytes the tables of a plan need.
  public static func regionBytes(for plan: Plan) throws(PlanError) -> Int {
    let rules = try Rules(plan)
    defer { rules.release() }
    return try RegionLayout(rules).bytes
  }

  /// Takes over what an engine has left, as far as the current rules allow. To be called before the first frame.
  public mutating func adopt(_ saved: SavedRegion) -> AdoptionReport { core.pointee.adopt(saved) }
}
