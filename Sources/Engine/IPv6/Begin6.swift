/// What the target of an IPv6 session sees as its source.
enum SourceChoice6 {
  /// What the draft says, to the letter.
  case settled
  /// That, but with another port where its own is somebody's.
  case anyPort
  /// The draft's address, which is one of ours, with the port of the client's mapping there; of this masquerade, or of none.
  case mapped(masquerade: Int?)
}

/// An IPv6 session before it is made: what its first packet becomes, and where it goes.
struct Draft6 {
  var source: IPv6Address
  var destination: IPv6Address
  /// Raw, as in a key.
  var ports: UInt32
  var hop: RouteTable6.Hop
  var origin: Origin
  var choice = SourceChoice6.settled
  var claims = Claims(host: 0)
  /// The outside peer as the mapping sees it: see `HashSecret.host`.
  var remote: UInt32 = 0
  /// Nothing is translated for it, and a helper lets it in.
  var isExpected = false

  /// Raw.
  var sourcePort: UInt16 {
    get { UInt16(truncatingIfNeeded: ports) }
    set { ports = ports & 0xFFFF_0000 | UInt32(newValue) }
  }
}

/// What an IPv6 packet that belongs to no session may begin.
enum Beginning6 {
  case session(Draft6)
  /// It is for an outside endpoint of ours that no forward has: a mapping may.
  case endpoint
  case refused(DropReason)

  /// No rule says anything of its endpoint, so a helper may.
  var mayBeExpected: Bool {
    switch self {
    case .session: false
    case .endpoint: true
    case .refused(let reason): reason == .noForward
    }
  }
}

// A function of the rules and the packet alone: asked for a first packet, and again about its session when the rules have
// changed.
extension Rules {
  func beginning(_ key: FlowKey, from source: IPv6Address, to destination: IPv6Address) -> Beginning6 {
    interfaces[Int(key.scope)].isOutside
      ? entering(key, from: source, to: destination) : leaving(key, from: source, to: destination)
  }

  /// From outside: to an inside address by a pinhole, to one of ours by a forward, or not at all (RFC 6092 REC-11).
  private func entering(_ key: FlowKey, from source: IPv6Address, to destination: IPv6Address) -> Beginning6 {
    guard own6[destination] == nil else { return forwarded(key, from: source, to: destination) }
    var target = destination
    if let prefix = prefix(outside: destination), prefix.interface == Int(key.scope) {
      guard let inside = prefix.inside(of: destination) else { return .refused(.untranslatable) }
      target = inside
    } else if isTranslated(destination) {
      return .refused(.insideFromOutside)
    }
    guard let hop = routes6.find(target) else { return .refused(.noRoute) }
    guard !interfaces[hop.interface].isOutside else { return .refused(.outsideToOutside) }
    guard key.rest & FlowKey.echoReply == 0 else { return .refused(.icmpUnmatched) }
    guard let rule = pinhole(target, key, Int(key.scope)) else { return .refused(.noForward) }
    guard plan.forwards[rule].pinhole?.allows(source) == true else { return .refused(.notAllowed) }
    return .session(
      Draft6(source: source, destination: target, ports: key.ports, hop: hop, origin: .forward(rule)))
  }

  /// From inside everything may begin a session outside, and one inside by an outside address (RFC 6296 section 4.3).
  private func leaving(_ key: FlowKey, from source: IPv6Address, to destination: IPv6Address) -> Beginning6 {
    // An answer without a session is that before all else: the first cause wins (CONTRACT).
    guard key.rest & FlowKey.echoReply == 0 else { return .refused(.icmpUnmatched) }
    guard own6[destination] == nil else { return forwarded(key, from: source, to: destination) }
    if let prefix = prefix(outside: destination) { return hairpin(key, from: source, to: destination, prefix) }
    // What is not reached inside is nowhere: no inside address leaves as a destination either.
    guard let hop = routes6.find(destination), !isTranslated(destination), interfaces[hop.interface].isOutside else {
      return .refused(.noRoute)
    }
    if !isTranslated(source), let index = masquerade6(from: Int(key.scope), to: hop.interface) {
      return masqueraded(key, from: source, to: destination, hop, index)
    }
    guard let outside = outsideSource(source, over: hop.interface) else { return .refused(.untranslatable) }
    return .session(
      Draft6(source: outside, destination: destination, ports: key.ports, hop: hop, origin: .outbound))
  }

  // MARK: At our own addresses

  private func masquerade6(from inside: Int, to outside: Int) -> Int? {
    masquerades.firstIndex { $0.from == inside && $0.to == outside && $0.number6 != 0 }
  }

  private static func hasPorts(_ key: FlowKey) -> Bool {
    IPProtocol.hasPorts(ICMPv6.portsProtocol(key.ipProtocol))
  }

  /// From an address of ours: a forward's target from the forward's, everybody else from the masquerade's.
  private func masqueraded(
    _ key: FlowKey, from source: IPv6Address, to destination: IPv6Address, _ hop: RouteTable6.Hop, _ index: Int
  ) -> Beginning6 {
    guard let own = plan.masquerades[index].external6 else { return .refused(.noMasquerade) }
    var draft = Draft6(
      source: own, destination: destination, ports: key.ports, hop: hop, origin: .masquerade(index))
    if takeForwardEndpoint(&draft, key, source, on: hop.interface) { return .session(draft) }
    if Self.hasPorts(key) {
      draft.choice = .mapped(masquerade: index)
    } else if !masquerades[index].otherProtocols || IPProtocol.coversAddresses(key.ipProtocol) {
      return .refused(.unknownProtocol)
    }
    return .session(draft)
  }

  /// The target of a one-to-one forward sends from the forward's outside endpoint. False where it is none.
  private func takeForwardEndpoint(
    _ draft: inout Draft6, _ key: FlowKey, _ source: IPv6Address, on interface: Int?
  ) -> Bool {
    guard let entry = translation6.findOutbound(source, key.ipProtocol, key.sourcePort.bigEndian),
      plan.forwards[entry.rule].interface == interface, let outside = plan.forwards[entry.rule].pinhole?.external
    else { return false }
    draft.source = outside
    draft.sourcePort = entry.port.bigEndian
    return true
  }

  /// To an address of ours: by a forward there, from inside too (hairpin).
  private func forwarded(_ key: FlowKey, from source: IPv6Address, to destination: IPv6Address) -> Beginning6 {
    let isFromOutside = interfaces[Int(key.scope)].isOutside
    guard key.rest & FlowKey.echoReply == 0 else { return .refused(.icmpUnmatched) }
    guard let entry = translation6.find(destination, key.ipProtocol, key.destinationPort.bigEndian),
      let six = plan.forwards[entry.rule].pinhole
    else { return translation6.isAt(destination) ? .endpoint : .refused(.toUs) }
    let rule = plan.forwards[entry.rule]
    guard six.allows(source) else { return .refused(.notAllowed) }
    guard isFromOutside || rule.hairpin else { return .refused(.hairpinOff) }
    guard !IPProtocol.coversAddresses(key.ipProtocol) else { return .refused(.unknownProtocol) }
    guard let hop = routes6.find(six.target) else { return .refused(.noRoute) }
    guard !interfaces[hop.interface].isOutside || rule.source == .gateway else { return .refused(.outsideToOutside) }
    let hasTargetPort = key.ipProtocol == IPProtocol.tcp || key.ipProtocol == IPProtocol.udp
    var draft = Draft6(
      source: source, destination: six.target,
      ports: hasTargetPort ? key.ports & 0xFFFF | UInt32(entry.port.bigEndian) &<< 16 : key.ports, hop: hop,
      origin: .forward(entry.rule))
    if rule.source == .gateway {
      guard let own = sixes[hop.interface]?.firstAddress else { return .refused(.noRoute) }
      draft.source = own
    } else if !isFromOutside {
      return .session(sentAsMapped(draft, key, source, at: destination))
    }
    if Self.hasPorts(key) { draft.choice = .anyPort }
    return .session(draft)
  }

  /// The draft of an inside host that reaches another by an address of ours: who asks is seen by an outside endpoint
  /// there too (RFC 4787 REQ-9a).
  func sentAsMapped(
    _ draft: Draft6, _ key: FlowKey, _ source: IPv6Address, at address: IPv6Address
  ) -> Draft6 {
    var draft = draft
    draft.source = address
    if !takeForwardEndpoint(&draft, key, source, on: own6[address]), Self.hasPorts(key) {
      draft.choice = .mapped(masquerade: masquerade(from: Int(key.scope), as: address.number))
    }
    return draft
  }

  // MARK: By a prefix

  /// An inside host by its outside address: who asks is seen by his own.
  private func hairpin(
    _ key: FlowKey, from source: IPv6Address, to destination: IPv6Address, _ prefix: PrefixRule
  ) -> Beginning6 {
    guard let target = prefix.inside(of: destination), let outside = outsideSource(source, over: prefix.interface)
    else { return .refused(.untranslatable) }
    guard own6[target] == nil else { return .refused(.toUs) }
    guard let hop = routes6.find(target), !interfaces[hop.interface].isOutside else { return .refused(.noRoute) }
    return .session(Draft6(source: outside, destination: target, ports: key.ports, hop: hop, origin: .hairpin))
  }
}
