import ArgumentParser
import Replay
import Settings

/// `sluice whatif`: what a new configuration would change, before it is live.
struct WhatIfCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "whatif",
    abstract: "What a new configuration would change on captures, flow by flow.",
    discussion: """
      Plays the same captures under both configurations and compares what becomes of every flow: newly forwarded, newly \
      dropped, retargeted, re-sourced, unchanged. Exit status 3 where anything differs: for the tests of a configuration.
      """)

  @Option(name: .shortAndLong, help: "The new configuration.")
  var config: String

  @Option(help: "The configuration that it is held against.")
  var against: String

  @OptionGroup var options: ReplayOptions

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let (old, new) = (
      try SettingsFile.load(path: against, purpose: .replay), try SettingsFile.load(path: config, purpose: .replay)
    )
    let before = try options.run(old, config: against, outputDirectory: nil)
    let after = try options.run(new, config: config, outputDirectory: nil)
    // What is wrong with the configurations as such is told by the one that it is wrong with.
    let whatIf = try runReplay(old) { try runReplay(new) { try WhatIf(old: before, new: after) } }
    print(json ? jsonText(whatIf) : Self.text(whatIf), terminator: "")
    if !whatIf.isSame { throw Failure(.differs, "\(config) against \(against): \(Self.summary(whatIf))") }
  }

  static func text(_ whatIf: WhatIf) -> String {
    var table = TextTable(["change", "flow", "old", "new", "frames"], rightAligned: [4])
    for row in whatIf.changed {
      table.append([row.change.rawValue, "\(row.flow)", row.old.text, row.new.text, "\(row.new.frames)"])
    }
    return (whatIf.isSame ? "" : table.text) + summary(whatIf) + "\n"
  }

  /// "2 newly forwarded, 0 newly dropped, ..."
  static func summary(_ whatIf: WhatIf) -> String {
    WhatIf.Change.allCases.map { "\(whatIf.counts[$0.rawValue] ?? 0) \($0.rawValue)" }.joined(separator: ", ")
  }
}
