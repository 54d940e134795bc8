import Foundation
import Replay

extension ReplayCommand {
  /// `--case DIR`: a directory with a configuration, captures in and captures out, or a tree of them.
  func runCases(in root: String) throws {
    guard config == nil, options.inputs.isEmpty, out == nil, expect == nil, report == nil else {
      throw Failure(
        .usage, "--case brings its own configuration and captures; leave out -c, --in, --out, --expect, --report")
    }
    let cases = ReplayCase.find(in: root)
    guard !cases.isEmpty else { throw Failure(.usage, "--case \(root): no sluice.toml in it or below it") }
    let filter = try captureFilter(options.filter)
    let end = try end()
    let start = Date()
    var results: [ReplayCase.Result] = []
    for one in cases {
      let result = one.run(isRegenerating: regenerate) { replay in
        replay.seed = options.seed
        replay.takesEveryFrame = options.mac
        replay.map = options.map
        replay.hasOffloads = options.offloads
        replay.filter = filter
        replay.end = end
      }
      if !json { print(Self.text(result, isRegenerating: regenerate), terminator: "") }
      results.append(result)
    }
    if json { print(jsonText(results), terminator: "") }
    let (failed, different) = (results.count { $0.failure != nil }, results.count { !$0.differences.isEmpty })
    let seconds = String(format: "%.1f", Date().timeIntervalSince(start))
    let summary =
      "\(cases.count) cases in \(seconds) s: \(results.count(where: \.passed)) passed, \(different) differ, \(failed) failed"
    if !json { print(summary) }
    if failed > 0 { throw Failure(.failed, summary) }
    if different > 0 { throw Failure(.differs, summary) }
  }

  /// A line for the case, and what is not as expected.
  static func text(_ result: ReplayCase.Result, isRegenerating: Bool) -> String {
    let word = result.failure != nil ? "failed" : !result.passed ? "differs" : isRegenerating ? "written" : "passed"
    var text = word.padding(toLength: 9, withPad: " ", startingAt: 0) + "\(result.name) (\(result.frames) frames)\n"
    if let failure = result.failure { text += indented(failure) }
    var last: Difference.Bytes?
    for difference in result.differences {
      text += indented("\(difference)")
      guard let bytes = difference.bytes, bytes != last else { continue }
      last = bytes
      text += indented("  expected bytes \(bytes.expected)\n  actual bytes   \(bytes.actual)")
    }
    return text
  }

  private static func indented(_ text: String) -> String {
    text.split(separator: "\n").map { "         \($0)\n" }.joined()
  }
}
