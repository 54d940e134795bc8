import Synchronization

/// How much each inside host has of something: a table of fixed size, so that spoofed sources take no memory.
///
/// A host's word, its count above its address, stands in the bucket of eight words that the address hashes to, and is
/// free again with the last count. Every change is one compare-and-swap. Two workers may give a host two words at once:
/// its count is their sum, and that is what a limit is held against.
struct HostTable: @unchecked Sendable {
  /// What came of the wish to count one more.
  enum Claim {
    case counted
    /// Its bucket is full of other hosts: not counted, and so not limited either.
    case uncounted
    /// It would be more than the limit.
    case refused
  }

  private static let lanes = 8
  private static let leastWords = 1024
  /// 2 MiB: room for more hosts than an inside network has.
  private static let mostWords = 1 &<< 18

  private let pages: Pages
  private let mask: UInt64
  private let secret: HashSecret

  /// - Parameter capacity: of the session table; no more hosts have a session at once.
  init(capacity: Int, secret: HashSecret) throws(PlanError) {
    var words = Self.leastWords
    while words < 2 * capacity, words < Self.mostWords { words *= 2 }
    pages = try Pages(bytes: words * 8)
    mask = UInt64(words / Self.lanes - 1)
    self.secret = secret
  }

  func release() { pages.release() }

  func pass(_ state: inout StatePass) { state.memory(pages) }

  /// Counts one more of `host`, unless that is more than `limit`.
  ///
  /// - Parameter host: its address, raw; never 0.
  func add(_ host: UInt32, limit: UInt32) -> Claim {
    let bucket = bucket(host)
    while true {
      var sum: UInt32 = 0
      var own: Int?
      var free: Int?
      var before: UInt64 = 0
      for lane in 0..<Self.lanes {
        let word = shared64(bucket, lane &* 8).plain
        if word == 0 {
          if free == nil { free = lane }
        } else if Self.host(word) == host {
          sum &+= Self.count(word)
          if own == nil { (own, before) = (lane, word) }
          // Without a limit the sum is of no use.
          if limit == .max { break }
        }
      }
      guard sum < limit else { return .refused }
      guard let lane = own ?? free else { return .uncounted }
      let after = own == nil ? UInt64(host) | Self.one : before &+ Self.one
      guard exchange(bucket, lane, before, after) else { continue }
      if limit == .max || count(of: host) <= limit { return .counted }
      // Another worker has counted in another word meanwhile.
      remove(host)
      return .refused
    }
  }

  /// Takes back what `add` has counted.
  func remove(_ host: UInt32) {
    let bucket = bucket(host)
    // What is to be taken back is counted somewhere, though its word may stand elsewhere with every look.
    while true {
      for lane in 0..<Self.lanes {
        let word = shared64(bucket, lane &* 8).plain
        guard word != 0, Self.host(word) == host else { continue }
        if exchange(bucket, lane, word, Self.count(word) == 1 ? 0 : word &- Self.one) { return }
      }
    }
  }

  func count(of host: UInt32) -> UInt32 {
    let bucket = bucket(host)
    var sum: UInt32 = 0
    for lane in 0..<Self.lanes {
      let word = shared64(bucket, lane &* 8).plain
      if word != 0, Self.host(word) == host { sum &+= Self.count(word) }
    }
    return sum
  }

  private static let one: UInt64 = 1 &<< 32
  private static func host(_ word: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: word) }
  private static func count(_ word: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: word &>> 32) }

  private func bucket(_ host: UInt32) -> UnsafeMutableRawPointer {
    pages.start + Int(truncatingIfNeeded: (secret.hash(UInt64(host), 0) & mask) &* UInt64(Self.lanes &* 8))
  }

  private func exchange(_ bucket: UnsafeMutableRawPointer, _ lane: Int, _ before: UInt64, _ after: UInt64) -> Bool {
    shared64(bucket, lane &* 8).pointee.compareExchange(expected: before, desired: after, ordering: .relaxed).exchanged
  }
}

/// What is counted for each inside host, each for itself (RFC 6888 REQ-4, REQ-5).
struct HostCounts {
  /// Sessions that the host has begun.
  let sessions: HostTable
  /// Outside ports and identifiers of its mappings, those in quarantine included: nobody else can have them.
  let ports: HostTable

  init(capacity: Int, secret: HashSecret) throws(PlanError) {
    sessions = try HostTable(capacity: capacity, secret: secret)
    do {
      ports = try HostTable(capacity: capacity, secret: secret)
    } catch {
      sessions.release()
      throw error
    }
  }

  func release() {
    sessions.release()
    ports.release()
  }

  func pass(_ state: inout StatePass) {
    sessions.pass(&state)
    ports.pass(&state)
  }
}
