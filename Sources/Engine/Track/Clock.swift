/// Engine time: nanoseconds given from outside, and ticks of 100 ms since the forwarder was made.
///
/// A due time is rounded up to a tick, so a timer never fires early. Ticks are compared by signed difference, which
/// holds as long as no two of them are 2^31 apart (6.8 years): a longer jump ends every session at once.
struct Clock {
  static let nanosecondsPerTick: UInt64 = 100_000_000
  static let ticksPerSecond: UInt32 = 10
  /// More than any timeout, in ticks.
  static let farTicks: UInt64 = 1 &<< 30

  /// Never runs back.
  private(set) var now: UInt64
  /// The tick that has passed.
  private(set) var tick: UInt32 = 0
  /// The same rounded up: what an event at `now` counts from.
  private(set) var tickUp: UInt32 = 0
  private var baseTick: UInt64

  /// What its ticks count from, in ticks since time began.
  var base: UInt64 { baseTick }

  init(now: UInt64) {
    self.now = now
    baseTick = now / Self.nanosecondsPerTick
    _ = set(now)
  }

  /// Moves on to a later time. Returns how many ticks have passed.
  mutating func set(_ time: UInt64) -> UInt64 {
    let before = now / Self.nanosecondsPerTick
    now = time
    let ticks = time / Self.nanosecondsPerTick
    tick = UInt32(truncatingIfNeeded: ticks &- baseTick)
    tickUp = ticks &* Self.nanosecondsPerTick == time ? tick : tick &+ 1
    return ticks &- before
  }

  /// `time` rounded up to a tick, in nanoseconds.
  static func roundUp(_ time: UInt64) -> UInt64 {
    let rest = time % nanosecondsPerTick
    guard rest != 0 else { return time }
    let (sum, overflow) = time.addingReportingOverflow(nanosecondsPerTick &- rest)
    return overflow ? .max : sum
  }

  /// Nanoseconds at a tick within 2^31 ticks of now.
  func time(of tick: UInt32) -> UInt64 {
    let ticks = Int64(bitPattern: now / Self.nanosecondsPerTick) &+ Int64(Int32(bitPattern: tick &- self.tick))
    return UInt64(max(0, ticks)) &* Self.nanosecondsPerTick
  }
}
