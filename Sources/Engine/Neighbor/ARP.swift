/// Byte offsets in an ARP packet for IPv4 over Ethernet (RFC 826), 28 bytes.
enum ARPPacket {
  static let length = 28
  static let operation = 6
  static let senderMAC = 8
  static let senderAddress = 14
  static let targetMAC = 18
  static let targetAddress = 24
  /// Hardware type 1, protocol 0x0800, lengths 6 and 4: the first six bytes.
  static let prefix: UInt64 = 0x0001_0800_0604
  static let request: UInt16 = 1
  static let reply: UInt16 = 2
}

extension Core {
  /// Answers for our addresses; learns from what is addressed to us, or updates what it knows already (RFC 826).
  mutating func judgeARP(_ slot: UnsafeMutablePointer<FrameSlot>, network: Int) {
    guard Int(slot.pointee.length) >= network &+ ARPPacket.length else { return drop(slot, .truncated) }
    let arp = slot.pointee.bytes + network
    let operation = arp.big16(ARPPacket.operation)
    let senderMAC = arp.rawMAC(ARPPacket.senderMAC)
    let isEthernet = UInt64(arp.big32(0)) &<< 16 | UInt64(arp.big16(4)) == ARPPacket.prefix
    guard isEthernet, operation == ARPPacket.request || operation == ARPPacket.reply, senderMAC & 1 == 0, senderMAC != 0
    else { return drop(slot, .malformedARP) }
    let ingress = Int(slot.pointee.ingress)
    let interface = interfaces[ingress]
    let sender = arp.raw32(ARPPacket.senderAddress)
    let target = arp.raw32(ARPPacket.targetAddress)
    let isForUs = interface.owns(target)
    // Someone else with our address changes nothing here, nor does a probe from 0.0.0.0 (RFC 5227).
    if sender != 0, outsideAddresses[sender] == nil, insideAddresses[sender] == nil {
      learn(IPv4Address(wire: sender), senderMAC, on: ingress, mayInsert: isForUs)
    }
    // Alongside, the host answers for its own addresses; for the others nobody does but us.
    let isHosts = isAlongside && !interface.externals.contains(target)
    if operation == ARPPacket.request, isForUs, !isHosts {
      sendARP(ARPPacket.reply, from: target, to: sender, senderMAC, on: ingress)
    }
    if isHosts { pass(slot) } else { consume(slot) }
  }

  private mutating func learn(_ address: IPv4Address, _ mac: UInt64, on ingress: Int, mayInsert: Bool) {
    locked { $0.learnLocked(address, mac, on: ingress, mayInsert: mayInsert) }
  }

  private mutating func learnLocked(_ address: IPv4Address, _ mac: UInt64, on ingress: Int, mayInsert: Bool) {
    let egress = UInt16(truncatingIfNeeded: ingress)
    if let known = adjacencies.find(egress: egress, address: address.wire) {
      if mayInsert || adjacencies[known].state != AdjacencyState.unknown { resolve(known, mac) }
      return
    }
    guard mayInsert, interfaces[ingress].prefix(of: address) != nil,
      let made = adjacency(to: RouteTable.Hop(interface: ingress, address: address))
    else { return }
    resolve(made, mac)
  }

  /// Asks for an adjacency's next hop: by broadcast, or for IPv6 by its group.
  mutating func request(_ place: UInt16) {
    let adjacency = adjacencies[place]
    if adjacency.isIPv6 { return solicit(place) }
    let interface = interfaces[Int(adjacency.egress)]
    let own = interface.prefix(of: IPv4Address(wire: adjacency.address))?.address.wire ?? interface.firstAddress ?? 0
    sendARP(ARPPacket.request, from: own, to: adjacency.address, 0, on: Int(adjacency.egress))
  }

  private mutating func sendARP(_ operation: UInt16, from: UInt32, to: UInt32, _ toMAC: UInt64, on egress: Int) {
    let interface = interfaces[egress]
    let length = interface.header.length
    guard length != 0, let frame = outbox.room(for: length &+ ARPPacket.length) else { return }
    frame.copyMemory(from: interface.header.bytes, byteCount: length)
    frame.putMAC(operation == ARPPacket.request ? MACAddress.broadcast.raw : toMAC, 0)
    frame.putBig(EtherType.arp, length &- 2)
    let arp = frame + length
    arp.putBig(UInt32(truncatingIfNeeded: ARPPacket.prefix &>> 16), 0)
    arp.putBig(UInt16(truncatingIfNeeded: ARPPacket.prefix), 4)
    arp.putBig(operation, ARPPacket.operation)
    arp.putMAC(interface.mac, ARPPacket.senderMAC)
    arp.putRaw(from, ARPPacket.senderAddress)
    arp.putMAC(toMAC, ARPPacket.targetMAC)
    arp.putRaw(to, ARPPacket.targetAddress)
    let isSent = outbox.add(
      frame, length: length &+ ARPPacket.length, egress: UInt16(truncatingIfNeeded: egress), time: clock.now,
      offload: OffloadHeader())
    if isSent { counters.add(UInt16(truncatingIfNeeded: egress), Counters.generated) }
  }
}
