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

  @OptionGroup var sessions: SessionLimit

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var control: ControlOption

  func run() throws {
    if plan {
      let report = try control.ask(ControlRequest(.forecast, limit: sessions.limit), for: \.forecast)
      print(json ? jsonText(report) : Self.text(report), terminator: "")
    } else {
      let report = try control.ask(ControlRequest(.reload), for: \.reload)
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
        session.fate, "\(flow.identity)", flow.ipProtocol, flow.state, flow.maker, flow.arrival, flow.departure,
      ])
    }
    return text + "\n" + table.text
  }
}
