import Glibc
import Testing

@testable import Engine

/// The index of the tables by itself: what it costs, and that it takes every key that it was made for.
@Suite struct IndexTests {
  /// Keys that are nothing but their hashes, in an index that was made for exactly so many.
  private struct Crowd: ~Copyable {
    let index: FlowIndex
    private let memory: UnsafeMutableRawPointer
    private var hashes: [UInt64] = []
    private var random: SplitMix64
    private(set) var refused = 0

    init(keys: Int, seed: UInt64) {
      let buckets = FlowIndex.buckets(keys: keys)
      memory = .allocate(byteCount: buckets * FlowIndex.bucketBytes, alignment: FlowIndex.bucketBytes)
      memory.initializeMemory(as: UInt8.self, repeating: 0, count: buckets * FlowIndex.bucketBytes)
      index = FlowIndex(start: memory, buckets: buckets)
      random = SplitMix64(state: seed)
      for key in 0..<keys {
        hashes.append(random.next())
        insert(key)
      }
    }

    deinit { memory.deallocate() }

    private mutating func insert(_ key: Int) {
      guard let claim = index.claim(hashes[key]) else {
        refused += 1
        return
      }
      claim.publish(UInt32(key) + 1)
    }

    /// One key after the other goes, and a new one comes in its place: the index stays full.
    mutating func change(times: Int) {
      for _ in 0..<times {
        let key = Int(random.next() % UInt64(hashes.count))
        index.remove(hashes[key], UInt32(key) + 1)
        hashes[key] = random.next()
        insert(key)
      }
    }

    /// Share of the keys that stand in their second bucket.
    var awayFromHome: Double {
      var away = 0
      for bucket in 0..<Int(index.buckets) {
        away += Int(FlowIndex.overflow(index.start + bucket * FlowIndex.bucketBytes))
      }
      return Double(away) / Double(hashes.count)
    }

    /// Each key's value is among its candidates.
    func holdsAll() -> Bool {
      hashes.indices.allSatisfy { key in
        var candidates = index.candidates(hashes[key])
        while let value = candidates.next() {
          if value == UInt32(key) + 1 { return true }
        }
        return false
      }
    }
  }

  private static var isLong: Bool { getenv("SLUICE_LONG") != nil }

  @Test(
    "An index takes every key that it was made for, however long keys come and go, and few stand in their second bucket",
    arguments: [2, 14, 100, 127, 1000, 20_000])
  func takesAll(keys: Int) {
    let seeds = (Self.isLong ? 4_000_000 : 20_000) / keys
    for seed in 1...UInt64(min(max(1, seeds), 200)) {
      var crowd = Crowd(keys: keys, seed: seed)
      #expect(crowd.refused == 0, "\(keys) keys, seed \(seed), when it was filled")
      crowd.change(times: keys)
      #expect(crowd.refused == 0, "\(keys) keys, seed \(seed), when keys had come and gone")
      let holdsAll = crowd.holdsAll()
      #expect(holdsAll, "\(keys) keys, seed \(seed)")
      let away = crowd.awayFromHome
      #expect(keys < 20_000 || away < 0.12, "\(keys) keys, seed \(seed)")
    }
  }

  @Test("Every bucket is some key's first and some key's second, and none lies outside", arguments: [16, 17, 1000])
  func reaches(buckets: Int) {
    var random = SplitMix64(state: 5)
    var first = Set<UInt32>(), second = Set<UInt32>()
    for _ in 0..<buckets * 20 {
      let hash = random.next()
      first.insert(FlowIndex.first(hash, of: UInt64(buckets)))
      second.insert(FlowIndex.second(hash, of: UInt64(buckets)))
    }
    first.insert(FlowIndex.first(.max, of: UInt64(buckets)))
    first.insert(FlowIndex.first(0, of: UInt64(buckets)))
    #expect(first.count == buckets && first.max() == UInt32(buckets - 1))
    #expect(second.count == buckets && second.max() == UInt32(buckets - 1))
  }

  @Test(
    "A session takes at most 224 bytes with its index, 314 with a mapping of its own",
    arguments: [1000, 65_536, 1_048_576, 10_000_000])
  func bytesPerSession(sessions: Int) {
    let layout = RegionLayout(capacity: sessions, pools: 1)
    #expect(layout.sessionTableBytes <= 224 * sessions)
    if sessions > 1000 { #expect(layout.sessionTableBytes + layout.mappingTableBytes <= 314 * sessions) }
    if sessions == 10_000_000 { #expect(layout.sessionTableBytes <= 2_400_000_000) }
  }
}
