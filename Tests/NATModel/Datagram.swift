import PacketTestKit

/// An IPv4 datagram as bytes, with its fields by name. Every checksum is summed from the first byte on.
struct Datagram {
  var bytes: [UInt8]

  /// nil where version, lengths or header checksum are wrong (RFC 1812 5.2.2).
  init?(_ frame: ArraySlice<UInt8>) {
    bytes = Array(frame)
    guard bytes.count >= 20, bytes[0] >> 4 == 4, header >= 20, total >= header, bytes.count >= total else { return nil }
    bytes.removeLast(bytes.count - total)
    guard InternetChecksum.isValid(bytes[..<header]) else { return nil }
  }

  /// A datagram of our own: TTL 64, TOS 0, DF 0 (CONTRACT, "As a router").
  init(icmp body: [UInt8], from source: Host, to destination: Host) {
    bytes =
      [0x45, 0] + Self.two(20 + body.count) + [0, 0, 0, 0, 64, 1, 0, 0] + source.bytes + destination.bytes + body
    self[16, 22] = 0
    self[16, 22] = InternetChecksum.of(body.prefix(2) + [0, 0] + body.dropFirst(4))
    sealHeader()
  }

  static func two(_ value: Int) -> [UInt8] { [UInt8(value >> 8 & 255), UInt8(value & 255)] }

  /// The 16 bits at an offset; the first index says how many bits, to keep reads of bytes and words apart.
  subscript(_: Int, offset: Int) -> UInt16 {
    get { UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]) }
    set { bytes.replaceSubrange(offset..<offset + 2, with: Self.two(Int(newValue))) }
  }

  var header: Int { Int(bytes[0] & 15) * 4 }
  var total: Int { Int(self[16, 2]) }
  var identification: UInt16 {
    get { self[16, 4] }
    set { self[16, 4] = newValue }
  }
  var mayBeCut: Bool { bytes[6] & 0x40 == 0 }
  var isFragment: Bool { self[16, 6] & 0x3FFF != 0 }
  var fragmentOffset: Int { Int(self[16, 6] & 0x1FFF) * 8 }
  var ttl: UInt8 { bytes[8] }
  var number: UInt8 { bytes[9] }
  var source: Host {
    get { Host(bytes: bytes[12..<16]) }
    set { bytes.replaceSubrange(12..<16, with: newValue.bytes) }
  }
  var destination: Host {
    get { Host(bytes: bytes[16..<20]) }
    set { bytes.replaceSubrange(16..<20, with: newValue.bytes) }
  }
  var options: ArraySlice<UInt8> { bytes[20..<header] }
  /// An echo request or reply; other codes than 0 are no echo's (RFC 792).
  var isEcho: Bool { number == 1 && size >= 2 && [0, 8].contains(byte(0)) && byte(1) == 0 }
  /// How much of the transport is there.
  var size: Int { bytes.count - header }
  /// Byte and word of the transport.
  func byte(_ offset: Int) -> UInt8 { bytes[header + offset] }
  func word(_ offset: Int) -> UInt16 { self[16, header + offset] }
  mutating func setWord(_ offset: Int, _ value: UInt16) { self[16, header + offset] = value }
  func long(_ offset: Int) -> UInt32 { UInt32(word(offset)) << 16 | UInt32(word(offset + 2)) }

  mutating func sealHeader() {
    self[16, 10] = 0
    self[16, 10] = InternetChecksum.of(bytes[..<header])
  }

  /// Where the transport has its checksum; nil for none, UDP's zero included (RFC 768).
  var checksumOffset: Int? {
    switch number {
    case 1: 2
    case 6: size >= 18 ? 16 : nil
    case 17: size >= 8 && word(6) != 0 ? 6 : nil
    default: nil
    }
  }

  /// What the transport checksum has to be.
  var rightChecksum: UInt16? {
    guard let place = checksumOffset else { return nil }
    var copy = self
    copy.setWord(place, 0)
    let length = number == 17 ? min(size, Int(word(4))) : size
    let body = copy.bytes[header..<header + length]
    let pseudo = InternetChecksum.pseudoHeader(from: source, to: destination, protocol: number, length: length)
    let sum = InternetChecksum.of((number == 1 ? [] : pseudo) + body)
    return number == 17 && sum == 0 ? 0xFFFF : sum
  }

  /// Changes fields and keeps the checksums as right or as wrong as they were (G1, RFC 1624 equation 3).
  ///
  /// - Parameter isPart: a quote, or the first piece of a datagram: only the change of its words is known.
  mutating func rewrite(isPart: Bool = false, _ change: (inout Datagram) -> Void) {
    let before = self
    change(&self)
    sealHeader()
    guard let place = before.checksumOffset else { return }
    let old = before.word(place)
    if !isPart, old == before.rightChecksum, let right = rightChecksum {
      setWord(place, right)
    } else {
      setWord(place, before.adjusted(old, to: self, skipping: place))
    }
  }

  /// `old` moved by every word that differs between the two pseudo-headers and transports.
  private func adjusted(_ old: UInt16, to other: Datagram, skipping place: Int) -> UInt16 {
    var sum = UInt32(~old)
    func move(_ offset: Int) {
      sum += UInt32(~self[16, offset]) + UInt32(other[16, offset])
      while sum > 0xFFFF { sum = sum >> 16 + sum & 0xFFFF }
    }
    if number != 1 { for offset in stride(from: 12, to: 20, by: 2) { move(offset) } }
    // Ports and identifiers stand in the first eight bytes.
    for offset in stride(from: 0, to: min(8, size - 1), by: 2)
    where offset != place && word(offset) != other.word(offset) { move(header + offset) }
    let new = ~UInt16(sum)
    return number == 17 && new == 0 ? 0xFFFF : new
  }

  /// This datagram cut for a link, in order, options by their copied bit (RFC 791 section 3.2).
  func cut(to mtu: Int) -> [Datagram] {
    let body = Array(bytes[header...])
    var pieces: [Datagram] = []
    var start = 0
    while start < body.count {
      var piece = self
      if start > 0 { piece.keepCopiedOptions() }
      let room = (mtu - piece.header) / 8 * 8
      let end = min(body.count, start + (start + mtu - piece.header >= body.count ? mtu : room))
      piece.bytes = Array(piece.bytes[..<piece.header]) + body[start..<end]
      let more: UInt16 = end < body.count || self[16, 6] & 0x2000 != 0 ? 0x2000 : 0
      piece[16, 6] = UInt16((fragmentOffset + start) / 8) | more
      piece[16, 2] = UInt16(piece.bytes.count)
      piece.sealHeader()
      pieces.append(piece)
      start = end
    }
    return pieces
  }

  private mutating func keepCopiedOptions() {
    var kept: [UInt8] = []
    var rest = options
    while let kind = rest.first, kind != 0 {
      let length = kind == 1 ? 1 : Int(rest.dropFirst().first ?? 0)
      guard length > 0, length <= rest.count else { break }
      if kind & 0x80 != 0 { kept += rest.prefix(length) }
      rest = rest.dropFirst(length)
    }
    kept += [UInt8](repeating: 0, count: (4 - kept.count % 4) % 4)
    bytes.replaceSubrange(20..<header, with: kept)
    bytes[0] = 0x40 | UInt8(5 + kept.count / 4)
  }
}
