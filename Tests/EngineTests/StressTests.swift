import Glibc
import Testing

@testable import Engine

/// Several workers on one table, with every operation at once (the stress test; clash tests of REQUIREMENTS 5).
///
/// `SLUICE_STRESS_OPERATIONS` sets how many operations all workers do together: 10^8 on demand.
@Suite(.serialized) struct StressTests {
  private static let workers = 4
  private static let phases = 8

  private static var operations: Int {
    getenv("SLUICE_STRESS_OPERATIONS").flatMap { Int(String(cString: $0)) } ?? 1_000_000
  }

  @Test func `four workers: nothing lost, nothing doubled, counters equal a full scan, every place back at the end`()
    throws
  {
    let table = try StressTable(workers: Self.workers)
    let team = UnsafeMutablePointer<StressWorker>.allocate(capacity: Self.workers)
    for index in 0..<Self.workers { (team + index).initialize(to: StressWorker(table, worker: index, seed: 42)) }
    defer {
      team.deinitialize(count: Self.workers)
      team.deallocate()
      table.release()
    }
    for phase in 0..<Self.phases {
      table.run(team, operations: Self.operations / Self.phases / Self.workers)
      #expect(table.faults.pointee.load(ordering: .relaxed) == 0, "phase \(phase)")
      try Scan(table.tables).check()
    }
    let made = (0..<Self.workers).reduce(UInt64(0)) { $0 + team[$1].made }
    #expect(made > 1000 && table.tables.words.createdSessions.plain == made)
    // The clock runs past every timeout and quarantine: everything comes back.
    let end = table.tick.pointee.load(ordering: .relaxed) &+ StressTable.timeout
    for tick in [end, end &+ Flows.usualQuarantine, end &+ Flows.usualQuarantine &+ 1] {
      for index in 0..<Self.workers {
        _ = team[index].flows.sweepAll(at: tick &+ UInt32(index))
        for _ in 0..<4 { team[index].flows.passBurst() }
        _ = team[index].flows.sleep()
      }
    }
    for index in 0..<Self.workers {
      let isDone = team[index].flows.sleep()
      #expect(isDone, "worker \(index) still waits for others")
    }
    try Scan(table.tables).checkEmpty()
  }
}

/// A walk through everything, while nobody works: what the tables say must be what is in them.
private struct Scan {
  let tables: FlowTables

  init(_ tables: FlowTables) { self.tables = tables }

  private struct Lane {
    let bucket: Int
    let tag: UInt16
    let value: UInt32
  }

  private func lanes(_ index: FlowIndex) -> [Lane] {
    var lanes: [Lane] = []
    for bucket in 0..<Int(index.buckets) {
      let start = index.start + bucket * FlowIndex.bucketBytes
      for lane in 0..<FlowIndex.lanes {
        let tag = start.load(fromByteOffset: lane * 2, as: UInt16.self)
        let value = FlowIndex.value(start, lane)
        if tag != 0 || value != 0 { lanes.append(Lane(bucket: bucket, tag: tag, value: value)) }
      }
    }
    return lanes
  }

  func check() throws {
    try checkSessions()
    try checkMappings()
  }

  /// Every live session has two lanes, each in a bucket and under the tag of its key; no key has two.
  private func checkSessions() throws {
    let sessions = tables.sessions
    var keys: Set<[UInt64]> = []
    var overflow: [Int: UInt32] = [:]
    var seen: Set<UInt32> = []
    for lane in lanes(sessions.index) {
      try #require(
        lane.value != 0 && lane.tag != 0, "a lane that is claimed and never published, or the other way round")
      let line = sessions.flow(lane.value)
      let hash = sessions.secret.hash(line.key)
      let home = Int(FlowIndex.first(hash, of: sessions.index.buckets))
      let other = Int(FlowIndex.second(hash, of: sessions.index.buckets))
      #expect(lane.tag == FlowIndex.tag(hash) && (lane.bucket == home || lane.bucket == other))
      if lane.bucket != home { overflow[home, default: 0] += 1 }
      let isFirst = keys.insert([line.key.addresses, line.key.rest]).inserted
      #expect(isFirst, "two sessions answer to one tuple")
      seen.insert(lane.value)
      let state = sessions.common(lane.value >> 1).state
      #expect(state == SessionState.open || state == SessionState.cut)
    }
    for bucket in 0..<Int(sessions.index.buckets) {
      let start = sessions.index.start + bucket * FlowIndex.bucketBytes
      #expect(FlowIndex.overflow(start) == overflow[bucket, default: 0])
    }
    var live = 0
    for session in 1..<max(1, sessions.highWater) {
      let state = sessions.common(session).state
      guard state == SessionState.open || state == SessionState.cut else { continue }
      live += 1
      #expect(seen.contains(session << 1) && seen.contains(session << 1 | 1), "a session that cannot be found")
    }
    #expect(seen.count == 2 * live)
  }

  /// Every mapping's users are its sessions, every permit's too, and the ports taken are the mappings'.
  private func checkMappings() throws {
    let (sessions, mappings) = (tables.sessions, tables.mappings)
    var users: [UInt32: UInt32] = [:]
    var permits: [UInt64: UInt32] = [:]
    for session in 1..<max(1, sessions.highWater) where sessions.common(session).state == SessionState.open {
      let common = sessions.common(session)
      users[common.mapping, default: 0] += 1
      if mappings[common.mapping].filtering == .addressDependent {
        permits[UInt64(common.mapping) << 32 | UInt64(common.remote), default: 0] += 1
      }
    }
    var inUse = 0
    for mapping in 1..<max(1, mappings.highWater) where mappings[mapping].state != MappingState.free {
      let line = mappings[mapping]
      inUse += 1
      #expect(line.life.users == users[mapping, default: 0])
      #expect(line.state == (line.life.users == 0 ? MappingState.quarantined : MappingState.live))
      #expect(mappings.find(inside: line.insideKey) == mapping && mappings.find(outside: line.outsideKey) == mapping)
      #expect(tables.pools.isTaken(0, line.ipProtocol, line.outsidePort.bigEndian))
    }
    try checkHosts(inUse)
    #expect(tables.pools.taken(0, IPProtocol.udp) == inUse)
    try checkPermits(permits, inUse)
    let created = tables.words.createdMappings.plain
    #expect(created - tables.words.expiredMappings.plain == UInt64(inUse))
  }

  /// Every peer of a mapping is counted once for each session: in the mapping's line, in a permit, or some here, some there.
  private func checkPermits(_ sessions: [UInt64: UInt32], _ inUse: Int) throws {
    let mappings = tables.mappings
    var counted: [UInt64: UInt32] = [:]
    func count(_ mapping: UInt32, _ place: UInt32) {
      let peer = PeerCount(rawValue: mappings[place].peer.plain)
      if peer != PeerCount.none { counted[UInt64(mapping) << 32 | UInt64(peer.remote), default: 0] += peer.users }
    }
    for mapping in 1..<max(1, mappings.highWater) where mappings[mapping].state != MappingState.free {
      count(mapping, mapping)
    }
    let permits = lanes(mappings.index).map(\.value).filter { $0 & 3 == MappingTable.permit }.map { $0 >> 2 }
    for permit in permits {
      let (mapping, remote) = (mappings[permit].owner, PeerCount(rawValue: mappings[permit].peer.plain).remote)
      #expect(mappings.findPermit(mapping, remote) == permit && mappings[permit].state == MappingState.free)
      count(mapping, permit)
    }
    #expect(counted == sessions)
    #expect(mappings.places.used == inUse + permits.count && tables.words.permits.plain == UInt64(permits.count))
  }

  /// Every host has as many ports as it has mappings, and as many sessions as it has begun.
  private func checkHosts(_ inUse: Int) throws {
    var ports: [UInt32: UInt32] = [:]
    var sessions: [UInt32: UInt32] = [:]
    for mapping in 1..<max(1, tables.mappings.highWater) where tables.mappings[mapping].state != MappingState.free {
      ports[tables.mappings[mapping].insideAddress, default: 0] += 1
    }
    for session in 1..<max(1, tables.sessions.highWater) {
      let common = tables.sessions.common(session)
      guard common.state != SessionState.free, common.isCounted else { continue }
      sessions[tables.sessions.flow(session << 1).key.source, default: 0] += 1
    }
    for host in UInt32(0)..<UInt32(StressTable.hosts) {
      let address = 0x0A00_0000 | host
      #expect(tables.hosts.ports.count(of: address) == ports[address, default: 0])
      #expect(tables.hosts.sessions.count(of: address) == sessions[address, default: 0])
      #expect(sessions[address, default: 0] <= StressTable.hostLimit)
    }
    #expect(ports.values.reduce(0, +) == UInt32(inUse))
    var transitory: UInt64 = 0
    for session in 1..<max(1, tables.sessions.highWater)
    where SessionState.givesWay(tables.sessions.common(session).state) { transitory += 1 }
    #expect(tables.words.transitory.plain == transitory && tables.words.halfOpen.plain == 0)
  }

  /// Nothing is in use, every place can be had again, and none twice.
  func checkEmpty() throws {
    for index in [tables.sessions.index, tables.mappings.index] {
      #expect(lanes(index).isEmpty)
      for bucket in 0..<Int(index.buckets) {
        #expect(FlowIndex.overflow(index.start + bucket * FlowIndex.bucketBytes) == 0)
      }
    }
    for host in UInt32(0)..<UInt32(StressTable.hosts) {
      #expect(tables.hosts.sessions.count(of: 0x0A00_0000 | host) == 0)
      #expect(tables.hosts.ports.count(of: 0x0A00_0000 | host) == 0)
    }
    #expect(tables.pools.taken(0, IPProtocol.udp) == 0 && tables.pools.taken(0, IPProtocol.icmp) == 0)
    for pool in [tables.sessions.places, tables.mappings.places] {
      #expect(pool.used == 0)
      var taken: Set<UInt32> = []
      var count = 0
      while case let place = pool.take(), place != 0 {
        taken.insert(place)
        count += 1
      }
      #expect(count == Int(pool.capacity) && taken.count == count)
    }
    // No summary keeps a port from being found: all but port 0 can be drawn.
    let range = PortRange(1, 65_535)
    var drawn = 0
    withUnsafePointer(to: range) {
      let ranges = UnsafeBufferPointer(start: $0, count: 1)
      while tables.pools.takeAny(0, IPProtocol.icmp, like: 2, ranges: ranges, random: 12_345) != nil { drawn += 1 }
    }
    #expect(drawn == 65_535)
  }
}
