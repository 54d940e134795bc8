/// SYNs from outside that nothing is configured for, kept for six seconds by default: an outbound SYN in the meantime is a simultaneous open
/// and makes them forgotten; otherwise the sender is told (RFC 5382 REQ-4). Bounded: what does not fit is dropped silently.
struct UnsolicitedList {
  static let capacity = 1024
  /// Enough of the datagram to quote: an IPv6 header, or an IPv4 one with options, and the whole of TCP's, or most of it.
  static let quoteBytes = 104

  private struct Entry {
    var key: FlowKey
    var ingress: UInt16
    var length: UInt16
    var isUsed: Bool
  }

  private let entries: UnsafeMutablePointer<Entry>
  private let quotes: UnsafeMutableRawPointer
  private var count = 0

  init() {
    entries = .allocate(capacity: Self.capacity)
    entries.initialize(
      repeating: Entry(key: FlowKey(addresses: 0, rest: 0), ingress: 0, length: 0, isUsed: false), count: Self.capacity)
    quotes = .allocate(byteCount: Self.capacity * Self.quoteBytes, alignment: 8)
  }

  func release() {
    entries.deallocate()
    quotes.deallocate()
  }

  mutating func pass(_ state: inout StatePass) {
    state.word(&count)
    state.memory(entries, Self.capacity)
    state.memory(quotes, Self.capacity * Self.quoteBytes)
  }

  /// Notes a SYN; nil where it stands here already, or where there is no room.
  mutating func remember(
    _ key: FlowKey, _ datagram: UnsafeMutableRawPointer, length: Int, ingress: UInt16
  ) -> UInt32? {
    var free: Int?
    for place in 0..<Self.capacity {
      if entries[place].isUsed {
        if entries[place].key == key { return nil }
      } else if free == nil {
        free = place
        if count == 0 { break }
      }
    }
    guard let free else { return nil }
    let kept = min(length, Self.quoteBytes)
    entries[free] = Entry(key: key, ingress: ingress, length: UInt16(truncatingIfNeeded: kept), isUsed: true)
    (quotes + free &* Self.quoteBytes).copyMemory(from: datagram, byteCount: kept)
    count &+= 1
    return UInt32(truncatingIfNeeded: free)
  }

  /// A session answers to this key now.
  mutating func forget(_ key: FlowKey) {
    guard count > 0 else { return }
    for place in 0..<Self.capacity where entries[place].isUsed && entries[place].key == key {
      entries[place].key = FlowKey(addresses: 0, rest: 0)
    }
  }

  /// Takes an entry out when its time has come; nil where it was forgotten.
  mutating func take(_ place: UInt32) -> (datagram: UnsafeMutableRawPointer, length: Int, ingress: Int)? {
    let entry = entries[Int(place)]
    entries[Int(place)].isUsed = false
    count &-= 1
    guard entry.key.rest != 0 else { return nil }
    return (quotes + Int(place) &* Self.quoteBytes, Int(entry.length), Int(entry.ingress))
  }
}

extension Core {
  /// Nothing is configured for this packet: silence, or an answer if the interface is set to give one.
  mutating func unsolicited(_ packet: Packet, _ reason: DropReason) {
    if isAlongside { return pass(packet.slot) }
    if interfaces[packet.ingress].tellsUnreachable {
      if packet.kind == FlowKind.udp {
        report(packet, .unreachable(code: 3))
      } else if packet.kind == FlowKind.tcp, packet.tcpFlags & TCPHeader.syn != 0 {
        remember(packet.key, packet.header.start, length: packet.totalLength, packet.slot)
      }
    }
    drop(packet.slot, reason)
  }

  /// The same over IPv6, from outside: to our own addresses, and to inside hosts, which nothing lets it in to (RFC 6092
  /// REC-34).
  mutating func unsolicited(_ packet: Packet6, _ reason: DropReason) {
    let interface = interfaces[packet.ingress]
    if interface.isOutside, interface.tellsUnreachable, !packet.chain.isFragment {
      var packet = packet
      if packet.kind == FlowKind.free { _ = findKey(&packet) }
      if packet.kind == FlowKind.udp {
        report(packet, unreachable(packet.header))
      } else if packet.kind == FlowKind.tcp, packet.tcpFlags & TCPHeader.syn != 0 {
        remember(packet.key, packet.header.start, length: packet.totalLength, packet.slot)
      }
    }
    drop(packet.slot, reason)
  }

  /// No such port here, or a policy in the way to another host (RFC 4443 section 3.1).
  private func unreachable(_ header: IPv6Header) -> ErrorReport6 {
    .unreachable(code: own6[header.destination] == nil ? 1 : 4)
  }

  private mutating func remember(
    _ key: FlowKey, _ datagram: UnsafeMutableRawPointer, length: Int, _ slot: UnsafeMutablePointer<FrameSlot>
  ) {
    let ingress = slot.pointee.ingress
    guard let place = locked({ $0.unsolicited.remember(key, datagram, length: length, ingress: ingress) }) else {
      return
    }
    if !timers.add(at: clock.now &+ timeouts.unsolicited, .unsolicited, place) {
      locked { _ = $0.unsolicited.take(place) }
    }
  }

  /// The SYN that waited is answered by this connection, whichever side has begun it now.
  mutating func forgetUnsolicited(_ key: FlowKey, _ replyKey: FlowKey) {
    locked {
      $0.unsolicited.forget(key)
      $0.unsolicited.forget(replyKey)
    }
  }

  mutating func unsolicitedTimer(_ place: UInt32) {
    // The bytes stay where they are until the place is used again, which needs the lock.
    locked { core in
      guard let syn = core.unsolicited.take(place) else { return }
      let header = IPv6Header(syn.datagram)
      if header.isVersion6 {
        core.report(header, length: syn.length, on: syn.ingress, core.unreachable(header))
      } else {
        core.report(IPv4Header(syn.datagram), length: syn.length, on: syn.ingress, .unreachable(code: 3))
      }
    }
  }
}
