import Engine

/// One entry of a flight recording: a frame as the ring gave it, with everything that the engine's answer depends on,
/// and that answer; or a call that let timers run.
///
/// As it lies in memory and in a file, in machine order (a recording is replayed by the same program):
///
///     offset  0  size      UInt32  of the entry, a multiple of 8
///             4  captured  UInt32  bytes that follow the header
///             8  length    UInt32  of the frame
///            12  tag       UInt32  that the kernel had taken out (TPID << 16 | TCI)
///            16  sequence  UInt64  order of processing, from 0
///            24  time      UInt64  engine time
///            32  offload   10 bytes: the virtio header
///            42  link      UInt16  `timers` for a call that let timers run
///            44  verdict   UInt8
///            45  reason    UInt8
///            46  egress    UInt16
///            48  left      UInt32  length of the frame that left
///            52  made      UInt32  frames that the engine made or released before this one left
///            56  digest    UInt64  of the frame that left and its virtio header
///            64  madeDigest UInt64 of those frames
struct FlightRecord {
  static let headerBytes = 72
  static let timers = UInt16.max

  let start: UnsafeMutableRawPointer

  private func load<T: BitwiseCopyable>(_ offset: Int, _: T.Type = T.self) -> T {
    start.load(fromByteOffset: offset, as: T.self)
  }
  private func store<T: BitwiseCopyable>(_ value: T, _ offset: Int) {
    start.storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  var size: Int { Int(load(0, UInt32.self)) }
  var captured: Int { Int(load(4, UInt32.self)) }
  var length: Int { Int(load(8, UInt32.self)) }
  var tag: UInt32 { load(12) }
  var sequence: UInt64 { load(16) }
  var time: UInt64 { load(24) }
  var offload: OffloadHeader { start.loadUnaligned(fromByteOffset: 32, as: OffloadHeader.self) }
  var link: UInt16 { load(42) }
  var verdict: UInt8 { load(44) }
  var reason: UInt8 { load(45) }
  var egress: UInt16 { load(46) }
  var left: UInt32 { load(48) }
  var made: UInt32 { load(52) }
  var digest: UInt64 { load(56) }
  var madeDigest: UInt64 { load(64) }
  var bytes: UnsafeMutableRawPointer { start + Self.headerBytes }

  static func size(captured: Int) -> Int { (headerBytes &+ captured &+ 7) & ~7 }

  /// What is known before the engine has answered.
  func write(
    captured: Int, length: UInt32, tag: UInt32, sequence: UInt64, time: UInt64, offload: OffloadHeader, link: UInt16
  ) {
    store(UInt32(truncatingIfNeeded: Self.size(captured: captured)), 0)
    store(UInt32(truncatingIfNeeded: captured), 4)
    store(length, 8)
    store(tag, 12)
    store(sequence, 16)
    store(time, 24)
    store(offload, 32)
    store(link, 42)
    store(0 as UInt32, 44)
    store(0 as UInt64, 48)
    store(0 as UInt64, 56)
    store(0 as UInt64, 64)
  }

  /// The engine's answer.
  func answer(_ slot: UnsafePointer<FrameSlot>, digest limit: Int) {
    store(slot.pointee.verdict.rawValue, 44)
    store(slot.pointee.reason.rawValue, 45)
    guard slot.pointee.verdict == .forward else { return }
    store(slot.pointee.egress, 46)
    store(slot.pointee.length, 48)
    var digest = FlightDigest()
    digest.add(slot.pointee.offload)
    digest.add(slot.pointee.bytes, count: min(Int(slot.pointee.length), limit))
    store(digest.value, 56)
  }

  /// Adds a frame that was made or released.
  func add(_ frame: OutboxFrame, digest limit: Int) {
    store(made &+ 1, 52)
    var digest = FlightDigest(value: madeDigest)
    digest.add(UInt64(frame.egress) << 32 | UInt64(frame.length))
    digest.add(frame.bytes, count: min(Int(frame.length), limit))
    store(digest.value, 64)
  }
}

/// A digest that tells frames apart, eight bytes at a time; not one that anybody could not forge.
struct FlightDigest {
  var value: UInt64 = 0

  mutating func add(_ word: UInt64) {
    value = (value ^ word) &* 0x9E37_79B9_7F4A_7C15
    value ^= value &>> 29
  }

  mutating func add(_ offload: OffloadHeader) {
    add(
      UInt64(offload.flags) | UInt64(offload.segmentation) << 8 | UInt64(offload.headerLength) << 16
        | UInt64(offload.segmentSize) << 32 | UInt64(offload.checksumStart) << 48)
    add(UInt64(offload.checksumOffset))
  }

  mutating func add(_ bytes: UnsafeRawPointer, count: Int) {
    var offset = 0
    while offset &+ 8 <= count {
      add(bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      offset &+= 8
    }
    var rest = UInt64(count)
    while offset < count {
      rest = rest << 8 | UInt64(bytes.load(fromByteOffset: offset, as: UInt8.self))
      offset &+= 1
    }
    add(rest)
  }
}

extension FlightDigest {
  /// `bytes` with their digest behind them.
  static func sealed(_ bytes: [UInt8]) -> [UInt8] {
    bytes + withUnsafeBytes(of: digest(bytes[...])) { Array($0) }
  }

  /// What `sealed` was given; nil where a byte of it is another one.
  static func opened(_ sealed: [UInt8]) -> [UInt8]? {
    guard sealed.count >= 8 else { return nil }
    let bytes = sealed.dropLast(8)
    return withUnsafeBytes(of: digest(bytes)) { $0.elementsEqual(sealed.suffix(8)) } ? Array(bytes) : nil
  }

  private static func digest(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    var digest = FlightDigest()
    bytes.withUnsafeBytes { if let start = $0.baseAddress { digest.add(start, count: $0.count) } }
    return digest.value
  }
}
