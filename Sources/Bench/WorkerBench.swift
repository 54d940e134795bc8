import Capture
import Engine
import Glibc

/// What the workers of one bench share, and which of them this is.
struct WorkerPlace {
  var plan: Plan
  var state: EngineState
  var worker: Int
  /// Flows of one worker: those of worker k are numbered from k times as many on.
  var flows: Int
  var workers: Int
}

/// One worker with its traffic, on one thread.
struct WorkerBench: ~Copyable {
  var forwarder: Forwarder
  var generator: Generator
  private let options: EngineBenchOptions
  private let flows: Int
  private let allFlows: Int
  private let capacity: Int
  private var packetsSent: UInt64 = 0
  private let recorder: FlightRecorder?

  /// Bursts between two looks at the clock.
  private static let burstsPerTurn = 256
  /// Sessions that a rate of new ones stands on at least, where there are as many.
  private static let fewestNewSessions = 4096

  /// - Parameter place: nil for one that shares nothing.
  init(options: EngineBenchOptions, flows: Int, seed: UInt64, place: WorkerPlace? = nil) throws(EngineBenchError) {
    self.options = options
    self.flows = flows
    allFlows = flows * (place?.workers ?? 1)
    let plan = place?.plan ?? BenchPlan.make(flows: flows, options)
    capacity = plan.sessions
    let recorder: FlightRecorder?
    do throws(PlanError) {
      recorder = try options.recorder.map { kept throws(PlanError) in
        try FlightRecorder(
          links: 2, bytes: RecorderPlan().memory, stateBytes: RecorderPlan().state, isWhole: kept == .whole,
          burst: Generator.burst)
      }
      if let place {
        forwarder = try Forwarder(plan: plan, links: [[0], [1]], sharing: place.state, worker: place.worker)
      } else {
        forwarder = try Forwarder(plan: plan, links: [[0], [1]], seed: seed, clock: Generator.start)
      }
    } catch {
      throw EngineBenchError(description: "\(error)")
    }
    self.recorder = recorder
    generator = Generator(options: options, flows: flows, first: (place?.worker ?? 0) * flows, seed: seed)
  }

  /// Of all that grows with the number of sessions and that these use; a masquerade's have mappings of their own.
  var bytesPerSession: Double {
    let bytes = forwarder.tableBytes + (options.origin == .masquerade ? forwarder.mappingTableBytes : 0)
    return Double(bytes) / Double(capacity)
  }

  /// Makes every session, by the first frame of each client; then brings TCP through its handshake.
  ///
  /// - Returns: processor time in the engine for each of the last new sessions, nanoseconds: what one costs where that many
  ///   are alive.
  mutating func establish() throws(EngineBenchError) -> Double {
    let last = min(flows, max(flows / 10, Self.fewestNewSessions))
    _ = pass(.open, 0..<flows - last, judged: true)
    let both = pass(.open, flows - last..<flows, judged: true)
    let alone = pass(.open, flows - last..<flows, judged: false)
    // Others of several workers are at it still.
    if flows == allFlows { try check("made") }
    let udpFlows = generator.traffic.udpFlows
    _ = pass(.answer, 0..<udpFlows, judged: true)
    _ = pass(.accept, udpFlows..<flows, judged: true)
    _ = pass(.confirm, udpFlows..<flows, judged: true)
    try checkForwarded()
    return max(0.1, Double(both) - Double(alone)) / Double(last)
  }

  /// Runs one frame of each of these flows, and takes the processor time of it.
  private mutating func pass(_ step: Generator.Step, _ range: Range<Int>, judged: Bool) -> UInt64 {
    let begin = threadNanoseconds()
    var flow = range.lowerBound
    while flow < range.upperBound {
      let count = min(Generator.burst, range.upperBound - flow)
      generator.fill(step, from: flow, count: count)
      if judged { process(count) }
      flow += count
    }
    return threadNanoseconds() - begin
  }

  /// - Returns: nanoseconds for one frame in the engine, and in the generator; medians over all turns.
  mutating func measure() throws(EngineBenchError) -> (engine: Double, generator: Double) {
    let end = wallNanoseconds() + UInt64(options.seconds * 1e9)
    var left = options.packets.map { ($0 + Generator.burst - 1) / Generator.burst } ?? .max
    var engine: [Double] = []
    var alone: [Double] = []
    if options.packets == nil { turn(Self.burstsPerTurn, judged: true) }
    repeat {
      let bursts = min(left, Self.burstsPerTurn)
      let packets = Double(bursts * Generator.burst)
      let first = threadNanoseconds()
      turn(bursts, judged: true)
      let second = threadNanoseconds()
      turn(bursts, judged: false)
      let third = threadNanoseconds()
      engine.append((Double(second - first) - Double(third - second)) / packets)
      alone.append(Double(third - second) / packets)
      left -= bursts
    } while options.packets == nil ? wallNanoseconds() < end : left > 0
    try checkForwarded()
    try check("alive")
    return (max(0.1, Self.median(engine)), Self.median(alone))
  }

  /// Times every burst by itself: which takes longer in all, so `measure` does without.
  mutating func measureLatency() throws(EngineBenchError) -> LatencyHistogram {
    let end = wallNanoseconds() + UInt64(options.seconds * 1e9)
    var histogram = LatencyHistogram()
    var now: UInt64
    repeat {
      generator.fillNext()
      let begin = wallNanoseconds()
      process(Generator.burst)
      now = wallNanoseconds()
      histogram.add(now - begin)
    } while now < end
    try checkForwarded()
    return histogram
  }

  mutating func turn(_ bursts: Int, judged: Bool) {
    for _ in 0..<bursts {
      generator.fillNext()
      if judged { process(Generator.burst) }
    }
  }

  mutating func process(_ count: Int) {
    if let recorder, recorder.wantsState { recorder.keepState { forwarder.save(to: &$0) } }
    recorder?.willJudge(generator.slots, count: count)
    forwarder.process(generator.slots, count: count)
    recorder?.didJudge(generator.slots, count: count, outbox: forwarder.outbox)
    packetsSent &+= UInt64(count)
  }

  func checkForwarded() throws(EngineBenchError) {
    var counts = InterfaceCounts()
    for interface in 0..<2 { counts += forwarder.counts(interface: interface) }
    guard counts.forwarded != packetsSent else { return }
    let reasons = DropReason.allCases.filter { reason in
      (0..<2).contains { forwarder.drops(interface: $0, reason: reason) > 0 }
    }
    throw EngineBenchError(
      description: "the engine forwarded \(counts.forwarded) of \(packetsSent) frames"
        + (reasons.isEmpty ? "" : " (\(reasons.map(\.name).joined(separator: ", ")))"))
  }

  private func check(_ what: String) throws(EngineBenchError) {
    let live = Int(forwarder.sessionCounts.live)
    if live != allFlows { throw EngineBenchError(description: "\(live) of \(allFlows) sessions were \(what)") }
  }

  private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}
