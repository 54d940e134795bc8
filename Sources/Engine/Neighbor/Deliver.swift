// The last step of every frame: over an adjacency, at once or when its next hop has answered.
extension Core {
  /// Requests are sent at 0, 1 and 2 s; at 3 s the next hop has failed.
  private static let asks: UInt8 = 3
  private static let askInterval: UInt64 = 1_000_000_000
  /// How long an answer is good for: 60 s.
  private static let freshTicks: UInt32 = 600

  // MARK: Finding adjacencies

  /// The adjacency of a next hop, made if there is none yet; nil where the table is full.
  mutating func adjacency(to hop: RouteTable.Hop) -> UInt16? {
    let interface = interfaces[hop.interface]
    let egress = UInt16(truncatingIfNeeded: hop.interface)
    // A link without addresses has one adjacency for all its next hops.
    let isPlain = interface.isRawIP
    let address = isPlain ? 0 : hop.address.wire
    if let found = adjacencies.find(egress: egress, address: address) { return found }
    return locked { $0.insertAdjacency(egress, address, interface, isPlain: isPlain) }
  }

  private mutating func insertAdjacency(
    _ egress: UInt16, _ address: UInt32, _ interface: Interface, isPlain: Bool
  ) -> UInt16? {
    // Another worker may have come first.
    if let found = adjacencies.find(egress: egress, address: address) { return found }
    let made =
      adjacencies.insert(egress: egress, address: address, mtu: interface.mtu, header: interface.header)
      ?? (reclaimAdjacencies()
        ? adjacencies.insert(egress: egress, address: address, mtu: interface.mtu, header: interface.header) : nil)
    guard let made else { return nil }
    if isPlain { adjacencies[made].state = AdjacencyState.permanent }
    return made
  }

  /// Makes room among 65,535 neighbours. Rare, so it may walk all sessions: none of them counts its users.
  ///
  /// With several workers nothing is taken back: another one may be about to give a session an adjacency that it has
  /// just found.
  mutating func reclaimAdjacencies() -> Bool {
    guard isAlone, adjacencies.reclaim(at: clock.tick) else { return false }
    for flow in 2..<max(2, flows.sessions.highWater &<< 1) {
      let line = flows.sessions.flow(flow)
      if adjacencies[line.adjacency].state == AdjacencyState.free { line.adjacency = 0 }
    }
    return true
  }

  /// A flow's adjacency, looked up the first time that it is needed: replies leave by the interface of arrival.
  mutating func settleAdjacency(_ flow: UInt32) -> UInt16? {
    let line = flows.sessions.flow(flow)
    if line.adjacency != 0 { return line.adjacency }
    let egress = Int(flows.sessions.flow(flow ^ 1).key.scope)
    guard let hop = routes.find(IPv4Address(wire: line.newDestination), over: egress), let found = adjacency(to: hop)
    else { return nil }
    line.adjacency = found
    return found
  }

  /// Gives a new session's replies their adjacency if it is known, so that the first of them is the burst loop's. None is
  /// made for it: a source that nobody answers to is no neighbour.
  func foreseeReplies(_ session: UInt32) {
    let reply = flows.sessions.flow(session &<< 1 | 1)
    let egress = Int(flows.sessions.flow(session &<< 1).key.scope)
    guard let hop = routes.find(IPv4Address(wire: reply.newDestination), over: egress) else { return }
    let address = interfaces[egress].isRawIP ? 0 : hop.address.wire
    reply.adjacency = adjacencies.find(egress: UInt16(truncatingIfNeeded: egress), address: address) ?? 0
  }

  // MARK: Sending

  /// Sends a received frame, rewritten already, or holds it. `untranslated` lets its sender be told if that fails.
  mutating func deliver(_ packet: Packet, over place: UInt16, _ untranslated: Untranslated?) {
    guard canSend(place) else {
      return hold(
        packet.slot, packet.header.start, length: packet.totalLength, network: packet.network,
        priority: packet.priority, place, untranslated)
    }
    guard packet.wireLength <= Int(adjacencies[place].mtu) else { return split(packet, place) }
    handOver(
      packet.slot, packet.header.start, length: packet.totalLength, network: packet.network, priority: packet.priority,
      place)
  }

  /// Puts the link header before a datagram that goes out in its own frame. `network` is where it stands in that.
  mutating func handOver(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ ip: UnsafeMutableRawPointer, length total: Int, network: Int,
    priority: UInt16, _ place: UInt16
  ) {
    let adjacency = adjacencies[place]
    let length = Int(adjacency.headerLength)
    guard length <= network &+ Int(slot.pointee.headroom) else { return drop(slot, .outboxFull) }
    let start = adjacency.writeHeader(before: ip, priority: priority)
    slot.pointee.offload = Offload.shifted(slot.pointee.offload, by: length &- network)
    slot.pointee.headroom = UInt16(truncatingIfNeeded: Int(slot.pointee.headroom) &+ network &- length)
    slot.pointee.bytes = start
    slot.pointee.length = UInt32(truncatingIfNeeded: length &+ total)
    slot.pointee.egress = adjacency.egress
    slot.pointee.verdict = .forward
    counters.add(slot.pointee.ingress, Counters.forwarded)
  }

  private mutating func split(_ packet: Packet, _ place: UInt16) {
    let isSent = emit(
      packet.header.start, length: packet.totalLength,
      offload: Offload.shifted(packet.slot.pointee.offload, by: -packet.network), over: place,
      priority: packet.priority, ticket: packet.slot.pointee.ticket)
    guard isSent else { return drop(packet.slot, .outboxFull) }
    packet.slot.pointee.verdict = .split
    packet.slot.pointee.egress = adjacencies[place].egress
    counters.add(packet.slot.pointee.ingress, Counters.forwarded)
  }

  /// Sends a datagram that we made, from the outbox's own room, or holds it.
  mutating func sendMade(_ ip: UnsafeMutableRawPointer, length: Int, over place: UInt16) {
    if canSend(place) {
      if emit(ip, length: length, offload: OffloadHeader(), over: place, priority: 0) {
        counters.add(adjacencies[place].egress, Counters.generated)
      }
      return
    }
    locked { core in
      guard let held = core.holds.allocate(length: length) else { return }
      core.holds[held] = HeldFrame(length: UInt32(truncatingIfNeeded: length))
      core.holds.bytes(held).copyMemory(from: ip, byteCount: length)
      core.enqueue(held, place)
    }
  }

  /// Puts a datagram into the outbox with its link header, in pieces if it is larger than the MTU; IPv6 is never cut on its
  /// way (RFC 8200 section 5), and its size has been seen to before. It needs headroom.
  /// False, and nothing sent, where there is no room for all of it.
  mutating func emit(
    _ ip: UnsafeMutableRawPointer, length: Int, offload: OffloadHeader, over place: UInt16, priority: UInt16,
    ticket: UInt32 = 0
  ) -> Bool {
    let adjacency = adjacencies[place]
    let header = IPv4Header(ip)
    let mark = outbox.mark
    outbox.ticket = ticket
    defer { outbox.ticket = 0 }
    let isSent: Bool
    if adjacency.isIPv6 {
      isSent = outbox.add(adjacency, ip, length: length, offload: offload, priority: priority, time: clock.now)
    } else if offload.segmentation != 0, Offload.wireLength(offload, header) > Int(adjacency.mtu) {
      isSent = emitSegments(header, length: length, offload: offload, over: adjacency, priority: priority)
    } else if offload.segmentation == 0, length > Int(adjacency.mtu) {
      isSent = Fragmenter.split(
        header, length: length, offload: offload, over: adjacency, priority: priority, time: clock.now, into: &outbox)
    } else {
      isSent = outbox.add(adjacency, ip, length: length, offload: offload, priority: priority, time: clock.now)
    }
    if !isSent { outbox.rewind(to: mark) }
    return isSent
  }

  /// A super-frame whose segments are too big for the link and may be cut: segments first, then each in pieces, with an
  /// identification of its own (RFC 791 section 3.2).
  private mutating func emitSegments(
    _ header: IPv4Header, length: Int, offload: OffloadHeader, over adjacency: Adjacency, priority: UInt16
  ) -> Bool {
    var segments = Segments(header, length: length, offload)
    let base = UInt16(bigEndian: header.identification)
    let ports = UInt64(header.payload.raw16(0)) &<< 16
    while let count = segments.nextLength {
      guard let ip = outbox.room(for: count) else { return false }
      let number = UInt16(truncatingIfNeeded: segments.index)
      segments.write(at: ip)
      let key = FlowKey(
        addresses: ip.raw64(IPv4Header.sourceOffset), ports: UInt64((base &+ number).bigEndian) | ports, scope: .max,
        ipProtocol: header.ipProtocol)
      // The first one has the super-frame's own, which is its sender's alone already.
      if number > 0 {
        IPv4Header(ip).identify(
          identifications.assign(key, leavingAs: key.addresses, at: clock.tick, window: timeouts.identification))
      }
      let isSent = Fragmenter.split(
        IPv4Header(ip), length: count, offload: OffloadHeader(), over: adjacency, priority: priority, time: clock.now,
        into: &outbox)
      guard isSent else { return false }
    }
    return true
  }

  // MARK: Asking

  /// True where the link address is known. One that has grown old is used on while it is asked for again.
  mutating func canSend(_ place: UInt16) -> Bool {
    if adjacencies[place].isReady(at: clock.tick) { return true }
    return locked { $0.canSendUnready(place) }
  }

  private mutating func canSendUnready(_ place: UInt16) -> Bool {
    let adjacency = adjacencies[place]
    if adjacency.isReady(at: clock.tick) { return true }
    switch adjacency.state {
    case AdjacencyState.resolved:
      ask(place, AdjacencyState.probing)
      return true
    case AdjacencyState.probing: return true
    // This worker's own outbox keeps the order.
    case AdjacencyState.asking where releases.contains(place): return true
    case AdjacencyState.unknown:
      ask(place, AdjacencyState.asking)
      return false
    default: return false
    }
  }

  private mutating func ask(_ place: UInt16, _ state: UInt8) {
    let adjacency = adjacencies[place]
    adjacency.state = state
    adjacency.asks = 1
    adjacency.askedSince = clock.now
    request(place)
    scheduleAsk(place)
  }

  private mutating func scheduleAsk(_ place: UInt16) {
    _ = timers.add(at: nextAsk(adjacencies[place]), .neighbor, UInt32(place))
  }

  private func nextAsk(_ adjacency: Adjacency) -> UInt64 {
    adjacency.askedSince &+ UInt64(adjacency.asks) &* Self.askInterval
  }

  mutating func neighborTimer(_ place: UInt16) { locked { $0.neighborIsDue(place) } }

  private mutating func neighborIsDue(_ place: UInt16) {
    let adjacency = adjacencies[place]
    guard adjacency.state == AdjacencyState.asking || adjacency.state == AdjacencyState.probing,
      // A timer of an earlier round, which was answered.
      Clock.roundUp(nextAsk(adjacency)) == clock.now
    else { return }
    guard adjacency.asks == Self.asks else {
      adjacency.asks &+= 1
      request(place)
      return scheduleAsk(place)
    }
    adjacency.state = AdjacencyState.unknown
    counters.add(.neighborFailed)
    giveUp(place)
  }

  /// A next hop has told its link address.
  ///
  /// With several workers it counts as known only when what waited has been sent: until then the others' frames wait
  /// behind it, so that none overtakes one of its own flow (G6).
  mutating func resolve(_ place: UInt16, _ mac: UInt64) { locked { $0.learnLinkAddress(place, mac) } }

  private mutating func learnLinkAddress(_ place: UInt16, _ mac: UInt64) {
    let adjacency = adjacencies[place]
    guard adjacency.state != AdjacencyState.permanent else { return }
    if !adjacency.hasLinkAddress { counters.add(.neighborResolved) }
    adjacencies.setLinkAddress(place, mac)
    adjacency.freshUntil = clock.tickUp &+ Self.freshTicks
    if !isAlone, adjacency.state == AdjacencyState.asking, adjacency.holdCount > 0, releases.add(place) {
      // Its timers mean nothing any more.
      adjacency.asks = 0
      release(place)
      return
    }
    adjacency.state = AdjacencyState.resolved
    release(place)
  }

  /// The outbox with what waited has been sent: now the others may send too, unless more has come to wait.
  mutating func finishReleases() {
    locked { core in
      var place = core.releases.first
      while let next = place {
        let adjacency = core.adjacencies[next]
        if adjacency.state != AdjacencyState.asking {
          core.releases.remove(next)
        } else if adjacency.holdCount == 0 {
          adjacency.state = AdjacencyState.resolved
          core.releases.remove(next)
        } else {
          core.release(next)
        }
        place = core.releases.next(after: next)
      }
    }
  }

  // MARK: Holding

  /// Copies a datagram, rewritten already, to wait for its next hop. `network` is where it stands in its frame.
  mutating func hold(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ ip: UnsafeMutableRawPointer, length: Int, network: Int,
    priority: UInt16, _ place: UInt16, _ untranslated: Untranslated?
  ) {
    locked { $0.holdNow(slot, ip, length: length, network: network, priority: priority, place, untranslated) }
  }

  private mutating func holdNow(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ ip: UnsafeMutableRawPointer, length: Int, network: Int,
    priority: UInt16, _ place: UInt16, _ untranslated: Untranslated?
  ) {
    guard let held = holds.allocate(length: length) else { return drop(slot, .neighborQueueFull) }
    var frame = HeldFrame(length: UInt32(truncatingIfNeeded: length))
    frame.ingress = slot.pointee.ingress
    frame.priority = priority
    frame.isReceived = true
    frame.ticket = slot.pointee.ticket
    frame.offload = Offload.shifted(slot.pointee.offload, by: -network)
    frame.untranslated = untranslated
    holds[held] = frame
    holds.bytes(held).copyMemory(from: ip, byteCount: length)
    slot.pointee.verdict = .hold
    counters.add(frame.ingress, Counters.held)
    enqueue(held, place)
  }

  /// Puts a frame at the end of a next hop's queue; the oldest gives way where it is full.
  mutating func enqueue(_ held: UInt16, _ place: UInt16) {
    let adjacency = adjacencies[place]
    if adjacency.holdCount == HoldPool.perNeighbor, let oldest = dequeue(place) {
      dropHeld(oldest, .neighborQueueFull)
      holds.free(oldest)
    }
    holds[held].next = 0
    if adjacency.holdHead == 0 { adjacency.holdHead = held } else { holds[adjacency.holdTail].next = held }
    adjacency.holdTail = held
    adjacency.holdCount &+= 1
  }

  private func dequeue(_ place: UInt16) -> UInt16? {
    let adjacency = adjacencies[place]
    let first = adjacency.holdHead
    guard first != 0 else { return nil }
    adjacency.holdHead = holds[first].next
    adjacency.holdCount &-= 1
    return first
  }

  private func dropHeld(_ held: UInt16, _ reason: DropReason) {
    guard holds[held].isReceived else { return }
    counters.words[Int(holds[held].ingress) &* Counters.row &+ Counters.held] &-= 1
    counters.drop(holds[held].ingress, reason)
  }

  /// Sends what waited, in order.
  private mutating func release(_ place: UInt16) {
    while let held = dequeue(place) {
      let frame = holds[held]
      let isSent = emit(
        holds.bytes(held), length: Int(frame.length), offload: frame.offload, over: place, priority: frame.priority,
        ticket: frame.ticket)
      if !isSent {
        dropHeld(held, .outboxFull)
      } else if frame.isReceived {
        counters.words[Int(frame.ingress) &* Counters.row &+ Counters.held] &-= 1
        counters.add(frame.ingress, Counters.forwarded)
      } else {
        counters.add(adjacencies[place].egress, Counters.generated)
      }
      leaving.add(held)
    }
  }

  /// The next hop did not answer: inside senders are told (RFC 1812 section 3.3.2).
  private mutating func giveUp(_ place: UInt16) {
    while let held = dequeue(place) {
      let frame = holds[held]
      dropHeld(held, .noNeighbor)
      if let untranslated = frame.untranslated, !interfaces[Int(frame.ingress)].isOutside {
        if adjacencies[place].isIPv6 {
          let header = IPv6Header(holds.bytes(held))
          untranslated.restore(header)
          report(header, length: Int(frame.length), on: Int(frame.ingress), .unreachable(code: 3))
          holds.free(held)
          continue
        }
        let header = IPv4Header(holds.bytes(held))
        untranslated.restore(header)
        report(header, length: Int(frame.length), on: Int(frame.ingress), .unreachable(code: 1))
      }
      holds.free(held)
    }
  }
}
