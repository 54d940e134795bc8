import Engine

// What concerns IPv6 addresses: neighbours, routes, and what an address is for.
extension Checker {
  /// What an IPv6 address that no host can have is; nil for a host's.
  func unusable(_ address: IPv6Address) -> String? {
    if address.isMulticast { return "a multicast address" }
    if address.high == 0 && address.low == 0 { return "the address of nobody" }
    if address.high == 0 && address.low == 1 { return "the loopback address" }
    return address.high == 0 && address.low >> 32 == 0xFFFF ? "an IPv4 address in an IPv6 one" : nil
  }

  /// An interface's name behind a link-local address, as in "fe80::2%lan" (RFC 4007 section 11).
  private mutating func zoned(_ piece: Piece, _ what: String) -> (address: IPv6Address, interface: Int?)? {
    let parts = piece.split(by: "%")
    guard parts.count <= 2, let address = IPv6Address(parts[0].text), unusable(address) == nil else {
      fail(piece, "\(quoted(piece.text)) is no host's IPv6 address; write it like \(what) = \"2001:db8::2\"")
      return nil
    }
    guard parts.count == 2 else { return (address, nil) }
    guard let index = plan.interfaces.firstIndex(where: { $0.name == parts[1].text }) else {
      let names = plan.interfaces.map { quoted($0.name) }.joined(separator: " or ")
      fail(parts[1], "\(quoted(parts[1].text)) is no interface; write \(names)")
      return nil
    }
    return (address, index)
  }

  /// A neighbour's address with the interface that has it on its link.
  ///
  /// - Returns: nil with an error, or without one where the interface cannot be known.
  mutating func neighbor6(_ piece: Piece, _ what: String) -> (address: IPv6Address, interface: Int)? {
    guard let (address, zone) = zoned(piece, what) else { return nil }
    return neighborInterface6(address, piece, what, only: zone).map { (address, $0) }
  }

  /// The interface that has `address` on its link, where a host other than ourselves may live; see `neighborInterface`.
  mutating func neighborInterface6(
    _ address: IPv6Address, _ piece: Piece, _ what: String, only: Int? = nil
  ) -> Int? {
    let candidates = only.map { [$0] } ?? Array(plan.interfaces.indices)
    let speaking = candidates.filter { !plan.interfaces[$0].addresses6.isEmpty }
    for index in speaking where plan.interfaces[index].addresses6.contains(where: { $0.address == address }) {
      guard !address.isLinkLocal || speaking.count == 1 else { continue }
      fail(piece, "\(what) \(address) is \(plan.interfaces[index].name)'s own address; write that of another host")
      return nil
    }
    if address.isLinkLocal {
      if speaking.count == 1 { return speaking[0] }
      guard candidates.allSatisfy({ notes[$0].areAddressesKnown }) else { return nil }
      if speaking.isEmpty {
        let whose = only.map { "interface \(plan.interfaces[$0].name) has" } ?? "there is"
        fail(piece, "\(what) \(address) needs IPv6 on its link, and \(whose) no IPv6 address; add one")
      } else {
        let name = plan.interfaces[speaking[0]].name
        fail(piece, "\(what) \(address) may be on any link; write its interface behind it, like \"\(address)%\(name)\"")
      }
      return nil
    }
    if let index = speaking.first(where: { plan.interfaces[$0].addresses6.contains { $0.contains(address) } }) {
      return index
    }
    guard candidates.allSatisfy({ notes[$0].areAddressesKnown }) else { return nil }
    let list = speaking.flatMap { plan.interfaces[$0].addresses6.map(\.networkPrefix.description) }
    failOutside(piece, "\(what) \(address)", of: list, "IPv6", only: only)
    return nil
  }

  /// A `[[route]]` whose `via` is an IPv6 address.
  mutating func readRoute6(_ fields: Fields, _ lines: inout [IPv6Prefix: Int]) {
    let errorsBefore = errors.count
    guard let destination = string(fields, "destination", like: "\"2001:db8:1::/48\""),
      let via = string(fields, "via", like: "\"2001:db8::2\"")
    else { return }
    let prefix = IPv6Prefix(destination.text)
    if let prefix {
      if prefix.address != prefix.network {
        fail(destination, "\(prefix) has bits below its length; write \"\(prefix.networkPrefix)\"")
      } else if let line = lines[prefix] {
        fail(destination, "there is a route to \(prefix) already (line \(line)); leave one of the two")
      }
      lines[prefix] = fields.place.line
    } else {
      fail(destination, "\(quoted(destination.text)) is no IPv6 prefix, as via is; write it like \"2001:db8:1::/48\"")
    }
    let hop = neighbor6(via, "via")
    guard let prefix, let hop, errors.count == errorsBefore else {
      areRoutesKnown = false
      return
    }
    places[.route6(plan.routes6.count)] = fields.place
    plan.routes6.append(RoutePlan6(destination: prefix, via: hop.address, interface: hop.interface))
  }

  /// A `[[neighbor]]` with an IPv6 address.
  mutating func readNeighbor6(_ piece: Piece, _ mac: MACAddress?, line: Int, _ lines: inout [NeighborKey6: Int]) {
    guard let (address, interface) = neighbor6(piece, "address") else { return }
    let key = NeighborKey6(address: address, interface: interface)
    if let earlier = lines[key] {
      return fail(piece, "\(address) has an entry already (line \(earlier)); leave one of the two")
    }
    lines[key] = line
    guard let mac else { return }
    plan.neighbors6.append(NeighborPlan6(address: address, mac: mac, interface: interface))
  }

  /// A link-local address is one of its link.
  struct NeighborKey6: Hashable {
    var address: IPv6Address
    var interface: Int
  }

  /// Every link that carries IPv6 takes 1280 bytes (RFC 8200 section 5).
  mutating func checkMTU6(_ interface: InterfacePlan, _ fields: Fields) {
    guard !interface.addresses6.isEmpty, let mtu = interface.mtu, mtu < 1280, let node = fields["mtu"] else { return }
    fail(node, "mtu = \(mtu) is less than IPv6 needs; write 1280 or more, or leave out the IPv6 address")
  }
}
