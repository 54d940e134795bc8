import ArgumentParser
import Capture
import Engine
import Foundation
import Replay
import Settings

/// `sluice replay`: the engine over captures, in their own time.
struct ReplayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Run captures through the engine, in the captures' own time.",
    discussion:
      "The same input, configuration and seed give the same bytes, always. Nothing is sent anywhere. A capture "
      + "that ends in damage is replayed up to it, and the exit status is 1; a difference from --expect is 3.")

  @Option(name: .shortAndLong, help: "Configuration file.")
  var config: String?

  @OptionGroup var options: ReplayOptions

  @Option(
    help: ArgumentHelp(
      "Play a flight recording (sluice record dump) in place of -c and --in, and compare every answer with the "
        + "recorded one.", valueName: "dir"))
  var state: String?

  @Option(
    name: .customLong("case"),
    help: ArgumentHelp(
      "Run a golden case in place of -c and --in: a directory with sluice.toml, in-IF.pcap, expect-IF.pcap and "
        + "expect.json, or every such directory below.", valueName: "dir"))
  var caseDirectory: String?

  @Flag(help: "With --case: write what left as what is expected from now on.")
  var regenerate = false

  @Option(help: ArgumentHelp("Where IF.pcap of every interface goes.", valueName: "dir"))
  var out: String?

  @Option(help: "Play the captures so many times, each pass right behind the one before.")
  var loop = 1

  @Option(
    help: ArgumentHelp(
      "How fast: max, real (as captured), or so many times as fast as captured. The output is the same.",
      valueName: "max|real|factor"))
  var speed = "max"

  @Option(
    help: ArgumentHelp(
      "Write everything that came and left into one capture, each frame with the decision about it.",
      valueName: "file.pcapng"))
  var annotate: String?

  @Option(help: ArgumentHelp("Run on after the last frame: 90s, 5m, 2h4m, or idle.", valueName: "duration|idle"))
  var until: String?

  @Option(help: ArgumentHelp("Write the counters as JSON; - is standard output.", valueName: "file|-"))
  var report: String?

  @Option(help: ArgumentHelp("Compare with an earlier output, and its report.json.", valueName: "dir"))
  var expect: String?

  @Flag(help: "Print the counters as JSON.")
  var json = false

  func run() throws {
    if let caseDirectory { return try runCases(in: caseDirectory) }
    if let state { return try runRecording(state) }
    guard !regenerate else { throw Failure(.usage, "--regenerate belongs to --case DIR") }
    guard let config else {
      throw Failure(.usage, "no configuration; name one with -c FILE, or a case with --case DIR")
    }
    let settings = try SettingsFile.load(path: config, purpose: .replay)
    settings.warnings.forEach { complain($0.description) }
    let expected = try expectedDirectory()
    let temporary = expect != nil && out == nil ? try temporaryDirectory() : nil
    defer { if let temporary { try? FileManager.default.removeItem(atPath: temporary) } }

    var replay = try options.run(settings, config: config, outputDirectory: out ?? temporary)
    replay.end = try end()
    guard (1...1_000_000).contains(loop) else { throw Failure(.usage, "--loop \(loop): 1 to 1000000 times") }
    replay.loops = loop
    guard let pace = ReplaySpeed(speed) else {
      throw Failure(.usage, "--speed \"\(speed)\" is not max, real, or a number greater than 0")
    }
    replay.speed = pace
    let result = try run(replay, settings)
    try publish(result.report)
    if let failure = result.failure { throw Failure(.failed, "\(failure)") }
    if let expected, let actual = replay.outputDirectory {
      let names = settings.plan.interfaces.map(\.name)
      try compare(result.report, interfaces: names, expected: expected, actual: actual)
    }
  }

  // MARK: Options

  func end() throws -> ReplayEnd {
    guard let until else { return .lastFrame }
    if until == "idle" { return .idle }
    guard let seconds = DurationText.seconds(until), let whole = UInt64(exactly: seconds),
      case let (nanoseconds, isTooMuch) = whole.multipliedReportingOverflow(by: 1_000_000_000), !isTooMuch
    else { throw Failure(.usage, "--until \"\(until)\" is not a duration (90s, 5m, 2h4m) or idle") }
    return .after(nanoseconds: nanoseconds)
  }

  private func expectedDirectory() throws -> String? {
    guard let expect else { return nil }
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: expect, isDirectory: &isDirectory), isDirectory.boolValue else {
      throw Failure(.usage, "--expect \(expect) is no directory with an earlier output")
    }
    func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
    if let out, resolved(out) == resolved(expect) {
      throw Failure(.usage, "--out and --expect are the same directory: the expected output would be overwritten")
    }
    return expect
  }

  private func temporaryDirectory() throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  // MARK: Steps

  private func run(_ replay: ReplayRun, _ settings: SettingsFile) throws -> ReplayResult {
    var replay = replay
    let bar = ProgressBar()
    if let bar { replay.onProgress = { bar.show($0) } }
    defer { bar?.clear() }
    return try runReplay(settings) {
      guard let annotate else { return try replay.run() }
      return try replay.run(annotating: annotate, settings: settings)
    }
  }

  private func publish(_ counters: ReplayReport) throws {
    guard let report, report != "-" else {
      print(json || report == "-" ? counters.json : counters.summary, terminator: "")
      return
    }
    do {
      try Data(counters.json.utf8).write(to: URL(fileURLWithPath: report))
    } catch {
      throw Failure(.failed, "\(report): the report cannot be written there")
    }
    if json { print(counters.json, terminator: "") }
  }

  private func compare(_ counters: ReplayReport, interfaces: [String], expected: String, actual: String) throws {
    do {
      let found = try Comparison.firstDifference(
        interfaces: interfaces, expected: expected, actual: actual, report: counters)
      if let found { throw Failure(.differs, "\(found)") }
    } catch let error as CaptureError {
      throw Failure(.failed, "\(error)")
    }
  }
}
