/// Writes a nanosecond pcap file, little-endian.
public final class CaptureWriter {
  /// The name that the finished file will have.
  public var path: String { file.path }
  private let file: OutputFile

  private static let recordHeaderBytes = 16
  private static let fileHeaderBytes = 24
  /// libpcap refuses longer records of these link types.
  private static let snapLength: UInt32 = 262_144

  /// Creates `path` with a header for `link` (LINKTYPE_ETHERNET 1 or LINKTYPE_RAW 101).
  public init(path: String, link: CaptureLink) throws(CaptureError) {
    file = try OutputFile(path: path)
    try file.reserve(Self.fileHeaderBytes)
    // Magic of nanosecond times, version 2.4, two unused words, snap length, link type.
    file.put(0xA1B2_3C4D)
    file.put(2 | 4 << 16)
    file.put(0)
    file.put(0)
    file.put(Self.snapLength)
    file.put(link == .ethernet ? 1 : 101)
  }

  deinit { file.release() }

  /// Adds one frame.
  ///
  /// - Parameters:
  ///   - length: in bytes.
  ///   - time: nanoseconds since 1970.
  ///   - original: length of the whole frame, where only its beginning is kept.
  /// - Throws: `CaptureError` where the file cannot grow or the time is past 2106, with the offset of the record.
  public func append(_ bytes: UnsafeRawPointer, length: Int, time: UInt64, original: Int? = nil) throws(CaptureError) {
    let seconds = time / nanosecondsPerSecond
    guard seconds <= lastSecond else { throw file.failure("a time that pcap cannot hold: \(seconds) s since 1970") }
    try file.reserve(Self.recordHeaderBytes)
    file.put(UInt32(truncatingIfNeeded: seconds))
    file.put(UInt32(truncatingIfNeeded: time &- seconds &* nanosecondsPerSecond))
    file.put(UInt32(truncatingIfNeeded: length))
    file.put(UInt32(truncatingIfNeeded: original ?? length))
    try file.append(bytes, count: length)
  }

  /// Writes what is buffered and gives the file its name. Nothing may be added afterwards.
  public func finish() throws(CaptureError) { try file.finish() }
}
