import Engine

/// One `--map OLD=NEW`: addresses of OLD become addresses of NEW.
public struct AddressRule: Hashable, Sendable {
  /// What is replaced.
  public var old: IPv4Prefix
  /// What takes its place: a prefix of the same length (the host bits stay), or one address for all of `old`.
  public var new: IPv4Prefix

  /// Why a text is no rule.
  public struct Mistake: Error, CustomStringConvertible {
    /// What is wrong, and what would be right.
    public var description: String
  }

  /// Reads `OLD=NEW`, each an IPv4 address or prefix.
  public init(_ text: String) throws(Mistake) {
    let sides = text.split(separator: "=", omittingEmptySubsequences: false)
    guard sides.count == 2, let old = IPv4Prefix(sides[0]), let new = IPv4Prefix(sides[1]) else {
      throw Mistake(
        description: "\"\(text)\" is not OLD=NEW, two IPv4 addresses or prefixes (10.0.0.0/8=192.168.0.0/8)")
    }
    guard old.length == new.length || !sides[1].contains("/") else {
      throw Mistake(
        description: "\"\(text)\": both prefixes need the same length, or NEW is a single address for all of OLD")
    }
    self.old = old
    self.new = new
  }

  /// The rule as one masked comparison and one masked replacement, in packet byte order.
  struct Compiled {
    let network: UInt32
    let mask: UInt32
    let base: UInt32
    /// The bits of the old address that stay.
    let kept: UInt32

    init(_ rule: AddressRule) {
      network = rule.old.network.wire
      mask = IPv4Address(rule.old.mask).wire
      base = IPv4Address(rule.new.address.value & rule.new.mask).wire
      kept = ~IPv4Address(rule.new.mask).wire
    }
  }
}

/// All rules of a replay; the first that matches an address wins.
struct AddressMap {
  private let rules: ContiguousArray<AddressRule.Compiled>

  init(_ rules: [AddressRule]) { self.rules = ContiguousArray(rules.map(AddressRule.Compiled.init)) }

  /// The address, loaded as it stands in the packet, after the first rule that matches it.
  func callAsFunction(_ wire: UInt32) -> UInt32 {
    for rule in rules where wire & rule.mask == rule.network { return rule.base | wire & rule.kept }
    return wire
  }
}
