import ArgumentParser
import Foundation
import Gateway

/// `sluice record`: what a running gateway's flight recorder has kept.
struct RecordCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "record", abstract: "The flight recorder of a running gateway ([recorder] in its configuration).",
    subcommands: [Dump.self])

  struct Dump: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "dump",
      abstract: "Write down what it has kept: configuration, state, every frame with its decision, and captures.",
      discussion:
        "`sluice replay --state DIR` plays it again and holds every answer of the engine against the recorded one.")

    @Argument(help: "A directory that is not there yet.")
    var directory: String

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var control: ControlOption

    func run() throws {
      let path = URL(fileURLWithPath: directory).standardizedFileURL.path
      let report = try control.ask(ControlRequest(.record, directory: path), for: \.recorded)
      guard !json else { return print(jsonText(report), terminator: "") }
      print("\(report.directory): \(report.entries) entries; the last \(report.replayable) can be replayed")
    }
  }
}
