/// Why a plan cannot run.
public enum PlanError: Error, CustomStringConvertible {
  case noMAC(interface: String)
  case tooMany(String)
  case noMemory(bytes: Int)
  case foreignImage

  public var description: String {
    switch self {
    case .noMAC(let interface): "interface \(interface) is Ethernet and has no MAC address"
    case .tooMany(let what): "too many \(what)"
    case .noMemory(let bytes): "cannot reserve \(bytes) bytes for the tables"
    case .foreignImage: "the state is not that of an engine with this configuration"
    }
  }
}

/// The engine: bytes, ingress and time in; rewritten bytes, verdict and egress out. It never reads a clock, a random
/// source, a file or a socket.
///
/// One forwarder belongs to one worker. All memory is taken at the start and none while it runs.
public struct Forwarder: ~Copyable {
  /// Headroom that every received frame needs: room for the longest link header in place of none, and a virtio header.
  public static let headroom = 64

  let core: UnsafeMutablePointer<Core>
  // What the burst loop reads, hoisted out of `core`.
  let links: UnsafeMutablePointer<Link>
  let tags: UnsafeMutableBufferPointer<TagEntry>
  let finder: Finder
  let sessionBase: UnsafeMutableRawPointer
  let sideBase: UnsafeMutableRawPointer
  let hasIPv6: Bool
  let adjacencyBase: UnsafeMutableRawPointer
  let counters: UnsafeMutablePointer<UInt64>
  private let ownState: EngineState?

  /// - Parameters:
  ///   - plan: every Ethernet interface has a MAC, every interface an MTU.
  ///   - links: for each link (`FrameSlot.link`), the interfaces whose frames come in by it; at least one link, none empty.
  ///   - seed: settles every random choice and the hash secret.
  ///   - clock: first time, in nanoseconds.
  ///   - store: where the tables are to stand; nil for memory of their own.
  public init(
    plan: Plan, links linked: [[Int]], seed: UInt64, clock: UInt64, store: RegionStore? = nil
  ) throws(PlanError) {
    let state = try EngineState(plan: plan, seed: seed, clock: clock, store: store)
    do {
      try self.init(plan: plan, links: linked, sharing: state, worker: 0, owns: state)
    } catch {
      state.release()
      throw error
    }
  }

  /// One worker of several.
  ///
  /// - Parameters:
  ///   - plan: the one that `state` was made for.
  ///   - state: lives longer than this forwarder.
  ///   - worker: 0 first, then the others; each is one thread's.
  public init(plan: Plan, links linked: [[Int]], sharing state: EngineState, worker: Int) throws(PlanError) {
    try self.init(plan: plan, links: linked, sharing: state, worker: worker, owns: nil)
  }

  init(
    plan: Plan, links linked: [[Int]], sharing state: EngineState, worker: Int, owns owned: EngineState?,
    image: EngineImage? = nil
  ) throws(PlanError) {
    let core = UnsafeMutablePointer<Core>.allocate(capacity: 1)
    do {
      core.initialize(to: try Core(plan: plan, links: linked, sharing: state, worker: worker))
    } catch {
      core.deallocate()
      throw error
    }
    do {
      try core.pointee.settle(plan, state)
      if let image { try core.pointee.load(image) }
    } catch {
      Self.end(core)
      throw error
    }
    self.core = core
    ownState = owned
    links = core.pointee.links.baseAddress!
    tags = core.pointee.tags
    finder = Finder(secret: core.pointee.flows.sessions.secret, index: core.pointee.flows.sessions.index)
    sessionBase = core.pointee.flows.sessions.base
    sideBase = core.pointee.flows.sessions.sides.start
    hasIPv6 = core.pointee.flows.tables.region.layout.hasIPv6
    adjacencyBase = core.pointee.adjacencies.base
    counters = core.pointee.counters.words
  }

  deinit {
    Self.end(core)
    ownState?.release()
  }

  private static func end(_ core: UnsafeMutablePointer<Core>) {
    core.pointee.release()
    core.deinitialize(count: 1)
    core.deallocate()
  }

  /// Judges `count` frames in order. The outbox of the call before is gone with it.
  public mutating func process(_ slots: UnsafeMutablePointer<FrameSlot>, count: Int) {
    core.pointee.begin()
    var done = 0
    while done < count {
      let next = min(Self.burst, count &- done)
      parseStage(slots + done, next)
      matchStage(slots + done, next)
      rewriteStage(slots + done, next, position: done)
      done &+= next
    }
  }

  /// Fires every timer due at or before `time`. The outbox of the call before is gone with it.
  public mutating func advance(to time: UInt64) {
    core.pointee.begin()
    core.pointee.advance(to: time)
  }

  public var interfaceCount: Int { core.pointee.interfaces.count }

  /// Before a sleep: until `wake`, no other worker waits for this one. False where it should wake soon, since memory that
  /// it has taken out of the tables waits for other workers.
  public mutating func sleep() -> Bool { core.pointee.flows.sleep() }

  /// After a sleep.
  public mutating func wake() { core.pointee.flows.passBurst() }

  /// The engine's clock, in nanoseconds.
  public var clock: UInt64 { core.pointee.clock.now }

  /// When the next timer is due that would do something visible; `UInt64.max` for none.
  public var nextDeadline: UInt64 {
    core.pointee.releases.count > 0 ? core.pointee.clock.now : core.pointee.timers.nextDue
  }

  /// When the last live session expires, if no frame comes any more; the clock if there is none.
  public var idleDeadline: UInt64 {
    let clock = core.pointee.clock
    guard let tick = core.pointee.flows.sessions.latestDeadline(at: clock.tick) else { return clock.now }
    return max(clock.now, clock.time(of: tick))
  }

  /// Frames made or released by the last call of `process` or `advance`, in order.
  public var outbox: UnsafeBufferPointer<OutboxFrame> { core.pointee.outbox.all }

  /// The sender could not send a forwarded frame: it is counted as dropped instead.
  public mutating func takeBack(ingress: Int, reason: DropReason) {
    core.pointee.counters.words[ingress * Counters.row + Counters.forwarded] &-= 1
    core.pointee.counters.drop(UInt16(truncatingIfNeeded: ingress), reason)
  }

  // MARK: Reports

  public func counts(interface: Int) -> InterfaceCounts { core.pointee.counters.counts(interface) }

  public func drops(interface: Int, reason: DropReason) -> UInt64 { core.pointee.counters.drops(interface, reason) }

  public func count(of event: Event) -> UInt64 {
    switch event {
    case .sessionCreated: sessionCounts.created
    case .sessionExpired: sessionCounts.expired
    case .mappingCreated: core.pointee.tables.words.createdMappings.plain
    case .mappingExpired: core.pointee.tables.words.expiredMappings.plain
    case .sessionEvicted: core.pointee.tables.words.evictedSessions.plain
    default: core.pointee.counters.count(event)
    }
  }

  /// By the clock, swept or not; walks the table.
  public var sessionCounts: SessionCounts {
    var counts = SessionCounts()
    counts.created = core.pointee.tables.words.createdSessions.plain
    counts.live = UInt64(core.pointee.liveSessions)
    counts.expired = counts.created - counts.live
    return counts
  }

  /// At most `limit` live sessions, in table order.
  public func sessions(limit: Int) -> [SessionReport] {
    var reports: [SessionReport] = []
    let table = core.pointee.flows.sessions
    var session: UInt32 = 1
    while session < table.highWater, reports.count < limit {
      if core.pointee.isLive(session) { reports.append(report(session)) }
      session += 1
    }
    return reports
  }

  func report(_ session: UInt32) -> SessionReport { core.pointee.report(session) }

  /// For any thread, for as long as the forwarder lives.
  public var gauge: TableGauge { TableGauge(tables: core.pointee.tables) }

  /// Bytes reserved for the session table and its index.
  public var tableBytes: Int { core.pointee.tables.region.layout.sessionTableBytes }

  /// The same for mappings, and for the remote addresses that may use them.
  public var mappingTableBytes: Int { core.pointee.tables.region.layout.mappingTableBytes }
}
