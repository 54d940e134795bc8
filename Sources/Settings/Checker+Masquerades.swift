import Engine

extension Checker {
  /// `[[masquerade]]`: none by default; one for each pair of interfaces.
  ///
  /// Defaults: external the first address of `to`, except nothing, ports "1-65535", mapping "endpoint-independent"
  /// (RFC 4787 REQ-1), filtering "address-dependent" (REQ-8), inbound-refresh true (REQ-6a), other-protocols false, no helper.
  mutating func readMasquerades(_ node: Node?) {
    var lines: [SIMD2<Int>: Int] = [:]
    let keys = [
      "from", "to", "external", "except", "ports", "mapping", "filtering", "inbound-refresh", "other-protocols",
      "helper",
    ]
    for element in elements(of: node, name: "masquerade") {
      let part = SettingsFile.Part.masquerade(plan.masquerades.count)
      guard let fields = fields(of: element, title: "[[masquerade]]", keys: keys, places: part) else {
        areMasqueradesKnown = false
        continue
      }
      let from = end(fields, "from", .inside)
      let to = end(fields, "to", .outside)
      var masquerade = MasqueradePlan(from: from ?? 0, to: to ?? 0)
      masquerade.mapping = choice(fields, "mapping", of: EndpointRule.allCases) ?? masquerade.mapping
      masquerade.filtering = choice(fields, "filtering", of: EndpointRule.allCases) ?? masquerade.filtering
      masquerade.pool = pool(fields) ?? masquerade.pool
      masquerade.inboundRefresh = boolean(fields, "inbound-refresh") ?? masquerade.inboundRefresh
      masquerade.otherProtocols = boolean(fields, "other-protocols") ?? masquerade.otherProtocols
      masquerade.helper = choice(fields, "helper", of: Helper.allCases)
      masquerade.except = exceptions(fields)
      if let to { (masquerade.externals, masquerade.external6) = externals(fields, to) }
      guard let from, let to else {
        areMasqueradesKnown = false
        continue
      }
      if let line = lines[SIMD2(from, to)] {
        let pair = "from \(quoted(plan.interfaces[from].name)) to \(quoted(plan.interfaces[to].name))"
        fail(fields.place, "there is a masquerade \(pair) already (line \(line)); leave one of the two")
        continue
      }
      lines[SIMD2(from, to)] = fields.place.line
      // A helper reads IPv6 that is not translated too.
      if plan.interfaces[to].addresses.isEmpty, masquerade.external6 == nil, notes[to].areAddressesKnown,
        masquerade.helper == nil || plan.interfaces[to].addresses6.isEmpty
      {
        let place = fields["to"]?.place ?? fields.place
        fail(place, "\(plan.interfaces[to].name) has no IPv4 address to masquerade as; add one to its address list")
      }
      plan.masquerades.append(masquerade)
    }
  }

  /// `from`, `to`: required.
  mutating func end(_ fields: Fields, _ key: String, _ role: InterfacePlan.Role) -> Int? {
    let names = plan.interfaces.indices.filter { notes[$0].role == role }.map { plan.interfaces[$0].name }
    let example = quoted(names.first ?? (role == .inside ? "lan" : "wan"))
    guard require(key, in: fields, "\(key) = \(example)"), let piece = string(fields, key, like: example) else {
      return nil
    }
    return interface(piece, key, role: role)
  }

  /// `ports`: in `alongside` required, since the host opens connections of its own from its ip_local_port_range.
  private mutating func pool(_ fields: Fields) -> [PortRange]? {
    let suggestion = localPorts.map { local in
      local.last < 64512 ? "\(local.last + 1)-65535" : local.first > 1024 ? "1024-\(local.first - 1)" : "1-1023"
    }
    let example = quoted(plan.mode == .alongside ? suggestion ?? "20000-29999" : "1-65535")
    guard fields["ports"] != nil || plan.mode != .alongside else {
      let reason = localPorts.map { " (\($0.text))" } ?? ""
      fail(
        fields.place, "mode \"alongside\" needs a pool outside the host's own ports\(reason); add ports = \(example)")
      return nil
    }
    guard let list = string(fields, "ports", like: example), let items = portList(list) else { return nil }
    if plan.mode == .alongside, let localPorts {
      for item in items where item.ports.first <= localPorts.last && localPorts.first <= item.ports.last {
        let what = "\(item.ports.text) overlaps the host's ip_local_port_range \(localPorts.text)"
        fail(item.piece, "\(what); write ports outside of it, like ports = \(example)")
      }
    }
    return items.map(\.ports)
  }
}
