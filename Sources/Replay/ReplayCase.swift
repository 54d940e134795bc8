import Capture
import Engine
import Foundation
import Settings

/// A golden case: a directory with a configuration, what comes in, and what must leave.
///
///     sluice.toml        the configuration
///     in-IF.pcap         what interface IF receives, for each interface that receives
///     expect-IF.pcap     what must leave by it; where it is missing, nothing may
///     expect.json        what the report must say (any parts of it), if it is there
public struct ReplayCase: Sendable {
  /// Its path below the tree that it was found in.
  public var name: String
  /// Where it lies.
  public var directory: String

  /// How a case went.
  public struct Result: Sendable, Codable {
    /// The case's name.
    public var name: String
    /// Frames received.
    public var frames: UInt64 = 0
    /// The first differences, at most `ReplayCase.mostDifferences` for each file.
    public var differences: [Difference] = []
    /// Why it could not be run to its end.
    public var failure: String?

    /// True where everything was as expected.
    public var passed: Bool { differences.isEmpty && failure == nil }
  }

  /// Differences of one file that are told.
  public static let mostDifferences = 8

  /// A case that lies in `directory`.
  public init(name: String, directory: String) {
    self.name = name
    self.directory = directory
  }

  /// The cases in a directory: itself, or every one below it, by name.
  public static func find(in root: String) -> [ReplayCase] {
    func isCase(_ path: String) -> Bool { FileManager.default.fileExists(atPath: "\(path)/sluice.toml") }
    if isCase(root) {
      let name = URL(fileURLWithPath: root).standardizedFileURL.lastPathComponent
      return [ReplayCase(name: name, directory: root)]
    }
    let below = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
    return below.filter { isCase("\(root)/\($0)") }.sorted().map {
      ReplayCase(name: $0, directory: "\(root)/\($0)")
    }
  }

  /// Runs the case and compares.
  ///
  /// - Parameters:
  ///   - isRegenerating: writes what left as what must leave, in place of comparing.
  ///   - change: more of the replay's options.
  public func run(isRegenerating: Bool = false, _ change: (inout ReplayRun) -> Void = { _ in }) -> Result {
    var result = Result(name: name)
    let output = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-case-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: output) }
    do {
      let plan = try SettingsFile.load(path: "\(directory)/sluice.toml", purpose: .replay).plan
      var replay = ReplayRun(plan: plan, inputs: try inputs(plan), outputDirectory: output)
      change(&replay)
      let ended = try replay.run()
      if let failure = ended.failure { throw failure }
      result.frames = ended.report.frames.received
      if isRegenerating {
        try regenerate(ended.report, plan, from: output)
      } else {
        result.differences = try differences(ended.report, plan, output)
      }
    } catch let errors as SettingsErrors {
      result.failure = errors.messages.joined(separator: "\n")
    } catch {
      result.failure = "\(error)"
    }
    return result
  }

  private func inputs(_ plan: Plan) throws(CaptureError) -> [ReplayInput] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    var inputs: [ReplayInput] = []
    for file in names.sorted() where file.hasPrefix("in-") && file.hasSuffix(".pcap") {
      let name = file.dropFirst(3).dropLast(5)
      guard let index = plan.interfaces.firstIndex(where: { $0.name == name }) else {
        throw CaptureError(
          path: "\(directory)/\(file)", offset: nil, message: "sluice.toml has no interface \"\(name)\" to receive it")
      }
      inputs.append(ReplayInput(interface: index, path: "\(directory)/\(file)"))
    }
    guard !inputs.isEmpty else {
      throw CaptureError(path: directory, offset: nil, message: "no capture to play; add in-IF.pcap")
    }
    return inputs
  }

  private func differences(_ report: ReplayReport, _ plan: Plan, _ output: String) throws -> [Difference] {
    var list: [Difference] = []
    for interface in plan.interfaces {
      let expected = "\(directory)/expect-\(interface.name).pcap"
      let actual = ReplayOutput.path(of: interface.name, in: output)
      if FileManager.default.fileExists(atPath: expected) {
        list += try Comparison.differences(expected: expected, actual: actual, limit: Self.mostDifferences)
      } else if try CaptureReader(path: actual).next() != nil {
        list.append(Difference(path: expected, frame: 1, field: "frame", expected: "none", actual: "one"))
      }
    }
    let path = "\(directory)/expect.json"
    guard FileManager.default.fileExists(atPath: path) else { return list }
    return list + (try ExpectedReport(path: path).differences(from: report, path: path))
  }

  private func regenerate(_ report: ReplayReport, _ plan: Plan, from output: String) throws {
    for interface in plan.interfaces {
      let bytes = try Data(contentsOf: URL(fileURLWithPath: ReplayOutput.path(of: interface.name, in: output)))
      try bytes.write(to: URL(fileURLWithPath: "\(directory)/expect-\(interface.name).pcap"), options: .atomic)
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    let text = try encoder.encode(ExpectedReport(report)) + Data("\n".utf8)
    try text.write(to: URL(fileURLWithPath: "\(directory)/expect.json"), options: .atomic)
  }
}
