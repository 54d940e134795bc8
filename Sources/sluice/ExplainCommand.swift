import ArgumentParser
import Capture
import Explain
import Gateway
import Replay
import Settings

/// `sluice explain`: why a frame got its verdict.
struct ExplainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Why a frame got its verdict: of a capture, or live in a running gateway.",
    discussion: """
      With --in, the captures are replayed and the chosen frames explained as they are judged: headers, every step of \
      the decision with the configuration's line, session, timers, what was changed, next hop, verdict, and what would \
      let a dropped frame through. Without --in, a running gateway is asked about the next frames that match.
      """)

  @Option(name: .shortAndLong, help: "Configuration file; with --in.")
  var config: String?

  @OptionGroup var options: ReplayOptions

  @Option(
    help: ArgumentHelp(
      "Numbers of the frames to explain, as in Wireshark: 7, or 7,9-12. With several captures, IF:7.",
      valueName: "n[,n-m...]"))
  var frame: String?

  @Option(help: ArgumentHelp("Explain frames that match this libpcap filter.", valueName: "expression"))
  var match: String?

  @Option(help: "End after so many frames.")
  var count = 10

  @Option(help: "Live: end after so many seconds.")
  var seconds = 10

  @Flag(help: "Print JSON: one object for each frame, each on a line of its own.")
  var json = false

  @OptionGroup var control: ControlOption

  func run() throws {
    guard (1...WatchRequest.mostFrames).contains(count) else {
      throw Failure(.usage, "--count \(count): 1 to \(WatchRequest.mostFrames) frames")
    }
    let told = options.inputs.isEmpty ? try explainLive() : try explainCaptures()
    if told == 0 { throw Failure(.failed, "no frame to explain: none of them came") }
  }

  private func tell(_ report: ExplanationReport, isFirst: Bool) {
    if json {
      print(jsonLine(report))
    } else {
      print((isFirst ? "" : "\n") + report.text, terminator: "")
    }
  }

  // MARK: Captures

  private func explainCaptures() throws -> Int {
    guard let config else { throw Failure(.usage, "--in needs a configuration; name one with -c FILE") }
    let settings = try SettingsFile.load(path: config, purpose: .replay)
    let replay = try options.run(settings, config: config, outputDirectory: nil)
    let choice: ExplainRun.Choice =
      try frame.map { try numbers($0, replay) } ?? .matching(captureFilter(match, option: "--match"))
    var limit = count
    if case .numbers(let chosen, _) = choice { limit = chosen.count }
    let run = ExplainRun(replay, settings: settings, choice: choice, limit: limit)
    return try runReplay(settings) {
      let counter = Counter()
      let result = try run.run { report in
        tell(report, isFirst: counter.told == 0)
        counter.told += 1
      }
      if let failure = result.failure { throw failure }
      return counter.told
    }
  }

  private final class Counter { var told = 0 }

  private func numbers(_ text: String, _ replay: ReplayRun) throws -> ExplainRun.Choice {
    func wrong() -> Failure { Failure(.usage, "--frame \"\(text)\" is not N, N-M, a list of them, or IF:LIST") }
    guard match == nil else { throw Failure(.usage, "--frame and --match exclude each other") }
    var list = Substring(text)
    var interface = replay.inputs[0].interface
    if let colon = list.lastIndex(of: ":") {
      let name = list[..<colon]
      guard let input = replay.inputs.first(where: { replay.plan.interfaces[$0.interface].name == name }) else {
        throw Failure(.usage, "--frame \(text): no capture is given for interface \"\(name)\"")
      }
      interface = input.interface
      list = list[list.index(after: colon)...]
    } else if replay.inputs.count > 1 {
      throw Failure(.usage, "--frame \(text): there are several captures; say of which with IF:\(text)")
    }
    var chosen: Set<Int> = []
    for part in list.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first >= 1,
        first <= last, last - first < WatchRequest.mostFrames
      else { throw wrong() }
      chosen.formUnion(first...last)
    }
    return .numbers(chosen, interface: interface)
  }

  // MARK: Live

  private func explainLive() throws -> Int {
    guard frame == nil, config == nil else {
      throw Failure(.usage, "-c and --frame belong to a capture; name one with --in")
    }
    guard (1...WatchRequest.mostSeconds).contains(seconds) else {
      throw Failure(.usage, "--seconds \(seconds): 1 to \(WatchRequest.mostSeconds)")
    }
    _ = try captureFilter(match, option: "--match")
    var told = 0
    let request = WatchRequest(match: match ?? "", count: count, seconds: seconds)
    try control.watch(request) { report in
      tell(report, isFirst: told == 0)
      told += 1
    }
    return told
  }
}
