/// The forwards, compiled both ways: outside endpoint -> target, and target -> the outside endpoint that it sends from.
struct ForwardTable {
  private let inbound: PortTable
  private let outbound: PortTable
  /// Echo of whole hosts: outside address (raw) -> rule.
  private let echo: AddressTable
  /// Other protocols of whole hosts: outside address (raw) -> rule, and target (raw) -> rule.
  private let other: AddressTable
  private let otherTargets: AddressTable

  fileprivate init(_ maker: ForwardTableMaker) {
    inbound = maker.inbound.table()
    outbound = maker.outbound.table()
    echo = AddressTable(maker.echo)
    other = AddressTable(maker.other)
    otherTargets = AddressTable(maker.otherTargets)
  }

  func release() {
    inbound.release()
    outbound.release()
    echo.release()
    other.release()
    otherTargets.release()
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
}

/// What a `ForwardTable` is made with.
struct ForwardTableMaker {
  fileprivate var inbound = PortTableMaker()
  fileprivate var outbound = PortTableMaker()
  fileprivate var echo: [UInt32: Int] = [:]
  fileprivate var other: [UInt32: Int] = [:]
  fileprivate var otherTargets: [UInt32: Int] = [:]
  /// TCP and UDP ports that no mapping may get.
  private(set) var reserved = ReservedPorts()

  init(_ plan: Plan) {
    // A narrower forward wins over one for all ports: it is written later.
    for isWhole in [true, false] {
      for (rule, forward) in plan.forwards.enumerated() where forward.isEnabled && forward.isWholeHost == isWhole {
        insert(rule, forward, externals: plan.externals(of: forward))
      }
    }
    // The first in the file is the one that its target sends from.
    for (rule, forward) in plan.forwards.enumerated() where forward.isEnabled && forward.isOneToOne {
      insertOutbound(rule, forward)
    }
  }

  func table() -> ForwardTable { ForwardTable(self) }

  private static func protocols(_ forward: ForwardPlan) -> [UInt8] {
    (forward.protocols.contains(.tcp) ? [IPProtocol.tcp] : [])
      + (forward.protocols.contains(.udp) ? [IPProtocol.udp] : [])
  }

  private mutating func insert(_ rule: Int, _ forward: ForwardPlan, externals: [UInt32]) {
    for address in externals {
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
}

extension Plan {
  /// A forward's outside addresses, raw.
  func externals(of forward: ForwardPlan) -> [UInt32] {
    forward.isOnInterface
      ? interfaces[forward.interface].addresses.map(\.address.wire) : forward.externals.map(\.wire)
  }
}
