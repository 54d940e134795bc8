import Engine
import Glibc

/// Several workers on one engine's state, driven by one thread: they take frames in turns, pieces of a datagram by its
/// addresses. To whoever looks from outside they are one engine: same frames in, same frames out.
struct Team: ~Copyable {
  private let state: EngineState
  private var plan: Plan
  private let links: [[Int]]
  /// `SLUICE_TEST_IMAGES`: each step is another engine's, which goes on from an image of the one before.
  private let hops: Bool
  private let forwarders: UnsafeMutablePointer<Forwarder>
  private let count: Int
  private var turn = 0
  private var copies: [UnsafeMutableRawPointer] = []
  /// Frames made or released by the last call, in order.
  private(set) var outbox: [OutboxFrame] = []
  /// The worker that has seen the latest time.
  private var latest = 0

  /// How many workers tests have that say nothing of it: `SLUICE_TEST_WORKERS`, else one.
  static var usualCount: Int {
    getenv("SLUICE_TEST_WORKERS").flatMap { Int(String(cString: $0)) } ?? 1
  }

  init(
    plan: Plan, links: [[Int]], seed: UInt64, clock: UInt64, store: RegionStore? = nil, workers: Int
  ) throws {
    let state = try EngineState(plan: plan, seed: seed, clock: clock, store: store, workers: workers)
    let forwarders = UnsafeMutablePointer<Forwarder>.allocate(capacity: workers)
    for worker in 0..<workers {
      do {
        (forwarders + worker).initialize(
          to: try Forwarder(plan: plan, links: links, sharing: state, worker: worker))
      } catch {
        forwarders.deinitialize(count: worker)
        forwarders.deallocate()
        state.release()
        throw error
      }
    }
    self.state = state
    self.plan = plan
    self.links = links
    hops = workers == 1 && store == nil && getenv("SLUICE_TEST_IMAGES") != nil
    self.forwarders = forwarders
    count = workers
  }

  deinit {
    forwarders.deinitialize(count: count)
    forwarders.deallocate()
    state.release()
    for copy in copies { copy.deallocate() }
  }

  // MARK: Steps

  mutating func process(_ slots: UnsafeMutablePointer<FrameSlot>, count: Int) {
    begin()
    if hops { hop() }
    guard self.count > 1 else {
      forwarders[0].process(slots, count: count)
      outbox = Array(forwarders[0].outbox)
      return
    }
    for index in 0..<count {
      // The clock never runs back, whoever has seen it last.
      slots[index].time = max(slots[index].time, forwarders[latest].clock)
      fire(until: slots[index].time, position: index)
      let worker = choose(slots[index])
      forwarders[worker].process(slots + index, count: 1)
      latest = worker
      take(from: worker, position: index)
      fire(until: slots[index].time, position: index + 1)
    }
  }

  mutating func advance(to time: UInt64) {
    begin()
    if hops { hop() }
    guard count > 1 else {
      forwarders[0].advance(to: time)
      outbox = Array(forwarders[0].outbox)
      return
    }
    fire(until: time, position: 0)
    for worker in 0..<count {
      forwarders[worker].advance(to: time)
      take(from: worker, position: 0)
    }
  }

  /// Each worker in turn takes the new rules over, the first one first.
  mutating func replace(_ plan: Plan) throws {
    begin()
    defer { self.plan = plan }
    for worker in 0..<count {
      try forwarders[worker].replace(try Rules(plan)).release()
      take(from: worker, position: 0)
    }
  }

  /// Goes on as another engine.
  mutating func hop() {
    precondition(count == 1, "several workers have no image")
    do {
      var image = try EngineImage(capacity: 1 << 30)
      defer { image.release() }
      guard forwarders[0].save(to: &image) else { fatalError("an engine has no image") }
      forwarders.pointee = try Forwarder(plan: plan, links: links, image: image)
    } catch {
      fatalError("an engine does not go on from its image: \(error)")
    }
  }

  private mutating func begin() {
    outbox = []
    for copy in copies { copy.deallocate() }
    copies = []
  }

  /// Timers of all workers, each at its own time.
  private mutating func fire(until time: UInt64, position: Int) {
    while true {
      let worker = (0..<count).min { forwarders[$0].nextDeadline < forwarders[$1].nextDeadline }!
      let due = forwarders[worker].nextDeadline
      guard due <= time else { return }
      forwarders[worker].advance(to: max(due, forwarders[worker].clock))
      if forwarders[worker].clock > forwarders[latest].clock { latest = worker }
      take(from: worker, position: position)
    }
  }

  /// A worker's outbox lives until its next call.
  private mutating func take(from worker: Int, position: Int) {
    for var frame in forwarders[worker].outbox {
      let copy = UnsafeMutableRawPointer.allocate(byteCount: max(1, Int(frame.length)), alignment: 8)
      copy.copyMemory(from: frame.bytes, byteCount: Int(frame.length))
      copies.append(copy)
      frame.bytes = copy
      frame.position += UInt16(position)
      outbox.append(frame)
    }
  }

  /// Every frame has another worker than the one before, but the pieces of a datagram have one.
  private mutating func choose(_ slot: FrameSlot) -> Int {
    turn += 1
    let bytes = UnsafeRawBufferPointer(start: slot.bytes, count: Int(slot.length))
    for start in [14, 18, 22, 0] where bytes.count >= start + 20 && bytes[start] >> 4 == 4 {
      let isPiece = (UInt16(bytes[start + 6]) << 8 | UInt16(bytes[start + 7])) & 0x3FFF != 0
      if isPiece { return bytes[start + 12..<start + 20].reduce(0) { ($0 * 31 + Int($1)) % 65_521 } % count }
      break
    }
    return turn % count
  }

  // MARK: Questions

  func counts(interface: Int) -> InterfaceCounts {
    (0..<count).reduce(into: InterfaceCounts()) { $0 += forwarders[$1].counts(interface: interface) }
  }
  func drops(interface: Int, reason: DropReason) -> UInt64 {
    (0..<count).reduce(0) { $0 &+ forwarders[$1].drops(interface: interface, reason: reason) }
  }
  func count(of event: Event) -> UInt64 {
    switch event {
    case .sessionCreated, .sessionExpired, .mappingCreated, .mappingExpired: forwarders[latest].count(of: event)
    default: (0..<count).reduce(0) { $0 + forwarders[$1].count(of: event) }
    }
  }
  var sessionCounts: SessionCounts { forwarders[latest].sessionCounts }
  var gauge: TableGauge { forwarders[0].gauge }
  var openings: [OpeningReport?] { forwarders[latest].openings }
  func sessions(limit: Int) -> [SessionReport] { forwarders[latest].sessions(limit: limit) }
  var nextDeadline: UInt64 { (0..<count).reduce(.max) { min($0, forwarders[$1].nextDeadline) } }
  var idleDeadline: UInt64 { forwarders[latest].idleDeadline }
  mutating func takeBack(ingress: Int, reason: DropReason) {
    forwarders[latest].takeBack(ingress: ingress, reason: reason)
  }
  func forecast(under rules: Rules) -> [SessionForecast] {
    forwarders[latest].forecast(under: rules, places: 0..<forwarders[latest].sessionPlaces)
  }
  /// For the first one to do, before anybody has seen a frame.
  mutating func adopt(_ saved: SavedRegion) -> AdoptionReport { forwarders[0].adopt(saved) }
  mutating func cut(identity: UInt64) -> Bool { forwarders[latest].cut(identity: identity) }
}
