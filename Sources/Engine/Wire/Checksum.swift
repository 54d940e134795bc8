/// One's complement arithmetic of the Internet checksum (RFC 1071) and its incremental form (RFC 1624).
///
/// All values are raw: as loaded from the packet in machine order.
enum Checksum {
  /// Adds the carries back in until 16 bits are left: of a sum and its halves exchanged, the upper half is the sum of
  /// both with the carry of the lower half added.
  @inline(__always)
  static func fold(_ sum: UInt32) -> UInt16 {
    UInt16(truncatingIfNeeded: (sum &+ (sum &<< 16 | sum &>> 16)) &>> 16)
  }

  @inline(__always)
  static func fold(_ sum: UInt64) -> UInt16 {
    fold(UInt32(truncatingIfNeeded: (sum &+ (sum &<< 32 | sum &>> 32)) &>> 32))
  }

  /// What changing the 16-bit field `old` to `new` adds to the sum: `~m + m'`. Zero, not -0, where nothing changes.
  @inline(__always)
  static func delta(_ old: UInt16, _ new: UInt16) -> UInt16 {
    old == new ? 0 : fold(UInt32(~old) &+ UInt32(new))
  }

  @inline(__always)
  static func delta(_ old: UInt32, _ new: UInt32) -> UInt16 {
    old == new ? 0 : fold(UInt64(~old) &+ UInt64(new))
  }

  @inline(__always)
  static func combine(_ a: UInt16, _ b: UInt16) -> UInt16 {
    let (sum, carry) = a.addingReportingOverflow(b)
    return sum &+ (carry ? 1 : 0)
  }

  /// The checksum after a change: RFC 1624 equation 3, `HC' = ~(~HC + ~m + m')`, never RFC 1141's form, which loses -0.
  /// It is computed as `HC - (~m + m')` with the borrow taken off at the other end, which gives the same 16 bits for all
  /// values and is two instructions.
  @inline(__always)
  static func adjust(_ checksum: UInt16, by delta: UInt16) -> UInt16 {
    let (difference, borrow) = checksum.subtractingReportingOverflow(delta)
    return difference &- (borrow ? 1 : 0)
  }

  /// The same for UDP, where zero means "none" and stays, and a computed zero is sent as 0xFFFF (RFC 768).
  @inline(__always)
  static func adjustUDP(_ checksum: UInt16, by delta: UInt16) -> UInt16 {
    if checksum == 0 { return 0 }
    let adjusted = adjust(checksum, by: delta)
    return adjusted == 0 ? 0xFFFF : adjusted
  }

  /// The unfinished sum of a CHECKSUM_PARTIAL frame: a pseudo-header sum, not complemented.
  @inline(__always)
  static func adjustPartial(_ sum: UInt16, by delta: UInt16) -> UInt16 { combine(sum, delta) }

  /// Sum of the bytes, an odd last one padded with zero; to be folded.
  static func sum(_ bytes: UnsafeMutableRawPointer, count: Int) -> UInt64 {
    var total: UInt64 = 0
    var offset = 0
    while offset &+ 4 <= count {
      total &+= UInt64(bytes.raw32(offset))
      offset &+= 4
    }
    if offset &+ 2 <= count {
      total &+= UInt64(bytes.raw16(offset))
      offset &+= 2
    }
    if offset < count { total &+= UInt64(UInt16(bytes.byte(offset)).littleEndian) }
    return total
  }

  /// True where the 20 bytes of an IPv4 header without options, which are not all zero, sum to -0.
  ///
  /// That is where 65535 divides the sum of their words, of any size. Let k = (2^64 - 1) / 65535. Then -k is the inverse of
  /// 65535 modulo 2^64, and 65535 divides s exactly where -k s is at most k (Granlund, Montgomery 1994, section 9): where
  /// k (s + 1) is, since k s + k wraps to k - (-k s).
  @inline(__always)
  static func isValidHeader20(_ ip: UnsafeMutableRawPointer) -> Bool {
    let (half, carry) = ip.raw64(0).addingReportingOverflow(ip.raw64(8))
    let (sum, last) = half.addingReportingOverflow(UInt64(ip.raw32(16)) &+ (carry ? 1 : 0))
    let k: UInt64 = 0x0001_0001_0001_0001
    return (sum &+ (last ? 2 : 1)) &* k <= k
  }

  /// The pseudo-header's sum for IPv4, `length` in bytes of header and payload, to be folded.
  @inline(__always)
  static func pseudoHeader(_ ip: UnsafeMutableRawPointer, ipProtocol: UInt8, length: Int) -> UInt64 {
    UInt64(ip.raw32(12)) &+ UInt64(ip.raw32(16)) &+ UInt64(UInt16(ipProtocol).bigEndian)
      &+ UInt64(UInt16(truncatingIfNeeded: length).bigEndian)
  }
}
