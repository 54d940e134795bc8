import Engine
import Foundation

/// What `--report` writes: the engine's counters at the end of a replay.
public struct ReplayReport: Codable, Equatable, Sendable {
  /// Frames by what became of them: received = forwarded + dropped + consumed + passed + held.
  public struct Frames: Codable, Equatable, Sendable {
    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
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

  /// Sessions by the clock at the end.
  public struct Sessions: Codable, Equatable, Sendable {
    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public var created, expired, live: UInt64
  }

  /// Sums over all interfaces.
  public var frames: Frames
  /// By name; `generated` at egress, all else at ingress.
  public var interfaces: [String: Frames]
  /// Non-zero ones, by reason.
  public var drops: [String: UInt64]
  /// Non-zero ones, by name.
  public var events: [String: UInt64]
  /// Sessions made, ended by their timers and left.
  public var sessions: Sessions
  /// Wall-clock time of the run, never compared.
  public var elapsedSeconds: Double
  /// Frames received by wall-clock second, never compared.
  public var packetsPerSecond: Double
  /// The same with reading, engine and writing taken apart, never compared.
  public var rates: ReplayRates?

  enum CodingKeys: String, CodingKey {
    case frames, interfaces, drops, events, sessions, rates
    case elapsedSeconds = "elapsed_seconds"
    case packetsPerSecond = "packets_per_second"
  }

  init(_ forwarder: borrowing Forwarder, plan: Plan, elapsed: Duration, times: StageTimes) {
    var total = InterfaceCounts()
    interfaces = [:]
    drops = [:]
    events = [:]
    for (index, interface) in plan.interfaces.enumerated() {
      let counts = forwarder.counts(interface: index)
      total += counts
      interfaces[interface.name] = Frames(counts)
      for reason in DropReason.allCases {
        let count = forwarder.drops(interface: index, reason: reason)
        if count > 0 { drops[reason.name, default: 0] += count }
      }
    }
    for event in Event.allCases {
      let count = forwarder.count(of: event)
      if count > 0 { events[event.name] = count }
    }
    frames = Frames(total)
    let counts = forwarder.sessionCounts
    sessions = Sessions(created: counts.created, expired: counts.expired, live: counts.live)
    elapsedSeconds = elapsed / .seconds(1)
    packetsPerSecond = elapsedSeconds > 0 ? Double(frames.received) / elapsedSeconds : 0
    rates = ReplayRates(frames: frames.received, times)
  }

  /// JSON with sorted keys and a final newline.
  public var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(self) else { preconditionFailure("a report is plain numbers") }
    return String(decoding: data, as: UTF8.self) + "\n"
  }

  /// A few lines for people.
  public var summary: String {
    func list(_ counts: [String: UInt64]) -> String {
      counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    }
    func line(_ name: String, _ frames: Frames) -> String {
      "\(name): \(frames.received) received = \(frames.forwarded) forwarded + \(frames.dropped) dropped"
        + " + \(frames.consumed) consumed + \(frames.passed) passed + \(frames.held) held; \(frames.generated) generated\n"
    }
    var text = line("all", frames)
    for (name, frames) in interfaces.sorted(by: { $0.key < $1.key }) { text += line(name, frames) }
    if !drops.isEmpty { text += "drops: \(list(drops))\n" }
    if !events.isEmpty { text += "events: \(list(events))\n" }
    text += "sessions: \(sessions.created) created, \(sessions.expired) expired, \(sessions.live) live\n"
    if let rates {
      text += "frames a second: \(Int(rates.read)) read, \(Int(rates.readEngine)) with the engine, "
      text += "\(Int(rates.readEngineWrite)) with writing\n"
    }
    return text
  }
}
