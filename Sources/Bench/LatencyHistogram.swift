/// Counts of times, 64 steps to each power of two: a quantile is at most 1.6 % too high, from a nanosecond to centuries.
///
/// The layout is HdrHistogram's. Its Swift package would bring two more packages for what one array does here.
public struct LatencyHistogram: Sendable {
  private static let stepBits = 6
  private var counts = [UInt64](repeating: 0, count: (64 - stepBits + 1) << stepBits)
  public private(set) var total: UInt64 = 0
  public private(set) var maximum: UInt64 = 0

  public init() {}

  public mutating func add(_ nanoseconds: UInt64) {
    counts[Self.step(of: nanoseconds)] += 1
    total += 1
    maximum = max(maximum, nanoseconds)
  }

  public mutating func add(_ other: LatencyHistogram) {
    for step in counts.indices { counts[step] += other.counts[step] }
    total += other.total
    maximum = max(maximum, other.maximum)
  }

  /// The time that a share of all counts does not exceed; 0 where there are none.
  public func quantile(_ share: Double) -> UInt64 {
    let wanted = max(1, UInt64((share * Double(total)).rounded(.up)))
    var passed: UInt64 = 0
    for (step, count) in counts.enumerated() {
      passed += count
      if passed >= wanted { return min(maximum, Self.last(of: step)) }
    }
    return maximum
  }

  /// Values below 128 have a step each; from there on a step is twice as wide with every power of two.
  private static func step(of value: UInt64) -> Int {
    let shift = max(0, 64 - value.leadingZeroBitCount - (stepBits + 1))
    return shift << stepBits + Int(truncatingIfNeeded: value >> UInt64(shift))
  }

  private static func last(of step: Int) -> UInt64 {
    let shift = max(0, step >> stepBits - 1)
    let next = UInt64(step - shift << stepBits) + 1
    return next.multipliedReportingOverflow(by: 1 << UInt64(shift)).overflow ? .max : next << UInt64(shift) - 1
  }
}
