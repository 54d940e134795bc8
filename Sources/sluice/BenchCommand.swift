import ArgumentParser
import Bench
import Capture
import Foundation

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
      discussion:
        "Sessions are made first, then used in both directions in bursts of 32. What is told is processor time "
        + "in the engine alone: the generator's own is measured in turns with it and taken off. New sessions are "
        + "counted where nearly all the others are alive. Nothing is sent or received, so a device's cost comes on "
        + "top. Several workers share one table; each has flows of its own. A capture settles which "
        + "flow comes when, which way, in which protocol and how long its frames are; the frames' other bytes are the "
        + "bench's.")

    @Option(help: "Numbers of live sessions, one row for each (default: 1000,100000,1000000).")
    var flows: FlowList?

    @Option(help: "Bytes of a frame, from 60 to 1514, without the check sequence (default: 60).")
    var frame: Int?

    @Option(help: "How often each session is used: uniform, or zipf, rank k as 1/k (default: uniform).")
    var mix: EngineBenchOptions.Mix?

    @Option(name: .customLong("protocol"), help: "What the sessions are: udp, or tcp, established (default: udp).")
    var kind: EngineBenchOptions.Kind?

    @Option(help: "What makes the sessions: forward, or masquerade (a mapping each up to 60000, then shared).")
    var origin: EngineBenchOptions.Origin = .forward

    @Option(
      help: "Addresses of the sessions: ipv4, or ipv6 (UDP through a forward, with addresses and ports rewritten).")
    var family: EngineBenchOptions.Family = .ipv4

    @Option(help: "Let the flight recorder keep the frames' headers, or whole frames (default: none runs).")
    var recorder: EngineBenchOptions.Recorder?

    @Option(help: "A capture to take the mix from, in place of the four options above it.", completion: .file())
    var capture: String?

    @Option(help: "Seconds to measure each row for.")
    var seconds = 2.0

    @Option(help: "Frames to measure in place of seconds, in whole bursts: for counting instructions.")
    var packets: Int?

    @Flag(help: "Time single bursts too, and tell their quantiles.")
    var latency = false

    @Option(help: "Threads that share one table.")
    var workers = 1

    @Option(help: "Settles the order of the frames and the engine's choices.")
    var seed: UInt64 = 0

    @Flag(help: "Print JSON: one array of rows.")
    var json = false

    func validate() throws {
      if let frame, !EngineBenchOptions.frameSizes.contains(frame) {
        throw ValidationError("--frame \(frame): a frame has 60 to 1514 bytes")
      }
      guard seconds > 0, seconds <= 3600 else {
        throw ValidationError("--seconds \(seconds): more than 0, at most 3600")
      }
      if let packets, packets < 1 { throw ValidationError("--packets \(packets): at least 1") }
      guard (1...256).contains(workers) else { throw ValidationError("--workers \(workers): 1 to 256") }
      for count in flows?.counts ?? [] where count < workers {
        throw ValidationError("--flows \(count): at least one for each of \(workers) workers")
      }
      guard family == .ipv4 || (kind ?? .udp) == .udp && origin == .forward && capture == nil else {
        throw ValidationError("--family ipv6: for --protocol udp and --origin forward, without --capture")
      }
      guard capture == nil || (flows == nil && frame == nil && mix == nil && kind == nil) else {
        throw ValidationError("--capture settles what --flows, --frame, --mix and --protocol would: give it alone")
      }
    }

    func run() throws {
      var options = EngineBenchOptions()
      options.frameBytes = frame ?? options.frameBytes
      options.mix = mix ?? options.mix
      options.kind = kind ?? options.kind
      options.origin = origin
      options.family = family
      options.recorder = recorder
      options.seconds = seconds
      options.packets = packets
      options.measuresLatency = latency
      options.workers = workers
      options.seed = seed
      options.capture = try mixOfCapture()
      let progress = ProgressLine()
      var rows: [EngineBenchRow] = []
      if !json { print(header) }
      for count in options.capture.map({ [$0.flows] }) ?? flows?.counts ?? [1000, 100_000, 1_000_000] {
        options.flows = count
        do {
          let row = try EngineBench.run(options) { progress.show($0) }
          progress.clear()
          rows.append(row)
          if !json { print(line(row)) }
        } catch let error as EngineBenchError {
          progress.clear()
          throw Failure(.failed, "bench: \(error)")
        }
      }
      if json { print("[" + rows.map(\.json).joined(separator: ",\n ") + "]") }
    }

    private func mixOfCapture() throws -> CaptureMix? {
      guard let capture else { return nil }
      do {
        let mix = try CaptureMix(path: capture)
        if mix.skipped > 0 {
          complain(
            "\(capture): \(mix.skipped) of \(mix.skipped + mix.frames.count) frames left out: no TCP or UDP over IPv4")
        }
        return mix
      } catch {
        throw Failure(.failed, "\(error)")
      }
    }

    /// Columns with their widths.
    private var header: String {
      Self.cell("flows", 10) + Self.cell("frame", 7) + Self.cell("ns/packet", 11) + Self.cell("packets/s", 13)
        + Self.cell("new sessions/s", 16) + Self.cell("bytes/session", 15) + Self.cell("huge pages", 12)
        + Self.cell("generator ns (taken off)", 26)
        + (latency
          ? Self.cell("us for a burst of 32: " + EngineBenchRow.quantiles.map(\.name).joined(separator: " / "), 54)
          : "")
    }

    private func line(_ row: EngineBenchRow) -> String {
      var line =
        Self.cell("\(row.flows)", 10) + Self.cell("\(row.frameBytes)", 7)
        + Self.cell(tenths(row.nanosecondsPerPacket), 11)
        + Self.cell("\(Int(row.packetsPerSecond))", 13) + Self.cell("\(Int(row.newSessionsPerSecond))", 16)
        + Self.cell(tenths(row.bytesPerSession), 15)
        + Self.cell(row.hugePageBytes.map { byteText(UInt64($0)) } ?? "-", 12)
        + Self.cell(tenths(row.generatorNanoseconds), 26)
      if let latency = row.latency {
        let quantiles = EngineBenchRow.quantiles.map { tenths(Double(latency.quantile($0.share)) / 1000) }
        line += Self.cell(quantiles.joined(separator: " / "), 54)
      }
      return line
    }

    private func tenths(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

    /// `text` at the right end of `width` columns.
    private static func cell(_ text: String, _ width: Int) -> String {
      String(repeating: " ", count: max(1, width - text.count)) + text
    }
  }
}

extension EngineBenchOptions.Mix: ExpressibleByArgument {}
extension EngineBenchOptions.Kind: ExpressibleByArgument {}
extension EngineBenchOptions.Recorder: ExpressibleByArgument {}
extension EngineBenchOptions.Origin: ExpressibleByArgument {}
extension EngineBenchOptions.Family: ExpressibleByArgument {}

/// `N[,N...]`, each from 1 to `EngineBenchOptions.mostFlows`.
struct FlowList: ExpressibleByArgument {
  var counts: [Int]

  init?(argument: String) {
    counts = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let count = Int(part), (1...EngineBenchOptions.mostFlows).contains(count) else { return nil }
      counts.append(count)
    }
  }
}

/// One line on a terminal that says what is being done, and is gone when it is done; nothing where standard error is none.
struct ProgressLine: Sendable {
  private let isTerminal = isatty(STDERR_FILENO) == 1

  func show(_ text: String) { put("\r\u{1B}[K\(text) ...") }
  func clear() { put("\r\u{1B}[K") }

  private func put(_ text: String) {
    guard isTerminal else { return }
    FileHandle.standardError.write(Data(text.utf8))
  }
}
