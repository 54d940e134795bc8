import Glibc
import Synchronization

@testable import Engine

/// Tables under load from several threads, with keys so few that workers meet on them all the time.
struct StressTable: @unchecked Sendable {
  static let capacity = 2048
  static let hosts = 48
  static let peers = 8
  /// Sessions of one host: less than it has peers, so that workers meet at the limit too.
  static let hostLimit: UInt32 = 6
  static let outside: UInt32 = 0x0100_00CB
  /// Ticks that a session lives.
  static let timeout: UInt32 = 40

  let tables: FlowTables
  let workers: Int
  /// The clock of all workers, moved on by their operations.
  let tick: UnsafeMutablePointer<Atomic<UInt32>>
  /// Who owns each port that was drawn alone, worker + 1.
  let owners: UnsafeMutablePointer<Atomic<UInt32>>
  let faults: UnsafeMutablePointer<Atomic<UInt64>>

  init(workers: Int) throws {
    self.workers = workers
    tables = try FlowTables(
      RegionLayout(capacity: Self.capacity, pools: 1 + PortPools.spare), outsideAddresses: [Self.outside], seed: 7,
      workers: workers)
    tick = .allocate(capacity: 1)
    tick.initialize(to: Atomic(1))
    faults = .allocate(capacity: 1)
    faults.initialize(to: Atomic(0))
    owners = .allocate(capacity: 65_536)
    for port in 0..<65_536 { (owners + port).initialize(to: Atomic(0)) }
  }

  func release() {
    tables.release()
    tick.deallocate()
    faults.deallocate()
    owners.deallocate()
  }

  func fault() { faults.pointee.wrappingAdd(1, ordering: .relaxed) }

  /// Runs `operations` on every worker's own thread and waits for all.
  func run(_ team: UnsafeMutablePointer<StressWorker>, operations: Int) {
    for index in 0..<workers { team[index].left = operations }
    onThreads(workers) { team[$0].run() }
  }
}

/// One thread's part: finds, makes, refreshes, cuts and expires sessions, and draws ports.
struct StressWorker {
  let table: StressTable
  var flows: Flows
  var random: SplitMix64
  var left = 0
  var made: UInt64 = 0
  var contended = 0
  var lost = 0
  var portsHeld: [UInt16] = []

  init(_ table: StressTable, worker: Int, seed: UInt64) {
    self.table = table
    flows = Flows(table.tables, worker: worker)
    random = SplitMix64(state: seed &+ UInt64(worker) &* 7919)
  }

  mutating func run() {
    while left > 0 {
      flows.passBurst()
      for _ in 0..<min(32, left) { step() }
      left -= 32
      if random.next() % 64 == 0 { table.tick.pointee.wrappingAdd(1, ordering: .relaxed) }
      if random.next() % 256 == 0 { _ = flows.sleep() }
    }
    for port in portsHeld { give(port) }
    portsHeld.removeAll()
    _ = flows.sleep()
  }

  private mutating func step() {
    let tick = table.tick.pointee.load(ordering: .relaxed)
    let draw = random.next()
    let host = UInt32(truncatingIfNeeded: draw % UInt64(StressTable.hosts))
    let peer = UInt32(truncatingIfNeeded: (draw &>> 16) % UInt64(StressTable.peers))
    let key = FlowKey(
      source: 0x0A00_0000 | host, sourcePort: UInt16(1000 + host), destination: 0xC633_0000 | peer,
      destinationPort: 53 &+ UInt16(truncatingIfNeeded: draw &>> 40 & 1), scope: 0, ipProtocol: IPProtocol.udp)
    switch (draw &>> 32) % 16 {
    case 0..<10: use(key, tick, filtering: host & 1 == 0 ? .addressDependent : .endpointIndependent)
    case 10..<12: if let flow = flows.find(key, at: tick) { cut(flow &>> 1, tick) }
    case 12: flows.sweep(ticks: 1, at: tick)
    case 13: lookAround(host, peer, tick)
    default: drawPort()
    }
  }

  /// What a packet does: finds its session or makes one, and refreshes it.
  private mutating func use(_ key: FlowKey, _ tick: UInt32, filtering: EndpointRule) {
    if let flow = flows.find(key, at: tick) {
      let line = flows.sessions.flow(flow)
      // Key and rewrite belong together, as long as the worker may look at them.
      if !line.hasKey(key) || line.newDestination != key.destination { table.fault() }
      if random.next() & 3 == 0 { line.lastSeen = tick }
      return
    }
    let inside = MappingTable.insideKey(
      addresses: UInt64(key.source), ports: UInt64(key.sourcePort), pool: 0, ipProtocol: key.ipProtocol)
    let mapping: UInt32
    if let used = flows.use(inside: inside, at: tick) {
      mapping = used
    } else {
      let range = PortRange(20_000, 20_063)
      let result = withUnsafePointer(to: range) {
        flows.makeMapping(
          inside: inside, address: StressTable.outside, ranges: UnsafeBufferPointer(start: $0, count: 1),
          filtering: filtering, interface: 0, generation: 1, at: tick)
      }
      guard case .made(let fresh) = result else {
        contended += 1
        return
      }
      mapping = fresh
    }
    let claim = table.tables.hosts.sessions.add(key.source, limit: StressTable.hostLimit)
    if claim == .refused { return flows.letGo(mapping) }
    guard let session = flows.allocate(at: tick) else {
      if claim == .counted { table.tables.hosts.sessions.remove(key.source) }
      return flows.letGo(mapping)
    }
    fill(session, key, mapping, tick)
    flows.sessions.common(session).isCounted = claim == .counted
    let word = SessionWord(state: SessionState.open, timeout: StressTable.timeout)
    switch flows.publish(session, as: word, at: tick) {
    case .made: made += 1
    case let other:
      if other == .taken || other == .contended { lost += 1 }
      if claim == .counted { table.tables.hosts.sessions.remove(key.source) }
      flows.discard(session)
      flows.letGo(mapping)
    }
  }

  private mutating func cut(_ session: UInt32, _ tick: UInt32) {
    _ = flows.end(session, leavesMark: random.next() & 1 == 0, timeout: 8, at: tick)
  }

  private func fill(_ session: UInt32, _ key: FlowKey, _ mapping: UInt32, _ tick: UInt32) {
    let outside = FlowKey(
      source: StressTable.outside, sourcePort: flows.mappings[mapping].outsidePort, destination: key.destination,
      destinationPort: key.destinationPort, scope: 0, ipProtocol: key.ipProtocol)
    let reply = FlowKey(
      source: key.destination, sourcePort: key.destinationPort, destination: outside.source,
      destinationPort: outside.sourcePort, scope: 1, ipProtocol: key.ipProtocol)
    let back = FlowKey(
      source: key.destination, sourcePort: key.destinationPort, destination: key.source,
      destinationPort: key.sourcePort, scope: 0, ipProtocol: key.ipProtocol)
    Rewrite.prepare(flows.sessions.flow(session &<< 1), kind: FlowKind.udp, key: key, to: outside)
    Rewrite.prepare(flows.sessions.flow(session &<< 1 | 1), kind: FlowKind.udp, key: reply, to: back)
    flows.sessions.flow(session &<< 1).lastSeen = tick
    flows.sessions.flow(session &<< 1 | 1).lastSeen = tick
    let common = flows.sessions.common(session)
    common.mapping = mapping
    common.remote = key.destination
  }

  /// What packets from outside ask: whose is this endpoint, and may this peer use it?
  private mutating func lookAround(_ host: UInt32, _ peer: UInt32, _ tick: UInt32) {
    let port = UInt16(20_000 + UInt16(truncatingIfNeeded: random.next() % 64)).bigEndian
    guard let mapping = flows.mapping(outside: StressTable.outside, port, IPProtocol.udp, at: tick) else { return }
    if flows.mappings[mapping].outsidePort != port { table.fault() }
    _ = flows.hasSession(mapping, with: 0xC633_0000 | peer, at: tick)
  }

  // MARK: Ports alone

  private mutating func drawPort() {
    if portsHeld.count > 12 || (!portsHeld.isEmpty && random.next() & 1 == 0) {
      return give(portsHeld.remove(at: Int(random.next() % UInt64(portsHeld.count))))
    }
    let range = PortRange(1, 40)
    let port = withUnsafePointer(to: range) {
      flows.pools.takeAny(
        0, IPProtocol.icmp, like: UInt16(truncatingIfNeeded: random.next()),
        ranges: UnsafeBufferPointer(start: $0, count: 1), random: random.next())
    }
    guard let port else { return }
    if table.owners[Int(port)].exchange(UInt32(flows.worker) + 1, ordering: .relaxed) != 0 { table.fault() }
    portsHeld.append(port)
  }

  private func give(_ port: UInt16) {
    if table.owners[Int(port)].exchange(0, ordering: .relaxed) != UInt32(flows.worker) + 1 { table.fault() }
    flows.pools.giveBack(0, IPProtocol.icmp, port)
  }
}
