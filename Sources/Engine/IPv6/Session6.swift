// IPv6 between inside and outside: the same table, trackers and timers as for IPv4. What may begin a session, and what it
// becomes, stands in `Begin6.swift`.
extension Core {
  /// Between inside interfaces everything is routed without a session.
  mutating func judgeTransit(_ packet: Packet6) {
    // What belongs to a link stays there (RFC 4890 section 4.3.3).
    if let type = packet.icmpType, ICMPv6.discovery.contains(type) { return drop(packet.slot, .icmpUnsupported) }
    let hop = routes6.find(packet.destination)
    if !interfaces[packet.ingress].isOutside, let hop, !interfaces[hop.interface].isOutside,
      rules.prefix(outside: packet.destination) == nil, own6[packet.destination] == nil
    {
      return route(packet, hop)
    }
    guard !packet.chain.isFragment else { return judgeFragment(packet, hop) }
    var packet = packet
    if let reason = findKey(&packet) { return drop(packet.slot, reason) }
    if packet.kind == FlowKind.free { return judgeError(packet) }
    judgeFlow(packet)
  }

  /// A packet with its key: by its session, or one that it begins.
  mutating func judgeFlow(_ packet: Packet6) {
    switch standing(of: packet) {
    case .live(let flow): return send(packet, by: flow)
    case .cut(let flow):
      guard Self.isSYN(packet.tcpFlags) else {
        // Its sender is told by a reset, and sends no more.
        reset(packet)
        return drop(packet.slot, .sessionCut)
      }
      flows.remove(flow &>> 1)
    case .none: break
    }
    guard packet.kind != FlowKind.tcp || canBegin(packet.tcpFlags) else { return drop(packet.slot, .tcpNotSYN) }
    begin(packet)
  }

  private mutating func route(_ packet: Packet6, _ hop: RouteTable6.Hop) {
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    guard let adjacency = adjacency(to: hop) else { return drop(packet.slot, .neighborTableFull) }
    guard fits(packet, adjacency) else { return tooBig(packet, adjacency) }
    let untranslated = Untranslated(packet)
    packet.header.takeHop()
    deliver(packet, over: adjacency, untranslated)
  }

  /// Finds the ports; an ICMPv6 error stays of kind `free`. Returns what is wrong with the transport header.
  func findKey(_ packet: inout Packet6) -> DropReason? {
    let ipProtocol = packet.chain.ipProtocol
    let length = packet.transportLength
    var ports: UInt64 = 0
    switch ipProtocol {
    case IPProtocol.tcp, IPProtocol.udp:
      let isTCP = ipProtocol == IPProtocol.tcp
      guard length >= (isTCP ? TCPHeader.minimumLength : UDPHeader.length) else {
        return isTCP ? .malformedTCP : .malformedUDP
      }
      ports = Forwarder.ports6(packet.transport, ipProtocol, length)
      // A first piece is shorter than its UDP header says.
      if !isTCP, packet.chain.isFragment, packet.transport.raw16(UDPHeader.checksumOffset) != 0 {
        ports = UInt64(packet.transport.raw32(0))
      }
      guard ports != Forwarder.noPorts else { return isTCP ? .malformedTCP : .malformedUDP }
      packet.kind = isTCP ? FlowKind.tcp : FlowKind.udp
    case ICMPv6.number:
      guard length >= 8 else { return .malformedICMP }
      let type = packet.transport.byte(0)
      if type < 128 { return nil }
      ports = Forwarder.ports6(packet.transport, ipProtocol, length)
      guard ports != Forwarder.noPorts else { return .icmpUnsupported }
      packet.kind = type == ICMPv6.echoRequest ? FlowKind.echoRequest : FlowKind.echoReply
    default: packet.kind = FlowKind.other
    }
    let addresses = packet.header.start + IPv6Header.sourceOffset
    packet.key = FlowKey(
      digest: flows.sessions.secret.digest(addresses, addresses + 16), ports: ports, scope: packet.slot.pointee.ingress,
      ipProtocol: ipProtocol)
    return nil
  }

  /// The flow that a packet belongs to: found by its key's digest, proved by its addresses.
  private mutating func standing(of packet: Packet6) -> Standing {
    let standing = standing(of: packet.key)
    switch standing {
    case .none: return standing
    case .live(let flow), .cut(let flow):
      let addresses = packet.header.start + IPv6Header.sourceOffset
      return SideTable.matches(flows.sessions.sides.line(flow), addresses) ? standing : .none
    }
  }

  // MARK: What a packet may begin

  private mutating func begin(_ packet: Packet6) {
    let beginning = rules.beginning(packet.key, from: packet.source, to: packet.destination)
    if flows.helps, beginning.mayBeExpected, beginExpected(packet) { return }
    switch beginning {
    case .session(let draft):
      guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
      make(packet, draft)
    case .endpoint: beginAtEndpoint(packet)
    case .refused(let reason): refuse(packet, reason)
    }
  }

  /// To one of our addresses, which has nothing to translate there, or answers echo itself.
  func isForUs(_ packet: Packet6, _ reason: DropReason) -> Bool {
    guard own6[packet.destination] != nil else { return false }
    return reason == .toUs || reason == .noForward && packet.kind == FlowKind.echoRequest
  }

  /// Inside senders are told where it is the way that is missing.
  mutating func refuse(_ packet: Packet6, _ reason: DropReason) {
    if isForUs(packet, reason) { return judgeLocal(packet) }
    // The hop limit is looked at before what belongs to the route (CONTRACT).
    guard reason.rawValue < DropReason.ttlExceeded.rawValue || packet.header.hopLimit > 1 else {
      return timeExceeded(packet)
    }
    switch reason {
    case .noForward, .filtered: return unsolicited(packet, reason)
    case .noRoute: return noRoute(packet)
    case .untranslatable where !interfaces[packet.ingress].isOutside:
      // "Source address failed ingress/egress policy" (RFC 4443 section 3.1).
      report(packet, .unreachable(code: 5))
    default: break
    }
    drop(packet.slot, reason)
  }

  /// Makes a session and sends its first packet: MTU, table, neighbour.
  ///
  /// The draft's mappings count a user already; the session takes that over, or it is given back.
  mutating func make(_ packet: Packet6, _ draft: Draft6) {
    var draft = draft
    guard let adjacency = adjacency(to: draft.hop) else {
      abandon(draft.claims)
      return drop(packet.slot, .neighborTableFull)
    }
    guard fits(packet, adjacency) else {
      abandon(draft.claims)
      return tooBig(packet, adjacency)
    }
    flows.fetchPlaces()
    let secret = flows.sessions.secret
    draft.claims.host = secret.host(packet.source)
    draft.remote = secret.host(interfaces[packet.ingress].isOutside ? packet.source : packet.destination)
    if let reason = admit(&draft.claims, packet.kind, on: packet.ingress) ?? settleSource(&draft, packet) {
      abandon(draft.claims)
      return refuseNew(packet, reason)
    }
    guard let session = flows.allocate(at: clock.tick) else {
      abandon(draft.claims)
      return refuseNew(packet, .tableFull)
    }
    let isHelped = flows.helps && packet.kind == FlowKind.tcp && isHelped(draft, packet)
    let word = fill(
      session, packet.key, from: packet.source, to: packet.destination, draft, isHelped ? FlowKind.helped : packet.kind)
    if isHelped { flows.helper(session).clear() }
    flows.sessions.flow(session &<< 1).adjacency = adjacency
    foreseeReplies6(session)
    let publication = flows.publish(session, as: word, at: clock.tick)
    guard publication == .made else {
      flows.discard(session)
      abandon(draft.claims)
      return refuseNew(packet, publication == .full ? .tableFull : .insertContention)
    }
    if !interfaces[packet.ingress].isOutside, !interfaces[draft.hop.interface].isOutside { counters.add(.hairpin) }
    if packet.kind == FlowKind.tcp, rules.remembersUnsolicited {
      forgetUnsolicited(packet.key, replyKey(packet.key, draft))
    }
    send(packet, by: session &<< 1)
  }

  /// Refused for want of room: inside senders are told.
  private mutating func refuseNew(_ packet: Packet6, _ reason: DropReason) {
    if reason == .insertContention { return again(packet) }
    if !interfaces[packet.ingress].isOutside { report(packet, .unreachable(code: 1)) }
    drop(packet.slot, reason)
  }

  /// Judges a packet again that another worker was in the way of; not without bound, since that worker may sleep.
  mutating func again(_ packet: Packet6) {
    guard packet.contentions < Self.contentionLimit else { return drop(packet.slot, .insertContention) }
    var packet = packet
    packet.contentions &+= 1
    var looks = Self.looksAfterContention
    while looks > 0, flows.find(packet.key, at: clock.tick) == nil { looks &-= 1 }
    judgeFlow(packet)
  }

  /// The key of what answers to a draft's packets.
  func replyKey(_ key: FlowKey, _ draft: Draft6) -> FlowKey {
    FlowKey(
      digest: flows.sessions.secret.digest(draft.destination, draft.source),
      ports: UInt64(draft.ports &>> 16 | draft.ports &<< 16)
        | (key.ipProtocol == ICMPv6.number ? FlowKey.echoReply : 0),
      scope: UInt16(truncatingIfNeeded: draft.hop.interface), ipProtocol: key.ipProtocol)
  }

  /// Fills a place in; returns the word that brings it to life.
  func fill(
    _ session: UInt32, _ key: FlowKey, from source: IPv6Address, to destination: IPv6Address, _ draft: Draft6,
    _ kind: UInt8
  ) -> SessionWord {
    let (flow, reverse, sides) = (session &<< 1, session &<< 1 | 1, flows.sessions.sides)
    sides.fill(flow, source: source, destination: destination)
    sides.fill(reverse, source: draft.destination, destination: draft.source)
    Rewrite.prepare6(
      flows.sessions.flow(flow), kind: kind, key: key, ports: draft.ports, sides.line(flow), sides.line(reverse))
    Rewrite.prepare6(
      flows.sessions.flow(reverse), kind: kind == FlowKind.echoRequest ? FlowKind.echoReply : kind,
      key: replyKey(key, draft), ports: key.ports &>> 16 | key.ports &<< 16, sides.line(reverse), sides.line(flow))
    let timeout = timeouts(of: draft.origin).idle(kind: kind, key: key, state: SessionState.opening)
    for line in [flows.sessions.flow(flow), flows.sessions.flow(reverse)] {
      line.timeout = timeout
      line.lastSeen = clock.tickUp
      line.planGeneration = generation
    }
    let common = flows.sessions.common(session)
    common.origin = draft.origin
    common.remote = draft.remote
    common.take(draft.claims)
    common.isExpected = draft.isExpected
    limitRefresh(session, kind, draft.origin)
    inheritAge(session)
    return SessionWord(state: FlowKind.isTCP(kind) ? SessionState.opening : SessionState.open, timeout: timeout)
  }

  // MARK: A session's packets

  /// Hop limit, route, MTU and neighbour are what can still stop it.
  mutating func send(_ packet: Packet6, by flow: UInt32) {
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    guard let adjacency = settleAdjacency6(flow) else { return drop(packet.slot, .noRoute) }
    guard fits(packet, adjacency) else { return tooBig(packet, adjacency) }
    if packet.chain.isFragment {
      _ = prove(FragmentTable.key(packet, flows.sessions.secret), ports: packet.key.rest, by: flow)
    }
    if flows.sessions.flow(flow).kind == FlowKind.helped {
      return locked { $0.help(packet, by: flow, over: adjacency) }
    }
    let untranslated = Untranslated(packet)
    translate(packet, by: flow)
    deliver(packet, over: adjacency, untranslated)
  }

  /// Tracks, counts and rewrites: what a packet does to its session.
  mutating func translate(_ packet: Packet6, by flow: UInt32) {
    follow(packet, flow)
    rewrite(packet, by: flow)
  }

  /// Tracks and counts.
  private func follow(_ packet: Packet6, _ flow: UInt32) {
    let line = flows.sessions.flow(flow)
    var refreshes = line.keepsSession
    if packet.kind == FlowKind.tcp {
      let common = flows.sessions.common(flow &>> 1)
      let headerLength = Int(packet.transport.byte(TCPHeader.dataOffset) &>> 4) &* 4
      clampMSS(packet, line)
      refreshes = TCPTracker(common, countingIn: tables.words).track(
        Int(flow & 1), TCPTracker.Segment(packet.transport, payload: packet.transportLength &- headerLength),
        tcp: packet.transport, headerLength: headerLength, timeouts: timeouts(of: common.origin).tcp)
    }
    if refreshes { line.lastSeen = clock.tickUp }
    line.count(bytes: packet.totalLength)
  }

  /// Addresses, ports, hop limit and checksum.
  private func rewrite(_ packet: Packet6, by flow: UInt32) {
    let line = flows.sessions.flow(flow)
    let reverse = flows.sessions.sides.line(flow ^ 1)
    guard packet.kind != FlowKind.other else {
      Rewrite.applyAddresses6(reverse, packet.header.start)
      return packet.header.takeHop()
    }
    let checksum = packet.transport.raw16(Rewrite.checksumOffset(packet.kind))
    Rewrite.apply6(
      line, reverse, kind: packet.kind, ip: packet.header.start, transport: packet.transport,
      isPartial: packet.isPartial)
    guard packet.chain.finalDestination != 0, !packet.isPartial else { return }
    // It covers where the routing header leads to in the end, which is not what has been rewritten (RFC 8200 section 8.1).
    let own = flows.sessions.sides.line(flow)
    let source = Checksum.delta(
      Checksum.fold(Checksum.sum(own, count: 16)), Checksum.fold(Checksum.sum(reverse + 16, count: 16)))
    let delta = Checksum.combine(source, Checksum.delta(line.key.ports, line.newPorts))
    packet.transport.putRaw(
      packet.kind == FlowKind.udp ? Checksum.adjustUDP(checksum, by: delta) : Checksum.adjust(checksum, by: delta),
      Rewrite.checksumOffset(packet.kind))
  }

  /// A flow's adjacency, looked up the first time that it is needed: replies leave by the interface of arrival.
  /// See `foreseeReplies`.
  private func foreseeReplies6(_ session: UInt32) {
    let egress = Int(flows.sessions.flow(session &<< 1).key.scope)
    guard let hop = routes6.find(flows.sessions.sides.source(session &<< 1), over: egress) else { return }
    let address = interfaces[egress].isRawIP ? IPv6Address.unspecified : hop.address
    flows.sessions.flow(session &<< 1 | 1).adjacency =
      adjacencies.find(egress: UInt16(truncatingIfNeeded: egress), address: address) ?? 0
  }

  mutating func settleAdjacency6(_ flow: UInt32) -> UInt16? {
    let line = flows.sessions.flow(flow)
    if line.adjacency != 0 { return line.adjacency }
    let egress = Int(flows.sessions.flow(flow ^ 1).key.scope)
    guard let hop = routes6.find(flows.sessions.sides.source(flow ^ 1), over: egress), let found = adjacency(to: hop)
    else { return nil }
    line.adjacency = found
    return found
  }
}
