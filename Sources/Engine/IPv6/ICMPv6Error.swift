/// The datagram that an ICMPv6 error quotes.
struct Quote6 {
  let transport: QuotedTransport
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
    let transport = start + chain.offset
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
    self.transport = QuotedTransport(start: transport, length: available &- chain.offset, kind: kind)
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
    if flows.sessions.flow(flow).kind == FlowKind.helped {
      locked { $0.unshift(quote.transport.start, length: quote.transport.length, in: packet.transport, flow) }
    }
    guard isCredible(packet, quote, flow) else { return drop(slot, .icmpForged) }
    guard packet.header.hopLimit > 1 else { return timeExceeded(packet) }
    guard let adjacency = settleAdjacency6(flow) else { return drop(slot, .noRoute) }
    guard fits(packet, adjacency) else { return tooBig(packet, adjacency) }
    translate(packet, quote, flow)
    deliver(packet, over: adjacency, nil)
  }

  /// The quote's addresses, turned round, are those of the direction that the error goes in.
  func isAbout(_ quote: Quote6, _ flow: UInt32) -> Bool {
    SideTable.isTurned(flows.sessions.sides.line(flow), quote.header.start + IPv6Header.sourceOffset)
  }

  /// Outer and inner headers, and the checksum, which covers both (RFC 4443 section 2.3).
  private func translate(_ packet: Packet6, _ quote: Quote6, _ flow: UInt32) {
    let (line, sides) = (flows.sessions.flow(flow), flows.sessions.sides)
    let outer = packet.header.start + IPv6Header.sourceOffset
    let before = Checksum.fold(Checksum.sum(outer, count: 32))
    source(packet, flow).put(at: outer)
    sides.source(flow ^ 1).put(at: outer + 16)
    packet.header.takeHop()
    let change = Checksum.delta(before, Checksum.fold(Checksum.sum(outer, count: 32)))
    // The quote is a packet of the other direction, as it was before that was rewritten.
    let inner = quote.header.start + IPv6Header.sourceOffset
    inner.copyMemory(from: sides.line(flow ^ 1), byteCount: 32)
    let delta = Checksum.combine(Checksum.combine(change, line.networkDelta), quote.transport.translate(line))
    packet.transport.putRaw(
      Checksum.adjust(packet.transport.raw16(ICMPHeader.checksumOffset), by: delta), ICMPHeader.checksumOffset)
  }

  /// A router's own address stays as it is, unless it is an inside one that must not be seen.
  private func source(_ packet: Packet6, _ flow: UInt32) -> IPv6Address {
    let sides = flows.sessions.sides
    let (old, new) = (sides.source(flow), sides.destination(flow ^ 1))
    if packet.source == old { return new }
    guard !interfaces[packet.ingress].isOutside else { return packet.source }
    let egress = Int(flows.sessions.flow(flow ^ 1).key.scope)
    guard interfaces[egress].isOutside else { return packet.source }
    if rules.isTranslated(packet.source) { return rules.outsideSource(packet.source, over: egress) ?? new }
    return old == new ? packet.source : new
  }

  /// What anybody could send who knows a connection's ends, and nothing of it (RFC 5927). No link of IPv6 takes less than
  /// 1280 bytes (RFC 8201 section 4).
  func isCredible(_ packet: Packet6, _ quote: Quote6, _ flow: UInt32) -> Bool {
    if packet.transport.byte(0) == ICMPv6.packetTooBig, packet.transport.big32(4) < 1280 { return false }
    guard quote.kind == FlowKind.tcp else { return true }
    return TCPTracker(flows.sessions.common(flow &>> 1))
      .mayBeUnderWay(Int(1 &- flow & 1), quote.transport.start.big32(TCPHeader.sequenceOffset))
  }
}
