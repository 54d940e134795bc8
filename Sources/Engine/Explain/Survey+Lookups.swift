// Lookups that change nothing, and what the configuration says about what they find.
extension Core {
  // MARK: Sessions and mappings, by the clock

  func liveFlow(_ key: FlowKey) -> UInt32? {
    guard let flow = flows.sessions.find(key), isLive(flow &>> 1) else { return nil }
    return flow
  }

  /// The live mapping that owns an outside endpoint.
  func liveMapping(outside address: UInt32, _ port: UInt16, _ ipProtocol: UInt8) -> UInt32? {
    let key = MappingTable.outsideKey(address: address, port: port, ipProtocol: ipProtocol)
    guard let mapping = flows.mappings.find(outside: key), flows.mappings[mapping].state == MappingState.live else {
      return nil
    }
    var session = flows.firstSession(mapping)
    var members: UInt32 = 0
    while session != 0 {
      if isLive(session) { return mapping }
      if !SessionState.isGoing(flows.sessions.common(session).state) { members &+= 1 }
      session = flows.nextSession(session)
    }
    guard flows.mappings[mapping].life.users > members else { return nil }
    // The other users are hairpin sessions that come in by it.
    let tick = clock.tick
    return (1..<max(1, flows.sessions.highWater)).contains { flows.isGuest($0, of: mapping, at: tick) } ? mapping : nil
  }

  /// Whether a remote may begin a session of a mapping (RFC 4787 section 5).
  func mayUse(_ mapping: UInt32, _ remote: UInt32) -> Bool {
    let line = flows.mappings[mapping]
    switch line.filtering {
    case .endpointIndependent: return true
    case .addressAndPortDependent: return false
    case .addressDependent: break
    }
    var session = flows.firstSession(mapping)
    while session != 0 {
      if flows.sessions.common(session).remote == remote, isLive(session) { return true }
      session = flows.nextSession(session)
    }
    return false
  }

  // MARK: Ways

  /// Where a live session's packets go in the direction of `flow`.
  func way(of flow: UInt32) -> RouteTable.Hop? {
    let line = flows.sessions.flow(flow)
    let egress = Int(flows.sessions.flow(flow ^ 1).key.scope)
    if line.adjacency != 0 {
      let adjacency = adjacencies[line.adjacency]
      return RouteTable.Hop(
        interface: Int(adjacency.egress),
        address: IPv4Address(wire: adjacency.address != 0 ? adjacency.address : line.newDestination))
    }
    return routes.find(IPv4Address(wire: line.newDestination), over: egress)
  }

  /// The configuration's line that makes `hop` a next hop: a gateway, a route, or the prefix it is in.
  func route(to hop: RouteTable.Hop) -> PlanReference? {
    let interface = plan.interfaces[hop.interface]
    if interface.gateways.contains(hop.address) { return PlanReference(.interface(hop.interface), "gateway") }
    if let index = plan.routes.firstIndex(where: { $0.via == hop.address && $0.interface == hop.interface }) {
      return PlanReference(.route(index))
    }
    return PlanReference(.interface(hop.interface), "address")
  }

  func reference(_ origin: SessionReport.Origin) -> PlanReference? {
    switch origin {
    case .forward(let index): PlanReference(.forward(index))
    case .masquerade(let index): PlanReference(.masquerade(index))
    case .hairpin, .outbound: nil
    case .trigger(let index): PlanReference(.trigger(index))
    }
  }

  func masqueradeIndex(of mapping: MappingLine) -> Int? {
    rules.masquerade(from: Int(mapping.interface), as: mapping.outsideAddress)
  }

  // MARK: Forwards

  /// Most forwards that are told; those that differ in the least come first.
  static let mostCandidates = 8

  /// Every forward that comes near, why it lost or won, and what would make the nearest loser win.
  func surveyCandidates(_ packet: Packet, winner: PortTable.Entry?, _ survey: inout Survey) {
    let takes = winner.map { entry in
      let port = packet.kind == FlowKind.echoRequest ? "" : ":\(entry.port)"
      return (entry.rule, "takes \(Self.service(packet)) to \(plan.forwards[entry.rule].target)\(port)")
    }
    surveyCandidates(among: Array(plan.forwards.indices), winner: takes, misses: { misses(packet, $0) }, &survey)
  }

  /// In what a forward and a packet differ: what is wrong, the key that says so, and what would be right.
  typealias Miss = (text: String, key: String?, remedy: String)

  func surveyCandidates(
    among rules: [Int], winner: (rule: Int, text: String)?, misses: (Int) -> [Miss], _ survey: inout Survey
  ) {
    var near: [(misses: Int, candidate: Explanation.Candidate, remedy: String)] = []
    for index in rules {
      if let winner, index == winner.rule {
        near.append((0, Explanation.Candidate(rule: .forward(index), won: true, text: winner.text, key: nil), ""))
        continue
      }
      let misses = misses(index)
      guard misses.count < 3 else {
        survey.otherForwards += 1
        continue
      }
      let first = misses.first ?? (text: lost(to: winner?.rule), key: nil, remedy: "")
      let text = misses.count < 2 ? first.text : misses.map(\.text).joined(separator: ", and ")
      near.append(
        (
          max(1, misses.count), Explanation.Candidate(rule: .forward(index), won: false, text: text, key: first.key),
          misses.map(\.remedy).joined(separator: " and ")
        ))
    }
    let order = near.enumerated().sorted { ($0.element.misses, $0.offset) < ($1.element.misses, $1.offset) }.map(
      \.element)
    survey.candidates = order.prefix(Self.mostCandidates).map(\.candidate)
    survey.otherForwards += max(0, order.count - Self.mostCandidates)
    for candidate in survey.candidates {
      survey.pass(
        .forward,
        "\(title(candidate.rule)) \(candidate.won ? "" : "does not: ")\(candidate.text)",
        PlanReference(candidate.rule, candidate.key))
    }
    guard winner == nil else { return }
    for near in order.prefix(2) where !near.remedy.isEmpty && near.misses == order[0].misses {
      survey.remedy(
        "in \(title(near.candidate.rule)): \(near.remedy)", PlanReference(near.candidate.rule, near.candidate.key))
    }
  }

  /// `forward "web"`.
  func title(_ rule: PlanReference.Part) -> String {
    switch rule {
    case .forward(let index): "forward \"\(plan.forwards[index].name)\""
    case .trigger(let index): "trigger \"\(plan.triggers[index].name)\""
    default: "another rule"
    }
  }

  private func lost(to winner: Int?) -> String {
    winner.map { "forward \"\(plan.forwards[$0].name)\" is narrower and wins" } ?? "another one wins"
  }

  /// A packet's protocol: its word, and what a forward says to have it.
  private static func protocols(_ kind: UInt8) -> (String, ForwardPlan.Protocols, String) {
    switch kind {
    case FlowKind.tcp: ("tcp", .tcp, "protocol = \"tcp+udp\"")
    case FlowKind.udp: ("udp", .udp, "protocol = \"tcp+udp\"")
    case FlowKind.other: ("all", .other, "protocol = \"all\" with ports = \"all\"")
    default: ("echo", .echo, "protocol = \"any\" with ports = \"all\"")
    }
  }

  private func misses(_ packet: Packet, _ index: Int) -> [Miss] {
    let forward = plan.forwards[index]
    var list: [Miss] = []
    let externals =
      forward.isOnInterface ? plan.interfaces[forward.interface].addresses.map(\.address) : forward.externals
    if !externals.contains(packet.destination) {
      let own = externals.map(\.description).joined(separator: ", ")
      list.append(
        (
          "it is for \(own), not \(packet.destination)", forward.isOnInterface ? "on" : "external",
          "name \(packet.destination)"
        ))
    }
    return list + missesOfService(packet.kind, packet.key, forward, forward.protocols, forward.spans.map(\.ports))
  }

  /// Protocol, ports, and whether it is there at all.
  func missesOfService(
    _ kind: UInt8, _ key: FlowKey, _ forward: ForwardPlan, _ protocols: ForwardPlan.Protocols, _ ports: [PortRange]
  ) -> [Miss] {
    var list: [Miss] = []
    let (word, wanted, right) = Self.protocols(kind)
    if !protocols.contains(wanted) {
      list.append(("its protocol is not \(word)", "protocol", "set \(right)"))
    }
    let port = key.destinationPort.bigEndian
    if kind == FlowKind.tcp || kind == FlowKind.udp,
      !ports.contains(where: { $0.first <= port && port <= $0.last })
    {
      let isExcepted = forward.isWholeHost
      let spans = ports.prefix(6).map { $0.first == $0.last ? "\($0.first)" : "\($0.first)-\($0.last)" }
      list.append(
        (
          isExcepted
            ? "port \(port) is among its exceptions" : "its ports are \(spans.joined(separator: ", ")), not \(port)",
          isExcepted ? "except" : "ports", isExcepted ? "take \(port) out of except" : "add \(port) to ports"
        ))
    }
    if !forward.isEnabled { list.append(("it has enabled = false", "enabled", "set enabled = true")) }
    return list
  }
}
