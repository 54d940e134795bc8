import Engine
import Settings

/// One trigger, with the keys that it has in TOML, and who has it open.
public struct TriggerReport: Codable, Sendable, Equatable {
  public var name: String
  public var ipProtocol: String
  public var from: String
  public var when: String
  public var open: String
  public var duration: String
  public var conflict: String
  /// The inside host that it is open for; nil where it is closed, as is `remainingSeconds` then.
  public var owner: String?
  /// Until it closes if the owner sends nothing to the ports of `when` any more.
  public var remainingSeconds: Double?

  enum CodingKeys: String, CodingKey {
    case name, from, when, open, conflict, owner
    case ipProtocol = "protocol"
    case duration = "for"
    case remainingSeconds = "remaining_seconds"
  }

  init(_ trigger: TriggerPlan, _ opening: OpeningReport?, _ plan: Plan) {
    name = trigger.name
    let names: [(ForwardPlan.Protocols, String)] = [(.tcp, "tcp"), (.udp, "udp")]
    ipProtocol = names.filter { trigger.protocols.contains($0.0) }.map(\.1).joined(separator: "+")
    from = plan.interfaces[trigger.from].name
    when = Self.list(trigger.when)
    open = Self.list(trigger.open)
    duration = DurationText.text(trigger.seconds)
    conflict = trigger.conflict.rawValue
    owner = opening.map { "\($0.owner)" }
    remainingSeconds = opening.map { Double($0.remaining) / 1e9 }
  }

  /// - Parameter openings: by trigger.
  static func all(_ plan: Plan, _ openings: [OpeningReport?]) -> [TriggerReport] {
    zip(plan.triggers, openings).map { TriggerReport($0, $1, plan) }
  }

  private static func list(_ ranges: [PortRange]) -> String {
    ranges.map { $0.first == $0.last ? "\($0.first)" : "\($0.first)-\($0.last)" }.joined(separator: ", ")
  }
}
