import Foundation
import Replay
import Synchronization

/// A line on standard error that says how far a replay has come, where that is a terminal.
final class ProgressBar: Sendable {
  private static let interval: UInt64 = 100_000_000
  private static let width = 30

  /// When the line is due again, in nanoseconds of the replay.
  private let next = Atomic<UInt64>(200_000_000)

  /// nil where nobody watches.
  init?() {
    guard isatty(STDERR_FILENO) == 1 else { return nil }
  }

  func show(_ progress: ReplayProgress) {
    guard progress.elapsed >= next.load(ordering: .relaxed) else { return }
    next.store(progress.elapsed + Self.interval, ordering: .relaxed)
    write("\r" + Self.line(progress) + "\u{1B}[K")
  }

  /// Leaves the line to what comes next.
  func clear() { write("\r\u{1B}[K") }

  /// `[#####.....]  50 %  1200000 frames  3100000/s  4 s`
  static func line(_ progress: ReplayProgress) -> String {
    let seconds = Double(progress.elapsed) / 1e9
    let rate = seconds > 0 ? Int(Double(progress.frames) / seconds) : 0
    var text = ""
    if let total = progress.totalBytes, total > 0 {
      let share = min(1, Double(progress.readBytes) / Double(total))
      let filled = Int(share * Double(width))
      text += "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled) + "]"
      text += String(format: " %3d %%  ", Int(share * 100))
    }
    return text + "\(progress.frames) frames  \(rate)/s  \(Int(seconds)) s"
  }

  private func write(_ text: String) {
    var bytes = Array(text.utf8)
    _ = Foundation.write(STDERR_FILENO, &bytes, bytes.count)
  }
}
