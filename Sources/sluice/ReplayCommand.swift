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
  var config: String

  @Option(
    name: .customLong("in"),
    help: ArgumentHelp(
      "What interface IF receives: a pcap or pcapng file. Once for each interface that receives; merged by time.",
      valueName: "IF=PCAP"))
  var inputs: [String]

  @Option(help: ArgumentHelp("Where IF.pcap of every interface goes.", valueName: "dir"))
  var out: String?

  @Option(help: "Settles every random choice.")
  var seed: UInt64 = 0

  @Flag(help: "Take every frame as sent to the interface that receives it.")
  var mac = false

  @Option(
    help: ArgumentHelp(
      "Change IPv4 addresses before the engine sees them: an address or prefix by another one, or a prefix by one "
        + "address. Repeatable, the first that matches wins.", valueName: "OLD=NEW"),
    transform: { text in
      do throws(AddressRule.Mistake) { return try AddressRule(text) } catch { throw ValidationError("\(error)") }
    })
  var map: [AddressRule] = []

  @Flag(help: "Take TCP over the MTU as a super-frame, and unfinished checksums as such.")
  var offloads = false

  @Option(help: ArgumentHelp("Run on after the last frame: 90s, 5m, 2h4m, or idle.", valueName: "duration|idle"))
  var until: String?

  @Option(help: ArgumentHelp("Write the counters as JSON; - is standard output.", valueName: "file|-"))
  var report: String?

  @Option(help: ArgumentHelp("Compare with an earlier output, and its report.json.", valueName: "dir"))
  var expect: String?

  @Flag(help: "Print the counters as JSON.")
  var json = false

  func run() throws {
    let settings = try SettingsFile.load(path: config, purpose: .replay)
    let expected = try expectedDirectory()
    let temporary = expect != nil && out == nil ? try temporaryDirectory() : nil
    defer { if let temporary { try? FileManager.default.removeItem(atPath: temporary) } }

    var replay = ReplayRun(
      plan: settings.plan, inputs: try receivers(settings.plan), outputDirectory: out ?? temporary)
    replay.seed = seed
    replay.takesEveryFrame = mac
    replay.map = map
    replay.hasOffloads = offloads
    replay.end = try end()
    let result = try run(replay, settings)
    try publish(result.report)
    if let failure = result.failure { throw Failure(.failed, "\(failure)") }
    if let expected, let actual = replay.outputDirectory {
      let names = settings.plan.interfaces.map(\.name)
      try compare(result.report, interfaces: names, expected: expected, actual: actual)
    }
  }

  // MARK: Options

  private func receivers(_ plan: Plan) throws -> [ReplayInput] {
    var list: [ReplayInput] = []
    for text in inputs {
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2, !parts[1].isEmpty else {
        throw Failure(.usage, "--in \"\(text)\" is not IF=PCAP, an interface and a capture file")
      }
      guard let index = plan.interfaces.firstIndex(where: { $0.name == parts[0] }) else {
        let names = plan.interfaces.map(\.name).joined(separator: ", ")
        throw Failure(.usage, "--in \(text): no interface \"\(parts[0])\" in \(config); there are: \(names)")
      }
      guard !list.contains(where: { $0.interface == index }) else {
        throw Failure(
          .usage, "--in \(text): interface \(parts[0]) has a capture already; merge the two first (mergecap)")
      }
      list.append(ReplayInput(interface: index, path: parts[1]))
    }
    return list
  }

  private func end() throws -> ReplayEnd {
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
    do {
      return try replay.run()
    } catch ReplayError.noMAC(let links) {
      try settings.requireMACs(links: links)
      throw Failure(.usage, "\(ReplayError.noMAC(links: links))")
    } catch let error as ReplayError {
      throw Failure(.usage, "\(config): \(error)")
    } catch let error as PlanError {
      if case .noMemory = error { throw Failure(.failed, "\(error)") }
      throw Failure(.usage, "\(config): \(error)")
    } catch let error as CaptureError {
      throw Failure(.failed, "\(error)")
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
