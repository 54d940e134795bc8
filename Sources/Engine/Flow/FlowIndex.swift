import CIntrinsics

/// Hash -> 32-bit value, in buckets of one cache line: eight 16-bit tags, eight 32-bit values, and a count of the keys
/// that belong here but stand in their other bucket.
///
///     offset  0  tags      8 x UInt16, 0 = free lane
///            16  values    8 x UInt32
///            48  overflow  UInt32
///
/// A key has two buckets and goes into the first while that is at most half full, else into the emptier one. Keys never
/// move. The index knows no keys: whoever looks up verifies the candidates against its own records.
struct FlowIndex {
  static let bucketBytes = 64
  static let valuesOffset = 16
  static let overflowOffset = 48

  /// First byte of the first bucket.
  let start: UnsafeMutableRawPointer
  /// Number of buckets - 1; the number is a power of two.
  let mask: UInt64

  /// - Parameter start: `buckets * bucketBytes` bytes, zero for an empty index.
  init(start: UnsafeMutableRawPointer, buckets: Int) {
    self.start = start
    mask = UInt64(buckets - 1)
  }

  /// How many buckets `keys` keys need: on average at most four of eight lanes are then in use.
  static func buckets(keys: Int) -> Int {
    var buckets = 16
    while buckets * 4 < keys { buckets *= 2 }
    return buckets
  }

  @inline(__always)
  static func tag(_ hash: UInt64) -> UInt16 {
    let tag = UInt16(truncatingIfNeeded: hash &>> 48)
    return tag == 0 ? 1 : tag
  }

  @inline(__always)
  func first(_ hash: UInt64) -> UnsafeMutableRawPointer {
    start + Int(truncatingIfNeeded: (hash & mask) &<< 6)
  }

  @inline(__always)
  func second(_ hash: UInt64) -> UnsafeMutableRawPointer {
    start + Int(truncatingIfNeeded: ((hash &>> 24) & mask) &<< 6)
  }

  @inline(__always)
  static func value(_ bucket: UnsafeMutableRawPointer, _ lane: Int) -> UInt32 {
    bucket.load(fromByteOffset: valuesOffset &+ lane &* 4, as: UInt32.self)
  }

  @inline(__always)
  static func overflow(_ bucket: UnsafeMutableRawPointer) -> UInt32 {
    bucket.load(fromByteOffset: overflowOffset, as: UInt32.self)
  }

  /// Every value whose tag matches, first bucket before second.
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
      lanes = sluice_match8(bucket, tag)
      isLast = other == bucket || FlowIndex.overflow(bucket) == 0
    }

    mutating func next() -> UInt32? {
      while lanes == 0 {
        if isLast { return nil }
        isLast = true
        bucket = other
        lanes = sluice_match8(bucket, tag)
      }
      let lane = lanes.trailingZeroBitCount
      lanes &= lanes &- 1
      return FlowIndex.value(bucket, lane)
    }
  }

  func candidates(_ hash: UInt64) -> Candidates { Candidates(self, hash) }

  /// False where both buckets are full.
  func insert(_ hash: UInt64, _ value: UInt32) -> Bool {
    let home = first(hash)
    let other = second(hash)
    let free = sluice_match8(home, 0)
    if free.nonzeroBitCount >= 4 || other == home { return put(hash, value, home, free) }
    let otherFree = sluice_match8(other, 0)
    if free.nonzeroBitCount >= otherFree.nonzeroBitCount { return put(hash, value, home, free) }
    guard put(hash, value, other, otherFree) else { return false }
    addOverflow(home, 1)
    return true
  }

  /// Removes the lane that holds `value`; the caller knows that it is there.
  func remove(_ hash: UInt64, _ value: UInt32) {
    let home = first(hash)
    if let lane = lane(home, hash, value) {
      clear(home, lane)
    } else if let lane = lane(second(hash), hash, value) {
      clear(second(hash), lane)
      addOverflow(home, -1)
    }
  }

  /// Puts `value` in place of `old` for the same key.
  func replace(_ hash: UInt64, _ old: UInt32, with value: UInt32) {
    let home = first(hash)
    if let lane = lane(home, hash, old) {
      home.storeBytes(of: value, toByteOffset: Self.valuesOffset &+ lane &* 4, as: UInt32.self)
    } else if let lane = lane(second(hash), hash, old) {
      second(hash).storeBytes(of: value, toByteOffset: Self.valuesOffset &+ lane &* 4, as: UInt32.self)
    }
  }

  private func put(_ hash: UInt64, _ value: UInt32, _ bucket: UnsafeMutableRawPointer, _ free: UInt32) -> Bool {
    guard free != 0 else { return false }
    let lane = free.trailingZeroBitCount
    bucket.storeBytes(of: value, toByteOffset: Self.valuesOffset &+ lane &* 4, as: UInt32.self)
    bucket.storeBytes(of: Self.tag(hash), toByteOffset: lane &* 2, as: UInt16.self)
    return true
  }

  private func lane(_ bucket: UnsafeMutableRawPointer, _ hash: UInt64, _ value: UInt32) -> Int? {
    var lanes = sluice_match8(bucket, Self.tag(hash))
    while lanes != 0 {
      let lane = lanes.trailingZeroBitCount
      if Self.value(bucket, lane) == value { return lane }
      lanes &= lanes &- 1
    }
    return nil
  }

  private func clear(_ bucket: UnsafeMutableRawPointer, _ lane: Int) {
    bucket.storeBytes(of: 0, toByteOffset: lane &* 2, as: UInt16.self)
  }

  private func addOverflow(_ home: UnsafeMutableRawPointer, _ change: Int32) {
    let count = home.load(fromByteOffset: Self.overflowOffset, as: Int32.self)
    home.storeBytes(of: count &+ change, toByteOffset: Self.overflowOffset, as: Int32.self)
  }
}
