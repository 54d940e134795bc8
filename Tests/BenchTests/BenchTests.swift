import Capture
import Foundation
import PacketTestKit
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

  @Test(arguments: EngineBenchOptions.Kind.allCases)
  func `masqueraded sessions past the number of ports share mappings`(kind: EngineBenchOptions.Kind) throws {
    var options = options(Int(FrameTemplate.insideEndpoints) + 500)
    options.kind = kind
    options.origin = .masquerade
    // It throws where an answer does not find its session.
    #expect(try EngineBench.run(options).flows == options.flows)
  }

  @Test func `a number of packets in place of a time, and every burst timed`() throws {
    var options = options(100)
    options.packets = 10_000
    #expect(try EngineBench.run(options).latency == nil)
    options.measuresLatency = true
    let latency = try #require(try EngineBench.run(options).latency)
    #expect(latency.total > 0 && latency.quantile(0.5) > 0 && latency.quantile(1) == latency.maximum)
  }

  @Test func `a capture gives order, direction, protocol and length`() throws {
    let directory = try TemporaryDirectory()
    func frame(_ ipProtocol: UInt8, _ from: (UInt8, UInt8), _ to: (UInt8, UInt8), _ total: Int) -> [UInt8] {
      let ip: [UInt8] = [
        0x45, 0, UInt8(total >> 8), UInt8(total & 255), 0, 0, 0, 0, 64, ipProtocol, 0, 0, 10, 0, 0, from.0, 10, 0, 0,
        to.0,
      ]
      let ports: [UInt8] = [0, from.1, 0, to.1]
      return [UInt8](repeating: 2, count: 12) + [8, 0] + ip + ports + [UInt8](repeating: 0, count: max(0, total - 24))
    }
    let frames = [
      frame(6, (1, 1), (2, 80), 40), frame(17, (1, 1), (2, 80), 300), frame(6, (2, 80), (1, 1), 1500),
      frame(1, (1, 1), (2, 80), 84), frame(17, (2, 80), (1, 1), 9000),
    ]
    let path = try directory.write(CaptureBytes.pcap(frames.map { CaptureBytes.Record($0) }), as: "mix.pcap")
    let mix = try CaptureMix(path: path)
    #expect(mix.flows == 2 && mix.udpFlows == 1 && mix.skipped == 1)
    #expect(
      mix.frames == [
        .init(flow: 1, isAnswer: false, bytes: 60), .init(flow: 0, isAnswer: false, bytes: 314),
        .init(flow: 1, isAnswer: true, bytes: 1514), .init(flow: 0, isAnswer: true, bytes: 1514),
      ])
    var options = options(1)
    options.capture = mix
    for origin in EngineBenchOptions.Origin.allCases {
      options.origin = origin
      let row = try EngineBench.run(options)
      #expect(row.flows == 2 && row.frameBytes == mix.meanBytes)
    }
    let empty = try directory.write(CaptureBytes.pcap([CaptureBytes.Record(frames[3])]), as: "empty.pcap")
    #expect(throws: CaptureError.self) { try CaptureMix(path: empty) }
  }

  @Test func `a quantile is what that share does not exceed, to 1.6 %`() {
    var histogram = LatencyHistogram()
    #expect(histogram.quantile(0.5) == 0)
    for value in 1...100_000 as ClosedRange<UInt64> { histogram.add(value) }
    for (share, exact) in [(0.00001, 1.0), (0.001, 100), (0.5, 50_000), (0.99, 99_000), (1, 100_000)] {
      let told = Double(histogram.quantile(share))
      #expect(told >= exact && told <= exact * 1.016)
    }
    var other = LatencyHistogram()
    other.add(.max)
    other.add(histogram)
    #expect(other.total == 100_001 && other.quantile(1) == .max && other.quantile(0.5) <= 50_816)
  }

  @Test func `one flow is enough`() throws {
    #expect(try EngineBench.run(options(1)).flows == 1)
  }

  @Test func `JSON has the contract's keys and no others`() throws {
    var row = EngineBenchRow(
      flows: 1000, frameBytes: 60, nanosecondsPerPacket: 12.345, packetsPerSecond: 81_004_455.6,
      newSessionsPerSecond: 1e6, bytesPerSession: 224, generatorNanoseconds: 5)
    let object = try JSONSerialization.jsonObject(with: Data(row.json.utf8))
    let fields = try #require(object as? [String: Double])
    #expect(
      fields == [
        "flows": 1000, "frame_bytes": 60, "ns_per_packet": 12.3, "packets_per_second": 81_004_455,
        "new_sessions_per_second": 1_000_000, "bytes_per_session": 224,
      ])
    // Where it was asked for, one more.
    row.latency = LatencyHistogram()
    row.latency?.add(1000)
    let asked = try JSONSerialization.jsonObject(with: Data(row.json.utf8)) as? [String: Any]
    #expect(asked?.count == 7)
    #expect(
      asked?["burst_latency_ns"] as? [String: Int]
        == ["p50": 1000, "p90": 1000, "p99": 1000, "p99.9": 1000, "max": 1000])
  }
}
