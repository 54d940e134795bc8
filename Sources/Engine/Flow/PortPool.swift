/// Which ports of an outside address are taken: one bitmap for each protocol.
///
/// A set bit is a port that nobody else may get: owned by a mapping, or reserved for a forward.
struct PortPools {
  /// 65,536 bits.
  static let bitmapBytes = 8192
  /// TCP, UDP, echo.
  static let classes = 3
  /// Of one outside address.
  static let poolBytes = classes * bitmapBytes

  /// Pools beyond those of the first addresses: for addresses that come while the engine runs.
  static let spare = 64

  /// Raw address of each pool; 0 for none.
  private var addresses: [UInt32]
  /// Raw address << 16 | pool, ascending.
  private var order: [UInt64] = []
  private let start: UnsafeMutableRawPointer

  init(_ region: Region) {
    addresses = [UInt32](repeating: 0, count: region.layout.pools)
    start = region.pools
  }

  /// Gives each address (raw, all different) a pool: its own if it has one, else a free one. False, and nothing done,
  /// where there are too few.
  ///
  /// The pool of an address that is not wanted any more is kept until no port of it is taken.
  mutating func assign(_ wanted: [UInt32]) -> Bool {
    let known = Set(addresses)
    let needed = Set(wanted)
    let missing = needed.subtracting(known).sorted()
    let free = addresses.indices.filter { !needed.contains(addresses[$0]) && (addresses[$0] == 0 || isEmpty($0)) }
    guard missing.count <= free.count else { return false }
    for (pool, address) in zip(free, missing) { addresses[pool] = address }
    order = addresses.indices.filter { addresses[$0] != 0 }.map { UInt64(addresses[$0]) &<< 16 | UInt64($0) }.sorted()
    return true
  }

  private func isEmpty(_ pool: Int) -> Bool {
    let words = (start + pool &* Self.poolBytes).assumingMemoryBound(to: UInt64.self)
    return (0..<Self.poolBytes / 8).allSatisfy { words[$0] == 0 }
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

  private func words(_ pool: UInt16, _ ipProtocol: UInt8) -> UnsafeMutablePointer<UInt64> {
    let bitmap = Int(pool) &* Self.classes &+ Self.portClass(ipProtocol)
    return (start + bitmap &* Self.bitmapBytes).assumingMemoryBound(to: UInt64.self)
  }

  func isTaken(_ pool: UInt16, _ ipProtocol: UInt8, _ port: UInt16) -> Bool {
    words(pool, ipProtocol)[Int(port) / 64] &>> UInt64(port % 64) & 1 == 1
  }

  func take(_ pool: UInt16, _ ipProtocol: UInt8, _ port: UInt16) {
    words(pool, ipProtocol)[Int(port) / 64] |= 1 &<< UInt64(port % 64)
  }

  func giveBack(_ pool: UInt16, _ ipProtocol: UInt8, _ port: UInt16) {
    words(pool, ipProtocol)[Int(port) / 64] &= ~(1 &<< UInt64(port % 64))
  }

  /// A free port of `ranges`, from a place that `random` settles: of the wanted port's class (below 1024 or not,
  /// RFC 4787 REQ-3a) and parity (REQ-4), then of its class, then any. Not taken yet. nil where all are in use.
  func choose(
    _ pool: UInt16, _ ipProtocol: UInt8, like wanted: UInt16, ranges: UnsafeBufferPointer<PortRange>, random: UInt64
  ) -> UInt16? {
    let words = words(pool, ipProtocol)
    let sameClass = wanted < 1024 ? PortRange(1, 1023) : PortRange(1024, 65535)
    let otherClass = wanted < 1024 ? PortRange(1024, 65535) : PortRange(1, 1023)
    let parity: UInt64 = wanted & 1 == 1 ? 0xAAAA_AAAA_AAAA_AAAA : 0x5555_5555_5555_5555
    return search(words, ranges, sameClass, parity, random) ?? search(words, ranges, sameClass, ~0, random)
      ?? search(words, ranges, otherClass, ~0, random)
  }

  /// Goes once through the ports that lie in both `ranges` and `limit`, from the `random`-th on and around.
  private func search(
    _ words: UnsafeMutablePointer<UInt64>, _ ranges: UnsafeBufferPointer<PortRange>, _ limit: PortRange,
    _ parity: UInt64,
    _ random: UInt64
  ) -> UInt16? {
    var total: UInt64 = 0
    for range in ranges { total &+= UInt64(Self.overlap(range, limit)?.count ?? 0) }
    guard total > 0 else { return nil }
    let skip = Int(truncatingIfNeeded: random % total)
    // First from the start to the end, then from the beginning to the start.
    var passed = 0
    for range in ranges {
      guard let part = Self.overlap(range, limit) else { continue }
      let from = Int(part.first) &+ max(0, skip &- passed)
      if from <= Int(part.last), let port = Self.firstFree(words, from, Int(part.last), parity) { return port }
      passed &+= part.count
    }
    passed = 0
    for range in ranges {
      guard let part = Self.overlap(range, limit) else { continue }
      let to = min(Int(part.last), Int(part.first) &+ skip &- passed &- 1)
      if to >= Int(part.first), let port = Self.firstFree(words, Int(part.first), to, parity) { return port }
      passed &+= part.count
    }
    return nil
  }

  private static func overlap(_ a: PortRange, _ b: PortRange) -> PortRange? {
    let first = max(a.first, b.first)
    let last = min(a.last, b.last)
    return first <= last ? PortRange(first, last) : nil
  }

  private static func firstFree(
    _ words: UnsafeMutablePointer<UInt64>, _ first: Int, _ last: Int, _ parity: UInt64
  ) -> UInt16? {
    var word = first / 64
    var wanted = ~UInt64(0) &<< UInt64(first % 64)
    while word <= last / 64 {
      if word == last / 64 { wanted &= ~UInt64(0) &>> UInt64(63 &- last % 64) }
      let free = ~words[word] & parity & wanted
      if free != 0 { return UInt16(truncatingIfNeeded: word &* 64 &+ free.trailingZeroBitCount) }
      wanted = ~0
      word &+= 1
    }
    return nil
  }
}
