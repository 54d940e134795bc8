import Synchronization

/// What all workers of one engine share: the tables, which need no lock, and next hops with the frames that wait for
/// them, which have one. A handle; each worker has a `Forwarder` made with it.
///
/// Only what waits for a neighbour, or tells a sender of an error, takes the lock: never a packet of a live session, and
/// never the making of one.
public struct EngineState: @unchecked Sendable {
  let place: UnsafeMutablePointer<Contents>
  var seed: UInt64 { place.pointee.seed }
  /// First time, in nanoseconds: every worker's ticks count from here.
  public let clock: UInt64
  /// Where the tables stand; nil for memory of their own.
  let store: RegionStore?

  struct Contents: ~Copyable {
    let tables: FlowTables
    let seed: UInt64
    let adjacencies: AdjacencyTable
    var holds: HoldPool
    var limiter: ErrorLimiter
    var unsolicited: UnsolicitedList
    let identifications: IdentificationTable
    let lock = Mutex<Void>(())
    /// Written by whoever gives the lock back, read by whoever has it next. The mutex's contended way lies in the standard
    /// library, where the thread sanitizer does not look: this says the same where it does.
    let lockPassed = Atomic(false)

    init(_ tables: FlowTables, seed: UInt64) throws(PlanError) {
      let secret = tables.sessions.secret
      // What can fail comes first: nothing is half made.
      let adjacencies = try AdjacencyTable(secret: secret)
      let holds = try HoldPool()
      let identifications = try IdentificationTable(secret: secret)
      self.tables = tables
      self.seed = seed
      self.adjacencies = adjacencies
      self.holds = holds
      self.identifications = identifications
      limiter = ErrorLimiter(secret: secret)
      unsolicited = UnsolicitedList()
    }

    func release() {
      tables.release()
      adjacencies.release()
      holds.release()
      limiter.release()
      unsolicited.release()
      identifications.release()
    }
  }

  /// - Parameters:
  ///   - seed: settles every random choice and the hash secret.
  ///   - clock: first time, in nanoseconds.
  ///   - store: where the tables are to stand; nil for memory of their own.
  ///   - workers: how many forwarders there will be.
  public init(
    plan: Plan, seed: UInt64, clock: UInt64, store: RegionStore? = nil, workers: Int = 1
  ) throws(PlanError) {
    try self.init(plan: plan, layout: nil, seed: seed, clock: clock, store: store, workers: workers)
  }

  /// - Parameter layout: of an engine that began with another plan; nil for this plan's own.
  init(
    plan: Plan, layout: RegionLayout?, seed: UInt64, clock: UInt64, store: RegionStore? = nil, workers: Int = 1
  ) throws(PlanError) {
    self.clock = clock
    self.store = store
    let rules = try Rules(plan)
    defer { rules.release() }
    let layout = if let layout { layout } else { try RegionLayout(rules) }
    let tables = try FlowTables(
      layout, outsideAddresses: rules.pooledAddresses, seed: seed, workers: workers, memory: store?.memory)
    place = .allocate(capacity: 1)
    do {
      place.initialize(to: try Contents(tables, seed: seed))
    } catch {
      place.deallocate()
      tables.release()
      throw error
    }
  }

  /// For any thread, until `release`.
  public var gauge: TableGauge { TableGauge(tables: place.pointee.tables) }

  /// Takes all memory of the tables now. Without it the kernel gives each page when it is first written to, and that packet
  /// waits for it.
  public func takePages() { place.pointee.tables.region.takePages() }

  /// Gives all memory back, after the last forwarder has ended.
  public func release() {
    place.pointee.release()
    place.deinitialize(count: 1)
    place.deallocate()
  }
}

extension Core {
  // The slow path reaches what is shared by its names.
  var adjacencies: AdjacencyTable { shared.pointee.adjacencies }
  var holds: HoldPool {
    get { shared.pointee.holds }
    nonmutating _modify { yield &shared.pointee.holds }
  }
  var limiter: ErrorLimiter {
    get { shared.pointee.limiter }
    nonmutating _modify { yield &shared.pointee.limiter }
  }
  var unsolicited: UnsolicitedList {
    get { shared.pointee.unsolicited }
    nonmutating _modify { yield &shared.pointee.unsolicited }
  }
  var identifications: IdentificationTable { shared.pointee.identifications }

  /// Runs `body` while no other worker is at next hops, waiting frames, or limits. May be nested.
  mutating func locked<R>(_ body: (inout Core) -> R) -> R {
    if isAlone { return body(&self) }
    if lockDepth == 0 {
      shared.pointee.lock._unsafeLock()
      _ = shared.pointee.lockPassed.load(ordering: .acquiring)
    }
    lockDepth &+= 1
    defer {
      lockDepth &-= 1
      if lockDepth == 0 {
        shared.pointee.lockPassed.store(true, ordering: .releasing)
        shared.pointee.lock._unsafeUnlock()
      }
    }
    return body(&self)
  }
}
