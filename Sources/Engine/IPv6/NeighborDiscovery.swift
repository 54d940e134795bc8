/// Byte offsets in neighbour solicitations and advertisements (RFC 4861 sections 4.3, 4.4), from the ICMPv6 header on.
private enum DiscoveryMessage {
  static let flags = 4
  static let target = 8
  static let length = 24
  static let lengthWithOption = 32
  /// Options: type, length in eights, value.
  static let sourceLinkAddress: UInt8 = 1
  static let targetLinkAddress: UInt8 = 2

  static let router: UInt8 = 0x80
  static let solicited: UInt8 = 0x40
  static let overrides: UInt8 = 0x20
}

// What ARP is for IPv4: asked, answered, aged and held for alike (`Deliver.swift`).
extension Core {
  /// A message of neighbour discovery to us or to a group that we listen to.
  ///
  /// The hop limit proves that it comes from the link itself (RFC 4861 section 7.1): nobody else can have sent 255.
  mutating func judgeDiscovery(_ packet: Packet6, _ type: UInt8) {
    guard packet.header.hopLimit == 255, packet.transport.byte(1) == 0, packet.hasICMPChecksum else {
      return drop(packet.slot, .malformedICMP)
    }
    switch type {
    case ICMPv6.neighborSolicitation: solicited(packet)
    case ICMPv6.neighborAdvertisement: advertised(packet)
    // Routers and redirects are the configuration's to name, not the link's.
    default: consume(packet.slot)
    }
  }

  /// Somebody asks for an address: ours is answered (RFC 4861 section 7.2.3).
  private mutating func solicited(_ packet: Packet6) {
    guard let (target, mac) = message(packet, option: DiscoveryMessage.sourceLinkAddress) else {
      return drop(packet.slot, .malformedICMP)
    }
    let (source, ingress) = (packet.source, packet.ingress)
    let isProbe = source == .unspecified
    // A probe for a double of an address (RFC 4862 section 5.4) goes to its group, and names no sender.
    guard !source.isMulticast, !isProbe || packet.destination.isMulticast && mac == nil else {
      return drop(packet.slot, .malformedICMP)
    }
    guard let six = sixes[ingress], six.owns(target), !six.owns(source) else { return consume(packet.slot) }
    let sender = mac ?? packet.slot.pointee.bytes.rawMAC(6)
    if !isProbe, mac != nil { learn(source, sender, on: ingress, mayInsert: true) }
    if isProbe {
      advertise(target, to: .allNodes, IPv6Address.allNodes.groupMAC.raw, DiscoveryMessage.overrides, on: ingress)
    } else if !interfaces[ingress].isRawIP {
      advertise(
        target, to: source, sender, DiscoveryMessage.solicited | DiscoveryMessage.overrides, on: ingress)
    }
    consume(packet.slot)
  }

  /// Somebody tells his address: what is known is updated, and nothing else is learnt (RFC 4861 section 7.2.5).
  private mutating func advertised(_ packet: Packet6) {
    guard let (target, mac) = message(packet, option: DiscoveryMessage.targetLinkAddress) else {
      return drop(packet.slot, .malformedICMP)
    }
    let flags = packet.transport.byte(DiscoveryMessage.flags)
    let isSolicited = flags & DiscoveryMessage.solicited != 0
    guard !isSolicited || !packet.destination.isMulticast else { return drop(packet.slot, .malformedICMP) }
    locked { core in
      guard let known = core.adjacencies.find(egress: packet.slot.pointee.ingress, address: target) else { return }
      let adjacency = core.adjacencies[known]
      let told = mac ?? (isSolicited && adjacency.hasLinkAddress ? adjacency.line.rawMAC(0) : nil)
      let isOther = adjacency.hasLinkAddress && told != adjacency.line.rawMAC(0)
      // Without the override flag another link address is a second opinion, such as an anycast neighbour's.
      if let told, !isOther || flags & DiscoveryMessage.overrides != 0 {
        core.learn(target, told, on: packet.ingress, mayInsert: false)
      }
    }
    consume(packet.slot)
  }

  /// The target, and the link address that an option names; nil where the message is none (RFC 4861 section 7.1).
  private func message(_ packet: Packet6, option wanted: UInt8) -> (target: IPv6Address, mac: UInt64?)? {
    let (start, length) = (packet.transport, packet.transportLength)
    guard length >= DiscoveryMessage.length else { return nil }
    let target = IPv6Address(at: start + DiscoveryMessage.target)
    guard !target.isMulticast else { return nil }
    var mac: UInt64?
    var offset = DiscoveryMessage.length
    while offset < length {
      guard offset &+ 8 <= length else { return nil }
      let size = Int(start.byte(offset &+ 1)) &* 8
      guard size > 0, offset &+ size <= length else { return nil }
      if start.byte(offset) == wanted, size == 8 {
        let told = start.rawMAC(offset &+ 2)
        guard told & 1 == 0, told != 0 else { return nil }
        mac = told
      }
      offset &+= size
    }
    return (target, mac)
  }

  private mutating func learn(_ address: IPv6Address, _ mac: UInt64, on ingress: Int, mayInsert: Bool) {
    locked { $0.learnLocked(address, mac, on: ingress, mayInsert: mayInsert) }
  }

  private mutating func learnLocked(_ address: IPv6Address, _ mac: UInt64, on ingress: Int, mayInsert: Bool) {
    let egress = UInt16(truncatingIfNeeded: ingress)
    // Someone else with our address changes nothing here.
    guard own6[address] == nil, let six = sixes[ingress], !six.owns(address) else { return }
    if let known = adjacencies.find(egress: egress, address: address) {
      if mayInsert || adjacencies[known].state != AdjacencyState.unknown { resolve(known, mac) }
      return
    }
    guard mayInsert, six.isOnLink(address), !Martian6.isSpecial(address),
      let made = adjacency(to: RouteTable6.Hop(interface: ingress, address: address))
    else { return }
    resolve(made, mac)
  }

  // MARK: Configured

  /// False where the table is full.
  mutating func addPermanent(_ neighbor: NeighborPlan6) -> Bool {
    guard !interfaces[neighbor.interface].isRawIP else { return true }
    let hop = RouteTable6.Hop(interface: neighbor.interface, address: neighbor.address)
    guard let place = adjacency(to: hop) else { return false }
    locked { core in
      // Whatever waits for it goes out now.
      if core.adjacencies[place].holdCount > 0 { core.resolve(place, neighbor.mac.raw) }
      core.adjacencies.setLinkAddress(place, neighbor.mac.raw)
      core.adjacencies[place].state = AdjacencyState.permanent
    }
    return true
  }

  /// Static neighbours of new rules in the place of those of the old ones.
  mutating func exchangeNeighbors(_ old: [NeighborPlan6], _ new: [NeighborPlan6]) {
    for neighbor in old where !new.contains(neighbor) {
      let egress = UInt16(truncatingIfNeeded: neighbor.interface)
      guard !interfaces[neighbor.interface].isRawIP else { continue }
      locked { core in
        guard let place = core.adjacencies.find(egress: egress, address: neighbor.address) else { return }
        core.adjacencies[place].state = AdjacencyState.unknown
      }
    }
    for neighbor in new where !old.contains(neighbor) { _ = addPermanent(neighbor) }
  }

  // MARK: Sending

  /// Asks for an adjacency's next hop, by its group.
  mutating func solicit(_ place: UInt16) {
    let egress = Int(adjacencies[place].egress)
    let target = adjacencies.address6(place)
    guard let own = sixes[egress]?.address(towards: target) else { return }
    sendDiscovery(
      ICMPv6.neighborSolicitation, flags: 0, target, DiscoveryMessage.sourceLinkAddress, from: own,
      to: target.solicitedNode, target.solicitedNode.groupMAC.raw, on: egress)
  }

  private mutating func advertise(
    _ target: IPv6Address, to destination: IPv6Address, _ mac: UInt64, _ flags: UInt8, on egress: Int
  ) {
    sendDiscovery(
      ICMPv6.neighborAdvertisement, flags: flags | DiscoveryMessage.router, target,
      DiscoveryMessage.targetLinkAddress, from: target, to: destination, mac, on: egress)
  }

  private mutating func sendDiscovery(
    _ type: UInt8, flags: UInt8, _ target: IPv6Address, _ option: UInt8, from source: IPv6Address,
    to destination: IPv6Address, _ mac: UInt64, on egress: Int
  ) {
    let interface = interfaces[egress]
    let (linkLength, payload) = (interface.header.length, DiscoveryMessage.lengthWithOption)
    let length = linkLength &+ IPv6Header.length &+ payload
    guard linkLength != 0, let frame = outbox.room(for: length) else { return }
    frame.copyMemory(from: interface.header.bytes, byteCount: linkLength)
    frame.putMAC(mac, 0)
    frame.putBig(EtherType.ipv6, linkLength &- 2)
    let header = IPv6Header(frame + linkLength)
    header.write(
      payloadLength: payload, nextHeader: ICMPv6.number, hopLimit: 255, source: source, destination: destination)
    let message = header.start + IPv6Header.length
    message.put(type, 0)
    message.put(0, 1)
    message.putRaw(UInt16(0), ICMPHeader.checksumOffset)
    message.putBig(UInt32(flags) &<< 24, DiscoveryMessage.flags)
    target.put(at: message + DiscoveryMessage.target)
    message.put(option, DiscoveryMessage.length)
    message.put(1, DiscoveryMessage.length &+ 1)
    message.putMAC(interface.mac, DiscoveryMessage.length &+ 2)
    header.finishICMP(message, length: payload)
    let isSent = outbox.add(
      frame, length: length, egress: UInt16(truncatingIfNeeded: egress), time: clock.now, offload: OffloadHeader())
    if isSent { counters.add(UInt16(truncatingIfNeeded: egress), Counters.generated) }
  }
}

extension IPv6Header {
  /// Sets the checksum of an ICMPv6 message behind this header, whose checksum field is zero.
  func finishICMP(_ message: UnsafeMutableRawPointer, length: Int) {
    let sum = Checksum.sum(message, count: length) &+ pseudoHeader(ipProtocol: ICMPv6.number, length: length)
    message.putRaw(~Checksum.fold(sum), ICMPHeader.checksumOffset)
  }
}
