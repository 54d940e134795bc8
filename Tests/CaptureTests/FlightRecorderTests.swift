import Engine
import PacketTestKit
import Testing

@testable import Capture

/// The recorder's memory is what it was told, and the oldest frames give way.
@Suite struct FlightRecorderTests {
  private let slots = UnsafeMutablePointer<FrameSlot>.allocate(capacity: 4)
  private let bytes = UnsafeMutableRawPointer.allocate(byteCount: 1 << 18, alignment: 64)

  /// Records `count` frames of `length` bytes, four at a time, each with its number in front.
  private func record(_ recorder: FlightRecorder, _ count: Int, length: Int, from first: Int = 0, link: Int = 0) {
    for number in stride(from: first, to: first + count, by: 4) {
      for index in 0..<4 {
        let frame = bytes + index << 15
        frame.storeBytes(of: UInt32(number + index), as: UInt32.self)
        (slots + index).initialize(
          to: FrameSlot(bytes: frame, length: length, headroom: 0, link: link, time: UInt64(number + index)))
      }
      recorder.willJudge(slots, count: 4)
      for index in 0..<4 { slots[index].verdict = .drop }
      recorder.didJudge(slots, count: 4, outbox: UnsafeBufferPointer(start: nil, count: 0))
    }
  }

  private func recorder(links: Int = 1, isWhole: Bool = false) throws -> FlightRecorder {
    try FlightRecorder(links: links, bytes: 1 << 20, stateBytes: 4096, isWhole: isWhole, burst: 4)
  }

  private func numbers(_ recording: FlightRecording) -> [UInt32] {
    var list: [UInt32] = []
    recording.forEach { list.append($0.bytes.load(as: UInt32.self)) }
    return list
  }

  @Test func `all that fits is kept, in the order of processing, over all links`() throws {
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 18)
    let recorder = try recorder(links: 2)
    for round in 0..<50 { record(recorder, 4, length: 60, from: round * 4, link: round % 2) }
    let recording = recorder.copy()
    #expect(recording.entries == 200 && recording.lost == 0)
    #expect(numbers(recording) == (0..<200).map { UInt32($0) })
    #expect(recording.firstFault(links: 2) == nil)
    // Frames of a link that does not exist.
    #expect(recording.firstFault(links: 1) != nil)
  }

  @Test func `the oldest give way, and are counted`() throws {
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 18)
    let recorder = try recorder(isWhole: true)
    let count = 8192
    record(recorder, count, length: 1500)
    let recording = recorder.copy()
    #expect(UInt64(recording.entries) + recording.lost == UInt64(count) && recording.lost > 0)
    #expect(recording.bytes.count <= 8 * 2 * (1 << 17))
    #expect(numbers(recording) == (count - recording.entries..<count).map { UInt32($0) })
  }

  @Test func `headers alone, but ICMP whole, for its checksum covers all`() throws {
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 18)
    for index in 0..<4 { (bytes + index << 15).storeBytes(of: index == 2 ? 1 : 17, toByteOffset: 23, as: UInt8.self) }
    let recorder = try recorder()
    record(recorder, 4, length: 1000)
    var kept: [Int] = []
    recorder.copy().forEach { kept.append($0.captured) }
    #expect(kept == [128, 128, 1000, 128])
  }

  @Test func `damage is found at its place, whatever byte it hits`() throws {
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 18)
    let recorder = try recorder()
    record(recorder, 8, length: 60)
    let recording = recorder.copy()
    for cut in [1, 71, recording.bytes.count - 1] {
      var damaged = recording
      damaged.bytes.removeLast(damaged.bytes.count - cut)
      #expect(damaged.firstFault(links: 1) != nil)
    }
    for index in recording.bytes.indices {
      var damaged = recording
      damaged.bytes[index] ^= 0xFF
      // Found, or harmless: nothing is read beyond the end.
      damaged.replayable = damaged.entries
      if damaged.firstFault(links: 1) == nil { damaged.replay { _, _ in } }
    }
  }

  /// Gives a state wherever one is wanted, or says that it does not fit; how often it was wanted.
  private func recordWithState(
    _ recorder: FlightRecorder, _ count: Int, from first: Int = 0, isGood: Bool = true
  ) -> Int {
    var asked = 0
    for number in stride(from: first, to: first + count, by: 4) {
      if recorder.wantsState {
        asked += 1
        recorder.keepState { _ in isGood }
      }
      record(recorder, 4, length: 1500, from: number)
    }
    return asked
  }

  @Test func `the state is asked for at the start and with every half of the memory, and one is always old enough`()
    throws
  {
    let recorder = try recorder(isWhole: true)
    var asked = 0
    var longest = 0
    for number in stride(from: 0, to: 16_384, by: 4) {
      asked += recordWithState(recorder, 4, from: number)
      guard number % 64 == 0 else { continue }
      let recording = recorder.copy()
      #expect(recording.replayable > 0 && recording.replayable <= recording.entries)
      // At least half of what is kept, as soon as the memory is full.
      if recording.lost > 0 { #expect(recording.replayable * 9 >= recording.entries * 4) }
      longest = max(longest, recording.replayable)
    }
    #expect(asked >= 8 && longest > 1000)
  }

  @Test func `without a state nothing can be replayed, and a change that is no frame begins anew`() throws {
    let recorder = try recorder(isWhole: true)
    _ = recordWithState(recorder, 40, isGood: false)
    #expect(recorder.copy().entries == 40 && recorder.copy().replayable == 0)
    recorder.interrupt()
    _ = recordWithState(recorder, 40, from: 40)
    #expect(recorder.copy().replayable == 40)
    recorder.interrupt()
    #expect(recorder.wantsState && recorder.copy().replayable == 0)
    _ = recordWithState(recorder, 8, from: 80)
    #expect(recorder.copy().replayable == 8)
  }
}
