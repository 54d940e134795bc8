import Engine

/// Places in a captured frame, found without trusting any length that it states.
struct FrameLayout {
  /// Ethernet type behind all tags; that of IPv4 on raw-IP links.
  let etherType: UInt16
  /// Offset of what follows the link header.
  let network: Int

  /// More than anybody stacks: 802.1ad allows two.
  private static let mostTags = 4

  /// nil where the frame ends before its link header does, or has too many tags.
  init?(_ bytes: UnsafeMutableRawPointer, length: Int, isEthernet: Bool) {
    guard isEthernet else {
      etherType = 0x0800
      network = 0
      return
    }
    var offset = 12
    while offset + 2 <= min(length, 14 + 4 * Self.mostTags) {
      let type = bytes.number16(offset)
      guard type == 0x8100 || type == 0x88A8 || type == 0x9100 else {
        etherType = type
        network = offset + 2
        return
      }
      offset += 4
    }
    return nil
  }
}

/// An IPv4 header whose addresses were captured.
struct IPv4Layout {
  /// Offset of the header in the frame.
  let start: Int
  let headerLength: Int
  /// As stated.
  let totalLength: Int
  let ipProtocol: UInt8
  let isFirst: Bool
  let isFragment: Bool
  /// Offset of the transport header.
  var transport: Int { start + headerLength }
  /// Offset behind the datagram or behind what was captured of it.
  let end: Int

  /// nil where no IPv4 header of at least 20 bytes lies at `start`.
  init?(_ bytes: UnsafeMutableRawPointer, at start: Int, end limit: Int) {
    guard start + 20 <= limit else { return nil }
    let first = bytes.byte(start)
    guard first >> 4 == 4, first & 15 >= 5 else { return nil }
    self.start = start
    headerLength = Int(first & 15) * 4
    totalLength = Int(bytes.number16(start + 2))
    ipProtocol = bytes.byte(start + 9)
    let fragment = bytes.number16(start + 6)
    isFirst = fragment & 0x1FFF == 0
    isFragment = fragment & 0x3FFF != 0
    // A segment that the sender's device was to cut may state no length at all.
    end = totalLength >= headerLength ? min(limit, start + totalLength) : limit
  }

  /// An ICMP message that quotes the datagram it is about (RFC 792, RFC 1812 section 4.3.2).
  func isError(_ bytes: UnsafeMutableRawPointer) -> Bool {
    guard ipProtocol == 1, isFirst, transport + 8 <= end else { return false }
    switch bytes.byte(transport) {
    case 3, 4, 5, 11, 12: return true
    default: return false
    }
  }

  /// Offset of the checksum that covers the addresses by way of the pseudo-header, where it was captured.
  var addressChecksum: Int? {
    guard isFirst else { return nil }
    switch ipProtocol {
    case 6 where transport + 18 <= end: return transport + 16
    case 17 where transport + 8 <= end: return transport + 6
    default: return nil
    }
  }
}

extension UnsafeMutableRawPointer {
  func byte(_ offset: Int) -> UInt8 { load(fromByteOffset: offset, as: UInt8.self) }
  /// The number in host order.
  func number16(_ offset: Int) -> UInt16 { loadUnaligned(fromByteOffset: offset, as: UInt16.self).bigEndian }
  /// The bytes as they stand.
  func wire16(_ offset: Int) -> UInt16 { loadUnaligned(fromByteOffset: offset, as: UInt16.self) }
  /// The bytes as they stand.
  func wire32(_ offset: Int) -> UInt32 { loadUnaligned(fromByteOffset: offset, as: UInt32.self) }
  func setWire16(_ value: UInt16, at offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt16.self) }
  func setWire32(_ value: UInt32, at offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt32.self) }
}

/// A one's complement sum of changes to 16-bit words (RFC 1624), in the byte order of the packet (RFC 1071 section 2(B)).
struct ChecksumDelta {
  private var sum: UInt64 = 0

  mutating func add(_ old: UInt16, _ new: UInt16) {
    // No change adds nothing, not even -0, which would turn a checksum of 0xFFFF into 0.
    if old != new { sum += UInt64(~old) + UInt64(new) }
  }

  mutating func add(_ old: UInt32, _ new: UInt32) {
    add(UInt16(truncatingIfNeeded: old), UInt16(truncatingIfNeeded: new))
    add(UInt16(truncatingIfNeeded: old >> 16), UInt16(truncatingIfNeeded: new >> 16))
  }

  /// RFC 1624 equation 3: a wrong checksum stays wrong by the same difference.
  func applied(to checksum: UInt16) -> UInt16 { ~Self.fold(sum + UInt64(~checksum)) }

  /// For an unfinished sum, which is not complemented.
  func appliedToSum(_ unfinished: UInt16) -> UInt16 { Self.fold(sum + UInt64(unfinished)) }

  static func fold(_ sum: UInt64) -> UInt16 {
    var sum = sum
    while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
    return UInt16(sum)
  }
}
