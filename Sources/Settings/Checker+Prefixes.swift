import Engine

// `[[prefix-translation]]`: none by default. A function of the address alone (RFC 6296), so both prefixes have to be
// told from everything else that is configured.
extension Checker {
  mutating func readPrefixes(_ node: Node?) {
    var lines: [Int] = []
    for element in elements(of: node, name: "prefix-translation") {
      let part = SettingsFile.Part.prefix(plan.prefixes.count)
      guard
        let fields = fields(
          of: element, title: "[[prefix-translation]]", keys: ["on", "inside", "outside"], places: part)
      else { continue }
      let on = end(fields, "on", .outside)
      let inside = translated(fields, "inside", like: "\"fd01:203:405::/48\"")
      let outside = translated(fields, "outside", like: "\"2001:db8:1::/48\"")
      guard let on, let inside, let outside else { continue }
      if plan.mode == .alongside {
        fail(fields.place, "in mode \"alongside\" IPv6 is the host's; leave [[prefix-translation]] out")
      }
      if plan.interfaces[on].addresses6.isEmpty, notes[on].areAddressesKnown {
        let place = fields["on"]?.place ?? fields.place
        fail(place, "\(plan.interfaces[on].name) has no IPv6 address; add one to its address list")
      }
      if inside.prefix.length != outside.prefix.length {
        fail(
          outside.piece,
          "\(outside.prefix) is not as long as \(inside.prefix); write two prefixes of the same length")
      } else {
        checkClaims(PrefixPlan(interface: on, inside: inside.prefix, outside: outside.prefix), inside, outside, lines)
      }
      plan.prefixes.append(PrefixPlan(interface: on, inside: inside.prefix, outside: outside.prefix))
      lines.append(fields.place.line)
    }
  }

  /// `inside`, `outside`: required, a prefix of hosts' addresses that a subnet number follows.
  private mutating func translated(
    _ fields: Fields, _ key: String, like example: String
  ) -> (prefix: IPv6Prefix, piece: Piece)? {
    guard require(key, in: fields, "\(key) = \(example)"), let piece = string(fields, key, like: example) else {
      return nil
    }
    guard let prefix = IPv6Prefix(piece.text), piece.text.contains("/"), (1...64).contains(prefix.length),
      unusable(prefix.address) == nil, !prefix.address.isLinkLocal
    else {
      fail(piece, "\(quoted(piece.text)) is no IPv6 prefix of at most 64 bits; write it like \(key) = \(example)")
      return nil
    }
    guard prefix.address == prefix.network else {
      fail(piece, "\(prefix) has bits below its length; write \"\(prefix.networkPrefix)\"")
      return nil
    }
    return (prefix, piece)
  }

  /// An address is translated by one rule at most, and is nobody's on a link where that would hide it.
  private mutating func checkClaims(
    _ new: PrefixPlan, _ inside: (prefix: IPv6Prefix, piece: Piece), _ outside: (prefix: IPv6Prefix, piece: Piece),
    _ lines: [Int]
  ) {
    if new.inside.overlaps(new.outside) {
      return fail(outside.piece, "\(new.outside) overlaps inside = \(new.inside); write another prefix")
    }
    for (interface, note) in zip(plan.interfaces, notes) {
      for own in interface.addresses6 where own.overlaps(new.outside) {
        fail(
          outside.piece,
          "\(new.outside) overlaps \(own.networkPrefix) of interface \(interface.name); write a prefix that is routed to "
            + "this gateway")
      }
      for own in interface.addresses6 where note.role == .outside && own.overlaps(new.inside) {
        fail(
          inside.piece,
          "\(new.inside) overlaps \(own.networkPrefix) of interface \(interface.name), which is outside; write a prefix "
            + "of inside hosts")
      }
    }
    for (earlier, line) in zip(plan.prefixes, lines) {
      if earlier.interface == new.interface, earlier.inside.overlaps(new.inside) {
        fail(
          inside.piece,
          "\(new.inside) overlaps \(earlier.inside), which is translated already (line \(line)); write another prefix")
      }
      if earlier.outside.overlaps(new.outside) {
        fail(
          outside.piece,
          "\(new.outside) overlaps \(earlier.outside), which stands for another prefix (line \(line)); write another")
      }
      if earlier.outside.overlaps(new.inside) || earlier.inside.overlaps(new.outside) {
        fail(inside.piece, "what is inside here is outside in line \(line); write prefixes of either kind")
      }
    }
  }
}
