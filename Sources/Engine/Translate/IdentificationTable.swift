/// Which IPv4 identifications are in use between which outside addresses, and by which datagram.
///
/// Two inside hosts that share an outside address know nothing of each other's identifications; with the same one at the
/// same time their pieces would be put together by the receiver (RFC 6864 section 5.3.1, RFC 7857 section 10). So what
/// leaves in pieces keeps its identification only if nobody has used it for 120 s between the same addresses.
///
/// Bounded: 65,536 datagrams, in sets of four, the oldest of which gives way. Datagrams that leave whole keep theirs: no
/// piece of another can be mixed with them here.
struct IdentificationTable {
  private static let sets = 16_384
  private static let ways = 4
  private static let tries = 64

  private struct Entry {
    /// Hash of addresses, protocol and identification as they leave; 0 for none.
    var used: UInt64
    /// Hash of the same as they came in.
    var owner: UInt32
    /// Tick.
    var seen: UInt32
  }

  private let secret: HashSecret
  private let pages: Pages

  init(secret: HashSecret) throws(PlanError) {
    self.secret = secret
    pages = try Pages(bytes: Self.sets * Self.ways * MemoryLayout<Entry>.stride)
  }

  func release() { pages.release() }

  func pass(_ state: inout StatePass) { state.memory(pages) }

  /// The identification (raw) of a datagram on its way out: its own if that is free.
  ///
  /// - Parameters:
  ///   - key: as it came in, the identification in place of the source port.
  ///   - addresses: source and destination as they become.
  func assign(_ key: FlowKey, leavingAs addresses: UInt64, at tick: UInt32, window: UInt32) -> UInt16 {
    let owner = secret.hash(key)
    var random = SplitMix64(state: owner)
    var identification = key.sourcePort
    for _ in 0..<Self.tries {
      if claim(addresses, key.ipProtocol, identification, UInt32(truncatingIfNeeded: owner), tick, window) {
        return identification
      }
      identification = UInt16(truncatingIfNeeded: random.next())
    }
    return identification
  }

  private func claim(
    _ addresses: UInt64, _ ipProtocol: UInt8, _ identification: UInt16, _ owner: UInt32, _ tick: UInt32,
    _ window: UInt32
  ) -> Bool {
    let used = secret.hash(addresses, UInt64(identification) | UInt64(ipProtocol) &<< 16 | 1 &<< 32) | 1
    let set =
      pages.start.assumingMemoryBound(to: Entry.self)
      + Int(truncatingIfNeeded: (used &>> 32) % UInt64(Self.sets)) &* Self.ways
    var oldest = 0
    for way in 0..<Self.ways {
      if set[way].used == used, tick &- set[way].seen < window {
        guard set[way].owner == owner else { return false }
        set[way].seen = tick
        return true
      }
      if set[way].used == 0 || (set[oldest].used != 0 && tick &- set[way].seen > tick &- set[oldest].seen) {
        oldest = way
      }
    }
    set[oldest] = Entry(used: used, owner: owner, seen: tick)
    return true
  }
}
