import CPcap
import Glibc

/// One frame of a capture; its bytes belong to the reader and stay valid until the next call of `next()`.
public struct CapturedFrame {
  /// The first byte of the link header (of the IP header in a raw-IP capture).
  public var bytes: UnsafeRawPointer
  /// Bytes in the file: fewer than the frame had where the capture's snap length cut it.
  public var length: Int
  /// Nanoseconds since 1970.
  public var time: UInt64
  /// Its place in the capture, from 1.
  public var number: Int
}

/// Reads pcap and pcapng files of either byte order through libpcap, with times in nanoseconds.
public final class CaptureReader {
  /// The file as it was named.
  public let path: String
  /// What every frame begins with.
  public let link: CaptureLink
  /// Frames read so far, those that the filter passed over included.
  public var count: Int { state.pointee.count }

  /// Bytes of the file; nil where it is none (a pipe).
  public let fileBytes: Int?

  private let filter: CaptureFilter?
  private let handle: OpaquePointer
  private let file: UnsafeMutablePointer<FILE>
  private let buffer: UnsafeMutableRawPointer
  private let isNextGeneration: Bool
  /// What changes with every frame: in memory of its own, which no access is checked for at run time.
  private let state: UnsafeMutablePointer<State>

  private struct State {
    var count = 0
    /// Where the record after the last good one begins; -1 on a pipe.
    var offset: Int
  }

  /// Bytes of the file that have been read; nil on a pipe.
  public var position: Int? { state.pointee.offset < 0 ? nil : state.pointee.offset }

  /// Bytes of the longest frame that is read: libpcap's own limit for a classic pcap (its MAXIMUM_SNAPLEN), which it does not
  /// hold a pcapng to.
  public static let longestFrame = 262_144

  /// Large enough that system calls vanish beside the copying.
  private static let bufferBytes = 1 << 18

  /// Opens the capture and reads its header.
  ///
  /// - Parameter filter: `next()` passes over frames that do not match.
  /// - Throws: `CaptureError` for a file that is missing, no capture, compressed, or of a link type that Sluice does not know.
  public init(path: String, filter: CaptureFilter? = nil) throws(CaptureError) {
    guard let file = fopen(path, "re") else {
      throw CaptureError(path: path, offset: nil, message: String(cString: strerror(errno)))
    }
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.bufferBytes, alignment: 64)
    setvbuf(file, buffer.assumingMemoryBound(to: CChar.self), _IOFBF, Self.bufferBytes)
    sluice_stream_without_locks(file)
    func abandon(_ offset: Int?, _ message: String) -> CaptureError {
      fclose(file)
      buffer.deallocate()
      return CaptureError(path: path, offset: offset, message: message)
    }

    let magic = Self.peek(file)
    if magic.starts(with: [0x1F, 0x8B]) {
      throw abandon(0, "compressed by gzip, which is not read here: decompress it first (gzip -dc FILE > FILE.pcap)")
    }
    isNextGeneration = magic.elementsEqual([0x0A, 0x0D, 0x0D, 0x0A])
    var text = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
    guard
      let handle = pcap_fopen_offline_with_tstamp_precision(file, UInt32(PCAP_TSTAMP_PRECISION_NANO), &text)
    else {
      let message = text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
      throw abandon(isNextGeneration ? ftell(file) : 0, message)
    }
    let type = pcap_datalink(handle)
    guard let link = Self.link(of: type) else {
      // A classic header names the link type at byte 20; of a pcapng, libpcap has just read the interface block.
      let offset = isNextGeneration ? ftell(file) : 20
      pcap_close(handle)
      buffer.deallocate()
      throw CaptureError(path: path, offset: offset, message: Self.refusal(of: type))
    }
    self.path = path
    self.link = link
    self.filter = filter
    var facts = stat()
    fileBytes = fstat(fileno(file), &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG ? Int(facts.st_size) : nil
    self.handle = handle
    self.file = file
    self.buffer = buffer
    state = .allocate(capacity: 1)
    state.initialize(to: State(offset: ftell(file)))
  }

  deinit {
    state.deallocate()
    pcap_close(handle)  // closes `file` too
    buffer.deallocate()
  }

  /// The next frame that the filter lets through; nil at the end of the capture.
  ///
  /// - Throws: `CaptureError` naming the offset at which the damaged record begins (in a pcapng: the first block after
  ///   the last good frame). Nothing can be read after it.
  public func next() throws(CaptureError) -> CapturedFrame? {
    guard let filter else { return try read() }
    while let frame = try read() {
      if filter.matches(frame.bytes, length: frame.length, link: link) { return frame }
    }
    return nil
  }

  @inline(__always)
  private func read() throws(CaptureError) -> CapturedFrame? {
    var header: UnsafeMutablePointer<pcap_pkthdr>?
    var bytes: UnsafePointer<UInt8>?
    let status = pcap_next_ex(handle, &header, &bytes)
    if status == PCAP_ERROR_BREAK { return nil }
    guard status == 1, let header, let bytes else { throw failure(String(cString: pcap_geterr(handle))) }
    let length = Int(header.pointee.caplen)
    guard length <= Self.longestFrame else {
      throw failure("a frame of \(length) bytes; at most \(Self.longestFrame) are read")
    }
    let frame = CapturedFrame(
      bytes: bytes, length: length, time: try nanoseconds(header.pointee.ts), number: state.pointee.count &+ 1)
    // Asking the stream costs as much as reading a small frame; a classic record is 16 bytes and the frame.
    if isNextGeneration {
      state.pointee.offset = ftell(file)
    } else if state.pointee.offset >= 0 {
      state.pointee.offset &+= 16 &+ length
    }
    state.pointee.count &+= 1
    return frame
  }

  private func failure(_ message: String) -> CaptureError {
    CaptureError(path: path, offset: position, message: "\(message) (after \(count) good frames)")
  }

  /// pcap counts unsigned 32-bit seconds, which libpcap 1.10 takes for signed: past 2038 they must be put right. pcapng
  /// holds 64-bit times, most of which no pcap can say.
  @inline(__always)
  private func nanoseconds(_ time: timeval) throws(CaptureError) -> UInt64 {
    // Nearly every time: 1970 to 2038, and less than a second besides.
    if UInt64(bitPattern: Int64(time.tv_sec)) <= UInt64(Int32.max),
      UInt64(bitPattern: Int64(time.tv_usec)) < nanosecondsPerSecond
    {
      return UInt64(bitPattern: Int64(time.tv_sec)) &* nanosecondsPerSecond &+ UInt64(bitPattern: Int64(time.tv_usec))
    }
    return try oddNanoseconds(time)
  }

  private func oddNanoseconds(_ time: timeval) throws(CaptureError) -> UInt64 {
    let seconds = isNextGeneration ? Int64(time.tv_sec) : Int64(UInt32(truncatingIfNeeded: time.tv_sec))
    // A fraction of a second or more is damage, but says which time is meant: it is carried.
    guard let whole = UInt64(exactly: seconds), whole <= lastSecond, let fraction = UInt64(exactly: time.tv_usec),
      case let total = whole * nanosecondsPerSecond + fraction, total / nanosecondsPerSecond <= lastSecond
    else {
      throw failure("a time that pcap cannot hold: \(time.tv_sec) s and \(time.tv_usec) ns since 1970")
    }
    return total
  }

  private static func link(of type: CInt) -> CaptureLink? {
    switch type {
    case DLT_EN10MB: .ethernet
    case DLT_RAW, DLT_IPV4, DLT_IPV6: .rawIP
    default: nil
    }
  }

  private static func refusal(of type: CInt) -> String {
    let name = pcap_datalink_val_to_name(type).map { String(cString: $0) } ?? "unknown"
    return "link type \(type) (\(name)): only Ethernet (1), RAW (101), IPV4 (228) and IPV6 (229) are read"
  }

  /// The first four bytes, left in place.
  ///
  /// Seeking has a second use: from then on glibc keeps count of the offset, and `ftell` needs no system call. A pipe,
  /// which cannot seek, takes the bytes back.
  private static func peek(_ file: UnsafeMutablePointer<FILE>) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4)
    let count = fread(&bytes, 1, bytes.count, file)
    if fseek(file, 0, SEEK_SET) != 0 { for byte in bytes.prefix(count).reversed() { ungetc(CInt(byte), file) } }
    return Array(bytes.prefix(count))
  }
}
