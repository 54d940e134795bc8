import Engine

// The kit's own value types. They share no code with the engine, so that a mistake there cannot hide itself here.

/// An IPv4 address, written as a literal: `let server: Host = "192.168.1.10"`.
package struct Host: Hashable, Comparable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
  /// The address as a number: 192.0.2.1 is 0xC000_0201.
  package var number: UInt32

  package init(number: UInt32) { self.number = number }

  /// The four bytes as they stand in a packet.
  package init(bytes: ArraySlice<UInt8>) { number = bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }

  package init(stringLiteral text: String) { self.init(text) }

  /// Traps on anything that is not dotted decimal: tests are written by us.
  package init(_ text: String) {
    let parts = text.split(separator: ".").map { UInt8($0)! }
    precondition(parts.count == 4, "not an IPv4 address: \(text)")
    self.init(bytes: parts[...])
  }

  package var bytes: [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) } }
  package var description: String { bytes.map(String.init).joined(separator: ".") }
  /// The same address as the engine's plan wants it.
  package var planned: IPv4Address { IPv4Address(number) }

  package static func < (left: Self, right: Self) -> Bool { left.number < right.number }

  /// The address `count` further on.
  package func advanced(by count: Int) -> Host { Host(number: UInt32(truncatingIfNeeded: Int(number) + count)) }
}

/// An address with a port (for echo: the identifier), written as a literal: `"192.168.1.10:80"`.
package struct Peer: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
  package var host: Host
  package var port: UInt16

  package init(_ host: Host, _ port: UInt16) {
    self.host = host
    self.port = port
  }

  package init(stringLiteral text: String) { self.init(text) }

  /// `address:port`, or an address alone, which means port 0.
  package init(_ text: String) {
    let parts = text.split(separator: ":")
    self.init(Host(String(parts[0])), parts.count > 1 ? UInt16(parts[1])! : 0)
  }

  package var description: String { "\(host):\(port)" }
}

/// An Ethernet address, written as a literal: `"02:00:00:00:01:01"`.
package struct Station: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
  package var bytes: [UInt8]

  package init(bytes: [UInt8]) { self.bytes = bytes }

  package init(stringLiteral text: String) {
    bytes = text.split(separator: ":").map { UInt8($0, radix: 16)! }
    precondition(bytes.count == 6, "not an Ethernet address: \(text)")
  }

  /// The station as the engine's plan wants it.
  package init(planned: MACAddress) {
    bytes = (0..<6).map { UInt8(truncatingIfNeeded: planned.value >> UInt64(40 - 8 * $0)) }
  }

  package var planned: MACAddress { MACAddress(bytes.reduce(0) { $0 << 8 | UInt64($1) }) }
  package var description: String { bytes.map { hex($0, digits: 2) }.joined(separator: ":") }

  package static let broadcast: Station = "ff:ff:ff:ff:ff:ff"
}

/// `value` in hexadecimal with leading zeros.
package func hex(_ value: some BinaryInteger, digits: Int) -> String {
  let text = String(value, radix: 16)
  return String(repeating: "0", count: max(0, digits - text.count)) + text
}

/// The two bytes of a big-endian number.
func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)] }

/// The four bytes of a big-endian number.
func big(_ value: UInt32) -> [UInt8] { big(UInt16(value >> 16)) + big(UInt16(truncatingIfNeeded: value)) }

extension Collection where Element == UInt8, Index == Int {
  /// The big-endian number at `offset` from the start, which must lie inside.
  func big16(_ offset: Int) -> UInt16 { UInt16(self[startIndex + offset]) << 8 | UInt16(self[startIndex + offset + 1]) }
  func big32(_ offset: Int) -> UInt32 { UInt32(big16(offset)) << 16 | UInt32(big16(offset + 2)) }
}
