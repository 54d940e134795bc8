/// A place in the configuration that something follows from.
public struct PlanReference: Hashable, Sendable {
  /// A section; numbers are indexes into the plan's arrays.
  public enum Part: Hashable, Sendable {
    case engine, timeouts, limits
    case interface(Int), route(Int), route6(Int), neighbor(Int), forward(Int), masquerade(Int), trigger(Int)
  }

  public var part: Part
  /// A key of the section; nil for the section as a whole.
  public var key: String?

  public init(_ part: Part, _ key: String? = nil) {
    self.part = part
    self.key = key
  }
}

/// Why a frame got its verdict: what the engine looked at, in its order, and what it found.
///
/// The verdict is the engine's own; the steps come from the same lookups, made right before it (`Survey.swift`).
public struct Explanation: Sendable {
  /// The order in which causes win.
  public enum Stage: String, Sendable, CaseIterable {
    case frame, mac, tag
    case header = "ip header"
    case martian, transport, session, forward, filtering, ttl, route, mtu, limits
    case neighbor = "neighbour"
  }

  /// One rung of the ladder.
  public struct Step: Sendable {
    public var stage: Stage
    /// True for the rung that stopped the frame.
    public var isStop: Bool
    public var text: String
    public var reference: PlanReference?
  }

  /// A forward or trigger that might have taken the frame.
  public struct Candidate: Sendable {
    public var rule: PlanReference.Part
    public var won: Bool
    /// Why it lost or won.
    public var text: String
    /// The key of the rule that decided.
    public var key: String?
  }

  /// A session as it stood right after the frame.
  public struct Session: Sendable {
    public var report: SessionReport
    /// Made by this very frame.
    public var isNew: Bool
    /// The frame goes in the reply direction.
    public var isReply: Bool
    /// Packets that the other direction had carried before.
    public var answers: UInt64
  }

  /// Who the frame is handed to.
  public struct NextHop: Sendable {
    /// Index into `Plan.interfaces`.
    public var interface: Int
    public var address: IPAddress
    /// nil where it is not known.
    public var mac: MACAddress?
    /// "permanent", "resolved", "probing", "asking" or "unknown".
    public var state: String
    /// What led there.
    public var reference: PlanReference?
  }

  /// Something that would let the frame through.
  public struct Remedy: Sendable {
    public var text: String
    public var reference: PlanReference?
  }

  /// The engine's clock when it was judged.
  public var time: UInt64 = 0
  public var steps: [Step] = []
  public var candidates: [Candidate] = []
  /// Forwards that were further away than those told.
  public var otherForwards = 0
  public var session: Session?
  public var nextHop: NextHop?
  /// Index into `Plan.interfaces`; nil where the frame belongs to none.
  public var ingress: Int?
  /// Index into `Plan.interfaces`, where it leaves.
  public var egress: Int?
  public var verdict = Verdict.none
  public var reason = DropReason.none
  /// One word: a drop reason's name, "forwarded", "routed", "target-silent", "next-hop-silent",
  /// "piece-waiting", "consumed", "passed".
  public var cause = ""
  /// One sentence.
  public var conclusion = ""
  public var remedies: [Remedy] = []
  /// What the survey foresaw; `none` where nothing stood in the way. For tests: it must agree with the engine.
  public var foreseen = DropReason.none

  public init() {}
}

extension Verdict {
  /// The name that users read.
  public var name: String {
    switch self {
    case .none: "none"
    case .forward: "forward"
    case .drop: "drop"
    case .consume: "consume"
    case .hold: "hold"
    case .pass: "pass"
    case .split: "split"
    }
  }
}

extension Forwarder {
  /// Judges one frame as `process` does, and tells why. The outbox holds what that made, timers before it included.
  ///
  /// Where nobody asks, nothing of this is run: `process` knows nothing of it.
  public mutating func explain(_ slot: UnsafeMutablePointer<FrameSlot>) -> Explanation {
    core.pointee.begin()
    if slot.pointee.time > core.pointee.clock.now { core.pointee.advance(to: slot.pointee.time) }
    let survey = core.pointee.survey(slot)
    parseStage(slot, 1)
    matchStage(slot, 1)
    rewriteStage(slot, 1, position: 0)
    return core.pointee.account(for: survey, slot)
  }
}
