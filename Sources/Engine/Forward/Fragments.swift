// Datagrams in pieces: translated one by one, in whatever order they come, and never put together (RFC 4787 REQ-14).
//
// Only the first piece has ports. It is judged like any packet; what becomes of it becomes of the others, which wait if
// they come before it.
extension Core {
  mutating func judgeFragment(_ packet: Packet) {
    guard mayHaveSession(packet) else {
      return interfaces[packet.ingress].isOutside ? refuseTransit(packet) : route(packet)
    }
    let key = FragmentTable.key(packet.header, scope: packet.slot.pointee.ingress)
    let known = fragments.find(key, at: clock.now)
    let isFirst = packet.header.fragmentOffset == 0
    if let known {
      if fragments[known].state == .refused { return settle(packet.slot, fragments[known].reason) }
      switch note(packet, known) {
      case .overlapping: return drop(packet.slot, .fragmentOverlap)
      case .tooMany: return drop(packet.slot, .fragmentLimit)
      case .repeated where fragments[known].state == .waiting: return drop(packet.slot, .fragmentOverlap)
      default: break
      }
      if isFirst { return judgeFirst(packet, known, key) }
      if fragments[known].state == .translated { return sendPiece(packet, known) }
      return holdPiece(packet, known)
    }
    if isFirst { return judgeFirst(packet, nil, key) }
    guard makeRoom(for: 0), let made = insert(key) else { return drop(packet.slot, .fragmentLimit) }
    _ = note(packet, made)
    holdPiece(packet, made)
  }

  /// False for what is only routed, or goes nowhere, whatever its ports are.
  func mayHaveSession(_ packet: Packet) -> Bool {
    let destination = packet.header.destination
    if outsideAddresses[destination] != nil { return true }
    if interfaces[packet.ingress].isOutside { return rules.hasExceptions }
    if insideAddresses[destination] != nil { return true }
    return routes.find(packet.destination).map { interfaces[$0.interface].isOutside } ?? false
  }

  private func note(_ packet: Packet, _ place: UInt16) -> FragmentTable.Piece {
    fragments.note(place, offset: packet.header.fragmentOffset, length: packet.transportLength)
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
    let place = fragments.find(key, at: clock.now)
    if let place, fragments[place].state == .translated {
      if known == nil { _ = note(packet, place) }
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
    let known = fragments.find(key, at: clock.now)
    let isNew = known.map { fragments[$0].state != .translated } ?? true
    let place = fragments.prove(known, key, due: clock.now &+ timeouts.fragment)
    if isNew {
      fragments[place].identification = newIdentification(packet.header, flow)
      fragments[place].ports = packet.key.rest
    }
    fragments[place].flow = flow
    fragments[place].identity = flows.sessions.common(flow &>> 1).identity
    packet.header.identify(fragments[place].identification)
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
    let reason = translatePiece(packet.header, fragments[place], &adjacency)
    guard reason == .none else { return drop(packet.slot, reason) }
    deliver(packet, over: adjacency, nil)
  }

  /// Rewrites a piece as its first one was. Returns why it cannot go, and has then changed nothing.
  private mutating func translatePiece(_ header: IPv4Header, _ entry: FragmentEntry, _ adjacency: inout UInt16)
    -> DropReason
  {
    let session = entry.flow &>> 1
    guard flows.sessions.common(session).identity == entry.identity, reviewed(session) else { return .fragment }
    guard header.ttl > 1 else { return .ttlExceeded }
    guard let found = settleAdjacency(entry.flow) else { return .noRoute }
    guard header.totalLength <= Int(adjacencies[found].mtu) || !header.dontFragment else { return .fragmentationNeeded }
    adjacency = found
    let line = flows.sessions.flow(entry.flow)
    if line.keepsSession { line.lastSeen = clock.tickUp }
    line.count(bytes: header.totalLength)
    header.identify(entry.identification)
    Rewrite.applyAddresses(line, header)
    return .none
  }

  // MARK: Waiting

  private mutating func insert(_ key: FlowKey) -> UInt16? {
    let due = Clock.roundUp(clock.now &+ timeouts.fragment)
    let place = fragments.insert(key, due: due)
    setFragmentTimer()
    return place
  }

  /// Room for another unproven datagram, or for `bytes` of a piece. False where the one that wants it would have to give
  /// way itself.
  private mutating func makeRoom(for bytes: Int, of own: UInt16 = 0) -> Bool {
    for _ in 0..<8 {
      if bytes == 0 ? !fragments.isUnprovenFull : fragmentHolds.canAllocate(length: bytes) { return true }
      let victim = fragments.victim
      guard victim != 0, victim != own else { return false }
      dropPieces(victim, .fragmentLimit)
      fragments.remove(victim)
    }
    return false
  }

  private mutating func holdPiece(_ packet: Packet, _ place: UInt16) {
    // It would go nowhere in any case.
    guard packet.header.ttl > 1 else { return drop(packet.slot, .ttlExceeded) }
    let length = packet.totalLength
    guard makeRoom(for: length, of: place), let held = fragmentHolds.allocate(length: length) else {
      return drop(packet.slot, .fragmentLimit)
    }
    var frame = HeldFrame(length: UInt32(truncatingIfNeeded: length))
    frame.ingress = packet.slot.pointee.ingress
    frame.priority = packet.priority
    frame.isReceived = true
    frame.ticket = packet.slot.pointee.ticket
    fragmentHolds[held] = frame
    fragmentHolds.bytes(held).copyMemory(from: packet.header.start, byteCount: length)
    if fragments[place].heldHead == 0 {
      fragments[place].heldHead = held
    } else {
      fragmentHolds[fragments[place].heldTail].next = held
    }
    fragments[place].heldTail = held
    fragments.countHeld(place, 1)
    packet.slot.pointee.verdict = .hold
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
    let header = IPv4Header(fragmentHolds.bytes(held))
    var adjacency: UInt16 = 0
    let reason = translatePiece(header, entry, &adjacency)
    guard reason == .none else { return dropPiece(held, reason) }
    guard canSend(adjacency) else { return wait(held, adjacency) }
    guard
      emit(
        header.start, length: Int(frame.length), offload: OffloadHeader(), over: adjacency, priority: frame.priority,
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

  private mutating func dropPieces(_ place: UInt16, _ reason: DropReason) {
    while let held = takePiece(place) { dropPiece(held, reason) }
  }

  private mutating func dropPiece(_ held: UInt16, _ reason: DropReason) {
    let ingress = fragmentHolds[held].ingress
    counters.words[Int(ingress) &* Counters.row &+ Counters.held] &-= 1
    if reason == .none { counters.add(ingress, Counters.passed) } else { counters.drop(ingress, reason) }
    fragmentHolds.free(held)
  }

  private mutating func settle(_ slot: UnsafeMutablePointer<FrameSlot>, _ reason: DropReason) {
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
