extension ForwardPlan {
  /// `deny` wins over `allow`.
  func allows(_ source: IPv4Address) -> Bool {
    !deny.contains { $0.contains(source) } && allow.contains { $0.contains(source) }
  }
}

/// The forwards, compiled both ways: outside endpoint -> target, and target -> the outside endpoint that it sends from.
struct ForwardTable {
  private static let echoClass = 2

  private var inbound = PortTable()
  private var outbound = PortTable()
  /// Echo of whole hosts: outside address (raw) -> rule.
  private var echo: [UInt32: Int] = [:]
  /// Other protocols of whole hosts: outside address (raw) -> rule, and target (raw) -> rule.
  private var other: [UInt32: Int] = [:]
  private var otherTargets: [UInt32: Int] = [:]
  /// Outside addresses (raw) of each rule.
  private var externals: [[UInt32]] = []
  /// TCP and UDP ports that no mapping may get.
  private(set) var reserved = ReservedPorts()

  init(_ plan: Plan) {
    externals = plan.forwards.map { Self.externals($0, plan) }
    // A narrower forward wins over one for all ports: it is written later.
    for isWhole in [true, false] {
      for (rule, forward) in plan.forwards.enumerated() where forward.isEnabled && forward.isWholeHost == isWhole {
        insert(rule, forward)
      }
    }
    // The first in the file is the one that its target sends from.
    for (rule, forward) in plan.forwards.enumerated() where forward.isEnabled && forward.isOneToOne {
      insertOutbound(rule, forward)
    }
  }

  private static func externals(_ forward: ForwardPlan, _ plan: Plan) -> [UInt32] {
    forward.isOnInterface
      ? plan.interfaces[forward.interface].addresses.map(\.address.wire) : forward.externals.map(\.wire)
  }

  private static func protocols(_ forward: ForwardPlan) -> [UInt8] {
    (forward.protocols.contains(.tcp) ? [IPProtocol.tcp] : [])
      + (forward.protocols.contains(.udp) ? [IPProtocol.udp] : [])
  }

  private mutating func insert(_ rule: Int, _ forward: ForwardPlan) {
    for address in externals[rule] {
      for ipProtocol in Self.protocols(forward) {
        for span in forward.spans {
          inbound.insert(
            address, PortPools.portClass(ipProtocol), ports: span.ports, rule: rule, target: span.target,
            isParallel: span.isParallel, replacing: true)
          reserved.insert(address, ipProtocol, span.ports)
        }
      }
      if forward.protocols.contains(.echo) { echo[address] = rule }
      if forward.protocols.contains(.other) { other[address] = rule }
    }
    if forward.protocols.contains(.other), otherTargets[forward.target.wire] == nil {
      otherTargets[forward.target.wire] = rule
    }
  }

  private mutating func insertOutbound(_ rule: Int, _ forward: ForwardPlan) {
    for ipProtocol in Self.protocols(forward) {
      for span in forward.spans {
        let last = span.target &+ (span.isParallel ? span.ports.last &- span.ports.first : 0)
        outbound.insert(
          forward.target.wire, PortPools.portClass(ipProtocol), ports: PortRange(span.target, last), rule: rule,
          target: span.ports.first, isParallel: true, replacing: false)
      }
    }
  }

  /// The rule for an outside endpoint, and the target port. `port` in host order; of no meaning for echo.
  func find(_ address: UInt32, _ ipProtocol: UInt8, _ port: UInt16) -> PortTable.Entry? {
    switch ipProtocol {
    case IPProtocol.tcp, IPProtocol.udp: inbound.find(address, PortPools.portClass(ipProtocol), port)
    case IPProtocol.icmp: echo[address].map { PortTable.Entry(rule: $0, port: 0) }
    default: other[address].map { PortTable.Entry(rule: $0, port: 0) }
    }
  }

  /// The rule by which this target (raw) sends other protocols.
  func findOther(_ target: UInt32) -> Int? { otherTargets[target] }

  /// The rule whose target this inside endpoint is, and the outside port that it sends from.
  func findOutbound(_ address: UInt32, _ ipProtocol: UInt8, _ port: UInt16) -> PortTable.Entry? {
    guard ipProtocol == IPProtocol.tcp || ipProtocol == IPProtocol.udp else { return nil }
    return outbound.find(address, PortPools.portClass(ipProtocol), port)
  }

  /// The outside address (raw) that a target sends from: the one in use if the rule has it, else the rule's first.
  func outsideAddress(_ rule: Int, inUse address: UInt32) -> UInt32? {
    externals[rule].contains(address) ? address : externals[rule].first
  }
}
