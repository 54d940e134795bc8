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
    let addresses = saved.sessions.sides.line(place &<< 1)
    guard SideTable.isTurned(saved.sessions.sides.line(place &<< 1 | 1), addresses),
      let scope = interface(original.key.scope), let replyScope = interface(reply.key.scope)
    else { return false }
    let secret = flows.sessions.secret
    let key = FlowKey(
      digest: secret.digest(addresses, addresses + 16), ports: UInt64(original.key.ports), scope: scope,
      ipProtocol: original.key.ipProtocol)
    let replyKey = key.turned(
      digest: secret.digest(addresses + 16, addresses), scope: replyScope,
      isEcho: original.kind == FlowKind.echoRequest)
    // But for digest and interface they are what the other engine had.
    let interfaceBits: UInt64 = 0xFFFF &<< 32
    guard (key.rest ^ original.key.rest) & ~interfaceBits == 0, (replyKey.rest ^ reply.key.rest) & ~interfaceBits == 0
    else { return false }
    flows.sessions.sides.fill(session, addresses)
    _ = fill(session, key, replyKey, original.kind, .outbound)
    return true
  }
}
