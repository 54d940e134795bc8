/// Reproducible chance (SplitMix64): one seed, one run.
struct Dice {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
    return word ^ word >> 31
  }

  mutating func roll(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(next() % UInt64(range.count)) }
  mutating func chance(_ percent: Int) -> Bool { roll(1...100) <= percent }
  mutating func pick<T>(_ list: [T]) -> T { list[roll(0...list.count - 1)] }
  mutating func port() -> UInt16 { UInt16(roll(1...65535)) }
}
