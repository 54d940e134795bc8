extension Plan {
  /// A thing that two plans differ in and that a running engine cannot change.
  public enum FixedPart: Hashable, Sendable {
    /// A key of `[engine]`.
    case engine(String)
    /// A key of an interface that both have; its index in the new plan.
    case interface(Int, String)
    /// A key of a forward or masquerade; its index in the new plan.
    case forward(Int, String)
    case masquerade(Int, String)
    case newInterface(Int)
    /// Its name.
    case missingInterface(String)
  }

  /// What keeps a running engine from taking this plan over from `old`; both complete. IPv4 addresses, gateways,
  /// `ping` and `unsolicited` of an interface may change.
  public func fixedChanges(from old: Plan) -> [FixedPart] {
    var changes: [FixedPart] = []
    if mode != old.mode { changes.append(.engine("mode")) }
    if workers != old.workers { changes.append(.engine("workers")) }
    if sessions != old.sessions { changes.append(.engine("sessions")) }
    if state != old.state { changes.append(.engine("state")) }
    if ring != old.ring { changes.append(.engine("ring")) }
    if spinMicroseconds != old.spinMicroseconds { changes.append(.engine("spin-microseconds")) }
    if recorder != old.recorder { changes.append(.engine("recorder")) }
    if cores != old.cores { changes.append(.engine("cores")) }
    // What helpers need to know has its room in the tables from the start, or not at all.
    if hasHelpers, !old.hasHelpers {
      if let index = forwards.firstIndex(where: { $0.helper != nil }) {
        changes.append(.forward(index, "helper"))
      } else if let index = masquerades.firstIndex(where: { $0.helper != nil }) {
        changes.append(.masquerade(index, "helper"))
      }
    }
    for (index, interface) in interfaces.enumerated() {
      guard let before = old.interfaces.first(where: { $0.name == interface.name }) else {
        changes.append(.newInterface(index))
        continue
      }
      if interface.role != before.role { changes.append(.interface(index, "role")) }
      if interface.device != before.device || interface.link != before.link {
        changes.append(.interface(index, "device"))
      }
      if interface.tags != before.tags { changes.append(.interface(index, "vlan")) }
      if interface.mac != before.mac { changes.append(.interface(index, "mac")) }
      if interface.mtu != before.mtu { changes.append(.interface(index, "mtu")) }
      // Devices are told at the start which groups to listen to.
      if interface.addresses6 != before.addresses6 { changes.append(.interface(index, "address")) }
    }
    for before in old.interfaces where !interfaces.contains(where: { $0.name == before.name }) {
      changes.append(.missingInterface(before.name))
    }
    return changes
  }

  /// The same plan with its interfaces in the order that `old` has them in: indexes are what a running engine knows.
  ///
  /// - Parameter old: a plan with the same names.
  public func arranged(like old: Plan) -> Plan {
    let order = interfaces.map { interface in old.interfaces.firstIndex { $0.name == interface.name } ?? 0 }
    guard order != Array(interfaces.indices) else { return self }
    var plan = self
    for (index, place) in order.enumerated() { plan.interfaces[place] = interfaces[index] }
    for index in routes.indices { plan.routes[index].interface = order[routes[index].interface] }
    for index in neighbors.indices { plan.neighbors[index].interface = order[neighbors[index].interface] }
    for index in routes6.indices { plan.routes6[index].interface = order[routes6[index].interface] }
    for index in neighbors6.indices { plan.neighbors6[index].interface = order[neighbors6[index].interface] }
    for index in forwards.indices { plan.forwards[index].interface = order[forwards[index].interface] }
    for index in masquerades.indices {
      plan.masquerades[index].from = order[masquerades[index].from]
      plan.masquerades[index].to = order[masquerades[index].to]
    }
    for index in prefixes.indices { plan.prefixes[index].interface = order[prefixes[index].interface] }
    for index in triggers.indices { plan.triggers[index].from = order[triggers[index].from] }
    return plan
  }
}
