import ArgumentParser
import Gateway
import Settings

/// `sluice status`: a running gateway's counters.
struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Counters of a running gateway: per interface, sessions, rings, events.",
    discussion: "On each interface received = forwarded + dropped + consumed + passed + held, always.")

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var control: ControlOption

  func run() throws {
    let status = try control.ask(ControlRequest(.status), for: \.status)
    print(json ? jsonText(status) : Self.text(status), terminator: "")
  }

  static func text(_ status: StatusReport) -> String {
    let uptime = DurationText.text(Int(status.uptimeSeconds))
    var text = "sluice \(status.version), \(status.mode) mode, process \(status.process), up \(uptime)\n\n"
    var table = TextTable(
      ["interface", "received", "forwarded", "dropped", "consumed", "passed", "held", "generated"],
      rightAligned: Set(1...7))
    for (name, frames) in status.interfaces.sorted(by: { $0.key < $1.key }) { table.append(row(name, frames)) }
    table.append(row("all", status.frames))
    text += table.text + "\n"
    var rings = TextTable(["device", "ring", "ring frames", "ring drops", "changes"], rightAligned: [2, 3, 4])
    for (name, ring) in status.rings.sorted(by: { $0.key < $1.key }) {
      rings.append([name, ring.kind, "\(ring.frames)", "\(ring.drops)", "\(ring.changes)"])
    }
    text += rings.text + "\n"
    let sessions = status.sessions
    text += "sessions: \(sessions.live) live of \(sessions.capacity), \(sessions.created) created, "
    text += "\(sessions.expired) expired, \(sessions.evicted) evicted; table \(byteText(UInt64(sessions.tableBytes)))\n"
    text += "room: \(sessions.used) sessions and \(sessions.mappings) mappings in \(sessions.capacity) places each, "
    text += "\(sessions.halfOpen) of at most \(sessions.halfOpenLimit) half open\n"
    for warning in status.warnings { text += "warning: \(warning)\n" }
    for trigger in status.triggers {
      let left = trigger.remainingSeconds.map { DurationText.text(Int($0.rounded(.up))) } ?? ""
      text += "trigger \(trigger.name): " + (trigger.owner.map { "open for \($0), \(left) left\n" } ?? "closed\n")
    }
    if !status.events.isEmpty {
      let events = status.events.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
      text += "events: \(events.joined(separator: ", "))\n"
    }
    return text
  }

  private static func row(_ name: String, _ frames: StatusReport.Frames) -> [String] {
    let counts = [
      frames.received, frames.forwarded, frames.dropped, frames.consumed, frames.passed, frames.held, frames.generated,
    ]
    return [name] + counts.map { "\($0)" }
  }
}
