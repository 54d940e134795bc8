import Capture
import Engine
import Settings

/// An explanation as people and tools read it: names for numbers, places in the configuration, headers taken apart.
public struct ExplanationReport: Codable, Equatable, Sendable {
  /// A field of a frame, or what it was and what it has become.
  public struct Field: Codable, Equatable, Sendable {
    public var name: String
    public var value: String
  }

  /// A rung of the ladder.
  public struct Step: Codable, Equatable, Sendable {
    public var stage: String
    /// "passed" or "stopped".
    public var outcome: String
    public var text: String
    /// FILE:LINE of the configuration.
    public var place: String?
  }

  /// A forward or trigger that might have taken the frame.
  public struct Candidate: Codable, Equatable, Sendable {
    public var name: String
    public var won: Bool
    public var text: String
    public var place: String?
  }

  public struct Change: Codable, Equatable, Sendable {
    public var field: String
    public var before: String
    public var after: String
  }

  /// A session right after the frame.
  public struct Session: Codable, Equatable, Sendable {
    public struct Direction: Codable, Equatable, Sendable {
      public var interface: String
      public var source: String
      public var destination: String
      public var packets: UInt64
      public var bytes: UInt64

      init(_ direction: SessionReport.Direction, _ plan: Plan) {
        interface = plan.interfaces[direction.interface].name
        source = "\(direction.source)"
        destination = "\(direction.destination)"
        packets = direction.packets
        bytes = direction.bytes
      }
    }

    public var identity: UInt64
    public var state: String
    /// The forward's or trigger's name, "FROM -> TO" of a masquerade, or "hairpin".
    public var rule: String
    public var place: String?
    public var isNew: Bool
    public var isReply: Bool
    public var original: Direction
    public var reply: Direction
    /// Until it ends if no packet follows.
    public var remainingSeconds: Double

    enum CodingKeys: String, CodingKey {
      case state, rule, place, original, reply
      case identity = "id"
      case isNew = "new"
      case isReply = "reply_direction"
      case remainingSeconds = "remaining_seconds"
    }
  }

  public struct NextHop: Codable, Equatable, Sendable {
    public var interface: String
    public var address: String
    public var mac: String?
    public var state: String
    public var place: String?
  }

  /// A frame that the engine made or released because of this one, or of timers before it.
  public struct Made: Codable, Equatable, Sendable {
    public var interface: String
    public var text: String
  }

  /// What would let the frame through.
  public struct Remedy: Codable, Equatable, Sendable {
    public var text: String
    public var place: String?
  }

  /// Number of the frame in its capture; live: of those watched.
  public var frame: Int
  /// Nanoseconds: since 1970 in a capture, of the machine's clock live.
  public var time: UInt64
  /// "" where it belongs to none.
  public var interface: String
  public var length: Int
  public var headers: [Field]
  public var steps: [Step]
  public var candidates: [Candidate]
  public var session: Session?
  public var changes: [Change]
  public var nextHop: NextHop?
  public var egress: String?
  public var made: [Made]
  public var verdict: String
  /// The drop reason.
  public var reason: String?
  /// One word.
  public var cause: String
  /// One sentence.
  public var conclusion: String
  public var remedies: [Remedy]

  enum CodingKeys: String, CodingKey {
    case frame, time, interface, length, headers, steps, candidates, session, changes, egress, made, verdict, reason
    case cause, conclusion, remedies
    case nextHop = "next_hop"
  }
}

/// What an explanation is told with: the plan's names and the file's places.
public struct Explainer: Sendable {
  public let plan: Plan
  private let settings: SettingsFile

  /// - Parameter plan: completed, with link types.
  public init(plan: Plan, settings: SettingsFile) {
    self.plan = plan
    self.settings = settings
  }

  /// Judges the frame in `slot` and tells why it got its verdict.
  ///
  /// - Parameter number: what to call it.
  public func explain(
    _ slot: UnsafeMutablePointer<FrameSlot>, number: Int, with forwarder: inout Forwarder
  ) -> ExplanationReport {
    let before = Array(UnsafeRawBufferPointer(start: slot.pointee.bytes, count: Int(slot.pointee.length)))
    let tag = slot.pointee.tag
    let explanation = forwarder.explain(slot)
    var report = ExplanationReport(
      frame: number, time: explanation.time, interface: explanation.ingress.map(name) ?? "", length: before.count,
      headers: [], steps: explanation.steps.map(step), candidates: explanation.candidates.map(candidate),
      session: explanation.session.map(session), changes: [], nextHop: explanation.nextHop.map(nextHop),
      egress: explanation.egress.map(name), made: [], verdict: explanation.verdict.name,
      reason: explanation.verdict == .drop ? explanation.reason.name : nil, cause: explanation.cause,
      conclusion: explanation.conclusion,
      remedies: explanation.remedies.map { .init(text: $0.text, place: place($0.reference)) })
    let link = captureLink(of: explanation.ingress ?? Int(slot.pointee.ingress))
    let fields = FrameField.all(of: before, link: link).map { (name: $0.name, value: $0.text(in: before)) }
    report.headers = fields.filter { !$0.name.hasSuffix("payload") }.map { .init(name: $0.name, value: $0.value) }
    if tag != 0 {
      report.headers.insert(.init(name: "vlan tag, taken out by the kernel", value: "\(tag & 0xFFF)"), at: 0)
    }
    if slot.pointee.verdict == .forward {
      let after = Array(UnsafeRawBufferPointer(start: slot.pointee.bytes, count: Int(slot.pointee.length)))
      report.changes = changes(fields, after, captureLink(of: Int(slot.pointee.egress)))
    }
    report.made = forwarder.outbox.map { frame in
      let bytes = Array(UnsafeRawBufferPointer(start: frame.bytes, count: Int(frame.length)))
      return .init(
        interface: name(Int(frame.egress)), text: FrameSummary.text(bytes, captureLink(of: Int(frame.egress))))
    }
    return report
  }

  private func changes(
    _ before: [(name: String, value: String)], _ frame: [UInt8], _ link: CaptureLink
  ) -> [ExplanationReport.Change] {
    var after: [String: String] = [:]
    for field in FrameField.all(of: frame, link: link) {
      after[field.name] = after[field.name] ?? field.text(in: frame)
    }
    var seen: Set<String> = []
    return before.compactMap { name, value in
      guard seen.insert(name).inserted, let now = after[name] ?? Optional("none"), now != value else { return nil }
      return .init(field: name, before: value, after: now)
    }
  }

  // MARK: Names and places

  private func name(_ interface: Int) -> String { plan.interfaces[interface].name }

  func captureLink(of interface: Int) -> CaptureLink {
    plan.interfaces[interface].link == .ethernet ? .ethernet : .rawIP
  }

  private func step(_ step: Explanation.Step) -> ExplanationReport.Step {
    .init(
      stage: step.stage.rawValue, outcome: step.isStop ? "stopped" : "passed", text: step.text,
      place: place(step.reference))
  }

  private func candidate(_ candidate: Explanation.Candidate) -> ExplanationReport.Candidate {
    .init(
      name: name(of: candidate.rule), won: candidate.won, text: candidate.text,
      place: place(PlanReference(candidate.rule, candidate.key)))
  }

  private func name(of rule: PlanReference.Part) -> String {
    switch rule {
    case .forward(let index): plan.forwards[index].name
    case .trigger(let index): plan.triggers[index].name
    default: ""
    }
  }

  private func session(_ session: Explanation.Session) -> ExplanationReport.Session {
    let report = session.report
    let (rule, part): (String, PlanReference.Part?) =
      switch report.origin {
      case .forward(let index): (plan.forwards[index].name, .forward(index))
      case .masquerade(let index):
        ("\(name(plan.masquerades[index].from)) -> \(name(plan.masquerades[index].to))", .masquerade(index))
      case .hairpin: ("hairpin", nil)
      case .trigger(let index): (plan.triggers[index].name, .trigger(index))
      case .outbound: ("outbound", nil)
      }
    return .init(
      identity: report.identity, state: report.state, rule: rule, place: place(part.map { PlanReference($0) }),
      isNew: session.isNew, isReply: session.isReply, original: .init(report.original, plan),
      reply: .init(report.reply, plan), remainingSeconds: Double(report.remaining) / 1e9)
  }

  private func nextHop(_ hop: Explanation.NextHop) -> ExplanationReport.NextHop {
    .init(
      interface: name(hop.interface), address: "\(hop.address)", mac: hop.mac.map { "\($0)" }, state: hop.state,
      place: place(hop.reference))
  }

  /// FILE:LINE of a part of the configuration.
  private func place(_ reference: PlanReference?) -> String? {
    guard let reference else { return nil }
    let part: SettingsFile.Part =
      switch reference.part {
      case .engine: .engine
      case .timeouts: .timeouts
      case .limits: .limits
      case .interface(let index): .interface(index)
      case .route(let index): .route(index)
      case .route6(let index): .route6(index)
      case .neighbor(let index): .neighbor(index)
      case .forward(let index): .forward(index)
      case .masquerade(let index): .masquerade(index)
      case .trigger(let index): .trigger(index)
      }
    let place = settings.location(of: reference.key.map { .key(of: part, $0) } ?? part)
    return "\(settings.path):\(place.line)"
  }
}
