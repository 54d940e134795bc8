/// Sessions, mappings and outside ports together: what ends with what.
///
/// Expiry is lazy: a place may still be in use when its session is over by the clock. Whatever asks here gets the answer
/// by the clock, so that neither the sweep's pace nor the burst size shows.
struct Flows {
  /// How long a freed port waits for its former owner, in ticks: 120 s (RFC 6888 REQ-8).
  static let quarantine: UInt32 = 1200
  /// In how many ticks the sweep goes once through the table: 10 s.
  static let sweepTicks: UInt32 = 100

  let region: Region
  var sessions: SessionTable
  var mappings: MappingTable
  var pools: PortPools
  /// Sessions and mappings ended by their timers and taken out.
  private(set) var expiredSessions: UInt64 = 0
  private(set) var expiredMappings: UInt64 = 0
  private(set) var createdMappings: UInt64 = 0
  private let seed: UInt64
  private var sweepSession: UInt32 = 1
  private var sweepMapping: UInt32 = 1
  private var lastFullSweep: UInt32?

  /// - Parameter outsideAddresses: raw, all different.
  init(capacity: Int, outsideAddresses: [UInt32], seed: UInt64) throws(PlanError) {
    let secret = HashSecret(seed: seed)
    self.seed = SplitMix64.mix(seed ^ 0x736C_7569_6365)
    region = try Region(RegionLayout(capacity: capacity, pools: outsideAddresses.count + PortPools.spare))
    region.header.write(region.layout, secret: secret, seed: self.seed)
    sessions = SessionTable(region, secret: secret)
    mappings = MappingTable(region, secret: secret)
    pools = PortPools(region)
    guard pools.assign(outsideAddresses) else { throw .tooMany("outside addresses") }
  }

  func release() { region.release() }

  // MARK: Sessions

  /// The live flow with this key; a dead one is taken out on the way.
  mutating func find(_ key: FlowKey, at tick: UInt32) -> UInt32? {
    guard let flow = sessions.find(key) else { return nil }
    guard sessions.isExpired(flow &>> 1, at: tick) else { return flow }
    expire(flow &>> 1)
    return nil
  }

  /// A place for a session, making room by a full sweep (at most one in a tick: nothing more expires within one).
  mutating func allocate(at tick: UInt32) -> UInt32? {
    if let session = sessions.allocate() { return session }
    guard sweepAll(at: tick) else { return nil }
    return sessions.allocate()
  }

  /// Undoes `allocate` for a session that was not published.
  mutating func discard(_ session: UInt32) { sessions.free(session) }

  /// Ends a session whose timer ran out.
  mutating func expire(_ session: UInt32) {
    expiredSessions &+= 1
    leave(session, at: sessions.deadline(session))
    sessions.unpublish(session)
    sessions.free(session)
  }

  /// Ends a session before its time. A mark keeps its two keys for `timeout` ticks: see `SessionState.cut`.
  mutating func end(_ session: UInt32, leavesMark: Bool, timeout: UInt32, at tick: UInt32) {
    leave(session, at: tick)
    guard leavesMark else {
      sessions.unpublish(session)
      sessions.free(session)
      return
    }
    sessions.common(session).state = SessionState.cut
    sessions.common(session).timeout = timeout
    sessions.flow(session &<< 1).lastSeen = tick
    sessions.flow(session &<< 1 | 1).lastSeen = tick
  }

  /// Takes a session away from its mappings.
  private mutating func leave(_ session: UInt32, at deadline: UInt32) {
    let common = sessions.common(session)
    if common.mapping != 0 {
      let mapping = common.mapping
      mappings.unlink(session, sessions: sessions)
      letGo(mapping, at: deadline)
    }
    if common.pinned != 0 {
      let pinned = common.pinned
      mappings[pinned].pins &-= 1
      common.pinned = 0
      letGo(pinned, at: deadline)
    }
  }

  // MARK: Mappings

  /// One of a mapping's sessions ended at `deadline`; with the last one it goes too.
  private mutating func letGo(_ mapping: UInt32, at deadline: UInt32) {
    let line = mappings[mapping]
    if line.lastDeadline == 0 || Int32(bitPattern: deadline &- line.lastDeadline) > 0 { line.lastDeadline = deadline }
    guard line.head == 0, line.pins == 0 else { return }
    if line.filtering == .endpointIndependent {
      line.state = MappingState.quarantined
      line.lastDeadline &+= Self.quarantine
    } else {
      removeMapping(mapping)
    }
  }

  private mutating func removeMapping(_ mapping: UInt32) {
    let line = mappings[mapping]
    pools.giveBack(line.pool, line.ipProtocol, line.outsidePort.bigEndian)
    mappings.remove(mapping)
    expiredMappings &+= 1
  }

  /// Brings a mapping's state up to the clock: dead sessions out, and itself if none is left. True where it is live.
  private mutating func settle(_ mapping: UInt32, at tick: UInt32) -> Bool {
    let line = mappings[mapping]
    while line.state == MappingState.live, line.head != 0 {
      guard sessions.isExpired(line.head, at: tick) else { return true }
      expire(line.head)
    }
    if line.state == MappingState.quarantined, Int32(bitPattern: line.lastDeadline &- tick) <= 0 {
      removeMapping(mapping)
    }
    return line.state == MappingState.live
  }

  /// The live mapping that owns an outside endpoint.
  mutating func mapping(outside address: UInt32, _ port: UInt16, _ ipProtocol: UInt8, at tick: UInt32) -> UInt32? {
    let key = MappingTable.outsideKey(address: address, port: port, ipProtocol: ipProtocol)
    guard let mapping = mappings.find(outside: key), settle(mapping, at: tick) else { return nil }
    return mapping
  }

  /// The live mapping of an inside endpoint; one in quarantine comes back to its owner.
  mutating func mapping(inside key: FlowKey, at tick: UInt32) -> UInt32? {
    guard let mapping = mappings.find(inside: key) else { return nil }
    if settle(mapping, at: tick) { return mapping }
    guard mappings[mapping].state == MappingState.quarantined else { return nil }
    mappings[mapping].state = MappingState.live
    mappings[mapping].lastDeadline = 0
    return mapping
  }

  /// True where the mapping has a live session with this remote address.
  mutating func hasSession(_ mapping: UInt32, with remote: UInt32, at tick: UInt32) -> Bool {
    while let session = mappings.find(mapping: mapping, remote: remote, sessions: sessions) {
      var candidate = session
      while candidate != 0, sessions.common(candidate).remote == remote {
        if !sessions.isExpired(candidate, at: tick) { return true }
        candidate = sessions.common(candidate).next
      }
      expire(session)
    }
    return false
  }

  /// False where the table is full of mappings, after all that are over have been taken out.
  mutating func hasRoomForMapping(at tick: UInt32) -> Bool {
    if mappings.used < mappings.capacity { return true }
    sweepAll(at: tick)
    return mappings.used < mappings.capacity
  }

  /// A new mapping with a port of its own: the inside port if it is in the pool and free, else a random one
  /// (RFC 7857 section 9). nil where no port is left.
  mutating func makeMapping(
    inside key: FlowKey, address: UInt32, ranges: UnsafeBufferPointer<PortRange>, filtering: EndpointRule,
    interface: UInt16, at tick: UInt32
  ) -> UInt32? {
    let ipProtocol = key.ipProtocol
    let wanted = key.sourcePort.bigEndian
    guard let port = choosePort(key.scope, ipProtocol, like: wanted, address, key, ranges, at: tick) else { return nil }
    guard
      let mapping = mappings.insert(
        inside: key, outsideAddress: address, outsidePort: port.bigEndian, filtering: filtering, interface: interface)
    else { return nil }
    pools.take(key.scope, ipProtocol, port)
    createdMappings &+= 1
    return mapping
  }

  private mutating func choosePort(
    _ pool: UInt16, _ ipProtocol: UInt8, like wanted: UInt16, _ address: UInt32, _ key: FlowKey,
    _ ranges: UnsafeBufferPointer<PortRange>, at tick: UInt32
  ) -> UInt16? {
    if ranges.contains(where: { $0.first <= wanted && wanted <= $0.last }) {
      if pools.isTaken(pool, ipProtocol, wanted) {
        // Its owner may be over by the clock.
        _ = mapping(outside: address, wanted.bigEndian, ipProtocol, at: tick)
      }
      if !pools.isTaken(pool, ipProtocol, wanted) { return wanted }
    }
    let random = SplitMix64.mix(seed ^ mappings.secret.hash(key))
    if let port = pools.choose(pool, ipProtocol, like: wanted, ranges: ranges, random: random) { return port }
    guard sweepAll(at: tick) else { return nil }
    return pools.choose(pool, ipProtocol, like: wanted, ranges: ranges, random: random)
  }

  /// Removes a mapping that has no sessions, without the wait for its former owner.
  mutating func endUnused(_ mapping: UInt32) {
    let line = mappings[mapping]
    if line.state != MappingState.free, line.head == 0, line.pins == 0 { removeMapping(mapping) }
  }

  /// Drops a mapping that was just made and got no session.
  mutating func discardUnused(_ mapping: UInt32) {
    let line = mappings[mapping]
    if line.state == MappingState.live, line.head == 0, line.pins == 0 { removeMapping(mapping) }
  }

  /// Gives everything that is in use this generation of the rules.
  func restamp(_ generation: UInt16) {
    for flow in 2..<max(2, sessions.highWater &<< 1) { sessions.flow(flow).planGeneration = generation }
    for mapping in 1..<max(1, mappings.highWater) { mappings[mapping].planGeneration = generation }
  }

  // MARK: Sweep

  /// Goes on through the table by as much as `ticks` are worth. Its pace depends on the clock alone, never on bursts.
  mutating func sweep(ticks: UInt32, at tick: UInt32) {
    guard ticks < Self.sweepTicks else {
      _ = sweepAll(at: tick)
      return
    }
    var left = (sessions.highWater / Self.sweepTicks &+ 1) &* ticks
    while left > 0 {
      if sweepSession >= sessions.highWater { sweepSession = 1 }
      if sweepSession < sessions.highWater { sweepPlace(sweepSession, at: tick) }
      sweepSession &+= 1
      left &-= 1
    }
    left = (mappings.highWater / Self.sweepTicks &+ 1) &* ticks
    while left > 0 {
      if sweepMapping >= mappings.highWater { sweepMapping = 1 }
      if sweepMapping < mappings.highWater { sweepMappingPlace(sweepMapping, at: tick) }
      sweepMapping &+= 1
      left &-= 1
    }
  }

  /// Takes out all that is over at `tick`. False where that was already done in this tick.
  @discardableResult
  mutating func sweepAll(at tick: UInt32) -> Bool {
    if lastFullSweep == tick { return false }
    lastFullSweep = tick
    for session in 1..<max(1, sessions.highWater) { sweepPlace(session, at: tick) }
    for mapping in 1..<max(1, mappings.highWater) { sweepMappingPlace(mapping, at: tick) }
    return true
  }

  private mutating func sweepPlace(_ session: UInt32, at tick: UInt32) {
    if sessions.common(session).state != SessionState.free, sessions.isExpired(session, at: tick) { expire(session) }
  }

  private mutating func sweepMappingPlace(_ mapping: UInt32, at tick: UInt32) {
    if mappings[mapping].state == MappingState.quarantined { _ = settle(mapping, at: tick) }
  }

  /// Ends everything: time jumped by more than any timeout.
  mutating func expireAll() {
    for session in 1..<max(1, sessions.highWater) where sessions.common(session).state != SessionState.free {
      expire(session)
    }
    for mapping in 1..<max(1, mappings.highWater) where mappings[mapping].state == MappingState.quarantined {
      removeMapping(mapping)
    }
    lastFullSweep = nil
  }
}
