import CIntrinsics

// IPv6 in the burst loop: the same three stages. Plain is a datagram without extension headers that carries TCP, UDP or
// echo; every other one is the slow path's.
extension Forwarder {
  /// What `parseIPv4` does; at least 48 bytes are behind `network`.
  @inline(__always)
  static func parseIPv6(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ network: Int, _ ingress: UInt16, _ finder: Finder,
    _ shape: FrameSlot.Shape
  ) -> Bool {
    let ip = slot.pointee.bytes + network
    let total = IPv6Header(ip).totalLength
    let ipProtocol = ip.byte(IPv6Header.nextHeaderOffset)
    let available = Int(slot.pointee.length) &- network
    guard ip.byte(0) &>> 4 == 6, isWithin(IPv6Header.length &+ 8, total, available) else { return false }
    let ports = ports6(ip + IPv6Header.length, ipProtocol, total &- IPv6Header.length)
    if ports == noPorts { return false }
    let addresses = ip + IPv6Header.sourceOffset
    let key = FlowKey(
      digest: finder.secret.digest(addresses, addresses + 16), ports: ports, scope: ingress, ipProtocol: ipProtocol)
    slot.pointee.shape = shape
    slot.pointee.network = UInt8(truncatingIfNeeded: network)
    slot.pointee.ingress = ingress
    finder.seek(key, slot)
    return true
  }

  /// The ports of a key, or `noPorts` where the transport header does not fit or has none.
  @inline(__always)
  static func ports6(_ transport: UnsafeMutableRawPointer, _ ipProtocol: UInt8, _ length: Int) -> UInt64 {
    // Over IPv6 no UDP datagram is without a checksum (RFC 8200 section 8.1).
    if ipProtocol == IPProtocol.udp, transport.raw16(UDPHeader.checksumOffset) == 0 { return noPorts }
    if ipProtocol == IPProtocol.tcp || ipProtocol == IPProtocol.udp {
      return ports(transport, ipProtocol, length, hasEcho: false)
    }
    guard ipProtocol == ICMPv6.number, length >= 8, transport.byte(1) == 0 else { return noPorts }
    let identifier = UInt64(transport.raw16(ICMPHeader.identifierOffset))
    if transport.byte(0) == ICMPv6.echoRequest { return identifier }
    return transport.byte(0) == ICMPv6.echoReply ? identifier &<< 16 | FlowKey.echoReply : noPorts
  }

  /// What `forwardIPv4` does.
  @inline(__always)
  static func forwardIPv6(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ pass: Pass, network: Int, isUsual: Bool
  ) -> Bool {
    let ip = slot.pointee.bytes + network
    let flow = pass.flow(slot)
    let side = SideTable.line(pass.sides, slot.pointee.flow)
    let route = pass.route(of: flow)
    guard flow.key.rest == slot.pointee.rest, pass.isCurrent(route),
      SideTable.matches(side, ip + IPv6Header.sourceOffset)
    else { return false }
    let transport = ip + IPv6Header.length
    let total = IPv6Header(ip).totalLength
    let length = total &- IPv6Header.length
    let adjacency = pass.adjacency(route)
    guard ip.byte(IPv6Header.hopLimitOffset) > 1, canTake(slot, adjacency, network, pass.tick, isUsual: isUsual) else {
      return false
    }
    let isFinished = isUsual || slot.pointee.isFinished
    let wireLength =
      isFinished
      ? total
      : Offload.wireLength6(slot.pointee.offload, transport, IPv6Header.length, flow.key.ipProtocol, length)
    let isPartial = !isFinished && Offload.isPartial(slot.pointee.offload, transport: network &+ IPv6Header.length)
    guard wireLength <= Int(adjacency.mtu),
      rewriteTransport(flow, slot.pointee.direction, transport, length: length, isPartial: isPartial, pass.tick)
    else { return false }
    let reverse = side + (32 &- 64 &* Int(slot.pointee.direction))
    Rewrite.applyAddresses6(reverse, ip)
    IPv6Header(ip).takeHop()
    flow.lastSeen = pass.tickUp
    flow.count(bytes: total)
    handOver(slot, ip, total, adjacency, network, isUsual: isUsual)
    return true
  }
}

extension FrameSlot {
  /// The candidate flow, from the tag match on.
  @inline(__always)
  var flow: UInt32 { (place &- UInt32(direction)) / 3 &* 2 &+ UInt32(direction) }
}
