import Engine

extension Checker {
  /// `[[forward]]`: none by default.
  mutating func readForwards(_ node: Node?) {
    var names: [String: Int] = [:]
    for element in elements(of: node, name: "forward") {
      readForward(element, &names)
    }
    checkOverlaps()
    checkPinholes()
    plan.forwards = drafts.map(\.plan)
  }

  private static let forwardKeys = [
    "name", "protocol", "on", "external", "ports", "except", "to", "source", "allow", "deny", "hairpin", "enabled",
    "helper", "timeouts",
  ]

  /// Defaults: source "preserve", allow ["0.0.0.0/0"], deny [], hairpin true, enabled true, nothing excepted, no helper, and
  /// the idle times of [timeouts].
  private mutating func readForward(_ node: Node, _ names: inout [String: Int]) {
    let part = SettingsFile.Part.forward(drafts.count)
    guard let fields = fields(of: node, title: "[[forward]]", keys: Self.forwardKeys, places: part) else { return }
    let errorsBefore = errors.count
    let name = forwardName(fields, &names)
    let protocols = protocols(fields, like: "tcp", of: Self.protocols, as: "protocol")
    let outside = outsideOfForward(fields)
    let ports = forwardPorts(fields)
    let targets = forwardTargets(fields)
    let target = targets?.four
    var forward = ForwardPlan(
      name: name ?? "", protocols: targets != nil && target == nil ? [] : protocols ?? [],
      interface: outside?.interface ?? 0,
      externals: outside?.externals ?? [], isOnInterface: outside?.isOnInterface ?? true,
      isWholeHost: ports?.isWholeHost ?? false, spans: [], target: target?.address ?? IPv4Address(0))
    forward.source = choice(fields, "source", of: [.preserve, .gateway]) ?? .preserve
    let allow = prefixes(fields, "allow")
    let deny = prefixes(fields, "deny")
    forward.allow = allow?.prefixes ?? forward.allow
    forward.deny = deny?.prefixes ?? []
    forward.hairpin = boolean(fields, "hairpin") ?? true
    forward.isEnabled = boolean(fields, "enabled") ?? true
    forward.helper = helper(fields, protocols, isWholeHost: ports?.isWholeHost)
    forward.line = fields.place.line
    if let own = fields["timeouts"] {
      forward.timeouts = timeouts(own, "timeouts", TimeoutKey.session, over: plan.timeouts, places: nil)
    }
    if let protocols, let ports, protocols.contains(.echo), !ports.isWholeHost {
      let place = fields["protocol"]?.place ?? fields.place
      let word = protocols.contains(.other) ? "all" : "any"
      fail(
        place, "protocol \"\(word)\" has no ports to choose from; write ports = \"all\", or protocol = \"tcp+udp\"")
    }
    if let target, fields["source"]?.isInvalid != true { checkWay(to: target, from: outside?.interface, forward) }
    var draft = ForwardDraft(plan: forward, header: fields.place)
    draft.target6 = targets?.six.map { String($0.piece.text) }
    draft.target6Piece = targets?.six?.piece
    draft.allow6 = allow?.prefixes6 ?? []
    draft.deny6 = deny?.prefixes6 ?? []
    draft.except = exceptions(fields) ?? []
    if let ports, let targets {
      draft.items = ports.items
      if let target {
        draft.targetPorts = target.ports
        checkCounts(draft, target)
        draft.cut(all: ports.piece)
      }
      if let external = fields["external"], let outside,
        (outside.external6 == nil) != (targets.six == nil)
          || outside.external6 != nil && target != nil
      {
        let (own, other) = outside.external6 == nil ? ("IPv4", "IPv6") : ("IPv6", "IPv4")
        let what = targets.four != nil && targets.six != nil ? "an address of each family" : "an \(other) address"
        fail(external, "external is an \(own) address, and to has \(what); write one of the same family, or on")
      }
      if let six = targets.six {
        draft.plan.pinhole = pinhole(six, draft, protocols ?? [], ports.piece, at: outside?.external6)
      }
      if draft.plan.spans.isEmpty, draft.plan.pinhole?.ports.isEmpty ?? true, errors.count == errorsBefore,
        let except = fields["except"]
      {
        fail(except, "except leaves no port of this forward; leave at least one, or write enabled = false")
      }
    }
    // What is missing because its line is no TOML has been told already, and is no mistake of the forward.
    draft.isGood = errors.count == errorsBefore && outside != nil && ports != nil && targets != nil
    drafts.append(draft)
  }

  /// `helper`: none by default. It reads TCP at ports that the file names: whatever else a host offers is no FTP.
  private mutating func helper(
    _ fields: Fields, _ protocols: ForwardPlan.Protocols?, isWholeHost: Bool?
  ) -> Helper? {
    guard let helper = choice(fields, "helper", of: Helper.allCases), let place = fields["helper"]?.place else {
      return nil
    }
    let name = quoted(helper.rawValue)
    if let protocols, !protocols.contains(.tcp) {
      fail(place, "helper \(name) reads TCP, and this forward has none; write protocol = \"tcp\"")
    }
    if isWholeHost == true {
      fail(place, "helper \(name) would read every connection of the host; write the ports that are FTP's in a forward")
    }
    return helper
  }

  /// `name`: required, one of its own.
  private mutating func forwardName(_ fields: Fields, _ names: inout [String: Int]) -> String? {
    guard let (name, piece) = ruleName(fields, "forward") else { return nil }
    if let line = names[name] {
      fail(piece, "there is a forward named \(quoted(name)) already (line \(line)); give each a name of its own")
    } else {
      names[name] = fields.place.line
    }
    return name
  }

  /// A name that can be told from others and printed.
  mutating func ruleName(_ fields: Fields, _ rule: String) -> (String, Piece)? {
    guard require("name", in: fields, "name = \"web\""), let piece = string(fields, "name", like: "\"web\"") else {
      return nil
    }
    guard (1...64).contains(piece.text.utf8.count), !piece.text.unicodeScalars.contains(where: \.isControl) else {
      fail(piece, "\(quoted(piece.text)) cannot name a \(rule); write 1 to 64 characters, like name = \"web\"")
      return nil
    }
    return (String(piece.text), piece)
  }

  /// What `protocol` may say.
  private static let protocols: KeyValuePairs<String, ForwardPlan.Protocols> = [
    "tcp": .tcp, "udp": .udp, "tcp+udp": [.tcp, .udp], "any": [.tcp, .udp, .echo],
    "all": [.tcp, .udp, .echo, .other],
  ]

  /// `protocol`: required.
  ///
  /// - Parameters:
  ///   - example: what would be right.
  ///   - known: what it may say.
  ///   - kind: what that is called.
  mutating func protocols(
    _ fields: Fields, like example: String, of known: KeyValuePairs<String, ForwardPlan.Protocols>, as kind: String
  ) -> ForwardPlan.Protocols? {
    guard require("protocol", in: fields, "protocol = \"\(example)\""),
      let piece = string(fields, "protocol", like: "\"\(example)\"")
    else { return nil }
    if let found = known.first(where: { $0.key == piece.text }) { return found.value }
    fail(piece, unknown(piece, kind, known.map(\.key)))
    return nil
  }

  /// `ports`: required; a list, or "all" for the whole host.
  private mutating func forwardPorts(_ fields: Fields) -> (isWholeHost: Bool, items: [PortItem], piece: Piece)? {
    let example = "\"80, 8810-8815\""
    guard require("ports", in: fields, "ports = \(example), or ports = \"all\""),
      let piece = string(fields, "ports", like: example)
    else { return nil }
    if piece.trimmed.text == "all" { return (true, [], piece) }
    return portList(piece).map { (false, $0, piece) }
  }

  /// `except`: nothing by default; ascending and disjoint.
  private mutating func exceptions(_ fields: Fields) -> [PortRange]? {
    guard let piece = string(fields, "except", like: "\"22, 500-510\"") else { return nil }
    return portList(piece, isSet: true).map { PortRange.merged($0.map(\.ports)) }
  }

  /// `allow`, `deny`: prefixes of sources of either family.
  private mutating func prefixes(_ fields: Fields, _ key: String) -> (prefixes: [IPv4Prefix], prefixes6: [String])? {
    guard let pieces = strings(fields, key, like: "[\"198.51.100.0/24\"]") else { return nil }
    if pieces.isEmpty, key == "allow", let node = fields[key] {
      fail(node, "allow is empty, so that nobody may use this forward; list prefixes, or write enabled = false")
    }
    var (result, result6): ([IPv4Prefix], [String]) = ([], [])
    for piece in pieces {
      if let prefix = IPv4Prefix(piece.text) {
        result.append(prefix.networkPrefix)
      } else if IPv6Prefix(piece.text) != nil {
        result6.append(String(piece.text))
      } else {
        fail(piece, "\(quoted(piece.text)) is no prefix; write it like \(key) = [\"198.51.100.0/24\"]")
      }
    }
    return (result, result6)
  }

  /// `on` or `external`: required, one of the two.
  private mutating func outsideOfForward(_ fields: Fields) -> (
    interface: Int, externals: [IPv4Address], isOnInterface: Bool, external6: IPv6Address?
  )? {
    let names = plan.interfaces.indices.filter { notes[$0].role == .outside }.map { plan.interfaces[$0].name }
    let example = quoted(names.first ?? "wan")
    switch (fields["on"], fields["external"]) {
    case (nil, nil):
      fail(fields.place, "[[forward]] has neither on nor external; add on = \(example), the outside interface")
      return nil
    case (.some, .some(let external)):
      fail(
        external, "on and external exclude each other; keep on for all addresses of the interface, or external for one")
      return nil
    case (.some, nil):
      guard let piece = string(fields, "on", like: example) else { return nil }
      return interface(piece, "on", role: .outside).map {
        ($0, plan.interfaces[$0].addresses.map(\.address), true, nil)
      }
    case (nil, .some):
      guard let piece = string(fields, "external", like: "\"203.0.113.5\"") else { return nil }
      if piece.text.contains(":") { return external6(piece).map { ($0.interface, [], false, $0.address) } }
      return externalAddress(piece).map { ($0.interface, [$0.address], false, nil) }
    }
  }

  /// An address of an outside interface, or one inside its prefix that ARP is answered for.
  private mutating func externalAddress(_ piece: Piece) -> (interface: Int, address: IPv4Address)? {
    guard let address = IPv4Address(piece.text) else {
      fail(piece, "\(quoted(piece.text)) is no IPv4 address; write one address, like external = \"203.0.113.5\"")
      return nil
    }
    let outside = plan.interfaces.indices.filter { notes[$0].role == .outside }
    if let own = outside.first(where: { plan.interfaces[$0].addresses.contains { $0.address == address } }) {
      return (own, address)
    }
    for index in outside {
      guard let prefix = plan.interfaces[index].addresses.first(where: { $0.contains(address) }) else { continue }
      if prefix.length <= 30, address == prefix.network || address == prefix.last {
        fail(
          piece, "external \(address) is the network or broadcast address of \(prefix.networkPrefix); write a host's")
        return nil
      }
      let isTaken = plan.neighbors.contains { $0.address == address }
      if isTaken || plan.interfaces[index].gateways.contains(address) {
        let what = isTaken ? "a [[neighbor]]" : "the gateway"
        fail(piece, "external \(address) is the address of \(what); write an address that nobody else has")
        return nil
      }
      return (index, address)
    }
    let mayBeOutside = plan.interfaces.indices.filter { notes[$0].role == nil }
    if mayBeOutside.contains(where: { !notes[$0].areAddressesKnown || owns(address, $0) }) { return nil }
    let unknown = outside.filter { !notes[$0].areAddressesKnown }
    if unknown.count == 1 { return (unknown[0], address) }
    if unknown.contains(where: { !plan.interfaces[$0].isAutomatic }) { return nil }
    let list = outside.flatMap { plan.interfaces[$0].addresses.map(\.description) }.joined(separator: ", ")
    let hint = list.isEmpty ? "write out the addresses of one" : "write one of \(list), or inside their prefixes"
    fail(piece, "external \(address) is neither an address of an outside interface nor inside its prefix; \(hint)")
    return nil
  }

  private func owns(_ address: IPv4Address, _ interface: Int) -> Bool {
    plan.interfaces[interface].addresses.contains { $0.contains(address) }
  }

  /// The interface of this name, if it has the role that is needed here.
  mutating func interface(_ piece: Piece, _ key: String, role: InterfacePlan.Role) -> Int? {
    let fit = plan.interfaces.indices.filter { notes[$0].role == role }.map { plan.interfaces[$0].name }
    let list = fit.map { quoted($0) }.joined(separator: " or ")
    let hint = fit.isEmpty ? "add an interface with role = \"\(role.rawValue)\"" : "write \(list)"
    guard let index = plan.interfaces.firstIndex(where: { $0.name == piece.text }) else {
      let names = plan.interfaces.map(\.name)
      let near = nearest(to: String(piece.text), among: names).map { "did you mean \(quoted($0))?" }
      fail(piece, "\(key) names \(quoted(piece.text)), which is no interface; \(near ?? hint)")
      return nil
    }
    guard let actual = notes[index].role else { return nil }
    guard actual == role else {
      fail(piece, "\(key) = \(quoted(piece.text)) is an \(actual.rawValue) interface; \(hint)")
      return nil
    }
    return index
  }
}
