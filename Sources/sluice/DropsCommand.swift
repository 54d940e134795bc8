import ArgumentParser
import Engine
import Gateway

/// `sluice drops`: why frames were dropped.
struct DropsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drops",
    abstract: "Why a running gateway dropped frames: every reason that occurred, most frequent first.")

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var control: ControlOption

  /// What `--json` prints.
  struct Report: Encodable {
    /// By reason.
    var drops: [String: UInt64]
    /// By interface, then reason.
    var interfaces: [String: [String: UInt64]]
  }

  func run() throws {
    let status = try control.ask(ControlRequest(.status), for: \.status)
    if json {
      print(jsonText(Report(drops: status.drops, interfaces: status.dropsByInterface)), terminator: "")
    } else {
      print(Self.text(status), terminator: "")
    }
  }

  static func text(_ status: StatusReport) -> String {
    if status.drops.isEmpty { return "nothing was dropped\n" }
    let explanations = Dictionary(uniqueKeysWithValues: DropReason.allCases.map { ($0.name, $0.explanation) })
    let interfaces = status.dropsByInterface.keys.sorted()
    var table = TextTable(["frames", "reason"] + interfaces + ["meaning"], rightAligned: [0])
    for (reason, count) in status.drops.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
      let shares = interfaces.map { "\(status.dropsByInterface[$0]?[reason] ?? 0)" }
      table.append(["\(count)", reason] + shares + [explanations[reason] ?? ""])
    }
    return table.text
  }
}
