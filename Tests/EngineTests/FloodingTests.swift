import PacketTestKit
import Testing

@testable import Engine

/// Hash flooding: keys that collide under one secret are ordinary under another (REQUIREMENTS A6; Crosby and Wallach 2003).
@Suite struct FloodingTests {
  private static let count = 100_000

  /// What looking keys up costs where all of them have been offered to one index.
  private struct Chains {
    /// Keys that want one and the same bucket.
    var longest = 0
    /// Records that a lookup compares until it is at its own.
    var compared = 0
    /// Keys that found both their buckets full.
    var refused = 0

    init(_ keys: [FlowKey], under secret: HashSecret) throws {
      let region = try Region(RegionLayout(capacity: keys.count / 2, pools: 0))
      defer { region.release() }
      let index = region.sessionIndex
      var homes: [UInt32: Int] = [:]
      for (place, key) in keys.enumerated() {
        let hash = secret.hash(key)
        homes[FlowIndex.first(hash, of: index.buckets), default: 0] += 1
        guard let claim = index.claim(hash) else {
          refused += 1
          continue
        }
        claim.publish(UInt32(place) + 1)
      }
      longest = homes.values.max() ?? 0
      for (place, key) in keys.enumerated() {
        var candidates = index.candidates(secret.hash(key))
        var steps = 0
        while let value = candidates.next() {
          steps += 1
          if value == UInt32(place) + 1 { break }
        }
        compared = max(compared, steps)
      }
    }
  }

  private static func udp(_ number: Int) -> UInt64 {
    FlowKey(addresses: 0, ports: UInt64(number), scope: 0, ipProtocol: IPProtocol.udp).rest
  }

  /// Who knows the secret makes the first factor zero: then ports mean nothing, and every hash is the same.
  private static func colliding(under secret: HashSecret) -> [FlowKey] {
    (0..<count).map { FlowKey(addresses: secret.a, rest: udp($0)) }
  }

  private static func random(_ seed: UInt64) -> [FlowKey] {
    var random = SplitMix64(state: seed)
    return (0..<count).map { _ in FlowKey(addresses: random.next(), rest: udp(Int(random.next() & 0xFFFF_FFFF))) }
  }

  @Test func `A6 a hundred thousand tuples that collide under one secret are ordinary under another`() throws {
    let known = HashSecret(seed: 1)
    let keys = Self.colliding(under: known)
    // They do collide: two buckets take twenty of them, and no more.
    let flooded = try Chains(keys, under: known)
    #expect(flooded.longest == keys.count && flooded.refused == keys.count - 2 * FlowIndex.lanes)
    let usual = try Chains(Self.random(7), under: known)
    #expect(usual.refused == 0)
    for seed in 2...6 as ClosedRange<UInt64> {
      let chains = try Chains(keys, under: HashSecret(seed: seed))
      #expect(chains.refused == 0, "seed \(seed)")
      #expect(chains.longest <= 3 * usual.longest && chains.compared <= 3 * usual.compared, "seed \(seed): \(chains)")
    }
  }

  @Test func `A6 tuples that an outsider can count through are as good as random ones`() throws {
    let secret = HashSecret(seed: 3)
    let usual = try Chains(Self.random(9), under: secret)
    let rising = (0..<Self.count).map { FlowKey(addresses: 0x0A00_0001_CB00_7101, rest: Self.udp($0)) }
    let hosts = (0..<Self.count).map { FlowKey(addresses: 0xCB00_7101_0A00_0000 + UInt64($0), rest: Self.udp(53)) }
    let ports = (0..<Self.count).map {
      FlowKey(addresses: 0xCB00_7101_0A00_0000 + UInt64($0 & 0xFF), rest: Self.udp($0 << 16 | 80))
    }
    for keys in [rising, hosts, ports] {
      let chains = try Chains(keys, under: secret)
      #expect(chains.refused == 0)
      #expect(chains.longest <= 3 * usual.longest && chains.compared <= 3 * usual.compared, "\(chains)")
    }
  }
}
