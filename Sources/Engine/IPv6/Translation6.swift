/// What is translated at IPv6 addresses of ours. Forwards' ports are in the tables of IPv4's, where a number stands for
/// each address.
struct Translation6 {
  private let table: ForwardTable
  /// Targets, which are in no other table.
  private let targets: [IPv6Address: UInt32]
  /// Addresses of ours that something is translated at.
  private let externals: Set<IPv6Address>
  /// Those of `externals`, in order.
  let numbers: [UInt32]
  private let known: Set<UInt32>
  /// Ports that forwards have, by those numbers.
  let reserved: ReservedPorts

  init(_ plan: Plan) {
    var targets: [IPv6Address: UInt32] = [:]
    func number(_ target: IPv6Address) -> IPv4Address {
      // Never that of an outside address, whose first byte is not 0.
      let known = targets[target, default: UInt32(targets.count + 1) &<< 8]
      targets[target] = known
      return IPv4Address(wire: known)
    }
    var shadow = plan
    for (rule, forward) in plan.forwards.enumerated() {
      guard forward.isEnabled, let six = forward.pinhole, let external = six.external else {
        shadow.forwards[rule].isEnabled = false
        continue
      }
      shadow.forwards[rule].protocols = six.protocols
      shadow.forwards[rule].spans = six.spans
      shadow.forwards[rule].isOnInterface = false
      shadow.forwards[rule].externals = [IPv4Address(wire: external.number)]
      shadow.forwards[rule].target = number(six.target)
    }
    let maker = ForwardTableMaker(shadow)
    table = maker.table()
    reserved = maker.reserved
    self.targets = targets
    externals = Self.externals(plan)
    known = Set(externals.map(\.number))
    numbers = known.sorted()
  }

  func release() { table.release() }

  private static func externals(_ plan: Plan) -> Set<IPv6Address> {
    Set(
      plan.masquerades.compactMap(\.external6)
        + plan.forwards.filter(\.isEnabled).compactMap { $0.pinhole?.external })
  }

  /// Whether each outside address has a number of its own.
  static func areDistinct(_ plan: Plan) -> Bool {
    let externals = externals(plan)
    return Set(externals.map(\.number)).count == externals.count
  }

  var isEmpty: Bool { externals.isEmpty }

  /// Whether something is translated at an address of ours.
  func isAt(_ address: IPv6Address) -> Bool { externals.contains(address) }
  func isAt(number: UInt32) -> Bool { known.contains(number) }

  /// The rule for an outside endpoint, and the target port; `port` in host order.
  func find(_ address: IPv6Address, _ ipProtocol: UInt8, _ port: UInt16) -> PortTable.Entry? {
    isAt(address) ? find(number: address.number, ICMPv6.portsProtocol(ipProtocol), port) : nil
  }
  func find(number: UInt32, _ ipProtocol: UInt8, _ port: UInt16) -> PortTable.Entry? {
    table.find(number, ipProtocol, port)
  }

  /// The rule whose target this inside endpoint is, and the outside port that it sends from.
  func findOutbound(_ address: IPv6Address, _ ipProtocol: UInt8, _ port: UInt16) -> PortTable.Entry? {
    targets[address].flatMap { table.findOutbound($0, ipProtocol, port) }
  }
}

extension ICMPv6 {
  /// The protocol that ports, and identifiers, of this one are known by: ICMPv6 has ICMP's place.
  static func portsProtocol(_ ipProtocol: UInt8) -> UInt8 { ipProtocol == number ? IPProtocol.icmp : ipProtocol }
}
