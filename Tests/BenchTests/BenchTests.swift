import Foundation
import Testing

@testable import Bench

@Suite struct BenchTests {
  private func options(_ flows: Int) -> EngineBenchOptions {
    var options = EngineBenchOptions()
    options.flows = flows
    options.seconds = 0.02
    return options
  }

  @Test(arguments: EngineBenchOptions.Kind.allCases, EngineBenchOptions.Mix.allCases)
  func `a row stands on frames that were all forwarded`(kind: EngineBenchOptions.Kind, mix: EngineBenchOptions.Mix)
    throws
  {
    var options = options(1500)
    options.kind = kind
    options.mix = mix
    for (frame, workers) in [(60, 1), (1514, 1), (128, 3)] {
      options.frameBytes = frame
      options.workers = workers
      // It throws where a session is missing or a frame was not forwarded.
      let row = try EngineBench.run(options)
      #expect(row.flows == 1500 && row.frameBytes == frame)
      #expect(row.nanosecondsPerPacket > 0 && row.packetsPerSecond > 0 && row.newSessionsPerSecond > 0)
      #expect(row.bytesPerSession > 64)
    }
  }

  @Test func `one flow is enough`() throws {
    #expect(try EngineBench.run(options(1)).flows == 1)
  }

  @Test func `JSON has the contract's keys and no others`() throws {
    let row = EngineBenchRow(
      flows: 1000, frameBytes: 60, nanosecondsPerPacket: 12.345, packetsPerSecond: 81_004_455.6,
      newSessionsPerSecond: 1e6, bytesPerSession: 224, generatorNanoseconds: 5)
    let object = try JSONSerialization.jsonObject(with: Data(row.json.utf8))
    let fields = try #require(object as? [String: Double])
    #expect(
      fields == [
        "flows": 1000, "frame_bytes": 60, "ns_per_packet": 12.3, "packets_per_second": 81_004_455,
        "new_sessions_per_second": 1_000_000, "bytes_per_session": 224,
      ])
  }
}
