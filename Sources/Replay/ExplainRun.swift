import Capture
import Engine
import Explain
import Settings

/// Explains chosen frames of a replay; the others are judged as always, so that the explained ones meet the sessions
/// that came before them.
public struct ExplainRun {
  /// Which frames.
  public enum Choice {
    /// By their numbers in one interface's capture (index into the plan's interfaces).
    case numbers(Set<Int>, interface: Int)
    /// All that match, or all.
    case matching(CaptureFilter?)
  }

  private let replay: ReplayRun
  private let settings: SettingsFile
  private let choice: Choice
  private let limit: Int

  /// - Parameter limit: after so many it ends.
  public init(_ replay: ReplayRun, settings: SettingsFile, choice: Choice, limit: Int) {
    self.replay = replay
    self.settings = settings
    self.choice = choice
    self.limit = limit
  }

  /// Runs it; each report is told as soon as it is there.
  ///
  /// - Throws: as `ReplayRun.run` does.
  public func run(_ tell: @escaping (ExplanationReport) -> Void) throws -> ReplayResult {
    try replay.run { plan in
      FrameExplainer(Explainer(plan: plan, settings: settings), choice, limit: limit, tell)
    }
  }
}

/// Explains the frames that it was told to, and lets the engine judge the rest.
private final class FrameExplainer: ReplayObserver {
  private let explainer: Explainer
  private let choice: ExplainRun.Choice
  private var left: Int
  private let tell: (ExplanationReport) -> Void

  init(
    _ explainer: Explainer, _ choice: ExplainRun.Choice, limit: Int, _ tell: @escaping (ExplanationReport) -> Void
  ) {
    self.explainer = explainer
    self.choice = choice
    self.tell = tell
    left = limit
    if case .numbers(let numbers, _) = choice { left = min(limit, numbers.count) }
  }

  var isDone: Bool { left == 0 }

  func judge(_ slot: UnsafeMutablePointer<FrameSlot>, number: Int, with forwarder: inout Forwarder) {
    guard wants(slot, number) else { return forwarder.process(slot, count: 1) }
    left -= 1
    tell(explainer.explain(slot, number: number, with: &forwarder))
  }

  private func wants(_ slot: UnsafeMutablePointer<FrameSlot>, _ number: Int) -> Bool {
    switch choice {
    case .numbers(let numbers, let interface): return Int(slot.pointee.link) == interface && numbers.contains(number)
    case .matching(let filter):
      guard let filter else { return true }
      let link: CaptureLink = explainer.plan.interfaces[Int(slot.pointee.link)].link == .ethernet ? .ethernet : .rawIP
      return filter.matches(slot.pointee.bytes, length: Int(slot.pointee.length), link: link)
    }
  }

  func timersFired(_ forwarder: borrowing Forwarder) {}
}
