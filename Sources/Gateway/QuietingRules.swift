import Engine

/// What the host's own stack must not see, as nftables rules for the ingress of each device.
///
/// Packet sockets are served before the ingress hook, so our ring still gets the frame; and the kernel sends no RST or
/// ICMP error for what it does not know, and routes nothing a second time.
struct QuietingRules: Sendable, Equatable {
  enum Policy: String, Sendable { case accept, drop }

  /// What happens to frames that no rule names.
  var policy: Policy
  var rules: [String]

  /// `dedicated`: everything, but what a DHCP client waits for where the addresses are the kernel's.
  static func dedicated(isAutomatic: Bool) -> Self {
    Self(policy: .drop, rules: isAutomatic ? ["meta protocol ip udp dport 68 accept"] : [])
  }

  /// The rules of each link of `links`.
  static func rules(for plan: Plan, links: LinkTable) -> [Self] {
    links.links.map { link in
      let interfaces = link.interfaces.map { plan.interfaces[$0] }
      switch plan.mode {
      case .dedicated: return dedicated(isAutomatic: interfaces.contains(where: \.isAutomatic))
      case .alongside:
        let rules = link.interfaces.flatMap { index in
          let scope = scope(of: plan.interfaces[index])
          return taken(at: index, by: plan).map { "\(scope) \($0) drop" }
        }
        return Self(policy: .accept, rules: rules)
      }
    }
  }

  /// What either of the two hides.
  func union(_ other: Self) -> Self {
    Self(policy: policy, rules: rules + other.rules.filter { !rules.contains($0) })
  }

  /// Matches the frames of one interface among those of its device. The kernel shows a tag that it took out of the frame
  /// in front of the EtherType again.
  private static func scope(of interface: InterfacePlan) -> String {
    if interface.link == .rawIP { return "meta protocol ip" }
    switch interface.tags.count {
    case 0: return "ether type ip"
    case 1: return "vlan id \(interface.tags[0].vlan) vlan type ip"
    default: return "vlan id \(interface.tags[0].vlan)"
    }
  }

  /// Everything that the engine takes at an interface in `alongside` mode.
  private static func taken(at index: Int, by plan: Plan) -> [String] {
    let forwards = plan.forwards.filter(\.isEnabled)
    let elsewhere = "ip daddr != \(set(local(in: plan)))"
    var rules: [String] = []
    for forward in forwards {
      let externals = set(forward.externals.map(\.description))
      // Requests, from outside and by hairpin.
      rules += matches(forward, "dport", forward.spans.map(\.ports), echo: "echo-request").map {
        "ip daddr \(externals) \($0)"
      }
      // Answers of the target: to clients, to the outside address where a hairpin client seems to be, to ourselves
      // where the target sees us as the client.
      let own = forward.source == .gateway ? plan.interfaces.compactMap { $0.addresses.first?.address } : []
      let clients = set((forward.externals + own).map(\.description))
      for answer in matches(forward, "sport", forward.spans.map(\.targets), echo: "echo-reply") {
        rules.append("ip saddr \(forward.target) \(elsewhere) \(answer)")
        rules.append("ip saddr \(forward.target) ip daddr \(clients) \(answer)")
      }
    }
    for masquerade in plan.masquerades {
      // Answers from outside, and hairpin to a mapping.
      let first = plan.interfaces[masquerade.to].addresses.first?.address
      let outside = masquerade.externals.isEmpty ? first.map { [$0] } ?? [] : masquerade.externals
      for address in outside {
        let ports = portSet(masquerade.pool)
        rules += ["tcp", "udp"].map { "ip daddr \(address) \($0) dport \(ports)" }
        for trigger in plan.triggers where trigger.from == masquerade.from {
          let open = portSet(trigger.open)
          if trigger.protocols.contains(.tcp) { rules.append("ip daddr \(address) tcp dport \(open)") }
          if trigger.protocols.contains(.udp) { rules.append("ip daddr \(address) udp dport \(open)") }
        }
      }
      if masquerade.from == index {
        // What is excepted from translation is the host's to route.
        let translated = "ip daddr != \(set(local(in: plan, and: masquerade.except)))"
        rules.append(masquerade.otherProtocols ? translated : "\(translated) meta l4proto { icmp, tcp, udp }")
      }
    }
    var seen: Set<String> = []
    return rules.filter { seen.insert($0).inserted }
  }

  /// One match for each protocol of the forward.
  private static func matches(_ forward: ForwardPlan, _ side: String, _ ports: [PortRange], echo: String) -> [String] {
    var matches: [String] = []
    if forward.protocols.contains(.tcp) { matches.append("tcp \(side) \(portSet(ports))") }
    if forward.protocols.contains(.udp) { matches.append("udp \(side) \(portSet(ports))") }
    if forward.protocols.contains(.echo) { matches.append("icmp type \(echo)") }
    if forward.protocols.contains(.other) { matches.append("meta l4proto != { icmp, tcp, udp }") }
    return matches
  }

  /// Destinations that are not reached by going out: our own addresses, what is inside, groups; and `others`.
  private static func local(in plan: Plan, and others: [IPv4Prefix] = []) -> [String] {
    var ranges: [ClosedRange<UInt32>] = [0xE000_0000...0xEFFF_FFFF, 0xFFFF_FFFF...0xFFFF_FFFF]
    ranges += others.map(\.range)
    for interface in plan.interfaces {
      for prefix in interface.addresses {
        let isInside = interface.role == .inside
        ranges.append(isInside ? prefix.range : prefix.address.value...prefix.address.value)
      }
    }
    for route in plan.routes where plan.interfaces[route.interface].role == .inside {
      ranges.append(route.destination.range)
    }
    return merged(ranges).map { range in
      let (first, last) = (IPv4Address(range.lowerBound), IPv4Address(range.upperBound))
      return first == last ? "\(first)" : "\(first)-\(last)"
    }
  }

  /// Ascending, without overlaps: nft refuses a set whose intervals meet.
  private static func merged(_ ranges: [ClosedRange<UInt32>]) -> [ClosedRange<UInt32>] {
    var merged: [ClosedRange<UInt32>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = merged.last, UInt64(range.lowerBound) <= UInt64(last.upperBound) + 1 {
        merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    return merged
  }

  private static func portSet(_ ports: [PortRange]) -> String {
    set(
      merged(ports.map { UInt32($0.first)...UInt32($0.last) }).map { range in
        range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
      })
  }

  private static func set(_ elements: [String]) -> String {
    var seen: Set<String> = []
    return "{ " + elements.filter { seen.insert($0).inserted }.joined(separator: ", ") + " }"
  }
}

extension IPv4Prefix {
  fileprivate var range: ClosedRange<UInt32> { network.value...last.value }
}

extension PortSpan {
  /// Ports of the target that answer for this span.
  fileprivate var targets: PortRange {
    PortRange(target, isParallel ? target + (ports.last - ports.first) : target)
  }
}
