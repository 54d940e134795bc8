/// The Internet checksum from scratch (RFC 1071), the slow and plain way: the oracle for every incremental update.
package enum InternetChecksum {
  /// One's complement sum of big-endian words, folded to 16 bits; an odd last byte counts as the upper half of a word.
  package static func sum(_ bytes: some Sequence<UInt8>) -> UInt16 {
    var total: UInt64 = 0
    var isUpper = true
    for byte in bytes {
      total += isUpper ? UInt64(byte) << 8 : UInt64(byte)
      isUpper.toggle()
    }
    while total > 0xFFFF { total = total >> 16 + total & 0xFFFF }
    return UInt16(total)
  }

  /// The checksum to write into a field that holds zero in `bytes`.
  package static func of(_ bytes: some Sequence<UInt8>) -> UInt16 { ~sum(bytes) }

  /// The pseudo-header that TCP and UDP sum over (RFC 793 section 3.1, RFC 768).
  package static func pseudoHeader(from source: Host, to destination: Host, protocol number: UInt8, length: Int)
    -> [UInt8]
  {
    source.bytes + destination.bytes + [0, number] + big(UInt16(truncatingIfNeeded: length))
  }

  /// True where `bytes`, the checksum field included, sum to all ones.
  package static func isValid(_ bytes: some Sequence<UInt8>) -> Bool { sum(bytes) == 0xFFFF }
}
