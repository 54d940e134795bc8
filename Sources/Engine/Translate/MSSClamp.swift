/// Lowers the MSS that a SYN announces, for paths on which Path MTU Discovery does not work. It never raises one, and adds
/// none where there is none (a receiver then counts with 536, RFC 9293 section 3.7.1).
enum MSSClamp {
  /// Walks the options of a SYN; a length that does not fit ends the walk. Returns what that adds to the checksum.
  static func apply(_ tcp: UnsafeMutableRawPointer, headerLength: Int, limit: UInt16) -> UInt16 {
    var delta: UInt16 = 0
    var offset = TCPHeader.minimumLength
    while offset < headerLength {
      let kind = tcp.byte(offset)
      if kind == 0 { return delta }
      if kind == 1 {
        offset &+= 1
        continue
      }
      guard offset &+ 1 < headerLength else { return delta }
      let length = Int(tcp.byte(offset &+ 1))
      guard length >= 2, offset &+ length <= headerLength else { return delta }
      if kind == 2, length == 4, tcp.big16(offset &+ 2) > limit {
        let change = Checksum.delta(tcp.raw16(offset &+ 2), limit.bigEndian)
        tcp.putBig(limit, offset &+ 2)
        // At an odd offset its bytes are the other halves of two words (RFC 1071 section 2, B).
        delta = Checksum.combine(delta, offset % 2 == 0 ? change : change.byteSwapped)
      }
      offset &+= length
    }
    return delta
  }
}

extension Core {
  /// Of a SYN that comes in or leaves by an interface with a limit.
  func clampMSS(_ packet: Packet, _ flow: FlowLine) {
    guard packet.tcpFlags & TCPHeader.syn != 0 else { return }
    let egress = Int(adjacencies[flow.adjacency].egress)
    let limit = min(interfaces[packet.ingress].clampMSS, interfaces[egress].clampMSS)
    clampMSS(packet.transport, limit, isPartial: packet.isPartial)
  }

  func clampMSS(_ packet: Packet6, _ flow: FlowLine) {
    guard packet.tcpFlags & TCPHeader.syn != 0 else { return }
    let egress = Int(adjacencies[flow.adjacency].egress)
    let limit = min(interfaces[packet.ingress].clampMSS6, interfaces[egress].clampMSS6)
    clampMSS(packet.transport, limit, isPartial: packet.isPartial)
  }

  private func clampMSS(_ tcp: UnsafeMutableRawPointer, _ limit: UInt16, isPartial: Bool) {
    guard limit < .max else { return }
    let headerLength = Int(tcp.byte(TCPHeader.dataOffset) &>> 4) &* 4
    let delta = MSSClamp.apply(tcp, headerLength: headerLength, limit: limit)
    // An unfinished sum has only the pseudo-header in it.
    guard delta != 0, !isPartial else { return }
    tcp.putRaw(Checksum.adjust(tcp.raw16(TCPHeader.checksumOffset), by: delta), TCPHeader.checksumOffset)
  }
}
