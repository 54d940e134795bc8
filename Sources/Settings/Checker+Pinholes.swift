import Engine

/// The IPv6 side of a forward's `to`.
struct ForwardTarget6 {
  var address: IPv6Address
  var ports: ForwardDraft.TargetPorts
  var piece: Piece
}

// The IPv6 side of forwards: a pinhole lets through to the target's own address, and translates nothing.
extension Checker {
  /// "ADDRESS", "[ADDRESS]:PORT" or "[ADDRESS]:FIRST-LAST"; for the address a suffix may stand.
  mutating func target6(_ piece: Piece) -> ForwardTarget6? {
    var (address, ports): (Piece, Piece?) = (piece, nil)
    if piece.text.hasPrefix("["), let end = piece.text.firstIndex(of: "]") {
      address = piece.part(piece.text[piece.text.index(after: piece.text.startIndex)..<end])
      let rest = piece.text[piece.text.index(after: end)...]
      if rest.hasPrefix(":") { ports = piece.part(rest.dropFirst()) } else if !rest.isEmpty { address = piece }
    }
    guard let found = targetAddress6(address) else { return nil }
    guard let host = found, unusable(host) == nil else {
      fail(piece, "\(quoted(piece.text)) is no IPv6 target; write it like \"2001:db8::10\" or \"[2001:db8::10]:9090\"")
      return nil
    }
    if let own = plan.interfaces.first(where: { $0.addresses6.contains { $0.address == host } }) {
      fail(piece, "\(host) is interface \(own.name)'s own address; write the address of the host that is meant")
      return nil
    }
    guard let ports else { return ForwardTarget6(address: host, ports: .same, piece: piece) }
    guard let range = portRange(ports) else { return nil }
    return ForwardTarget6(
      address: host, ports: ports.text.contains("-") ? .range(range) : .one(range.first), piece: piece)
  }

  /// The pinhole of a forward: the ports of the target that its outside ports, less `except`, lead to.
  mutating func pinhole(
    _ target: ForwardTarget6, _ draft: ForwardDraft, _ protocols: ForwardPlan.Protocols, _ all: Piece,
    at external: IPv6Address?
  ) -> PinholePlan {
    if case .range(let range) = target.ports {
      let count = draft.plan.isWholeHost ? PortRange.all.count : draft.items.reduce(0) { $0 + $1.ports.count }
      if count != range.count {
        fail(
          target.piece,
          "\(count) outside ports do not match \(range.count) target ports (\(range.text)); write as many of both")
      }
    }
    let spans = draft.runs(to: target.ports, all: all).map(\.span)
    var pinhole = PinholePlan(
      target: target.address, protocols: protocols, ports: PortRange.merged(spans.map(\.targets)))
    if let external {
      pinhole.external = external
      pinhole.spans = spans
    }
    pinhole.allow = draft.allow6.compactMap { IPv6Prefix($0)?.networkPrefix }
    pinhole.deny = draft.deny6.compactMap { IPv6Prefix($0)?.networkPrefix }
    // Everybody is everybody.
    if draft.allow6.isEmpty, draft.plan.allow.contains(where: { $0.length == 0 }) {
      pinhole.allow = [IPv6Prefix("::/0")!]
    }
    warnOfNoWay(to: target)
    return pinhole
  }

  /// Without a way inside nothing is let in, and the IPv4 side may still be what was meant.
  private mutating func warnOfNoWay(to target: ForwardTarget6) {
    guard notes.allSatisfy(\.areAddressesKnown) else { return }
    var best: (length: UInt8, interface: Int)?
    for (index, interface) in plan.interfaces.enumerated() {
      for prefix in interface.addresses6 where prefix.contains(target.address) && prefix.length > best?.length ?? 0 {
        best = (prefix.length, index)
      }
    }
    for route in plan.routes6 where route.destination.contains(target.address) {
      if route.destination.length > best?.length ?? 0 { best = (route.destination.length, route.interface) }
    }
    if let best, notes[best.interface].role != .outside { return }
    warn(
      target.piece,
      "\(target.address) is behind no inside interface with an IPv6 address, so nothing reaches it; give the interface "
        + "one, or add a [[route]]")
  }

  /// Whom two forwards let in to the same ports of one target, only the first would be asked about; a narrower forward
  /// wins over "all".
  mutating func checkPinholes() {
    var earlier: [IPv6Address: [Int]] = [:]
    for (index, draft) in drafts.enumerated() where draft.isGood && draft.plan.isEnabled {
      guard let pinhole = draft.plan.pinhole else { continue }
      for other in earlier[pinhole.place] ?? [] {
        let first = drafts[other].plan
        guard let theirs = first.pinhole, first.isWholeHost == draft.plan.isWholeHost,
          first.interface == draft.plan.interface, !theirs.protocols.isDisjoint(with: pinhole.protocols),
          let shared = PortRange.shared(theirs.claims, pinhole.claims), let piece = draft.target6Piece
        else { continue }
        fail(
          piece,
          "port \(shared.text) of \(pinhole.place) belongs to forward \(quoted(first.name)) (line \(first.line)) "
            + "already; take it out of one of the two")
        break
      }
      earlier[pinhole.place, default: []].append(index)
    }
  }

  /// An outside interface's own IPv6 address, which something is translated at.
  mutating func external6(_ piece: Piece, on interface: Int? = nil) -> (interface: Int, address: IPv6Address)? {
    let outside = plan.interfaces.indices.filter { notes[$0].role == .outside && (interface ?? $0) == $0 }
    let own = outside.flatMap { index in plan.interfaces[index].addresses6.map { (index, $0.address) } }
      .filter { !$0.1.isLinkLocal }
    guard plan.mode == .dedicated else {
      fail(piece, "in mode \"alongside\" IPv6 is the host's; write an IPv4 address")
      return nil
    }
    if let address = IPv6Address(piece.text), let place = own.first(where: { $0.1 == address }) { return place }
    guard outside.allSatisfy({ notes[$0].areAddressesKnown }) else { return nil }
    let hint = own.isEmpty ? "add one to its address list" : "write " + own.map { "\($0.1)" }.joined(separator: " or ")
    fail(piece, "\(quoted(piece.text)) is no IPv6 address of an outside interface; \(hint)")
    return nil
  }
}

extension PinholePlan {
  /// The address that clients send to, and its ports.
  fileprivate var place: IPv6Address { external ?? target }
  fileprivate var claims: [PortRange] { external == nil ? ports : PortRange.merged(spans.map(\.ports)) }
}

extension PortSpan {
  /// Ports of the target that its outside ports lead to.
  fileprivate var targets: PortRange {
    PortRange(target, isParallel ? target + (ports.last - ports.first) : target)
  }
}

extension PortRange {
  /// The first ports that two lists, ascending and disjoint each, have in common.
  static func shared(_ first: [PortRange], _ second: [PortRange]) -> PortRange? {
    var (i, j) = (0, 0)
    while i < first.count, j < second.count {
      let common = (max(first[i].first, second[j].first), min(first[i].last, second[j].last))
      if common.0 <= common.1 { return PortRange(common.0, common.1) }
      if first[i].last < second[j].last { i += 1 } else { j += 1 }
    }
    return nil
  }
}
