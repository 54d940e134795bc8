/// Cuts a datagram that is larger than the next link's MTU into fragments (RFC 791 section 3.2).
enum Fragmenter {
  /// Puts the pieces into the outbox in order. False where there is no room for all of them.
  static func split(
    _ header: IPv4Header, length: Int, offload: OffloadHeader, over adjacency: Adjacency, priority: UInt16,
    time: UInt64,
    into outbox: inout Outbox
  ) -> Bool {
    finish(header, length: length, offload)
    let payload = length &- header.length
    let laterLength = copiedOptionsLength(header)
    let flags = header.start.big16(IPv4Header.flagsOffset)
    let firstUnit = Int(flags & 0x1FFF)
    var done = 0
    while done < payload {
      let headerLength = done == 0 ? header.length : laterLength
      // Every piece but the last is a multiple of 8 bytes.
      let room = (Int(adjacency.mtu) &- headerLength) & ~7
      guard room > 0, let ip = outbox.room(for: headerLength &+ min(room, payload &- done)) else { return false }
      let isLast = payload &- done <= Int(adjacency.mtu) &- headerLength
      let count = isLast ? payload &- done : room
      writeHeader(header, at: ip, isFirst: done == 0, length: headerLength)
      ip.putBig(UInt16(truncatingIfNeeded: headerLength &+ count), 2)
      let more: UInt16 = isLast ? flags & 0x2000 : 0x2000
      ip.putBig(more | UInt16(truncatingIfNeeded: firstUnit &+ done / 8), IPv4Header.flagsOffset)
      IPv4Header(ip).finishChecksum()
      (ip + headerLength).copyMemory(from: header.payload + done, byteCount: count)
      let start = adjacency.writeHeader(before: ip, priority: priority)
      let isAdded = outbox.add(
        start, length: Int(adjacency.headerLength) &+ headerLength &+ count, egress: adjacency.egress, time: time,
        offload: OffloadHeader())
      guard isAdded else { return false }
      done &+= count
    }
    return true
  }

  /// Makes an unfinished transport checksum whole: no device can do it for a piece.
  private static func finish(_ header: IPv4Header, length: Int, _ offload: OffloadHeader) {
    guard offload.flags & OffloadHeader.needsChecksum != 0 else { return }
    let start = Int(offload.checksumStart)
    let place = start &+ Int(offload.checksumOffset)
    guard start >= header.length, place &+ 2 <= length else { return }
    var sum = ~Checksum.fold(Checksum.sum(header.start + start, count: length &- start))
    if header.ipProtocol == IPProtocol.udp, sum == 0 { sum = 0xFFFF }
    header.start.putRaw(sum, place)
  }

  /// Length of a later fragment's header: only options with the copied bit set go along.
  private static func copiedOptionsLength(_ header: IPv4Header) -> Int {
    var length = 20
    walkOptions(header) { _, count in length &+= count }
    return (length &+ 3) & ~3
  }

  private static func writeHeader(_ header: IPv4Header, at ip: UnsafeMutableRawPointer, isFirst: Bool, length: Int) {
    ip.copyMemory(from: header.start, byteCount: isFirst ? length : 20)
    guard !isFirst else { return }
    var offset = 20
    walkOptions(header) { option, count in
      (ip + offset).copyMemory(from: option, byteCount: count)
      offset &+= count
    }
    // End of option list.
    while offset < length {
      ip.put(0, offset)
      offset &+= 1
    }
    ip.put(0x40 | UInt8(truncatingIfNeeded: length / 4), 0)
  }

  /// Visits the options that are copied into every fragment; the header was examined before.
  private static func walkOptions(_ header: IPv4Header, _ visit: (UnsafeMutableRawPointer, Int) -> Void) {
    var offset = 20
    while offset < header.length {
      let kind = header.start.byte(offset)
      if kind == 0 { return }
      let count = kind == 1 ? 1 : Int(header.start.byte(offset &+ 1))
      guard count > 0, offset &+ count <= header.length else { return }
      if kind & 0x80 != 0 { visit(header.start + offset, count) }
      offset &+= count
    }
  }
}
