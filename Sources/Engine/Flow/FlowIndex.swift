import CIntrinsics
import Synchronization

/// Hash -> 32-bit value, in buckets of one cache line: ten 16-bit tags, ten 32-bit values, and a count of the keys that
/// belong here but stand in their other bucket.
///
///     offset  0  tags      10 x UInt16, odd; 0 = free lane
///            20  values    10 x UInt32, 0 = none published
///            60  overflow  UInt32
///
/// A key has two buckets and goes into the first while that has `roomy` lanes free, else into the emptier one. Keys never
/// move. The index knows no keys: whoever looks up verifies the candidates against its own records.
///
/// Of the hash the lower 32 bits choose the first bucket, the 32 bits from bit 16 on the second, the upper 16 are the tag.
/// A bucket is chosen by the upper half of a product, not by a mask: there may be any number of them.
///
/// Lookups are wait-free: a lane that is claimed and has no value yet is a miss. To insert is to claim a lane by
/// compare-and-swap of its tag, to look at both buckets again (`contest`), and to publish the value: see `Claim`.
struct FlowIndex {
  static let bucketBytes = 64
  static let lanes = 10
  static let valuesOffset = 20
  static let overflowOffset = 60
  /// While the first bucket has so many lanes free, nobody looks at the second. The more of its lanes keys take without
  /// looking, the fewer of them stand in their second bucket, but the sooner a pair of buckets is full.
  private static let roomy = 4
  /// Twice the keys that there are for each bucket on average when the index is as full as it may get. By it a session
  /// costs 28.4 bytes of index, one key in eleven stands in its second bucket, and no bucket pair runs over.
  private static let keysInTwoBuckets = 9
  /// How often an unpublished lane is looked at before its owner counts as held up.
  private static let patience = 4096

  /// First byte of the first bucket.
  let start: UnsafeMutableRawPointer
  /// How many there are, at most 2^32.
  let buckets: UInt64

  /// - Parameter start: `buckets * bucketBytes` bytes, zero for an empty index.
  init(start: UnsafeMutableRawPointer, buckets: Int) {
    self.start = start
    self.buckets = UInt64(buckets)
  }

  /// How many buckets `keys` keys need.
  static func buckets(keys: Int) -> Int { max(16, (keys * 2 + keysInTwoBuckets - 1) / keysInTwoBuckets) }

  @inline(__always)
  static func tag(_ hash: UInt64) -> UInt16 {
    UInt16(truncatingIfNeeded: hash &>> 48) | 1
  }

  /// Number of the first of a key's two buckets.
  @inline(__always)
  static func first(_ hash: UInt64, of buckets: UInt64) -> UInt32 {
    UInt32(truncatingIfNeeded: ((hash & 0xFFFF_FFFF) &* buckets) &>> 32)
  }

  /// Number of the second.
  @inline(__always)
  static func second(_ hash: UInt64, of buckets: UInt64) -> UInt32 {
    first(hash &>> 16, of: buckets)
  }

  @inline(__always)
  func first(_ hash: UInt64) -> UnsafeMutableRawPointer { start + Int(Self.first(hash, of: buckets)) &<< 6 }

  @inline(__always)
  func second(_ hash: UInt64) -> UnsafeMutableRawPointer { start + Int(Self.second(hash, of: buckets)) &<< 6 }

  @inline(__always)
  static func value(_ bucket: UnsafeMutableRawPointer, _ lane: Int) -> UInt32 {
    shared32(bucket, valuesOffset &+ lane &* 4).pointee.load(ordering: .acquiring)
  }

  @inline(__always)
  static func overflow(_ bucket: UnsafeMutableRawPointer) -> UInt32 {
    shared32(bucket, overflowOffset).plain
  }

  /// Every published value whose tag matches, first bucket before second.
  struct Candidates {
    private let other: UnsafeMutableRawPointer
    private let tag: UInt16
    private var bucket: UnsafeMutableRawPointer
    private var lanes: UInt32
    private var isLast: Bool

    init(_ index: FlowIndex, _ hash: UInt64) {
      tag = FlowIndex.tag(hash)
      bucket = index.first(hash)
      other = index.second(hash)
      lanes = sluice_match10(bucket, UInt32(tag))
      isLast = other == bucket || FlowIndex.overflow(bucket) == 0
    }

    mutating func next() -> UInt32? {
      while true {
        while lanes == 0 {
          if isLast { return nil }
          isLast = true
          bucket = other
          lanes = sluice_match10(bucket, UInt32(tag))
        }
        let lane = lanes.trailingZeroBitCount
        lanes &= lanes &- 1
        let value = FlowIndex.value(bucket, lane)
        if value != 0 { return value }
      }
    }
  }

  func candidates(_ hash: UInt64) -> Candidates { Candidates(self, hash) }

  // MARK: Inserting

  /// A lane that is ours and not published.
  struct Claim: Equatable {
    let bucket: UnsafeMutableRawPointer
    let lane: Int
    /// 0...9 in the first bucket, 10...19 in the second: who comes first of two that want the same key.
    let position: Int

    /// From now on the key is found. Everything in its record has been written before.
    func publish(_ value: UInt32) {
      shared32(bucket, FlowIndex.valuesOffset &+ lane &* 4).pointee.store(value, ordering: .releasing)
    }
  }

  /// What a second look has found.
  enum Contest: Equatable {
    /// Nobody else has the key: publish.
    case clear
    /// This published value has it: withdraw.
    case taken(UInt32)
    /// Another wants the key, or at least the tag, and comes first or is held up: withdraw.
    case contended
  }

  /// Claims a lane; nil where both buckets are full. The fence keeps the second look from being older than the claim.
  func claim(_ hash: UInt64) -> Claim? {
    let home = first(hash)
    let other = second(hash)
    while true {
      let free = sluice_match10(home, 0)
      let otherFree = other == home || free.nonzeroBitCount >= Self.roomy ? 0 : sluice_match10(other, 0)
      guard free | otherFree != 0 else { return nil }
      let isHome = free.nonzeroBitCount >= otherFree.nonzeroBitCount
      let bucket = isHome ? home : other
      let lane = (isHome ? free : otherFree).trailingZeroBitCount
      // Whoever misses the key at home has to know that it may stand in the other bucket.
      if !isHome { addOverflow(home, 1) }
      if exchange(bucket, lane, from: 0, to: Self.tag(hash)) {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return Claim(bucket: bucket, lane: lane, position: isHome ? lane : lane &+ Self.lanes)
      }
      if !isHome { addOverflow(home, -1) }
    }
  }

  /// Looks at both buckets again. A published lane with the key wins; of two claims the first by position; one behind
  /// ours has seen us or has looked before we came, so its owner is waited for, but not without bound: it may sleep.
  ///
  /// - Parameters:
  ///   - own: claims of ours, which are no rivals.
  ///   - hasKey: whether a published value's record has the key.
  func contest(
    _ hash: UInt64, _ claim: Claim, own: Claim? = nil, hasKey: (UInt32) -> Bool
  ) -> Contest {
    let home = first(hash)
    let other = second(hash)
    let contest = contest(home, 0, Self.tag(hash), claim, own, hasKey)
    return contest != .clear || other == home
      ? contest : self.contest(other, Self.lanes, Self.tag(hash), claim, own, hasKey)
  }

  /// The same for one bucket, whose lanes have the positions from `offset` on.
  private func contest(
    _ bucket: UnsafeMutableRawPointer, _ offset: Int, _ tag: UInt16, _ claim: Claim, _ own: Claim?,
    _ hasKey: (UInt32) -> Bool
  ) -> Contest {
    var lanes = sluice_match10(bucket, UInt32(tag))
    while lanes != 0 {
      let lane = lanes.trailingZeroBitCount
      lanes &= lanes &- 1
      if bucket == claim.bucket && lane == claim.lane { continue }
      if let own, bucket == own.bucket, lane == own.lane { continue }
      var value = Self.value(bucket, lane)
      var patience = Self.patience
      while value == 0, self.tag(bucket, lane) == tag {
        guard lane &+ offset > claim.position, patience > 0 else { return .contended }
        patience &-= 1
        value = Self.value(bucket, lane)
      }
      if value != 0, hasKey(value) { return .taken(value) }
    }
    return .clear
  }

  /// Gives up a claim.
  func withdraw(_ hash: UInt64, _ claim: Claim) { free(hash, claim.bucket, claim.lane) }

  /// Removes the lane that holds `value`; the caller knows that it is there, and alone removes it.
  func remove(_ hash: UInt64, _ value: UInt32) {
    let home = first(hash)
    if let lane = lane(home, hash, value) {
      free(hash, home, lane)
    } else if let lane = lane(second(hash), hash, value) {
      free(hash, second(hash), lane)
    }
  }

  /// The value first: a lane that is claimed next must not look published.
  private func free(_ hash: UInt64, _ bucket: UnsafeMutableRawPointer, _ lane: Int) {
    shared32(bucket, Self.valuesOffset &+ lane &* 4).pointee.store(0, ordering: .releasing)
    _ = exchange(bucket, lane, from: Self.tag(hash), to: 0)
    let home = first(hash)
    if bucket != home { addOverflow(home, -1) }
  }

  private func lane(_ bucket: UnsafeMutableRawPointer, _ hash: UInt64, _ value: UInt32) -> Int? {
    var lanes = sluice_match10(bucket, UInt32(Self.tag(hash)))
    while lanes != 0 {
      let lane = lanes.trailingZeroBitCount
      if Self.value(bucket, lane) == value { return lane }
      lanes &= lanes &- 1
    }
    return nil
  }

  private func tag(_ bucket: UnsafeMutableRawPointer, _ lane: Int) -> UInt16 {
    shared16(bucket, lane &* 2).pointee.load(ordering: .acquiring)
  }

  private func exchange(_ bucket: UnsafeMutableRawPointer, _ lane: Int, from: UInt16, to: UInt16) -> Bool {
    shared16(bucket, lane &* 2).pointee.compareExchange(
      expected: from, desired: to, ordering: .acquiringAndReleasing
    ).exchanged
  }

  private func addOverflow(_ home: UnsafeMutableRawPointer, _ change: Int32) {
    shared32(home, Self.overflowOffset).pointee.wrappingAdd(UInt32(bitPattern: change), ordering: .relaxed)
  }
}
