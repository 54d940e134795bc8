import Glibc

/// How fast a replay goes through its captures. The output is the same at any speed.
public enum ReplaySpeed: Equatable, Sendable {
  /// As fast as it can.
  case unlimited
  /// So many times as fast as the captures were taken; 1 is their own speed.
  case factor(Double)

  /// `max`, `real`, or a number greater than 0.
  public init?(_ text: String) {
    switch text {
    case "max": self = .unlimited
    case "real": self = .factor(1)
    default:
      guard let factor = Double(text), factor > 0, factor.isFinite else { return nil }
      self = .factor(factor)
    }
  }
}

/// Says when a frame is due, and waits for it.
struct ReplayPace {
  private let factor: Double
  /// The first frame's time in the capture, and on the machine's clock.
  private var origin: (capture: UInt64, machine: UInt64)?
  /// Nanoseconds spent waiting, which are nobody's work.
  private(set) var waited: UInt64 = 0

  /// nil where nothing is ever waited for.
  init?(_ speed: ReplaySpeed) {
    guard case .factor(let factor) = speed else { return nil }
    self.factor = factor
  }

  /// When a frame of this time is due on the machine's clock; the first one is due at `now`.
  mutating func due(_ time: UInt64, now: UInt64) -> UInt64 {
    guard let origin else {
      origin = (time, now)
      return now
    }
    guard time > origin.capture else { return origin.machine }
    let distance = Double(time - origin.capture) / factor
    // Farther than anybody waits, and far from overflow.
    return origin.machine + UInt64(min(distance, 1e18))
  }

  mutating func wait(for time: UInt64) {
    var now = machineTime()
    let start = now
    let due = due(time, now: now)
    while now < due {
      var rest = timespec(
        tv_sec: Int((due - now) / 1_000_000_000), tv_nsec: Int((due - now) % 1_000_000_000))
      nanosleep(&rest, nil)
      now = machineTime()
    }
    waited += now - start
  }
}

/// Nanoseconds of a clock that never jumps.
func machineTime() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}
