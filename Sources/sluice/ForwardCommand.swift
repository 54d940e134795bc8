import ArgumentParser
import Gateway
import Settings

/// `sluice forward`: the forwards of a running gateway.
struct ForwardCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "forward", abstract: "Forwards of a running gateway.",
    discussion: """
      Changes are checked like the configuration file and hold at once, for live sessions too. They last until the file \
      is read again, by `sluice reload`, SIGHUP or a restart: what is to stay belongs there.
      """,
    subcommands: [List.self, Add.self, Set.self, Remove.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "The forwards and triggers, in the order of the file.",
      discussion: "For each trigger: which inside host has it open, and for how long if that asks no more.")

    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var control: ControlOption

    func run() throws {
      let answer = try control.ask(ControlRequest(.forwards))
      let (forwards, triggers) = (answer.forwards ?? [], answer.triggers ?? [])
      if json {
        print(jsonText(forwards.map(Listed.forward) + triggers.map(Listed.trigger)), terminator: "")
      } else {
        print(Self.text(forwards) + (triggers.isEmpty ? "" : "\n" + Self.text(triggers)), terminator: "")
      }
    }

    /// The rules in one list: `kind` tells them apart.
    enum Listed: Encodable {
      case forward(ForwardReport)
      case trigger(TriggerReport)

      private enum CodingKeys: String, CodingKey { case kind }

      func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .forward(let report):
          try container.encode("forward", forKey: .kind)
          try report.encode(to: encoder)
        case .trigger(let report):
          try container.encode("trigger", forKey: .kind)
          try report.encode(to: encoder)
        }
      }
    }

    static func text(_ triggers: [TriggerReport]) -> String {
      var table = TextTable(["trigger", "protocol", "from", "when", "open", "for", "conflict", "owner", "closes in"])
      for trigger in triggers {
        table.append([
          trigger.name, trigger.ipProtocol, trigger.from, trigger.when, trigger.open, trigger.duration,
          trigger.conflict, trigger.owner ?? "closed",
          trigger.remainingSeconds.map { DurationText.text(Int($0.rounded(.up))) } ?? "",
        ])
      }
      return table.text
    }

    static func text(_ forwards: [ForwardReport]) -> String {
      var table = TextTable(["name", "protocol", "outside", "ports", "to", "source", "enabled"])
      for forward in forwards {
        let ports = forward.ports + (forward.except.map { " except \($0)" } ?? "")
        table.append([
          forward.name, forward.ipProtocol, forward.on ?? forward.external ?? "", ports, forward.to, forward.source,
          forward.enabled ? "yes" : "no",
        ])
      }
      return table.text
    }
  }

  /// The keys of `[[forward]]` as options.
  struct Keys: ParsableArguments {
    @Option(name: .customLong("protocol"), help: "tcp, udp, tcp+udp, any or all.")
    var ipProtocol: String?

    @Option(help: "The outside interface: any of its addresses.")
    var on: String?

    @Option(help: "One outside address, in place of --on.")
    var external: String?

    @Option(help: "Outside ports, like \"8840, 8810-8815\", or all.")
    var ports: String?

    @Option(help: "Ports to leave out.")
    var except: String?

    @Option(help: "The target: 192.168.1.10, 192.168.1.10:9090 or 192.168.1.10:9810-9817.")
    var to: String?

    @Option(help: "preserve or gateway.")
    var source: String?

    @Option(help: "A prefix of sources that may use it; may be given more than once.")
    var allow: [String] = []

    @Option(help: "A prefix of sources that may not; may be given more than once.")
    var deny: [String] = []

    @Flag(inversion: .prefixedNo, help: "Whether inside hosts reach it by the outside address.")
    var hairpin: Bool?

    @Flag(inversion: .prefixedEnableDisable, help: "Whether it is in use.")
    var enabled: Bool?

    /// The change that these make.
    func edit(_ kind: ForwardEdit.Kind, _ name: String) -> ForwardEdit {
      var edit = ForwardEdit(kind, name: name)
      let texts = [
        "protocol": ipProtocol, "on": on, "external": external, "ports": ports, "except": except, "to": to,
        "source": source,
      ]
      edit.texts = texts.compactMapValues { $0 }
      edit.lists = ["allow": allow, "deny": deny].filter { !$0.value.isEmpty }
      edit.flags = ["hairpin": hairpin, "enabled": enabled].compactMapValues { $0 }
      return edit
    }
  }

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "add", abstract: "Add a forward; a mapping that has its ports is cut.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var keys: Keys
    @OptionGroup var change: Change

    func run() throws { try change.make(keys.edit(.add, name)) }
  }

  struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "set", abstract: "Change a forward: the keys that are given.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var keys: Keys
    @OptionGroup var change: Change

    func run() throws { try change.make(keys.edit(.set, name)) }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "remove", abstract: "Remove a forward; its sessions are cut.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var change: Change

    func run() throws { try change.make(ForwardEdit(.remove, name: name)) }
  }

  /// Has the gateway make a change.
  struct Change: ParsableArguments {
    @Flag(help: "Print JSON.")
    var json = false

    @OptionGroup var control: ControlOption

    func make(_ edit: ForwardEdit) throws {
      let report = try control.ask(ControlRequest(.forward, edit: edit), for: \.reload)
      let text = report.changed ? "done, until the configuration is read again\n" : "nothing has changed\n"
      print(json ? jsonText(report) : text, terminator: "")
    }
  }
}
