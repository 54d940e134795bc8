import Engine

extension SettingsFile {
  /// The configuration with every default written out, in the order of the manual: TOML that means the same plan.
  public var normalised: String { document.toml }

  /// The same as JSON: keys as in TOML, null for what the device or its kernel decides.
  public var normalisedJSON: String { document.json }

  private var document: Document { document(forwards: .list(drafts.indices.map { .table(forwardRows($0)) })) }

  func document(forwards: Document) -> Document {
    let sections: [(String, Document)] = [
      (
        "engine",
        .table([
          ("mode", .text(plan.mode.rawValue)), ("workers", .number(plan.workers)), ("sessions", .number(plan.sessions)),
          ("on-change", .text(plan.onChange.rawValue)),
          ("state", plan.state.map { .text($0) } ?? .absent("one for the network namespace, in /dev/shm/sluice")),
          ("ring", .text(plan.ring.rawValue)),
          (
            "spin-microseconds",
            plan.spinMicroseconds.map { .number($0) } ?? .absent("50; 0 where there are no more cores than workers")
          ),
          ("cores", plan.cores.isEmpty ? .absent("any") : .list(plan.cores.map { .number($0) })),
          ("pick-up", .flag(plan.picksUpTCP)),
        ])
      ),
      ("interface", .table(plan.interfaces.map { ($0.name, interface($0)) })),
      ("route", .list(routes)),
      ("neighbor", .list(neighbors)),
      ("forward", forwards),
      ("masquerade", .list(plan.masquerades.map(masquerade))),
      ("prefix-translation", .list(plan.prefixes.map(prefix))),
      ("trigger", .list(plan.triggers.map { .table(triggerRows($0)) })),
      ("timeouts", timeouts(plan.timeouts, TimeoutKey.all)),
      ("limits", limits),
    ]
    return .table(sections + (plan.recorder.map { [("recorder", recorder($0))] } ?? []))
  }

  private func recorder(_ recorder: RecorderPlan) -> Document {
    .table([
      ("memory", .text(SizeText.text(recorder.memory))),
      ("state", .text(SizeText.text(recorder.state))),
      ("frames", .text(recorder.isWhole ? "whole" : "headers")),
      ("directory", recorder.directory.map { .text($0) } ?? .absent("only on demand: sluice record dump")),
      ("triggers", .list(recorder.triggers.map { .text($0.name) })),
    ])
  }

  private var limits: Document {
    .table([
      ("sessions-per-host", plan.limits.sessionsPerHost.map { .number($0) } ?? .absent("any number")),
      ("ports-per-host", plan.limits.portsPerHost.map { .number($0) } ?? .absent("any number")),
      ("half-open", plan.limits.halfOpen.map { .number($0) } ?? .absent("half of sessions")),
    ])
  }

  private func timeouts(_ timeouts: TimeoutPlan, _ keys: [TimeoutKey]) -> Document {
    .table(keys.map { ($0.name, .text(DurationText.text(timeouts[keyPath: $0.paths[0]]))) })
  }

  private func interface(_ interface: InterfacePlan) -> Document {
    let vlan: Document =
      switch interface.tags.count {
      case 0: .absent("none")
      case 1: .number(Int(interface.tags[0].vlan))
      default: .text(interface.tags.map { String($0.vlan) }.joined(separator: "."))
      }
    let addresses = interface.addresses.map(\.description)
    let addresses6 = interface.addresses6.map(\.description)
    let gateways = interface.gateways.map(\.description) + interface.gateways6.map(\.description)
    return .table([
      ("role", .text(interface.role.rawValue)),
      ("device", .text(interface.device)),
      ("vlan", vlan),
      ("address", interface.isAutomatic ? .text("auto") : .list((addresses + addresses6).map { .text($0) })),
      ("gateway", .list(gateways.map { .text($0) })),
      ("mac", interface.mac.map { .text($0.description) } ?? .absent("the device's own")),
      ("mtu", interface.mtu.map { .number($0) } ?? .absent("the device's own; 1500 in replay")),
      ("ping", .flag(interface.ping)),
      ("unsolicited", .text(interface.unsolicited.rawValue)),
      ("clamp-mss", clampMSS(interface.clampMSS)),
    ])
  }

  private func clampMSS(_ clamp: InterfacePlan.ClampMSS?) -> Document {
    switch clamp {
    case nil: .absent("not at all")
    case .mtu: .text("mtu")
    case .bytes(let bytes): .number(bytes)
    }
  }

  private var routes: [Document] {
    let routes =
      plan.routes.map { ($0.destination.description, $0.via.description) }
      + plan.routes6.map { ($0.destination.description, zoned($0.via, $0.interface)) }
    return routes.map { .table([("destination", .text($0)), ("via", .text($1))]) }
  }

  private var neighbors: [Document] {
    let neighbors =
      plan.neighbors.map { ($0.address.description, $0.mac) }
      + plan.neighbors6.map { (zoned($0.address, $0.interface), $0.mac) }
    return neighbors.map { .table([("address", .text($0)), ("mac", .text($1.description))]) }
  }

  /// A link-local address with its interface, where that says something.
  private func zoned(_ address: IPv6Address, _ interface: Int) -> String {
    address.isLinkLocal ? "\(address)%\(plan.interfaces[interface].name)" : "\(address)"
  }

  func forwardRows(_ index: Int) -> [(key: String, value: Document)] {
    let draft = drafts[index]
    let forward = draft.plan
    let names: [(ForwardPlan.Protocols, String)] = [(.tcp, "tcp"), (.udp, "udp")]
    let hasIPv4 = !forward.protocols.isEmpty || forward.pinhole == nil
    let meant = hasIPv4 ? forward.protocols : forward.pinhole?.protocols ?? []
    let word = meant.contains(.other) ? "all" : meant.contains(.echo) ? "any" : nil
    let protocols = word ?? names.filter { meant.contains($0.0) }.map(\.1).joined(separator: "+")
    let place: (String, Document) =
      forward.isOnInterface
      ? ("on", .text(plan.interfaces[forward.interface].name))
      : ("external", .text(forward.pinhole?.external?.description ?? forward.externals.first?.description ?? ""))
    let suffix =
      switch draft.targetPorts {
      case .same: ""
      case .one(let port): ":\(port)"
      case .range(let range): ":\(range.first)-\(range.last)"
      }
    let target = Document.text("\(forward.target)\(suffix)")
    return [
      ("name", .text(forward.name)),
      ("protocol", .text(protocols)),
      place,
      ("ports", .text(forward.isWholeHost ? "all" : Self.list(draft.items.map(\.ports)))),
      ("except", draft.except.isEmpty ? .absent("nothing") : .text(Self.list(draft.except))),
      ("to", draft.target6.map { hasIPv4 ? .list([target, .text($0)]) : .text($0) } ?? target),
      ("source", .text(forward.source.rawValue)),
      ("allow", .list((forward.allow.map(\.description) + draft.allow6).map { .text($0) })),
      ("deny", .list((forward.deny.map(\.description) + draft.deny6).map { .text($0) })),
      ("hairpin", .flag(forward.hairpin)),
      ("enabled", .flag(forward.isEnabled)),
      ("helper", helper(forward.helper)),
      ("timeouts", forward.timeouts.map { timeouts($0, TimeoutKey.session) } ?? .absent("those of [timeouts]")),
    ]
  }

  private func masquerade(_ masquerade: MasqueradePlan) -> Document {
    .table([
      ("from", .text(plan.interfaces[masquerade.from].name)),
      ("to", .text(plan.interfaces[masquerade.to].name)),
      (
        "external",
        masquerade.externals.isEmpty && masquerade.external6 == nil
          ? .absent("the first address of \(plan.interfaces[masquerade.to].name)")
          : .list((Self.runs(masquerade.externals) + (masquerade.external6.map { ["\($0)"] } ?? [])).map { .text($0) })
      ),
      ("except", .list(masquerade.except.map { .text($0.description) })),
      ("ports", .text(Self.list(masquerade.pool))),
      ("mapping", .text(masquerade.mapping.rawValue)),
      ("filtering", .text(masquerade.filtering.rawValue)),
      ("inbound-refresh", .flag(masquerade.inboundRefresh)),
      ("other-protocols", .flag(masquerade.otherProtocols)),
      ("helper", helper(masquerade.helper)),
    ])
  }

  private func prefix(_ prefix: PrefixPlan) -> Document {
    .table([
      ("on", .text(plan.interfaces[prefix.interface].name)),
      ("inside", .text(prefix.inside.description)),
      ("outside", .text(prefix.outside.description)),
    ])
  }

  private func helper(_ helper: Helper?) -> Document { helper.map { .text($0.rawValue) } ?? .absent("none") }

  func triggerRows(_ trigger: TriggerPlan) -> [(key: String, value: Document)] {
    let names: [(ForwardPlan.Protocols, String)] = [(.tcp, "tcp"), (.udp, "udp")]
    return [
      ("name", .text(trigger.name)),
      ("from", .text(plan.interfaces[trigger.from].name)),
      ("protocol", .text(names.filter { trigger.protocols.contains($0.0) }.map(\.1).joined(separator: "+"))),
      ("when", .text(Self.list(trigger.when))),
      ("open", .text(Self.list(trigger.open))),
      ("for", .text(DurationText.text(trigger.seconds))),
      ("conflict", .text(trigger.conflict.rawValue)),
    ]
  }

  /// Addresses in order, neighbours as ranges.
  private static func runs(_ addresses: [IPv4Address]) -> [String] {
    var runs: [ClosedRange<UInt32>] = []
    for address in addresses {
      if let last = runs.last, last.upperBound &+ 1 == address.value, address.value != 0 {
        runs[runs.count - 1] = last.lowerBound...address.value
      } else {
        runs.append(address.value...address.value)
      }
    }
    return runs.map {
      $0.count == 1 ? "\(IPv4Address($0.lowerBound))" : "\(IPv4Address($0.lowerBound))-\(IPv4Address($0.upperBound))"
    }
  }

  private static func list(_ ranges: [PortRange]) -> String { ranges.map(\.text).joined(separator: ", ") }
}
