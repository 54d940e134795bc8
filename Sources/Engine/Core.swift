import Synchronization

/// Everything the engine knows, in one place that the forwarder points to: tables, clock, outbox and counters.
///
/// The burst loop (`FastPath.swift`) reads its hot parts through pointers hoisted into the forwarder; whatever it cannot
/// settle goes through the methods of `Core`, which stand in the room of what they are about.
struct Core: ~Copyable {
  var rules: Rules
  /// Of the rules: what a session carries to tell whether it was found right under them.
  var generation: UInt16 = 1
  var pass = ReviewPass()
  var clock: Clock
  let shared: UnsafeMutablePointer<EngineState.Contents>
  let tables: FlowTables
  var flows: Flows
  /// No other worker is there.
  let isAlone: Bool
  var lockDepth = 0
  /// Next hops whose frames this worker has in its outbox: see `Core.resolve`.
  var releases = Releases()
  /// Held frames whose bytes stand in the outbox.
  var leaving: LeavingFrames
  var timers: TimerQueue
  /// When the timer for each place of `Openings` is due; 0 for none.
  var armed = [UInt64](repeating: 0, count: Openings.capacity)
  var outbox: Outbox
  var fragments: FragmentTable
  /// Pieces that wait for the first one of their datagram; apart from `holds`, so that they take nothing from it.
  var fragmentHolds: HoldPool
  var leavingFragments: LeavingFrames
  var counters: Counters
  let links: UnsafeMutableBufferPointer<Link>
  let tags: UnsafeMutableBufferPointer<TagEntry>
  /// Never read: what has raw layout in it has an address for good, and that is what methods get. Without it those that
  /// change nothing get a copy of all 3 KB, a sixth of what a new session costs (swiftc 6.3, LoadableByAddress).
  private let address = Atomic<UInt8>(0)

  init(plan: Plan, links linked: [[Int]], sharing state: EngineState, worker: Int) throws(PlanError) {
    // What can fail comes first: nothing is half made.
    let rules = try Rules(plan)
    let outbox = try Outbox()
    let fragmentHolds = try HoldPool(small: 2048, large: 32)
    self.rules = rules
    self.outbox = outbox
    self.fragmentHolds = fragmentHolds
    clock = Clock(now: state.clock)
    shared = state.place
    tables = state.place.pointee.tables
    flows = Flows(tables, worker: worker)
    flows.quarantine = rules.timeouts.quarantine
    isAlone = tables.quiescence.isAlone
    leaving = LeavingFrames(capacity: HoldPool.usualPlaces)
    timers = TimerQueue(capacity: AdjacencyTable.capacity + UnsolicitedList.capacity + 1 + 2 * Openings.capacity)
    fragments = FragmentTable(secret: tables.sessions.secret)
    leavingFragments = LeavingFrames(capacity: 2048 + 32)
    counters = Counters(interfaces: plan.interfaces.count)
    links = Self.makeLinks(linked, rules)
    tags = Self.makeTags(linked, rules)
  }

  /// Puts into the tables what the plan says of them. Openings are each worker's own: it knows the places that the first
  /// one has given.
  mutating func settle(_ plan: Plan, _ state: EngineState) throws(PlanError) {
    exchangeTriggers()
    guard flows.worker == 0 else { return }
    exchangeReserved(ReservedPorts(), rules.reserved)
    for neighbor in plan.neighbors { try addPermanent(neighbor) }
    for neighbor in plan.neighbors6 {
      guard addPermanent(neighbor) else { throw .tooMany("neighbours") }
    }
    if let store = state.store {
      // What can refuse has not: from here on another engine may take the region over.
      RegionNote(start: store.memory).write(
        baseTick: clock.base, boot: store.boot, seed: state.seed, interfaces: plan.interfaces.map(\.name))
    }
  }

  func release() {
    leaving.release()
    leavingFragments.release()
    timers.release()
    outbox.release()
    fragments.release()
    fragmentHolds.release()
    counters.release()
    links.deallocate()
    tags.deallocate()
    rules.release()
  }

  private static func makeLinks(_ linked: [[Int]], _ rules: Rules) -> UnsafeMutableBufferPointer<Link> {
    let interfaces = rules.interfaces
    let links = UnsafeMutableBufferPointer<Link>.allocate(capacity: linked.count)
    for (index, members) in linked.enumerated() {
      var link = Link()
      link.first = UInt16(members.first ?? 0)
      for member in members {
        if interfaces[member].isRawIP {
          link.rawIP = UInt16(member)
        } else {
          // Members with MACs of their own are told apart by the slow path: no frame is for the zero address.
          link.mac = member == members[0] || link.mac == interfaces[member].mac ? interfaces[member].mac : 0
          if rules.plan.interfaces[member].tags.isEmpty { link.untagged = UInt16(member) }
        }
      }
      if link.untagged != Link.none, link.mac != 0 { link.untaggedMAC = link.mac &<< 16 }
      link.scope = FlowKey.scope(link.untagged)
      links.initializeElement(at: index, to: link)
    }
    return links
  }

  private static func makeTags(_ linked: [[Int]], _ rules: Rules) -> UnsafeMutableBufferPointer<TagEntry> {
    var entries: [TagEntry] = []
    for (index, members) in linked.enumerated() {
      for member in members where !rules.interfaces[member].isRawIP {
        entries.append(
          TagEntry(
            link: UInt16(index), interface: UInt16(member), rules.plan.interfaces[member].tags,
            rules.interfaces[member].mac))
      }
    }
    let table = UnsafeMutableBufferPointer<TagEntry>.allocate(capacity: entries.count)
    _ = table.initialize(from: entries)
    return table
  }

  private mutating func addPermanent(_ neighbor: NeighborPlan) throws(PlanError) {
    let interface = interfaces[neighbor.interface]
    guard !interface.isRawIP else { return }
    let egress = UInt16(neighbor.interface)
    guard
      let adjacency = adjacencies.insert(
        egress: egress, address: neighbor.address.wire, mtu: interface.mtu, header: interface.header)
    else { throw .tooMany("neighbours") }
    adjacencies.setLinkAddress(adjacency, neighbor.mac.raw)
    adjacencies[adjacency].state = AdjacencyState.permanent
  }

  // MARK: Time

  /// Begins a call: what the one before left in the outbox is gone.
  mutating func begin() {
    outbox.clear()
    leavingFragments.free(into: &fragmentHolds)
    let shared = shared
    if !leaving.isEmpty { locked { $0.leaving.free(into: &shared.pointee.holds) } }
    flows.passBurst()
    if releases.count > 0 { finishReleases() }
  }

  /// Moves the clock on: timers due by then fire first, each at its own time.
  @inline(never)
  mutating func advance(to time: UInt64) {
    while let timer = timers.take(dueBy: time) {
      move(to: timer.due)
      switch timer.kind {
      case .neighbor: neighborTimer(UInt16(truncatingIfNeeded: timer.index))
      case .unsolicited: unsolicitedTimer(timer.index)
      case .fragment: fragmentTimer()
      case .trigger: triggerTimer(timer.index, due: timer.due)
      }
    }
    move(to: time)
  }

  private mutating func move(to time: UInt64) {
    guard time > clock.now else { return }
    let ticks = clock.set(time)
    guard ticks > 0 else { return }
    if ticks >= Clock.farTicks {
      flows.expireAll()
      flows.openings.closeAll()
    } else {
      flows.sweep(ticks: UInt32(truncatingIfNeeded: ticks), at: clock.tick)
      reviewSome(ticks: UInt32(truncatingIfNeeded: ticks))
    }
  }

  // MARK: Verdicts

  mutating func drop(_ slot: UnsafeMutablePointer<FrameSlot>, _ reason: DropReason) {
    slot.pointee.verdict = .drop
    slot.pointee.reason = reason
    counters.drop(slot.pointee.ingress, reason)
  }

  mutating func consume(_ slot: UnsafeMutablePointer<FrameSlot>) {
    slot.pointee.verdict = .consume
    counters.add(slot.pointee.ingress, Counters.consumed)
  }

  mutating func pass(_ slot: UnsafeMutablePointer<FrameSlot>) {
    slot.pointee.verdict = .pass
    counters.add(slot.pointee.ingress, Counters.passed)
  }
}

/// Timeouts in ticks.
struct TickTimeouts {
  let udp: UInt32
  let udpDNS: UInt32
  let icmp: UInt32
  let other: UInt32
  /// Nanoseconds.
  let unsolicited: UInt64
  let quarantine: UInt32
  /// Nanoseconds that pieces wait for the first one, and that a datagram in pieces is remembered.
  let fragment: UInt64
  /// How long an identification belongs to one datagram.
  let identification: UInt32
  let tcp: TCPTimeouts

  init(_ plan: TimeoutPlan) {
    udp = Self.ticks(plan.udp)
    udpDNS = Self.ticks(plan.udpDNS)
    icmp = Self.ticks(plan.icmp)
    other = Self.ticks(plan.other)
    unsolicited = UInt64(min(max(plan.unsolicited, 1), 31_536_000)) * 1_000_000_000
    quarantine = Self.ticks(plan.quarantine)
    fragment = UInt64(min(max(plan.fragment, 1), 31_536_000)) * 1_000_000_000
    identification = Self.ticks(plan.identification)
    tcp = TCPTimeouts(
      established: Self.ticks(plan.tcpEstablished), opening: Self.ticks(plan.tcpOpening),
      closing: Self.ticks(plan.tcpClosing), reset: Self.ticks(plan.tcpReset))
  }

  /// How long a session may be idle; `state` matters for TCP alone.
  func idle(kind: UInt8, key: FlowKey, state: UInt8) -> UInt32 {
    switch kind {
    case FlowKind.tcp, FlowKind.helped: tcp.idle(in: state)
    case FlowKind.udp: key.destinationPort == UInt16(53).bigEndian ? udpDNS : udp
    case FlowKind.other: other
    default: icmp
    }
  }

  /// At most 365 days, which keeps ticks comparable.
  static func ticks(_ seconds: Int) -> UInt32 {
    UInt32(truncatingIfNeeded: min(max(seconds, 0), 31_536_000)) &* Clock.ticksPerSecond
  }
}

/// Counters of all interfaces: rows of 128 words, kept by the one worker that owns the forwarder.
struct Counters {
  static let received = 0
  static let forwarded = 1
  static let dropped = 2
  static let consumed = 3
  static let passed = 4
  static let held = 5
  static let generated = 6
  /// Forwarded by the fast path: received and forwarded at once, and counted as neither.
  static let fast = 7
  private static let firstReason = 64
  static let row = 128

  let words: UnsafeMutablePointer<UInt64>
  let interfaces: Int
  private let events: UnsafeMutablePointer<UInt64>

  init(interfaces: Int) {
    self.interfaces = interfaces
    words = .allocate(capacity: max(1, interfaces) * Self.row)
    words.initialize(repeating: 0, count: max(1, interfaces) * Self.row)
    events = .allocate(capacity: Event.allCases.count)
    events.initialize(repeating: 0, count: Event.allCases.count)
  }

  func release() {
    words.deallocate()
    events.deallocate()
  }

  func pass(_ state: inout StatePass) {
    state.memory(words, max(1, interfaces) * Self.row)
    state.memory(events, Event.allCases.count)
  }

  @inline(__always)
  func add(_ interface: UInt16, _ counter: Int, _ amount: UInt64 = 1) {
    words[Int(interface) &* Self.row &+ counter] &+= amount
  }

  func drop(_ interface: UInt16, _ reason: DropReason) {
    add(interface, Self.dropped)
    add(interface, Self.firstReason &+ Int(reason.rawValue))
  }

  func drops(_ interface: Int, _ reason: DropReason) -> UInt64 {
    words[interface * Self.row + Self.firstReason + Int(reason.rawValue)]
  }

  func add(_ event: Event) { events[Int(event.rawValue)] &+= 1 }
  func count(_ event: Event) -> UInt64 { events[Int(event.rawValue)] }

  func counts(_ interface: Int) -> InterfaceCounts {
    let row = words + interface * Self.row
    var counts = InterfaceCounts()
    // A frame whose sending failed is taken off `forwarded` alone, which may so be less than nothing.
    counts.received = row[Self.received] &+ row[Self.fast]
    counts.forwarded = row[Self.forwarded] &+ row[Self.fast]
    counts.dropped = row[Self.dropped]
    counts.consumed = row[Self.consumed]
    counts.passed = row[Self.passed]
    counts.held = row[Self.held]
    counts.generated = row[Self.generated]
    return counts
  }
}
