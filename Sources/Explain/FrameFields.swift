import Capture
import Engine

/// A named part of a frame.
package struct FrameField: Equatable {
  package enum Form { case number, hexadecimal, station, address, bytes }

  package var name: String
  package var range: Range<Int>
  package var form: Form

  /// The field's value in a frame, as people write it; what the frame has of it where it ends within.
  package func text(in frame: [UInt8]) -> String {
    let bytes = frame[min(range.lowerBound, frame.count)..<min(range.upperBound, frame.count)]
    guard bytes.count == range.count else { return bytes.isEmpty ? "nothing" : Self.short(bytes) }
    let number = bytes.count <= 8 ? bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } : 0
    switch form {
    case .number: return "\(number)"
    case .station: return "\(MACAddress(number))"
    case .address where bytes.count == 16:
      func word(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
      return "\(IPv6Address(high: word(bytes.prefix(8)), low: word(bytes.suffix(8))))"
    case .address: return "\(IPv4Address(UInt32(truncatingIfNeeded: number)))"
    case .hexadecimal, .bytes: return Self.short(bytes)
    }
  }

  private static func short(_ bytes: ArraySlice<UInt8>) -> String {
    "0x" + hexadecimal(bytes.prefix(16)) + (bytes.count > 16 ? "... (\(bytes.count) bytes)" : "")
  }

  package static func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// The fields in which two frames differ, by the layout of the expected one; none where they are equal, or one is the
  /// beginning of the other.
  package static func differences(_ expected: [UInt8], _ actual: [UInt8], link: CaptureLink) -> [FrameField] {
    let common = min(expected.count, actual.count)
    return all(of: expected, link: link).compactMap { field in
      guard let offset = field.range.first(where: { $0 < common && expected[$0] != actual[$0] }) else { return nil }
      var field = field
      // Of a run of bytes, the one that differs says more.
      if field.form == .bytes {
        field.name += " byte \(offset - field.range.lowerBound)"
        field.range = offset..<offset + 1
      }
      return field
    }
  }

  /// Every field of a frame, from its first byte to its last.
  package static func all(of frame: [UInt8], link: CaptureLink) -> [FrameField] { Layout(frame, link).fields }
}

/// Takes a frame apart, from its first byte to its last: every byte belongs to exactly one field.
private struct Layout {
  var fields: [FrameField] = []
  private let frame: [UInt8]
  private var offset = 0
  private var prefix = ""

  init(_ frame: [UInt8], _ link: CaptureLink) {
    self.frame = frame
    if link == .ethernet {
      ethernet()
    } else if frame.first.map({ $0 >> 4 == 6 }) == true {
      ipv6(end: frame.count)
    } else {
      ipv4(end: frame.count)
    }
    take("payload", frame.count - offset, .bytes)
  }

  private func number(_ offset: Int) -> Int {
    offset + 2 <= frame.count ? Int(frame[offset]) << 8 | Int(frame[offset + 1]) : 0
  }

  private mutating func take(_ name: String, _ count: Int, _ form: FrameField.Form = .number) {
    let end = min(offset + max(0, count), frame.count)
    // Part of an address or a number is neither.
    let form = end - offset < count && form != .bytes ? .hexadecimal : form
    if end > offset { fields.append(FrameField(name: prefix + name, range: offset..<end, form: form)) }
    offset = end
  }

  private mutating func ethernet() {
    take("ethernet destination", 6, .station)
    take("ethernet source", 6, .station)
    while number(offset) == 0x8100 || number(offset) == 0x88A8 {
      take("vlan tag type", 2, .hexadecimal)
      take("vlan tag", 2, .hexadecimal)
    }
    let type = number(offset)
    take("ethernet type", 2, .hexadecimal)
    if type == 0x0806 { arp() }
    if type == 0x0800 { ipv4(end: frame.count) }
    if type == 0x86DD { ipv6(end: frame.count) }
  }

  private mutating func arp() {
    take("arp hardware type", 2)
    take("arp protocol type", 2, .hexadecimal)
    take("arp address lengths", 2, .hexadecimal)
    take("arp operation", 2)
    take("arp sender station", 6, .station)
    take("arp sender address", 4, .address)
    take("arp target station", 6, .station)
    take("arp target address", 4, .address)
  }

  private mutating func ipv4(end limit: Int) {
    let start = offset
    guard start + 20 <= limit, frame[start] >> 4 == 4 else { return }
    let end = min(limit, start + max(20, number(start + 2)))
    let isFirst = number(start + 6) & 0x1FFF == 0
    take("ipv4 version and header length", 1, .hexadecimal)
    take("ipv4 type of service", 1, .hexadecimal)
    take("ipv4 total length", 2)
    take("ipv4 identification", 2)
    take("ipv4 fragment flags and offset", 2, .hexadecimal)
    take("ipv4 time to live", 1)
    take("ipv4 protocol", 1)
    take("ipv4 header checksum", 2, .hexadecimal)
    take("ipv4 source", 4, .address)
    take("ipv4 destination", 4, .address)
    take("ipv4 options", min(Int(frame[start] & 15) * 4 - 20, end - offset), .bytes)
    if isFirst { transport(Int(frame[start + 9]), end: end) }
    take("payload", end - offset, .bytes)
    if prefix.isEmpty { take("ethernet trailer", frame.count - offset, .bytes) }
  }

  /// Extension headers count as payload.
  private mutating func ipv6(end limit: Int) {
    let start = offset
    guard start + 40 <= limit, frame[start] >> 4 == 6 else { return }
    let end = min(limit, start + 40 + number(start + 4))
    take("ipv6 version, traffic class and flow label", 4, .hexadecimal)
    take("ipv6 payload length", 2)
    take("ipv6 next header", 1)
    take("ipv6 hop limit", 1)
    take("ipv6 source", 16, .address)
    take("ipv6 destination", 16, .address)
    let next = Int(frame[start + 6])
    if next == 58 { icmpv6(end: end) } else if next != 1 { transport(next, end: end) }
    take("payload", end - offset, .bytes)
    if prefix.isEmpty { take("ethernet trailer", frame.count - offset, .bytes) }
  }

  private mutating func icmpv6(end: Int) {
    guard offset + 8 <= end else { return }
    let type = frame[offset]
    take("icmpv6 type", 1)
    take("icmpv6 code", 1)
    take("icmpv6 checksum", 2, .hexadecimal)
    switch type {
    case 128, 129:
      take("icmpv6 identifier", 2)
      take("icmpv6 sequence number", 2)
    case 135, 136:
      take("icmpv6 flags", 4, .hexadecimal)
      take("icmpv6 target", 16, .address)
    case 1...4:
      take("icmpv6 rest of header", 4, .hexadecimal)
      guard prefix.isEmpty else { return }
      prefix = "quoted "
      ipv6(end: end)
      prefix = ""
    default: take("icmpv6 rest of header", 4, .hexadecimal)
    }
  }

  private mutating func transport(_ ipProtocol: Int, end: Int) {
    let start = offset
    switch ipProtocol {
    case 6 where start + 20 <= end:
      take("tcp source port", 2)
      take("tcp destination port", 2)
      take("tcp sequence number", 4)
      take("tcp acknowledgment number", 4)
      take("tcp header length", 1, .hexadecimal)
      take("tcp flags", 1, .hexadecimal)
      take("tcp window", 2)
      take("tcp checksum", 2, .hexadecimal)
      take("tcp urgent pointer", 2)
      take("tcp options", min(Int(frame[start + 12] >> 4) * 4 - 20, end - offset), .bytes)
    case 17 where start + 8 <= end:
      take("udp source port", 2)
      take("udp destination port", 2)
      take("udp length", 2)
      take("udp checksum", 2, .hexadecimal)
    case 1 where start + 8 <= end:
      icmp(type: frame[start], end: end)
    default: return
    }
  }

  private mutating func icmp(type: UInt8, end: Int) {
    take("icmp type", 1)
    take("icmp code", 1)
    take("icmp checksum", 2, .hexadecimal)
    switch type {
    case 0, 8:
      take("icmp identifier", 2)
      take("icmp sequence number", 2)
    case 3, 4, 5, 11, 12:
      take("icmp rest of header", 4, .hexadecimal)
      guard prefix.isEmpty else { return }
      prefix = "quoted "
      ipv4(end: end)
      prefix = ""
    default: take("icmp rest of header", 4, .hexadecimal)
    }
  }
}
