/// The IPv6 side of an interface that has an IPv6 address.
struct Interface6 {
  /// Its own addresses, the link-local one among them.
  let addresses: UnsafeBufferPointer<IPv6Address>
  private let prefixes: UnsafeBufferPointer<IPv6Prefix>
  /// Raw Ethernet addresses of the groups that it listens to.
  private let groups: UnsafeBufferPointer<UInt64>

  /// nil for an interface without an IPv6 address.
  init?(_ plan: InterfacePlan) {
    guard !plan.addresses6.isEmpty else { return nil }
    prefixes = UnsafeBufferPointer(copying: plan.addresses6)
    addresses = UnsafeBufferPointer(copying: plan.addresses6.map(\.address) + plan.derivedLinkLocal)
    groups = UnsafeBufferPointer(copying: plan.groups6.map(\.raw))
  }

  func release() {
    prefixes.deallocate()
    addresses.deallocate()
    groups.deallocate()
  }

  func owns(_ address: IPv6Address) -> Bool { addresses.contains(address) }

  /// True for the Ethernet address (raw) of a group that neighbour discovery needs.
  func hears(_ mac: UInt64) -> Bool { groups.contains(mac) }

  /// Whether a host with this address can be on the link.
  func isOnLink(_ address: IPv6Address) -> Bool {
    address.isLinkLocal || prefixes.contains { $0.contains(address) }
  }

  /// Our address to ask a neighbour from, or to answer it.
  func address(towards neighbor: IPv6Address) -> IPv6Address? {
    if neighbor.isLinkLocal { return addresses.first(where: \.isLinkLocal) ?? addresses.first }
    return prefixes.first { !$0.address.isLinkLocal && $0.contains(neighbor) }?.address ?? firstAddress
  }

  /// Source of the errors that we make on this interface: one that is known elsewhere too, if there is any.
  var firstAddress: IPv6Address? { addresses.first { !$0.isLinkLocal } ?? addresses.first }
}

extension InterfacePlan {
  /// Every interface with IPv6 has a link-local address (RFC 4291 section 2.1): the one written, else by its MAC.
  fileprivate var derivedLinkLocal: [IPv6Address] {
    guard link == .ethernet, let mac, !addresses6.contains(where: \.address.isLinkLocal) else { return [] }
    return [.linkLocal(of: mac)]
  }

  /// Ethernet addresses of the groups that IPv6 needs on this interface, none where it has no IPv6: all nodes, and those
  /// by which neighbours ask for its addresses.
  public var groups6: [MACAddress] {
    guard link == .ethernet, !addresses6.isEmpty else { return [] }
    var groups = [IPv6Address.allNodes.groupMAC]
    for address in addresses6.map(\.address) + derivedLinkLocal where !groups.contains(address.solicitedNode.groupMAC) {
      groups.append(address.solicitedNode.groupMAC)
    }
    return groups
  }
}
