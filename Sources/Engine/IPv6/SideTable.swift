/// The addresses of IPv6 sessions: a side line of 64 bytes for each session, 32 for each direction, source before
/// destination as they stand in the packet. Written before the session is published, and never changed. What a
/// direction's packets become are the other direction's addresses turned round.
///
///     offset  0  original  2 x 16 bytes
///            32  reply     2 x 16 bytes
///
/// The session's own lines hold a keyed digest of them in the place of IPv4's addresses. That finds a session; these
/// prove it. Side lines stand in the region only where some interface has IPv6, by the session's place: so none can
/// run out, and none has to be given back.
struct SideTable {
  static let bytes = 64

  /// First byte of the line of place 0; of no meaning where the region has none.
  let start: UnsafeMutableRawPointer

  @inline(__always)
  static func line(_ start: UnsafeMutableRawPointer, _ flow: UInt32) -> UnsafeMutableRawPointer {
    start + (Int(flow &>> 1) &* bytes &+ Int(flow & 1) &* 32)
  }

  /// Source and destination of a flow's packets.
  @inline(__always)
  func line(_ flow: UInt32) -> UnsafeMutableRawPointer { Self.line(start, flow) }

  func source(_ flow: UInt32) -> IPv6Address { IPv6Address(at: line(flow)) }
  func destination(_ flow: UInt32) -> IPv6Address { IPv6Address(at: line(flow) + 16) }

  /// True where a packet whose 32 address bytes are at `addresses` is the flow's.
  @inline(__always)
  static func matches(_ line: UnsafeMutableRawPointer, _ addresses: UnsafeMutableRawPointer) -> Bool {
    (line.raw64(0) ^ addresses.raw64(0)) | (line.raw64(8) ^ addresses.raw64(8))
      | (line.raw64(16) ^ addresses.raw64(16)) | (line.raw64(24) ^ addresses.raw64(24)) == 0
  }

  /// The same where `addresses` has destination before source.
  @inline(__always)
  static func isTurned(_ line: UnsafeMutableRawPointer, _ addresses: UnsafeMutableRawPointer) -> Bool {
    line.raw64(0) == addresses.raw64(16) && line.raw64(8) == addresses.raw64(24)
      && line.raw64(16) == addresses.raw64(0) && line.raw64(24) == addresses.raw64(8)
  }

  /// Notes a flow's addresses, as its packets come in.
  func fill(_ flow: UInt32, source: IPv6Address, destination: IPv6Address) {
    source.put(at: line(flow))
    destination.put(at: line(flow) + 16)
  }
}

extension FlowKey {
  /// Set in `rest` of an IPv6 key, whose `addresses` is a digest.
  static let isIPv6: UInt64 = 1 &<< 56

  @inline(__always)
  var isIPv6: Bool { rest & Self.isIPv6 != 0 }

  /// An IPv6 key. `ports` may carry `echoReply`.
  @inline(__always)
  init(digest: UInt64, ports: UInt64, scope: UInt16, ipProtocol: UInt8) {
    self.init(addresses: digest, ports: ports | Self.isIPv6, scope: scope, ipProtocol: ipProtocol)
  }
}

extension HashSecret {
  /// Of the 16 bytes of a source and of a destination.
  @inline(__always)
  func digest(_ source: UnsafeMutableRawPointer, _ destination: UnsafeMutableRawPointer) -> UInt64 {
    digest(source.raw64(0), source.raw64(8), destination.raw64(0), destination.raw64(8))
  }

  func digest(_ source: IPv6Address, _ destination: IPv6Address) -> UInt64 {
    digest(source.high.bigEndian, source.low.bigEndian, destination.high.bigEndian, destination.low.bigEndian)
  }

  /// Three multiplications, one of which mixes the two others; the key's hash mixes once more.
  @inline(__always)
  private func digest(_ s: UInt64, _ t: UInt64, _ u: UInt64, _ v: UInt64) -> UInt64 {
    let source = (s ^ a).multipliedFullWidth(by: t ^ b)
    let destination = (u ^ c).multipliedFullWidth(by: v ^ d)
    let both = (source.low ^ source.high ^ c).multipliedFullWidth(by: destination.low ^ destination.high ^ b)
    return both.low ^ both.high
  }
}
