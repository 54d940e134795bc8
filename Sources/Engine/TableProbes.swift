import CIntrinsics

// Ways in to the tables alone, for the package in Benchmarks; see `Probes.swift`.

/// The session index and its records, with keys of 16 bytes, a flow line for each. Threads may share it: they change
/// keys of their own only, and a key's line is always the same, so nothing has to wait for a grace period.
@_spi(Benchmark) public final class TableProbe: @unchecked Sendable {
  private let region: Region
  private let sessions: SessionTable

  /// - Parameter keys: how many it has room for.
  public init(keys: Int, seed: UInt64) throws(PlanError) {
    region = try Region(RegionLayout(capacity: (keys + 1) / 2, pools: 0))
    sessions = SessionTable(region, secret: HashSecret(seed: seed))
  }

  deinit { region.release() }

  /// Bytes of the index.
  public var indexBytes: Int { Int(sessions.index.buckets) * FlowIndex.bucketBytes }

  /// Lanes of the index.
  public var lanes: Int { Int(sessions.index.buckets) * FlowIndex.lanes }

  /// Bytes of the records.
  public var recordBytes: Int { region.layout.capacity * SessionTable.placeBytes }

  private func flow(_ key: UInt32) -> UInt32 { key &+ 2 }

  private static func key(_ words: UnsafePointer<UInt64>, _ index: Int) -> FlowKey {
    FlowKey(addresses: words[index &* 2], rest: words[index &* 2 &+ 1])
  }

  /// Inserts the keys `range`, of two words each, in bursts of 32.
  ///
  /// - Returns: how many were inserted; the others were there already or met a full bucket pair.
  @inline(never)
  public func insert(_ words: UnsafePointer<UInt64>, _ range: Range<Int>) -> Int {
    var inserted = 0
    let index = sessions.index
    var begin = range.lowerBound
    while begin < range.upperBound {
      let end = min(begin &+ 32, range.upperBound)
      for place in begin..<end {
        let hash = sessions.secret.hash(Self.key(words, place))
        sluice_prefetch(index.first(hash))
        sluice_prefetch(index.second(hash))
        sluice_prefetch(sessions.flow(flow(UInt32(truncatingIfNeeded: place))).line)
      }
      for place in begin..<end where insert(Self.key(words, place), UInt32(truncatingIfNeeded: place)) {
        inserted &+= 1
      }
      begin = end
    }
    return inserted
  }

  private func insert(_ key: FlowKey, _ place: UInt32) -> Bool {
    let hash = sessions.secret.hash(key)
    let index = sessions.index
    sessions.flow(flow(place)).key = key
    guard let claim = index.claim(hash) else { return false }
    let table = sessions
    guard index.contest(hash, claim, hasKey: { table.flow($0).hasKey(key) }) == .clear else {
      index.withdraw(hash, claim)
      return false
    }
    claim.publish(flow(place))
    return true
  }

  /// Takes the keys `range` out.
  @inline(never)
  public func remove(_ words: UnsafePointer<UInt64>, _ range: Range<Int>) {
    for place in range {
      let hash = sessions.secret.hash(Self.key(words, place))
      sessions.index.remove(hash, flow(UInt32(truncatingIfNeeded: place)))
    }
  }

  /// Looks `count` keys up, one behind the other from `keys` on, by the three steps of the burst loop, 32 at a time.
  ///
  /// - Returns: the sum of the places of those that were found, each place counted from 1.
  @inline(never)
  public func find(_ keys: UnsafePointer<UInt64>, count: Int) -> UInt64 {
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 32) { hashes in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 32) { candidates in
        var sum: UInt64 = 0
        var begin = 0
        while begin < count {
          let burst = min(32, count &- begin)
          sum &+= find(keys + begin &* 2, burst, hashes.baseAddress!, candidates.baseAddress!)
          begin &+= burst
        }
        return sum
      }
    }
  }

  @inline(__always)
  private func find(
    _ keys: UnsafePointer<UInt64>, _ count: Int, _ hashes: UnsafeMutablePointer<UInt64>,
    _ candidates: UnsafeMutablePointer<UInt32>
  ) -> UInt64 {
    let index = sessions.index, secret = sessions.secret, base = sessions.base
    var place = 0
    while place < count {
      let hash = secret.hash(Self.key(keys, place))
      hashes[place] = hash
      sluice_prefetch(index.first(hash))
      place &+= 1
    }
    place = 0
    while place < count {
      let hash = hashes[place], tag = UInt32(FlowIndex.tag(hash))
      var bucket = index.first(hash)
      var lanes = sluice_match10(bucket, tag)
      if lanes == 0, FlowIndex.overflow(bucket) != 0 {
        bucket = index.second(hash)
        lanes = sluice_match10(bucket, tag)
      }
      let candidate = lanes == 0 ? 0 : FlowIndex.value(bucket, lanes.trailingZeroBitCount)
      candidates[place] = candidate
      sluice_prefetch(SessionTable.line(base, candidate))
      place &+= 1
    }
    var sum: UInt64 = 0
    place = 0
    while place < count {
      let key = Self.key(keys, place)
      var flow = candidates[place]
      // Flow 0 is nobody's, and its line is all zero: no key.
      if !FlowLine(SessionTable.line(base, flow)).hasKey(key) { flow = sessions.find(key) ?? 1 }
      sum &+= UInt64(flow &- 1)
      place &+= 1
    }
    return sum
  }
}

/// The ports of one outside address.
@_spi(Benchmark) public final class PortProbe: @unchecked Sendable {
  private let region: Region
  private let pools: PortPools
  private let ranges: UnsafeMutableBufferPointer<PortRange>
  private var random = SplitMix64(state: 1)

  /// - Parameter free: how many of the ports 1024-65535 stay free, spread over all of them.
  public init(free: Int) throws(PlanError) {
    region = try Region(RegionLayout(capacity: 1, pools: 1 + PortPools.spare))
    var pools = PortPools(region)
    guard pools.assign([0x0100_007F]) else { throw .tooMany("outside addresses") }
    self.pools = pools
    ranges = .allocate(capacity: 1)
    ranges.initialize(repeating: PortRange(1024, 65535))
    var taken = Self.count - free
    while taken > 0 {
      if take(1) == 1 { taken -= 1 }
    }
  }

  deinit {
    ranges.deallocate()
    region.release()
  }

  /// Ports there are.
  public static let count = 64_512

  private func take(_ times: Int) -> Int {
    var taken = 0
    for _ in 0..<times {
      let draw = random.next()
      if pools.takeAny(
        0, IPProtocol.udp, like: UInt16(truncatingIfNeeded: 1024 &+ draw % 60_000), ranges: UnsafeBufferPointer(ranges),
        random: draw &>> 16) != nil
      {
        taken &+= 1
      }
    }
    return taken
  }

  /// Takes a port and gives it back, again and again; 0 where none is free, and then nothing was.
  @inline(never)
  public func cycle(times: Int) -> Int {
    var taken = 0
    for _ in 0..<times {
      let draw = random.next()
      guard
        let port = pools.takeAny(
          0, IPProtocol.udp, like: UInt16(truncatingIfNeeded: 1024 &+ draw % 60_000),
          ranges: UnsafeBufferPointer(ranges), random: draw &>> 16)
      else { continue }
      pools.giveBack(0, IPProtocol.udp, port)
      taken &+= 1
    }
    return taken
  }
}
