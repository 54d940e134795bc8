/// Capture files made byte by byte from their specifications, for readers to be tried on.
public struct CaptureBytes {
  /// Byte order of the file.
  public enum Order: CaseIterable, Sendable { case little, big }

  /// One frame.
  public struct Record {
    /// Whole seconds since 1970.
    public var seconds: UInt64
    /// Units of the file's resolution below the second.
    public var fraction: UInt32
    /// What the capture has of the frame.
    public var bytes: [UInt8]
    /// Length of the frame on the wire, if the capture has less of it.
    public var originalLength: Int?

    /// A frame captured whole unless `originalLength` says more.
    public init(_ bytes: [UInt8], seconds: UInt64 = 0, fraction: UInt32 = 0, originalLength: Int? = nil) {
      self.bytes = bytes
      self.seconds = seconds
      self.fraction = fraction
      self.originalLength = originalLength
    }
  }

  private var bytes: [UInt8] = []
  private let order: Order

  private init(_ order: Order) { self.order = order }

  private mutating func put(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: order == .little ? value.littleEndian : value.bigEndian) { bytes += $0 }
  }

  /// draft-ietf-opsawg-pcap: file header, then records. `fraction` counts microseconds unless `isNano`.
  public static func pcap(
    _ records: [Record], linkType: UInt32 = 1, order: Order = .little, isNano: Bool = true
  ) -> [UInt8] {
    var file = Self(order)
    file.put(isNano ? 0xA1B2_3C4D as UInt32 : 0xA1B2_C3D4)
    file.put(2 as UInt16)
    file.put(4 as UInt16)
    for word in [0, 0, 262_144, linkType] { file.put(word) }
    for record in records {
      file.put(UInt32(record.seconds))
      file.put(record.fraction)
      file.put(UInt32(record.bytes.count))
      file.put(UInt32(record.originalLength ?? record.bytes.count))
      file.bytes += record.bytes
    }
    return file.bytes
  }

  /// draft-ietf-opsawg-pcapng: a section, one interface with nanosecond times, an enhanced packet block per record.
  public static func pcapng(_ records: [Record], linkType: UInt16 = 1, order: Order = .little) -> [UInt8] {
    var file = Self(order)
    file.block(0x0A0D_0D0A) {
      $0.put(0x1A2B_3C4D as UInt32)
      $0.put(1 as UInt16)
      $0.put(0 as UInt16)
      $0.put(-1 as Int64)
    }
    file.block(1) {
      $0.put(linkType)
      $0.put(0 as UInt16)
      $0.put(262_144 as UInt32)
      // Option if_tsresol = 9: nanoseconds.
      $0.put(9 as UInt16)
      $0.put(1 as UInt16)
      $0.bytes += [9, 0, 0, 0]
      $0.put(0 as UInt32)
    }
    for record in records {
      let time = record.seconds &* 1_000_000_000 &+ UInt64(record.fraction)
      file.block(6) {
        $0.put(0 as UInt32)
        $0.put(UInt32(time >> 32))
        $0.put(UInt32(truncatingIfNeeded: time))
        $0.put(UInt32(record.bytes.count))
        $0.put(UInt32(record.originalLength ?? record.bytes.count))
        $0.bytes += record.bytes
      }
    }
    return file.bytes
  }

  private mutating func block(_ type: UInt32, _ body: (inout Self) -> Void) {
    var inner = Self(order)
    body(&inner)
    inner.bytes += [UInt8](repeating: 0, count: -inner.bytes.count & 3)
    put(type)
    put(UInt32(inner.bytes.count + 12))
    bytes += inner.bytes
    put(UInt32(inner.bytes.count + 12))
  }
}
