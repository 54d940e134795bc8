// What a packet without a session may begin: a forward, a mapping's inbound session, a masquerade, a hairpin.
extension Core {
  mutating func begin(_ packet: Packet) {
    let destination = packet.header.destination
    if interfaces[packet.ingress].isOutside {
      if outsideAddresses[destination] != nil {
        inbound(packet)
      } else {
        refuseTransit(packet)
      }
    } else if outsideAddresses[destination] != nil {
      hairpin(packet)
    } else if insideAddresses[destination] != nil {
      toOurselves(packet, .toUs)
    } else {
      outbound(packet)
    }
  }

  // MARK: From outside

  /// To an outside address: forward, then mapping with its filtering.
  private mutating func inbound(_ packet: Packet) {
    let key = packet.key
    if packet.kind != FlowKind.echoReply,
      let entry = forwards.find(key.destination, key.ipProtocol, key.destinationPort.bigEndian)
    {
      return beginForward(packet, entry)
    }
    guard packet.kind != FlowKind.other else { return refuse(packet.slot, .unknownProtocol) }
    if flows.helps, let mapping = expected(packet) { return beginInbound(packet, mapping, isExpected: true) }
    let mapping = mapping(outside: key.destination, key.destinationPort, key.ipProtocol)
    if !flows.openings.isEmpty, let (trigger, host) = opened(key), givesWay(mapping, to: host, key.destinationPort) {
      return beginTriggered(packet, trigger, host)
    }
    guard let mapping else {
      if packet.kind == FlowKind.echoReply { return refuse(packet.slot, .icmpUnmatched) }
      let isTriggers = rules.triggers.find(key.destination, key.ipProtocol, key.destinationPort) != nil
      return toOurselves(packet, isTriggers ? .triggerClosed : .noForward)
    }
    // An identifier is no port: only the answering side may use an echo mapping from outside, and it has a session.
    guard packet.kind != FlowKind.echoReply, packet.kind != FlowKind.echoRequest else {
      return packet.kind == FlowKind.echoReply ? drop(packet.slot, .icmpUnmatched) : toOurselves(packet, .noForward)
    }
    guard permits(mapping, key.source) else { return unsolicited(packet, .filtered) }
    beginInbound(packet, mapping)
  }

  private mutating func permits(_ mapping: UInt32, _ remote: UInt32) -> Bool {
    switch flows.mappings[mapping].filtering {
    case .endpointIndependent: true
    case .addressDependent: flows.hasSession(mapping, with: remote, at: clock.tick)
    // A peer that the inside endpoint has sent to has a session with this very key.
    case .addressAndPortDependent: false
    }
  }

  mutating func refuseTransit(_ packet: Packet) {
    if insideAddresses[packet.header.destination] != nil { return refuse(packet.slot, .insideFromOutside) }
    guard let hop = routes.find(packet.destination) else {
      if isAlongside { return pass(packet.slot) }
      guard packet.header.ttl > 1 else { return timeExceeded(packet) }
      return drop(packet.slot, .noRoute)
    }
    refuse(packet.slot, interfaces[hop.interface].isOutside ? .outsideToOutside : .insideFromOutside)
  }

  private mutating func beginForward(_ packet: Packet, _ entry: PortTable.Entry) {
    let rule = forwardRules[entry.rule]
    guard rule.allows(packet.source) else { return drop(packet.slot, .notAllowed) }
    guard packet.header.ttl > 1 else { return timeExceeded(packet) }
    guard let hop = routes.find(IPv4Address(wire: rule.target)) else { return noRoute(packet) }
    guard !interfaces[hop.interface].isOutside || rule.source == .gateway else {
      return drop(packet.slot, .outsideToOutside)
    }
    var new = packet.key
    Self.retarget(&new, rule.target, entry.port, packet.kind)
    guard packet.kind != FlowKind.other || !IPProtocol.coversAddresses(packet.header.ipProtocol) else {
      return drop(packet.slot, .unknownProtocol)
    }
    make(
      packet, Draft(key: packet.key, new: new, hop: hop, origin: .forward(entry.rule)),
      source: rule.source == .gateway ? .gateway : .keep)
  }

  /// A mapping that is there keeps its port, with its filtering: an opening leads past that of its own host alone.
  func givesWay(_ mapping: UInt32?, to host: UInt32, _ port: UInt16) -> Bool {
    guard let mapping else { return true }
    let line = flows.mappings[mapping]
    return line.insideAddress == host && line.insidePort == port
  }

  /// To the host that a trigger is open for.
  private mutating func beginTriggered(_ packet: Packet, _ trigger: Int, _ host: UInt32) {
    guard packet.header.ttl > 1 else { return timeExceeded(packet) }
    guard let hop = routes.find(IPv4Address(wire: host)) else { return noRoute(packet) }
    var new = packet.key
    Self.retarget(&new, host, packet.key.destinationPort.bigEndian, packet.kind)
    make(packet, Draft(key: packet.key, new: new, hop: hop, origin: .trigger(trigger)), source: .keep)
  }

  private static func retarget(_ key: inout FlowKey, _ target: UInt32, _ port: UInt16, _ kind: UInt8) {
    key = FlowKey(
      source: key.source, sourcePort: key.sourcePort, destination: target,
      destinationPort: kind == FlowKind.echoRequest || kind == FlowKind.other ? 0 : port.bigEndian, scope: key.scope,
      ipProtocol: key.ipProtocol)
  }

  /// A new peer of a mapping that may be used from outside, or that a helper expects there.
  private mutating func beginInbound(_ packet: Packet, _ mapping: UInt32, isExpected: Bool = false) {
    let line = flows.mappings[mapping]
    guard packet.header.ttl > 1 else { return timeExceeded(packet) }
    guard let hop = routes.find(IPv4Address(wire: line.insideAddress)) else { return noRoute(packet) }
    var new = packet.key
    Self.retarget(&new, line.insideAddress, line.insidePort.bigEndian, packet.kind)
    var draft = Draft(key: packet.key, new: new, hop: hop, origin: masqueradeOrigin(of: line))
    draft.mapping = mapping
    draft.remote = packet.key.source
    let isAsGateway = isExpected && line.expectsAsGateway
    guard isExpected ? flows.takeExpected(mapping, at: clock.tick) : flows.use(mapping) else { return again(packet) }
    make(packet, draft, source: isAsGateway ? .gateway : .keep)
  }

  private func masqueradeOrigin(of mapping: MappingLine) -> Origin {
    rules.masquerade(from: Int(mapping.interface), as: mapping.outsideAddress).map(Origin.masquerade) ?? .hairpin
  }

  // MARK: From inside

  private mutating func outbound(_ packet: Packet) {
    let hop = routes.find(packet.destination)
    if let hop, !interfaces[hop.interface].isOutside { return route(packet) }
    // An answer without a session is that before all else: the first cause wins (CONTRACT).
    guard packet.kind != FlowKind.echoReply else { return refuse(packet.slot, .icmpUnmatched) }
    guard packet.header.ttl > 1 else { return timeExceeded(packet) }
    guard let hop else { return noRoute(packet) }
    guard
      let index = masquerades.firstIndex(where: { $0.from == packet.ingress && $0.to == hop.interface }),
      let address = masquerades[index].address(of: packet.header.source, flows.sessions.secret)
    else { return refuse(packet.slot, .noMasquerade) }
    let draft = Draft(key: packet.key, new: packet.key, hop: hop, origin: .masquerade(index))
    if masquerades[index].excepts(packet.destination) {
      // What is not translated is the host's own to route.
      return isAlongside ? pass(packet.slot) : make(packet, draft, source: .untranslated)
    }
    guard packet.kind != FlowKind.other || rules.allowsOther(index, packet.key) else {
      return refuse(packet.slot, .unknownProtocol)
    }
    make(packet, draft, source: .masquerade(index: index, address: address))
  }

  /// To an outside address from inside: the same forward or mapping as from outside, and the target sees an outside
  /// endpoint (RFC 4787 REQ-9a).
  private mutating func hairpin(_ packet: Packet) {
    let key = packet.key
    var new = key
    var origin = Origin.hairpin
    var pinned: UInt32 = 0
    var isExpected = false
    var source = SourceChoice.hairpin(address: key.destination)
    guard packet.kind != FlowKind.echoReply else { return refuse(packet.slot, .icmpUnmatched) }
    if let entry = forwards.find(key.destination, key.ipProtocol, key.destinationPort.bigEndian) {
      let rule = forwardRules[entry.rule]
      guard rule.hairpin else { return drop(packet.slot, .hairpinOff) }
      guard rule.allows(packet.source) else { return drop(packet.slot, .notAllowed) }
      Self.retarget(&new, rule.target, entry.port, packet.kind)
      origin = .forward(entry.rule)
      if rule.source == .gateway { source = .gateway }
    } else if flows.helps, let mapping = expected(packet) {
      let line = flows.mappings[mapping]
      Self.retarget(&new, line.insideAddress, line.insidePort.bigEndian, packet.kind)
      pinned = mapping
      isExpected = true
      if line.expectsAsGateway { source = .gateway }
    } else if packet.kind != FlowKind.echoRequest, packet.kind != FlowKind.other,
      let mapping = mapping(outside: key.destination, key.destinationPort, key.ipProtocol)
    {
      // Filtering guards against outsiders: inside hosts may always reach one another this way.
      let line = flows.mappings[mapping]
      Self.retarget(&new, line.insideAddress, line.insidePort.bigEndian, packet.kind)
      pinned = mapping
    } else if let (trigger, host) = opened(key) {
      Self.retarget(&new, host, key.destinationPort.bigEndian, packet.kind)
      origin = .trigger(trigger)
    } else {
      return toOurselves(packet, .toUs)
    }
    guard packet.header.ttl > 1 else { return timeExceeded(packet) }
    guard let hop = routes.find(IPv4Address(wire: new.destination)) else { return noRoute(packet) }
    guard !interfaces[hop.interface].isOutside || source.isGateway else {
      return drop(packet.slot, .outsideToOutside)
    }
    var draft = Draft(key: key, new: new, hop: hop, origin: origin)
    draft.claims.pinned = pinned
    if isExpected {
      guard flows.takeExpected(pinned, at: clock.tick) else { return again(packet) }
    } else if pinned != 0, !flows.use(pinned) {
      return again(packet)
    }
    draft.remote = key.destination
    make(packet, draft, source: source)
  }

  // MARK: To us

  /// For one of our own addresses: echo as configured, or nothing.
  private mutating func toOurselves(_ packet: Packet, _ reason: DropReason) {
    if isAlongside { return pass(packet.slot) }
    let address = packet.header.destination
    let owner = interfaces.first { $0.isOwn(address) }
    // Answering pieces would mean putting them together.
    guard packet.kind == FlowKind.echoRequest, owner?.answersEcho == true, !packet.header.isFragment else {
      return reason == .toUs ? drop(packet.slot, reason) : unsolicited(packet, reason)
    }
    answerEcho(packet)
  }
}
