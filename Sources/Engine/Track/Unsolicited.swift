/// SYNs from outside that nothing is configured for, kept for six seconds by default: an outbound SYN in the meantime is a simultaneous open
/// and makes them forgotten; otherwise the sender is told (RFC 5382 REQ-4). Bounded: what does not fit is dropped silently.
struct UnsolicitedList {
  static let capacity = 1024
  /// Enough of the datagram to quote: header with options, and 8 bytes and more of TCP.
  static let quoteBytes = 80

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
  mutating func remember(_ key: FlowKey, _ header: IPv4Header, length: Int, ingress: UInt16) -> UInt32? {
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
    (quotes + free &* Self.quoteBytes).copyMemory(from: header.start, byteCount: kept)
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
  mutating func take(_ place: UInt32) -> (header: IPv4Header, length: Int, ingress: Int)? {
    let entry = entries[Int(place)]
    entries[Int(place)].isUsed = false
    count &-= 1
    guard entry.key.rest != 0 else { return nil }
    return (IPv4Header(quotes + Int(place) &* Self.quoteBytes), Int(entry.length), Int(entry.ingress))
  }
}

extension Core {
  /// Nothing is configured for this packet: silence, or an answer if the interface is set to give one.
  mutating func unsolicited(_ packet: Packet, _ reason: DropReason) {
    if isAlongside { return pass(packet.slot) }
    if interfaces[packet.ingress].tellsUnreachable {
      if packet.kind == FlowKind.udp {
        report(packet, .unreachable(code: 3))
      } else if packet.kind == FlowKind.tcp, packet.tcpFlags & TCPHeader.syn != 0,
        let place = locked({
          $0.unsolicited.remember(
            packet.key, packet.header, length: packet.totalLength, ingress: packet.slot.pointee.ingress)
        })
      {
        if !timers.add(at: clock.now &+ timeouts.unsolicited, .unsolicited, place) {
          locked { _ = $0.unsolicited.take(place) }
        }
      }
    }
    drop(packet.slot, reason)
  }

  mutating func unsolicitedTimer(_ place: UInt32) {
    // The bytes stay where they are until the place is used again, which needs the lock.
    locked { core in
      guard let syn = core.unsolicited.take(place) else { return }
      core.report(syn.header, length: syn.length, on: syn.ingress, .unreachable(code: 3))
    }
  }
}
