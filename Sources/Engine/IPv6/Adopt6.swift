// IPv6 sessions and mappings that another engine has left: made anew like those of IPv4, see `Adopt.swift`. Digests are of
// that engine's secret: only the addresses themselves are believed.
extension Core {
  /// The draft that the session at `place` was made from, as far as its records say; nil where they contradict one
  /// another.
  ///
  /// - Parameter interface: the number that an interface of the other engine has here; nil where it is gone.
  func draft6(
    _ place: UInt32, _ saved: SavedRegion, _ mappings: [UInt32], interface: (UInt16) -> UInt16?
  ) -> Draft6? {
    let (original, reply) = (saved.sessions.flow(place &<< 1), saved.sessions.flow(place &<< 1 | 1))
    guard saved.hasIPv6, flows.tables.region.layout.hasIPv6, let scope = interface(original.key.scope),
      let replyScope = interface(reply.key.scope)
    else { return nil }
    let (sides, secret) = (saved.sessions.sides, flows.sessions.secret)
    let (source, destination) = (sides.source(place &<< 1), sides.destination(place &<< 1))
    let hop = RouteTable6.Hop(interface: Int(replyScope), address: .unspecified)
    var draft = Draft6(
      source: sides.destination(place &<< 1 | 1), destination: sides.source(place &<< 1 | 1), ports: original.newPorts,
      hop: hop, origin: .outbound)
    draft.isExpected = saved.sessions.common(place).isExpected
    draft.claims.host = secret.host(source)
    let isFromOutside = interfaces[Int(scope)].isOutside
    draft.remote = secret.host(isFromOutside ? source : destination)
    guard takeMappings(&draft.claims, saved.sessions.common(place), mappings) else { return nil }
    // Of a mapping it is by its inside endpoint, and sends or is reached by the outside one.
    if draft.claims.mapping != 0 {
      let line = flows.mappings[draft.claims.mapping]
      let inside = flows.mappings.sides[draft.claims.mapping].inside
      let own = isFromOutside ? (destination, original.key.destinationPort) : (draft.source, original.newSourcePort)
      guard line.isIPv6, inside == (isFromOutside ? draft.destination : source), line.outsideAddress == own.0.number,
        line.outsidePort == own.1
      else { return nil }
    }
    return draft.claims.pinned == 0 || flows.mappings[draft.claims.pinned].isIPv6 ? draft : nil
  }

  /// Fills a place in with the session at `place`, as its own first packet would have. False where its two directions do
  /// not fit.
  func refill(
    _ session: UInt32, _ draft: Draft6, from saved: SavedRegion, _ place: UInt32, interface: (UInt16) -> UInt16?
  ) -> Bool {
    let (original, reply) = (saved.sessions.flow(place &<< 1), saved.sessions.flow(place &<< 1 | 1))
    guard let scope = interface(original.key.scope) else { return false }
    let sides = saved.sessions.sides
    let (source, destination) = (sides.source(place &<< 1), sides.destination(place &<< 1))
    let key = FlowKey(
      digest: flows.sessions.secret.digest(source, destination), ports: UInt64(original.key.ports), scope: scope,
      ipProtocol: original.key.ipProtocol)
    _ = fill(session, key, from: source, to: destination, draft, original.kind)
    // But for digest and interface they are what the other engine had.
    let interfaceBits: UInt64 = 0xFFFF &<< 32
    let replyKey = flows.sessions.flow(session &<< 1 | 1).key
    return (key.rest ^ original.key.rest) & ~interfaceBits == 0
      && (replyKey.rest ^ reply.key.rest) & ~interfaceBits == 0
  }

  /// The inside key that a mapping at `place` of another engine has here; nil where it can be none.
  func insideKey(of old: MappingLine, _ saved: SavedRegion, _ place: UInt32, pool: UInt16) -> FlowKey? {
    let ports = UInt64(old.load(8, UInt32.self))
    if old.kind == MappingKind.ipv4 {
      return MappingTable.insideKey(addresses: old.load(0), ports: ports, pool: pool, ipProtocol: old.ipProtocol)
    }
    guard old.isIPv6, saved.hasIPv6, flows.tables.region.layout.hasIPv6 else { return nil }
    let (line, rule) = (saved.mappings.sides[place], MappingKind.rule(old.kind))
    guard (line.remote == .unspecified) == (rule == .endpointIndependent) else { return nil }
    return flows.mappings.insideKey(line, ports: ports, pool: pool, ipProtocol: old.ipProtocol, rule: rule)
  }
}
