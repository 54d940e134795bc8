import ArgumentParser
import Gateway
import Settings

/// `sluice flow`: sessions of a running gateway.
struct FlowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flow", abstract: "Sessions of a running gateway.", subcommands: [List.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The live sessions, in table order.",
      discussion: """
        "Arrives" is the original direction as it comes in, "leaves" the same after translation. Packets and bytes: \
        original / reply.
        """)

    @Option(help: "At most so many (up to \(ControlRequest.maximumSessions)).")
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
      let flows = try control.ask(ControlRequest(.flows, limit: limit)).flows ?? []
      print(json ? jsonText(flows) : Self.text(flows), terminator: "")
    }

    static func text(_ flows: [FlowReport]) -> String {
      var table = TextTable(
        ["protocol", "state", "rule", "arrives", "leaves", "packets", "bytes", "idle", "expires"],
        rightAligned: [5, 6, 7, 8])
      for flow in flows {
        let (original, reply) = (flow.original, flow.reply)
        table.append([
          flow.ipProtocol, flow.state, flow.rule.isEmpty ? flow.origin : flow.rule,
          "\(original.interface) \(original.source) > \(original.destination)",
          "\(reply.interface) \(reply.destination) > \(reply.source)",
          "\(original.packets)/\(reply.packets)", "\(byteText(original.bytes))/\(byteText(reply.bytes))",
          DurationText.text(Int(flow.idleSeconds)), DurationText.text(Int(flow.remainingSeconds)),
        ])
      }
      return table.text
    }
  }
}
