@_spi(Benchmark) import Engine

/// One engine with its sessions and its traffic, for the package in Benchmarks: it sets something beside the engine, fed
/// with the same frames.
@_spi(Benchmark) public final class BenchProbe {
  private var bench: WorkerBench
  private let flows: Int

  /// Makes the engine and every session.
  public init(_ options: EngineBenchOptions) throws(EngineBenchError) {
    flows = options.flows
    bench = try WorkerBench(options: options, flows: options.flows, seed: options.seed)
    _ = try bench.establish()
  }

  /// Frames in a burst.
  public static var burst: Int { Generator.burst }

  /// The burst that was written last.
  public var slots: UnsafeMutablePointer<FrameSlot> { bench.generator.slots }

  /// Writes bursts of the mix, and hands each over.
  public func turn(bursts: Int, to take: (UnsafeMutablePointer<FrameSlot>) -> Void) {
    for _ in 0..<bursts {
      bench.generator.fillNext()
      take(bench.generator.slots)
    }
  }

  /// Writes bursts of the mix, each for the engine to judge.
  public func judgedTurn(bursts: Int) { bench.turn(bursts, judged: true) }

  /// Has the engine judge the first frames of the burst that was written last.
  public func judge(_ count: Int) { bench.process(count) }

  /// Writes one frame of each flow, from the client or to it, and hands them over by bursts.
  public func everyFlow(isAnswer: Bool, to take: (UnsafeMutablePointer<FrameSlot>, Int) -> Void) {
    var flow = 0
    while flow < flows {
      let count = min(Generator.burst, flows - flow)
      bench.generator.fill(isAnswer ? .answer : .request, from: flow, count: count)
      take(bench.generator.slots, count)
      flow += count
    }
  }

  /// Reads the burst that was written last, by the engine's first stage, or its first two.
  public func parse(times: Int) { bench.forwarder.probeParse(slots, count: Generator.burst, times: times) }
  public func match(times: Int) { bench.forwarder.probeMatch(slots, count: Generator.burst, times: times) }

  /// Throws where a judged frame was not forwarded.
  public func check() throws(EngineBenchError) { try bench.checkForwarded() }

  /// Processor time of the calling thread, nanoseconds.
  public static var threadNanoseconds: UInt64 { Bench.threadNanoseconds() }
}
