import Synchronization

/// Which ports of an outside address are taken: one bitmap for each protocol, and for each bitmap a summary of the words
/// in which no even port is free, and of those in which no odd one is.
///
/// A set bit is a port that nobody else may get: owned by a mapping, or reserved for a forward. A port is claimed by one
/// atomic `or`: who has set the bit owns it. A search goes by the summaries, 64 words at a look, so it costs nearly the
/// same however full the bitmap is. A summary's bit may be missing, which costs a look, but never stays on a word
/// that has a free port: whoever sets one looks at the word again.
struct PortPools: @unchecked Sendable {
  /// 65,536 bits.
  static let bitmapBytes = 8192
  /// 1,024 bits for even ports, then as many for odd ones.
  static let summaryBytes = 256
  /// TCP, UDP, echo.
  static let classes = 3
  /// Of one outside address: bitmaps, then a line with the address, raw.
  static let poolBytes = classes * (bitmapBytes + summaryBytes) + 64

  private static let even: UInt64 = 0x5555_5555_5555_5555
  private static let odd: UInt64 = 0xAAAA_AAAA_AAAA_AAAA

  /// Pools beyond those of the first addresses: for addresses that come while the engine runs.
  static let spare = 64

  private let count: Int
  private let start: UnsafeMutableRawPointer
  /// Raw address << 16 | pool, ascending: a copy of what stands in the region.
  private var order: [UInt64] = []

  init(_ region: Region) {
    count = region.layout.pools
    start = region.pools
    refresh()
  }

  /// Raw address of each pool; 0 for none.
  private func address(_ pool: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    shared32(start + pool &* Self.poolBytes, Self.poolBytes &- 64)
  }

  /// Follows what another worker has assigned.
  mutating func refresh() {
    order = (0..<count).filter { address($0).plain != 0 }.map { UInt64(address($0).plain) &<< 16 | UInt64($0) }
      .sorted()
  }

  /// Gives each address (raw, all different) a pool: its own if it has one, else a free one. False, and nothing done,
  /// where there are too few.
  ///
  /// The pool of an address that is not wanted any more is kept until no port of it is taken.
  mutating func assign(_ wanted: [UInt32]) -> Bool {
    let known = Set((0..<count).map { address($0).plain })
    let needed = Set(wanted)
    let missing = needed.subtracting(known).sorted()
    let free = (0..<count).filter { !needed.contains(address($0).plain) && (address($0).plain == 0 || isEmpty($0)) }
    guard missing.count <= free.count else { return false }
    for (pool, wanted) in zip(free, missing) { address(pool).plain = wanted }
    refresh()
    return true
  }

  private func isEmpty(_ pool: Int) -> Bool {
    (0..<Self.classes).allSatisfy { kind in
      let bitmap = bitmap(pool &* Self.classes &+ kind)
      return (0..<Bitmap.words).allSatisfy { bitmap.word($0).plain == 0 }
    }
  }

  /// The pool of an outside address; nil for any other address.
  func pool(of address: UInt32) -> UInt16? {
    var low = 0
    var high = order.count
    while low < high {
      let middle = (low &+ high) / 2
      if order[middle] &>> 16 < UInt64(address) { low = middle &+ 1 } else { high = middle }
    }
    return low < order.count && order[low] &>> 16 == UInt64(address) ? UInt16(truncatingIfNeeded: order[low]) : nil
  }

  /// 0 for TCP, 1 for UDP, 2 for echo.
  static func portClass(_ ipProtocol: UInt8) -> Int {
    switch ipProtocol {
    case IPProtocol.tcp: 0
    case IPProtocol.udp: 1
    default: 2
    }
  }

  // MARK: One port

  func isTaken(_ pool: UInt16, _ ipProtocol: UInt8, _ port: UInt16) -> Bool {
    bitmap(pool, ipProtocol).word(Int(port) / 64).plain &>> UInt64(port % 64) & 1 == 1
  }

  /// Claims a port; false where somebody else has it.
  @discardableResult
  func take(_ pool: UInt16, _ ipProtocol: UInt8, _ port: UInt16) -> Bool {
    bitmap(pool, ipProtocol).take(port)
  }

  func giveBack(_ pool: UInt16, _ ipProtocol: UInt8, _ port: UInt16) { bitmap(pool, ipProtocol).giveBack(port) }

  /// How many ports are taken.
  func taken(_ pool: UInt16, _ ipProtocol: UInt8) -> Int {
    let bitmap = bitmap(pool, ipProtocol)
    return (0..<Bitmap.words).reduce(0) { $0 + bitmap.word($1).plain.nonzeroBitCount }
  }

  private func bitmap(_ pool: UInt16, _ ipProtocol: UInt8) -> Bitmap {
    bitmap(Int(pool) &* Self.classes &+ Self.portClass(ipProtocol))
  }

  private func bitmap(_ place: Int) -> Bitmap {
    let (pool, kind) = place.quotientAndRemainder(dividingBy: Self.classes)
    return Bitmap(start: start + (pool &* Self.poolBytes &+ kind &* (Self.bitmapBytes &+ Self.summaryBytes)))
  }

  private struct Bitmap {
    static let words = 1024

    let start: UnsafeMutableRawPointer

    func word(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, index &* 8) }

    /// The summary's word for 64 words of the bitmap, `parity` 0 for even ports.
    func full(_ index: Int, _ parity: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
      shared64(start, PortPools.bitmapBytes &+ parity &* 128 &+ index / 64 &* 8)
    }

    func take(_ port: UInt16) -> Bool {
      let index = Int(port) / 64
      let bit: UInt64 = 1 &<< UInt64(port % 64)
      let (old, new) = word(index).pointee.bitwiseOr(bit, ordering: .acquiringAndReleasing)
      if old & bit != 0 { return false }
      let parity = Int(port & 1)
      if ~new & PortPools.mask(parity) == 0 { markFull(index, parity) }
      return true
    }

    func giveBack(_ port: UInt16) {
      let index = Int(port) / 64
      word(index).pointee.bitwiseAnd(~(1 &<< UInt64(port % 64)), ordering: .sequentiallyConsistent)
      unmark(index, Int(port & 1))
    }

    func markFull(_ index: Int, _ parity: Int) {
      full(index, parity).pointee.bitwiseOr(1 &<< UInt64(index % 64), ordering: .sequentiallyConsistent)
      atomicMemoryFence(ordering: .sequentiallyConsistent)
      // A port may have come back in between, and its owner have found no mark to take off.
      if ~word(index).pointee.load(ordering: .sequentiallyConsistent) & PortPools.mask(parity) != 0 {
        unmark(index, parity)
      }
    }

    private func unmark(_ index: Int, _ parity: Int) {
      full(index, parity).pointee.bitwiseAnd(~(1 &<< UInt64(index % 64)), ordering: .sequentiallyConsistent)
    }
  }

  private static func mask(_ parity: Int) -> UInt64 { parity == 0 ? even : odd }

  // MARK: Any port

  /// Claims a free port of `ranges`, from a place that `random` settles: of the wanted port's class (below 1024 or not,
  /// RFC 4787 REQ-3a) and parity (REQ-4), then of its class, then any. nil where all are in use.
  func takeAny(
    _ pool: UInt16, _ ipProtocol: UInt8, like wanted: UInt16, ranges: UnsafeBufferPointer<PortRange>, random: UInt64
  ) -> UInt16? {
    let bitmap = bitmap(pool, ipProtocol)
    let sameClass = wanted < 1024 ? PortRange(1, 1023) : PortRange(1024, 65535)
    let otherClass = wanted < 1024 ? PortRange(1024, 65535) : PortRange(1, 1023)
    return Self.search(bitmap, ranges, sameClass, Self.mask(Int(wanted & 1)), random)
      ?? Self.search(bitmap, ranges, sameClass, ~0, random) ?? Self.search(bitmap, ranges, otherClass, ~0, random)
  }

  /// Goes once through the ports that lie in both `ranges` and `limit`, from the `random`-th on and around.
  private static func search(
    _ bitmap: Bitmap, _ ranges: UnsafeBufferPointer<PortRange>, _ limit: PortRange, _ parity: UInt64,
    _ random: UInt64
  ) -> UInt16? {
    var total: UInt64 = 0
    for range in ranges { total &+= UInt64(overlap(range, limit)?.count ?? 0) }
    guard total > 0 else { return nil }
    let skip = Int(truncatingIfNeeded: random % total)
    // First from the start to the end, then from the beginning to the start.
    var passed = 0
    for range in ranges {
      guard let part = overlap(range, limit) else { continue }
      let from = Int(part.first) &+ max(0, skip &- passed)
      if from <= Int(part.last), let port = takeFirst(bitmap, from, Int(part.last), parity) { return port }
      passed &+= part.count
    }
    passed = 0
    for range in ranges {
      guard let part = overlap(range, limit) else { continue }
      let to = min(Int(part.last), Int(part.first) &+ skip &- passed &- 1)
      if to >= Int(part.first), let port = takeFirst(bitmap, Int(part.first), to, parity) { return port }
      passed &+= part.count
    }
    return nil
  }

  private static func overlap(_ a: PortRange, _ b: PortRange) -> PortRange? {
    let first = max(a.first, b.first)
    let last = min(a.last, b.last)
    return first <= last ? PortRange(first, last) : nil
  }

  /// Claims the first free port of `first...last` whose bit is in `parity`.
  private static func takeFirst(_ bitmap: Bitmap, _ first: Int, _ last: Int, _ parity: UInt64) -> UInt16? {
    var index = nextCandidate(bitmap, first / 64, last / 64, parity)
    while index <= last / 64 {
      var wanted = parity
      if index == first / 64 { wanted &= ~UInt64(0) &<< UInt64(first % 64) }
      if index == last / 64 { wanted &= ~UInt64(0) &>> UInt64(63 &- last % 64) }
      while true {
        let free = ~bitmap.word(index).plain & wanted
        if free == 0 { break }
        let port = UInt16(truncatingIfNeeded: index &* 64 &+ free.trailingZeroBitCount)
        if bitmap.take(port) { return port }
      }
      index = nextCandidate(bitmap, index &+ 1, last / 64, parity)
    }
    return nil
  }

  /// The first word from `index` on that the summary does not call full; behind `last` where there is none.
  private static func nextCandidate(_ bitmap: Bitmap, _ index: Int, _ last: Int, _ parity: UInt64) -> Int {
    var index = index
    while index <= last {
      let evenFull = parity & even != 0 ? bitmap.full(index, 0).plain : ~0
      let oddFull = parity & odd != 0 ? bitmap.full(index, 1).plain : ~0
      let candidates = ~(evenFull & oddFull) & ~UInt64(0) &<< UInt64(index % 64)
      if candidates != 0 { return index & ~63 &+ candidates.trailingZeroBitCount }
      index = (index & ~63) &+ 64
    }
    return index
  }
}
