import ArgumentParser
import Engine
import Selftest
import Settings

/// `sluice selftest`: which requirements a configuration meets. Touches no device.
struct SelftestCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "selftest",
    abstract: "Play built-in traffic against a configuration, and tell what it meets.",
    discussion:
      "Everything happens in memory. It prints how the configuration maps and filters in the words of RFC 4787, "
      + "the NAT type that a game console would report, and each requirement by its id in COMPLIANCE.md: met, not met "
      + "with what was seen instead, or skipped where the configuration leaves nothing to play. What is not met is a "
      + "finding, no failure: the exit status is 0.")

  @Option(name: .shortAndLong, help: "Configuration file.")
  var config: String

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let settings = try SettingsFile.load(path: config, purpose: .check)
    do {
      let report = try Selftest(settings.plan).run()
      print(json ? report.json : report.text, terminator: "")
    } catch let error as PlanError {
      throw Failure(.failed, "\(config): \(error)")
    }
  }
}
