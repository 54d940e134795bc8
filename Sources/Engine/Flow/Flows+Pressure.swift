import Synchronization

// Who gives way where room is short (REQUIREMENTS P2): what is over by the clock, then TCP sessions that both sides have
// not acknowledged yet or that are over but for their timers. A live session never does: who comes too late is refused
// (RFC 6888 REQ-11).
extension Flows {
  /// Places that are looked at for one that gives way: bounded, since every packet of a flood may ask.
  private static let looks: UInt32 = 256
  /// Of so many that could, the one that has been idle longest goes.
  private static let sample = 4
  /// How long a session has at least, in ticks, before it gives way ahead of need: a handshake over the longest way, with
  /// a segment lost, takes 3 s.
  private static let graceTicks: UInt32 = 30
  /// In how many ticks a table that is nearly full is gone through once ahead of need: 2 s.
  private static let reliefTicks: UInt32 = 20

  /// TCP sessions that both sides have not acknowledged yet, of all workers.
  var halfOpen: Int { Int(Int64(bitPattern: tables.words.halfOpen.plain)) }
  private var canGiveWay: Int { Int(Int64(bitPattern: tables.words.transitory.plain)) }

  /// 95 % of all places are in use.
  private var isNearlyFull: Bool { sessions.places.used &* 20 >= Int(sessions.places.capacity) &* 19 }

  // MARK: Half-open sessions

  /// Whether there may be one half-open session more; where there are `limit`, an older one gives way. So a flood of SYNs
  /// costs those who connect no more than a shorter time to do so, and the rest of the table nothing.
  mutating func admitsHalfOpen(limit: Int, at tick: UInt32) -> Bool {
    halfOpen < limit || makeOneGiveWay(at: tick) { $0 == SessionState.opening }
  }

  // MARK: A full table

  /// A place for a session: a free one, one whose session is over (by a full sweep, at most one in a tick: nothing more
  /// expires within one), or one whose session gives way.
  mutating func allocate(at tick: UInt32) -> UInt32? {
    guard let session = sessionPlaces.take() ?? reclaim(at: tick) else { return nil }
    sessions.clear(session)
    return session
  }

  private mutating func reclaim(at tick: UInt32) -> UInt32? {
    if sweepAll(at: tick), let session = sessionPlaces.take() { return session }
    // Places that wait for other workers come back soon: nobody more has to go for this one.
    guard !sessionPlaces.isWaiting, makeOneGiveWay(at: tick, where: SessionState.givesWay) else { return nil }
    return sessionPlaces.take()
  }

  /// Gives places back ahead of need where nearly all are in use: where several workers look at them, a place cannot be
  /// used at once.
  mutating func relieve(ticks: UInt32, at tick: UInt32) {
    guard isNearlyFull, canGiveWay > 0 else { return }
    let end = sessions.highWater
    let hand = tables.words.hand
    var place = hand.plain
    var left = (end / Self.reliefTicks &+ 1) &* min(ticks, Self.reliefTicks)
    while left > 0, isNearlyFull {
      place = place &+ 1 < end ? place &+ 1 : 1
      if place < end, SessionState.givesWay(sessions.common(place).state),
        Int32(bitPattern: tick &- sessions.lastSeen(place) &- Self.graceTicks) >= 0
      {
        _ = giveWay(place, at: tick, where: SessionState.givesWay)
      }
      left &-= 1
    }
    hand.plain = place
  }

  // MARK: Giving way

  /// Ends one session in such a state: of the few that come next in the table, the one idle longest. In a table that is
  /// filled and emptied place by place those are the oldest.
  private mutating func makeOneGiveWay(at tick: UInt32, where mayGo: (UInt8) -> Bool) -> Bool {
    guard canGiveWay > 0 else { return false }
    let end = sessions.highWater
    let hand = tables.words.hand
    var place = hand.plain
    var left = min(Self.looks, end)
    var found = 0
    var oldest: UInt32 = 0
    var longest = Int32.min
    while left > 0, found < Self.sample {
      left &-= 1
      place = place &+ 1 < end ? place &+ 1 : 1
      guard place < end, mayGo(sessions.common(place).state) else { continue }
      found &+= 1
      let idle = Int32(bitPattern: tick &- sessions.lastSeen(place))
      if idle > longest { (longest, oldest) = (idle, place) }
    }
    hand.plain = place
    return oldest != 0 && giveWay(oldest, at: tick, where: mayGo)
  }

  /// False where it has come into another state meanwhile.
  private mutating func giveWay(_ session: UInt32, at tick: UInt32, where mayGo: (UInt8) -> Bool) -> Bool {
    if sessions.isExpired(session, at: tick) {
      expire(session, at: tick)
      return true
    }
    guard claim(session, as: SessionState.ending, where: mayGo) else { return false }
    tables.words.evictedSessions.pointee.wrappingAdd(1, ordering: .relaxed)
    let mapping = sessions.common(session).mapping
    takeOut(session, at: tick)
    if mapping != 0 { tidy(mapping) }
    return true
  }

  // MARK: Limits of inside hosts

  /// Before a host is refused for its limit: ends what is over by the clock, so that only what lives counts. True where
  /// that was done now.
  ///
  /// It takes a pass through the whole table, so it is done the more seldom the larger that is: a host that stays at its
  /// limit must not cost the others their time.
  mutating func sweepBeforeRefusal(at tick: UInt32) -> Bool {
    let pause = 1 &+ UInt64(sessions.highWater &>> 17)
    let last = tables.words.fullSweep.plain
    guard last == 0 || UInt64(tick) &+ 1 &- last >= pause else { return false }
    return sweepAll(at: tick)
  }
}
