import Engine

// Plans for tests, said shortly. The network is always the same:
//
//   client 198.51.100.7 ... 203.0.113.254 (provider's router) -- wan 203.0.113.1/24 [gateway] lan 192.168.1.1/24 -- 192.168.1.x
//
// Every host has the station that `Station.of` gives it, so that expected Ethernet headers need no table.

extension Station {
  /// The Ethernet address that a test host has: 02:0a and the four bytes of its IPv4 address.
  package static func of(_ host: Host) -> Station { Station(bytes: [0x02, 0x0A] + host.bytes) }
}

extension Plan {
  /// wan and lan, static neighbours 203.0.113.254, 203.0.113.9, 192.168.1.10 to .12; no forwards, no masquerade.
  package static func home(_ change: (inout Plan) -> Void = { _ in }) -> Plan {
    var plan = Plan()
    plan.sessions = 4096
    plan.interface("wan", .outside, "203.0.113.1/24", mac: "02:00:00:00:01:01") {
      $0.gateways = [IPv4Address(203, 0, 113, 254)]
    }
    plan.interface("lan", .inside, "192.168.1.1/24", mac: "02:00:00:00:02:01")
    for host: Host in ["203.0.113.254", "203.0.113.9", "192.168.1.10", "192.168.1.11", "192.168.1.12"] {
      plan.neighbor(host)
    }
    change(&plan)
    return plan
  }

  /// Adds an interface; its device has the same name unless changed.
  package mutating func interface(
    _ name: String, _ role: InterfacePlan.Role, _ address: String, mac: Station?,
    _ change: (inout InterfacePlan) -> Void = { _ in }
  ) {
    var interface = InterfacePlan(name: name, role: role, device: name)
    interface.addresses = [IPv4Prefix(address)!]
    interface.mac = mac?.planned
    interface.mtu = 1500
    if mac == nil { interface.link = .rawIP }
    change(&interface)
    interfaces.append(interface)
  }

  package func index(of interface: String) -> Int {
    guard let index = interfaces.firstIndex(where: { $0.name == interface }) else {
      fatalError("no interface \(interface)")
    }
    return index
  }

  /// Changes the interface called `name`.
  package mutating func change(_ name: String, _ change: (inout InterfacePlan) -> Void) {
    change(&interfaces[index(of: name)])
  }

  /// A static neighbour with `Station.of` its address.
  package mutating func neighbor(_ host: Host) {
    let home = interfaces.firstIndex { $0.addresses.contains { $0.contains(host.planned) } }!
    neighbors.append(NeighborPlan(address: host.planned, mac: Station.of(host).planned, interface: home))
  }

  package mutating func route(_ destination: String, via host: Host) {
    let home = interfaces.firstIndex { $0.addresses.contains { $0.contains(host.planned) } }!
    routes.append(RoutePlan(destination: IPv4Prefix(destination)!, via: host.planned, interface: home))
  }

  /// A forward as the configuration file would say it.
  ///
  /// - Parameters:
  ///   - ports: "8840, 8810-8815" or "all".
  ///   - target: "192.168.1.10", with ":9090" or ":9810-9817" after it.
  ///   - external: one outside address in place of all of the interface's.
  package mutating func forward(
    _ name: String = "web", _ protocols: ForwardPlan.Protocols = .tcp, ports: String, except: String = "",
    to target: String, on interface: String = "wan", external: Host? = nil,
    _ change: (inout ForwardPlan) -> Void = { _ in }
  ) {
    let parts = target.split(separator: ":").map(String.init)
    let home = index(of: interface)
    var forward = ForwardPlan(
      name: name, protocols: protocols, interface: home,
      externals: external.map { [$0.planned] } ?? interfaces[home].addresses.map(\.address),
      isOnInterface: external == nil, isWholeHost: ports == "all",
      spans: Self.spans(ports, except: except, target: parts.count > 1 ? parts[1] : nil), target: Host(parts[0]).planned
    )
    change(&forward)
    forwards.append(forward)
  }

  package mutating func masquerade(
    from: String = "lan", to: String = "wan", _ change: (inout MasqueradePlan) -> Void = { _ in }
  ) {
    var masquerade = MasqueradePlan(from: index(of: from), to: index(of: to))
    change(&masquerade)
    masquerades.append(masquerade)
  }

  /// A trigger as the configuration file would say it.
  package mutating func trigger(
    _ name: String = "game", _ protocols: ForwardPlan.Protocols = .udp, from: String = "lan", when: String,
    open: String,
    _ change: (inout TriggerPlan) -> Void = { _ in }
  ) {
    var trigger = TriggerPlan(
      name: name, from: index(of: from), protocols: protocols, when: Self.ranges(when), open: Self.ranges(open))
    change(&trigger)
    triggers.append(trigger)
  }

  private static func ranges(_ text: String) -> [PortRange] {
    if text == "all" { return [PortRange(1, 65535)] }
    return text.split(separator: ",").map { part in
      let ends = part.split(separator: "-").map { UInt16($0.filter { $0 != " " })! }
      return PortRange(ends[0], ends[ends.count - 1])
    }
  }

  /// The k-th port as written goes to the k-th target port, counted before `except` (CONTRACT, "Ports of a forward").
  private static func spans(_ text: String, except: String, target: String?) -> [PortSpan] {
    let excluded = ranges(except)
    let targets = target.map { ranges($0)[0] }
    var counted = 0
    var spans: [PortSpan] = []
    for range in ranges(text) {
      var run: PortSpan?
      for port in range.first...range.last {
        let parallel = targets.map { $0.count > 1 || text.allSatisfy(\.isNumber) } ?? true
        let to = targets.map { parallel ? $0.first + UInt16(counted) : $0.first } ?? port
        counted += 1
        guard !excluded.contains(where: { $0.first <= port && port <= $0.last }) else {
          if let whole = run { spans.append(whole) }
          run = nil
          continue
        }
        if run == nil { run = PortSpan(ports: PortRange(port, port), target: to, isParallel: parallel) }
        run!.ports.last = port
      }
      if let whole = run { spans.append(whole) }
    }
    return spans
  }
}
