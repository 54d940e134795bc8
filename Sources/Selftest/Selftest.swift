import Engine

/// `sluice selftest`: built-in traffic through the pure engine, to see what a configuration amounts to.
///
/// Nothing is sent anywhere and no device is touched. What the devices would give (MAC, MTU, automatic addresses) is
/// made up.
public struct Selftest {
  private let plan: Plan

  public init(_ plan: Plan) { self.plan = plan.addressed() }

  /// Plays everything.
  public func run() throws -> SelftestReport {
    SelftestReport(
      masquerades: try plan.masquerades.indices.map(masquerade),
      forwards: try plan.forwards.indices.filter { plan.forwards[$0].isEnabled }.map(forward))
  }

  private func masquerade(_ index: Int) throws -> SelftestReport.Masquerade {
    let rule = plan.masquerades[index]
    var report = SelftestReport.Masquerade(from: plan.interfaces[rule.from].name, to: plan.interfaces[rule.to].name)
    switch Trial.make(plan, index) {
    case .failure(let obstacle): report.obstacle = obstacle.text
    case .success(let trial):
      report.mapping = try trial.observedMapping()?.rawValue
      report.filtering = try trial.observedFiltering()?.rawValue
      report.consoleType = try NATType(trial.observedMapping(), trial.observedFiltering())
      report.checks = try Check.all.map { check in
        SelftestReport.Check(ids: check.ids, title: check.title, try check.play(trial))
      }
    }
    return report
  }

  // MARK: Forwards

  private func forward(_ index: Int) throws -> SelftestReport.Forward {
    let rule = plan.forwards[index]
    var report = SelftestReport.Forward(name: rule.name, to: "\(rule.target)")
    guard !rule.protocols.isEmpty else {
      report.result = .skipped("it has no IPv4 target, and IPv6 is not tried")
      return report
    }
    guard let span = rule.spans.first, let external = rule.externals.first else {
      report.result = .skipped("no port is left")
      return report
    }
    guard let client = client(of: rule) else {
      report.result = .skipped("no address that is allowed lies behind \(plan.interfaces[rule.interface].name)")
      return report
    }
    // A narrower forward may have some of the ports.
    guard let port = (span.ports.first...span.ports.last).first(where: { owner(external, $0, rule.protocols) == index })
    else {
      report.result = .skipped("narrower forwards have all its ports")
      return report
    }
    let target = Endpoint(rule.target, span.target &+ (span.isParallel ? port &- span.ports.first : 0))
    let outside = Endpoint(external, port)
    report.result = try reach(rule, from: Endpoint(client, 41_000), outside, target)
    if rule.isWholeHost, rule.protocols.contains(.udp), report.result == .met {
      // Whoever is outside reaches the host at the endpoint that it sends from.
      report.consoleType = rule.isOneToOne && rule.isOpen ? .open : .moderate
    }
    return report
  }

  private func owner(_ external: IPv4Address, _ port: UInt16, _ protocols: ForwardPlan.Protocols) -> Int? {
    let matching = plan.forwards.indices.filter { index in
      let forward = plan.forwards[index]
      return forward.isEnabled && forward.externals.contains(external) && !forward.protocols.isDisjoint(with: protocols)
        && forward.spans.contains { $0.ports.first <= port && port <= $0.ports.last }
    }
    return matching.first { !plan.forwards[$0].isWholeHost } ?? matching.first
  }

  /// Somebody outside who may use the forward.
  private func client(of rule: ForwardPlan) -> IPv4Address? {
    let own = plan.interfaces.flatMap { $0.addresses.map(\.address) } + plan.forwards.flatMap(\.externals)
    let near = plan.interfaces[rule.interface].addresses.flatMap { prefix in
      (prefix.network.value..<prefix.last.value).prefix(300).map { IPv4Address($0 + 1) }
    }
    let wanted = [IPv4Address(198, 51, 100, 7)] + rule.allow.map { IPv4Address($0.network.value | 1) } + near
    return wanted.first { host in
      plan.way(to: host) == rule.interface && !own.contains(host) && rule.allow.contains { $0.contains(host) }
        && !rule.deny.contains { $0.contains(host) }
    }
  }

  /// There and back, by each protocol of the forward.
  private func reach(_ rule: ForwardPlan, from client: Endpoint, _ outside: Endpoint, _ target: Endpoint) throws
    -> Finding
  {
    let isTCP = rule.protocols.contains(.tcp)
    for usesTCP in [true, false] where usesTCP ? isTCP : rule.protocols.contains(.udp) {
      var stage = try Stage(plan.prepared(hosts: [client.address, rule.target]))
      let there = usesTCP ? Datagram.tcp(client, outside, Datagram.syn) : .udp(client, outside)
      let outcome = stage.send(there, into: rule.interface)
      guard let arrived = outcome.forwarded, arrived.datagram.destination == target, arrived.datagram.isSound else {
        return .notMet("\(outside) is not forwarded to \(target): \(outcome.reason.name)")
      }
      let back = arrived.datagram.source
      let answer =
        usesTCP ? Datagram.tcp(target, back, Datagram.syn | Datagram.ack, acknowledgment: 1001) : .udp(target, back)
      let returned = stage.send(answer, into: arrived.interface).forwarded?.datagram
      guard returned?.source == outside, returned?.destination == client, returned?.isSound == true else {
        return .notMet("the answer of \(target) does not come back from \(outside)")
      }
    }
    return .met
  }
}

extension ForwardPlan {
  /// Everybody may use it.
  var isOpen: Bool { deny.isEmpty && allow.contains { $0.length == 0 } }
}
