// Triggers: what inside hosts send opens ports from outside to them, for a while.
//
// An opening is one word: who has it, and when that host last asked. New sessions write it (`ask`). What established ones
// send goes by the burst loop, so at its end, and only then, an opening is held against the host's sessions (`settle`).
// One that is over has every session that may ask again go by the slow path with its next packet, which opens it anew.
extension Core {
  private func deadline(_ opening: Opening, _ trigger: Int) -> UInt32 {
    opening.lastAsked &+ flows.openings.askings[trigger].duration
  }

  // MARK: From inside

  /// A session's first direction has carried a packet: it opens what it asks for, or keeps it open.
  ///
  /// Only a new session takes a trigger away from another host, else two that both send would have it in turns.
  mutating func ask(by flow: UInt32) {
    let line = flows.sessions.flow(flow)
    var next = flows.openings.trigger(from: 0, askedBy: line)
    if next != nil { line.planGeneration = generation }
    while let trigger = next {
      ask(trigger, for: line.key.source, isNew: line.packets == 0)
      next = flows.openings.trigger(from: trigger &+ 1, askedBy: line)
    }
  }

  private mutating func ask(_ trigger: Int, for host: UInt32, isNew: Bool) {
    while true {
      if flows.openings.renew(trigger, for: host, at: clock.tickUp) { return }
      let before = standing(trigger)
      if !before.isClosed {
        guard isNew else { return }
        guard plan.triggers[trigger].conflict == .steal else { return counters.add(.triggerRefused) }
      }
      let opening = Opening(owner: host, lastAsked: clock.tickUp)
      guard flows.openings.exchange(trigger, before, opening) else { continue }
      counters.add(before.isClosed ? .triggerOpened : .triggerStolen)
      return arm(trigger)
    }
  }

  /// Whether an inside host may send from a port of its own that triggers open: while it has the trigger, or by what gets
  /// it the trigger.
  ///
  /// - Parameter index: of the masquerade; nil where none applies.
  mutating func mayKeep(_ draft: Draft, at address: UInt32, _ index: Int?) -> Bool {
    let key = draft.key
    guard let trigger = rules.triggers.find(address, key.ipProtocol, key.sourcePort) else { return false }
    let opening = standing(trigger)
    if opening.owner == key.source { return true }
    let rule = plan.triggers[trigger]
    guard let index, rule.from == masquerades[index].from, opening.isClosed || rule.conflict == .steal else {
      return false
    }
    return rule.isAsked(by: key.ipProtocol, key.destinationPort)
  }

  /// A session that may ask for a trigger does so with its next packet, by the slow path.
  func letAsk(_ original: FlowLine) {
    if !flows.openings.isEmpty, flows.openings.trigger(from: 0, askedBy: original) != nil {
      original.planGeneration = generation &- 1
    }
  }

  // MARK: From outside

  /// The inside host that an outside endpoint is open for, and by which trigger.
  mutating func opened(_ key: FlowKey) -> (trigger: Int, host: UInt32)? {
    guard let trigger = rules.triggers.find(key.destination, key.ipProtocol, key.destinationPort) else { return nil }
    let opening = standing(trigger)
    guard !opening.isClosed,
      rules.serves(trigger, opening.owner, at: key.destination, flows.sessions.secret)
    else { return nil }
    return (trigger, opening.owner)
  }

  // MARK: Its end

  /// The opening as it is now; one that seems to be over is held against the sessions first.
  private mutating func standing(_ trigger: Int) -> Opening {
    while true {
      let opening = flows.openings[trigger]
      if opening.isClosed || flows.openings.isOpen(opening, trigger, at: clock.tick) { return opening }
      settle(trigger, opening)
    }
  }

  /// Renews an opening by what its owner's sessions have sent since, or closes it.
  private mutating func settle(_ trigger: Int, _ opening: Opening) {
    var renewed = opening
    eachAsking(from: trigger) { line, asked in
      guard asked == trigger else { return }
      // First this: what it sends from now on is seen, what it has sent before is told by its line.
      letAsk(line)
      renewed.follow(line)
    }
    let isOpen = flows.openings.isOpen(renewed, trigger, at: clock.tick)
    _ = flows.openings.exchange(trigger, opening, isOpen ? renewed : .closed)
    if isOpen { arm(trigger) }
  }

  /// Calls `body` for each session that asks for a trigger; walks the whole session table.
  private func eachAsking(from first: Int, _ body: (_ original: FlowLine, _ trigger: Int) -> Void) {
    var session: UInt32 = 1
    while session < flows.sessions.highWater {
      let line = flows.sessions.flow(session &<< 1)
      let state = flows.sessions.common(session).state
      session &+= 1
      // A mark's line says when it was cut.
      if state == SessionState.free || state == SessionState.cut || state == SessionState.leaving { continue }
      var next = flows.openings.trigger(from: first, askedBy: line)
      while let trigger = next {
        body(line, trigger)
        next = flows.openings.trigger(from: trigger &+ 1, askedBy: line)
      }
    }
  }

  /// Has a timer look at an opening when it seems to be over.
  private mutating func arm(_ trigger: Int) {
    let opening = flows.openings[trigger]
    guard !opening.isClosed else { return }
    let place = flows.openings.places[trigger]
    let due = clock.time(of: deadline(opening, trigger))
    guard armed[place] == 0 || due < armed[place] else { return }
    if timers.add(at: due, .trigger, UInt32(truncatingIfNeeded: place)) { armed[place] = due }
  }

  /// - Parameter due: one that is not the place's last has been replaced by an earlier one.
  mutating func triggerTimer(_ place: UInt32, due: UInt64) {
    guard armed[Int(place)] == due else { return }
    armed[Int(place)] = 0
    guard let trigger = flows.openings.places.firstIndex(of: Int(place)) else { return }
    _ = standing(trigger)
    arm(trigger)
  }

  // MARK: Other rules, another engine

  /// Follows the triggers of the current rules: those that are the same stay open, all others begin closed.
  mutating func exchangeTriggers() {
    // What all workers share, the first one settles.
    if flows.worker == 0 {
      flows.openings.assign(rules.triggers.askings)
    } else {
      flows.openings.follow(rules.triggers.askings)
    }
    for trigger in flows.openings.places.indices {
      _ = standing(trigger)
      arm(trigger)
    }
  }

  /// Takes over what is open. The sessions have been taken over before: the openings are held against them.
  ///
  /// - Parameter shift: from the other engine's ticks to ours.
  mutating func adoptOpenings(_ saved: Openings, shift: UInt32) {
    for (trigger, asking) in flows.openings.askings.enumerated() {
      guard let old = saved.saved(asking.key) else { continue }
      let last = old.lastAsked &+ shift
      guard routes.find(IPv4Address(wire: old.owner))?.interface == Int(asking.interface),
        Int32(bitPattern: last &- clock.tickUp) <= 1
      else { continue }
      _ = flows.openings.exchange(trigger, .closed, Opening(owner: old.owner, lastAsked: last))
      _ = standing(trigger)
      arm(trigger)
    }
  }
}

extension Rules {
  /// Whether a host is known to the outside by this address (raw), and reached where the trigger's hosts are.
  func serves(_ trigger: Int, _ host: UInt32, at address: UInt32, _ secret: HashSecret) -> Bool {
    let from = plan.triggers[trigger].from
    guard let index = masquerade(from: from, as: address) else { return false }
    return masquerades[index].address(of: host, secret) == address
      && routes.find(IPv4Address(wire: host))?.interface == from
  }
}

/// What a trigger has open, for people and tools.
public struct OpeningReport: Sendable, Equatable {
  public var owner: IPv4Address
  /// Nanoseconds until it closes if the owner asks no more.
  public var remaining: UInt64

  public init(owner: IPv4Address, remaining: UInt64) {
    self.owner = owner
    self.remaining = remaining
  }
}

extension Forwarder {
  /// What each trigger of the plan has open; nil for those that are closed. Walks the session table.
  public var openings: [OpeningReport?] { core.pointee.openings }
}

extension Core {
  /// By the clock, with nothing changed.
  var openings: [OpeningReport?] {
    var openings = flows.openings.places.indices.map { flows.openings[$0] }
    if openings.contains(where: { !$0.isClosed }) {
      eachAsking(from: 0) { line, trigger in openings[trigger].follow(line) }
    }
    return openings.enumerated().map { trigger, opening in
      guard flows.openings.isOpen(opening, trigger, at: clock.tick) else { return nil }
      // The last packet's time is rounded up.
      let whole = UInt64(flows.openings.askings[trigger].duration) &* Clock.nanosecondsPerTick
      return OpeningReport(
        owner: IPv4Address(wire: opening.owner),
        remaining: min(whole, clock.time(of: deadline(opening, trigger)) &- clock.now))
    }
  }
}
