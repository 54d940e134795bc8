import Glibc

/// Writes a nanosecond pcap file, little-endian, through a buffer of its own.
///
/// The file takes its name only in `finish()`: until then it is `PATH.part`, so that nobody mistakes half a capture for
/// a whole one, and a capture may be replayed into the place it is read from.
public final class CaptureWriter {
  /// The name that the finished file will have.
  public let path: String
  private let partPath: String
  private var descriptor: CInt
  private let buffer: UnsafeMutableRawPointer
  /// What changes with every frame: in memory of its own, which no access is checked for at run time.
  private let state: UnsafeMutablePointer<State>

  private struct State {
    var used = 0
    /// Bytes of the file that have left the buffer.
    var written = 0
  }

  private static let bufferBytes = 1 << 18
  private static let recordHeaderBytes = 16
  /// libpcap refuses longer records of these link types.
  private static let snapLength: UInt32 = 262_144

  /// Creates `path` with a header for `link` (LINKTYPE_ETHERNET 1 or LINKTYPE_RAW 101).
  public init(path: String, link: CaptureLink) throws(CaptureError) {
    self.path = path
    partPath = path + ".part"
    descriptor = open(partPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw CaptureError(path: partPath, offset: nil, message: String(cString: strerror(errno)))
    }
    buffer = .allocate(byteCount: Self.bufferBytes, alignment: 64)
    state = .allocate(capacity: 1)
    state.initialize(to: State())
    // Magic of nanosecond times, version 2.4, two unused words, snap length, link type.
    put(0xA1B2_3C4D)
    put(2 | 4 << 16)
    put(0)
    put(0)
    put(Self.snapLength)
    put(link == .ethernet ? 1 : 101)
  }

  deinit {
    if descriptor >= 0 {
      close(descriptor)
      unlink(partPath)
    }
    buffer.deallocate()
    state.deallocate()
  }

  /// Adds one frame.
  ///
  /// - Parameters:
  ///   - length: in bytes.
  ///   - time: nanoseconds since 1970.
  /// - Throws: `CaptureError` where the file cannot grow or the time is past 2106, with the offset of the record.
  public func append(_ bytes: UnsafeRawPointer, length: Int, time: UInt64) throws(CaptureError) {
    let seconds = time / nanosecondsPerSecond
    guard seconds <= lastSecond else { throw failure("a time that pcap cannot hold: \(seconds) s since 1970") }
    if Self.bufferBytes &- state.pointee.used < Self.recordHeaderBytes &+ length { try flush() }
    put(UInt32(truncatingIfNeeded: seconds))
    put(UInt32(truncatingIfNeeded: time &- seconds &* nanosecondsPerSecond))
    put(UInt32(truncatingIfNeeded: length))
    put(UInt32(truncatingIfNeeded: length))
    if Self.bufferBytes &- state.pointee.used < length {
      try flush()
      try write(bytes, count: length)
    } else {
      (buffer + state.pointee.used).copyMemory(from: bytes, byteCount: length)
      state.pointee.used &+= length
    }
  }

  /// Writes what is buffered and gives the file its name. Nothing may be added afterwards.
  public func finish() throws(CaptureError) {
    try flush()
    let status = close(descriptor)
    descriptor = -1
    guard status == 0, rename(partPath, path) == 0 else {
      let error = failure(String(cString: strerror(errno)))
      unlink(partPath)
      throw error
    }
  }

  private func put(_ word: UInt32) {
    (buffer + state.pointee.used).storeBytes(of: word.littleEndian, as: UInt32.self)
    state.pointee.used &+= 4
  }

  private func flush() throws(CaptureError) {
    let count = state.pointee.used
    state.pointee.used = 0
    try write(buffer, count: count)
  }

  private func write(_ bytes: UnsafeRawPointer, count: Int) throws(CaptureError) {
    var done = 0
    while done < count {
      let step = Glibc.write(descriptor, bytes + done, count - done)
      if step < 0 {
        if errno == EINTR { continue }
        throw failure(String(cString: strerror(errno)))
      }
      done += step
      state.pointee.written += step
    }
  }

  private func failure(_ message: String) -> CaptureError {
    CaptureError(path: path, offset: state.pointee.written + state.pointee.used, message: message)
  }
}
