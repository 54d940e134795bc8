/// Byte offsets in an IPv6 header (RFC 8200 section 3), and field access on a header that is there as a whole.
struct IPv6Header {
  static let length = 40
  static let payloadLengthOffset = 4
  static let nextHeaderOffset = 6
  static let hopLimitOffset = 7
  static let sourceOffset = 8
  static let destinationOffset = 24

  /// First byte of the header.
  let start: UnsafeMutableRawPointer

  @inline(__always)
  init(_ start: UnsafeMutableRawPointer) { self.start = start }

  @inline(__always)
  var isVersion6: Bool { start.byte(0) &>> 4 == 6 }
  /// Bytes of the datagram, as the header says. A jumbogram, which says 0, has none.
  @inline(__always)
  var totalLength: Int { Self.length &+ Int(start.big16(Self.payloadLengthOffset)) }
  @inline(__always)
  var hopLimit: UInt8 { start.byte(Self.hopLimitOffset) }
  var source: IPv6Address { IPv6Address(at: start + Self.sourceOffset) }
  var destination: IPv6Address { IPv6Address(at: start + Self.destinationOffset) }

  /// Takes one from the hop limit, which no checksum covers.
  @inline(__always)
  func takeHop() { start.put(hopLimit &- 1, Self.hopLimitOffset) }

  /// Writes the whole header of a datagram that we make: traffic class and flow label 0.
  func write(
    payloadLength: Int, nextHeader: UInt8, hopLimit: UInt8, source: IPv6Address, destination: IPv6Address
  ) {
    start.putBig(UInt32(0x6000_0000), 0)
    start.putBig(UInt16(truncatingIfNeeded: payloadLength), Self.payloadLengthOffset)
    start.put(nextHeader, Self.nextHeaderOffset)
    start.put(hopLimit, Self.hopLimitOffset)
    source.put(at: start + Self.sourceOffset)
    destination.put(at: start + Self.destinationOffset)
  }

  /// The pseudo-header's sum (RFC 8200 section 8.1), to be folded.
  func pseudoHeader(ipProtocol: UInt8, length: Int) -> UInt64 {
    Checksum.sum(start + Self.sourceOffset, count: 32) &+ UInt64(UInt16(ipProtocol).bigEndian)
      &+ UInt64(UInt16(truncatingIfNeeded: length).bigEndian)
  }
}

/// What stands between an IPv6 header and its transport, walked within bounds: whatever the bytes are, the walk ends after
/// eight headers, 256 bytes or the datagram, whichever comes first (REQUIREMENTS V4).
struct IPv6Chain {
  static let most = 8
  static let mostBytes = 256

  static let hopByHop: UInt8 = 0
  static let routing: UInt8 = 43
  static let fragmentHeader: UInt8 = 44
  static let authentication: UInt8 = 51
  static let noNext: UInt8 = 59
  static let destinationOptions: UInt8 = 60

  /// Of the first header that is no extension, or that we do not know.
  private(set) var ipProtocol: UInt8
  /// Where that begins, from the IPv6 header's first byte.
  private(set) var offset = IPv6Header.length
  /// Where the fragment header begins; 0 for none.
  private(set) var fragment = 0
  /// In units of 8 bytes.
  private(set) var fragmentOffset = 0
  private(set) var moreFragments = false
  /// Where a routing header with segments left has the address that the datagram ends at; 0 for none.
  private(set) var finalDestination = 0
  /// What is wrong with it; `none` where nothing is.
  private(set) var flaw = DropReason.none

  /// One piece of a datagram. A fragment header on a whole one says nothing (RFC 6946).
  var isFragment: Bool { fragmentOffset != 0 || moreFragments }

  /// - Parameter length: bytes that are there from the header on, at least 40.
  init(_ ip: UnsafeMutableRawPointer, length: Int) {
    ipProtocol = ip.byte(IPv6Header.nextHeaderOffset)
    var count = 0
    while flaw == .none, fragmentOffset == 0, let size = sizeOfExtension(ip, length: length) {
      count &+= 1
      // Hop-by-hop options stand first or not at all (RFC 8200 section 4.1).
      guard offset &+ size <= length, count <= Self.most, offset &+ size <= IPv6Header.length &+ Self.mostBytes,
        ipProtocol != Self.hopByHop || count == 1
      else {
        fail()
        return
      }
      if ipProtocol == Self.routing {
        guard ip.byte(offset &+ 2) != 0 else {
          // Type 0 sends a packet to and fro between two routers as often as it likes (RFC 5095).
          flaw = .sourceRoute
          return
        }
        // Mobility has one address there (RFC 6275 section 6.4), segment routing the last first (RFC 8754 section 2).
        if ip.byte(offset &+ 3) != 0, size >= 24 { finalDestination = offset &+ 8 }
      }
      if ipProtocol == Self.fragmentHeader { readFragment(ip, length: length) }
      ipProtocol = ip.byte(offset)
      offset &+= size
    }
  }

  /// Bytes of the extension header at `offset`; nil where there is none. Too short a datagram makes the size one that
  /// does not fit.
  private func sizeOfExtension(_ ip: UnsafeMutableRawPointer, length: Int) -> Int? {
    switch ipProtocol {
    case Self.fragmentHeader: 8
    case Self.hopByHop, Self.routing, Self.destinationOptions:
      offset &+ 8 <= length ? Int(ip.byte(offset &+ 1)) &* 8 &+ 8 : 8
    case Self.authentication: offset &+ 8 <= length ? Int(ip.byte(offset &+ 1)) &* 4 &+ 8 : 8
    default: nil
    }
  }

  private mutating func readFragment(_ ip: UnsafeMutableRawPointer, length: Int) {
    // A second one would make ports that are not those of the datagram (CVE-2023-4809).
    guard fragment == 0 else { return fail() }
    fragment = offset
    let word = ip.big16(offset &+ 2)
    fragmentOffset = Int(word &>> 3)
    moreFragments = word & 1 != 0
    let bytes = length &- offset &- 8
    // Pieces come in eights but for the last, and end within what a datagram may have.
    if isFragment, bytes <= 0 || moreFragments && bytes % 8 != 0 || fragmentOffset &* 8 &+ bytes > 65_535 {
      flaw = .malformedFragment
    }
  }

  /// In a first piece the chain must be whole (RFC 7112).
  private mutating func fail() { flaw = isFragment ? .malformedFragment : .malformedIPv6 }
}

enum ICMPv6 {
  static let number: UInt8 = 58
  static let unreachable: UInt8 = 1
  static let packetTooBig: UInt8 = 2
  static let timeExceeded: UInt8 = 3
  static let parameterProblem: UInt8 = 4
  static let echoRequest: UInt8 = 128
  static let echoReply: UInt8 = 129
  static let neighborSolicitation: UInt8 = 135
  static let neighborAdvertisement: UInt8 = 136
  /// Router solicitation to redirect (RFC 4861 section 4): never leave their link.
  static let discovery: ClosedRange<UInt8> = 133...137
}
