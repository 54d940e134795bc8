/// An IPv6 address.
///
/// `high` and `low` are in host order, so that prefixes compare; the wire words are the same sixteen bytes loaded from a
/// packet as they stand, which is what the tables hold.
public struct IPv6Address: Hashable, Sendable, CustomStringConvertible {
  /// The first eight bytes: of 2001:db8::1 it is 0x2001_0DB8_0000_0000.
  public var high: UInt64
  public var low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The address at `pointer`.
  @inline(__always)
  init(at pointer: UnsafeMutableRawPointer) {
    high = pointer.raw64(0).bigEndian
    low = pointer.raw64(8).bigEndian
  }

  @inline(__always)
  func put(at pointer: UnsafeMutableRawPointer) {
    pointer.putRaw(high.bigEndian, 0)
    pointer.putRaw(low.bigEndian, 8)
  }

  static let unspecified = IPv6Address(high: 0, low: 0)
  /// ff02::1, every node of a link.
  static let allNodes = IPv6Address(high: 0xFF02 &<< 48, low: 1)

  /// The notation of RFC 4291 section 2.2, without a zone; nil for anything else.
  public init?(_ text: some StringProtocol) {
    guard let words = Self.words(text) else { return nil }
    high = words[0..<4].reduce(0) { $0 &<< 16 | UInt64($1) }
    low = words[4..<8].reduce(0) { $0 &<< 16 | UInt64($1) }
  }

  private static func words(_ text: some StringProtocol) -> [UInt16]? {
    guard text.utf8.count <= 45, !text.hasPrefix(":") || text.hasPrefix("::") else { return nil }
    guard !text.hasSuffix(":") || text.hasSuffix("::") else { return nil }
    var groups: [[UInt16]] = [[]]
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count >= 3 else { return nil }
    // The empty part before or after a leading or trailing "::" is no gap of its own.
    for (index, part) in parts.enumerated() {
      if part.isEmpty {
        if index == 0 || index == parts.count - 1 { continue }
        groups.append([])
      } else if index == parts.count - 1, part.contains(".") {
        guard let tail = IPv4Address(part) else { return nil }
        groups[groups.count - 1] += [UInt16(tail.value >> 16), UInt16(tail.value & 0xFFFF)]
      } else {
        guard part.utf8.count <= 4, part.utf8.allSatisfy({ isHexadecimal($0) }), let word = UInt16(part, radix: 16)
        else { return nil }
        groups[groups.count - 1].append(word)
      }
    }
    let count = groups.reduce(0) { $0 + $1.count }
    if groups.count == 1 { return count == 8 ? groups[0] : nil }
    guard groups.count == 2, count <= 7 else { return nil }
    return groups[0] + Array(repeating: 0, count: 8 - count) + groups[1]
  }

  private static func isHexadecimal(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...70).contains(byte) || (97...102).contains(byte)
  }

  /// The canonical form of RFC 5952.
  public var description: String {
    withUnsafeTemporaryAllocation(byteCount: Self.longestText, alignment: 1) { bytes in
      let count = write(to: bytes.baseAddress!)
      return String(decoding: bytes[..<count], as: UTF8.self)
    }
  }

  /// Bytes of the longest text.
  static let longestText = 39

  /// Writes the canonical form; returns how many bytes it takes.
  func write(to bytes: UnsafeMutableRawPointer) -> Int {
    let gap = longestGap
    var at = 0
    func put(_ byte: UInt8) {
      bytes.put(byte, at)
      at &+= 1
    }
    var index = 0
    while index < 8 {
      if !gap.isEmpty, index == gap.lowerBound {
        put(UInt8(ascii: ":"))
        put(UInt8(ascii: ":"))
        index = gap.upperBound
        continue
      }
      if index > 0, index != gap.upperBound { put(UInt8(ascii: ":")) }
      let word = word(index)
      var shift: UInt16 = 12
      while shift > 0, word &>> shift == 0 { shift &-= 4 }
      while true {
        let digit = UInt8(truncatingIfNeeded: word &>> shift & 0xF)
        put(digit < 10 ? UInt8(ascii: "0") &+ digit : UInt8(ascii: "a") &+ digit &- 10)
        if shift == 0 { break }
        shift &-= 4
      }
      index &+= 1
    }
    return at
  }

  /// The words that "::" stands for: of the longest runs of zeros the first, where it is more than one.
  private var longestGap: Range<Int> {
    var best = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, word(end) == 0 { end &+= 1 }
      if end &- start > max(best.count, 1) { best = start..<end }
      start = max(end, start &+ 1)
    }
    return best
  }

  private func word(_ index: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: (index < 4 ? high : low) &>> UInt64(48 &- 16 &* (index & 3)))
  }
}

// What an address is for (RFC 4291 section 2.4).
extension IPv6Address {
  /// fe80::/10: the same on every link, and never forwarded.
  public var isLinkLocal: Bool { high &>> 54 == 0xFE80 &>> 6 }
  /// ff00::/8.
  public var isMulticast: Bool { high &>> 56 == 0xFF }
  /// ::ffff:0:0/96, which is IPv4 inside a host and on no wire.
  var isMapped: Bool { high == 0 && low &>> 32 == 0xFFFF }

  /// The group of all nodes with an address that ends in the same 24 bits (RFC 4291 section 2.7.1).
  var solicitedNode: IPv6Address { IPv6Address(high: 0xFF02 &<< 48, low: 0x1_FF00_0000 | low & 0xFF_FFFF) }

  /// The Ethernet address of a group (RFC 2464 section 7).
  public var groupMAC: MACAddress { MACAddress(0x3333_0000_0000 | low & 0xFFFF_FFFF) }

  /// The link-local address that an Ethernet interface has by its MAC (RFC 4291 appendix A, RFC 2464 section 5).
  static func linkLocal(of mac: MACAddress) -> IPv6Address {
    let identifier = (mac.value &>> 24) &<< 40 | 0xFF_FE00_0000 | mac.value & 0xFF_FFFF
    return IPv6Address(high: 0xFE80 &<< 48, low: identifier ^ 0x0200_0000_0000_0000)
  }
}

/// An IPv6 prefix, or an interface's address with its prefix length: the host bits are kept.
public struct IPv6Prefix: Hashable, Sendable, CustomStringConvertible {
  /// The address as written, host bits included.
  public var address: IPv6Address
  /// Prefix length in bits, 0...128.
  public var length: UInt8

  public init(_ address: IPv6Address, length: UInt8) {
    self.address = address
    self.length = min(length, 128)
  }

  /// `ADDRESS/LENGTH`, or `ADDRESS` for a single host; nil for anything else.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let address = IPv6Address(parts[0]) else { return nil }
    guard parts.count == 2 else {
      self.init(address, length: 128)
      return
    }
    guard (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (48...57).contains($0) }),
      let length = UInt8(parts[1]), length <= 128
    else { return nil }
    self.init(address, length: length)
  }

  /// Both words of the network mask in host order.
  @inline(__always)
  private var masks: (high: UInt64, low: UInt64) {
    let bits = UInt64(length)
    return (bits == 0 ? 0 : ~0 &<< (64 &- min(bits, 64)), bits <= 64 ? 0 : ~0 &<< (128 &- bits))
  }

  /// The first address of the prefix.
  public var network: IPv6Address { IPv6Address(high: address.high & masks.high, low: address.low & masks.low) }

  /// The same prefix without host bits.
  public var networkPrefix: IPv6Prefix { IPv6Prefix(network, length: length) }

  public func contains(_ other: IPv6Address) -> Bool {
    let masks = masks
    return (address.high ^ other.high) & masks.high == 0 && (address.low ^ other.low) & masks.low == 0
  }

  /// True if one of the two holds the other.
  public func overlaps(_ other: IPv6Prefix) -> Bool {
    length <= other.length ? contains(other.address) : other.contains(address)
  }

  public var description: String { "\(address)/\(length)" }
}
