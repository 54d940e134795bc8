import ArgumentParser
import Gateway
import Settings

/// `sluice flow`: sessions of a running gateway.
struct FlowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flow", abstract: "Sessions of a running gateway.", subcommands: [List.self, Show.self, Kill.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "The live sessions, in table order.",
      discussion: """
        "Arrives" is the original direction as it comes in, "leaves" the same after translation. Packets and bytes: \
        original / reply.
        """)

    @OptionGroup var sessions: SessionLimit

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var control: ControlOption

    func run() throws {
      let flows = try control.ask(ControlRequest(.flows, limit: sessions.limit)).flows ?? []
      print(json ? jsonText(flows) : Self.text(flows), terminator: "")
    }

    static func text(_ flows: [FlowReport]) -> String {
      var table = TextTable(
        ["id", "protocol", "state", "rule", "arrives", "leaves", "packets", "bytes", "idle", "expires"],
        rightAligned: [0, 6, 7, 8, 9])
      for flow in flows {
        let (original, reply) = (flow.original, flow.reply)
        table.append([
          "\(flow.identity)", flow.protocolText, flow.state, flow.maker, flow.arrival, flow.departure,
          "\(original.packets)/\(reply.packets)", "\(byteText(original.bytes))/\(byteText(reply.bytes))",
          DurationText.text(Int(flow.idleSeconds)), DurationText.text(Int(flow.remainingSeconds)),
        ])
      }
      return table.text
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "One live session.")

    @Argument(help: "Its id, as `flow list` tells it.")
    var id: UInt64

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var control: ControlOption

    func run() throws {
      let flows = try control.ask(ControlRequest(.flow, identity: id)).flows ?? []
      print(json ? flows.first.map { jsonText($0) } ?? "" : List.text(flows), terminator: "")
    }
  }

  struct Kill: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "kill", abstract: "End live sessions.",
      discussion: """
        What either end of a TCP connection sends from then on is answered by a reset; a new connection may begin at \
        once. A datagram of another session begins it anew, if the rules let it.
        """)

    @Argument(help: "Their ids, as `flow list` tells them.")
    var ids: [UInt64]

    @Flag(help: "Print JSON: the sessions that were ended.")
    var json = false

    @OptionGroup var control: ControlOption

    func run() throws {
      var ended: [FlowReport] = []
      for id in ids { ended += try control.ask(ControlRequest(.kill, identity: id)).flows ?? [] }
      print(json ? jsonText(ended) : "ended \(ended.count)\n", terminator: "")
    }
  }
}

/// How many sessions a command lists.
struct SessionLimit: ParsableArguments {
  @Option(help: "List at most so many sessions (up to \(ControlRequest.maximumSessions)).")
  var limit = 100

  func validate() throws {
    guard (1...ControlRequest.maximumSessions).contains(limit) else {
      throw ValidationError("--limit is between 1 and \(ControlRequest.maximumSessions)")
    }
  }
}

/// A session as a row of a table.
extension FlowReport {
  /// The rule that made it.
  var maker: String { rule.isEmpty ? origin : rule }
  /// With the helper that reads it: "tcp ftp".
  var protocolText: String { helper.map { "\(ipProtocol) \($0.name)" } ?? ipProtocol }
  /// The original direction as it comes in.
  var arrival: String { "\(original.interface) \(original.source) > \(original.destination)" }
  /// The same after translation.
  var departure: String { "\(reply.interface) \(reply.destination) > \(reply.source)" }
}
