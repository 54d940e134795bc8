// IPv6 datagrams in pieces, by the table and the room that those of IPv4 have.
extension Packet6 {
  var piece: Piece {
    Piece(
      slot: slot, start: header.start, network: network, totalLength: totalLength, hopLimit: header.hopLimit,
      priority: priority, offset: chain.fragmentOffset, length: transportLength)
  }
}

extension FragmentTable {
  /// Addresses, identification and interface. The low half is the source's alone: sources share the room.
  static func key(_ packet: Packet6, _ secret: HashSecret) -> FlowKey {
    let source = secret.digest(packet.source) & 0xFFFF_FFFF
    let destination = secret.digest(packet.destination) &<< 32
    return FlowKey(
      digest: source | destination, ports: UInt64(packet.header.start.raw32(packet.chain.fragment &+ 4)),
      scope: packet.slot.pointee.ingress, ipProtocol: IPv6Chain.fragmentHeader)
  }
}

extension Core {
  mutating func judgeFragment(_ packet: Packet6, _ hop: RouteTable6.Hop?) {
    if let reason = refusal(packet, hop) { return drop(packet.slot, reason) }
    let key = FragmentTable.key(packet, flows.sessions.secret)
    switch course(of: packet.piece, key) {
    case .first(let known): judgeFirst(packet, known, key)
    case .translated(let place): sendPiece(packet, place)
    case .waiting(let place): holdPiece(packet.piece, place)
    case .refused(let reason): settle(packet.slot, reason)
    case .overlapping(let place):
      refuseWhole(place, key)
      drop(packet.slot, .fragmentOverlap)
    }
  }

  /// What can go nowhere, whatever its ports are, takes no room.
  func refusal(_ packet: Packet6, _ hop: RouteTable6.Hop?) -> DropReason? {
    guard interfaces[packet.ingress].isOutside, own6[packet.destination] == nil,
      rules.prefix(outside: packet.destination) == nil
    else { return nil }
    guard let hop else { return .noRoute }
    return interfaces[hop.interface].isOutside ? .outsideToOutside : nil
  }

  private mutating func judgeFirst(_ packet: Packet6, _ known: UInt16?, _ key: FlowKey) {
    var packet = packet
    if let reason = findKey(&packet) {
      drop(packet.slot, reason)
    } else if packet.kind == FlowKind.free {
      drop(packet.slot, .fragment)
    } else if let known, fragments[known].state == .translated, fragments[known].ports != packet.key.rest {
      return drop(packet.slot, .fragmentOverlap)
    } else {
      judgeFlow(packet)
    }
    finishFirst(packet.piece, known, key)
  }

  private mutating func sendPiece(_ packet: Packet6, _ place: UInt16) {
    var adjacency: UInt16 = 0
    let reason = translatePiece(packet.header.start, fragments[place], &adjacency)
    guard reason == .none else { return drop(packet.slot, reason) }
    deliver(packet, over: adjacency, nil)
  }

  /// Pieces that overlap make all of their datagram suspect: none of it goes on, what comes later neither (RFC 5722).
  private mutating func refuseWhole(_ place: UInt16, _ key: FlowKey) {
    dropPieces(place, .fragmentOverlap)
    fragments.remove(place)
    guard makeRoom(for: 0), let refused = insert(key) else { return }
    fragments[refused].state = .refused
    fragments[refused].reason = .fragmentOverlap
  }
}
