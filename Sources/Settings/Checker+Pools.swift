import Engine

extension Checker {
  /// More would take more memory for ports than a table of sessions: 24 KiB each.
  private static let poolLimit = 1024

  /// `except` of a masquerade: prefixes that are sent to without translation.
  mutating func exceptions(_ fields: Fields) -> [IPv4Prefix] {
    guard let pieces = strings(fields, "except", like: "[\"10.0.0.0/8\"]") else { return [] }
    return pieces.compactMap { piece in
      if let prefix = IPv4Prefix(piece.text) { return prefix.networkPrefix }
      fail(piece, "\(quoted(piece.text)) is no prefix; write it like except = [\"10.0.0.0/8\"]")
      return nil
    }
  }

  /// `external` of a masquerade: addresses, ranges and prefixes of the outside interface, in the order of the file; and one
  /// IPv6 address of its own, by which IPv6 is masqueraded too.
  mutating func externals(_ fields: Fields, _ to: Int) -> (four: [IPv4Address], six: IPv6Address?) {
    let example = "[\"203.0.113.5\", \"203.0.113.16-203.0.113.19\", \"203.0.113.32/29\"]"
    guard let node = fields["external"], let pieces = strings(fields, "external", like: example) else {
      return ([], nil)
    }
    if pieces.isEmpty { fail(node, "external is empty; list addresses like \(example), or leave it out") }
    var seen: Set<IPv4Address> = []
    var result: [IPv4Address] = []
    var six: IPv6Address?
    for piece in pieces {
      if piece.text.contains(":") {
        if six != nil { fail(piece, "external has an IPv6 address already; list one") }
        six = six ?? external6(piece, on: to)?.address
        continue
      }
      guard let range = addressRange(piece) else { continue }
      guard range.count + result.count <= Self.poolLimit else {
        fail(piece, "external has more than \(Self.poolLimit) addresses; list fewer")
        return ([], six)
      }
      for value in range {
        let address = IPv4Address(value)
        if !seen.insert(address).inserted {
          fail(piece, "\(address) is listed twice; list each address once")
          break
        }
        guard isPoolAddress(address, piece, to) else { break }
        result.append(address)
      }
    }
    return (result, six)
  }

  /// "ADDRESS", "FIRST-LAST" or "PREFIX/LENGTH".
  private mutating func addressRange(_ piece: Piece) -> ClosedRange<UInt32>? {
    if piece.text.contains("/"), let prefix = IPv4Prefix(piece.text) {
      return prefix.network.value...prefix.last.value
    }
    let ends = piece.split(by: "-")
    let addresses = ends.map { IPv4Address($0.text) }
    guard ends.count <= 2, let first = addresses[0], let last = addresses[ends.count - 1] else {
      let form = "\"203.0.113.5\", \"203.0.113.16-203.0.113.19\" or \"203.0.113.32/29\""
      fail(piece, "\(quoted(piece.text)) is neither address nor range nor prefix; write it like \(form)")
      return nil
    }
    guard first.value <= last.value else {
      fail(piece, "\(quoted(piece.text)) is reversed; write \(last)-\(first)")
      return nil
    }
    return first.value...last.value
  }

  /// The address is ours to give: the interface's own, or inside its prefix and nobody else's.
  private mutating func isPoolAddress(_ address: IPv4Address, _ piece: Piece, _ to: Int) -> Bool {
    let interface = plan.interfaces[to]
    if interface.addresses.contains(where: { $0.address == address }) || !notes[to].areAddressesKnown { return true }
    guard plan.mode == .dedicated else {
      fail(
        piece,
        "external \(address) is no address of \(interface.name), and in mode \"alongside\" the host answers ARP;"
          + " add the address to the host")
      return false
    }
    guard let prefix = interface.addresses.first(where: { $0.contains(address) }) else {
      let list = interface.addresses.map(\.networkPrefix.description).joined(separator: ", ")
      let hint = list.isEmpty ? "add an address to it" : "write addresses inside \(list)"
      fail(piece, "external \(address) is outside every prefix of \(interface.name); \(hint)")
      return false
    }
    if prefix.length <= 30, address == prefix.network || address == prefix.last {
      fail(piece, "external \(address) is the network or broadcast address of \(prefix.networkPrefix); leave it out")
      return false
    }
    if interface.gateways.contains(address) || plan.neighbors.contains(where: { $0.address == address }) {
      fail(piece, "external \(address) is another station's address; leave it out")
      return false
    }
    return true
  }
}
