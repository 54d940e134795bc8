import CIntrinsics

/// Where everything in the region stands: computed from the capacities alone, so that whoever maps the same bytes again
/// finds the same places.
///
/// Every part begins at a page. There is no pointer inside: parts refer to one another by index.
///
///     header           one page, see `RegionHeader`
///     words            one page of what all workers count, see `SharedWords`
///     session index    buckets of 64 bytes, two keys a session
///     sessions         places of 192 bytes, place 0 unused
///     mapping index    buckets of 64 bytes, two keys a mapping
///     mappings         lines of 64 bytes, line 0 unused: mappings, and permits of those with several peers
///     openings         places of 16 bytes, see `Openings`
///     port pools       for each outside address: bitmaps with their summaries for TCP, UDP and echo
///     side lines       64 bytes for each session place, where there is IPv6: see `SideTable`
///     helper lines     64 bytes for each session place, where a rule has a helper: see `HelperLine`
///     mapping sides    32 bytes for each mapping, where there is IPv6: see `MappingSides`
///     expectations     places of 64 bytes, where there is IPv6 too: see `Expectations6`
struct RegionLayout: Equatable {
  /// To be raised with every change of what stands in the region: a region of another version is nobody's.
  static let version: UInt32 = 7
  static let pageBytes = 4096

  /// Sessions, and mappings too.
  let capacity: Int
  /// Outside addresses.
  let pools: Int
  /// Sessions may be IPv6 sessions.
  let hasIPv6: Bool
  /// Rules may have helpers.
  let hasHelpers: Bool
  let sessionBuckets: Int
  let mappingBuckets: Int

  let wordsOffset: Int
  let sessionIndexOffset: Int
  let sessionsOffset: Int
  let mappingIndexOffset: Int
  let mappingsOffset: Int
  let openingsOffset: Int
  let poolsOffset: Int
  let sidesOffset: Int
  let helpersOffset: Int
  let mappingSidesOffset: Int
  let expectationsOffset: Int
  /// All of it.
  let bytes: Int

  init(capacity: Int, pools: Int, hasIPv6: Bool = false, hasHelpers: Bool = false) {
    self.capacity = capacity
    self.pools = pools
    self.hasIPv6 = hasIPv6
    self.hasHelpers = hasHelpers
    sessionBuckets = FlowIndex.buckets(keys: capacity * 2)
    mappingBuckets = FlowIndex.buckets(keys: capacity * 2)
    var end = Self.pageBytes
    func part(_ bytes: Int) -> Int {
      let start = end
      end = (end + bytes + Self.pageBytes - 1) & ~(Self.pageBytes - 1)
      return start
    }
    wordsOffset = part(Self.pageBytes)
    sessionIndexOffset = part(sessionBuckets * FlowIndex.bucketBytes)
    sessionsOffset = part((capacity + 1) * SessionTable.placeBytes)
    mappingIndexOffset = part(mappingBuckets * FlowIndex.bucketBytes)
    mappingsOffset = part((capacity + 1) * MappingLine.bytes)
    openingsOffset = part(Openings.capacity * Openings.placeBytes)
    poolsOffset = part(pools * PortPools.poolBytes)
    sidesOffset = part(hasIPv6 ? (capacity + 1) * SideTable.bytes : 0)
    helpersOffset = part(hasHelpers ? (capacity + 1) * HelperLine.bytes : 0)
    mappingSidesOffset = part(hasIPv6 ? (capacity + 1) * MappingSides.bytes : 0)
    expectationsOffset = part(hasHelpers && hasIPv6 ? Int(Expectations6.capacity) * ExpectedPlace.bytes : 0)
    bytes = end
  }
}

/// The region's first page. Numbers are in machine order: a region never leaves its machine.
///
///     offset  0  magic      UInt64
///             8  version    UInt32  of the layout
///            12  parts      UInt32  bit 0 where there are side lines, bit 1 where there are helper lines
///            16  bytes      UInt64  of the whole region
///            24  capacity   UInt64
///            32  pools      UInt64
///            40  secret     4 x UInt64  of the hash: with it anybody could flood the table
///            72  seed       UInt64  of random choices
///            80  -          up to 128; from there on the page is for whoever keeps the region in a file
struct RegionHeader {
  /// "sluice" and a newline, that text tools would harm, in the order of the bytes.
  static let magic: UInt64 = 0x000A_6563_6975_6C73
  /// First byte that the engine leaves alone.
  static let keeperOffset = 128

  let start: UnsafeMutableRawPointer

  private func load(_ offset: Int) -> UInt64 { start.load(fromByteOffset: offset, as: UInt64.self) }
  private func store(_ offset: Int, _ value: UInt64) {
    start.storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
  }

  /// Writes what tells this region from any other.
  func write(_ layout: RegionLayout, secret: HashSecret, seed: UInt64) {
    store(8, UInt64(RegionLayout.version) | layout.parts &<< 32)
    store(16, UInt64(layout.bytes))
    store(24, UInt64(layout.capacity))
    store(32, UInt64(layout.pools))
    store(40, secret.a)
    store(48, secret.b)
    store(56, secret.c)
    store(64, secret.d)
    store(72, seed)
    store(0, Self.magic)
  }

  /// The layout that a region was written with; nil for anything else. The numbers are checked against one another,
  /// and `bytes` is how many there are.
  func layout(bytes: Int) -> RegionLayout? {
    guard load(0) == Self.magic, UInt32(truncatingIfNeeded: load(8)) == RegionLayout.version, load(16) == UInt64(bytes),
      let layout = RegionLayout(capacity: load(24), pools: load(32), parts: load(8) &>> 32)
    else { return nil }
    return layout.bytes == bytes ? layout : nil
  }

  var secret: HashSecret { HashSecret(a: load(40), b: load(48), c: load(56), d: load(64)) }
  var seed: UInt64 { load(72) }
}

extension RegionLayout {
  /// Of numbers that somebody has written down; nil for some that are nobody's.
  init?(capacity: UInt64, pools: UInt64, parts: UInt64) {
    guard capacity < UInt64(Self.maximumCapacity), pools <= UInt64(UInt16.max), parts <= 3 else { return nil }
    self.init(capacity: Int(capacity), pools: Int(pools), hasIPv6: parts & 1 != 0, hasHelpers: parts & 2 != 0)
  }

  /// Bit 0 where there are side lines, bit 1 where there are helper lines.
  var parts: UInt64 { (hasIPv6 ? 1 : 0) | (hasHelpers ? 2 : 0) }

  /// Of an engine that begins with these rules.
  init(_ rules: Rules) throws(PlanError) {
    guard rules.plan.sessions < Self.maximumCapacity else { throw .tooMany("sessions") }
    self.init(
      capacity: rules.plan.sessions, pools: rules.pooledAddresses.count + PortPools.spare,
      hasIPv6: rules.plan.hasIPv6, hasHelpers: rules.plan.hasHelpers)
  }

  /// Sessions, their index and what else each has a line for.
  var sessionTableBytes: Int {
    sessionBuckets * FlowIndex.bucketBytes
      + (capacity + 1)
      * (SessionTable.placeBytes + (hasIPv6 ? SideTable.bytes : 0) + (hasHelpers ? HelperLine.bytes : 0))
  }
  /// Mappings and permits with their index.
  var mappingTableBytes: Int {
    mappingBuckets * FlowIndex.bucketBytes + (capacity + 1) * MappingLine.bytes
  }

  /// A flow is an index of 29 bits and a direction; an index value holds two bits more.
  static let maximumCapacity = 1 &<< 28
}

/// All memory of the tables, in one piece: anonymous pages, or bytes that the caller has mapped.
struct Region {
  let layout: RegionLayout
  let start: UnsafeMutableRawPointer
  private let pages: Pages?

  /// Zeroed pages of our own.
  init(_ layout: RegionLayout) throws(PlanError) {
    let pages = try Pages(bytes: layout.bytes)
    self.pages = pages
    start = pages.start
    self.layout = layout
  }

  /// Memory of the caller's: page-aligned, `layout.bytes` long, there for as long as the region.
  init(_ layout: RegionLayout, at start: UnsafeMutableRawPointer) {
    pages = nil
    self.start = start
    self.layout = layout
  }

  /// Has the kernel give all pages now: no packet waits for one then.
  func takePages() { sluice_take_pages(start, layout.bytes) }

  func release() { pages?.release() }

  var header: RegionHeader { RegionHeader(start: start) }
  var words: SharedWords { SharedWords(start: start + layout.wordsOffset) }
  var sessionIndex: FlowIndex {
    FlowIndex(start: start + layout.sessionIndexOffset, buckets: layout.sessionBuckets)
  }
  var sessions: UnsafeMutableRawPointer { start + layout.sessionsOffset }
  var mappingIndex: FlowIndex {
    FlowIndex(start: start + layout.mappingIndexOffset, buckets: layout.mappingBuckets)
  }
  var mappings: UnsafeMutableRawPointer { start + layout.mappingsOffset }
  var openings: UnsafeMutableRawPointer { start + layout.openingsOffset }
  var pools: UnsafeMutableRawPointer { start + layout.poolsOffset }
  var sides: SideTable { SideTable(start: start + layout.sidesOffset) }
  var mappingSides: MappingSides { MappingSides(start: start + layout.mappingSidesOffset) }
  var expectations6: Expectations6 { Expectations6(start: start + layout.expectationsOffset) }
  var helpers: HelperTable { HelperTable(start: start + layout.helpersOffset) }
}

/// Pages for the engine's tables: zeroed, page-aligned, taken once, given back at the end.
struct Pages {
  let start: UnsafeMutableRawPointer
  let bytes: Int

  init(bytes: Int) throws(PlanError) {
    let rounded = (max(bytes, 1) + 4095) & ~4095
    guard let pages = sluice_pages(rounded) else { throw .noMemory(bytes: rounded) }
    start = pages
    self.bytes = rounded
  }

  func release() { sluice_release_pages(start, bytes) }
}
