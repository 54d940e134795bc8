import CIntrinsics

/// Sessions, mappings and outside ports of all workers: the region and what reaches into it. A handle: copies are the
/// same tables.
struct FlowTables: @unchecked Sendable {
  let region: Region
  let sessions: SessionTable
  let mappings: MappingTable
  let pools: PortPools
  let words: SharedWords
  let quiescence: Quiescence
  let hosts: HostCounts
  let seed: UInt64

  /// - Parameters:
  ///   - outsideAddresses: raw, all different.
  ///   - memory: zeroed bytes for the region, as many as its layout says; nil for pages of its own.
  init(
    _ layout: RegionLayout, outsideAddresses: [UInt32], seed: UInt64, workers: Int,
    memory: UnsafeMutableRawPointer? = nil
  ) throws(PlanError) {
    let secret = HashSecret(seed: seed)
    self.seed = SplitMix64.mix(seed ^ 0x736C_7569_6365)
    if let memory { region = Region(layout, at: memory) } else { region = try Region(layout) }
    region.header.write(region.layout, secret: secret, seed: self.seed)
    sessions = SessionTable(region, secret: secret)
    mappings = MappingTable(region, secret: secret)
    var pools = PortPools(region)
    guard pools.assign(outsideAddresses) else { throw .tooMany("outside addresses") }
    self.pools = pools
    words = region.words
    quiescence = Quiescence(workers: workers)
    hosts = try HostCounts(capacity: layout.capacity, secret: secret)
  }

  func release() {
    quiescence.release()
    hosts.release()
    region.release()
  }
}

/// One worker's hands on the tables: what ends with what.
///
/// Expiry is lazy: a place may still be in use when its session is over by the clock. Whatever asks here gets the answer
/// by the clock, so that neither the sweep's pace nor the burst size shows. Nothing here waits for another worker: each
/// change is a compare-and-swap that one worker wins, and the loser looks again.
struct Flows {
  /// How long a freed port waits for its former owner, in ticks: 120 s (RFC 6888 REQ-8).
  static let usualQuarantine: UInt32 = 1200
  var quarantine = usualQuarantine

  let tables: FlowTables
  let sessions: SessionTable
  let mappings: MappingTable
  var pools: PortPools
  var openings: Openings
  /// There are helper lines: looked at for every new session, so a word of its own.
  let helps: Bool
  let worker: Int
  var sessionPlaces: PlaceCache
  var mappingPlaces: PlaceCache

  init(_ tables: FlowTables, worker: Int) {
    self.tables = tables
    self.worker = worker
    sessions = tables.sessions
    mappings = tables.mappings
    pools = tables.pools
    openings = Openings(tables.region)
    helps = tables.region.layout.hasHelpers
    sessionPlaces = PlaceCache(tables.sessions.places, tables.quiescence, worker: worker)
    mappingPlaces = PlaceCache(tables.mappings.places, tables.quiescence, worker: worker)
  }

  // MARK: Between bursts

  /// This worker holds no reference into the tables now.
  @inline(__always)
  mutating func passBurst() {
    if tables.quiescence.isAlone { return }
    passBurstTogether()
  }

  private mutating func passBurstTogether() {
    tables.quiescence.announce(worker)
    sessionPlaces.passBurst()
    mappingPlaces.passBurst()
  }

  /// Before a sleep, which no other worker waits for. False while places of this worker wait for others: it should not
  /// sleep long then.
  mutating func sleep() -> Bool {
    if tables.quiescence.isAlone { return true }
    tables.quiescence.offline(worker)
    let isDone = sessionPlaces.giveAll()
    return mappingPlaces.giveAll() && isDone
  }

  // MARK: Sessions

  /// Asks for the lines of the places that a new session is likely to take, long before they are written. Those never used
  /// before follow one another, and their page may not be there yet: place 0 is asked for in their stead.
  func fetchPlaces() {
    let session = sessions.flow(sessionPlaces.next &<< 1).line
    sluice_prefetch(session)
    sluice_prefetch(session + FlowLine.bytes)
    sluice_prefetch(session + 2 &* FlowLine.bytes)
    sluice_prefetch(mappings[mappingPlaces.next].line)
  }

  /// The flow with this key, a mark included; one that is over by the clock is taken out on the way.
  mutating func find(_ key: FlowKey, at tick: UInt32) -> UInt32? {
    guard let flow = sessions.find(key) else { return nil }
    let session = flow &>> 1
    if sessions.isExpired(session, at: tick) {
      expire(session, at: tick)
      return nil
    }
    return SessionState.isGoing(sessions.common(session).state) ? nil : flow
  }

  /// Undoes `allocate` for a session that was not published.
  mutating func discard(_ session: UInt32) { sessionPlaces.discard(session) }

  /// Lets a filled session be found. What it uses of `mapping` has been counted before; its list is joined here.
  mutating func publish(
    _ session: UInt32, as word: SessionWord, at tick: UInt32
  ) -> SessionTable.Publication {
    let common = sessions.common(session)
    let mapping = common.mapping
    if mapping != 0, mappings[mapping].filtering == .addressDependent {
      let permit = addPermit(mapping, common.remote, session, at: tick)
      guard permit == .made else { return permit }
    }
    let publication = sessions.publish(session)
    guard publication == .made else {
      if mapping != 0, mappings[mapping].filtering == .addressDependent {
        dropPermit(mapping, common.remote)
      }
      return publication
    }
    let created = tables.words.createdSessions.pointee.wrappingAdd(1, ordering: .relaxed).newValue
    common.identity = UInt32(truncatingIfNeeded: created)
    if mapping != 0 { join(session, mapping) }
    if common.pinned != 0 { mappings[common.pinned].guest.plain = session }
    tables.words.countChange(from: SessionState.free, to: word.state)
    // From here on it can end.
    common.word = word
    return .made
  }

  // MARK: Ending

  /// Ends a session whose timer ran out: one worker does, the others see that it is being done.
  mutating func expire(_ session: UInt32, at tick: UInt32) {
    guard claimExpiry(session, at: tick) else { return }
    let mapping = sessions.common(session).mapping
    takeOut(session, at: sessions.deadline(session))
    if mapping != 0 { tidy(mapping) }
  }

  /// The same for somebody who walks its mapping's list and will take it out there. False where it was not ended here.
  mutating func expireInPlace(_ session: UInt32, at tick: UInt32) -> Bool {
    guard claimExpiry(session, at: tick) else { return false }
    takeOut(session, at: sessions.deadline(session))
    return true
  }

  /// Ends a session, or a mark, whatever the clock says.
  mutating func remove(_ session: UInt32, at tick: UInt32? = nil) {
    guard claim(session, as: SessionState.ending) else { return }
    let mapping = sessions.common(session).mapping
    takeOut(session, at: tick ?? sessions.deadline(session))
    if mapping != 0 { tidy(mapping) }
  }

  /// Ends a session before its time. A mark keeps its two keys for `timeout` ticks: see `SessionState.cut`. False where
  /// it was not ended here.
  mutating func end(_ session: UInt32, leavesMark: Bool, timeout: UInt32, at tick: UInt32) -> Bool {
    guard leavesMark else {
      guard claim(session, as: SessionState.ending) else { return false }
      let mapping = sessions.common(session).mapping
      takeOut(session, at: tick)
      if mapping != 0 { tidy(mapping) }
      return true
    }
    guard sessions.common(session).state != SessionState.cut, claim(session, as: SessionState.leaving) else {
      return false
    }
    leave(session, at: tick)
    sessions.flow(session &<< 1).lastSeen = tick
    sessions.flow(session &<< 1 | 1).lastSeen = tick
    tables.words.countChange(from: SessionState.leaving, to: SessionState.cut)
    sessions.common(session).word = SessionWord(state: SessionState.cut, timeout: timeout)
    return true
  }

  /// True for the one worker that is to take the session out because its time is over.
  private func claimExpiry(_ session: UInt32, at tick: UInt32) -> Bool {
    let common = sessions.common(session)
    let before = common.word
    guard before.state != SessionState.free, !SessionState.isGoing(before.state),
      Int32(bitPattern: sessions.lastSeen(session) &+ before.timeout &- tick) <= 0
    else { return false }
    var ending = before
    ending.state = SessionState.ending
    guard common.exchange(before, ending) else { return false }
    if Int32(bitPattern: sessions.lastSeen(session) &+ before.timeout &- tick) <= 0 {
      remember(session, before.state)
      tables.words.countChange(from: before.state, to: SessionState.ending)
      return true
    }
    // A packet has come in between: it has its session back. Nobody else changes the state of an ending one.
    while true {
      let now = common.word
      var alive = now
      alive.state = before.state
      if common.exchange(now, alive) { return false }
    }
  }

  /// True for the one worker that brings a session into a state that ends it, if it is in a state that may.
  func claim(_ session: UInt32, as state: UInt8, where mayEnd: (UInt8) -> Bool = { _ in true }) -> Bool {
    let common = sessions.common(session)
    while true {
      let before = common.word
      if before.state == SessionState.free || SessionState.isGoing(before.state) || !mayEnd(before.state) {
        return false
      }
      var going = before
      going.state = state
      guard common.exchange(before, going) else { continue }
      remember(session, before.state)
      tables.words.countChange(from: before.state, to: state)
      return true
    }
  }

  /// What a session that ends has sent keeps open what it asked for; a mark has sent nothing.
  private func remember(_ session: UInt32, _ state: UInt8) {
    if !openings.isEmpty, state != SessionState.cut { openings.remember(sessions.flow(session &<< 1)) }
  }

  /// Takes a session out that is marked as ending. In a mapping's list it stays until somebody walks by.
  mutating func takeOut(_ session: UInt32, at deadline: UInt32) {
    let common = sessions.common(session)
    forgetHost(session)
    let mapping = common.mapping
    let pinned = common.pinned
    let remote = common.remote
    sessions.unpublish(session)
    if pinned != 0 { letGo(pinned, at: deadline) }
    guard mapping != 0 else { return retire(session) }
    if mappings[mapping].filtering == .addressDependent { dropPermit(mapping, remote) }
    common.next.pointee.bitwiseOr(1, ordering: .acquiringAndReleasing)
    letGo(mapping, at: deadline)
  }

  /// Takes a session away from its mappings, and out of their list before this returns.
  private mutating func leave(_ session: UInt32, at deadline: UInt32) {
    let common = sessions.common(session)
    forgetHost(session)
    let mapping = common.mapping
    let pinned = common.pinned
    if pinned != 0 {
      common.pinned = 0
      letGo(pinned, at: deadline)
    }
    guard mapping != 0 else { return }
    if mappings[mapping].filtering == .addressDependent { dropPermit(mapping, common.remote) }
    common.next.pointee.bitwiseOr(1, ordering: .acquiringAndReleasing)
    _ = walk(mapping, at: 0, until: .end)
    common.mapping = 0
    letGo(mapping, at: deadline)
  }

  /// The host that has begun it has one less.
  private func forgetHost(_ session: UInt32) {
    let common = sessions.common(session)
    guard common.isCounted else { return }
    common.isCounted = false
    let key = sessions.flow(session &<< 1).key
    tables.hosts.sessions.remove(key.isIPv6 ? sessions.secret.host(sessions.sides.source(session &<< 1)) : key.source)
  }

  /// Gives back the place of a session that nobody can find any more.
  mutating func retire(_ session: UInt32) {
    sessions.common(session).word = SessionWord(rawValue: 0)
    sessionPlaces.retire(session)
  }
}
