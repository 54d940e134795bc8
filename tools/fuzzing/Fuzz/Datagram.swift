/// IPv4 datagrams for the engine, and their checksums summed anew; none of it is the engine's own code.
struct Datagram {
  var bytes: [UInt8]

  init(bytes: [UInt8]) { self.bytes = bytes }

  init(_ ipProtocol: UInt8, from source: UInt32, to destination: UInt32, _ transport: [UInt8]) {
    bytes =
      [0x45, 0] + Self.two(20 + transport.count) + [0, 1, 0x40, 0, 64, ipProtocol, 0, 0] + Self.four(source)
      + Self.four(destination) + transport
    seal()
  }

  static func udp(from source: UInt32, _ port: UInt16, to destination: UInt32, _ other: UInt16) -> Self {
    Self(17, from: source, to: destination, two(Int(port)) + two(Int(other)) + [0, 12, 0, 0, 1, 2, 3, 4])
  }

  static func tcp(
    from source: UInt32, _ port: UInt16, to destination: UInt32, _ other: UInt16, flags: UInt8, sequence: UInt32,
    acknowledgment: UInt32 = 0
  ) -> Self {
    Self(
      6, from: source, to: destination,
      two(Int(port)) + two(Int(other)) + four(sequence) + four(acknowledgment) + [0x50, flags, 0x20, 0, 0, 0, 0, 0])
  }

  static func ping(from source: UInt32, _ identifier: UInt16, to destination: UInt32) -> Self {
    Self(1, from: source, to: destination, [8, 0, 0, 0] + two(Int(identifier)) + [0, 1, 9, 9])
  }

  static func two(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }
  static func four(_ value: UInt32) -> [UInt8] { two(Int(value >> 16)) + two(Int(value & 0xFFFF)) }

  /// An Ethernet frame of it.
  func frame(to station: [UInt8]) -> [UInt8] { station + [2, 0, 0, 0, 9, 9, 8, 0] + bytes }

  // MARK: Checksums

  private func word(_ offset: Int) -> Int { Int(bytes[offset]) << 8 | Int(bytes[offset + 1]) }
  private mutating func put(_ value: Int, _ offset: Int) {
    bytes.replaceSubrange(offset..<offset + 2, with: Self.two(value))
  }

  private var header: Int { Int(bytes[0] & 15) * 4 }
  private var isFragment: Bool { word(6) & 0x3FFF != 0 }

  /// False where there is no header to speak of.
  var hasHeader: Bool {
    bytes.count >= 20 && bytes[0] >> 4 == 4 && header >= 20 && word(2) >= header && bytes.count >= word(2)
  }

  private func sum(_ range: Range<Int>, _ start: Int = 0) -> Int {
    var sum = start
    for offset in stride(from: range.lowerBound, to: range.upperBound, by: 2) {
      sum += offset + 1 < range.upperBound ? word(offset) : Int(bytes[offset]) << 8
    }
    while sum > 0xFFFF { sum = sum >> 16 + sum & 0xFFFF }
    return sum
  }

  /// Where the transport has its checksum, and the sum of what it covers without it; nil where there is none to judge.
  private var transport: (place: Int, sum: Int)? {
    let end = word(2)
    guard hasHeader, !isFragment else { return nil }
    switch bytes[9] {
    case 1: return end - header >= 8 ? (header + 2, sum(header..<end)) : nil
    case 6: return end - header >= 20 ? (header + 16, sum(header..<end, pseudo(6, end - header))) : nil
    case 17:
      guard end - header >= 8, case let length = word(header + 4), length >= 8, header + length <= end else {
        return nil
      }
      return (header + 6, sum(header..<header + length, pseudo(17, length)))
    default: return nil
    }
  }

  private func pseudo(_ ipProtocol: Int, _ length: Int) -> Int { sum(12..<20, ipProtocol + length) }

  var hasRightHeader: Bool { hasHeader && sum(0..<header) == 0xFFFF }

  /// True where the transport's checksum is right, or there is none.
  var hasRightTransport: Bool {
    guard let transport else { return true }
    return transport.sum == 0xFFFF || bytes[9] == 17 && word(transport.place) == 0
  }

  /// Puts the right checksums in.
  mutating func seal(transport isSealed: Bool = true) {
    guard hasHeader else { return }
    put(0, 10)
    put(~sum(0..<header) & 0xFFFF, 10)
    guard isSealed, let place = transport?.place else { return }
    put(0, place)
    let right = ~transport!.sum & 0xFFFF
    put(right == 0 && bytes[9] == 17 ? 0xFFFF : right, place)
  }
}
