import Synchronization

// Mappings, their users, and the ports they own.
extension Flows {
  // MARK: Finding

  /// The live mapping that owns an outside endpoint.
  mutating func mapping(outside address: UInt32, _ port: UInt16, _ ipProtocol: UInt8, at tick: UInt32) -> UInt32? {
    let key = MappingTable.outsideKey(address: address, port: port, ipProtocol: ipProtocol)
    guard let mapping = mappings.find(outside: key), settle(mapping, at: tick) else { return nil }
    return mapping
  }

  /// The live mapping of an inside endpoint, with one user more; one in quarantine comes back to its owner.
  mutating func use(inside key: FlowKey, at tick: UInt32) -> UInt32? {
    guard let mapping = mappings.find(inside: key) else { return nil }
    _ = settle(mapping, at: tick)
    return use(mapping, isOwner: true) ? mapping : nil
  }

  /// Counts a user of a live mapping, so that it stays; false where it is over.
  func use(_ mapping: UInt32, isOwner: Bool = false) -> Bool {
    let line = mappings[mapping]
    while true {
      let before = line.life
      let after: MappingLife
      switch before.state {
      case MappingState.live:
        after = MappingLife(state: MappingState.live, users: before.users &+ 1, deadline: before.deadline)
      case MappingState.quarantined where isOwner:
        after = MappingLife(state: MappingState.live, users: 1, deadline: 0)
      default: return false
      }
      if line.exchange(before, after) { return true }
    }
  }

  /// One user less: a session that ended at `deadline`, or a packet that made none. With the last one the mapping goes too.
  mutating func letGo(_ mapping: UInt32, at deadline: UInt32? = nil) {
    let line = mappings[mapping]
    while true {
      let before = line.life
      var latest = before.deadline
      if let deadline, latest == 0 || Int32(bitPattern: deadline &- latest) > 0 { latest = deadline }
      var after = MappingLife(state: MappingState.live, users: before.users &- 1, deadline: latest)
      if after.users == 0 {
        // One that never had a session has nobody whose port could be waited for.
        after =
          line.filtering == .endpointIndependent && (deadline != nil || latest != 0)
          ? MappingLife(state: MappingState.quarantined, users: 0, deadline: latest &+ quarantine)
          : MappingLife(state: MappingState.ending, users: 0, deadline: latest)
      }
      guard line.exchange(before, after) else { continue }
      if after.state == MappingState.ending { remove(mapping) }
      return
    }
  }

  /// Brings a mapping's state up to the clock: dead sessions out, and itself if its quarantine is over. True where it
  /// is live.
  mutating func settle(_ mapping: UInt32, at tick: UInt32) -> Bool {
    let line = mappings[mapping]
    if line.state == MappingState.live {
      if walk(mapping, at: tick, until: .live) != nil { return true }
      endGuests(mapping, at: tick)
    }
    let life = line.life
    if life.state == MappingState.quarantined, Int32(bitPattern: life.deadline &- tick) <= 0,
      line.exchange(life, MappingLife(state: MappingState.ending, users: 0, deadline: life.deadline))
    {
      remove(mapping)
    }
    return line.state == MappingState.live
  }

  /// Takes out the hairpin sessions that go to a mapping and are over. They stand in no list, so the mapping knows one of
  /// them: only when that is over the table is gone through, and another one is remembered.
  private mutating func endGuests(_ mapping: UInt32, at tick: UInt32) {
    let guest = mappings[mapping].guest
    guard guest.plain != 0, !isGuest(guest.plain, of: mapping, at: tick) else { return }
    sweepAll(at: tick)
    guard mappings[mapping].state == MappingState.live else { return }
    for session in 1..<max(1, sessions.highWater) where isGuest(session, of: mapping, at: tick) {
      guest.plain = session
      return
    }
  }

  /// True for a live hairpin session that goes to the mapping.
  func isGuest(_ session: UInt32, of mapping: UInt32, at tick: UInt32) -> Bool {
    sessions.common(session).pinned == mapping && sessions.isLive(session, at: tick)
  }

  // MARK: Making

  /// What came of the wish for a mapping.
  enum Made {
    case made(UInt32)
    /// Another worker has made one for the same inside endpoint: look again.
    case taken
    case contended
    case noPort
    /// The inside host has as many as it may have.
    case hostLimit
    case full
  }

  /// A new mapping with a port of its own and one user: the inside port if it is in the pool and free, else a random one
  /// (RFC 7857 section 9).
  ///
  /// - Parameters:
  ///   - sides: the addresses themselves, of an IPv6 mapping.
  ///   - mayKeep: the inside port may be taken though it is none of `ranges`.
  ///   - hostLimit: how many ports its inside host may have.
  mutating func makeMapping(
    inside key: FlowKey, _ sides: MappingSides.Line? = nil, address: UInt32, ranges: UnsafeBufferPointer<PortRange>,
    filtering: EndpointRule, mayKeep: Bool = false, interface: UInt16, generation: UInt16, hostLimit: UInt32 = .max,
    at tick: UInt32
  ) -> Made {
    var claim = tables.hosts.ports.add(key.source, limit: hostLimit)
    if claim == .refused, sweepBeforeRefusal(at: tick) { claim = tables.hosts.ports.add(key.source, limit: hostLimit) }
    guard claim != .refused else { return .hostLimit }
    let made = makeMapping(
      inside: key, sides, isCounted: claim == .counted, address, ranges, filtering, mayKeep, interface, generation,
      at: tick)
    if case .made = made { return made }
    if claim == .counted { tables.hosts.ports.remove(key.source) }
    return made
  }

  private mutating func makeMapping(
    inside key: FlowKey, _ sides: MappingSides.Line?, isCounted: Bool, _ address: UInt32,
    _ ranges: UnsafeBufferPointer<PortRange>,
    _ filtering: EndpointRule, _ mayKeep: Bool, _ interface: UInt16, _ generation: UInt16, at tick: UInt32
  ) -> Made {
    guard let mapping = allocateMapping(at: tick) else { return .full }
    let wanted = key.sourcePort.bigEndian
    guard let port = takePort(key.scope, key.ipProtocol, like: wanted, mayKeep, address, key, ranges, at: tick) else {
      mappingPlaces.discard(mapping)
      return .noPort
    }
    let line = mappings[mapping]
    line.insideKey = key
    if let sides { mappings.sides[mapping] = sides }
    line.marks.plain = isCounted ? MappingMark.counted : 0
    line.outsideAddress = address
    line.outsidePort = port.bigEndian
    line.filtering = filtering
    line.interface = interface
    line.planGeneration = generation
    line.head.plain = 0
    line.guest.plain = 0
    line.expectation = .none
    line.peer.plain = PeerCount.none.rawValue
    line.life = MappingLife(state: MappingState.live, users: 1, deadline: 0)
    let publication = mappings.publish(mapping)
    if publication == .made {
      tables.words.createdMappings.pointee.wrappingAdd(1, ordering: .relaxed)
      return .made(mapping)
    }
    line.life = MappingLife(rawValue: 0)
    pools.giveBack(key.scope, key.ipProtocol, port)
    mappingPlaces.discard(mapping)
    return publication == .full ? .full : publication == .contended ? .contended : .taken
  }

  /// A place for a mapping, or for a permit of one.
  mutating func allocateMapping(at tick: UInt32) -> UInt32? {
    if let mapping = mappingPlaces.take() { return mapping }
    return sweepAll(at: tick) ? mappingPlaces.take() : nil
  }

  private mutating func takePort(
    _ pool: UInt16, _ ipProtocol: UInt8, like wanted: UInt16, _ mayKeep: Bool, _ address: UInt32, _ key: FlowKey,
    _ ranges: UnsafeBufferPointer<PortRange>, at tick: UInt32
  ) -> UInt16? {
    if mayKeep || ranges.contains(where: { $0.first <= wanted && wanted <= $0.last }) {
      if pools.isTaken(pool, ipProtocol, wanted) {
        // Its owner may be over by the clock.
        _ = mapping(outside: address, wanted.bigEndian, ipProtocol, at: tick)
      }
      if pools.take(pool, ipProtocol, wanted) { return wanted }
    }
    let random = SplitMix64.mix(tables.seed ^ mappings.secret.hash(key))
    if let port = pools.takeAny(pool, ipProtocol, like: wanted, ranges: ranges, random: random) { return port }
    guard sweepAll(at: tick) else { return nil }
    return pools.takeAny(pool, ipProtocol, like: wanted, ranges: ranges, random: random)
  }

  /// Takes a mapping out that is marked as ending: out of the index first, so that its port is nobody's when it is free.
  private mutating func remove(_ mapping: UInt32) {
    let line = mappings[mapping]
    _ = walk(mapping, at: 0, until: .end)
    mappings.unpublish(mapping)
    pools.giveBack(line.pool, line.ipProtocol, line.outsidePort.bigEndian)
    if line.has(MappingMark.counted) { tables.hosts.ports.remove(line.insideAddress) }
    tables.words.expiredMappings.pointee.wrappingAdd(1, ordering: .relaxed)
    line.life = MappingLife(rawValue: 0)
    mappingPlaces.retire(mapping)
  }

  /// Removes a mapping that has no users, without the wait for its former owner.
  mutating func endUnused(_ mapping: UInt32) {
    let line = mappings[mapping]
    let life = line.life
    if life.state == MappingState.quarantined,
      line.exchange(life, MappingLife(state: MappingState.ending, users: 0, deadline: life.deadline))
    {
      remove(mapping)
    }
  }

  // MARK: A mapping's sessions

  /// The first of a mapping's sessions, and the one behind another, those that are just ending included; 0 for none.
  func firstSession(_ mapping: UInt32) -> UInt32 { mappings[mapping].head.pointee.load(ordering: .acquiring) &>> 1 }
  func nextSession(_ session: UInt32) -> UInt32 {
    sessions.common(session).next.pointee.load(ordering: .acquiring) &>> 1
  }

  /// Puts a session in front of its mapping's list.
  func join(_ session: UInt32, _ mapping: UInt32) {
    let head = mappings[mapping].head
    let next = sessions.common(session).next
    var first = head.plain
    while true {
      next.plain = first
      let (isIn, now) = head.pointee.compareExchange(
        expected: first, desired: session &<< 1, ordering: .acquiringAndReleasing)
      if isIn { return }
      first = now
    }
  }

  /// How far a walk goes.
  enum Walk {
    /// To the first session that is alive.
    case live
    /// To the first that is alive and has this remote address.
    case remote(UInt32)
    /// Past a few sessions: what has just been taken out mostly stands in front.
    case few
    /// Through all of them, ending none.
    case end

    /// Whether a session with this remote address is what is looked for, if it is alive.
    func concerns(_ remote: UInt32) -> Bool {
      switch self {
      case .live: true
      case .remote(let wanted): wanted == remote
      case .few, .end: false
      }
    }
  }

  /// Goes through a mapping's sessions, ends those that are over by the clock, and takes out of the list those that have
  /// been ended: a session marks its own link when it ends, and whoever comes by makes the link before it point past
  /// it (Harris 2001, Michael 2002). Who succeeds gives its place back. Returns what was looked for.
  mutating func walk(_ mapping: UInt32, at tick: UInt32, until goal: Walk) -> UInt32? {
    var before = mappings[mapping].head
    var current = before.pointee.load(ordering: .acquiring)
    var passed = 0
    while current != 0 {
      let session = current &>> 1
      let common = sessions.common(session)
      let next = common.next.pointee.load(ordering: .acquiring)
      if next & 1 == 1 {
        // Known before: as long as it stands here, it is not over with.
        let isLeaving = common.state == SessionState.leaving
        let (isOut, _) = before.pointee.compareExchange(
          expected: current, desired: next & ~1, ordering: .acquiringAndReleasing)
        if isOut {
          if !isLeaving { retire(session) }
          current = next & ~1
        } else {
          // The one before has been taken out itself, or somebody has joined in front: from the start.
          before = mappings[mapping].head
          current = before.pointee.load(ordering: .acquiring)
        }
        continue
      }
      if goal.concerns(common.remote) {
        if !sessions.isExpired(session, at: tick) { return session }
        // Marked now, so the next round takes it out; else another worker is at it, or it has been refreshed.
        if expireInPlace(session, at: tick) { continue }
        if !SessionState.isGoing(common.state) { return session }
      } else if case .few = goal {
        passed &+= 1
        if passed == 8 {
          mappings[mapping].mark(MappingMark.littered)
          return nil
        }
      }
      before = common.next
      current = next
    }
    return nil
  }

  /// After a session has ended: takes it out of its mapping's list, if it stands near the front.
  mutating func tidy(_ mapping: UInt32) { _ = walk(mapping, at: 0, until: .few) }
}
