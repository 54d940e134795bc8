import ArgumentParser
import Bench

/// `sluice bench`: what the engine costs.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure the engine, in memory.",
    subcommands: [EngineCommand.self]
  )

  /// `sluice bench engine`.
  struct EngineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "engine",
      abstract: "Generated traffic through the real engine: nanoseconds a packet.",
      discussion: "Sessions of one port forward are made first, then used in both directions in bursts of 32. What is "
        + "told is processor time in the engine alone: the generator's own is measured in turns with it and taken off. "
        + "Nothing is sent or received, so a device's cost comes on top. With several workers each has an engine "
        + "and a share of the flows of its own.")

    @Option(help: "Numbers of live sessions, one row for each (like 1000,100000,1000000).")
    var flows: FlowList = FlowList(counts: [1000, 100_000, 1_000_000])

    @Option(help: "Bytes of a frame, from 60 to 1514, without the check sequence.")
    var frame = 60

    @Option(help: "How often each session is used: uniform, or zipf (rank k as 1/k).")
    var mix: EngineBenchOptions.Mix = .uniform

    @Option(name: .customLong("protocol"), help: "What the sessions are: udp, or tcp (established).")
    var kind: EngineBenchOptions.Kind = .udp

    @Option(help: "Seconds to measure each row for.")
    var seconds = 2.0

    @Option(help: "Threads, each with an engine of its own.")
    var workers = 1

    @Option(help: "Settles the order of the frames and the engine's choices.")
    var seed: UInt64 = 0

    @Flag(help: "Print JSON: one array of rows.")
    var json = false

    func validate() throws {
      guard EngineBenchOptions.frameSizes.contains(frame) else {
        throw ValidationError("--frame \(frame): a frame has 60 to 1514 bytes")
      }
      guard seconds > 0, seconds <= 3600 else {
        throw ValidationError("--seconds \(seconds): more than 0, at most 3600")
      }
      guard (1...256).contains(workers) else { throw ValidationError("--workers \(workers): 1 to 256") }
      for count in flows.counts where count < workers {
        throw ValidationError("--flows \(count): at least one for each of \(workers) workers")
      }
    }

    func run() throws {
      var rows: [EngineBenchRow] = []
      if !json { print(Self.header) }
      for count in flows.counts {
        var options = EngineBenchOptions()
        options.flows = count
        options.frameBytes = frame
        options.mix = mix
        options.kind = kind
        options.seconds = seconds
        options.workers = workers
        options.seed = seed
        do {
          let row = try EngineBench.run(options)
          rows.append(row)
          if !json { print(Self.line(row)) }
        } catch let error as EngineBenchError {
          throw Failure(.failed, "bench: \(error)")
        }
      }
      if json { print("[" + rows.map(\.json).joined(separator: ",\n ") + "]") }
    }

    private static let header =
      cell("flows", 10) + cell("frame", 7) + cell("ns/packet", 11) + cell("packets/s", 13) + cell("new sessions/s", 16)
      + cell("bytes/session", 15) + cell("generator ns (taken off)", 26)

    private static func line(_ row: EngineBenchRow) -> String {
      cell("\(row.flows)", 10) + cell("\(row.frameBytes)", 7) + cell(tenths(row.nanosecondsPerPacket), 11)
        + cell("\(Int(row.packetsPerSecond))", 13) + cell("\(Int(row.newSessionsPerSecond))", 16)
        + cell(tenths(row.bytesPerSession), 15) + cell(tenths(row.generatorNanoseconds), 26)
    }

    private static func tenths(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

    /// `text` at the right end of `width` columns.
    private static func cell(_ text: String, _ width: Int) -> String {
      String(repeating: " ", count: max(1, width - text.count)) + text
    }
  }
}

extension EngineBenchOptions.Mix: ExpressibleByArgument {}
extension EngineBenchOptions.Kind: ExpressibleByArgument {}

/// `N[,N...]`, each from 1 to `EngineBenchOptions.mostFlows`.
struct FlowList: ExpressibleByArgument {
  var counts: [Int]

  init(counts: [Int]) { self.counts = counts }

  init?(argument: String) {
    counts = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let count = Int(part), (1...EngineBenchOptions.mostFlows).contains(count) else { return nil }
      counts.append(count)
    }
  }

  var defaultValueDescription: String { counts.map(String.init).joined(separator: ",") }
}
