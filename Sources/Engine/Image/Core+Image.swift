// What of the engine changes, part by part. What rules and links say is not in it: they are the same in both engines, and
// what is copied out of them (the headers of next hops) stands where it was copied to.
extension Core {
  mutating func pass(_ pass: inout StatePass) {
    pass.same(links.count)
    pass.same(interfaces.count)
    pass.word(&clock)
    pass.word(&generation)
    pass.word(&self.pass)
    pass.memory(tables.region.start, tables.region.layout.bytes)
    tables.hosts.pass(&pass)
    shared.pointee.pass(&pass)
    timers.pass(&pass)
    pass.words(&armed)
    fragments.pass(&pass)
    fragmentHolds.pass(&pass)
    counters.pass(&pass)
  }
}

extension EngineState.Contents {
  mutating func pass(_ pass: inout StatePass) {
    adjacencies.pass(&pass)
    holds.pass(&pass)
    limiter.pass(&pass)
    unsolicited.pass(&pass)
    identifications.pass(&pass)
  }
}
