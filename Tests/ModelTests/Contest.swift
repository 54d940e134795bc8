import Engine
import NATModel
import PacketTestKit
import Settings
import Testing

/// One frame of a run.
struct Arrival: Sendable {
  /// Milliseconds since the beginning.
  var time: Int
  var interface: Int
  var bytes: [UInt8]
}

/// Where engine and model first part.
struct Mismatch: Error, CustomStringConvertible {
  /// Which frame, from 0.
  var frame: Int
  var lines: [String]
  /// What is wrong, numbers aside: a smaller run must show the same.
  var kind: String { lines.prefix(2).joined().filter { !$0.isNumber && !$0.isHexDigit }.prefix(40).description }
  var description: String { "frame \(frame): " + lines.joined(separator: "\n  ") }
}

/// Engine and model side by side over the same frames.
struct Contest {
  private(set) var model: Model
  private let gateway: TestGateway
  private let setup: Setup
  private(set) var played = 0

  /// - Parameter spoil: makes the engine's configuration another than the model's, to see that it is noticed.
  init(_ setup: Setup, spoil: (inout Setup) -> Void = { _ in }) throws {
    self.setup = setup
    model = Model(setup)
    var other = setup
    spoil(&other)
    let plan = try SettingsFile(text: "[engine]\nsessions = 4096\n" + other.toml, file: "model.toml", purpose: .replay)
      .plan
    gateway = try TestGateway(plan)
  }

  /// Plays one frame through both.
  ///
  /// - Returns: what both say became of it.
  mutating func play(_ arrival: Arrival) throws -> Model.Answer {
    defer { played += 1 }
    let seconds = Double(arrival.time) / 1000
    let fired = gateway.advance(to: seconds).map { Model.Frame(setup.index($0.interface), $0.bytes) }
    let gateway = gateway
    // Asked for only where the contract leaves an end open, and once.
    lazy var live = Set(gateway.sessions().map(Ends.init))
    let expected = model.advance(to: arrival.time) { live.contains(Ends($0)) }
    try compare("timers", fired, expected)

    let name = setup.interfaces[arrival.interface].name
    let outcome = gateway.burst([.init(arrival.bytes, on: name, at: seconds)]).outcomes[0]
    let seen = answer(outcome)
    let wanted = model.receive(arrival.bytes, on: arrival.interface, seen: seen)
    let reason = outcome.reason == .none ? "" : " \(outcome.reason.name)"
    if wanted.verdict != seen.verdict || wanted.verdict == .drop && !wanted.reasons.contains(outcome.reason.name) {
      let right = wanted.reasons.isEmpty ? "" : " " + wanted.reasons.sorted().joined(separator: " or ")
      let out = wanted.frames + seen.frames
      throw mismatch(
        [
          "verdict: expected \(wanted.verdict)\(right), actual \(outcome.verdict)\(reason)",
          "in: \(Decoded(arrival.bytes))",
        ]
          + out.map { "on \(setup.interfaces[$0.interface].name): \(Decoded($0.bytes))" })
    }
    do {
      try compare("frames", seen.frames, wanted.frames)
    } catch var mismatch as Mismatch {
      mismatch.lines.append("in on \(name): \(Decoded(arrival.bytes))")
      throw mismatch
    }
    if model.sessions.count != gateway.live {
      throw mismatch([
        "sessions: expected \(model.sessions.count), actual \(gateway.live)",
        "in on \(name): \(Decoded(arrival.bytes))",
      ])
    }
    return wanted
  }

  private func mismatch(_ lines: [String]) -> Mismatch { Mismatch(frame: played, lines: lines) }

  private func compare(_ what: String, _ actual: [Model.Frame], _ expected: [Model.Frame]) throws {
    guard actual != expected else { return }
    for (actual, expected) in zip(actual, expected) where actual != expected {
      var lines = Decoded.differences(expected: Decoded(expected.bytes), actual: Decoded(actual.bytes))
      if actual.interface != expected.interface {
        let names = [expected, actual].map { setup.interfaces[$0.interface].name }
        lines.insert("interface: expected \(names[0]), actual \(names[1])", at: 0)
      }
      throw mismatch(["\(what)"] + lines + ["expected \(Decoded(expected.bytes))"])
    }
    let rest = (actual + expected).map { "\(Decoded($0.bytes))" }
    throw mismatch(["\(what): expected \(expected.count), actual \(actual.count)"] + rest)
  }

  private func answer(_ outcome: TestGateway.Outcome) -> Model.Answer {
    let verdict: Model.Answer.Verdict =
      switch outcome.verdict {
      case .forward: .forward
      case .split: .split
      case .consume: .consume
      case .drop: .drop
      case .hold: .hold
      case .none, .pass: .other
      }
    let frames = (outcome.forwarded.map { [$0] } ?? []) + outcome.made
    return Model.Answer(
      verdict, reasons: [outcome.reason.name],
      frames: frames.map { Model.Frame(setup.index($0.interface), $0.bytes) })
  }
}

/// What tells a session from every other, to engine and model alike.
private struct Ends: Hashable {
  var ipProtocol: UInt8
  var interface: Int
  var ends: [SessionEnd]

  init(_ session: Model.Session) {
    let (original, reply) = (session.keys[0], session.keys[1])
    ipProtocol = original.kind == .tcp ? 6 : original.kind == .udp ? 17 : 1
    interface = original.interface
    ends = [original.source, original.destination, reply.source, reply.destination].map {
      SessionEnd(.v4(IPv4Address($0.host.number)), $0.port)
    }
  }

  init(_ session: SessionReport) {
    ipProtocol = session.ipProtocol
    interface = session.original.interface
    ends = [session.original, session.reply].flatMap { [$0.source, $0.destination] }
  }
}
