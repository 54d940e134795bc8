import Engine

/// An IPv4 datagram of the selftest's traffic, made and read here: the engine's own code must not be its own judge.
struct Datagram: Equatable {
  static let (icmp, tcp, udp): (UInt8, UInt8, UInt8) = (1, 6, 17)
  static let (fin, syn, rst, ack): (UInt8, UInt8, UInt8, UInt8) = (1, 2, 4, 16)

  var bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  private init(_ number: UInt8, _ source: IPv4Address, _ destination: IPv4Address, _ body: [UInt8], checksumAt: Int) {
    let header: [UInt8] =
      [0x45, 0] + Self.big(20 + body.count) + [0x12, 0x34, 0x40, 0, 64, number, 0, 0]
      + Self.big(source) + Self.big(destination)
    bytes = header + body
    let pseudo = number == Self.icmp ? [] : bytes[12..<20] + [0, number] + Self.big(body.count)
    let sum = ~Self.sum(pseudo + body)
    put(sum == 0 && number == Self.udp ? 0xFFFF : sum, 20 + checksumAt)
    sealHeader()
  }

  static func udp(_ source: Endpoint, _ destination: Endpoint, _ payload: [UInt8] = [1, 2, 3]) -> Datagram {
    let body = big(Int(source.port)) + big(Int(destination.port)) + big(8 + payload.count) + [0, 0] + payload
    return Datagram(udp, source.address, destination.address, body, checksumAt: 6)
  }

  static func tcp(
    _ source: Endpoint, _ destination: Endpoint, _ flags: UInt8, sequence: UInt32 = 1000, acknowledgment: UInt32 = 0
  ) -> Datagram {
    let ports = big(Int(source.port)) + big(Int(destination.port))
    let body = ports + big(IPv4Address(sequence)) + big(IPv4Address(acknowledgment)) + [0x50, flags]
    return Datagram(
      tcp, source.address, destination.address, body + big(64_000) + [0, 0, 0, 0], checksumAt: 16)
  }

  /// An echo request, or the answer to one; the identifier is the asking side's port.
  static func echo(_ source: Endpoint, _ destination: Endpoint, isAnswer: Bool = false) -> Datagram {
    let identifier = isAnswer ? destination.port : source.port
    let body = [isAnswer ? 0 : 8, 0, 0, 0] + big(Int(identifier)) + [0, 1, 9, 9]
    return Datagram(icmp, source.address, destination.address, body, checksumAt: 2)
  }

  /// An ICMP error about a datagram, as much of it as RFC 792 asks for.
  static func error(
    _ type: UInt8, _ code: UInt8, from source: IPv4Address, to destination: IPv4Address, about quoted: Datagram
  ) -> Datagram {
    let body = [type, code, 0, 0, 0, 0] + big(code == 4 && type == 3 ? 1280 : 0) + quoted.bytes.prefix(28)
    return Datagram(icmp, source, destination, body, checksumAt: 2)
  }

  // MARK: Fields

  private static func big(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }
  private static func big(_ address: IPv4Address) -> [UInt8] {
    big(Int(address.value >> 16)) + big(Int(address.value & 0xFFFF))
  }

  private static func sum(_ bytes: [UInt8]) -> UInt16 {
    var total = 0
    for (index, byte) in bytes.enumerated() { total += Int(byte) << (index % 2 == 0 ? 8 : 0) }
    while total > 0xFFFF { total = total >> 16 + total & 0xFFFF }
    return UInt16(total)
  }

  private mutating func put(_ value: UInt16, _ offset: Int) {
    bytes.replaceSubrange(offset..<offset + 2, with: Self.big(Int(value)))
  }

  private mutating func sealHeader() {
    put(0, 10)
    put(~Self.sum(Array(bytes[..<20])), 10)
  }

  func word(_ offset: Int) -> UInt16 { UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]) }
  private func address(_ offset: Int) -> IPv4Address {
    IPv4Address(UInt32(word(offset)) << 16 | UInt32(word(offset + 2)))
  }

  var number: UInt8 { bytes[9] }
  var ttl: UInt8 {
    get { bytes[8] }
    set {
      bytes[8] = newValue
      sealHeader()
    }
  }
  /// Echo: the identifier stands on the asking side.
  var source: Endpoint { Endpoint(address(12), number == Self.icmp ? (bytes[20] == 8 ? word(24) : 0) : word(20)) }
  var destination: Endpoint { Endpoint(address(16), number == Self.icmp ? (bytes[20] == 0 ? word(24) : 0) : word(22)) }
  var icmpType: [UInt8]? { number == Self.icmp ? Array(bytes[20..<22]) : nil }
  var udpChecksum: UInt16 { word(26) }
  /// What an ICMP error quotes.
  var quote: Datagram { Datagram(Array(bytes[28...])) }

  /// The sender made no UDP checksum (RFC 768).
  func withoutChecksum() -> Datagram {
    var copy = self
    copy.put(0, 26)
    return copy
  }

  func with(ttl: UInt8) -> Datagram {
    var copy = self
    copy.ttl = ttl
    return copy
  }

  /// Header and transport checksum are what a full sum gives; an absent UDP checksum is right.
  var isSound: Bool {
    guard bytes.count >= 28, Self.sum(Array(bytes[..<20])) == 0xFFFF else { return false }
    if number == Self.udp, udpChecksum == 0 { return true }
    let body = Array(bytes[20...])
    let pseudo = number == Self.icmp ? [] : bytes[12..<20] + [0, number] + Self.big(body.count)
    return Self.sum(pseudo + body) == 0xFFFF
  }
}
