import Engine

/// The last bits of an address, as in "::10/-64": all but the first 64.
private struct Suffix {
  var address: IPv6Address
  /// How many bits come from elsewhere.
  var missing: UInt8
  /// The interface whose prefix they are.
  var zone: Piece?
}

// A target by its suffix: the provider may give another prefix, and the file stays as it is.
extension Checker {
  /// The address of a target, written whole or by its suffix; nil with an error. It may be one that no host can have.
  mutating func targetAddress6(_ piece: Piece) -> IPv6Address?? {
    guard piece.text.contains("/") else { return .some(IPv6Address(piece.text)) }
    guard let suffix = suffix(piece), let interface = suffixInterface(suffix, piece) else { return nil }
    // The first address that leaves those bits to its hosts.
    let own = prefixes(interface, suffix.missing)[0]
    let prefix = IPv6Prefix(own.address, length: suffix.missing).network
    return .some(IPv6Address(high: prefix.high | suffix.address.high, low: prefix.low | suffix.address.low))
  }

  private mutating func suffix(_ piece: Piece) -> Suffix? {
    let parts = piece.split(by: "/")
    let ends = parts[0].split(by: "%")
    guard parts.count == 2, ends.count <= 2, let address = IPv6Address(ends[0].text), parts[1].text.hasPrefix("-"),
      let missing = UInt8(parts[1].text.dropFirst()), (1...127).contains(missing)
    else {
      fail(piece, "\(quoted(piece.text)) is neither an address nor a suffix; write a suffix like \"::10/-64\"")
      return nil
    }
    guard IPv6Prefix(address, length: missing).network == IPv6Address(high: 0, low: 0) else {
      fail(
        ends[0], "\(address) has some of its first \(missing) bits, which are the interface's; write the rest")
      return nil
    }
    return Suffix(address: address, missing: missing, zone: ends.count == 2 ? ends[1] : nil)
  }

  /// An interface's addresses whose prefixes are no longer than that, in order.
  private func prefixes(_ interface: Int, _ length: UInt8) -> [IPv6Prefix] {
    plan.interfaces[interface].addresses6.filter { $0.length <= length && !$0.address.isLinkLocal }
  }

  /// The inside interface that a suffix is behind: the one named, else the only one that has such a prefix.
  private mutating func suffixInterface(_ suffix: Suffix, _ piece: Piece) -> Int? {
    let inside = plan.interfaces.indices.filter { notes[$0].role == .inside }
    let meant = suffix.zone.map { zone in inside.filter { plan.interfaces[$0].name == zone.text } } ?? inside
    if let zone = suffix.zone, meant.isEmpty {
      let names = inside.map { quoted(plan.interfaces[$0].name) }.joined(separator: " or ")
      fail(zone, "\(quoted(zone.text)) is no inside interface; write \(names)")
      return nil
    }
    let fitting = meant.filter { !prefixes($0, suffix.missing).isEmpty }
    if fitting.count == 1 { return fitting[0] }
    // "auto" is of IPv4 alone; where addresses are unknown otherwise, their mistake is told already.
    if fitting.isEmpty, let automatic = meant.first(where: { plan.interfaces[$0].isAutomatic }) {
      fail(
        piece,
        "interface \(plan.interfaces[automatic].name) follows its device's IPv4 addresses and so has no IPv6 prefix; "
          + "write out its addresses instead of \"auto\", or the whole address of the target")
      return nil
    }
    guard meant.allSatisfy({ notes[$0].areAddressesKnown || plan.interfaces[$0].isAutomatic }) else { return nil }
    if fitting.isEmpty {
      let whose = suffix.zone.map { "interface \($0.text) has" } ?? "no inside interface has"
      fail(
        piece,
        "\(whose) \(suffix.zone == nil ? "an" : "no") IPv6 address with a prefix of \(suffix.missing) bits or fewer; "
          + "add one to its address list")
    } else {
      let names = fitting.map { plan.interfaces[$0].name }
      fail(
        piece,
        "\(quoted(piece.text)) may be behind \(names.joined(separator: " or ")); write its interface behind it, like "
          + "\"\(suffix.address)%\(names[0])/-\(suffix.missing)\"")
    }
    return nil
  }
}
