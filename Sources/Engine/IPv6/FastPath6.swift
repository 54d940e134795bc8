import CIntrinsics

// IPv6 in the burst loop: the same three stages. Plain is a datagram without extension headers that carries TCP, UDP or
// echo; every other one is the slow path's.
extension Forwarder {
  /// What `parseStage` does for IPv4.
  @inline(never)
  func parseIPv6(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ network: Int, _ interface: UInt16, _ link: UnsafeMutablePointer<Link>
  ) {
    let frame = slot.pointee.bytes
    let available = Int(slot.pointee.length) &- network
    guard hasIPv6, available >= IPv6Header.length &+ 8 else { return }
    if network != 0, (frame.raw64(0) ^ link.pointee.mac) &<< 16 != 0 { return }
    let ip = frame + network
    let total = IPv6Header(ip).totalLength
    let ipProtocol = ip.byte(IPv6Header.nextHeaderOffset)
    guard ip.byte(0) &>> 4 == 6, total >= IPv6Header.length &+ 8, total <= available else { return }
    let ports = Self.ports6(ip + IPv6Header.length, ipProtocol, total &- IPv6Header.length)
    if ports == Self.noPorts { return }
    let addresses = ip + IPv6Header.sourceOffset
    let key = FlowKey(
      digest: secret.digest(addresses, addresses + 16), ports: ports, scope: interface, ipProtocol: ipProtocol)
    let hash = secret.hash(key)
    slot.pointee.network = UInt16(truncatingIfNeeded: network)
    slot.pointee.tag16 = FlowIndex.tag(hash)
    let bucket = FlowIndex.first(hash, of: bucketCount)
    slot.pointee.flow = bucket
    slot.pointee.rest = key.rest
    sluice_prefetch(buckets + Int(bucket) &<< 6)
  }

  /// The ports of a key, or `noPorts` where the transport header does not fit or has none.
  @inline(__always)
  static func ports6(_ transport: UnsafeMutableRawPointer, _ ipProtocol: UInt8, _ length: Int) -> UInt64 {
    // Over IPv6 no UDP datagram is without a checksum (RFC 8200 section 8.1).
    if ipProtocol == IPProtocol.udp, transport.raw16(UDPHeader.checksumOffset) == 0 { return noPorts }
    if ipProtocol == IPProtocol.tcp || ipProtocol == IPProtocol.udp { return ports(transport, ipProtocol, length) }
    guard ipProtocol == ICMPv6.number, length >= 8, transport.byte(1) == 0 else { return noPorts }
    let identifier = UInt64(transport.raw16(ICMPHeader.identifierOffset))
    if transport.byte(0) == ICMPv6.echoRequest { return identifier }
    return transport.byte(0) == ICMPv6.echoReply ? identifier &<< 16 | FlowKey.echoReply : noPorts
  }

  /// The established case, start to end, of a frame that `parseIPv6` has marked. False where anything is out of the
  /// ordinary: nothing has been changed then.
  @inline(never)
  func forwardIPv6(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ tick: UInt32, _ tickUp: UInt32, _ generation: UInt16
  ) -> Bool {
    guard slot.pointee.network != FrameSlot.notFast, slot.pointee.rest & FlowKey.isIPv6 != 0 else { return false }
    let network = Int(slot.pointee.network)
    let ip = slot.pointee.bytes + network
    let flow = FlowLine(SessionTable.line(sessionBase, slot.pointee.flow))
    guard flow.key.rest == slot.pointee.rest, flow.planGeneration == generation,
      SideTable.matches(SideTable.line(sideBase, slot.pointee.flow), ip + IPv6Header.sourceOffset)
    else { return false }
    let transport = ip + IPv6Header.length
    let total = IPv6Header(ip).totalLength
    let adjacency = Adjacency(adjacencyBase + Int(flow.adjacency) &* Adjacency.bytes)
    let headerLength = Int(adjacency.headerLength)
    guard ip.byte(IPv6Header.hopLimitOffset) > 1, adjacency.isReady(at: tick),
      headerLength <= network &+ Int(slot.pointee.headroom)
    else { return false }
    let isFinished = slot.pointee.offload.flags | slot.pointee.offload.segmentation == 0
    let wireLength =
      isFinished
      ? total
      : Offload.wireLength6(
        slot.pointee.offload, transport, IPv6Header.length, flow.key.ipProtocol, total &- IPv6Header.length)
    guard wireLength <= Int(adjacency.mtu),
      isLive(slot.pointee.flow, flow, transport, length: total &- IPv6Header.length, tick)
    else { return false }
    let isPartial = !isFinished && Offload.isPartial(slot.pointee.offload, transport: network &+ IPv6Header.length)
    Rewrite.apply6(
      flow, SideTable.line(sideBase, slot.pointee.flow ^ 1), kind: flow.kind, ip: ip, transport: transport,
      isPartial: isPartial)
    flow.lastSeen = tickUp
    flow.count(bytes: total)
    handOver(slot, ip, total, adjacency, isFinished: isFinished)
    return true
  }
}
