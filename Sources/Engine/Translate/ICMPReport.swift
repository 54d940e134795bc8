/// The ICMP errors that we make ourselves (RFC 792, RFC 1812 section 4.3).
enum ErrorReport {
  case timeExceeded
  case unreachable(code: UInt8)
  case fragmentationNeeded(mtu: UInt32)

  fileprivate var type: UInt8 {
    if case .timeExceeded = self { ICMPHeader.timeExceeded } else { ICMPHeader.unreachable }
  }
  fileprivate var code: UInt8 {
    switch self {
    case .timeExceeded: 0
    case .unreachable(let code): code
    case .fragmentationNeeded: 4
    }
  }
  /// The second word: the next hop's MTU in its lower half (RFC 1191 section 4).
  fileprivate var rest: UInt32 {
    if case .fragmentationNeeded(let mtu) = self { min(mtu, 0xFFFF) } else { 0 }
  }
}

/// How many errors a destination gets: 50 a second, 100 at once (RFC 1812 section 4.3.2.8). One limit for each
/// destination, never a common one, which would be a side channel (CVE-2020-25705).
struct ErrorLimiter {
  private static let places = 1024
  /// Nanoseconds that one error uses up.
  private static let interval: UInt64 = 20_000_000
  private static let burst: UInt64 = 100

  private let secret: HashSecret
  /// Of IPv6 addresses a digest.
  private let addresses: UnsafeMutablePointer<UInt64>
  /// Theoretical arrival time: when everything let through so far is used up.
  private let used: UnsafeMutablePointer<UInt64>

  init(secret: HashSecret) {
    self.secret = secret
    addresses = .allocate(capacity: Self.places)
    addresses.initialize(repeating: 0, count: Self.places)
    used = .allocate(capacity: Self.places)
    used.initialize(repeating: 0, count: Self.places)
  }

  func release() {
    addresses.deallocate()
    used.deallocate()
  }

  func pass(_ state: inout StatePass) {
    state.memory(addresses, Self.places)
    state.memory(used, Self.places)
  }

  mutating func allows(_ destination: UInt64, at now: UInt64) -> Bool {
    let place = Int(truncatingIfNeeded: secret.hash(destination, 0x6963_6D70) % UInt64(Self.places))
    if addresses[place] != destination {
      addresses[place] = destination
      used[place] = 0
    }
    let from = max(used[place], now)
    guard from &- now <= (Self.burst &- 1) &* Self.interval else { return false }
    used[place] = from &+ Self.interval
    return true
  }
}

extension Core {
  /// All of the error, its IP header included (RFC 1812 section 4.3.2.3).
  private static let maximumReport = 576

  mutating func timeExceeded(_ packet: Packet) {
    report(packet, .timeExceeded)
    drop(packet.slot, .ttlExceeded)
  }

  mutating func tooBig(_ packet: Packet, _ adjacency: UInt16) {
    report(packet, .fragmentationNeeded(mtu: adjacencies[adjacency].mtu))
    drop(packet.slot, .fragmentationNeeded)
  }

  mutating func noRoute(_ packet: Packet) {
    if !interfaces[packet.ingress].isOutside { report(packet, .unreachable(code: 0)) }
    drop(packet.slot, .noRoute)
  }

  /// Tells the sender of a packet as it came in.
  mutating func report(_ packet: Packet, _ error: ErrorReport) {
    report(packet.header, length: packet.totalLength, on: packet.ingress, error)
  }

  /// Sends an error about a datagram to its source, by the interface that it came in by.
  mutating func report(_ about: IPv4Header, length: Int, on ingress: Int, _ error: ErrorReport) {
    guard Self.mayReport(about), let own = interfaces[ingress].firstAddress,
      let hop = routes.find(IPv4Address(wire: about.source), over: ingress), let place = adjacency(to: hop)
    else { return }
    guard locked({ $0.limiter.allows(UInt64(about.source), at: $0.clock.now) }) else {
      return counters.add(.errorLimited)
    }
    let quote = min(length, Self.maximumReport &- 28)
    guard let ip = outbox.room(for: 28 &+ quote) else { return }
    let icmp = ip + 20
    icmp.put(error.type, 0)
    icmp.put(error.code, 1)
    icmp.putRaw(UInt16(0), ICMPHeader.checksumOffset)
    icmp.putBig(error.rest, 4)
    (icmp + 8).copyMemory(from: about.start, byteCount: quote)
    icmp.putRaw(~Checksum.fold(Checksum.sum(icmp, count: 8 &+ quote)), ICMPHeader.checksumOffset)
    IPv4Header(ip).write(
      totalLength: 28 &+ quote, ipProtocol: IPProtocol.icmp, source: own, destination: about.source)
    counters.add(.errorSent)
    sendMade(ip, length: 28 &+ quote, over: place)
  }

  /// Never about an ICMP error or a later fragment (RFC 1122 section 3.2.2).
  private static func mayReport(_ about: IPv4Header) -> Bool {
    guard about.fragmentOffset == 0 else { return false }
    guard about.ipProtocol == IPProtocol.icmp else { return true }
    switch about.payload.byte(0) {
    case 0, 8, 13...18: return true
    default: return false
    }
  }

  /// Answers an echo request to one of our addresses.
  mutating func answerEcho(_ packet: Packet) {
    let length = packet.transportLength
    guard Checksum.fold(Checksum.sum(packet.transport, count: length)) == 0xFFFF else {
      return drop(packet.slot, .malformedICMP)
    }
    guard let hop = routes.find(packet.source, over: packet.ingress), let place = adjacency(to: hop) else {
      return drop(packet.slot, .noRoute)
    }
    guard let ip = outbox.room(for: 20 &+ length) else { return drop(packet.slot, .outboxFull) }
    let icmp = ip + 20
    icmp.copyMemory(from: packet.transport, byteCount: length)
    icmp.put(ICMPHeader.echoReply, 0)
    let delta = Checksum.delta(UInt16(ICMPHeader.echoRequest) &<< 8, 0).bigEndian
    icmp.putRaw(Checksum.adjust(icmp.raw16(ICMPHeader.checksumOffset), by: delta), ICMPHeader.checksumOffset)
    IPv4Header(ip).write(
      totalLength: 20 &+ length, ipProtocol: IPProtocol.icmp, source: packet.header.destination,
      destination: packet.header.source)
    sendMade(ip, length: 20 &+ length, over: place)
    consume(packet.slot)
  }
}
