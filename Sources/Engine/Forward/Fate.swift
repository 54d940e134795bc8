/// What rules make of a session that was made under others.
enum Fate: Equatable {
  /// They would make the very same one; by this rule of theirs.
  case kept(Origin)
  /// They lead its client elsewhere: its next packet begins a session there.
  case retargeted
  /// They have no place for it, or are set to cut what they would make otherwise.
  case cut
}

/// A session as far as rules are concerned.
struct SessionView {
  /// The original direction's.
  let key: FlowKey
  /// What it becomes.
  let new: FlowLine
  let ingress: Int
  let egress: Int
  /// Echo has identifiers in the ports' place, other protocols nothing.
  let hasPorts: Bool
  /// A trigger has let it in.
  let isTriggered: Bool
  /// Settles which address of a pool a host has.
  let secret: HashSecret
  /// The mapping that it sends from, or that an outside peer came in by.
  let mapping: MappingLine?
  /// The mapping that a hairpin session goes to.
  let pinned: MappingLine?

  init(_ session: UInt32, in flows: Flows) {
    new = flows.sessions.flow(session &<< 1)
    key = new.key
    ingress = Int(key.scope)
    egress = Int(flows.sessions.flow(session &<< 1 | 1).key.scope)
    hasPorts = new.kind < FlowKind.echoRequest
    secret = flows.sessions.secret
    let common = flows.sessions.common(session)
    if case .trigger = common.origin.report { isTriggered = true } else { isTriggered = false }
    mapping = common.mapping == 0 ? nil : flows.mappings[common.mapping]
    pinned = common.pinned == 0 ? nil : flows.mappings[common.pinned]
  }
}

// The decisions of `Begin.swift` and `Make.swift` once more, about a session that exists: would its first packet, if it
// came now, become the same? Nothing is changed here, so candidates for the next rules can be asked as well.
extension Rules {
  func fate(of session: UInt32, in flows: Flows) -> Fate {
    if flows.sessions.flow(session &<< 1).key.isIPv6 { return fate6(of: session, in: flows) }
    let view = SessionView(session, in: flows)
    let isFromOutside = interfaces[view.ingress].isOutside
    guard outsideAddresses[view.key.destination] != nil else { return isFromOutside ? .cut : outbound(view) }
    if let entry = forwards.find(view.key.destination, view.key.ipProtocol, view.key.destinationPort.bigEndian) {
      return forwarded(view, entry, isFromOutside)
    }
    return isFromOutside ? inbound(view) : hairpin(view)
  }

  /// Whether a mapping, live or quarantined, is one that these rules would make: then it may go on as it is.
  func isValid(_ mapping: MappingLine) -> Bool {
    let address = mapping.outsideAddress
    let port = mapping.outsidePort.bigEndian
    guard mapping.isIPv6 ? translation6.isAt(number: address) : outsideAddresses[address] != nil else { return false }
    if mapping.ipProtocol != IPProtocol.icmp {
      let entry =
        mapping.isIPv6
        ? translation6.find(number: address, mapping.ipProtocol, port)
        : forwards.find(address, mapping.ipProtocol, port)
      if entry != nil { return false }
    }
    let pool: UnsafeBufferPointer<PortRange>
    if let index = masquerade(from: Int(mapping.interface), as: address) {
      let rule = masquerades[index]
      guard rule.mapping == mapping.rule, rule.filtering == mapping.filtering else { return false }
      pool = rule.pool
    } else {
      guard mapping.rule == .endpointIndependent, mapping.filtering == .addressAndPortDependent else { return false }
      pool = defaultPool
    }
    // A port that a trigger opens belongs to no pool: who has it open may send from it.
    return pool.contains { $0.first <= port && port <= $0.last }
      || mapping.insidePort == mapping.outsidePort
        && triggers.find(address, mapping.ipProtocol, mapping.outsidePort) != nil
  }

  // MARK: Kinds of sessions

  private func forwarded(_ view: SessionView, _ entry: PortTable.Entry, _ isFromOutside: Bool) -> Fate {
    let rule = forwardRules[entry.rule]
    guard rule.allows(IPv4Address(wire: view.key.source)), isFromOutside || rule.hairpin,
      let hop = routes.find(IPv4Address(wire: rule.target)),
      !interfaces[hop.interface].isOutside || rule.source == .gateway
    else { return .cut }
    // A mapping had this endpoint before: it ends, and what came in by it.
    if isFromOutside ? view.mapping != nil : view.pinned != nil { return .cut }
    let hasTarget =
      view.new.newDestination == rule.target
      && (!view.hasPorts || view.new.newDestinationPort.bigEndian == entry.port) && hop.interface == view.egress
    let hasSource =
      switch rule.source {
      case .gateway: view.mapping == nil && view.new.newSource == interfaces[hop.interface].firstAddress
      case .preserve where isFromOutside: view.new.newSource == view.key.source
      case .preserve: sendsAsMapped(view, address: view.key.destination)
      }
    if hasTarget && hasSource { return .kept(.forward(entry.rule)) }
    return plan.onChange == .keep ? .retargeted : .cut
  }

  /// An outside peer of a mapping.
  private func inbound(_ view: SessionView) -> Fate {
    if view.isTriggered { return triggered(view) }
    guard let mapping = view.mapping, leads(view, to: mapping), isValid(mapping) else { return .cut }
    return .kept(
      masquerade(from: Int(mapping.interface), as: mapping.outsideAddress).map(Origin.masquerade) ?? .hairpin)
  }

  /// An inside host at another one's mapping.
  private func hairpin(_ view: SessionView) -> Fate {
    if view.isTriggered { return sendsAsMapped(view, address: view.key.destination) ? triggered(view) : .cut }
    guard let pinned = view.pinned, leads(view, to: pinned), isValid(pinned),
      sendsAsMapped(view, address: view.key.destination)
    else { return .cut }
    return .kept(.hairpin)
  }

  /// Let in by a trigger, which need not be open any more, nor for the same host.
  private func triggered(_ view: SessionView) -> Fate {
    guard let trigger = triggers.find(view.key.destination, view.key.ipProtocol, view.key.destinationPort),
      view.new.newDestinationPort == view.key.destinationPort, view.egress == plan.triggers[trigger].from,
      serves(trigger, view.new.newDestination, at: view.key.destination, view.secret)
    else { return .cut }
    return .kept(.trigger(trigger))
  }

  private func outbound(_ view: SessionView) -> Fate {
    guard insideAddresses[view.key.destination] == nil, view.pinned == nil,
      view.new.newDestination == view.key.destination,
      let hop = routes.find(IPv4Address(wire: view.key.destination)), hop.interface == view.egress,
      interfaces[hop.interface].isOutside,
      let index = masquerades.firstIndex(where: { $0.from == view.ingress && $0.to == view.egress }),
      let address = masquerades[index].address(of: view.key.source, view.secret)
    else { return .cut }
    let isException = masquerades[index].excepts(IPv4Address(wire: view.key.destination))
    guard isException ? isUntranslated(view) : sendsByMasquerade(view, index, address) else { return .cut }
    return .kept(.masquerade(index))
  }

  // MARK: Parts of the decision

  private func isUntranslated(_ view: SessionView) -> Bool {
    view.mapping == nil && view.new.newSource == view.key.source
      && (view.new.kind >= FlowKind.echoRequest || view.new.newSourcePort == view.key.sourcePort)
  }

  private func leads(_ view: SessionView, to mapping: MappingLine) -> Bool {
    mapping.outsideAddress == view.key.destination && mapping.outsidePort == view.key.destinationPort
      && mapping.insideAddress == view.new.newDestination && mapping.insidePort == view.new.newDestinationPort
      && routes.find(IPv4Address(wire: mapping.insideAddress))?.interface == view.egress
  }

  /// An inside host's source on an outside address: by the masquerade there, or by a mapping of its own.
  private func sendsAsMapped(_ view: SessionView, address: UInt32) -> Bool {
    if let (index, own) = masquerade(of: view.key, from: view.ingress, at: address, view.secret) {
      return sendsByMasquerade(view, index, own)
    }
    if view.new.kind == FlowKind.other { return view.new.newSource == address }
    guard let mapping = view.mapping else { return false }
    return mapping.outsideAddress == address && isValid(mapping)
  }

  private func sendsByMasquerade(_ view: SessionView, _ index: Int, _ address: UInt32) -> Bool {
    if view.new.kind == FlowKind.other {
      return allowsOther(index, view.key) && view.new.newSource == addressOfOther(view.key, address, index)
    }
    // The target of a one-to-one forward sends from the forward's outside endpoint, everybody else from a mapping.
    if let outside = outboundEndpoint(view.key, index, address) {
      return view.mapping == nil && view.new.newSource == outside.address && view.new.newSourcePort == outside.port
    }
    guard let mapping = view.mapping else { return false }
    return mapping.outsideAddress == address && isValid(mapping)
  }

  /// The forward's outside endpoint (raw) that an inside endpoint sends from, where it has one.
  func outboundEndpoint(_ key: FlowKey, _ index: Int, _ address: UInt32) -> (address: UInt32, port: UInt16)? {
    guard let first = forwards.findOutbound(key.source, key.ipProtocol, key.sourcePort.bigEndian) else { return nil }
    if let endpoint = endpoint(first.rule, first.port, key, index, address) { return endpoint }
    // Where the first in the file cannot give its port, a later one may.
    for rule in (first.rule &+ 1)..<plan.forwards.count {
      if let port = plan.forwards[rule].outsidePort(of: key),
        let endpoint = endpoint(rule, port, key, index, address)
      {
        return endpoint
      }
    }
    return nil
  }

  /// What a forward gives its target to send from; nil where it stands on another interface, or a narrower forward has
  /// taken the port from a whole host's.
  private func endpoint(
    _ rule: Int, _ port: UInt16, _ key: FlowKey, _ index: Int, _ address: UInt32
  ) -> (address: UInt32, port: UInt16)? {
    guard forwardRules[rule].interface == masquerades[index].to,
      let outside = forwardRules[rule].outsideAddress(inUse: address),
      forwards.find(outside, key.ipProtocol, port)?.rule == rule
    else { return nil }
    return (outside, port.bigEndian)
  }

  /// How an inside endpoint is known to those it reaches at an outside address: by which masquerade, and as whom (raw). A
  /// forward's target has its endpoint on any address of the interface, others are masqueraded at the masquerade's own.
  func masquerade(
    of key: FlowKey, from interface: Int, at address: UInt32, _ secret: HashSecret
  ) -> (index: Int, address: UInt32)? {
    let own = masquerades.indices.first { index in
      masquerades[index].from == interface && masquerades[index].to == outsideAddresses[address]
        && (key.ipProtocol == IPProtocol.tcp || key.ipProtocol == IPProtocol.udp)
        && outboundEndpoint(key, index, address) != nil
    }
    if let own { return (own, address) }
    guard let index = masquerade(from: interface, as: address),
      let paired = masquerades[index].address(of: key.source, secret)
    else { return nil }
    return (index, paired)
  }

  /// The masquerade by which hosts behind an inside interface have this outside address (raw; of IPv6 its number).
  func masquerade(from interface: Int, as address: UInt32) -> Int? {
    masquerades.firstIndex { $0.from == interface && ($0.addresses.contains(address) || $0.number6 == address) }
  }

  /// Whether a protocol without ports may go out.
  func allowsOther(_ index: Int, _ key: FlowKey) -> Bool {
    !IPProtocol.coversAddresses(key.ipProtocol)
      && (masquerades[index].otherProtocols || forwards.findOther(key.source) != nil)
  }

  /// The outside address (raw) that a protocol without ports leaves from: a forward's target from the forward's. nil where
  /// the host's own address belongs to a forward's target.
  func addressOfOther(_ key: FlowKey, _ address: UInt32, _ index: Int) -> UInt32? {
    if let rule = forwards.findOther(key.source), forwardRules[rule].interface == masquerades[index].to {
      return forwardRules[rule].outsideAddress(inUse: address)
    }
    return forwards.find(address, key.ipProtocol, 0) == nil ? address : nil
  }
}

extension MappingLine {
  /// Who shares it: what it remembers of the remote endpoint tells.
  fileprivate var rule: EndpointRule {
    if isIPv6 { return MappingKind.rule(kind) }
    if load(4, UInt32.self) == 0 { return .endpointIndependent }
    return load(10, UInt16.self) == 0 ? .addressDependent : .addressAndPortDependent
  }
}

extension ForwardPlan {
  /// The outside port (host order) that the source of `key` sends from as this one-to-one forward's target; nil where it
  /// is none of its targets.
  fileprivate func outsidePort(of key: FlowKey) -> UInt16? {
    let isMeant = protocols.contains(key.ipProtocol == IPProtocol.tcp ? .tcp : .udp)
    guard isEnabled, isMeant, target.wire == key.source, isOneToOne else { return nil }
    let port = key.sourcePort.bigEndian
    for span in spans {
      let count = span.isParallel ? span.ports.last &- span.ports.first : 0
      if port >= span.target, port &- span.target <= count { return span.ports.first &+ (port &- span.target) }
    }
    return nil
  }
}
