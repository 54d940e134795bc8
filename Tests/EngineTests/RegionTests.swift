import Testing

@testable import Engine

@Suite("The region: one piece of memory for all tables")
struct RegionTests {
  @Test(
    "Parts stand one behind the other, each at a page, for capacities of every size",
    arguments: [1, 7, 64, 1000, 65_536, 1_048_576], [0, 1, 5])
  func layout(capacity: Int, pools: Int) {
    let layout = RegionLayout(capacity: capacity, pools: pools)
    let ends = [
      RegionLayout.pageBytes, layout.wordsOffset + RegionLayout.pageBytes,
      layout.sessionIndexOffset + layout.sessionBuckets * FlowIndex.bucketBytes,
      layout.sessionsOffset + (capacity + 1) * SessionTable.placeBytes,
      layout.mappingIndexOffset + layout.mappingBuckets * FlowIndex.bucketBytes,
      layout.mappingsOffset + (capacity + 1) * MappingLine.bytes,
      layout.openingsOffset + Openings.capacity * Openings.placeBytes, layout.poolsOffset + pools * PortPools.poolBytes,
    ]
    let starts = [
      layout.wordsOffset, layout.sessionIndexOffset, layout.sessionsOffset, layout.mappingIndexOffset,
      layout.mappingsOffset, layout.openingsOffset, layout.poolsOffset, layout.bytes,
    ]
    for (end, start) in zip(ends, starts) {
      #expect(start >= end && start - end < RegionLayout.pageBytes && start % RegionLayout.pageBytes == 0)
    }
  }

  @Test("A line is a cache line, a place three of them, and none straddles one")
  func sizes() {
    #expect(FlowLine.bytes == 64 && SessionTable.placeBytes == 3 * 64)
    #expect(MappingLine.bytes == 64 && FlowIndex.bucketBytes == 64)
    #expect(FlowIndex.lanes * 2 == FlowIndex.valuesOffset)
    #expect(FlowIndex.valuesOffset + FlowIndex.lanes * 4 == FlowIndex.overflowOffset)
    #expect(FlowIndex.overflowOffset + 4 == FlowIndex.bucketBytes)
  }

  @Test("A region tells its layout, secret and seed to whoever maps the same bytes; any other bytes tell nothing")
  func header() throws {
    let layout = RegionLayout(capacity: 1000, pools: 2)
    let region = try Region(layout)
    defer { region.release() }
    #expect(region.header.layout(bytes: layout.bytes) == nil)
    let secret = HashSecret(seed: 7)
    region.header.write(layout, secret: secret, seed: 99)
    let again = Region(layout, at: region.start).header
    #expect(again.layout(bytes: layout.bytes) == layout)
    #expect(again.layout(bytes: layout.bytes - 4096) == nil)
    #expect(again.secret.hash(1, 2) == secret.hash(1, 2) && again.seed == 99)
    for offset in stride(from: 0, to: 40, by: 4) where offset != 12 {
      let word = (region.start + offset).assumingMemoryBound(to: UInt32.self)
      word.pointee ^= 0x0001_0000
      #expect(again.layout(bytes: layout.bytes) == nil, "a change at \(offset)")
      word.pointee ^= 0x0001_0000
    }
  }
}
