/// A plan compiled: everything that decides what becomes of a packet and is not state. Built aside, then put in place of
/// the one before between two bursts (`Core.replace`).
///
/// One worker owns it. Its tables are only read.
public struct Rules: @unchecked Sendable {
  let plan: Plan
  let interfaces: UnsafeBufferPointer<Interface>
  /// The IPv6 side of each, nil for none: apart, so that who looks at an interface does not copy it too.
  let sixes: UnsafeBufferPointer<Interface6?>
  let routes: RouteTable
  let routes6: RouteTable6
  let forwards: ForwardTable
  let pinholes: PinholeTable
  let prefixes: UnsafeBufferPointer<PrefixRule>
  let translation6: Translation6
  /// By the numbers of the plan's forwards and masquerades.
  let forwardRules: UnsafeBufferPointer<ForwardRule>
  let masquerades: UnsafeBufferPointer<MasqueradeRule>
  /// TCP and UDP ports of forwards, which no mapping may get.
  let reserved: ReservedPorts
  /// Outside addresses that are ours, forwards' externals included -> interface.
  let outsideAddresses: AddressTable
  /// Inside interfaces' own addresses -> interface.
  let insideAddresses: AddressTable
  /// Network and directed broadcast addresses of all interfaces.
  let broadcasts: AddressTable
  /// Our own IPv6 addresses, but for link-local ones -> interface.
  let own6: [IPv6Address: Int]
  /// Targets that have their outside address themselves (a forward that changes the port alone): they send from an
  /// address that is ours for everybody else.
  let publicTargets: AddressTable
  /// In `alongside` mode frames that are not ours are the host's.
  let isAlongside: Bool
  /// Some interface tells the senders of unsolicited SYNs.
  let remembersUnsolicited: Bool
  let timeouts: TickTimeouts
  /// Pool of outside ports where no masquerade says otherwise.
  let defaultPool: UnsafeBufferPointer<PortRange>
  let triggers: TriggerTable
  let draws: DrawRanges
  let limits: TableLimits
  /// Some destinations are not translated: their answers come straight to inside addresses.
  let hasExceptions: Bool

  /// - Parameter plan: every Ethernet interface has a MAC, every interface an MTU.
  public init(_ plan: Plan) throws(PlanError) {
    guard plan.interfaces.count < Int(Link.none) else { throw .tooMany("interfaces") }
    guard plan.forwards.count < 32_768 else { throw .tooMany("forwards") }
    guard plan.triggers.count <= Openings.mostTriggers else { throw .tooMany("triggers") }
    for interface in plan.interfaces where interface.link == .ethernet && interface.mac == nil {
      throw .noMAC(interface: interface.name)
    }
    guard Translation6.areDistinct(plan) else { throw .tooMany("IPv6 addresses of forwards and masquerades") }
    self.plan = plan
    let interfaces = plan.interfaces.indices.map { Interface(plan.interfaces[$0], externals: plan.externals(on: $0)) }
    self.interfaces = UnsafeBufferPointer(copying: interfaces)
    sixes = UnsafeBufferPointer(copying: plan.interfaces.map { Interface6($0) })
    routes = RouteTable(plan)
    routes6 = RouteTable6(plan)
    own6 = Dictionary(
      plan.interfaces.enumerated().flatMap { index, interface in
        interface.addresses6.map(\.address).filter { !$0.isLinkLocal }.map { ($0, index) }
      }, uniquingKeysWith: { first, _ in first })
    let maker = ForwardTableMaker(plan)
    forwards = maker.table()
    pinholes = PinholeTable(plan)
    translation6 = Translation6(plan)
    var reserved = maker.reserved
    reserved.add(translation6.reserved)
    self.reserved = reserved
    prefixes = UnsafeBufferPointer(copying: plan.prefixes.map { PrefixRule($0) })
    forwardRules = UnsafeBufferPointer(
      copying: plan.forwards.map { ForwardRule($0, externals: plan.externals(of: $0), plan.timeouts) })
    masquerades = UnsafeBufferPointer(
      copying: plan.masquerades.map { MasqueradeRule($0, own: interfaces[$0.to]) })
    outsideAddresses = AddressTable(plan.addresses(of: .outside))
    insideAddresses = AddressTable(plan.addresses(of: .inside))
    let linked = plan.interfaces.flatMap(\.addresses).filter { $0.length <= 30 }
    broadcasts = AddressTable(
      [UInt32: Int](linked.flatMap { [($0.network.wire, 0), ($0.last.wire, 0)] }, uniquingKeysWith: { $1 }))
    let own = Set(plan.interfaces.flatMap { $0.addresses.map(\.address) })
    publicTargets = AddressTable(
      [UInt32: Int](
        plan.forwards.filter { $0.isEnabled && $0.externals.contains($0.target) && !own.contains($0.target) }
          .map { ($0.target.wire, 0) }, uniquingKeysWith: { $1 }))
    isAlongside = plan.mode == .alongside
    remembersUnsolicited = plan.interfaces.contains { $0.unsolicited == .unreachable }
    timeouts = TickTimeouts(plan.timeouts)
    defaultPool = UnsafeBufferPointer(copying: [PortRange(1024, 65535)])
    triggers = TriggerTable(plan, masquerades)
    draws = DrawRanges(plan.masquerades.map(\.pool) + [Array(defaultPool)], without: plan.triggers)
    limits = TableLimits(plan)
    hasExceptions = plan.masquerades.contains { !$0.except.isEmpty }
  }

  /// Outside addresses (raw; of IPv6 their numbers) that mappings may have ports of.
  var pooledAddresses: [UInt32] { outsideAddresses.addresses + translation6.numbers }

  /// Gives back what it holds; for the owner alone.
  public func release() {
    for interface in interfaces { interface.release() }
    interfaces.deallocate()
    for six in sixes { six?.release() }
    sixes.deallocate()
    routes.release()
    routes6.release()
    forwards.release()
    prefixes.deallocate()
    translation6.release()
    for rule in forwardRules { rule.release() }
    forwardRules.deallocate()
    for rule in masquerades { rule.release() }
    masquerades.deallocate()
    outsideAddresses.release()
    insideAddresses.release()
    broadcasts.release()
    publicTargets.release()
    defaultPool.deallocate()
    triggers.release()
    draws.release()
  }
}

extension Plan {
  /// Outside addresses of forwards and masquerades on an interface that are not said to be its own, raw.
  fileprivate func externals(on interface: Int) -> Set<UInt32> {
    let forwarded = forwards.filter { $0.isEnabled && $0.interface == interface && !$0.isOnInterface }
    let masqueraded = masquerades.filter { $0.to == interface }
    return Set((forwarded.flatMap(\.externals) + masqueraded.flatMap(\.externals)).map(\.wire))
  }

  /// All addresses (raw) of the interfaces on one side -> interface; of two with the same the last.
  fileprivate func addresses(of role: InterfacePlan.Role) -> [UInt32: Int] {
    var owners: [UInt32: Int] = [:]
    for (index, interface) in interfaces.enumerated() where interface.role == role {
      for address in interface.addresses.map(\.address.wire) + externals(on: index) { owners[address] = index }
    }
    return owners
  }
}

/// What may be in the tables at once, where less than there is room for.
struct TableLimits {
  let sessionsPerHost: UInt32
  let portsPerHost: UInt32
  let halfOpen: Int

  init(_ plan: Plan) {
    func limit(_ count: Int?) -> UInt32 { count.map { UInt32(clamping: $0) } ?? .max }
    sessionsPerHost = limit(plan.limits.sessionsPerHost)
    portsPerHost = limit(plan.limits.portsPerHost)
    halfOpen = plan.limits.halfOpen(of: plan.sessions)
  }
}

// The slow path reads the rules by their names.
extension Core {
  var plan: Plan { rules.plan }
  var interfaces: UnsafeBufferPointer<Interface> { rules.interfaces }
  var sixes: UnsafeBufferPointer<Interface6?> { rules.sixes }
  var routes: RouteTable { rules.routes }
  var routes6: RouteTable6 { rules.routes6 }
  var own6: [IPv6Address: Int] { rules.own6 }
  var forwards: ForwardTable { rules.forwards }
  var outsideAddresses: AddressTable { rules.outsideAddresses }
  var insideAddresses: AddressTable { rules.insideAddresses }
  var broadcasts: AddressTable { rules.broadcasts }
  var publicTargets: AddressTable { rules.publicTargets }
  var forwardRules: UnsafeBufferPointer<ForwardRule> { rules.forwardRules }
  var masquerades: UnsafeBufferPointer<MasqueradeRule> { rules.masquerades }
  var isAlongside: Bool { rules.isAlongside }
  var timeouts: TickTimeouts { rules.timeouts }
  func timeouts(of origin: Origin) -> TickTimeouts {
    if case .forward(let index) = origin.report, index < rules.forwardRules.count {
      return rules.forwardRules[index].timeouts
    }
    return rules.timeouts
  }
}
