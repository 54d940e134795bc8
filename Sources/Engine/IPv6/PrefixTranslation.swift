/// A `[[prefix-translation]]`: what inside hosts are known as outside, prefix for prefix (RFC 6296, NPTv6).
public struct PrefixPlan: Sendable, Equatable {
  /// The outside interface at which it is done.
  public var interface: Int
  /// As long as `outside`, at most 64 bits both.
  public var inside: IPv6Prefix
  public var outside: IPv6Prefix

  public init(interface: Int, inside: IPv6Prefix, outside: IPv6Prefix) {
    self.interface = interface
    self.inside = inside
    self.outside = outside
  }
}

/// The arithmetic of one: a function of the address alone, and its inverse. What the prefix changes in the one's
/// complement sum of an address, one other word takes back, so that no checksum that covers addresses changes.
struct PrefixRule {
  let interface: Int
  let inside: IPv6Prefix
  let outside: IPv6Prefix
  /// What goes to the word on the way out, and on the way in.
  private let outward: UInt16
  private let inward: UInt16

  init(_ plan: PrefixPlan) {
    interface = plan.interface
    inside = plan.inside.networkPrefix
    outside = plan.outside.networkPrefix
    outward = Checksum.delta(outside.network.sum, inside.network.sum)
    inward = Checksum.delta(inside.network.sum, outside.network.sum)
  }

  /// What an inside address is outside; nil where it is nothing.
  func outside(of address: IPv6Address) -> IPv6Address? { exchange(address, outside, outward) }
  /// What an outside address is inside.
  func inside(of address: IPv6Address) -> IPv6Address? { exchange(address, inside, inward) }

  private func exchange(_ address: IPv6Address, _ prefix: IPv6Prefix, _ delta: UInt16) -> IPv6Address? {
    guard let index = adjusted(address) else { return nil }
    var new = prefix.network.filled(from: address, behind: prefix.length)
    let word = Checksum.combine(new[index], delta)
    // Two words stand for zero, and only one of them is ever written (RFC 6296 section 3.2).
    new[index] = word == 0xFFFF ? 0 : word
    return new
  }

  /// The word that takes the difference: the subnet's where prefixes have 48 bits at most (RFC 6296 section 3.4), else
  /// the first of the interface identifier that is not 0xffff (section 3.5); nil where there is none.
  private func adjusted(_ address: IPv6Address) -> Int? {
    let words = inside.length <= 48 ? 3..<4 : 4..<8
    return words.first { address[$0] != 0xFFFF }
  }
}

extension IPv6Address {
  /// One of the eight words, in host order.
  fileprivate subscript(word: Int) -> UInt16 {
    get { UInt16(truncatingIfNeeded: (word < 4 ? high : low) &>> Self.shift(word)) }
    set {
      let (cleared, bits) = (~(UInt64(0xFFFF) &<< Self.shift(word)), UInt64(newValue) &<< Self.shift(word))
      if word < 4 { high = high & cleared | bits } else { low = low & cleared | bits }
    }
  }

  private static func shift(_ word: Int) -> UInt64 { UInt64(48 &- 16 &* (word & 3)) }

  /// One's complement sum of the words.
  fileprivate var sum: UInt16 { Checksum.combine(Checksum.fold(high), Checksum.fold(low)) }

  /// This prefix of `length` bits, at most 64, with the rest of another address behind it.
  fileprivate func filled(from other: IPv6Address, behind length: UInt8) -> IPv6Address {
    let mask: UInt64 = length >= 64 ? 0 : ~0 &>> UInt64(length)
    return IPv6Address(high: high & ~mask | other.high & mask, low: other.low)
  }
}

extension Rules {
  /// An address that is seen inside alone.
  func isTranslated(_ address: IPv6Address) -> Bool { prefixes.contains { $0.inside.contains(address) } }

  /// The translation that an outside address is of.
  func prefix(outside address: IPv6Address) -> PrefixRule? { prefixes.first { $0.outside.contains(address) } }

  /// What a source inside is known as beyond an outside interface: itself, unless it is of a prefix that stays inside.
  /// nil where it must not leave.
  func outsideSource(_ source: IPv6Address, over interface: Int) -> IPv6Address? {
    guard let rule = prefixes.first(where: { $0.interface == interface && $0.inside.contains(source) }) else {
      return isTranslated(source) ? nil : source
    }
    return rule.outside(of: source)
  }
}
