/// What a key stands for under the current rules.
enum Standing {
  case none
  case live(UInt32)
  /// A TCP session that was cut: its mark, which holds both directions up until it expires or a new connection begins.
  case cut(UInt32)
}

/// The way of the background pass through both tables after the rules were replaced.
struct ReviewPass {
  var session: UInt32 = 1
  var mapping: UInt32 = 1
  /// Places still to be visited.
  var sessionsLeft: UInt32 = 0
  var mappingsLeft: UInt32 = 0
}

// Every session carries the generation of the rules it was last found right under. One of an earlier generation is
// reviewed before it is used again: by its next packet, by whoever lists sessions, or by a pass that goes once through
// the tables. So a change of the rules holds from the moment they are replaced, however many sessions there are.
extension Core {
  /// Generations are compared by signed difference: another worker may be ahead.
  private func isStale(_ generation: UInt16) -> Bool { Int16(bitPattern: generation &- self.generation) < 0 }

  func isStale(session: UInt32) -> Bool { isStale(flows.sessions.flow(session &<< 1).planGeneration) }

  /// Alive by the clock and by the rules, whether reviewed or not.
  func isLive(_ session: UInt32) -> Bool {
    guard flows.sessions.isLive(session, at: clock.tick) else { return false }
    guard isStale(session: session) else { return true }
    if case .kept = rules.fate(of: session, in: flows) { return true }
    return false
  }

  /// What made it, or would make it now.
  func origin(_ session: UInt32) -> Origin {
    if isStale(session: session), case .kept(let origin) = rules.fate(of: session, in: flows) { return origin }
    return flows.sessions.common(session).origin
  }

  /// Number of live sessions; walks the whole table.
  var liveSessions: Int {
    var count = 0
    var session: UInt32 = 1
    while session < flows.sessions.highWater {
      if isLive(session) { count &+= 1 }
      session &+= 1
    }
    return count
  }

  /// The flow that a packet with this key belongs to.
  mutating func standing(of key: FlowKey) -> Standing {
    guard var flow = flows.find(key, at: clock.tick) else { return .none }
    let state = flows.sessions.common(flow &>> 1).state
    // One that another worker is just making has the state free.
    if state != SessionState.cut, state != SessionState.free, isStale(session: flow &>> 1) {
      review(session: flow &>> 1)
      guard let found = flows.find(key, at: clock.tick) else { return .none }
      flow = found
    }
    return flows.sessions.common(flow &>> 1).state == SessionState.cut ? .cut(flow) : .live(flow)
  }

  /// Like `standing`, where only a live session matters; a mark in the way is taken out.
  mutating func isTaken(_ key: FlowKey) -> Bool {
    switch standing(of: key) {
    case .none: return false
    case .live: return true
    case .cut(let flow):
      flows.remove(flow &>> 1)
      return false
    }
  }

  // MARK: Review

  /// Reviews a session where that is due. True where it is alive then.
  mutating func reviewed(_ session: UInt32) -> Bool {
    guard flows.sessions.isLive(session, at: clock.tick) else { return false }
    guard isStale(session: session) else { return true }
    review(session: session)
    return flows.sessions.isLive(session, at: clock.tick)
  }

  /// Brings a session of an earlier generation up to the current rules, or ends it.
  mutating func review(session: UInt32) {
    switch rules.fate(of: session, in: flows) {
    case .kept(let origin): confirm(session, origin)
    case .retargeted:
      if flows.end(session, leavesMark: false, timeout: 0, at: clock.tickUp) { counters.add(.sessionRetargeted) }
    case .cut: cut(session)
    }
  }

  /// Ends a session at once. A TCP session leaves a mark, so that what its ends still send can begin nothing.
  mutating func cut(_ session: UInt32) {
    let isTCP = FlowKind.isTCP(flows.sessions.flow(session &<< 1).kind)
    if flows.end(session, leavesMark: isTCP, timeout: timeouts.tcp.reset, at: clock.tickUp) {
      counters.add(.sessionCut)
    }
  }

  private func confirm(_ session: UInt32, _ origin: Origin) {
    let common = flows.sessions.common(session)
    let original = flows.sessions.flow(session &<< 1)
    let timeouts = timeouts(of: origin)
    let timeout = common.setTimeout { timeouts.idle(kind: original.kind, key: original.key, state: $0) }
    common.origin = origin
    for flow in [original, flows.sessions.flow(session &<< 1 | 1)] {
      flow.keepsSession = true
      flow.timeout = original.kind == FlowKind.helped ? FlowLine.never : timeout
      // Routes may have changed: looked up again when it is needed.
      flow.adjacency = 0
      flow.planGeneration = generation
    }
    letAsk(original)
    let egress = flows.sessions.flow(session &<< 1 | 1).key.scope
    if original.kind == FlowKind.helped, rules.helper(origin, from: original.key.scope, to: egress) == nil {
      flows.helper(session).stop()
    }
    limitRefresh(session, original.kind, origin)
  }

  /// Brings a mapping up to the current rules. False where it is gone.
  mutating func review(mapping: UInt32) -> Bool {
    let line = flows.mappings[mapping]
    guard isStale(line.planGeneration) else { return true }
    guard rules.isValid(line) else {
      cut(mapping: mapping)
      return false
    }
    // What its sessions permit (filtering) must be true under the current rules too.
    var session = flows.firstSession(mapping)
    while session != 0 {
      let next = flows.nextSession(session)
      if isStale(session: session) { review(session: session) }
      session = next
    }
    guard line.state != MappingState.free else { return false }
    line.planGeneration = generation
    return line.state == MappingState.live
  }

  /// Ends a mapping with every session that it has, or that goes to it; its port is free at once.
  mutating func cut(mapping: UInt32) {
    let line = flows.mappings[mapping]
    var session = flows.firstSession(mapping)
    while session != 0 {
      let next = flows.nextSession(session)
      cut(session)
      session = next
    }
    if line.state == MappingState.live {
      // Hairpin sessions to a mapping are in no list: there are few, and this is rare.
      for session in 1..<max(1, flows.sessions.highWater)
      where flows.sessions.common(session).state != SessionState.free
        && flows.sessions.common(session).pinned == mapping
      {
        cut(session)
      }
    }
    flows.endUnused(mapping)
  }

  /// The live mapping that owns an outside endpoint under the current rules.
  mutating func mapping(outside address: UInt32, _ port: UInt16, _ ipProtocol: UInt8) -> UInt32? {
    guard let mapping = flows.mapping(outside: address, port, ipProtocol, at: clock.tick) else { return nil }
    return review(mapping: mapping) ? mapping : nil
  }

  /// The live mapping of an inside endpoint under the current rules, with one user more.
  mutating func useMapping(inside key: FlowKey) -> UInt32? {
    guard let mapping = flows.use(inside: key, at: clock.tick) else { return nil }
    if review(mapping: mapping) { return mapping }
    flows.letGo(mapping)
    flows.endUnused(mapping)
    return nil
  }

  // MARK: The pass

  /// Goes on through the tables by as much as `ticks` are worth: once through in the time of a sweep.
  mutating func reviewSome(ticks: UInt32) {
    guard pass.sessionsLeft > 0 || pass.mappingsLeft > 0 else { return }
    let share = min(ticks, Flows.sweepTicks)
    var count = min(pass.sessionsLeft, (flows.sessions.highWater / Flows.sweepTicks &+ 1) &* share)
    pass.sessionsLeft &-= count
    while count > 0 {
      if pass.session >= flows.sessions.highWater { pass.session = 1 }
      if pass.session < flows.sessions.highWater { reviewPlace(pass.session) }
      pass.session &+= 1
      count &-= 1
    }
    count = min(pass.mappingsLeft, (flows.mappings.highWater / Flows.sweepTicks &+ 1) &* share)
    pass.mappingsLeft &-= count
    while count > 0 {
      if pass.mapping >= flows.mappings.highWater { pass.mapping = 1 }
      let isUsed = pass.mapping < flows.mappings.highWater && flows.mappings[pass.mapping].state != MappingState.free
      if isUsed { _ = review(mapping: pass.mapping) }
      pass.mapping &+= 1
      count &-= 1
    }
  }

  /// All of it at once: before generations come round again.
  mutating func reviewAll() {
    for session in 1..<max(1, flows.sessions.highWater) { reviewPlace(session) }
    for mapping in 1..<max(1, flows.mappings.highWater) where flows.mappings[mapping].state != MappingState.free {
      _ = review(mapping: mapping)
    }
  }

  private mutating func reviewPlace(_ session: UInt32) {
    let state = flows.sessions.common(session).state
    guard state != SessionState.free, state < SessionState.cut, isStale(session: session) else { return }
    if flows.sessions.isExpired(session, at: clock.tick) {
      flows.expire(session, at: clock.tick)
    } else {
      review(session: session)
    }
  }

  // MARK: What is cut

  /// A packet of a session that was cut: its sender is told by a reset, and sends no more.
  mutating func refuseCut(_ packet: Packet) {
    reset(packet)
    drop(packet.slot, .sessionCut)
  }
}
