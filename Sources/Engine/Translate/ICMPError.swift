/// The datagram that an ICMP error quotes.
struct Quote {
  let header: IPv4Header
  /// Bytes of its transport header that are there, at least 8.
  let transportLength: Int
  /// The key of the direction that the error goes in: the quote turned round.
  let key: FlowKey
  let kind: UInt8

  /// nil where what is quoted can belong to no session: too short, a later fragment, an ICMP error.
  init?(_ start: UnsafeMutableRawPointer, available: Int, scope: UInt16) {
    header = IPv4Header(start)
    let transportLength = available &- header.length
    guard !(header.fragmentOffset > 0), transportLength >= 8 else { return nil }
    self.transportLength = transportLength
    let transport = header.payload
    var sourcePort = transport.raw16(0)
    var destinationPort = transport.raw16(2)
    switch header.ipProtocol {
    case IPProtocol.tcp: kind = FlowKind.tcp
    case IPProtocol.udp: kind = FlowKind.udp
    case IPProtocol.icmp:
      let identifier = transport.raw16(ICMPHeader.identifierOffset)
      switch transport.byte(0) {
      case ICMPHeader.echoRequest:
        (sourcePort, destinationPort) = (identifier, 0)
        kind = FlowKind.echoRequest
      case ICMPHeader.echoReply:
        (sourcePort, destinationPort) = (0, identifier)
        kind = FlowKind.echoReply
      default: return nil
      }
    default:
      (sourcePort, destinationPort) = (0, 0)
      kind = FlowKind.other
    }
    key = FlowKey(
      source: header.destination, sourcePort: destinationPort, destination: header.source, destinationPort: sourcePort,
      scope: scope, ipProtocol: header.ipProtocol, isEchoReply: kind == FlowKind.echoRequest)
  }

  /// Rewrites the quote back to what its sender had sent, `flow` being the direction of the error, and returns what
  /// that adds to the ICMP checksum.
  func translate(_ flow: FlowLine) -> UInt16 {
    let start = header.start
    let old = start.raw16(IPv4Header.checksumOffset)
    let checksum = Checksum.adjust(old, by: flow.networkDelta)
    start.putRaw(checksum, IPv4Header.checksumOffset)
    start.putRaw(flow.newDestination, IPv4Header.sourceOffset)
    start.putRaw(flow.newSource, IPv4Header.destinationOffset)
    let delta = Checksum.combine(flow.networkDelta, Checksum.delta(old, checksum))
    return Checksum.combine(
      delta, QuotedTransport(start: header.payload, length: transportLength, kind: kind).translate(flow))
  }
}

/// The transport header in a quote, of either family.
struct QuotedTransport {
  let start: UnsafeMutableRawPointer
  /// Bytes of it that are there, at least 8.
  let length: Int
  let kind: UInt8

  /// The same for ports and checksum.
  func translate(_ flow: FlowLine) -> UInt16 {
    if kind == FlowKind.other { return 0 }
    var delta: UInt16 = 0
    let checksumOffset = Rewrite.checksumOffset(kind)
    if length >= checksumOffset &+ 2 {
      let checksum = start.raw16(checksumOffset)
      let reverted =
        kind == FlowKind.udp
        ? Checksum.adjustUDP(checksum, by: flow.transportDelta) : Checksum.adjust(checksum, by: flow.transportDelta)
      // The quoted checksum may be wrong, and then stays so (RFC 5508 REQ-3).
      delta = put(checksumOffset, reverted)
    }
    switch kind {
    case FlowKind.echoRequest: delta = Checksum.combine(delta, put(4, flow.newDestinationPort))
    case FlowKind.echoReply: delta = Checksum.combine(delta, put(4, flow.newSourcePort))
    default:
      delta = Checksum.combine(delta, put(0, flow.newDestinationPort))
      delta = Checksum.combine(delta, put(2, flow.newSourcePort))
    }
    return delta
  }

  private func put(_ offset: Int, _ value: UInt16) -> UInt16 {
    let delta = Checksum.delta(start.raw16(offset), value)
    start.putRaw(value, offset)
    return delta
  }
}

extension Core {
  /// An ICMP error about one of our sessions: outer and inner headers are rewritten (RFC 5508 section 4.2). It never
  /// refreshes or ends the session (REQ-6; RFC 4787 REQ-12).
  mutating func judgeICMPError(_ packet: Packet) {
    let slot = packet.slot
    let length = packet.transportLength
    let inner = packet.transport + ICMPHeader.length
    let available = length &- ICMPHeader.length
    guard Checksum.fold(Checksum.sum(packet.transport, count: length)) == 0xFFFF, available >= 20,
      inner.byte(0) &>> 4 == 4, IPv4Header(inner).length >= 20, IPv4Header(inner).length <= available,
      Checksum.fold(Checksum.sum(inner, count: IPv4Header(inner).length)) == 0xFFFF
    else { return drop(slot, .malformedICMP) }
    guard let quote = Quote(inner, available: available, scope: slot.pointee.ingress),
      case .live(let flow) = standing(of: quote.key), packet.header.destination == quote.key.destination
    else { return judgeOther(packet, .icmpUnmatched) }
    if flows.sessions.flow(flow).kind == FlowKind.helped {
      locked { $0.unshift(quote.header.payload, length: quote.transportLength, in: packet.transport, flow) }
    }
    guard isCredible(packet, quote, flow) else { return drop(slot, .icmpForged) }
    guard packet.header.ttl > 1 else { return timeExceeded(packet) }
    guard let adjacency = settleAdjacency(flow) else { return drop(slot, .noRoute) }
    guard fits(packet, adjacency) || packet.canSplit else { return tooBig(packet, adjacency) }
    translateError(packet, quote, flows.sessions.flow(flow))
    deliver(packet, over: adjacency, nil)
  }

  /// What anybody could send who knows a connection's ends, and nothing of it (RFC 5927): the quoted TCP segment must be
  /// one that may be on its way, and an MTU below what every host takes (RFC 791) is no link's. Zero is an old router's
  /// that does not know (RFC 1191 section 5).
  func isCredible(_ packet: Packet, _ quote: Quote, _ flow: UInt32) -> Bool {
    let message = packet.transport
    if message.byte(0) == ICMPHeader.unreachable, message.byte(1) == 4 {
      let mtu = message.big16(6)
      guard mtu == 0 || mtu >= Self.leastMTU else { return false }
    }
    guard quote.kind == FlowKind.tcp else { return true }
    return TCPTracker(flows.sessions.common(flow &>> 1))
      .mayBeUnderWay(Int(1 &- flow & 1), quote.header.payload.big32(TCPHeader.sequenceOffset))
  }

  private static let leastMTU: UInt16 = 576

  private func translateError(_ packet: Packet, _ quote: Quote, _ flow: FlowLine) {
    let header = packet.header
    // A router's own address stays as it is, unless it is an inside one that must not be seen (RFC 5508 REQ-5).
    let isHidden = header.source == flow.key.source || !interfaces[packet.ingress].isOutside
    let source = isHidden && flow.newSource != flow.key.source ? flow.newSource : header.source
    let delta = Checksum.combine(
      Checksum.delta(header.source, source), Checksum.delta(header.destination, flow.newDestination))
    header.start.putRaw(source, IPv4Header.sourceOffset)
    header.start.putRaw(flow.newDestination, IPv4Header.destinationOffset)
    header.start.putRaw(
      Checksum.adjust(header.start.raw16(IPv4Header.checksumOffset), by: delta), IPv4Header.checksumOffset)
    header.takeHop()
    let change = quote.translate(flow)
    packet.transport.putRaw(
      Checksum.adjust(packet.transport.raw16(ICMPHeader.checksumOffset), by: change), ICMPHeader.checksumOffset)
  }
}
