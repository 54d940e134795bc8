import ArgumentParser
import Settings

/// `sluice check`: validates a configuration and prints it with every default. Touches no device.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Validate a configuration and print it with every default written out.",
    discussion: "What it prints is a configuration with the same meaning. Mistakes go to standard error, all of them "
      + "at once, and the exit status is 2.")

  @Option(name: .shortAndLong, help: "Configuration file.")
  var config: String

  @Flag(help: "Print JSON instead of TOML.")
  var json = false

  func run() throws {
    let settings = try SettingsFile.load(path: config, purpose: .check)
    settings.warnings.forEach { complain($0.description) }
    print(json ? settings.normalisedJSON : settings.normalised, terminator: "")
  }
}
