import Engine

extension Checker {
  private static let triggerKeys = ["name", "from", "protocol", "when", "open", "for", "conflict"]
  /// As many as the engine has places for.
  private static let triggerLimit = 128

  /// `[[trigger]]`: none by default.
  ///
  /// Defaults: for "10m", conflict "refuse".
  mutating func readTriggers(_ node: Node?) {
    var names: [String: Int] = [:]
    var claims: [OpenClaim] = []
    for element in elements(of: node, name: "trigger") {
      let part = SettingsFile.Part.trigger(plan.triggers.count)
      guard let fields = fields(of: element, title: "[[trigger]]", keys: Self.triggerKeys, places: part) else {
        continue
      }
      let name = triggerName(fields, &names)
      let from = end(fields, "from", .inside)
      // Of what is sent and of what is opened.
      let protocols = protocols(
        fields, like: "udp", of: ["tcp": .tcp, "udp": .udp, "tcp+udp": [.tcp, .udp]], as: "protocol with ports")
      let when = triggerPorts(fields, "when")
      let open = triggerPorts(fields, "open")
      let seconds = duration(fields, "for", like: "10m")?.0
      let conflict = choice(fields, "conflict", of: TriggerPlan.Conflict.allCases)
      var trigger = TriggerPlan(
        name: name ?? "", from: from ?? 0, protocols: protocols ?? [],
        when: PortRange.merged((when ?? []).map(\.ports)),
        open: PortRange.merged((open ?? []).map(\.ports)))
      trigger.seconds = seconds ?? trigger.seconds
      trigger.conflict = conflict ?? trigger.conflict
      trigger.line = fields.place.line
      if plan.triggers.count == Self.triggerLimit {
        fail(fields.place, "there are more than \(Self.triggerLimit) triggers; leave some out")
      }
      plan.triggers.append(trigger)
      guard let from, let open, protocols != nil else { continue }
      checkOpen(trigger, open, fields["from"]?.place ?? fields.place, from, &claims)
    }
  }

  /// `name`: required, one of its own among triggers and forwards, which are listed together.
  private mutating func triggerName(_ fields: Fields, _ names: inout [String: Int]) -> String? {
    guard let (name, piece) = ruleName(fields, "trigger") else { return nil }
    if let line = names[name] {
      fail(piece, "there is a trigger named \(quoted(name)) already (line \(line)); give each a name of its own")
    } else if let forward = drafts.first(where: { $0.plan.name == name }) {
      let line = forward.header.line
      fail(piece, "there is a forward named \(quoted(name)) already (line \(line)); give each a name of its own")
    } else {
      names[name] = fields.place.line
    }
    return name
  }

  /// `when`, `open`: required, ports and ranges.
  private mutating func triggerPorts(_ fields: Fields, _ key: String) -> [PortItem]? {
    let example = "\"6112, 6881-6889\""
    guard require(key, in: fields, "\(key) = \(example)"), let piece = string(fields, key, like: example) else {
      return nil
    }
    return portList(piece, isSet: true)
  }

  // MARK: What nobody else may have

  /// Ports that a trigger opens at one outside address (or interface, where its addresses are automatic).
  private struct OpenClaim {
    var places: Set<UInt64>
    var trigger: TriggerPlan
  }

  private mutating func checkOpen(
    _ trigger: TriggerPlan, _ open: [PortItem], _ from: Place, _ interface: Int, _ claims: inout [OpenClaim]
  ) {
    let name = quoted(plan.interfaces[interface].name)
    let masquerades = plan.masquerades.filter { $0.from == interface }
    guard !masquerades.isEmpty else {
      guard areMasqueradesKnown else { return }
      return fail(from, "hosts of \(name) have no outside address to open ports at; add [[masquerade]] from \(name)")
    }
    let places = Set(masquerades.flatMap(places(of:)))
    for item in open {
      if let (other, shared) = forward(at: masquerades, trigger.protocols, item.ports) {
        let which = "forward \(quoted(other.name)) (line \(other.line))"
        fail(item.piece, "\(shared.text) belongs to \(which) already; take it out of one of the two")
      } else if let other = claims.first(where: { claim in
        !claim.places.isDisjoint(with: places) && !claim.trigger.protocols.isDisjoint(with: trigger.protocols)
          && claim.trigger.open.contains { $0.first <= item.ports.last && item.ports.first <= $0.last }
      }) {
        let which = "trigger \(quoted(other.trigger.name)) (line \(other.trigger.line))"
        fail(item.piece, "\(item.ports.text) shares ports with \(which); take them out of one of the two")
      }
      if plan.mode == .alongside, let localPorts, item.ports.first <= localPorts.last,
        localPorts.first <= item.ports.last
      {
        let what = "\(item.ports.text) overlaps the host's ip_local_port_range \(localPorts.text)"
        fail(item.piece, "\(what); write ports outside of it")
      }
    }
    if let whole = masquerades.first(where: { $0.pool.allSatisfy { $0.without(trigger.open).isEmpty } }) {
      let to = quoted(plan.interfaces[whole.to].name)
      fail(open[0].piece, "open leaves no port for the masquerade from \(name) to \(to); open fewer ports")
    }
    claims.append(OpenClaim(places: places, trigger: trigger))
  }

  /// Outside addresses of a masquerade, or its interface where those are not known yet.
  private func places(of masquerade: MasqueradePlan) -> [UInt64] {
    let addresses = addresses(of: masquerade)
    return addresses.isEmpty ? [1 << 32 | UInt64(masquerade.to)] : addresses.map { UInt64($0.value) }
  }

  private func addresses(of masquerade: MasqueradePlan) -> [IPv4Address] {
    masquerade.externals.isEmpty
      ? plan.interfaces[masquerade.to].addresses.first.map { [$0.address] } ?? [] : masquerade.externals
  }

  /// A forward that is switched on and has some of these ports where one of the masquerades sends from.
  private func forward(
    at masquerades: [MasqueradePlan], _ protocols: ForwardPlan.Protocols, _ ports: PortRange
  ) -> (ForwardPlan, PortRange)? {
    for draft in drafts where draft.isGood && draft.plan.isEnabled {
      let forward = draft.plan
      guard !forward.protocols.isDisjoint(with: protocols),
        masquerades.contains(where: { masquerade in
          let own = addresses(of: masquerade)
          return forward.interface == masquerade.to
            && (own.isEmpty ? forward.isOnInterface : forward.externals.contains { own.contains($0) })
        })
      else { continue }
      for span in forward.spans where span.ports.first <= ports.last && ports.first <= span.ports.last {
        return (forward, PortRange(max(span.ports.first, ports.first), min(span.ports.last, ports.last)))
      }
    }
    return nil
  }
}
