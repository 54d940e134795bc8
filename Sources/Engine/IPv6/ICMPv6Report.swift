/// The ICMPv6 errors that we make ourselves (RFC 4443 section 3).
enum ErrorReport6 {
  case timeExceeded
  case unreachable(code: UInt8)
  case packetTooBig(mtu: UInt32)

  fileprivate var type: UInt8 {
    switch self {
    case .timeExceeded: ICMPv6.timeExceeded
    case .unreachable: ICMPv6.unreachable
    case .packetTooBig: ICMPv6.packetTooBig
    }
  }
  fileprivate var code: UInt8 {
    if case .unreachable(let code) = self { code } else { 0 }
  }
  /// The second word: the next link's MTU, which for IPv6 is never less than 1280.
  fileprivate var rest: UInt32 {
    if case .packetTooBig(let mtu) = self { max(mtu, 1280) } else { 0 }
  }
}

extension Core {
  /// All of the error, its IPv6 header included: what every link takes (RFC 4443 section 2.4 (c)).
  private static let mostOfReport6 = 1280

  mutating func timeExceeded(_ packet: Packet6) {
    report(packet, .timeExceeded)
    drop(packet.slot, .ttlExceeded)
  }

  mutating func tooBig(_ packet: Packet6, _ adjacency: UInt16) {
    report(packet, .packetTooBig(mtu: adjacencies[adjacency].mtu))
    drop(packet.slot, .fragmentationNeeded)
  }

  mutating func noRoute(_ packet: Packet6) {
    if !interfaces[packet.ingress].isOutside { report(packet, .unreachable(code: 0)) }
    drop(packet.slot, .noRoute)
  }

  /// Tells the sender of a datagram as it came in.
  mutating func report(_ packet: Packet6, _ error: ErrorReport6) {
    report(packet.header, length: packet.totalLength, on: packet.ingress, error)
  }

  /// Sends an error about a datagram to its source, by the interface that it came in by.
  mutating func report(_ about: IPv6Header, length: Int, on ingress: Int, _ error: ErrorReport6) {
    let to = about.source
    guard Self.mayReport(about, length: length), let own = sixes[ingress]?.firstAddress,
      let hop = routes6.find(to, over: ingress), let place = adjacency(to: hop)
    else { return }
    guard locked({ $0.limiter.allows($0.flows.sessions.secret.digest(to), at: $0.clock.now) }) else {
      return counters.add(.errorLimited)
    }
    let message = 8 &+ min(length, Self.mostOfReport6 &- IPv6Header.length &- 8)
    guard let ip = outbox.room(for: IPv6Header.length &+ message) else { return }
    let header = IPv6Header(ip)
    header.write(payloadLength: message, nextHeader: ICMPv6.number, hopLimit: 64, source: own, destination: to)
    let icmp = ip + IPv6Header.length
    icmp.put(error.type, 0)
    icmp.put(error.code, 1)
    icmp.putRaw(UInt16(0), ICMPHeader.checksumOffset)
    icmp.putBig(error.rest, 4)
    (icmp + 8).copyMemory(from: about.start, byteCount: message &- 8)
    header.finishICMP(icmp, length: message)
    counters.add(.errorSent)
    sendMade(ip, length: IPv6Header.length &+ message, over: place)
  }

  /// Never about an ICMPv6 error or a redirect, to a group or to nobody (RFC 4443 section 2.4 (e)).
  private static func mayReport(_ about: IPv6Header, length: Int) -> Bool {
    guard !about.source.isMulticast, about.source != .unspecified, !about.destination.isMulticast else { return false }
    let chain = IPv6Chain(about.start, length: length)
    guard chain.ipProtocol == ICMPv6.number, chain.fragmentOffset == 0 else { return chain.flaw == .none }
    guard chain.offset < length else { return false }
    let type = about.start.byte(chain.offset)
    return type >= 128 && type != 137
  }

  /// Answers an echo request to one of our addresses.
  mutating func answerEcho(_ packet: Packet6) {
    let length = packet.transportLength
    guard packet.hasICMPChecksum, packet.transport.byte(1) == 0 else { return drop(packet.slot, .malformedICMP) }
    guard let hop = routes6.find(packet.source, over: packet.ingress), let place = adjacency(to: hop) else {
      return drop(packet.slot, .noRoute)
    }
    guard IPv6Header.length &+ length <= Int(adjacencies[place].mtu) else {
      return drop(packet.slot, .fragmentationNeeded)
    }
    guard let ip = outbox.room(for: IPv6Header.length &+ length) else { return drop(packet.slot, .outboxFull) }
    let header = IPv6Header(ip)
    header.write(
      payloadLength: length, nextHeader: ICMPv6.number, hopLimit: 64, source: packet.destination,
      destination: packet.source)
    let icmp = ip + IPv6Header.length
    icmp.copyMemory(from: packet.transport, byteCount: length)
    icmp.put(ICMPv6.echoReply, 0)
    icmp.putRaw(UInt16(0), ICMPHeader.checksumOffset)
    header.finishICMP(icmp, length: length)
    sendMade(ip, length: IPv6Header.length &+ length, over: place)
    consume(packet.slot)
  }
}
