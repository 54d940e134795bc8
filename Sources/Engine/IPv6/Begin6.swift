/// An IPv6 session before it is made: what its first packet becomes, and where it goes.
struct Draft6 {
  var source: IPv6Address
  var destination: IPv6Address
  /// Raw, as in a key.
  var ports: UInt32
  var hop: RouteTable6.Hop
  var origin: Origin
}

/// What an IPv6 packet that belongs to no session may begin.
enum Beginning6 {
  case session(Draft6)
  case refused(DropReason)
}

// A function of the rules and the packet alone: asked for a first packet, and again about its session when the rules have
// changed.
extension Rules {
  func beginning(_ key: FlowKey, from source: IPv6Address, to destination: IPv6Address) -> Beginning6 {
    interfaces[Int(key.scope)].isOutside
      ? entering(key, from: source, to: destination) : leaving(key, from: source, to: destination)
  }

  /// From outside: to an inside address, by a pinhole, or not at all (RFC 6092 REC-11).
  private func entering(_ key: FlowKey, from source: IPv6Address, to destination: IPv6Address) -> Beginning6 {
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
    if let prefix = prefix(outside: destination) { return hairpin(key, from: source, to: destination, prefix) }
    // What is not reached inside is nowhere: no inside address leaves as a destination either.
    guard let hop = routes6.find(destination), !isTranslated(destination), interfaces[hop.interface].isOutside else {
      return .refused(.noRoute)
    }
    guard let outside = outsideSource(source, over: hop.interface) else { return .refused(.untranslatable) }
    return .session(
      Draft6(source: outside, destination: destination, ports: key.ports, hop: hop, origin: .outbound))
  }

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

  /// What these rules make of an IPv6 session; see `fate`.
  func fate6(of session: UInt32, in flows: Flows) -> Fate {
    let (original, reply) = (flows.sessions.flow(session &<< 1), flows.sessions.flow(session &<< 1 | 1))
    let (key, sides) = (original.key, flows.sessions.sides)
    let destination = sides.destination(session &<< 1)
    guard sixes[Int(key.scope)] != nil, own6[destination] == nil,
      case .session(let draft) = beginning(key, from: sides.source(session &<< 1), to: destination)
    else { return .cut }
    let isSame =
      draft.hop.interface == Int(reply.key.scope) && draft.ports == original.newPorts
      && draft.source == sides.destination(session &<< 1 | 1) && draft.destination == sides.source(session &<< 1 | 1)
    if isSame { return .kept(draft.origin) }
    return plan.onChange == .keep ? .retargeted : .cut
  }
}
