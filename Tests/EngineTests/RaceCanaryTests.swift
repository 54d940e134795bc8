import Glibc
import Testing

@testable import Engine

/// A planted race, which the thread sanitizer has to report: else it sees none of the engine's either. `.ci/run tsan` runs
/// it with `SLUICE_RACE_CANARY` set, and fails if it passes.
@Suite(.enabled(if: getenv("SLUICE_RACE_CANARY") != nil)) struct RaceCanaryTests {
  @Test func `two threads write one word of a session without any order`() throws {
    let lines = UnsafeMutableRawPointer.allocate(byteCount: FlowLine.bytes, alignment: FlowLine.bytes)
    defer { lines.deallocate() }
    lines.initializeMemory(as: UInt8.self, repeating: 0, count: FlowLine.bytes)
    var threads: [pthread_t] = []
    for _ in 0..<2 {
      var thread = pthread_t()
      let status = pthread_create(
        &thread, nil,
        { line in
          // What a session becomes must not change while others may read it, so it is written as plain memory.
          for round in 0..<1000 { FlowLine(line!).newAddresses &+= UInt64(round) }
          return nil
        }, lines)
      try #require(status == 0)
      threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
    #expect(FlowLine(lines).newAddresses > 0)
  }
}
