import Capture
import Engine
import Explain

/// What a worker asks about each burst: the engine, or the mirror that measures everything but the engine.
protocol Judge: ~Copyable {
  /// Judges `count` frames in order.
  mutating func process(_ slots: UnsafeMutablePointer<FrameSlot>, count: Int)
  /// Fires every timer due at or before `time`, in nanoseconds.
  mutating func advance(to time: UInt64)
  /// When the next timer is due; `UInt64.max` for none.
  var nextDeadline: UInt64 { get }
  /// Frames made by the last call of `process` or `advance`.
  var outbox: UnsafeBufferPointer<OutboxFrame> { get }
  /// Before a sleep: until `wake`, no other worker waits for this one. False where it should wake soon.
  mutating func sleep() -> Bool
  /// After a sleep, before anything else.
  mutating func wake()
  /// A forwarded frame that came in on interface `ingress` could not be sent.
  mutating func takeBack(ingress: Int, reason: DropReason)
  /// Judges one frame and tells why it got its verdict; nil, and nothing judged, where there is no why.
  mutating func explain(
    _ slot: UnsafeMutablePointer<FrameSlot>, number: Int, by explainer: Explainer
  ) -> ExplanationReport?
  /// What is known of `interfaces` interfaces, and at most `sessionLimit` sessions.
  func report(interfaces: Int, sessionLimit: Int) -> EngineReport
  /// Answers what is no plain report, between two bursts. After `replace` the outbox holds what left because of it.
  mutating func answer(_ question: Mailbox.Question) -> EngineReport
  /// Writes everything that changes to an image, between two bursts; the outbox is gone then. False where that cannot be.
  mutating func save(to image: inout EngineImage) -> Bool
}

/// Everything an engine says of itself, copied out.
struct EngineReport: Sendable {
  /// One per interface.
  var counts: [InterfaceCounts] = []
  /// By interface, then by the raw value of the reason.
  var drops: [[UInt64]] = []
  /// By the raw value of the event.
  var events: [UInt64] = []
  var sessionCounts = SessionCounts()
  var sessions: [SessionReport] = []
  /// By trigger; nil for those that are closed.
  var openings: [OpeningReport?] = []
  var tableBytes = 0
  var use = TableUse()
  /// Frames explained since the last question about them, and whether more may follow.
  var explained: [ExplanationReport] = []
  var isWatching = false
  /// Places of the session table that were ever used.
  var places = 0

  // Answers to single questions.
  /// nil where nothing is recorded.
  var recording: FlightRecording?
  var forecasts: [SessionForecast] = []
  var session: SessionReport?
  var isFound = false
  /// The rules before, after `replace`; nil where it was refused.
  var replaced: Rules?
  var refusal: String?
}

extension Forwarder: Judge {
  mutating func explain(
    _ slot: UnsafeMutablePointer<FrameSlot>, number: Int, by explainer: Explainer
  ) -> ExplanationReport? {
    explainer.explain(slot, number: number, with: &self)
  }

  func report(interfaces: Int, sessionLimit: Int) -> EngineReport {
    var report = EngineReport()
    for interface in 0..<interfaces {
      report.counts.append(counts(interface: interface))
      report.drops.append(DropReason.allCases.map { drops(interface: interface, reason: $0) })
    }
    report.events = Event.allCases.map { count(of: $0) }
    report.sessionCounts = sessionCounts
    report.tableBytes = tableBytes
    report.use = gauge.use
    report.places = sessionPlaces
    report.openings = openings
    if sessionLimit > 0 { report.sessions = sessions(limit: sessionLimit) }
    return report
  }

  mutating func answer(_ question: Mailbox.Question) -> EngineReport {
    var answer = EngineReport()
    switch question {
    case .replace(let rules):
      do { answer.replaced = try replace(rules) } catch { answer.refusal = "\(error)" }
    case .forecast(let rules, let places): answer.forecasts = forecast(under: rules, places: places)
    case .session(let identity): answer.session = session(identity: identity)
    case .cut(let identity): answer.isFound = cut(identity: identity)
    case .drops(let reasons):
      answer.drops = [
        reasons.map { reason in
          (0..<interfaceCount).reduce(0) { $0 + drops(interface: $1, reason: reason) }
        }
      ]
    case .report, .watch, .watched, .recording, .stop: break
    }
    return answer
  }
}
