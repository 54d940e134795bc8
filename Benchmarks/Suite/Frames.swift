import Engine

/// Frames made once, and given to an engine as often as wanted: it rewrites them, so each time it gets copies.
final class Frames {
  private static let stride = 192
  private let originals: UnsafeMutableRawPointer
  private let copies: UnsafeMutableRawPointer
  private let slots: UnsafeMutablePointer<FrameSlot>
  private let lengths: [Int]
  private let links: [Int]

  /// - Parameter frames: the bytes, and the link that they come in by.
  init(_ frames: [(bytes: [UInt8], link: Int)]) {
    lengths = frames.map(\.bytes.count)
    links = frames.map(\.link)
    originals = .allocate(byteCount: frames.count * Self.stride, alignment: 64)
    copies = .allocate(byteCount: frames.count * Self.stride, alignment: 64)
    slots = .allocate(capacity: frames.count)
    for (index, frame) in frames.enumerated() {
      precondition(frame.bytes.count <= Self.stride - Forwarder.headroom)
      (originals + index * Self.stride + Forwarder.headroom).copyMemory(
        from: frame.bytes, byteCount: frame.bytes.count)
    }
  }

  deinit {
    originals.deallocate()
    copies.deallocate()
    slots.deallocate()
  }

  var count: Int { lengths.count }

  /// Copies them all, to be judged at `time`.
  func prepare(at time: UInt64) {
    copies.copyMemory(from: originals, byteCount: count * Self.stride)
    for index in 0..<count {
      (slots + index).initialize(
        to: FrameSlot(
          bytes: copies + index * Self.stride + Forwarder.headroom, length: lengths[index],
          headroom: Forwarder.headroom, link: links[index], time: time))
    }
  }

  /// Gives them to the engine, which has to answer with this verdict each time.
  func judge(by gateway: Gateway, expecting verdict: Verdict) {
    gateway.forwarder.process(slots, count: count)
    for index in 0..<count where slots[index].verdict != verdict {
      fatalError("frame \(index): \(slots[index].verdict) (\(slots[index].reason.name)), expected \(verdict)")
    }
  }
}

/// One end of a packet.
struct End {
  var address: UInt32
  var port: UInt16
}

/// IPv4 packets in Ethernet frames, with right checksums.
enum Packet {
  static func frame(to mac: UInt64, _ datagram: [UInt8]) -> [UInt8] {
    bytes(mac, 6) + bytes(0x0200_0000_00FF, 6) + [8, 0] + datagram
      + [UInt8](repeating: 0, count: max(0, 46 - datagram.count))
  }

  static func udp(_ from: End, _ to: End, options: [UInt8] = []) -> [UInt8] {
    let header = bytes(UInt64(from.port), 2) + bytes(UInt64(to.port), 2) + bytes(26, 2)
    return ip(from, to, 17, header, [UInt8](repeating: 0, count: 18), options: options)
  }

  static func tcp(_ from: End, _ to: End, flags: UInt8, sequence: UInt32, acknowledgment: UInt32) -> [UInt8] {
    let header =
      bytes(UInt64(from.port), 2) + bytes(UInt64(to.port), 2) + bytes(UInt64(sequence), 4)
      + bytes(UInt64(acknowledgment), 4) + [0x50, flags, 0xFF, 0xFF]
    return ip(from, to, 6, header, [0, 0])
  }

  /// Port unreachable, about a datagram that `from` got.
  static func unreachable(_ from: End, _ to: End, about datagram: [UInt8]) -> [UInt8] {
    var message: [UInt8] = [3, 3, 0, 0, 0, 0, 0, 0] + datagram.prefix(28)
    let checksum = complement(sum(message))
    message[2] = UInt8(checksum >> 8)
    message[3] = UInt8(checksum & 255)
    return header(from, to, 1, message.count, []) + message
  }

  /// A transport header up to its checksum, and what follows that.
  private static func ip(
    _ from: End, _ to: End, _ ipProtocol: UInt8, _ transport: [UInt8], _ rest: [UInt8], options: [UInt8] = []
  ) -> [UInt8] {
    let length = transport.count + 2 + rest.count
    let pseudo =
      bytes(UInt64(from.address), 4) + bytes(UInt64(to.address), 4) + [0, ipProtocol] + bytes(UInt64(length), 2)
    let checksum = complement(sum(pseudo) + sum(transport) + sum(rest))
    return header(from, to, ipProtocol, length, options) + transport + bytes(UInt64(checksum), 2) + rest
  }

  private static func header(
    _ from: End, _ to: End, _ ipProtocol: UInt8, _ payload: Int, _ options: [UInt8]
  ) -> [UInt8] {
    let words = 5 + options.count / 4
    var header =
      [0x40 | UInt8(words), 0] + bytes(UInt64(words * 4 + payload), 2) + [0, 0, 0x40, 0, 64, ipProtocol, 0, 0]
      + bytes(UInt64(from.address), 4) + bytes(UInt64(to.address), 4) + options
    let checksum = complement(sum(header))
    header[10] = UInt8(checksum >> 8)
    header[11] = UInt8(checksum & 255)
    return header
  }

  private static func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64((count - 1 - $0) * 8)) }
  }

  private static func sum(_ bytes: [UInt8]) -> UInt32 {
    bytes.enumerated().reduce(0) { $0 + ($1.offset % 2 == 0 ? UInt32($1.element) << 8 : UInt32($1.element)) }
  }

  private static func complement(_ sum: UInt32) -> UInt16 {
    let once = (sum & 0xFFFF) + (sum >> 16)
    return ~UInt16(truncatingIfNeeded: once + (once >> 16))
  }
}
