import Engine

extension Checker {
  /// `address`: required; IPv4 and IPv6 addresses with their prefix lengths, or "auto".
  ///
  /// - Returns: false if the addresses are not known: automatic, or wrong.
  mutating func readAddresses(_ fields: Fields, into interface: inout InterfacePlan, _ note: inout InterfaceNotes)
    -> Bool
  {
    let example = "[\"192.168.1.1/24\"]"
    guard require("address", in: fields, "address = \(example), or address = \"auto\""),
      let pieces = strings(fields, "address", like: example)
    else { return false }
    if let auto = pieces.first(where: { $0.text == "auto" }) {
      interface.isAutomatic = true
      if purpose == .replay {
        fail(auto, "\"auto\" follows a device and replay has none; write the addresses, like address = \(example)")
      } else if pieces.count > 1 {
        fail(auto, "\"auto\" stands beside addresses; write address = \"auto\" alone, or only addresses")
      }
      return false
    }
    if pieces.isEmpty, let node = fields["address"] {
      fail(node, "address is empty; write it like address = \(example)")
    }
    var isGood = !pieces.isEmpty
    for piece in pieces {
      if let address = hostAddress(piece) {
        interface.addresses.append(address)
        note.addresses.append(piece)
      } else if let address = hostAddress6(piece) {
        interface.addresses6.append(address)
        note.addresses6.append(piece)
      } else {
        isGood = false
      }
    }
    return isGood
  }

  /// An interface's own IPv4 address; nil for IPv6 too, which says nothing. A wrong host inside a good prefix is said
  /// to be wrong and taken, so that what else lies outside the prefix is found as well.
  private mutating func hostAddress(_ piece: Piece) -> IPv4Prefix? {
    if piece.text.contains(":") { return nil }
    guard piece.text.contains("/"), let prefix = IPv4Prefix(piece.text), prefix.length > 0 else {
      let hint =
        IPv4Address(piece.text) != nil
        ? "add the length of its prefix, like \"\(piece.text)/24\"" : "write it like \"192.168.1.1/24\""
      fail(piece, "\(quoted(piece.text)) is no address with a prefix length of 1 to 32; \(hint)")
      return nil
    }
    if let what = unusable(prefix.address) {
      fail(piece, "\(prefix.address) is \(what); write a host's address, like \"192.168.1.1/24\"")
    } else if prefix.length <= 30, prefix.address == prefix.network || prefix.address == prefix.last {
      // RFC 3021: a /31 has two hosts and nothing else; a /32 is its host.
      let what = prefix.address == prefix.network ? "network" : "broadcast"
      let range = "\(IPv4Address(prefix.network.value + 1)) to \(IPv4Address(prefix.last.value - 1))"
      fail(piece, "\(prefix.address) is the \(what) address of \(prefix.networkPrefix); write a host's, \(range)")
    }
    return prefix
  }

  private mutating func hostAddress6(_ piece: Piece) -> IPv6Prefix? {
    guard piece.text.contains(":") else { return nil }
    guard piece.text.contains("/"), let prefix = IPv6Prefix(piece.text), prefix.length > 0,
      unusable(prefix.address) == nil
    else {
      fail(
        piece, "\(quoted(piece.text)) is no host's IPv6 address with a prefix length; write it like \"2001:db8::1/64\"")
      return nil
    }
    // RFC 4291 section 2.6.1: the routers of a link share its first address; RFC 6164: two on a /127 do not.
    if prefix.length < 127, prefix.address == prefix.network {
      fail(
        piece, "\(prefix.address) is the address of all routers in \(prefix); write a host's, like \(prefix.address)1")
      return nil
    }
    return prefix
  }

  /// `gateway`: none by default; one address or a list, each inside a prefix of this interface (see `checkGateways`).
  mutating func readGateways(_ fields: Fields, into interface: inout InterfacePlan, _ note: inout InterfaceNotes) {
    guard fields["gateway"] != nil else { return }
    guard let pieces = strings(fields, "gateway", like: "[\"203.0.113.254\"]") else {
      areRoutesKnown = false
      return
    }
    for piece in pieces {
      if let address = IPv4Address(piece.text) {
        interface.gateways.append(address)
        note.gateways.append(piece)
      } else if let address = IPv6Address(piece.text), unusable(address) == nil {
        interface.gateways6.append(address)
        note.gateways6.append(piece)
      } else {
        areRoutesKnown = false
        fail(piece, "\(quoted(piece.text)) is no address; write the router's, like gateway = [\"203.0.113.254\"]")
      }
    }
  }

  /// A packet's source or destination says where it belongs only if no two interfaces claim the same addresses
  /// (RFC 4787 REQ-7 lets a translator refuse what it cannot tell apart).
  mutating func checkPrefixes() {
    var earlier: [(prefix: IPv4Prefix, interface: Int)] = []
    var earlier6: [(prefix: IPv6Prefix, interface: Int)] = []
    for (index, interface) in plan.interfaces.enumerated() {
      for (prefix, piece) in zip(interface.addresses, notes[index].addresses) {
        if earlier.contains(where: { $0.interface == index && $0.prefix.address == prefix.address }) {
          fail(piece, "\(prefix.address) is listed twice; list each address once")
        } else if let other = earlier.first(where: { $0.interface != index && $0.prefix.overlaps(prefix) }) {
          let name = plan.interfaces[other.interface].name
          let what =
            other.prefix.address == prefix.address
            ? "address \(prefix.address) is also" : "\(prefix.networkPrefix) overlaps \(other.prefix.networkPrefix),"
          let line = notes[other.interface].header.line
          fail(piece, "\(what) interface \(name)'s (line \(line)); give each interface a prefix of its own")
        }
        earlier.append((prefix, index))
      }
      for (prefix, piece) in zip(interface.addresses6, notes[index].addresses6) where !prefix.address.isLinkLocal {
        if earlier6.contains(where: { $0.interface == index && $0.prefix.address == prefix.address }) {
          fail(piece, "\(prefix.address) is listed twice; list each address once")
        } else if let other = earlier6.first(where: { $0.interface != index && $0.prefix.overlaps(prefix) }) {
          let name = plan.interfaces[other.interface].name
          fail(piece, "\(quoted(piece.text)) overlaps a prefix of interface \(name); give each a prefix of its own")
        }
        earlier6.append((prefix, index))
      }
    }
  }

  /// A gateway is a neighbour: inside a prefix of its interface, and somebody else.
  mutating func checkGateways() {
    for (index, interface) in plan.interfaces.enumerated() where notes[index].areAddressesKnown {
      for (gateway, piece) in zip(interface.gateways, notes[index].gateways) {
        _ = neighborInterface(gateway, piece, "gateway", only: index)
      }
      for (gateway, piece) in zip(interface.gateways6, notes[index].gateways6) {
        _ = neighborInterface6(gateway, piece, "gateway", only: index)
      }
    }
  }

  /// The interface that has `address` on its link, where a host other than ourselves may live.
  ///
  /// - Parameters:
  ///   - what: what the address is for, in messages.
  ///   - only: the one interface that may hold it; nil: any.
  /// - Returns: nil with an error; nil without one if the interface cannot be known.
  mutating func neighborInterface(_ address: IPv4Address, _ piece: Piece, _ what: String, only: Int? = nil) -> Int? {
    let candidates = only.map { [$0] } ?? Array(plan.interfaces.indices)
    for index in candidates {
      guard let own = plan.interfaces[index].addresses.first(where: { $0.contains(address) }) else { continue }
      let name = plan.interfaces[index].name
      if plan.interfaces[index].addresses.contains(where: { $0.address == address }) {
        fail(
          piece,
          "\(what) \(address) is \(name)'s own address; write the address of another host on \(own.networkPrefix)")
        return nil
      }
      if own.length <= 30, address == own.network || address == own.last {
        fail(piece, "\(what) \(address) is the network or broadcast address of \(own.networkPrefix); write a host's")
        return nil
      }
      return index
    }
    let unknown = candidates.filter { !notes[$0].areAddressesKnown }
    if let first = unknown.first {
      // Automatic addresses come later; with one such interface there is no doubt whose prefix it will be.
      if unknown.count == 1 { return first }
      if unknown.allSatisfy({ plan.interfaces[$0].isAutomatic }) {
        let names = unknown.map { plan.interfaces[$0].name }.joined(separator: ", ")
        fail(
          piece, "\(what) \(address) may be on any of \(names), whose addresses are \"auto\"; write out their addresses"
        )
      }
      return nil
    }
    let list = candidates.flatMap { plan.interfaces[$0].addresses.map(\.networkPrefix.description) }
    failOutside(piece, "\(what) \(address)", of: list, "IPv4", only: only)
    return nil
  }

  /// An address that is on no link.
  ///
  /// - Parameters:
  ///   - prefixes: that it could be in, as they are shown.
  ///   - only: the interface that it has to be on; nil for any.
  mutating func failOutside(_ piece: Piece, _ address: String, of prefixes: [String], _ family: String, only: Int?) {
    let shown = prefixes.prefix(6).joined(separator: ", ") + (prefixes.count > 6 ? ", ..." : "")
    let whose = only.map { "every prefix of interface \(plan.interfaces[$0].name)" } ?? "every interface"
    let hint = prefixes.isEmpty ? "which has no \(family) address; add one" : "write an address inside \(shown)"
    fail(piece, "\(address) is outside \(whose); \(hint)")
  }

  /// The interface that has this address itself.
  func owner(of address: IPv4Address) -> Int? {
    plan.interfaces.firstIndex { $0.addresses.contains { $0.address == address } }
  }

  /// What an address that no host can have is; nil for a host's.
  func unusable(_ address: IPv4Address) -> String? {
    switch address.value >> 24 {
    case 0: "in 0.0.0.0/8, which means this network"
    case 127: "a loopback address"
    case 224...239: "a multicast address"
    case 240...255: "a reserved address"
    default: nil
    }
  }
}

extension IPv4Prefix {
  /// The same prefix without host bits.
  var networkPrefix: IPv4Prefix { IPv4Prefix(network, length: length) }

  /// True if one of the two holds the other.
  func overlaps(_ other: IPv4Prefix) -> Bool {
    length <= other.length ? contains(other.address) : other.contains(address)
  }
}
