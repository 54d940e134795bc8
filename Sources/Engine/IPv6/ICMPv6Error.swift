/// The datagram that an ICMPv6 error quotes.
struct Quote6 {
  /// First byte of its transport header, of which at least 8 are there.
  let transport: UnsafeMutableRawPointer
  let header: IPv6Header
  /// The key of the direction that the error goes in: the quote turned round.
  let key: FlowKey
  let kind: UInt8

  /// nil where what is quoted can belong to no session: too short, a later fragment, an ICMPv6 error.
  init?(_ start: UnsafeMutableRawPointer, available: Int, scope: UInt16, _ secret: HashSecret) {
    guard available >= IPv6Header.length else { return nil }
    header = IPv6Header(start)
    guard header.isVersion6 else { return nil }
    let chain = IPv6Chain(start, length: available)
    guard chain.flaw == .none || chain.flaw == .malformedFragment, chain.fragmentOffset == 0,
      available &- chain.offset >= 8
    else { return nil }
    transport = start + chain.offset
    let ipProtocol = chain.ipProtocol
    var ports = UInt64(transport.raw16(2)) | UInt64(transport.raw16(0)) &<< 16
    switch ipProtocol {
    case IPProtocol.tcp: kind = FlowKind.tcp
    case IPProtocol.udp: kind = FlowKind.udp
    case ICMPv6.number:
      let identifier = UInt64(transport.raw16(ICMPHeader.identifierOffset))
      switch transport.byte(0) {
      case ICMPv6.echoRequest:
        ports = identifier &<< 16 | FlowKey.echoReply
        kind = FlowKind.echoRequest
      case ICMPv6.echoReply:
        ports = identifier
        kind = FlowKind.echoReply
      default: return nil
      }
    default:
      ports = 0
      kind = FlowKind.other
    }
    let addresses = start + IPv6Header.sourceOffset
    key = FlowKey(
      digest: secret.digest(addresses + 16, addresses), ports: ports, scope: scope, ipProtocol: ipProtocol)
  }
}

extension Core {
  /// An ICMPv6 error between inside and outside: it passes where it is about one of our sessions (RFC 4890 section
  /// 4.3.1), and never refreshes or ends that.
  mutating func judgeError(_ packet: Packet6) {
    let slot = packet.slot
    guard packet.hasICMPChecksum else { return drop(slot, .malformedICMP) }
    guard
      let quote = Quote6(
        packet.transport + 8, available: packet.transportLength &- 8, scope: slot.pointee.ingress,
        flows.sessions.secret),
      case .live(let flow) = standing(of: quote.key), isAbout(quote, flow), packet.destination == quote.header.source
    else { return drop(slot, .icmpUnmatched) }
    guard isCredible(packet, quote, flow) else { return drop(slot, .icmpForged) }
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    guard let adjacency = settleAdjacency6(flow) else { return drop(slot, .noRoute) }
    guard fits(packet, adjacency) else { return tooBig(packet, adjacency) }
    packet.header.takeHop()
    deliver(packet, over: adjacency)
  }

  /// The quote's addresses are those of the flow that it came by, whose other direction is `flow`.
  private func isAbout(_ quote: Quote6, _ flow: UInt32) -> Bool {
    SideTable.matches(flows.sessions.sides.line(flow ^ 1), quote.header.start + IPv6Header.sourceOffset)
  }

  /// What anybody could send who knows a connection's ends, and nothing of it (RFC 5927). No link of IPv6 takes less than
  /// 1280 bytes (RFC 8201 section 4).
  private func isCredible(_ packet: Packet6, _ quote: Quote6, _ flow: UInt32) -> Bool {
    if packet.transport.byte(0) == ICMPv6.packetTooBig, packet.transport.big32(4) < 1280 { return false }
    guard quote.kind == FlowKind.tcp else { return true }
    return TCPTracker(flows.sessions.common(flow &>> 1))
      .mayBeUnderWay(Int(1 &- flow & 1), quote.transport.big32(TCPHeader.sequenceOffset))
  }
}
