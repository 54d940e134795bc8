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
  let isEcho: Bool
  /// The mapping that it sends from, or that an outside peer came in by.
  let mapping: MappingLine?
  /// The mapping that a hairpin session goes to.
  let pinned: MappingLine?

  init(_ session: UInt32, in flows: Flows) {
    new = flows.sessions.flow(session &<< 1)
    key = new.key
    ingress = Int(key.scope)
    egress = Int(flows.sessions.flow(session &<< 1 | 1).key.scope)
    isEcho = new.kind >= FlowKind.echoRequest
    let common = flows.sessions.common(session)
    mapping = common.mapping == 0 ? nil : flows.mappings[common.mapping]
    pinned = common.pinned == 0 ? nil : flows.mappings[common.pinned]
  }
}

// The decisions of `Begin.swift` and `Make.swift` once more, about a session that exists: would its first packet, if it
// came now, become the same? Nothing is changed here, so candidates for the next rules can be asked as well.
extension Rules {
  func fate(of session: UInt32, in flows: Flows) -> Fate {
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
    guard outsideAddresses[address] != nil else { return false }
    if mapping.ipProtocol != IPProtocol.icmp, forwards.find(address, mapping.ipProtocol, port) != nil { return false }
    let pool: UnsafeMutableBufferPointer<PortRange>
    if let index = masquerade(from: Int(mapping.interface), as: address) {
      let rule = plan.masquerades[index]
      guard rule.mapping == mapping.rule, rule.filtering == mapping.filtering else { return false }
      pool = masqueradePools[index]
    } else {
      guard mapping.rule == .endpointIndependent, mapping.filtering == .addressAndPortDependent else { return false }
      pool = defaultPool
    }
    return pool.contains { $0.first <= port && port <= $0.last }
  }

  // MARK: Kinds of sessions

  private func forwarded(_ view: SessionView, _ entry: PortTable.Entry, _ isFromOutside: Bool) -> Fate {
    let rule = plan.forwards[entry.rule]
    guard rule.allows(IPv4Address(wire: view.key.source)), isFromOutside || rule.hairpin,
      let hop = routes.find(rule.target), !interfaces[hop.interface].isOutside || rule.source == .gateway
    else { return .cut }
    // A mapping had this endpoint before: it ends, and what came in by it.
    if isFromOutside ? view.mapping != nil : view.pinned != nil { return .cut }
    let hasTarget =
      view.new.newDestination == rule.target.wire
      && (view.isEcho || view.new.newDestinationPort.bigEndian == entry.port) && hop.interface == view.egress
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
    guard let mapping = view.mapping, leads(view, to: mapping), isValid(mapping) else { return .cut }
    return .kept(
      masquerade(from: Int(mapping.interface), as: mapping.outsideAddress).map(Origin.masquerade) ?? .hairpin)
  }

  /// An inside host at another one's mapping.
  private func hairpin(_ view: SessionView) -> Fate {
    guard let pinned = view.pinned, leads(view, to: pinned), isValid(pinned),
      sendsAsMapped(view, address: view.key.destination)
    else { return .cut }
    return .kept(.hairpin)
  }

  private func outbound(_ view: SessionView) -> Fate {
    guard insideAddresses[view.key.destination] == nil, view.pinned == nil,
      view.new.newDestination == view.key.destination,
      let hop = routes.find(IPv4Address(wire: view.key.destination)), hop.interface == view.egress,
      interfaces[hop.interface].isOutside,
      let index = plan.masquerades.firstIndex(where: { $0.from == view.ingress && $0.to == view.egress }),
      let address = interfaces[view.egress].firstAddress, sendsByMasquerade(view, index, address)
    else { return .cut }
    return .kept(.masquerade(index))
  }

  // MARK: Parts of the decision

  private func leads(_ view: SessionView, to mapping: MappingLine) -> Bool {
    mapping.outsideAddress == view.key.destination && mapping.outsidePort == view.key.destinationPort
      && mapping.insideAddress == view.new.newDestination && mapping.insidePort == view.new.newDestinationPort
      && routes.find(IPv4Address(wire: mapping.insideAddress))?.interface == view.egress
  }

  /// An inside host's source on an outside address: by the masquerade there, or by a mapping of its own.
  private func sendsAsMapped(_ view: SessionView, address: UInt32) -> Bool {
    if let index = masquerade(from: view.ingress, as: address) { return sendsByMasquerade(view, index, address) }
    guard let mapping = view.mapping else { return false }
    return mapping.outsideAddress == address && isValid(mapping)
  }

  private func sendsByMasquerade(_ view: SessionView, _ index: Int, _ address: UInt32) -> Bool {
    // The target of a one-to-one forward sends from the forward's outside endpoint, everybody else from a mapping.
    if let outside = outboundEndpoint(view.key, index, address) {
      return view.mapping == nil && view.new.newSource == outside.address && view.new.newSourcePort == outside.port
    }
    guard let mapping = view.mapping else { return false }
    return mapping.outsideAddress == address && isValid(mapping)
  }

  /// The forward's outside endpoint (raw) that an inside endpoint sends from, where it has one.
  func outboundEndpoint(_ key: FlowKey, _ index: Int, _ address: UInt32) -> (address: UInt32, port: UInt16)? {
    guard let entry = forwards.findOutbound(key.source, key.ipProtocol, key.sourcePort.bigEndian),
      plan.forwards[entry.rule].interface == plan.masquerades[index].to,
      let outside = forwards.outsideAddress(entry.rule, inUse: address)
    else { return nil }
    return (outside, entry.port.bigEndian)
  }

  /// The masquerade by which hosts behind an inside interface have this outside address.
  func masquerade(from interface: Int, as address: UInt32) -> Int? {
    plan.masquerades.firstIndex { $0.from == interface && interfaces[$0.to].firstAddress == address }
  }
}

extension MappingLine {
  /// Who shares it: what it remembers of the remote endpoint tells.
  fileprivate var rule: EndpointRule {
    if load(4, UInt32.self) == 0 { return .endpointIndependent }
    return load(10, UInt16.self) == 0 ? .addressDependent : .addressAndPortDependent
  }
}
