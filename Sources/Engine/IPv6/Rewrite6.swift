// The rewrite of IPv6 packets: addresses from the side lines, the rest as for IPv4.
extension Rewrite {
  /// Addresses, ports or identifier, hop limit and the transport checksum.
  ///
  /// - Parameter reverse: the side line of the other direction, which has the new addresses turned round.
  @inline(__always)
  static func apply6(
    _ flow: FlowLine, _ reverse: UnsafeMutableRawPointer, kind: UInt8, ip: UnsafeMutableRawPointer,
    transport: UnsafeMutableRawPointer, isPartial: Bool
  ) {
    applyAddresses6(reverse, ip)
    IPv6Header(ip).takeHop()
    applyTransport(flow, kind: kind, transport: transport, isPartial: isPartial)
  }

  @inline(__always)
  static func applyAddresses6(_ reverse: UnsafeMutableRawPointer, _ ip: UnsafeMutableRawPointer) {
    let addresses = ip + IPv6Header.sourceOffset
    addresses.putRaw(reverse.raw64(16), 0)
    addresses.putRaw(reverse.raw64(24), 8)
    addresses.putRaw(reverse.raw64(0), 16)
    addresses.putRaw(reverse.raw64(8), 24)
  }

  /// Fills in what the flow's packets become. Both side lines are filled already.
  static func prepare6(
    _ flow: FlowLine, kind: UInt8, key: FlowKey, ports: UInt32, _ own: UnsafeMutableRawPointer,
    _ reverse: UnsafeMutableRawPointer
  ) {
    flow.key = key
    flow.kind = kind
    flow.newPorts = ports
    // A sum does not ask which address is which. Equal sums are no change at all: no checksum is touched (RFC 6296).
    let network = Checksum.delta(
      Checksum.fold(Checksum.sum(own, count: 32)), Checksum.fold(Checksum.sum(reverse, count: 32)))
    flow.networkDelta = network
    // The ICMPv6 checksum covers the pseudo-header too (RFC 4443 section 2.3).
    flow.transportDelta = key.ports == ports ? network : Checksum.combine(network, Checksum.delta(key.ports, ports))
  }
}
