import Engine
import Explain
import Settings

/// What clients ask a running gateway: one JSON object on one line, answered by one line; then the connection closes.
public struct ControlRequest: Codable, Sendable {
  /// A command of the protocol.
  public enum Command: String, Codable, Sendable {
    case status, flows, flow, kill, reload, forecast, forwards, forward
    /// Explain frames from now on (`watch`); what has been explained since.
    case explain, explained
    /// Write down what the flight recorder has kept.
    case record
  }

  public var command: Command
  /// At most so many sessions.
  public var limit: Int?
  /// Of the session to show or to kill.
  public var identity: UInt64?
  /// The forward to change.
  public var edit: ForwardEdit?
  /// Which frames to explain.
  public var watch: WatchRequest?
  /// Where the recording goes: an absolute path.
  public var directory: String?

  public init(
    _ command: Command, limit: Int? = nil, identity: UInt64? = nil, edit: ForwardEdit? = nil,
    watch: WatchRequest? = nil, directory: String? = nil
  ) {
    self.directory = directory
    self.command = command
    self.limit = limit
    self.identity = identity
    self.edit = edit
    self.watch = watch
  }

  /// Longest request that is read, in bytes.
  static let maximumBytes = 16_384
  /// Most sessions that one answer holds: the worker stands still while it copies them.
  public static let maximumSessions = 10_000
}

/// A gateway's answer: one of its members is there.
public struct ControlAnswer: Codable, Sendable {
  public var error: String?
  /// Everything that is wrong with the configuration that was to be taken over.
  public var mistakes: [String]?
  public var status: StatusReport?
  public var flows: [FlowReport]?
  public var explained: [ExplanationReport]?
  public var recorded: RecordReport?
  /// Whether more may be explained.
  public var isWatching: Bool?
  public var forwards: [ForwardReport]?
  /// Beside the forwards.
  public var triggers: [TriggerReport]?
  public var reload: ReloadReport?
  public var forecast: ForecastReport?
}

/// A recording that was written down.
public struct RecordReport: Codable, Sendable, Equatable {
  public var directory: String
  public var entries: Int
  /// How many of them, the last ones, can be replayed: the engine's state before them is kept.
  public var replayable: Int
}

/// What a reload has done.
public struct ReloadReport: Codable, Sendable, Equatable {
  /// False where the configuration says what it said before.
  public var changed: Bool
}

/// What a reload would do to the live sessions.
public struct ForecastReport: Codable, Sendable {
  public struct Session: Codable, Sendable {
    /// "kept", "retargeted" or "cut".
    public var fate: String
    public var flow: FlowReport
  }

  public var changed: Bool
  public var kept = 0
  public var retargeted = 0
  public var cut = 0
  /// Those that are not kept first; at most as many as asked for.
  public var sessions: [Session] = []
}

/// A running gateway at one moment.
public struct StatusReport: Codable, Sendable {
  // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
  /// Frames by what became of them: received = forwarded + dropped + consumed + passed + held.
  public struct Frames: Codable, Sendable, Equatable {
    public var received, forwarded, dropped, consumed, passed, held, generated: UInt64

    init(_ counts: InterfaceCounts) {
      received = counts.received
      forwarded = counts.forwarded
      dropped = counts.dropped
      consumed = counts.consumed
      passed = counts.passed
      held = counts.held
      generated = counts.generated
    }
  }

  /// The receive ring of a device.
  public struct Ring: Codable, Sendable {
    /// As in the configuration: latency, throughput or auto.
    public var kind: String
    /// Frames that the kernel offered to the ring.
    public var frames: UInt64
    /// Those that found no room.
    public var drops: UInt64
    /// How often `auto` went from slots to blocks or back.
    public var changes: Int
  }

  public struct Sessions: Codable, Sendable {
    public var created, expired, live: UInt64
    public var capacity: Int
    /// Places in use, those of sessions that are over and not swept yet included; of the mappings too.
    public var used, mappings: Int
    /// TCP sessions that both sides have not acknowledged yet, and how many there may be.
    public var halfOpen, halfOpenLimit: Int
    /// That have given way to others.
    public var evicted: UInt64
    public var tableBytes: Int

    enum CodingKeys: String, CodingKey {
      case created, expired, live, capacity, used, mappings, evicted
      case halfOpen = "half_open"
      case halfOpenLimit = "half_open_limit"
      case tableBytes = "table_bytes"
    }
  }

  public var version: String
  public var process: Int32
  public var mode: String
  public var uptimeSeconds: Double
  /// Sums over all interfaces.
  public var frames: Frames
  /// By interface name.
  public var interfaces: [String: Frames]
  /// By device name.
  public var rings: [String: Ring]
  /// Non-zero ones, by reason.
  public var drops: [String: UInt64]
  /// The same by interface name.
  public var dropsByInterface: [String: [String: UInt64]]
  /// Non-zero ones, by name.
  public var events: [String: UInt64]
  public var sessions: Sessions
  /// In the order of the file.
  public var triggers: [TriggerReport]
  /// What somebody should look at: nothing mostly.
  public var warnings: [String]

  enum CodingKeys: String, CodingKey {
    case version, process, mode, frames, interfaces, rings, drops, events, sessions, triggers, warnings
    case uptimeSeconds = "uptime_seconds"
    case dropsByInterface = "drops_by_interface"
  }
}

/// One live session.
public struct FlowReport: Codable, Sendable {
  /// A direction as it arrives.
  public struct Direction: Codable, Sendable {
    public var source: String
    public var destination: String
    public var interface: String
    public var packets: UInt64
    public var bytes: UInt64

    init(_ direction: SessionReport.Direction, _ plan: Plan) {
      source = "\(direction.source)"
      destination = "\(direction.destination)"
      interface = plan.interfaces[direction.interface].name
      packets = direction.packets
      bytes = direction.bytes
    }
  }

  /// By how many bytes each direction has become longer, as its sequence numbers are shifted.
  public struct Helper: Codable, Sendable {
    public var name: String
    public var originalShift: Int32
    public var replyShift: Int32

    enum CodingKeys: String, CodingKey {
      case name
      case originalShift = "original_shift"
      case replyShift = "reply_shift"
    }
  }

  public var identity: UInt64
  /// "tcp", "udp", "icmp", "icmpv6", or a number.
  public var ipProtocol: String
  public var state: String
  /// "forward", "trigger", "masquerade", "hairpin" or "outbound".
  public var origin: String
  /// The forward's or trigger's name, or the masquerade as "from -> to"; empty for the others.
  public var rule: String
  public var original: Direction
  public var reply: Direction
  /// What reads its payload; absent for nearly all.
  public var helper: Helper?
  public var idleSeconds: Double
  public var remainingSeconds: Double

  enum CodingKeys: String, CodingKey {
    case state, origin, rule, original, reply, helper
    case identity = "id"
    case ipProtocol = "protocol"
    case idleSeconds = "idle_seconds"
    case remainingSeconds = "remaining_seconds"
  }

  init(_ session: SessionReport, _ plan: Plan) {
    identity = session.identity
    switch session.ipProtocol {
    case 1: ipProtocol = "icmp"
    case 6: ipProtocol = "tcp"
    case 17: ipProtocol = "udp"
    case 58: ipProtocol = "icmpv6"
    default: ipProtocol = "\(session.ipProtocol)"
    }
    state = session.state
    switch session.origin {
    case .forward(let index): (origin, rule) = ("forward", plan.forwards[index].name)
    case .masquerade(let index):
      let pair = plan.masquerades[index]
      (origin, rule) = ("masquerade", "\(plan.interfaces[pair.from].name) -> \(plan.interfaces[pair.to].name)")
    case .hairpin: (origin, rule) = ("hairpin", "")
    case .trigger(let index): (origin, rule) = ("trigger", plan.triggers[index].name)
    case .outbound: (origin, rule) = ("outbound", "")
    }
    original = Direction(session.original, plan)
    reply = Direction(session.reply, plan)
    helper = session.helper.map {
      Helper(name: $0.name, originalShift: $0.originalShift, replyShift: $0.replyShift)
    }
    idleSeconds = Double(session.idle) / 1e9
    remainingSeconds = Double(session.remaining) / 1e9
  }
}

extension StatusReport {
  /// - Parameter rings: by device name.
  init(_ report: EngineReport, plan: Plan, rings: [String: Ring], version: String, process: Int32, uptime: UInt64) {
    self.version = version
    self.process = process
    self.rings = rings
    mode = plan.mode.rawValue
    uptimeSeconds = Double(uptime) / 1e9
    frames = Frames(report.counts.reduce(into: InterfaceCounts()) { $0 += $1 })
    interfaces = [:]
    drops = [:]
    dropsByInterface = [:]
    for (index, interface) in plan.interfaces.enumerated() where index < report.counts.count {
      interfaces[interface.name] = Frames(report.counts[index])
      var found: [String: UInt64] = [:]
      for reason in DropReason.allCases {
        let count = report.drops[index][Int(reason.rawValue)]
        guard count > 0 else { continue }
        found[reason.name] = count
        drops[reason.name, default: 0] += count
      }
      if !found.isEmpty { dropsByInterface[interface.name] = found }
    }
    events = [:]
    for event in Event.allCases where Int(event.rawValue) < report.events.count {
      let count = report.events[Int(event.rawValue)]
      if count > 0 { events[event.name] = count }
    }
    sessions = Sessions(
      created: report.sessionCounts.created, expired: report.sessionCounts.expired, live: report.sessionCounts.live,
      capacity: plan.sessions, used: report.use.sessions, mappings: report.use.mappings, halfOpen: report.use.halfOpen,
      halfOpenLimit: plan.limits.halfOpen(of: plan.sessions), evicted: report.use.evicted,
      tableBytes: report.tableBytes)
    triggers = TriggerReport.all(plan, report.openings)
    warnings = report.use.fill >= FillWatch.warning ? [FillWatch.text(report.use)] : []
  }
}
