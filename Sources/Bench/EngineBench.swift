import Engine
import Glibc

/// What `sluice bench engine` measures.
public struct EngineBenchOptions: Sendable {
  /// How often each session is used.
  public enum Mix: String, Sendable, CaseIterable { case uniform, zipf }
  /// What the sessions are: UDP, or TCP connections after their handshake.
  public enum Kind: String, Sendable, CaseIterable { case udp, tcp }
  /// What makes the sessions: clients outside that use a port forward, or one inside that is masqueraded.
  public enum Origin: String, Sendable, CaseIterable { case forward, masquerade }
  /// UDP through a forward alone is there for IPv6, which rewrites addresses and ports as for IPv4.
  public enum Family: String, Sendable, CaseIterable { case ipv4, ipv6 }
  /// What the flight recorder keeps of each frame.
  public enum Recorder: String, Sendable, CaseIterable { case headers, whole }

  /// Live sessions.
  public var flows = 1000
  /// Bytes of a frame, Ethernet header included, frame check sequence not.
  public var frameBytes = 60
  public var mix = Mix.uniform
  public var kind = Kind.udp
  public var origin = Origin.forward
  public var family = Family.ipv4
  /// nil: nothing is recorded.
  public var recorder: Recorder?
  /// Which flow comes when, which way and how long; in place of `flows`, `frameBytes`, `mix` and `kind`.
  public var capture: CaptureMix?
  /// Seconds to measure for, after the sessions have been made.
  public var seconds = 2.0
  /// Frames to measure, in whole bursts, in place of `seconds`: for counting instructions.
  public var packets: Int?
  /// Whether to time each burst as well, for as long again.
  public var measuresLatency = false
  /// Workers of one engine, each with its share of the flows.
  public var workers = 1
  public var seed: UInt64 = 0

  public init() {}

  /// Frame sizes that hold every header and fit an Ethernet frame.
  public static let frameSizes = 60...1514
  /// More would not fit into the addresses that the generator has.
  public static let mostFlows = 1 << 26
}

/// One line of the result.
public struct EngineBenchRow: Sendable {
  public var flows: Int
  public var frameBytes: Int
  /// Processor time in the engine for one frame, the generator's own share taken off.
  public var nanosecondsPerPacket: Double
  /// Of all workers together.
  public var packetsPerSecond: Double
  public var newSessionsPerSecond: Double
  /// Memory of the session table and its indexes, for each session of its capacity.
  public var bytesPerSession: Double
  /// Of this process, once the sessions have been made; nil where the kernel does not tell.
  public var hugePageBytes: Int?
  /// What the generator took for one frame, already taken off above.
  public var generatorNanoseconds: Double
  /// Time that passes from handing over a burst of 32 frames to its last verdict, where it was asked for.
  public var latency: LatencyHistogram?

  /// The quantiles that are told, by name.
  public static let quantiles: [(name: String, share: Double)] = [
    ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1),
  ]

  /// The row as the contract has it, with `huge_page_bytes`; `burst_latency_ns` is added where it was asked for.
  public var json: String {
    "{\"flows\":\(flows),\"frame_bytes\":\(frameBytes),\"ns_per_packet\":\(Self.tenths(nanosecondsPerPacket)),"
      + "\"packets_per_second\":\(Int(packetsPerSecond)),\"new_sessions_per_second\":\(Int(newSessionsPerSecond)),"
      + "\"bytes_per_session\":\(Self.tenths(bytesPerSession))"
      + (hugePageBytes.map { ",\"huge_page_bytes\":\($0)" } ?? "") + "\(latencyJSON)}"
  }

  private var latencyJSON: String {
    guard let latency else { return "" }
    let fields = Self.quantiles.map { "\"\($0.name)\":\(latency.quantile($0.share))" }
    return ",\"burst_latency_ns\":{\(fields.joined(separator: ","))}"
  }

  static func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}

extension EngineBenchRow {
  /// Costs are means over the workers, rates their sums.
  fileprivate mutating func add(_ result: WorkerTask.WorkerResult, workers: Int) {
    nanosecondsPerPacket += result.nanosecondsPerPacket / Double(workers)
    generatorNanoseconds += result.generatorNanoseconds / Double(workers)
    packetsPerSecond += 1e9 / result.nanosecondsPerPacket
    newSessionsPerSecond += 1e9 / result.nanosecondsPerSession
    bytesPerSession += result.bytesPerSession / Double(workers)
    guard let more = result.latency else { return }
    latency = latency ?? LatencyHistogram()
    latency?.add(more)
  }
}

/// The engine did not do what a measurement stands on.
public struct EngineBenchError: Error, CustomStringConvertible {
  public var description: String
}

/// The engine alone, in memory: no system call, no copy of a frame, no device.
///
/// Every session is a client on the Internet that uses one port forward, or an inside host's to a server outside; frames go
/// both ways in equal number, or as a capture has them. The frames
/// of a burst lie in a ring like a device's. The engine rewrites in place, so each frame is written anew before it is
/// judged again (its first cache line: that is what a device has just written, too). The cost of that writing is
/// measured by the same loop without the engine, in turns with it, and taken off; both are thread processor time, and
/// each figure is the median of many turns, so that a busy neighbour on the machine shows in neither.
public enum EngineBench {
  /// Measures one row.
  ///
  /// - Parameter onPhase: called from the first worker's thread with what begins now.
  public static func run(
    _ options: EngineBenchOptions, onPhase: @escaping @Sendable (String) -> Void = { _ in }
  ) throws -> EngineBenchRow {
    let share = options.capture?.flows ?? max(1, options.flows / options.workers)
    let plan = BenchPlan.make(flows: share * options.workers, options)
    let state: EngineState
    do throws(PlanError) {
      state = try EngineState(plan: plan, seed: options.seed, clock: Generator.start, workers: options.workers)
    } catch {
      throw EngineBenchError(description: "\(error)")
    }
    defer { state.release() }
    // As the gateway has them.
    state.takePages()
    let team = UnsafeMutablePointer<WorkerTask>.allocate(capacity: options.workers)
    let gate = UnsafeMutablePointer<pthread_barrier_t>.allocate(capacity: 1)
    defer {
      team.deinitialize(count: options.workers)
      team.deallocate()
      pthread_barrier_destroy(gate)
      gate.deallocate()
    }
    pthread_barrier_init(gate, nil, UInt32(options.workers))
    for index in 0..<options.workers {
      (team + index).initialize(
        to: WorkerTask(
          options: options,
          place: WorkerPlace(plan: plan, state: state, worker: index, flows: share, workers: options.workers),
          gate: gate, onPhase: onPhase))
    }
    try start(team, count: options.workers)

    var row = EngineBenchRow(
      flows: share * options.workers, frameBytes: options.capture?.meanBytes ?? options.frameBytes,
      nanosecondsPerPacket: 0, packetsPerSecond: 0, newSessionsPerSecond: 0, bytesPerSession: 0,
      generatorNanoseconds: 0)
    row.hugePageBytes = HugePages.bytes
    for index in 0..<options.workers { row.add(try team[index].result.get(), workers: options.workers) }
    return row
  }

  /// One thread each; the first failure to make one is told after those that run have ended.
  private static func start(_ team: UnsafeMutablePointer<WorkerTask>, count: Int) throws {
    guard count > 1 else {
      team.pointee.run()
      return
    }
    var threads: [pthread_t] = []
    for index in 0..<count {
      var thread = pthread_t()
      let status = pthread_create(
        &thread, nil,
        { context in
          context!.assumingMemoryBound(to: WorkerTask.self).pointee.run()
          return nil
        }, team + index)
      // The others wait at the gate for a thread that will never come.
      guard status == 0 else { fatalError("cannot start worker \(index): \(String(cString: strerror(status)))") }
      threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
  }
}

/// What one thread does, and what came of it.
struct WorkerTask {
  var options: EngineBenchOptions
  var place: WorkerPlace
  var gate: UnsafeMutablePointer<pthread_barrier_t>
  var onPhase: @Sendable (String) -> Void
  var result: Result<WorkerResult, EngineBenchError> = .failure(EngineBenchError(description: "did not run"))

  struct WorkerResult {
    var nanosecondsPerPacket: Double
    var generatorNanoseconds: Double
    var nanosecondsPerSession: Double
    var bytesPerSession: Double
    var latency: LatencyHistogram?
  }

  /// Every worker comes to the gate once, also one that failed: the others would wait for ever.
  mutating func run() {
    var isThrough = false
    do throws(EngineBenchError) {
      let say: (String) -> Void = { [place, onPhase] text in if place.worker == 0 { onPhase(text) } }
      say("making \(place.flows * place.workers) sessions")
      var bench = try WorkerBench(
        options: options, flows: place.flows, seed: options.seed &+ UInt64(place.worker), place: place)
      let nanosecondsPerSession = try bench.establish()
      pthread_barrier_wait(gate)
      isThrough = true
      say("measuring \(place.flows * place.workers) flows")
      let (packet, generator) = try bench.measure()
      if options.measuresLatency { say("timing single bursts") }
      let latency = options.measuresLatency ? try bench.measureLatency() : nil
      result = .success(
        WorkerResult(
          nanosecondsPerPacket: packet, generatorNanoseconds: generator, nanosecondsPerSession: nanosecondsPerSession,
          bytesPerSession: bench.bytesPerSession, latency: latency))
    } catch {
      result = .failure(error)
      if !isThrough { pthread_barrier_wait(gate) }
    }
  }
}

/// Processor time of the calling thread, nanoseconds.
func threadNanoseconds() -> UInt64 { nanoseconds(CLOCK_THREAD_CPUTIME_ID) }

/// Time that passes, nanoseconds.
func wallNanoseconds() -> UInt64 { nanoseconds(CLOCK_MONOTONIC) }

private func nanoseconds(_ clock: clockid_t) -> UInt64 {
  var time = timespec()
  clock_gettime(clock, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
