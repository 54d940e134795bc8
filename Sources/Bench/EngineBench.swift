import Engine
import Glibc

/// What `sluice bench engine` measures.
public struct EngineBenchOptions: Sendable {
  /// How often each session is used.
  public enum Mix: String, Sendable, CaseIterable { case uniform, zipf }
  /// What the sessions are: UDP, or TCP connections after their handshake.
  public enum Kind: String, Sendable, CaseIterable { case udp, tcp }

  /// Live sessions.
  public var flows = 1000
  /// Bytes of a frame, Ethernet header included, frame check sequence not.
  public var frameBytes = 60
  public var mix = Mix.uniform
  public var kind = Kind.udp
  /// Seconds to measure for, after the sessions have been made.
  public var seconds = 2.0
  /// Engines that run side by side, each with its share of the flows.
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
  /// What the generator took for one frame, already taken off above.
  public var generatorNanoseconds: Double

  /// The row as the contract has it.
  public var json: String {
    "{\"flows\":\(flows),\"frame_bytes\":\(frameBytes),\"ns_per_packet\":\(Self.tenths(nanosecondsPerPacket)),"
      + "\"packets_per_second\":\(Int(packetsPerSecond)),\"new_sessions_per_second\":\(Int(newSessionsPerSecond)),"
      + "\"bytes_per_session\":\(Self.tenths(bytesPerSession))}"
  }

  static func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}

/// The engine did not do what a measurement stands on.
public struct EngineBenchError: Error, CustomStringConvertible {
  public var description: String
}

/// The engine alone, in memory: no system call, no copy of a frame, no device.
///
/// Every session is a client on the Internet that uses one port forward; frames go both ways in equal number. The frames
/// of a burst lie in a ring like a device's. The engine rewrites in place, so each frame is written anew before it is
/// judged again (its first cache line: that is what a device has just written, too). The cost of that writing is
/// measured by the same loop without the engine, in turns with it, and taken off; both are thread processor time, and
/// each figure is the median of many turns, so that a busy neighbour on the machine shows in neither.
public enum EngineBench {
  /// Measures one row.
  public static func run(_ options: EngineBenchOptions) throws -> EngineBenchRow {
    let share = max(1, options.flows / options.workers)
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
      (team + index).initialize(to: WorkerTask(options: options, flows: share, index: index, gate: gate))
    }
    try start(team, count: options.workers)

    var row = EngineBenchRow(
      flows: share * options.workers, frameBytes: options.frameBytes, nanosecondsPerPacket: 0, packetsPerSecond: 0,
      newSessionsPerSecond: 0, bytesPerSession: 0, generatorNanoseconds: 0)
    for index in 0..<options.workers {
      let result = try team[index].result.get()
      row.nanosecondsPerPacket += result.nanosecondsPerPacket / Double(options.workers)
      row.generatorNanoseconds += result.generatorNanoseconds / Double(options.workers)
      row.packetsPerSecond += 1e9 / result.nanosecondsPerPacket
      row.newSessionsPerSecond += 1e9 / result.nanosecondsPerSession
      row.bytesPerSession += result.bytesPerSession / Double(options.workers)
    }
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
  var flows: Int
  var index: Int
  var gate: UnsafeMutablePointer<pthread_barrier_t>
  var result: Result<WorkerResult, EngineBenchError> = .failure(EngineBenchError(description: "did not run"))

  struct WorkerResult {
    var nanosecondsPerPacket: Double
    var generatorNanoseconds: Double
    var nanosecondsPerSession: Double
    var bytesPerSession: Double
  }

  /// Every worker comes to the gate once, also one that failed: the others would wait for ever.
  mutating func run() {
    var isThrough = false
    do throws(EngineBenchError) {
      var bench = try WorkerBench(options: options, flows: flows, seed: options.seed &+ UInt64(index))
      let nanosecondsPerSession = try bench.establish()
      pthread_barrier_wait(gate)
      isThrough = true
      let (packet, generator) = try bench.measure()
      result = .success(
        WorkerResult(
          nanosecondsPerPacket: packet, generatorNanoseconds: generator, nanosecondsPerSession: nanosecondsPerSession,
          bytesPerSession: bench.bytesPerSession))
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
