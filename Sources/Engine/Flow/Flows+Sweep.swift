// Giving back what is over. Answers never depend on how far this has come.
extension Flows {
  /// In how many ticks the sweep goes once through the table: 10 s.
  static let sweepTicks: UInt32 = 100

  /// Goes on through the table by as much as the ticks since the last sweep are worth: its pace depends on the clock
  /// alone, never on bursts or workers. Whoever comes first with a tick does its share.
  mutating func sweep(ticks: UInt32, at tick: UInt32) {
    let words = tables.words
    let before = words.sweptTick.plain
    let due = before == 0 ? ticks : tick &+ 1 &- UInt32(truncatingIfNeeded: before)
    guard Int32(bitPattern: due) > 0,
      words.sweptTick.pointee.compareExchange(
        expected: before, desired: UInt64(tick) &+ 1, ordering: .relaxed
      ).exchanged
    else { return }
    guard due < Self.sweepTicks else {
      _ = sweepAll(at: tick)
      return
    }
    let sessionEnd = sessions.highWater
    var place = words.sweepSession.plain
    var left = (sessionEnd / Self.sweepTicks &+ 1) &* due
    while left > 0 {
      place = place &+ 1 < sessionEnd ? place &+ 1 : 1
      if place < sessionEnd { sweepSession(place, at: tick) }
      left &-= 1
    }
    words.sweepSession.plain = place
    let mappingEnd = mappings.highWater
    place = words.sweepMapping.plain
    left = (mappingEnd / Self.sweepTicks &+ 1) &* due
    while left > 0 {
      place = place &+ 1 < mappingEnd ? place &+ 1 : 1
      if place < mappingEnd { sweepMapping(place, at: tick) }
      left &-= 1
    }
    words.sweepMapping.plain = place
    relieve(ticks: due, at: tick)
  }

  /// Takes out all that is over at `tick`. False where that was already done in this tick.
  @discardableResult
  mutating func sweepAll(at tick: UInt32) -> Bool {
    let word = tables.words.fullSweep
    let before = word.plain
    guard before != UInt64(tick) &+ 1,
      word.pointee.compareExchange(expected: before, desired: UInt64(tick) &+ 1, ordering: .relaxed).exchanged
    else { return false }
    for session in 1..<max(1, sessions.highWater) { sweepSession(session, at: tick) }
    for mapping in 1..<max(1, mappings.highWater) { sweepMapping(mapping, at: tick) }
    return true
  }

  private mutating func sweepSession(_ session: UInt32, at tick: UInt32) {
    if sessions.isExpired(session, at: tick) { expire(session, at: tick) }
  }

  private mutating func sweepMapping(_ mapping: UInt32, at tick: UInt32) {
    let line = mappings[mapping]
    // Of a permit these words are another's.
    guard line.state != MappingState.free else { return }
    if line.has(MappingMark.littered) {
      line.unmark(MappingMark.littered)
      _ = walk(mapping, at: tick, until: .end)
    }
    if line.state == MappingState.quarantined { _ = settle(mapping, at: tick) }
  }

  /// Ends everything: time jumped by more than any timeout.
  mutating func expireAll() {
    for session in 1..<max(1, sessions.highWater) { remove(session) }
    for mapping in 1..<max(1, mappings.highWater) where mappings[mapping].state != MappingState.free {
      _ = walk(mapping, at: 0, until: .end)
      endUnused(mapping)
    }
    tables.words.fullSweep.plain = 0
  }
}
