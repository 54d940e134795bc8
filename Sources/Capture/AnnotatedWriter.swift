/// Writes a pcapng file (draft-ietf-opsawg-pcapng) in which every frame carries what was decided about it.
///
/// One interface description block for each interface; each frame an enhanced packet block with its direction, an
/// identity that copies of the same packet share, a comment and a verdict. Wireshark and tshark show all of them.
public final class AnnotatedWriter {
  /// An interface of the file.
  public struct Interface: Sendable {
    public var name: String
    public var description: String
    public var link: CaptureLink

    public init(name: String, description: String, link: CaptureLink) {
      self.name = name
      self.description = description
      self.link = link
    }
  }

  /// What became of a frame, in the words of Linux traffic control (linux/pkt_cls.h, TC_ACT_*): the only set of
  /// software verdicts that the format has.
  public enum Verdict: UInt64, Sendable {
    case pass = 0
    case drop = 2
    case consume = 4
    case hold = 5
    case forward = 7
  }

  /// A frame with its annotations.
  public struct Frame {
    /// Place of its interface.
    public var interface: Int
    /// Nanoseconds since 1970.
    public var time: UInt64
    public var isOutbound: Bool
    /// Shared by all copies of one packet.
    public var identity: UInt64
    public var comment: String
    /// nil for a frame that nobody judged.
    public var verdict: Verdict?

    public init(
      interface: Int, time: UInt64, isOutbound: Bool, identity: UInt64, comment: String, verdict: Verdict?
    ) {
      self.interface = interface
      self.time = time
      self.isOutbound = isOutbound
      self.identity = identity
      self.comment = comment
      self.verdict = verdict
    }
  }

  // Block and option codes of the format.
  private static let sectionHeader: UInt32 = 0x0A0D_0D0A
  private static let interfaceDescription: UInt32 = 1
  private static let enhancedPacket: UInt32 = 6
  private static let comment: UInt16 = 1
  private static let interfaceName: UInt16 = 2
  private static let interfaceText: UInt16 = 3
  private static let timeResolution: UInt16 = 9
  private static let application: UInt16 = 4
  private static let flags: UInt16 = 2
  private static let packetIdentity: UInt16 = 5
  private static let packetVerdict: UInt16 = 7
  /// The verdict's first byte: what follows is a TC_ACT_* of 64 bits.
  private static let trafficControl: UInt8 = 1
  private static let snapLength: UInt32 = 262_144

  private let file: OutputFile
  /// The block that is being made; kept for its memory.
  private var block: [UInt8] = []

  /// Creates `path` and describes the interfaces.
  public init(path: String, interfaces: [Interface]) throws(CaptureError) {
    file = try OutputFile(path: path)
    block.reserveCapacity(4096)
    put(0x1A2B_3C4D as UInt32)
    put(1 as UInt16)
    put(0 as UInt16)
    // The section's length is not known beforehand.
    put(UInt64.max)
    option(Self.application, Array("sluice".utf8))
    endOptions()
    try write(Self.sectionHeader)
    for interface in interfaces {
      put((interface.link == .ethernet ? 1 : 101) as UInt16)
      put(0 as UInt16)
      put(Self.snapLength)
      option(Self.interfaceName, Array(interface.name.utf8))
      option(Self.interfaceText, Array(interface.description.utf8))
      // Powers of ten: nanoseconds.
      option(Self.timeResolution, [9])
      endOptions()
      try write(Self.interfaceDescription)
    }
  }

  deinit { file.release() }

  /// Adds one frame.
  public func append(_ bytes: UnsafeRawPointer, length: Int, _ frame: Frame) throws(CaptureError) {
    put(UInt32(truncatingIfNeeded: frame.interface))
    put(UInt32(truncatingIfNeeded: frame.time >> 32))
    put(UInt32(truncatingIfNeeded: frame.time))
    put(UInt32(truncatingIfNeeded: length))
    put(UInt32(truncatingIfNeeded: length))
    block.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: length))
    pad()
    if !frame.comment.isEmpty { option(Self.comment, Array(frame.comment.utf8)) }
    // Bits 0 and 1: inbound, outbound.
    option(Self.flags, Self.bytes(frame.isOutbound ? 2 : 1 as UInt32))
    option(Self.packetIdentity, Self.bytes(frame.identity))
    if let verdict = frame.verdict { option(Self.packetVerdict, [Self.trafficControl] + Self.bytes(verdict.rawValue)) }
    endOptions()
    try write(Self.enhancedPacket)
  }

  /// Writes what is buffered and gives the file its name. Nothing may be added afterwards.
  public func finish() throws(CaptureError) { try file.finish() }

  // MARK: Blocks

  private static func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
  }

  private func put(_ number: some FixedWidthInteger) {
    withUnsafeBytes(of: number.littleEndian) { block.append(contentsOf: $0) }
  }

  /// An option's value is at most 65,535 bytes long.
  private func option(_ code: UInt16, _ value: [UInt8]) {
    let value = value.prefix(Int(UInt16.max))
    put(code)
    put(UInt16(value.count))
    block.append(contentsOf: value)
    pad()
  }

  private func endOptions() { put(0 as UInt32) }

  /// Everything begins at a multiple of four bytes.
  private func pad() { while block.count % 4 != 0 { block.append(0) } }

  /// Puts type and length around the block and writes it.
  private func write(_ type: UInt32) throws(CaptureError) {
    let total = UInt32(block.count + 12)
    try file.reserve(8)
    file.put(type)
    file.put(total)
    let bytes = block
    block.removeAll(keepingCapacity: true)
    try Self.add(bytes, to: file)
    try file.reserve(4)
    file.put(total)
  }

  private static func add(_ bytes: [UInt8], to file: OutputFile) throws(CaptureError) {
    guard !bytes.isEmpty else { return }
    var failure: CaptureError?
    bytes.withUnsafeBytes { buffer in
      do throws(CaptureError) { try file.append(buffer.baseAddress!, count: buffer.count) } catch { failure = error }
    }
    if let failure { throw failure }
  }
}
