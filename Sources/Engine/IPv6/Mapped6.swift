// Outside endpoints of IPv6 sessions: the mappings, ports and rules of IPv4, see `Make.swift` and `Begin.swift`.
extension Core {
  /// How many ports are tried where a reply tuple is taken.
  private static let portTries = 1024

  // MARK: To a mapping

  /// To an outside endpoint that no forward has: by the mapping that owns it, with its filtering, or not at all.
  mutating func beginAtEndpoint(_ packet: Packet6) {
    let isFromOutside = interfaces[packet.ingress].isOutside
    let key = packet.key
    // An identifier is no port: only the answering side may use an echo mapping from outside, and it has a session.
    guard packet.kind == FlowKind.tcp || packet.kind == FlowKind.udp,
      let mapping = mapping(outside: packet.destination.number, key.destinationPort, key.ipProtocol)
    else { return refuse(packet, isFromOutside ? .noForward : .toUs) }
    // Filtering guards against outsiders: inside hosts may always reach one another this way.
    guard !isFromOutside || permits(mapping, packet.source) else { return refuse(packet, .filtered) }
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    let line = flows.mappings[mapping]
    guard
      var draft = rules.draft(key, from: packet.source, to: flows.mappings.sides[mapping].inside, line.insidePort)
    else { return refuse(packet, .noRoute) }
    guard flows.use(mapping) else { return again(packet) }
    if isFromOutside {
      let index = rules.masquerade(from: Int(line.interface), as: line.outsideAddress)
      draft.origin = index.map(Origin.masquerade) ?? .hairpin
      draft.claims.mapping = mapping
    } else {
      draft = rules.sentAsMapped(draft, key, packet.source, at: packet.destination)
      draft.claims.pinned = mapping
    }
    make(packet, draft)
  }

  private mutating func permits(_ mapping: UInt32, _ remote: IPv6Address) -> Bool {
    switch flows.mappings[mapping].filtering {
    case .endpointIndependent: true
    case .addressDependent: flows.hasSession(mapping, with: remote, at: clock.tick)
    // A peer that the inside endpoint has sent to has a session with this very key.
    case .addressAndPortDependent: false
    }
  }

  // MARK: The source that the target sees

  /// Settles the draft's source so that the reply tuple is nobody else's. Returns why that cannot be.
  mutating func settleSource(_ draft: inout Draft6, _ packet: Packet6) -> DropReason? {
    let key = packet.key
    switch draft.choice {
    case .settled: return isTaken(replyKey(key, draft)) ? .noPort : nil
    case .anyPort:
      if isUnclaimed(draft, key.ipProtocol), !isTaken(replyKey(key, draft)) { return nil }
      guard takeAnyPort(&draft, key) else { return .noPort }
      if case .forward = draft.origin.report { counters.add(.portChanged) }
      return nil
    case .mapped(let masquerade):
      if let reason = mapSource(&draft, key, from: packet.source, to: packet.destination, masquerade) { return reason }
      return isTaken(replyKey(key, draft)) ? .noPort : nil
    }
  }

  /// The client's mapping at the draft's address, made if there is none yet.
  mutating func mapSource(
    _ draft: inout Draft6, _ key: FlowKey, from source: IPv6Address, to destination: IPv6Address, _ index: Int?
  ) -> DropReason? {
    guard let pool = flows.pools.pool(of: draft.source.number) else { return .noPort }
    let rule = index.map { masquerades[$0].mapping } ?? .endpointIndependent
    let side = MappingSides.Line(
      inside: source, remote: rule == .endpointIndependent ? .unspecified : destination)
    let ipProtocol = ICMPv6.portsProtocol(key.ipProtocol)
    let inside = flows.mappings.insideKey(
      side,
      ports: UInt64(key.sourcePort) | UInt64(rule == .addressAndPortDependent ? key.destinationPort : 0) &<< 16,
      pool: pool, ipProtocol: ipProtocol, rule: rule)
    if let mapping = useMapping(inside: inside) {
      draft.claims.mapping = mapping
      // Two endpoints of one digest: the address proves whose it is, and the other one has to do without this port.
      guard flows.mappings.sides[mapping].inside == source else { return .noPort }
    } else {
      let made = flows.makeMapping(
        inside: inside, side, address: draft.source.number, ranges: rules.draws.of(index, ipProtocol),
        filtering: index.map { masquerades[$0].filtering } ?? .addressAndPortDependent,
        interface: key.scope, generation: generation,
        hostLimit: rules.limits.portsPerHost, at: clock.tick)
      switch made {
      case .made(let mapping): draft.claims.mapping = mapping
      case .noPort: return .noPort
      case .hostLimit: return .portLimit
      case .full: return .tableFull
      case .taken, .contended: return .insertContention
      }
    }
    draft.sourcePort = flows.mappings[draft.claims.mapping].outsidePort
    return nil
  }

  /// The new source is not an outside endpoint that belongs to a forward or a mapping.
  private mutating func isUnclaimed(_ draft: Draft6, _ ipProtocol: UInt8) -> Bool {
    guard rules.translation6.isAt(draft.source), let pool = flows.pools.pool(of: draft.source.number) else {
      return true
    }
    let ports = ICMPv6.portsProtocol(ipProtocol)
    let port = draft.sourcePort.bigEndian
    guard flows.pools.isTaken(pool, ports, port) else { return true }
    // A mapping that has ended holds its port until somebody looks: the answer must not depend on the sweep.
    _ = flows.mapping(outside: draft.source.number, draft.sourcePort, ports, at: clock.tick)
    return !flows.pools.isTaken(pool, ports, port)
  }

  /// Another source port, random in 1024-65535, with the address kept.
  private mutating func takeAnyPort(_ draft: inout Draft6, _ key: FlowKey) -> Bool {
    let span: UInt64 = 65_536 - 1024
    var random = SplitMix64(state: flows.sessions.secret.hash(replyKey(key, draft)))
    var offset = random.next() % span
    for _ in 0..<Self.portTries {
      draft.sourcePort = UInt16(truncatingIfNeeded: 1024 &+ offset).bigEndian
      if isUnclaimed(draft, key.ipProtocol), !isTaken(replyKey(key, draft)) { return true }
      offset = (offset &+ 1) % span
    }
    return false
  }
}

extension Flows {
  /// True where the mapping has a live session with this remote address. A digest finds it; since it has no more than 32
  /// bits, which somebody with many addresses could hit, a session's own addresses prove it.
  mutating func hasSession(_ mapping: UInt32, with remote: IPv6Address, at tick: UInt32) -> Bool {
    let digest = sessions.secret.host(remote)
    guard hasSession(mapping, with: digest, at: tick) else { return false }
    if let place = place(of: digest, mapping) {
      let witness = mappings[place].witness.plain
      if witness != 0, isSession(witness, of: mapping, with: remote, at: tick) { return true }
    }
    var session = firstSession(mapping)
    while session != 0 {
      if isSession(session, of: mapping, with: remote, at: tick) { return true }
      session = nextSession(session)
    }
    return false
  }

  func isSession(_ session: UInt32, of mapping: UInt32, with remote: IPv6Address, at tick: UInt32) -> Bool {
    guard sessions.common(session).mapping == mapping, sessions.isLive(session, at: tick) else { return false }
    let (source, destination) = (sessions.sides.source(session &<< 1), sessions.sides.destination(session &<< 1))
    return (source == mappings.sides[mapping].inside ? destination : source) == remote
  }
}
