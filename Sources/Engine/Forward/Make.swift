/// What a session that is just being made holds already, to be given back where nothing comes of it.
struct Claims {
  /// The inside host that begins it, as `HostTable` knows it.
  var host: UInt32
  /// The mapping that the session belongs to, 0 for none.
  var mapping: UInt32 = 0
  /// The mapping that it comes in by, for a hairpin.
  var pinned: UInt32 = 0
  /// It is among the sessions of the host.
  var isCounted = false
}

/// A session before it is made.
struct Draft {
  /// The packet's key.
  var key: FlowKey
  /// What the packet becomes; `make` settles its source.
  var new: FlowKey
  /// Towards the new destination.
  var hop: RouteTable.Hop
  var origin: Origin
  var claims: Claims
  /// The outside peer as the mapping sees it, raw.
  var remote: UInt32 = 0

  init(key: FlowKey, new: FlowKey, hop: RouteTable.Hop, origin: Origin) {
    self.key = key
    self.new = new
    self.hop = hop
    self.origin = origin
    claims = Claims(host: key.source)
  }

  var mapping: UInt32 {
    get { claims.mapping }
    set { claims.mapping = newValue }
  }

  /// The key of the reply: what the far side answers to, arriving where the packet leaves.
  var replyKey: FlowKey {
    FlowKey(
      source: new.destination, sourcePort: new.destinationPort, destination: new.source,
      destinationPort: new.sourcePort,
      scope: UInt16(truncatingIfNeeded: hop.interface), ipProtocol: new.ipProtocol,
      isEchoReply: new.ipProtocol == IPProtocol.icmp)
  }

  var hasPorts: Bool { IPProtocol.hasPorts(key.ipProtocol) }

  /// What a reply becomes.
  var replyNew: FlowKey {
    FlowKey(
      source: key.destination, sourcePort: key.destinationPort, destination: key.source,
      destinationPort: key.sourcePort,
      scope: key.scope, ipProtocol: key.ipProtocol)
  }

  mutating func setSource(_ address: UInt32, _ port: UInt16) {
    new = FlowKey(
      source: address, sourcePort: port, destination: new.destination, destinationPort: new.destinationPort,
      scope: new.scope, ipProtocol: new.ipProtocol)
  }
}

/// What the target sees as the source.
enum SourceChoice {
  /// The client itself; its port changes only if the reply tuple is taken.
  case keep
  /// The egress interface's first address.
  case gateway
  /// The client itself, to the letter.
  case untranslated
  /// An outside address (raw) with the client's mapping port there.
  case masquerade(index: Int, address: UInt32)
  /// The outside address (raw) that the client sent to, with its mapping port there.
  case hairpin(address: UInt32)

  var isGateway: Bool {
    if case .gateway = self { true } else { false }
  }
}

extension Core {
  /// How many ports are tried where a reply tuple is taken.
  private static let portTries = 1024
  /// How often a packet is judged again because of another worker, and how many lookups long it waits before each time.
  static let contentionLimit = 4
  static let looksAfterContention = 64

  /// Makes the session that a draft describes and sends its first packet: MTU, limits and table, neighbour.
  ///
  /// The draft's mappings count a user already; the session takes that over, or it is given back.
  mutating func make(_ packet: Packet, _ draft: Draft, source: SourceChoice) {
    var draft = draft
    guard let adjacency = adjacency(to: draft.hop) else {
      abandon(draft.claims)
      return drop(packet.slot, .neighborTableFull)
    }
    guard fits(packet, adjacency) || packet.canSplit else {
      abandon(draft.claims)
      return tooBig(packet, adjacency)
    }
    flows.fetchPlaces()
    if let reason = admit(&draft.claims, packet.kind, on: packet.ingress) {
      abandon(draft.claims)
      return refuseNew(packet, reason)
    }
    if let reason = settleSource(&draft, source, packet.ingress) {
      abandon(draft.claims)
      return refuseNew(packet, reason)
    }
    guard let session = flows.allocate(at: clock.tick) else {
      abandon(draft.claims)
      return refuseNew(packet, .tableFull)
    }
    let isHelped = flows.helps && packet.kind == FlowKind.tcp && isHelped(draft, source, packet.tcpFlags)
    let word = fill(session, draft, isHelped ? FlowKind.helped : packet.kind)
    if isHelped { flows.helper(session).clear() }
    flows.sessions.flow(session &<< 1).adjacency = adjacency
    foreseeReplies(session)
    let publication = flows.publish(session, as: word, at: clock.tick)
    guard publication == .made else {
      flows.discard(session)
      abandon(draft.claims)
      return refuseNew(packet, publication == .full ? .tableFull : .insertContention)
    }
    if !interfaces[packet.ingress].isOutside, !interfaces[draft.hop.interface].isOutside { counters.add(.hairpin) }
    if packet.kind == FlowKind.tcp, rules.remembersUnsolicited { forgetUnsolicited(packet.key, draft.replyKey) }
    send(packet, by: session &<< 1)
  }

  /// Counts the session towards the limits that it falls under. Returns the one that it would go beyond.
  mutating func admit(_ claims: inout Claims, _ kind: UInt8, on ingress: Int) -> DropReason? {
    if !interfaces[ingress].isOutside, !countHost(&claims, limit: rules.limits.sessionsPerHost) {
      return .sessionLimit
    }
    guard kind == FlowKind.tcp, !flows.admitsHalfOpen(limit: rules.limits.halfOpen, at: clock.tick) else {
      return nil
    }
    return .halfOpenLimit
  }

  /// Counts the session for the inside host that begins it; false where that is one too many.
  mutating func countHost(_ claims: inout Claims, limit: UInt32) -> Bool {
    let table = tables.hosts.sessions
    var claim = table.add(claims.host, limit: limit)
    if claim == .refused, flows.sweepBeforeRefusal(at: clock.tick) {
      claim = table.add(claims.host, limit: limit)
    }
    claims.isCounted = claim == .counted
    if claim == .uncounted { counters.add(.hostUncounted) }
    return claim != .refused
  }

  /// No session came of it: its mappings lose the user that it was, and its host a session.
  mutating func abandon(_ claims: Claims) {
    if claims.isCounted { tables.hosts.sessions.remove(claims.host) }
    if claims.mapping != 0 { flows.letGo(claims.mapping) }
    if claims.pinned != 0 { flows.letGo(claims.pinned) }
  }

  /// Refused for want of room: inside senders are told (RFC 5508 REQ-8). Where another worker was in the way, the packet
  /// is judged again: mostly the other has made what it needs.
  private mutating func refuseNew(_ packet: Packet, _ reason: DropReason) {
    if reason == .insertContention { return again(packet) }
    if !interfaces[packet.ingress].isOutside { report(packet, .unreachable(code: 13)) }
    drop(packet.slot, reason)
  }

  /// Judges a packet again that another worker was in the way of; not without bound, since that worker may sleep.
  mutating func again(_ packet: Packet) {
    guard packet.contentions < Self.contentionLimit else { return drop(packet.slot, .insertContention) }
    var packet = packet
    packet.contentions &+= 1
    var looks = Self.looksAfterContention
    while looks > 0, flows.find(packet.key, at: clock.tick) == nil { looks &-= 1 }
    judgeFlow(packet)
  }

  /// Fills a place in; returns the word that brings it to life.
  func fill(_ session: UInt32, _ draft: Draft, _ kind: UInt8) -> SessionWord {
    let original = flows.sessions.flow(session &<< 1)
    let reply = flows.sessions.flow(session &<< 1 | 1)
    let common = flows.sessions.common(session)
    Rewrite.prepare(original, kind: kind, key: draft.key, to: draft.new)
    Rewrite.prepare(
      reply, kind: kind == FlowKind.echoRequest ? FlowKind.echoReply : kind, key: draft.replyKey, to: draft.replyNew)
    let timeout = timeouts(of: draft.origin).idle(kind: kind, key: draft.key, state: SessionState.opening)
    original.timeout = timeout
    reply.timeout = timeout
    common.origin = draft.origin
    common.remote = draft.remote
    common.take(draft.claims)
    original.lastSeen = clock.tickUp
    reply.lastSeen = clock.tickUp
    original.planGeneration = generation
    reply.planGeneration = generation
    limitRefresh(session, kind, draft.origin)
    inheritAge(session)
    return SessionWord(state: FlowKind.isTCP(kind) ? SessionState.opening : SessionState.open, timeout: timeout)
  }

  /// Where inbound datagrams keep no mapping alive, the direction that they go in refreshes nothing (RFC 4787 REQ-6). What
  /// a helper reads goes by the slow path.
  func limitRefresh(_ session: UInt32, _ kind: UInt8, _ origin: Origin) {
    if kind == FlowKind.helped {
      flows.sessions.flow(session &<< 1).timeout = FlowLine.never
      flows.sessions.flow(session &<< 1 | 1).timeout = FlowLine.never
    }
    guard kind == FlowKind.udp, case .masquerade(let index) = origin.report,
      !masquerades[index].inboundRefresh
    else { return }
    let isInbound = interfaces[Int(flows.sessions.flow(session &<< 1).key.scope)].isOutside
    flows.sessions.flow(session &<< 1 | (isInbound ? 0 : 1)).keepsSession = false
  }

  /// A session that such a datagram begins lives no longer than the mapping did without it.
  func inheritAge(_ session: UInt32) {
    let original = flows.sessions.flow(session &<< 1)
    let mapping = flows.sessions.common(session).mapping
    guard !original.keepsSession, mapping != 0 else { return }
    let older = flows.firstSession(mapping)
    guard older != 0 else { return }
    let seen = flows.sessions.lastSeen(older)
    original.lastSeen = seen
    flows.sessions.flow(session &<< 1 | 1).lastSeen = seen
  }

  // MARK: The source that the target sees

  /// Settles the draft's source so that the reply tuple is nobody else's. Returns why that cannot be.
  mutating func settleSource(_ draft: inout Draft, _ choice: SourceChoice, _ ingress: Int) -> DropReason? {
    switch choice {
    case .keep:
      if isFree(draft) { return nil }
      guard draft.mapping == 0, draft.hasPorts, takeAnyPort(&draft) else { return .noPort }
      counters.add(.portChanged)
      return nil
    case .gateway:
      guard let address = interfaces[draft.hop.interface].firstAddress else { return .noRoute }
      draft.setSource(address, draft.key.sourcePort)
      if !draft.hasPorts { return isFree(draft) ? nil : .noPort }
      return isFree(draft) && isUnclaimed(draft) || takeAnyPort(&draft) ? nil : .noPort
    case .untranslated: return isFree(draft) ? nil : .noPort
    case .masquerade(let index, let address): return masquerade(&draft, index, address, ingress)
    case .hairpin(let address):
      if let (index, own) = rules.masquerade(of: draft.key, from: ingress, at: address, flows.sessions.secret) {
        return masquerade(&draft, index, own, ingress)
      }
      if !draft.hasPorts { return settleAddress(&draft, address) }
      return mapSource(
        &draft, address, pool: nil, mapping: .endpointIndependent, filtering: .addressAndPortDependent,
        ingress)
    }
  }

  private mutating func masquerade(_ draft: inout Draft, _ index: Int, _ address: UInt32, _ ingress: Int) -> DropReason?
  {
    let rule = masquerades[index]
    if draft.remote == 0 { draft.remote = draft.key.destination }
    guard draft.hasPorts else { return settleAddress(&draft, rules.addressOfOther(draft.key, address, index)) }
    // The target of a one-to-one forward sends from the forward's outside endpoint.
    // The rules are copied to be asked, and mostly there is nothing to ask.
    if forwards.findOutbound(draft.key.source, draft.key.ipProtocol, draft.key.sourcePort.bigEndian) != nil,
      let outside = rules.outboundEndpoint(draft.key, index, address)
    {
      draft.setSource(outside.address, outside.port)
      return isFree(draft) ? nil : .noPort
    }
    return mapSource(
      &draft, address, pool: index, mapping: rule.mapping, filtering: rule.filtering, ingress)
  }

  /// Without ports there is one inside host for each (peer, protocol): whoever came first.
  private mutating func settleAddress(_ draft: inout Draft, _ address: UInt32?) -> DropReason? {
    guard let address else { return .noPort }
    draft.setSource(address, 0)
    return isFree(draft) ? nil : .noPort
  }

  /// The client's mapping on an outside address, made if there is none yet.
  private mutating func mapSource(
    _ draft: inout Draft, _ address: UInt32, pool index: Int?, mapping rule: EndpointRule, filtering: EndpointRule,
    _ ingress: Int
  ) -> DropReason? {
    guard let pool = flows.pools.pool(of: address) else { return .noPort }
    let key = draft.key
    let inside = MappingTable.insideKey(
      addresses: UInt64(key.source) | UInt64(rule == .endpointIndependent ? 0 : key.destination) &<< 32,
      ports: UInt64(key.sourcePort)
        | UInt64(rule == .addressAndPortDependent ? key.destinationPort : 0) &<< 16,
      pool: pool, ipProtocol: key.ipProtocol)
    if let mapping = useMapping(inside: inside) {
      draft.mapping = mapping
    } else {
      let made = flows.makeMapping(
        inside: inside, address: address, ranges: rules.draws.of(index, key.ipProtocol), filtering: filtering,
        mayKeep: !flows.openings.isEmpty && mayKeep(draft, at: address, index),
        interface: UInt16(truncatingIfNeeded: ingress),
        generation: generation, hostLimit: rules.limits.portsPerHost, at: clock.tick)
      switch made {
      case .made(let mapping): draft.mapping = mapping
      case .noPort: return .noPort
      case .hostLimit: return .portLimit
      case .full: return .tableFull
      case .taken, .contended: return .insertContention
      }
    }
    draft.setSource(address, flows.mappings[draft.mapping].outsidePort)
    return isFree(draft) ? nil : .noPort
  }

  /// No session answers to the reply tuple. (A host that reaches itself by its own outside endpoint answers to the very
  /// tuple that it sends from: both directions are then one.)
  private mutating func isFree(_ draft: Draft) -> Bool { !isTaken(draft.replyKey) }

  /// The new source is not an outside endpoint that belongs to a forward or a mapping.
  private mutating func isUnclaimed(_ draft: Draft) -> Bool {
    guard let pool = flows.pools.pool(of: draft.new.source) else { return true }
    if !flows.openings.isEmpty,
      rules.triggers.find(draft.new.source, draft.key.ipProtocol, draft.new.sourcePort) != nil
    {
      return false
    }
    let port = draft.new.sourcePort.bigEndian
    guard flows.pools.isTaken(pool, draft.key.ipProtocol, port) else { return true }
    // A mapping that has ended holds its port until somebody looks: the answer must not depend on the sweep.
    _ = flows.mapping(outside: draft.new.source, draft.new.sourcePort, draft.key.ipProtocol, at: clock.tick)
    return !flows.pools.isTaken(pool, draft.key.ipProtocol, port)
  }

  /// Another source port, random in 1024-65535, with the address kept.
  private mutating func takeAnyPort(_ draft: inout Draft) -> Bool {
    let span: UInt64 = 65_536 - 1024
    var random = SplitMix64(state: flows.sessions.secret.hash(draft.replyKey))
    var offset = random.next() % span
    for _ in 0..<Self.portTries {
      let port = UInt16(truncatingIfNeeded: 1024 &+ offset)
      draft.setSource(draft.new.source, port.bigEndian)
      if isUnclaimed(draft), isFree(draft) { return true }
      offset = (offset &+ 1) % span
    }
    return false
  }
}
