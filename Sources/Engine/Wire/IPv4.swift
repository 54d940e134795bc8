/// IP protocol numbers that the engine knows.
enum IPProtocol {
  static let icmp: UInt8 = 1
  static let tcp: UInt8 = 6
  static let udp: UInt8 = 17
  static let dccp: UInt8 = 33
  static let udpLite: UInt8 = 136

  /// TCP, UDP, and ICMP with its identifiers.
  static func hasPorts(_ number: UInt8) -> Bool { number == tcp || number == udp || number == icmp }
  /// Their checksum covers the addresses, and we do not know where it stands.
  static func coversAddresses(_ number: UInt8) -> Bool { number == dccp || number == udpLite }
}

enum EtherType {
  static let ipv4: UInt16 = 0x0800
  static let arp: UInt16 = 0x0806
  static let ipv6: UInt16 = 0x86DD
  static let vlan: UInt16 = 0x8100
  static let serviceVLAN: UInt16 = 0x88A8
}

/// Byte offsets in an IPv4 header (RFC 791 section 3.1), and field access on a header that was checked.
struct IPv4Header {
  static let totalLengthOffset = 2
  static let identificationOffset = 4
  static let flagsOffset = 6
  static let ttlOffset = 8
  static let protocolOffset = 9
  static let checksumOffset = 10
  static let sourceOffset = 12
  static let destinationOffset = 16

  /// First byte of the header.
  let start: UnsafeMutableRawPointer

  @inline(__always)
  init(_ start: UnsafeMutableRawPointer) { self.start = start }

  @inline(__always)
  var length: Int { Int(start.byte(0) & 0x0F) &* 4 }
  @inline(__always)
  var totalLength: Int { Int(start.big16(Self.totalLengthOffset)) }
  @inline(__always)
  var ipProtocol: UInt8 { start.byte(Self.protocolOffset) }
  @inline(__always)
  var ttl: UInt8 { start.byte(Self.ttlOffset) }
  @inline(__always)
  var source: UInt32 { start.raw32(Self.sourceOffset) }
  @inline(__always)
  var destination: UInt32 { start.raw32(Self.destinationOffset) }
  @inline(__always)
  var dontFragment: Bool { start.byte(Self.flagsOffset) & 0x40 != 0 }
  /// More fragments, or an offset: one piece of a datagram.
  @inline(__always)
  var isFragment: Bool { start.raw16(Self.flagsOffset) & UInt16(0x3FFF).bigEndian != 0 }
  /// Raw.
  @inline(__always)
  var identification: UInt16 { start.raw16(Self.identificationOffset) }
  /// In units of 8 bytes.
  @inline(__always)
  var fragmentOffset: Int { Int(start.big16(Self.flagsOffset) & 0x1FFF) }
  @inline(__always)
  var moreFragments: Bool { start.byte(Self.flagsOffset) & 0x20 != 0 }

  /// The header's first byte behind the options: where the transport header starts.
  @inline(__always)
  var payload: UnsafeMutableRawPointer { start + length }

  /// Sets the header checksum from scratch.
  func finishChecksum() {
    start.putRaw(UInt16(0), Self.checksumOffset)
    start.putRaw(~Checksum.fold(Checksum.sum(start, count: length)), Self.checksumOffset)
  }

  /// Writes the whole 20-byte header of a datagram that we make: TOS 0, ID 0, DF 0, TTL 64.
  func write(totalLength: Int, ipProtocol: UInt8, source: UInt32, destination: UInt32) {
    start.putBig(UInt16(0x4500), 0)
    start.putBig(UInt16(truncatingIfNeeded: totalLength), 2)
    start.putRaw(UInt32(0), 4)
    start.put(64, Self.ttlOffset)
    start.put(ipProtocol, Self.protocolOffset)
    start.putRaw(source, Self.sourceOffset)
    start.putRaw(destination, Self.destinationOffset)
    finishChecksum()
  }

  /// What one hop takes from the checksum: the TTL is the high byte of its 16-bit word.
  @inline(__always)
  static var hopDelta: UInt16 { ~UInt16(0x0100).bigEndian }
}

/// Results of walking the options of an IPv4 header.
enum IPv4Options {
  case plain
  case sourceRoute
  case malformed

  /// Walks the options in bounds: a length of 0 or 1, or one that runs out of the header, ends the walk (RFC 1122 3.2.1.8).
  static func examine(_ header: IPv4Header) -> IPv4Options {
    var offset = 20
    let end = header.length
    while offset < end {
      let kind = header.start.byte(offset)
      if kind == 0 { return .plain }
      if kind == 1 {
        offset &+= 1
        continue
      }
      guard offset &+ 1 < end else { return .malformed }
      let length = Int(header.start.byte(offset &+ 1))
      guard length >= 2, offset &+ length <= end else { return .malformed }
      // 131 loose, 137 strict source route.
      if kind == 131 || kind == 137 { return .sourceRoute }
      offset &+= length
    }
    return .plain
  }
}

extension IPv4Header {
  /// What is wrong with a datagram as a piece of a larger one; true too for whole ones.
  ///
  /// A piece has bytes, in eights unless it is the last, and ends within the 65,535 that a datagram may have. A TCP
  /// header is never cut: what would be left to the next piece could rewrite it (RFC 1858 section 3, RFC 3128).
  var isSoundPiece: Bool {
    guard isFragment else { return true }
    let bytes = totalLength &- length
    guard bytes > 0, !moreFragments || bytes % 8 == 0, length &+ fragmentOffset &* 8 &+ bytes <= 65_535 else {
      return false
    }
    guard ipProtocol == IPProtocol.tcp else { return true }
    return fragmentOffset == 0 ? bytes >= TCPHeader.minimumLength : fragmentOffset > 2
  }

  /// Puts another identification (raw) in.
  func identify(_ new: UInt16) {
    let delta = Checksum.delta(identification, new)
    start.putRaw(new, Self.identificationOffset)
    start.putRaw(Checksum.adjust(start.raw16(Self.checksumOffset), by: delta), Self.checksumOffset)
  }

  /// Takes one from the TTL.
  @inline(__always)
  func takeHop() {
    start.put(ttl &- 1, Self.ttlOffset)
    start.putRaw(Checksum.adjust(start.raw16(Self.checksumOffset), by: Self.hopDelta), Self.checksumOffset)
  }
}
