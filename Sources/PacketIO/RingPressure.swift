/// Frames a second of one worker on one link by which `ring = "auto"` chooses.
///
/// Above the higher one a core has no time to spare for a look at each slot. Below the lower one nothing is gained by
/// waiting for a block. Bulk transfers come as super-frames, and stay far below.
public struct RingRates: Sendable {
  /// At this rate blocks pay.
  public var blocks: UInt64 = 250_000
  /// At this rate slots do.
  public var slots: UInt64 = 50_000

  public init() {}
}

/// Which kind of ring suits the frames that come.
struct RingPressure {
  /// Nanoseconds to look at together.
  static let window: UInt64 = 5_000_000
  /// Nanoseconds that a rate has to last: a flood is answered at once, a lull is waited for.
  static let floodPatience: UInt64 = 20_000_000
  static let lullPatience: UInt64 = 200_000_000

  let rates: RingRates
  private var frames: UInt64 = 0
  private var windowStart: UInt64 = 0
  private var flood: UInt64 = 0
  private var lull: UInt64 = 0

  init(rates: RingRates) { self.rates = rates }

  /// Counts frames taken up at `time`, in nanoseconds, and says what suits: true for blocks, false for slots, nil for
  /// what there is. A pause counts to the lull.
  mutating func count(_ taken: Int, at time: UInt64) -> Bool? {
    frames &+= UInt64(truncatingIfNeeded: taken)
    let elapsed = time &- windowStart
    if elapsed < Self.window { return nil }
    let rate = frames &* 1_000_000_000 / elapsed
    flood = rate >= rates.blocks ? flood &+ elapsed : 0
    lull = rate <= rates.slots ? lull &+ elapsed : 0
    frames = 0
    windowStart = time
    return flood >= Self.floodPatience ? true : lull >= Self.lullPatience ? false : nil
  }
}
