import Engine

/// One masquerade of a plan with hosts to play it: inside hosts that nobody else is, and three outside.
struct Trial {
  let plan: Plan
  let rule: MasqueradePlan
  /// The outside address that inside hosts get.
  let address: IPv4Address
  let hosts: [IPv4Address]
  let peers: [IPv4Address]
  /// Ports that a host may keep: in the pool, from 1024 on, of no forward. Even and odd ones.
  let ports: [UInt16]

  /// nil where the plan leaves no room for it, with the reason.
  static func make(_ plan: Plan, _ index: Int) -> Result<Trial, Obstacle> {
    let rule = plan.masquerades[index]
    let hosts = freeHosts(plan, behind: rule.from)
    guard !hosts.isEmpty else { return .failure(Obstacle("no free address behind \(plan.interfaces[rule.from].name)")) }
    let peers = outsidePeers(plan, behind: rule.to)
    guard peers.count == 3 else { return .failure(Obstacle("no route out of \(plan.interfaces[rule.to].name)")) }
    guard let address = plan.interfaces[rule.to].addresses.first?.address else {
      return .failure(Obstacle("\(plan.interfaces[rule.to].name) has no address"))
    }
    let ports = rule.pool.flatMap { Swift.max(1024, $0.first)...Swift.max(1024, $0.last) }
      .filter { !plan.isForwarded(address, $0) }
    guard ports.count >= 2 else { return .failure(Obstacle("no port of the pool is free of forwards")) }
    return .success(
      Trial(
        plan: plan.prepared(hosts: hosts + peers), rule: rule, address: address, hosts: hosts, peers: peers,
        ports: ports))
  }

  /// Why a masquerade cannot be played.
  struct Obstacle: Error {
    let text: String
    init(_ text: String) { self.text = text }
  }

  private static func freeHosts(_ plan: Plan, behind interface: Int) -> [IPv4Address] {
    guard let prefix = plan.interfaces[interface].addresses.first, prefix.length < 31 else { return [] }
    let taken = Set(
      plan.forwards.filter { !$0.protocols.isEmpty }.map(\.target) + plan.neighbors.map(\.address)
        + plan.routes.map(\.via)
        + plan.interfaces.flatMap { $0.addresses.map(\.address) })
    return (prefix.network.value + 1..<prefix.last.value).lazy.map { IPv4Address($0) }
      .filter { !taken.contains($0) && plan.way(to: $0) == interface }.prefix(17).map { $0 }
  }

  /// Documentation addresses where the default route leads there, else neighbours.
  private static func outsidePeers(_ plan: Plan, behind interface: Int) -> [IPv4Address] {
    let own = Set(plan.interfaces.flatMap { $0.addresses.map(\.address) } + plan.forwards.flatMap(\.externals))
    let prefix = plan.interfaces[interface].addresses.first
    let near = prefix.map { Array(($0.network.value + 1..<$0.last.value).prefix(300).map { IPv4Address($0) }) } ?? []
    let far = [IPv4Address(198, 51, 100, 7), IPv4Address(198, 51, 100, 99), IPv4Address(192, 0, 2, 45)]
    let gateways = plan.interfaces.flatMap(\.gateways)
    return Array(
      (far + near).filter { plan.way(to: $0) == interface && !own.contains($0) && !gateways.contains($0) }.prefix(3))
  }

  // MARK: Steps

  func stage() throws -> Stage { try Stage(plan) }

  var inside: Int { rule.from }
  var outside: Int { rule.to }
  func host(_ index: Int, _ port: UInt16) -> Endpoint { Endpoint(hosts[index], port) }
  func peer(_ index: Int, _ port: UInt16) -> Endpoint { Endpoint(peers[index], port) }

  /// A UDP datagram of an inside host: the outside endpoint that it left with.
  func mapped(_ stage: inout Stage, _ source: Endpoint, to destination: Endpoint) -> Endpoint? {
    sent(&stage, .udp(source, destination), to: destination)
  }

  /// The same for any datagram.
  func sent(_ stage: inout Stage, _ datagram: Datagram, to destination: Endpoint) -> Endpoint? {
    guard let left = stage.send(datagram, into: inside).forwarded, left.interface == outside, left.datagram.isSound,
      left.datagram.destination == destination
    else { return nil }
    return left.datagram.source
  }

  /// Whether a datagram from outside reaches this inside endpoint.
  func reaches(_ stage: inout Stage, _ datagram: Datagram, _ target: Endpoint, at time: Double? = nil) -> Bool {
    guard let left = stage.send(datagram, into: outside, at: time).forwarded else { return false }
    return left.interface == inside && left.datagram.isSound && left.datagram.destination == target
  }
}

extension Plan {
  /// Whether a forward has this outside endpoint, for any protocol.
  func isForwarded(_ address: IPv4Address, _ port: UInt16) -> Bool {
    forwards.contains { forward in
      forward.isEnabled && forward.externals.contains(address)
        && forward.spans.contains { $0.ports.first <= port && port <= $0.ports.last }
    }
  }
}
