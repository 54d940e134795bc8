// The one kind of TCP segment that we make ourselves: a reset, for connections that we have cut.
extension Core {
  /// Answers a segment as a host without that connection would (RFC 9293 section 3.5.2), in the name of the endpoint that
  /// it was sent to. Limited like ICMP errors.
  mutating func reset(_ packet: Packet) {
    guard packet.kind == FlowKind.tcp, packet.tcpFlags & TCPHeader.rst == 0,
      let hop = routes.find(packet.source, over: packet.ingress), let place = adjacency(to: hop)
    else { return }
    guard locked({ $0.limiter.allows(UInt64(packet.header.source), at: $0.clock.now) }) else {
      return counters.add(.errorLimited)
    }
    guard let ip = outbox.room(for: 40) else { return }
    let tcp = ip + 20
    Self.writeReset(tcp, to: packet.transport, length: packet.transportLength)
    let (source, destination) = (packet.header.destination, packet.header.source)
    IPv4Header(ip).write(totalLength: 40, ipProtocol: IPProtocol.tcp, source: source, destination: destination)
    let sum = Checksum.sum(tcp, count: 20) &+ Checksum.pseudoHeader(ip, ipProtocol: IPProtocol.tcp, length: 20)
    tcp.putRaw(~Checksum.fold(sum), TCPHeader.checksumOffset)
    counters.add(.resetSent)
    sendMade(ip, length: 40, over: place)
  }

  mutating func reset(_ packet: Packet6) {
    guard packet.kind == FlowKind.tcp, packet.tcpFlags & TCPHeader.rst == 0, !packet.chain.isFragment,
      let hop = routes6.find(packet.source, over: packet.ingress), let place = adjacency(to: hop)
    else { return }
    let to = flows.sessions.secret.digest(packet.source)
    guard locked({ $0.limiter.allows(to, at: $0.clock.now) }) else { return counters.add(.errorLimited) }
    let length = IPv6Header.length &+ 20
    guard let ip = outbox.room(for: length) else { return }
    let tcp = ip + IPv6Header.length
    Self.writeReset(tcp, to: packet.transport, length: packet.transportLength)
    let header = IPv6Header(ip)
    header.write(
      payloadLength: 20, nextHeader: IPProtocol.tcp, hopLimit: 64, source: packet.destination,
      destination: packet.source)
    let sum = Checksum.sum(tcp, count: 20) &+ header.pseudoHeader(ipProtocol: IPProtocol.tcp, length: 20)
    tcp.putRaw(~Checksum.fold(sum), TCPHeader.checksumOffset)
    counters.add(.resetSent)
    sendMade(ip, length: length, over: place)
  }

  /// All of the segment but its checksum, which is 0.
  private static func writeReset(_ tcp: UnsafeMutableRawPointer, to from: UnsafeMutableRawPointer, length: Int) {
    let flags = from.byte(TCPHeader.flagsOffset)
    let hasACK = flags & TCPHeader.ack != 0
    let payload = length &- Int(from.byte(TCPHeader.dataOffset) &>> 4) &* 4
    // SYN and FIN take a place in the sequence too.
    let marks = (flags & TCPHeader.syn != 0 ? 1 : 0) + (flags & TCPHeader.fin != 0 ? 1 : 0)
    tcp.putRaw(from.raw16(2), 0)
    tcp.putRaw(from.raw16(0), 2)
    tcp.putBig(hasACK ? from.big32(TCPHeader.acknowledgementOffset) : 0, TCPHeader.sequenceOffset)
    let next = from.big32(TCPHeader.sequenceOffset) &+ UInt32(truncatingIfNeeded: payload &+ marks)
    tcp.putBig(hasACK ? 0 : next, TCPHeader.acknowledgementOffset)
    tcp.put(UInt8(5 &<< 4), TCPHeader.dataOffset)
    tcp.put(hasACK ? TCPHeader.rst : TCPHeader.rst | TCPHeader.ack, TCPHeader.flagsOffset)
    // Window, checksum, urgent pointer.
    tcp.putRaw(UInt32(0), 14)
    tcp.putRaw(UInt16(0), 18)
  }
}
