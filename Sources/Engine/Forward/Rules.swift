/// A plan compiled: everything that decides what becomes of a packet and is not state. Built aside, then put in place of
/// the one before between two bursts (`Core.replace`).
///
/// One worker owns it. Its tables are only read.
public struct Rules: @unchecked Sendable {
  let plan: Plan
  let interfaces: [Interface]
  /// The IPv6 side of each, nil for none: apart, so that who looks at an interface does not take hold of it too.
  let sixes: [Interface6?]
  let routes: RouteTable
  let routes6: RouteTable6
  let forwards: ForwardTable
  let pinholes: PinholeTable
  /// Outside addresses that are ours, forwards' externals included; raw -> interface.
  let outsideAddresses: [UInt32: Int]
  /// Inside interfaces' own addresses; raw -> interface.
  let insideAddresses: [UInt32: Int]
  /// Our own IPv6 addresses, but for link-local ones -> interface.
  let own6: [IPv6Address: Int]
  /// Targets that have their outside address themselves (a forward that changes the port alone), by wire address: they
  /// send from an address that is ours for everybody else.
  let publicTargets: Set<UInt32>
  /// In `alongside` mode frames that are not ours are the host's.
  let isAlongside: Bool
  /// Some interface tells the senders of unsolicited SYNs.
  let remembersUnsolicited: Bool
  let timeouts: TickTimeouts
  /// Pool of outside ports where no masquerade says otherwise.
  let defaultPool: UnsafeMutableBufferPointer<PortRange>
  /// Pools of the masquerades, by index.
  let masqueradePools: [UnsafeMutableBufferPointer<PortRange>]
  /// Outside addresses (raw) of the masquerades, by index.
  let masqueradeAddresses: [[UInt32]]
  let triggers: TriggerTable
  let draws: DrawRanges
  /// Idle times of each forward's sessions.
  let forwardTimeouts: [TickTimeouts]
  let limits: TableLimits
  /// Some destinations are not translated: their answers come straight to inside addresses.
  let hasExceptions: Bool

  /// - Parameter plan: every Ethernet interface has a MAC, every interface an MTU.
  public init(_ plan: Plan) throws(PlanError) {
    guard plan.interfaces.count < Int(Link.none) else { throw .tooMany("interfaces") }
    guard plan.forwards.count < 32_768 else { throw .tooMany("forwards") }
    guard plan.triggers.count <= Openings.mostTriggers else { throw .tooMany("triggers") }
    var interfaces: [Interface] = []
    for (index, interface) in plan.interfaces.enumerated() {
      let externals =
        plan.forwards.filter { $0.isEnabled && $0.interface == index && !$0.isOnInterface }
        .flatMap(\.externals).map(\.wire)
        + plan.masquerades.filter { $0.to == index }.flatMap(\.externals).map(\.wire)
      if interface.link == .ethernet, interface.mac == nil { throw .noMAC(interface: interface.name) }
      interfaces.append(Interface(interface, externals: Set(externals)))
    }
    var outside: [UInt32: Int] = [:]
    var inside: [UInt32: Int] = [:]
    for (index, interface) in interfaces.enumerated() {
      for address in interface.plan.addresses.map(\.address.wire) + interface.externals {
        if interface.isOutside { outside[address] = index } else { inside[address] = index }
      }
    }
    self.plan = plan
    self.interfaces = interfaces
    sixes = plan.interfaces.map { Interface6($0) }
    routes = RouteTable(plan)
    routes6 = RouteTable6(plan)
    own6 = Dictionary(
      plan.interfaces.enumerated().flatMap { index, interface in
        interface.addresses6.map(\.address).filter { !$0.isLinkLocal }.map { ($0, index) }
      }, uniquingKeysWith: { first, _ in first })
    forwards = ForwardTable(plan)
    pinholes = PinholeTable(plan)
    outsideAddresses = outside
    insideAddresses = inside
    let own = Set(interfaces.flatMap { $0.plan.addresses.map(\.address) })
    publicTargets = Set(
      plan.forwards.filter { $0.isEnabled && $0.externals.contains($0.target) && !own.contains($0.target) }
        .map(\.target.wire))
    isAlongside = plan.mode == .alongside
    remembersUnsolicited = plan.interfaces.contains { $0.unsolicited == .unreachable }
    timeouts = TickTimeouts(plan.timeouts)
    defaultPool = Self.copy([PortRange(1024, 65535)])
    masqueradePools = plan.masquerades.map { Self.copy($0.pool) }
    let masqueradeAddresses = plan.masquerades.map { masquerade in
      masquerade.externals.isEmpty
        ? interfaces[masquerade.to].firstAddress.map { [$0] } ?? [] : masquerade.externals.map(\.wire)
    }
    self.masqueradeAddresses = masqueradeAddresses
    triggers = TriggerTable(plan, addresses: masqueradeAddresses)
    draws = DrawRanges(plan.masquerades.map(\.pool) + [Array(defaultPool)], without: plan.triggers)
    forwardTimeouts = plan.forwards.map { TickTimeouts($0.timeouts ?? plan.timeouts) }
    limits = TableLimits(plan)
    hasExceptions = plan.masquerades.contains { !$0.except.isEmpty }
  }

  /// Gives back what it holds; for the owner alone.
  public func release() {
    defaultPool.deallocate()
    for pool in masqueradePools { pool.deallocate() }
    draws.release()
    for interface in interfaces { interface.header.release() }
  }

  private static func copy(_ ranges: [PortRange]) -> UnsafeMutableBufferPointer<PortRange> {
    let copy = UnsafeMutableBufferPointer<PortRange>.allocate(capacity: ranges.count)
    _ = copy.initialize(from: ranges)
    return copy
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
  var interfaces: [Interface] { rules.interfaces }
  var sixes: [Interface6?] { rules.sixes }
  var routes: RouteTable { rules.routes }
  var routes6: RouteTable6 { rules.routes6 }
  var own6: [IPv6Address: Int] { rules.own6 }
  var forwards: ForwardTable { rules.forwards }
  var outsideAddresses: [UInt32: Int] { rules.outsideAddresses }
  var insideAddresses: [UInt32: Int] { rules.insideAddresses }
  var publicTargets: Set<UInt32> { rules.publicTargets }
  var isAlongside: Bool { rules.isAlongside }
  var timeouts: TickTimeouts { rules.timeouts }
  func timeouts(of origin: Origin) -> TickTimeouts {
    if case .forward(let index) = origin.report, index < rules.forwardTimeouts.count {
      return rules.forwardTimeouts[index]
    }
    return rules.timeouts
  }
}
