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
    let expected = model.advance(to: arrival.time, isLive: isLive)
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

  /// Whether the engine still has a session: asked only where the contract leaves its end open.
  private func isLive(_ session: Model.Session) -> Bool {
    let original = session.keys[0]
    let reply = session.keys[1]
    return gateway.sessions().contains {
      $0.ipProtocol == (original.kind == .tcp ? 6 : original.kind == .udp ? 17 : 1)
        && $0.original.interface == original.interface && "\($0.original.source)" == "\(original.source)"
        && "\($0.original.destination)" == "\(original.destination)" && "\($0.reply.source)" == "\(reply.source)"
        && "\($0.reply.destination)" == "\(reply.destination)"
    }
  }
}
