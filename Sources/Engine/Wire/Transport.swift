/// Byte offsets and flag bits of TCP (RFC 9293 section 3.1), UDP (RFC 768) and ICMP (RFC 792) headers.
enum TCPHeader {
  static let sequenceOffset = 4
  static let acknowledgementOffset = 8
  static let dataOffset = 12
  static let flagsOffset = 13
  static let windowOffset = 14
  static let checksumOffset = 16
  static let minimumLength = 20

  static let fin: UInt8 = 0x01
  static let syn: UInt8 = 0x02
  static let rst: UInt8 = 0x04
  static let psh: UInt8 = 0x08
  static let ack: UInt8 = 0x10
  static let cwr: UInt8 = 0x80

  /// The window scale option of a SYN (RFC 7323 section 2), at most 14; nil where absent or malformed.
  static func windowScale(_ tcp: UnsafeMutableRawPointer, headerLength: Int) -> UInt8? {
    var offset = minimumLength
    while offset < headerLength {
      let kind = tcp.byte(offset)
      if kind == 0 { return nil }
      if kind == 1 {
        offset &+= 1
        continue
      }
      guard offset &+ 1 < headerLength else { return nil }
      let length = Int(tcp.byte(offset &+ 1))
      guard length >= 2, offset &+ length <= headerLength else { return nil }
      if kind == 3, length == 3 { return min(tcp.byte(offset &+ 2), 14) }
      offset &+= length
    }
    return nil
  }
}

enum UDPHeader {
  static let lengthOffset = 4
  static let checksumOffset = 6
  static let length = 8
}

enum ICMPHeader {
  static let checksumOffset = 2
  static let identifierOffset = 4
  static let length = 8

  static let echoReply: UInt8 = 0
  static let unreachable: UInt8 = 3
  static let echoRequest: UInt8 = 8
  static let timeExceeded: UInt8 = 11
  static let parameterProblem: UInt8 = 12
}
