// An IPv6 session that another engine has left: made anew like those of IPv4, see `Adopt.swift`.
extension Core {
  /// Fills a place in with the session at `place`, as its own first packet would have. False where its two directions do
  /// not fit. Digests are made anew: only the addresses themselves are believed.
  ///
  /// - Parameter interface: the number that an interface of the other engine has here; nil where it is gone.
  func refill(
    _ session: UInt32, from saved: SavedRegion, _ place: UInt32, interface: (UInt16) -> UInt16?
  ) -> Bool {
    let (original, reply) = (saved.sessions.flow(place &<< 1), saved.sessions.flow(place &<< 1 | 1))
    guard saved.hasIPv6, flows.tables.region.layout.hasIPv6 else { return false }
    guard let scope = interface(original.key.scope), let replyScope = interface(reply.key.scope) else { return false }
    let sides = saved.sessions.sides
    let (source, destination) = (sides.source(place &<< 1), sides.destination(place &<< 1))
    let key = FlowKey(
      digest: flows.sessions.secret.digest(source, destination), ports: UInt64(original.key.ports), scope: scope,
      ipProtocol: original.key.ipProtocol)
    let hop = RouteTable6.Hop(interface: Int(replyScope), address: .unspecified)
    let draft = Draft6(
      source: sides.destination(place &<< 1 | 1), destination: sides.source(place &<< 1 | 1), ports: original.newPorts,
      hop: hop, origin: .outbound)
    _ = fill(session, key, from: source, to: destination, draft, original.kind)
    // But for digest and interface they are what the other engine had.
    let interfaceBits: UInt64 = 0xFFFF &<< 32
    let replyKey = flows.sessions.flow(session &<< 1 | 1).key
    return (key.rest ^ original.key.rest) & ~interfaceBits == 0
      && (replyKey.rest ^ reply.key.rest) & ~interfaceBits == 0
  }
}
