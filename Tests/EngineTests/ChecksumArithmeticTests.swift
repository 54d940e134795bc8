import PacketTestKit
import Testing

@testable import Engine

/// Incremental checksums (RFC 1071, RFC 1624, RFC 768) against summing again: C1 to C4.
///
/// The only test of the kit's that looks inside the engine.
@Suite struct ChecksumArithmeticTests {
  /// Rounds of the exhaustive tests: a debug build is some fifty times slower.
  #if DEBUG
    private static let rounds = 8
  #else
    private static let rounds = 1600
  #endif

  @Test func `C1 RFC 1624's example, in which RFC 1141's form gives -0`() {
    // Section 4: HC = 0xDD2F, m = 0x5555, m' = 0x3285 gives 0x0000.
    #expect(Checksum.adjust(0xDD2F, by: Checksum.delta(UInt16(0x5555), UInt16(0x3285))) == 0x0000)
    // The same words as loaded on a machine of the other byte order (RFC 1071 section 2.B).
    #expect(Checksum.adjust(0x2FDD, by: Checksum.delta(UInt16(0x5555), UInt16(0x8532))) == 0x0000)
  }

  @Test func `C1 nothing changed leaves both zeros alone`() {
    for checksum: UInt16 in [0, 1, 0x7FFF, 0xFFFE, 0xFFFF] {
      for word: UInt16 in [0, 1, 0xFFFF] {
        #expect(Checksum.adjust(checksum, by: Checksum.delta(word, word)) == checksum)
      }
    }
  }

  @Test func `C2 every old checksum, with many changes, equals a sum made anew`() {
    var random = Random(state: 1624)
    var wrong = 0
    for _ in 0..<Self.rounds {
      let old = random.word()
      let new = random.word()
      let delta = Checksum.delta(old, new)
      for checksum in UInt16.min...0xFFFE {
        // The rest of the data is one word that gives `checksum` together with `old`. One's complement has two zeros;
        // data that is not all zero never sums to +0, so 0xFFFF is no checksum that a sum from scratch gives.
        let rest = Self.folded(UInt32(~checksum) + UInt32(~old))
        let anew = ~Self.folded(UInt32(rest) + UInt32(new))
        if rest == 0, new == 0 { continue }
        if Checksum.adjust(checksum, by: delta) != anew { wrong += 1 }
      }
    }
    #expect(wrong == 0)
  }

  @Test func `C2 a change means the same at either byte order`() {
    var random = Random(state: 1)
    for _ in 0..<Self.rounds * 4096 {
      let (checksum, old, new) = (random.word(), random.word(), random.word())
      let host = Checksum.adjust(checksum, by: Checksum.delta(old, new))
      let swapped = Checksum.adjust(checksum.byteSwapped, by: Checksum.delta(old.byteSwapped, new.byteSwapped))
      guard host != swapped.byteSwapped else { continue }
      Issue.record("\(checksum) \(old) \(new)")
      return
    }
  }

  @Test func `C2 sums at every length and alignment equal the plain ones`() {
    let bytes = (0..<256).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ 77) }
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 300, alignment: 64)
    defer { memory.deallocate() }
    for offset in 0..<8 {
      (memory + offset).copyMemory(from: bytes, byteCount: bytes.count)
      for count in 0...200 {
        let sum = Checksum.fold(Checksum.sum(memory + offset, count: count))
        #expect(UInt16(bigEndian: sum) == InternetChecksum.sum(bytes.prefix(count)), "\(offset) \(count)")
      }
    }
  }

  @Test func `C2 a header of twenty bytes is valid exactly when its plain sum is`() {
    let header =
      [
        0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xC0, 0xA8, 0, 1, 0xC0, 0xA8, 0, 0xC7,
      ] as [UInt8]
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 32, alignment: 2)
    defer { memory.deallocate() }
    for field in 0...0xFFFF {
      var bytes = header
      bytes[10] = UInt8(field >> 8)
      bytes[11] = UInt8(field & 0xFF)
      memory.copyMemory(from: bytes, byteCount: 20)
      guard Checksum.isValidHeader20(memory) != (InternetChecksum.sum(bytes) == 0xFFFF) else { continue }
      Issue.record("checksum field \(field)")
      return
    }
  }

  @Test func `C2 any header is valid exactly when its plain sum is, carries at every place`() {
    var random = Random(state: 768)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 32, alignment: 2)
    defer { memory.deallocate() }
    for round in 0..<64 * Self.rounds {
      // Words of many ones and many zeros make sums that carry out of 64 bits once, twice or not at all.
      var bytes = (0..<20).map { _ in [0, 0xFF, UInt8(truncatingIfNeeded: random.word())][Int(random.word() % 3)] }
      bytes[0] = 0x45
      (bytes[10], bytes[11]) = (0, 0)
      let checksum = ~InternetChecksum.sum(bytes) &+ (round % 2 == 0 ? 0 : random.word() % 3)
      (bytes[10], bytes[11]) = (UInt8(checksum >> 8), UInt8(checksum & 0xFF))
      memory.copyMemory(from: bytes, byteCount: 20)
      guard Checksum.isValidHeader20(memory) != (InternetChecksum.sum(bytes) == 0xFFFF) else { continue }
      Issue.record("\(bytes)")
      return
    }
  }

  @Test func `The eight bytes that tell a bare frame are its tag, flags, segmentation and header length`() {
    #expect(MemoryLayout<FrameSlot>.size == 64)
    #expect(MemoryLayout<FrameSlot>.offset(of: \.tag) == FrameSlot.tagOffset)
    #expect(MemoryLayout<FrameSlot>.offset(of: \.offload) == FrameSlot.tagOffset + 4)
    #expect(MemoryLayout<FrameSlot>.offset(of: \.tag16) == FrameSlot.tag16Offset)
    // Bits 48-55 of the key's second word.
    #expect(MemoryLayout<FrameSlot>.offset(of: \.rest) == FrameSlot.protocolOffset - 6)
    #expect(MemoryLayout<OffloadHeader>.offset(of: \.segmentSize) == 4)
  }

  @Test func `C3 only UDP has a zero of its own`() {
    // ~sum is zero after this change.
    let delta = Checksum.delta(UInt16(0x5555), UInt16(0x3285))
    #expect(Checksum.adjust(0xDD2F, by: delta) == 0)
    #expect(Checksum.adjustUDP(0xDD2F, by: delta) == 0xFFFF)
    #expect(Checksum.adjustUDP(0, by: delta) == 0)
    // 0xFFFF stands for a computed zero and goes on as a sum made anew would.
    #expect(Checksum.adjustUDP(0xFFFF, by: delta) == Checksum.adjust(0, by: delta))
  }

  @Test func `C4 one update with all changes equals one after the other`() {
    var random = Random(state: 99)
    for _ in 0..<20_000 * Self.rounds {
      let checksum = random.word()
      let address = Checksum.delta(random.address(), random.address())
      let port = Checksum.delta(random.word(), random.word())
      let hop = Checksum.delta(UInt16(0x4011).bigEndian, UInt16(0x3F11).bigEndian)
      let atOnce = Checksum.adjust(checksum, by: Checksum.combine(Checksum.combine(address, port), hop))
      var inTurn = Checksum.adjust(checksum, by: address)
      inTurn = Checksum.adjust(inTurn, by: port)
      inTurn = Checksum.adjust(inTurn, by: hop)
      guard atOnce != inTurn else { continue }
      Issue.record("\(checksum) \(address) \(port)")
      return
    }
  }

  /// Knuth's linear congruential generator, its upper bits; the same in every run.
  private struct Random {
    var state: UInt64

    mutating func address() -> UInt32 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt32(truncatingIfNeeded: state >> 32)
    }

    mutating func word() -> UInt16 { UInt16(truncatingIfNeeded: address() >> 16) }
  }

  private static func folded(_ sum: UInt32) -> UInt16 {
    var sum = sum
    while sum > 0xFFFF { sum = sum >> 16 + sum & 0xFFFF }
    return UInt16(sum)
  }
}
