// IPv6 between inside and outside: the same table, trackers and timers as for IPv4, and no translation. From inside
// everything may begin a session; from outside only what a forward's pinhole names.
extension Core {
  /// Between inside interfaces everything is routed without a session.
  mutating func judgeTransit(_ packet: Packet6) {
    // What belongs to a link stays there (RFC 4890 section 4.3.3).
    if let type = packet.icmpType, ICMPv6.discovery.contains(type) { return drop(packet.slot, .icmpUnsupported) }
    let hop = routes6.find(packet.destination)
    if !interfaces[packet.ingress].isOutside, let hop, !interfaces[hop.interface].isOutside {
      return route(packet, hop)
    }
    guard !packet.chain.isFragment else { return drop(packet.slot, .fragment) }
    var packet = packet
    if let reason = findKey(&packet) { return drop(packet.slot, reason) }
    if packet.kind == FlowKind.free { return judgeError(packet) }
    switch standing(of: packet) {
    case .live(let flow): return send(packet, by: flow)
    case .cut(let flow):
      guard Self.isSYN(packet.tcpFlags) else { return drop(packet.slot, .sessionCut) }
      flows.remove(flow &>> 1)
    case .none: break
    }
    guard packet.kind != FlowKind.tcp || canBegin(packet.tcpFlags) else { return drop(packet.slot, .tcpNotSYN) }
    begin(packet, hop)
  }

  private mutating func route(_ packet: Packet6, _ hop: RouteTable6.Hop) {
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    guard let adjacency = adjacency(to: hop) else { return drop(packet.slot, .neighborTableFull) }
    guard fits(packet, adjacency) else { return tooBig(packet, adjacency) }
    packet.header.takeHop()
    deliver(packet, over: adjacency)
  }

  /// Finds the ports; an ICMPv6 error stays of kind `free`. Returns what is wrong with the transport header.
  private func findKey(_ packet: inout Packet6) -> DropReason? {
    let ipProtocol = packet.chain.ipProtocol
    let length = packet.transportLength
    var ports: UInt64 = 0
    switch ipProtocol {
    case IPProtocol.tcp, IPProtocol.udp:
      let isTCP = ipProtocol == IPProtocol.tcp
      guard length >= (isTCP ? TCPHeader.minimumLength : UDPHeader.length) else {
        return isTCP ? .malformedTCP : .malformedUDP
      }
      ports = Forwarder.ports(packet.transport, ipProtocol, length)
      guard ports != Forwarder.noPorts else { return isTCP ? .malformedTCP : .malformedUDP }
      packet.kind = isTCP ? FlowKind.tcp : FlowKind.udp
    case ICMPv6.number:
      guard let type = packet.icmpType else { return .malformedICMP }
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

  private mutating func begin(_ packet: Packet6, _ hop: RouteTable6.Hop?) {
    if interfaces[packet.ingress].isOutside { return enter(packet, hop) }
    // An answer without a session is that before all else: the first cause wins (CONTRACT).
    guard packet.kind != FlowKind.echoReply else { return drop(packet.slot, .icmpUnmatched) }
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    guard let hop else { return noRoute(packet) }
    make(packet, hop, .outbound)
  }

  /// From outside to an inside address: by a pinhole, or not at all (RFC 6092 REC-11).
  private mutating func enter(_ packet: Packet6, _ hop: RouteTable6.Hop?) {
    guard let hop else {
      guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
      return drop(packet.slot, .noRoute)
    }
    guard !interfaces[hop.interface].isOutside else { return drop(packet.slot, .outsideToOutside) }
    guard packet.kind != FlowKind.echoReply else { return drop(packet.slot, .icmpUnmatched) }
    guard let rule = rules.pinhole(packet.destination, packet.key, packet.ingress) else {
      return drop(packet.slot, .noForward)
    }
    guard plan.forwards[rule].pinhole?.allows(packet.source) == true else { return drop(packet.slot, .notAllowed) }
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    make(packet, hop, .forward(rule))
  }

  /// Makes a session and sends its first packet: MTU, table, neighbour.
  private mutating func make(_ packet: Packet6, _ hop: RouteTable6.Hop, _ origin: Origin) {
    guard let adjacency = adjacency(to: hop) else { return drop(packet.slot, .neighborTableFull) }
    guard fits(packet, adjacency) else { return tooBig(packet, adjacency) }
    let replyKey = replyKey(packet, hop)
    // Another session answers to it: one between the same ends that goes another way.
    guard !isTaken(replyKey) else { return refuseNew(packet, .noPort) }
    guard packet.kind != FlowKind.tcp || flows.admitsHalfOpen(limit: rules.limits.halfOpen, at: clock.tick) else {
      return refuseNew(packet, .halfOpenLimit)
    }
    guard let session = flows.allocate(at: clock.tick) else { return refuseNew(packet, .tableFull) }
    flows.sessions.sides.fill(session, packet.header.start + IPv6Header.sourceOffset)
    let word = fill(session, packet.key, replyKey, packet.kind, origin)
    flows.sessions.flow(session &<< 1).adjacency = adjacency
    let publication = flows.publish(session, as: word)
    guard publication == .made else {
      flows.discard(session)
      return refuseNew(packet, publication == .full ? .tableFull : .insertContention)
    }
    send(packet, by: session &<< 1)
  }

  /// Refused for want of room: inside senders are told.
  private mutating func refuseNew(_ packet: Packet6, _ reason: DropReason) {
    if !interfaces[packet.ingress].isOutside { report(packet, .unreachable(code: 1)) }
    drop(packet.slot, reason)
  }

  private func replyKey(_ packet: Packet6, _ hop: RouteTable6.Hop) -> FlowKey {
    let addresses = packet.header.start + IPv6Header.sourceOffset
    let egress = UInt16(truncatingIfNeeded: hop.interface)
    return packet.key.turned(
      digest: flows.sessions.secret.digest(addresses + 16, addresses), scope: egress,
      isEcho: packet.kind == FlowKind.echoRequest)
  }

  /// Fills a place in; returns the word that brings it to life.
  func fill(_ session: UInt32, _ key: FlowKey, _ replyKey: FlowKey, _ kind: UInt8, _ origin: Origin) -> SessionWord {
    let timeout = timeouts(of: origin).idle(kind: kind, key: key, state: SessionState.opening)
    let replyKind = kind == FlowKind.echoRequest ? FlowKind.echoReply : kind
    for (flow, key, kind) in [(session &<< 1, key, kind), (session &<< 1 | 1, replyKey, replyKind)] {
      let line = flows.sessions.flow(flow)
      line.key = key
      line.kind = kind
      line.newPorts = key.ports
      line.timeout = timeout
      line.lastSeen = clock.tickUp
      line.planGeneration = generation
    }
    flows.sessions.common(session).origin = origin
    return SessionWord(state: kind == FlowKind.tcp ? SessionState.opening : SessionState.open, timeout: timeout)
  }

  // MARK: A session's packets

  /// Hop limit, route, MTU and neighbour are what can still stop it.
  mutating func send(_ packet: Packet6, by flow: UInt32) {
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    guard let adjacency = settleAdjacency6(flow) else { return drop(packet.slot, .noRoute) }
    guard fits(packet, adjacency) else { return tooBig(packet, adjacency) }
    follow(packet, flow)
    packet.header.takeHop()
    deliver(packet, over: adjacency)
  }

  /// Tracks and counts.
  private func follow(_ packet: Packet6, _ flow: UInt32) {
    let line = flows.sessions.flow(flow)
    var refreshes = true
    if packet.kind == FlowKind.tcp {
      let common = flows.sessions.common(flow &>> 1)
      let headerLength = Int(packet.transport.byte(TCPHeader.dataOffset) &>> 4) &* 4
      refreshes = TCPTracker(common, countingIn: tables.words).track(
        Int(flow & 1), TCPTracker.Segment(packet.transport, payload: packet.transportLength &- headerLength),
        tcp: packet.transport, headerLength: headerLength, timeouts: timeouts(of: common.origin).tcp)
    }
    if refreshes { line.lastSeen = clock.tickUp }
    line.count(bytes: packet.totalLength)
  }

  /// A flow's adjacency, looked up the first time that it is needed: replies leave by the interface of arrival.
  mutating func settleAdjacency6(_ flow: UInt32) -> UInt16? {
    let line = flows.sessions.flow(flow)
    if line.adjacency != 0 { return line.adjacency }
    let egress = Int(flows.sessions.flow(flow ^ 1).key.scope)
    guard let hop = routes6.find(flows.sessions.sides.destination(flow), over: egress), let found = adjacency(to: hop)
    else { return nil }
    line.adjacency = found
    return found
  }
}

extension FlowKey {
  /// The key of what answers, where `isEcho` says that this is an echo request's.
  func turned(digest: UInt64, scope: UInt16, isEcho: Bool) -> FlowKey {
    FlowKey(
      digest: digest,
      ports: UInt64(destinationPort) | UInt64(sourcePort) &<< 16 | (isEcho ? Self.echoReply : 0), scope: scope,
      ipProtocol: ipProtocol)
  }
}
