import ArgumentParser
import Gateway

/// `sluice reload`: a running gateway takes its configuration file over again.
struct ReloadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload",
    abstract: "Have a running gateway read its configuration again.",
    discussion: """
      All of it is taken over, between two bursts, or none: if anything is wrong, every mistake is told at its place, the \
      exit status is 2, and the old configuration runs on. Live sessions obey the new one at once; --plan tells first \
      what it would do to each. Changes that `sluice forward` made are gone afterwards.
      """)

  @Flag(help: "Change nothing; list what would become of the live sessions.")
  var plan = false

  @Option(help: "With --plan, list at most so many sessions (up to \(ControlRequest.maximumSessions)).")
  var limit = 100

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var control: ControlOption

  func validate() throws {
    guard (1...ControlRequest.maximumSessions).contains(limit) else {
      throw ValidationError("--limit is between 1 and \(ControlRequest.maximumSessions)")
    }
  }

  func run() throws {
    if plan {
      guard let report = try control.ask(ControlRequest(.forecast, limit: limit)).forecast else {
        throw Failure(.failed, "the gateway answers something else")
      }
      print(json ? jsonText(report) : Self.text(report), terminator: "")
    } else {
      guard let report = try control.ask(ControlRequest(.reload)).reload else {
        throw Failure(.failed, "the gateway answers something else")
      }
      let text = report.changed ? "the new configuration is in use\n" : "nothing has changed\n"
      print(json ? jsonText(report) : text, terminator: "")
    }
  }

  static func text(_ report: ForecastReport) -> String {
    var text = report.changed ? "" : "the configuration has not changed\n"
    text += "\(report.kept) kept, \(report.retargeted) retargeted, \(report.cut) cut\n"
    if report.sessions.isEmpty { return text }
    var table = TextTable(["fate", "id", "protocol", "state", "rule", "arrives", "leaves"], rightAligned: [1])
    for session in report.sessions {
      let flow = session.flow
      table.append([
        session.fate, "\(flow.identity)", flow.ipProtocol, flow.state, flow.rule.isEmpty ? flow.origin : flow.rule,
        "\(flow.original.interface) \(flow.original.source) > \(flow.original.destination)",
        "\(flow.reply.interface) \(flow.reply.destination) > \(flow.reply.source)",
      ])
    }
    return text + "\n" + table.text
  }
}
