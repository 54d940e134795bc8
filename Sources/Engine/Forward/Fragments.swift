// Datagrams in pieces: translated one by one, in whatever order they come, and never put together (RFC 4787 REQ-14).
//
// Only the first piece has ports. It is judged like any packet; what becomes of it becomes of the others, which wait if
// they come before it.
/// A piece of a datagram of either family, as far as all pieces are alike.
struct Piece {
  let slot: UnsafeMutablePointer<FrameSlot>
  /// First byte of its IP header.
  let start: UnsafeMutableRawPointer
  let network: Int
  let totalLength: Int
  let hopLimit: UInt8
  let priority: UInt16
  /// Where it belongs, in units of 8 bytes, and how many bytes it has.
  let offset: Int
  let length: Int
}

/// What is to be done with a piece, by what is known of its datagram.
enum PieceCourse {
  /// It has the ports; where the datagram is known already, its place.
  case first(UInt16?)
  case translated(UInt16)
  case waiting(UInt16)
  /// `none` where it is left to the host.
  case refused(DropReason)
  case overlapping(UInt16)
}

extension Packet {
  var piece: Piece {
    Piece(
      slot: slot, start: header.start, network: network, totalLength: totalLength, hopLimit: header.ttl,
      priority: priority, offset: header.fragmentOffset, length: transportLength)
  }
}

extension Core {
  mutating func judgeFragment(_ packet: Packet) {
    guard mayHaveSession(packet) else {
      return interfaces[packet.ingress].isOutside ? refuseTransit(packet) : route(packet)
    }
    let key = FragmentTable.key(packet.header, scope: packet.slot.pointee.ingress)
    switch course(of: packet.piece, key) {
    case .first(let known): judgeFirst(packet, known, key)
    case .translated(let place): sendPiece(packet, place)
    case .waiting(let place): holdPiece(packet.piece, place)
    case .refused(let reason): settle(packet.slot, reason)
    case .overlapping: drop(packet.slot, .fragmentOverlap)
    }
  }

  /// Notes a piece with its datagram.
  mutating func course(of piece: Piece, _ key: FlowKey) -> PieceCourse {
    guard let known = fragments.find(key, at: clock.now) else {
      if piece.offset == 0 { return .first(nil) }
      guard makeRoom(for: 0), let made = insert(key) else { return .refused(.fragmentLimit) }
      _ = note(piece, made)
      return .waiting(made)
    }
    let state = fragments[known].state
    if state == .refused { return .refused(fragments[known].reason) }
    switch note(piece, known) {
    case .overlapping: return .overlapping(known)
    case .tooMany: return .refused(.fragmentLimit)
    case .repeated where state == .waiting: return .refused(.fragmentOverlap)
    default: break
    }
    if piece.offset == 0 { return .first(known) }
    return state == .translated ? .translated(known) : .waiting(known)
  }

  /// False for what is only routed, or goes nowhere, whatever its ports are.
  func mayHaveSession(_ packet: Packet) -> Bool {
    let destination = packet.header.destination
    if outsideAddresses[destination] != nil { return true }
    if interfaces[packet.ingress].isOutside { return rules.hasExceptions }
    if insideAddresses[destination] != nil { return true }
    return routes.find(packet.destination).map { interfaces[$0.interface].isOutside } ?? false
  }

  private func note(_ piece: Piece, _ place: UInt16) -> FragmentTable.Piece {
    fragments.note(place, offset: piece.offset, length: piece.length)
  }

  // MARK: The first piece

  private mutating func judgeFirst(_ packet: Packet, _ known: UInt16?, _ key: FlowKey) {
    let slot = packet.slot
    if let whole = withPorts(packet) {
      if let known, fragments[known].state == .translated, fragments[known].ports != whole.key.rest {
        return drop(slot, .fragmentOverlap)
      }
      judgeFlow(whole)
    }
    finishFirst(packet.piece, known, key)
  }

  /// What became of the first piece becomes of those that wait for it.
  mutating func finishFirst(_ piece: Piece, _ known: UInt16?, _ key: FlowKey) {
    let slot = piece.slot
    let place = fragments.find(key, at: clock.now)
    if let place, fragments[place].state == .translated {
      if known == nil { _ = note(piece, place) }
      return releasePieces(place)
    }
    // It was not let through; nor are the others.
    guard let refused = place ?? (makeRoom(for: 0) ? insert(key) : nil) else { return }
    fragments[refused].state = .refused
    fragments[refused].reason = slot.pointee.verdict == .drop ? slot.pointee.reason : .none
    dropPieces(refused, fragments[refused].reason)
  }

  /// The packet with kind and ports; nil, and a verdict, where it has none.
  private mutating func withPorts(_ packet: Packet) -> Packet? {
    var packet = packet
    let transport = packet.transport
    let length = packet.transportLength
    var ports = Forwarder.noPorts
    switch packet.header.ipProtocol {
    case IPProtocol.tcp:
      packet.kind = FlowKind.tcp
      ports = Forwarder.ports(transport, IPProtocol.tcp, length)
    case IPProtocol.udp where length >= UDPHeader.length:
      packet.kind = FlowKind.udp
      ports = UInt64(transport.raw32(0))
    case IPProtocol.icmp where length >= ICMPHeader.length:
      packet.kind = transport.byte(0) == ICMPHeader.echoRequest ? FlowKind.echoRequest : FlowKind.echoReply
      ports = Forwarder.ports(transport, IPProtocol.icmp, length)
    case IPProtocol.udp, IPProtocol.icmp: break
    default:
      refuse(packet.slot, .unknownProtocol)
      return nil
    }
    guard ports != Forwarder.noPorts else {
      refuse(packet.slot, packet.header.ipProtocol == IPProtocol.tcp ? .malformedTCP : .fragment)
      return nil
    }
    packet.key = FlowKey(
      addresses: packet.key.addresses, ports: ports, scope: UInt16(packet.ingress), ipProtocol: packet.header.ipProtocol
    )
    return packet
  }

  /// The first piece of a datagram has found its session. Called before it is rewritten.
  mutating func prove(_ packet: Packet, by flow: UInt32) {
    let key = FragmentTable.key(packet.header, scope: packet.slot.pointee.ingress)
    let (place, isNew) = prove(key, ports: packet.key.rest, by: flow)
    if isNew { fragments[place].identification = newIdentification(packet.header, flow) }
    packet.header.identify(fragments[place].identification)
  }

  mutating func prove(_ key: FlowKey, ports: UInt64, by flow: UInt32) -> (place: UInt16, isNew: Bool) {
    let known = fragments.find(key, at: clock.now)
    let isNew = known.map { fragments[$0].state != .translated } ?? true
    let place = fragments.prove(known, key, due: clock.now &+ timeouts.fragment)
    if isNew { fragments[place].ports = ports }
    fragments[place].flow = flow
    fragments[place].identity = flows.sessions.common(flow &>> 1).identity
    return (place, isNew)
  }

  /// The identification of a datagram that leaves in pieces.
  mutating func newIdentification(_ header: IPv4Header, _ flow: UInt32) -> UInt16 {
    let line = flows.sessions.flow(flow)
    return locked {
      $0.identifications.assign(
        FragmentTable.key(header, scope: line.key.scope), leavingAs: line.newAddresses, at: $0.clock.tick,
        window: $0.timeouts.identification)
    }
  }

  // MARK: Later pieces

  private mutating func sendPiece(_ packet: Packet, _ place: UInt16) {
    var adjacency: UInt16 = 0
    let reason = translatePiece(packet.header.start, fragments[place], &adjacency)
    guard reason == .none else { return drop(packet.slot, reason) }
    deliver(packet, over: adjacency, nil)
  }

  /// Rewrites a piece as its first one was. Returns why it cannot go, and has then changed nothing.
  mutating func translatePiece(
    _ start: UnsafeMutableRawPointer, _ entry: FragmentEntry, _ adjacency: inout UInt16
  ) -> DropReason {
    let session = entry.flow &>> 1
    guard flows.sessions.common(session).identity == entry.identity, reviewed(session) else { return .fragment }
    let line = flows.sessions.flow(entry.flow)
    let isIPv6 = line.key.isIPv6
    let (header, header6) = (IPv4Header(start), IPv6Header(start))
    guard (isIPv6 ? header6.hopLimit : header.ttl) > 1 else { return .ttlExceeded }
    guard let found = isIPv6 ? settleAdjacency6(entry.flow) : settleAdjacency(entry.flow) else { return .noRoute }
    let length = isIPv6 ? header6.totalLength : header.totalLength
    guard length <= Int(adjacencies[found].mtu) || !isIPv6 && !header.dontFragment else { return .fragmentationNeeded }
    adjacency = found
    if line.keepsSession { line.lastSeen = clock.tickUp }
    line.count(bytes: length)
    if isIPv6 {
      Rewrite.applyAddresses6(flows.sessions.sides.line(entry.flow ^ 1), start)
      header6.takeHop()
    } else {
      header.identify(entry.identification)
      Rewrite.applyAddresses(line, header)
    }
    return .none
  }

  // MARK: Waiting

  mutating func insert(_ key: FlowKey) -> UInt16? {
    let due = Clock.roundUp(clock.now &+ timeouts.fragment)
    let place = fragments.insert(key, due: due)
    setFragmentTimer()
    return place
  }

  /// Room for another unproven datagram, or for `bytes` of a piece. False where the one that wants it would have to give
  /// way itself.
  mutating func makeRoom(for bytes: Int, of own: UInt16 = 0) -> Bool {
    for _ in 0..<8 {
      if bytes == 0 ? !fragments.isUnprovenFull : fragmentHolds.canAllocate(length: bytes) { return true }
      let victim = fragments.victim
      guard victim != 0, victim != own else { return false }
      dropPieces(victim, .fragmentLimit)
      fragments.remove(victim)
    }
    return false
  }

  mutating func holdPiece(_ piece: Piece, _ place: UInt16) {
    // It would go nowhere in any case.
    guard piece.hopLimit > 1 else { return drop(piece.slot, .ttlExceeded) }
    let length = piece.totalLength
    guard makeRoom(for: length, of: place), let held = fragmentHolds.allocate(length: length) else {
      return drop(piece.slot, .fragmentLimit)
    }
    var frame = HeldFrame(length: UInt32(truncatingIfNeeded: length))
    frame.ingress = piece.slot.pointee.ingress
    frame.priority = piece.priority
    frame.isReceived = true
    frame.ticket = piece.slot.pointee.ticket
    fragmentHolds[held] = frame
    fragmentHolds.bytes(held).copyMemory(from: piece.start, byteCount: length)
    if fragments[place].heldHead == 0 {
      fragments[place].heldHead = held
    } else {
      fragmentHolds[fragments[place].heldTail].next = held
    }
    fragments[place].heldTail = held
    fragments.countHeld(place, 1)
    piece.slot.pointee.verdict = .hold
    counters.add(frame.ingress, Counters.held)
  }

  private mutating func takePiece(_ place: UInt16) -> UInt16? {
    let held = fragments[place].heldHead
    guard held != 0 else { return nil }
    fragments[place].heldHead = fragmentHolds[held].next
    fragments.countHeld(place, -1)
    return held
  }

  /// Sends what waited for the first piece, right behind it.
  private mutating func releasePieces(_ place: UInt16) {
    outbox.position &+= 1
    while let held = takePiece(place) { release(held, fragments[place]) }
    outbox.position &-= 1
  }

  private mutating func release(_ held: UInt16, _ entry: FragmentEntry) {
    let frame = fragmentHolds[held]
    let start = fragmentHolds.bytes(held)
    var adjacency: UInt16 = 0
    let reason = translatePiece(start, entry, &adjacency)
    guard reason == .none else { return dropPiece(held, reason) }
    guard canSend(adjacency) else { return wait(held, adjacency) }
    guard
      emit(
        start, length: Int(frame.length), offload: OffloadHeader(), over: adjacency, priority: frame.priority,
        ticket: frame.ticket)
    else { return dropPiece(held, .outboxFull) }
    counters.words[Int(frame.ingress) &* Counters.row &+ Counters.held] &-= 1
    counters.add(frame.ingress, Counters.forwarded)
    leavingFragments.add(held)
  }

  /// From waiting for the first piece to waiting for the neighbour.
  private mutating func wait(_ held: UInt16, _ adjacency: UInt16) {
    let length = Int(fragmentHolds[held].length)
    let isHeld = locked { core in
      guard let place = core.holds.allocate(length: length) else { return false }
      core.holds[place] = core.fragmentHolds[held]
      core.holds.bytes(place).copyMemory(from: core.fragmentHolds.bytes(held), byteCount: length)
      core.enqueue(place, adjacency)
      return true
    }
    if isHeld { fragmentHolds.free(held) } else { dropPiece(held, .neighborQueueFull) }
  }

  // MARK: Giving up

  mutating func dropPieces(_ place: UInt16, _ reason: DropReason) {
    while let held = takePiece(place) { dropPiece(held, reason) }
  }

  private mutating func dropPiece(_ held: UInt16, _ reason: DropReason) {
    let ingress = fragmentHolds[held].ingress
    counters.words[Int(ingress) &* Counters.row &+ Counters.held] &-= 1
    if reason == .none { counters.add(ingress, Counters.passed) } else { counters.drop(ingress, reason) }
    fragmentHolds.free(held)
  }

  mutating func settle(_ slot: UnsafeMutablePointer<FrameSlot>, _ reason: DropReason) {
    if reason == .none { pass(slot) } else { drop(slot, reason) }
  }

  private mutating func setFragmentTimer() {
    let oldest = fragments.oldestUnproven
    guard !fragments.isTimerSet, oldest != 0 else { return }
    fragments.isTimerSet = timers.add(at: fragments[oldest].due, .fragment, 0)
  }

  mutating func fragmentTimer() {
    fragments.isTimerSet = false
    while fragments.oldestUnproven != 0, fragments[fragments.oldestUnproven].due <= clock.now {
      let place = fragments.oldestUnproven
      dropPieces(place, .fragmentTimeout)
      fragments.remove(place)
    }
    setFragmentTimer()
  }
}
