import Capture
import Engine
import Explain
import Settings

/// A replay whose every frame is written down with the decision about it: `--annotate`.
final class Annotator: ReplayObserver {
  private let explainer: Explainer
  private let writer: AnnotatedWriter
  /// Identity of the packet that was judged or made last: the place of its frame in the file's story, from 1.
  private var identity: UInt64 = 0
  /// Frames that wait in the engine, by their identity.
  private var waiting: [UInt64: String] = [:]
  /// Far more than wait at once; those that gave up waiting are forgotten by and by.
  private static let mostWaiting = 65_536

  init(path: String, plan: Plan, settings: SettingsFile) throws(CaptureError) {
    explainer = Explainer(plan: plan, settings: settings)
    writer = try AnnotatedWriter(
      path: path,
      interfaces: plan.interfaces.map { interface in
        .init(
          name: interface.name, description: "\(interface.role.rawValue), \(interface.device)",
          link: interface.link == .ethernet ? .ethernet : .rawIP)
      })
  }

  var isDone: Bool { false }

  func judge(
    _ slot: UnsafeMutablePointer<FrameSlot>, number: Int, with forwarder: inout Forwarder
  ) throws(CaptureError) {
    identity += 1
    let received = Array(UnsafeRawBufferPointer(start: slot.pointee.bytes, count: Int(slot.pointee.length)))
    let mine = identity
    slot.pointee.ticket = UInt32(truncatingIfNeeded: mine)
    let report = explainer.explain(slot, number: number, with: &forwarder)
    if slot.pointee.verdict == .hold || slot.pointee.verdict == .split {
      if waiting.count >= Self.mostWaiting { waiting.removeAll() }
      waiting[mine] = "frame \(number) of \(report.interface)"
    }
    var frame = AnnotatedWriter.Frame(
      interface: Int(slot.pointee.link), time: report.time, isOutbound: false, identity: mine,
      comment: Self.comment(report), verdict: Self.verdict(slot.pointee.verdict))
    try append(received, frame)
    try writeOutbox(
      forwarder.outbox, "because of frame \(number) of \(explainer.plan.interfaces[frame.interface].name)")
    guard slot.pointee.verdict == .forward else { return }
    frame.comment = "frame \(number) of \(report.interface), as it leaves; changed: " + Self.changes(report)
    frame.interface = Int(slot.pointee.egress)
    frame.isOutbound = true
    try writer.append(slot.pointee.bytes, length: Int(slot.pointee.length), frame)
  }

  func timersFired(_ forwarder: borrowing Forwarder) throws(CaptureError) {
    try writeOutbox(forwarder.outbox, "when a timer ran out")
  }

  func finish() throws(CaptureError) { try writer.finish() }

  /// Frames that the engine made, packets of their own; and those that had to wait, or pieces of one: copies of it.
  private func writeOutbox(_ outbox: UnsafeBufferPointer<OutboxFrame>, _ why: String) throws(CaptureError) {
    for index in outbox.indices {
      let made = outbox[index]
      let origin = waiting[UInt64(made.ticket)]
      if origin == nil { identity += 1 }
      try writer.append(
        made.bytes, length: Int(made.length),
        .init(
          interface: Int(made.egress), time: made.time, isOutbound: true,
          identity: origin == nil ? identity : UInt64(made.ticket),
          comment: origin.map { "\($0), as it leaves, \(why)" } ?? "made \(why)", verdict: nil))
    }
  }

  private func append(_ bytes: [UInt8], _ frame: AnnotatedWriter.Frame) throws(CaptureError) {
    var failure: CaptureError?
    bytes.withUnsafeBytes { buffer in
      // An empty frame has no bytes to point to.
      let start = buffer.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
      do throws(CaptureError) { try writer.append(start, length: buffer.count, frame) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  private static func comment(_ report: ExplanationReport) -> String {
    var lines = ["frame \(report.frame) of \(report.interface): \(report.conclusion)"]
    if let session = report.session {
      lines.append(
        "session \(session.identity), \(session.state), by \(session.rule)\(session.place.map { " (\($0))" } ?? "")")
    }
    lines += report.remedies.map { "would help: \($0.text)\($0.place.map { " (\($0))" } ?? "")" }
    return lines.joined(separator: "\n")
  }

  private static func changes(_ report: ExplanationReport) -> String {
    let list = report.changes.map { "\($0.field) \($0.before) -> \($0.after)" }
    return list.isEmpty ? "nothing" : list.joined(separator: ", ")
  }

  private static func verdict(_ verdict: Verdict) -> AnnotatedWriter.Verdict {
    switch verdict {
    case .forward, .split: .forward
    case .drop, .none: .drop
    case .consume: .consume
    case .hold: .hold
    case .pass: .pass
    }
  }
}

extension ReplayRun {
  /// Runs it and writes `path`, an annotated capture of everything that came and left.
  ///
  /// - Throws: as `run` does.
  public func run(annotating path: String, settings: SettingsFile) throws -> ReplayResult {
    var annotator: Annotator?
    var result = try run { plan in
      annotator = try Annotator(path: path, plan: plan, settings: settings)
      return annotator
    }
    do throws(CaptureError) { try annotator?.finish() } catch { result.failure = result.failure ?? error }
    return result
  }
}
