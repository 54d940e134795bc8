/// An IPv6 datagram whose headers have been checked, on its way through the slow path.
struct Packet6 {
  let slot: UnsafeMutablePointer<FrameSlot>
  let ingress: Int
  let header: IPv6Header
  /// Offset of the IPv6 header in the frame.
  let network: Int
  /// Bytes of the datagram, as its header says.
  let totalLength: Int
  let chain: IPv6Chain
  /// The flow's key, once the ports have been found.
  var key = FlowKey(addresses: 0, rest: 0)
  /// `free` where it belongs to no flow.
  var kind = FlowKind.free
  /// How often another worker has been in the way of the session that it begins.
  var contentions: UInt8 = 0
  /// Raw TCI bits of PCP and DEI.
  let priority: UInt16

  var source: IPv6Address { header.source }
  var destination: IPv6Address { header.destination }
  var transport: UnsafeMutableRawPointer { header.start + chain.offset }
  var transportLength: Int { totalLength &- chain.offset }
  var tcpFlags: UInt8 { transport.byte(TCPHeader.flagsOffset) }
  /// The transport checksum is an unfinished pseudo-header sum.
  var isPartial: Bool { Offload.isPartial(slot.pointee.offload, transport: network &+ chain.offset) }
  /// Bytes of the largest datagram that this becomes on the wire.
  var wireLength: Int {
    Offload.wireLength6(slot.pointee.offload, transport, chain.offset, chain.ipProtocol, transportLength)
  }
  /// The type of an ICMPv6 message that is there as a whole; nil for anything else.
  var icmpType: UInt8? {
    chain.ipProtocol == ICMPv6.number && !chain.isFragment && transportLength >= 8 ? transport.byte(0) : nil
  }
  /// Whether the checksum of an ICMPv6 message is right, over the pseudo-header (RFC 4443 section 2.3).
  var hasICMPChecksum: Bool {
    var sum =
      Checksum.sum(transport, count: transportLength)
      &+ header.pseudoHeader(ipProtocol: ICMPv6.number, length: transportLength)
    if chain.finalDestination != 0 {
      // In the place of the header's (RFC 8200 section 8.1).
      let stated = Checksum.fold(Checksum.sum(header.start + IPv6Header.destinationOffset, count: 16))
      sum &+= UInt64(~stated) &+ Checksum.sum(header.start + chain.finalDestination, count: 16)
    }
    return Checksum.fold(sum) == 0xFFFF
  }
}

extension Offload {
  /// The same as for IPv4: of a super-frame its headers and one segment. A router never cuts what is larger.
  ///
  /// - Parameters:
  ///   - network: bytes of all headers before the transport's.
  ///   - length: bytes from the transport header on.
  static func wireLength6(
    _ offload: OffloadHeader, _ transport: UnsafeMutableRawPointer, _ network: Int, _ ipProtocol: UInt8, _ length: Int
  ) -> Int {
    switch offload.segmentation & 0x7F {
    case OffloadHeader.segmentTCP6 where ipProtocol == IPProtocol.tcp && length >= TCPHeader.minimumLength:
      network &+ Int(transport.byte(TCPHeader.dataOffset) &>> 4) &* 4 &+ Int(offload.segmentSize)
    case OffloadHeader.segmentUDPL4 where ipProtocol == IPProtocol.udp:
      network &+ UDPHeader.length &+ Int(offload.segmentSize)
    default: network &+ length
    }
  }
}

/// Addresses that cannot be in a forwarded datagram (RFC 4291 section 2, RFC 6890).
enum Martian6 {
  static func isNever(source: IPv6Address, destination: IPv6Address) -> Bool {
    source == destination || isSpecial(source) || isSpecial(destination) || source.isLinkLocal
      || destination.isLinkLocal
  }

  /// Nobody, a loopback, a group, or IPv4 inside a host.
  static func isSpecial(_ address: IPv6Address) -> Bool {
    address.high == 0 && address.low <= 1 || address.isMulticast || address.isMapped
  }
}

// Judges an IPv6 datagram, cause by cause in the contract's order: IP header, martian, for us, hop limit, route, MTU,
// neighbour.
extension Core {
  mutating func judgeIPv6(_ slot: UnsafeMutablePointer<FrameSlot>, network: Int) {
    let ingress = Int(slot.pointee.ingress)
    // Alongside, IPv6 is the host's.
    guard !isAlongside, sixes[ingress] != nil else { return refuse(slot, .ipv6Off) }
    let available = Int(slot.pointee.length) &- network
    guard available >= IPv6Header.length else { return drop(slot, .truncated) }
    let header = IPv6Header(slot.pointee.bytes + network)
    guard header.isVersion6 else { return drop(slot, .malformedIPv6) }
    guard header.totalLength <= available else { return drop(slot, .truncated) }
    let chain = IPv6Chain(header.start, length: header.totalLength)
    guard chain.flaw == .none else { return drop(slot, chain.flaw) }
    let packet = Packet6(
      slot: slot, ingress: ingress, header: header, network: network, totalLength: header.totalLength, chain: chain,
      priority: Locator.priority(slot, network))
    guard !isOurs(packet) || mayBeTranslated(packet) else { return judgeLocal(packet) }
    // Frames to a group carry datagrams to it, and nothing else is routed from there.
    guard !isMartian(packet), !isToGroup(slot) else { return drop(slot, .martian) }
    judgeTransit(packet)
  }

  func isOurs(_ packet: Packet6) -> Bool {
    let destination = packet.destination
    return destination.isMulticast || sixes[packet.ingress]?.owns(destination) == true || own6[destination] != nil
  }

  /// To an address of ours that forwards, masquerades and their sessions may have too.
  func mayBeTranslated(_ packet: Packet6) -> Bool {
    guard !rules.translation6.isEmpty, own6[packet.destination] != nil, !packet.source.isLinkLocal else { return false }
    return packet.icmpType.map { !ICMPv6.discovery.contains($0) } ?? true
  }

  func isToGroup(_ slot: UnsafeMutablePointer<FrameSlot>) -> Bool {
    !interfaces[Int(slot.pointee.ingress)].isRawIP && slot.pointee.bytes.byte(0) & 1 != 0
  }

  func isMartian(_ packet: Packet6) -> Bool {
    Martian6.isNever(source: packet.source, destination: packet.destination)
      || isMisplaced(packet.source, packet.ingress)
  }

  /// A source that is ours, or is reached otherwise than it came; strict towards inside hosts, as for IPv4.
  func isMisplaced(_ source: IPv6Address, _ ingress: Int) -> Bool {
    if own6[source] != nil || sixes[ingress]?.owns(source) == true { return true }
    // What is translated comes from nowhere else, by either of its names.
    if interfaces[ingress].isOutside, rules.isTranslated(source) || rules.prefix(outside: source) != nil { return true }
    guard !source.isLinkLocal, let hop = routes6.find(source) else { return false }
    return interfaces[ingress].isOutside ? !interfaces[hop.interface].isOutside : hop.interface != ingress
  }

  // MARK: For us

  /// To one of our addresses, or to a group: neighbour discovery, echo as configured, and nothing else.
  mutating func judgeLocal(_ packet: Packet6) {
    let type = packet.icmpType
    if let type, ICMPv6.discovery.contains(type) { return judgeDiscovery(packet, type) }
    let (source, destination) = (packet.source, packet.destination)
    guard !Martian6.isSpecial(source), !isMisplaced(source, packet.ingress) else { return drop(packet.slot, .martian) }
    let isHere = sixes[packet.ingress]?.owns(destination) == true
    guard let owner = isHere ? packet.ingress : own6[destination] else { return drop(packet.slot, .toUs) }
    if interfaces[packet.ingress].isOutside, !interfaces[owner].isOutside {
      return drop(packet.slot, .insideFromOutside)
    }
    guard type == ICMPv6.echoRequest, interfaces[owner].answersEcho else { return unsolicited(packet, .toUs) }
    answerEcho(packet)
  }

  func fits(_ packet: Packet6, _ adjacency: UInt16) -> Bool { packet.wireLength <= Int(adjacencies[adjacency].mtu) }

  // MARK: Sending

  /// Sends a received datagram, rewritten already, or holds it. `untranslated` lets its sender be told if that fails.
  mutating func deliver(_ packet: Packet6, over place: UInt16, _ untranslated: Untranslated?) {
    guard canSend(place) else {
      return hold(
        packet.slot, packet.header.start, length: packet.totalLength, network: packet.network,
        priority: packet.priority, place, untranslated)
    }
    handOver(
      packet.slot, packet.header.start, length: packet.totalLength, network: packet.network, priority: packet.priority,
      place)
  }

  /// The adjacency of a next hop, made if there is none yet; nil where the table is full.
  mutating func adjacency(to hop: RouteTable6.Hop) -> UInt16? {
    let interface = interfaces[hop.interface]
    let egress = UInt16(truncatingIfNeeded: hop.interface)
    // A link without addresses has one adjacency for all its next hops.
    let isPlain = interface.isRawIP
    let address = isPlain ? IPv6Address.unspecified : hop.address
    if let found = adjacencies.find(egress: egress, address: address) { return found }
    return locked { $0.insertAdjacency(egress, address, interface, isPlain: isPlain) }
  }

  private mutating func insertAdjacency(
    _ egress: UInt16, _ address: IPv6Address, _ interface: Interface, isPlain: Bool
  ) -> UInt16? {
    // Another worker may have come first.
    if let found = adjacencies.find(egress: egress, address: address) { return found }
    func insert() -> UInt16? {
      adjacencies.insert(egress: egress, address: address, mtu: interface.mtu, header: interface.header)
    }
    guard let made = insert() ?? (reclaimAdjacencies() ? insert() : nil) else { return nil }
    if isPlain { adjacencies[made].state = AdjacencyState.permanent }
    return made
  }
}
