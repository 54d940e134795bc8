/// An IPv4 address.
///
/// `value` is in host order, so that prefixes compare and ranges count; `wire` is the same address as four bytes
/// loaded from a packet, which is what the tables hold.
public struct IPv4Address: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// The address in host byte order: 192.0.2.1 is 0xC000_0201.
  public var value: UInt32

  public init(_ value: UInt32) { self.value = value }

  /// The address made of the four bytes of dotted notation.
  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    value = UInt32(a) &<< 24 | UInt32(b) &<< 16 | UInt32(c) &<< 8 | UInt32(d)
  }

  /// The address whose four bytes, loaded as they stand in a packet, are `wire`.
  @inline(__always)
  public init(wire: UInt32) { value = UInt32(bigEndian: wire) }

  /// The address as its four packet bytes loaded in machine order.
  @inline(__always)
  public var wire: UInt32 { value.bigEndian }

  /// Dotted decimal, strictly four numbers without leading zeros; nil for anything else.
  public init?(_ text: some StringProtocol) {
    var value: UInt32 = 0
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    for part in parts {
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (48...57).contains($0) }),
        part.utf8.count == 1 || part.utf8.first != 48, let byte = UInt8(part)
      else { return nil }
      value = value &<< 8 | UInt32(byte)
    }
    self.value = value
  }

  public var description: String { "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)" }

  public static func < (left: Self, right: Self) -> Bool { left.value < right.value }
}

/// An IPv4 prefix, or an interface's address with its prefix length: the host bits are kept.
public struct IPv4Prefix: Hashable, Sendable, CustomStringConvertible {
  /// The address as written, host bits included.
  public var address: IPv4Address
  /// Prefix length in bits, 0...32.
  public var length: UInt8

  public init(_ address: IPv4Address, length: UInt8) {
    self.address = address
    self.length = min(length, 32)
  }

  /// `a.b.c.d/n`, or `a.b.c.d` for a single host; nil for anything else.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let address = IPv4Address(parts[0]) else { return nil }
    guard parts.count == 2 else {
      self.init(address, length: 32)
      return
    }
    guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let length = UInt8(parts[1]), length <= 32 else {
      return nil
    }
    self.init(address, length: length)
  }

  /// The network mask in host order.
  @inline(__always)
  public var mask: UInt32 { length == 0 ? 0 : ~UInt32(0) &<< (32 &- UInt32(length)) }

  /// The first address of the prefix.
  public var network: IPv4Address { IPv4Address(address.value & mask) }

  /// The last address of the prefix: its directed broadcast where `length` is at most 30.
  public var last: IPv4Address { IPv4Address(address.value | ~mask) }

  @inline(__always)
  public func contains(_ other: IPv4Address) -> Bool { (other.value ^ address.value) & mask == 0 }

  public var description: String { "\(address)/\(length)" }
}

/// An Ethernet address: six bytes, the first on the wire in the highest of the low 48 bits.
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
  /// The address as a number: 02:00:00:00:01:01 is 0x0200_0000_0101.
  public var value: UInt64

  public init(_ value: UInt64) { self.value = value & 0xFFFF_FFFF_FFFF }

  /// Six pairs of hexadecimal digits with colons between; nil for anything else.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var value: UInt64 = 0
    for part in parts {
      guard part.utf8.count == 2, part.allSatisfy(\.isHexDigit), let byte = UInt8(part, radix: 16) else { return nil }
      value = value &<< 8 | UInt64(byte)
    }
    self.value = value
  }

  public static let broadcast = MACAddress(0xFFFF_FFFF_FFFF)

  /// The group bit: multicast or broadcast.
  public var isGroup: Bool { value >> 40 & 1 == 1 }

  public var description: String {
    (0..<6).map { index in
      let byte = UInt8(truncatingIfNeeded: value &>> (40 &- 8 &* UInt64(index)))
      return (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined(separator: ":")
  }
}
