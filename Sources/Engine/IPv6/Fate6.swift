// Would the first packet of an IPv6 session, if it came now, become the same? See `Fate.swift`.
extension Rules {
  func fate6(of session: UInt32, in flows: Flows) -> Fate {
    let key = flows.sessions.flow(session &<< 1).key
    let sides = flows.sessions.sides
    guard sixes[Int(key.scope)] != nil else { return .cut }
    switch beginning(key, from: sides.source(session &<< 1), to: sides.destination(session &<< 1)) {
    case .refused(.noForward) where flows.sessions.common(session).isExpected:
      return fateOfExpected(session, in: flows)
    case .refused: return .cut
    case .endpoint: return mapped(session, in: flows)
    case .session(let draft):
      let isSame =
        leads(session, as: draft, in: flows) && sends(session, as: draft, in: flows)
        && flows.sessions.common(session).pinned == 0
      if isSame { return .kept(draft.origin) }
      return plan.onChange == .keep ? .retargeted : .cut
    }
  }

  /// A session that goes to a mapping, from outside or from inside.
  private func mapped(_ session: UInt32, in flows: Flows) -> Fate {
    let (common, key) = (flows.sessions.common(session), flows.sessions.flow(session &<< 1).key)
    let sides = flows.sessions.sides
    let (source, destination) = (sides.source(session &<< 1), sides.destination(session &<< 1))
    let isFromOutside = interfaces[Int(key.scope)].isOutside
    let mapping = isFromOutside ? common.mapping : common.pinned
    guard mapping != 0 else { return .cut }
    let line = flows.mappings[mapping]
    guard line.outsideAddress == destination.number, line.outsidePort == key.destinationPort, isValid(line),
      var draft = draft(key, from: source, to: flows.mappings.sides[mapping].inside, line.insidePort),
      leads(session, as: draft, in: flows)
    else { return .cut }
    let origin = masquerade(from: Int(line.interface), as: line.outsideAddress).map(Origin.masquerade) ?? .hairpin
    if isFromOutside { return .kept(origin) }
    draft = sentAsMapped(draft, key, source, at: destination)
    return sends(session, as: draft, in: flows) ? .kept(.hairpin) : .cut
  }

  /// What a packet to a mapping becomes; its inside port raw. nil where the way there is none.
  func draft(_ key: FlowKey, from source: IPv6Address, to inside: IPv6Address, _ port: UInt16) -> Draft6? {
    guard let hop = routes6.find(inside), !interfaces[hop.interface].isOutside else { return nil }
    return Draft6(
      source: source, destination: inside, ports: key.ports & 0xFFFF | UInt32(port) &<< 16, hop: hop, origin: .hairpin)
  }

  private func leads(_ session: UInt32, as draft: Draft6, in flows: Flows) -> Bool {
    let (original, reply) = (flows.sessions.flow(session &<< 1), flows.sessions.flow(session &<< 1 | 1))
    return draft.hop.interface == Int(reply.key.scope) && draft.ports &>> 16 == original.newPorts &>> 16
      && draft.destination == flows.sessions.sides.source(session &<< 1 | 1)
  }

  private func sends(_ session: UInt32, as draft: Draft6, in flows: Flows) -> Bool {
    let original = flows.sessions.flow(session &<< 1)
    let mapping = flows.sessions.common(session).mapping
    guard draft.source == flows.sessions.sides.destination(session &<< 1 | 1) else { return false }
    switch draft.choice {
    case .settled: return mapping == 0 && draft.sourcePort == original.newSourcePort
    case .anyPort: return mapping == 0
    case .mapped:
      guard mapping != 0 else { return false }
      return flows.mappings[mapping].outsideAddress == draft.source.number && isValid(flows.mappings[mapping])
    }
  }
}
