/// A frame taken apart, field by field, by code that the engine does not share.
///
/// Nothing here traps: what cannot be read stays nil and `problems` says why.
package struct Decoded: Sendable {
  package struct Ethernet: Sendable, Equatable {
    package var destination: Station
    package var source: Station
    package var tags: [EthernetHeader.Tag]
    package var etherType: UInt16
  }

  package struct IP: Sendable, Equatable {
    package var source: Host
    package var destination: Host
    package var typeOfService: UInt8
    package var identification: UInt16
    package var dontFragment: Bool
    package var moreFragments: Bool
    package var fragmentOffset: UInt16
    package var ttl: UInt8
    package var ipProtocol: UInt8
    package var totalLength: Int
    package var options: [UInt8]
    package var checksum: UInt16
    package var isFragment: Bool { moreFragments || fragmentOffset != 0 }
  }

  package struct TCP: Sendable, Equatable {
    package var sourcePort: UInt16
    package var destinationPort: UInt16
    package var sequence: UInt32
    package var acknowledgment: UInt32
    package var flags: TCPHeader.Flags
    package var window: UInt16
    package var options: [UInt8]
    package var payload: [UInt8]
    package var checksum: UInt16
  }

  package struct UDP: Sendable, Equatable {
    package var sourcePort: UInt16
    package var destinationPort: UInt16
    package var length: Int
    package var payload: [UInt8]
    package var checksum: UInt16
  }

  package struct ICMP: Sendable, Equatable {
    package var type: UInt8
    package var code: UInt8
    package var rest: UInt32
    package var payload: [UInt8]
    package var checksum: UInt16
    package var identifier: UInt16 { UInt16(rest >> 16) }
    package var sequence: UInt16 { UInt16(truncatingIfNeeded: rest) }
    package var isError: Bool { [3, 4, 5, 11, 12].contains(type) }
  }

  package struct ARP: Sendable, Equatable {
    package var operation: UInt16
    package var sender: Station
    package var senderHost: Host
    package var target: Station
    package var targetHost: Host

    package init(operation: UInt16, sender: Station, senderHost: Host, target: Station, targetHost: Host) {
      self.operation = operation
      self.sender = sender
      self.senderHost = senderHost
      self.target = target
      self.targetHost = targetHost
    }
  }

  package let bytes: [UInt8]
  package var ethernet: Ethernet?
  package var ip: IP?
  package var ip6: IP6?
  package var tcp: TCP?
  package var udp: UDP?
  package var icmp: ICMP?
  package var arp: ARP?
  /// Where the IP header and what follows it lie in `bytes`.
  package var ipHeader: Range<Int> = 0..<0
  package var body: Range<Int> = 0..<0
  /// Bytes behind the datagram.
  package var trailer = 0
  package var problems: [String] = []

  /// - Parameter isRawIP: the frame has no Ethernet header.
  package init(_ bytes: [UInt8], isRawIP: Bool = false) {
    self.bytes = bytes
    var offset = 0
    if !isRawIP {
      guard readEthernet(&offset) else { return }
      if ethernet?.etherType == 0x86DD {
        readDatagram6(offset)
        return
      }
      guard ethernet?.etherType == 0x0800 else {
        readARP(offset)
        return
      }
    }
    if isRawIP, bytes.first.map({ $0 >> 4 == 6 }) == true {
      readDatagram6(offset)
      return
    }
    if readIP(offset, isQuote: false) { readTransport(isQuote: false) }
  }

  private mutating func readDatagram6(_ offset: Int) {
    if readIP6(offset), let ip6 { readTransport(ip6.ipProtocol, isQuote: ip6.isFragment) }
  }

  /// The datagram that an ICMP error quotes; nil where this is none.
  package var quote: Decoded? {
    guard let icmp, icmp.isError else { return nil }
    return Decoded(quoted: icmp.payload)
  }

  private init(quoted bytes: [UInt8]) {
    self.bytes = bytes
    if readIP(0, isQuote: true) { readTransport(isQuote: true) }
  }

  /// Source and destination with their ports; the identifier of an echo message stands on the querying side.
  package var source: Peer? {
    ip.map { ip in
      Peer(ip.source, tcp?.sourcePort ?? udp?.sourcePort ?? (icmp?.type == 8 ? icmp?.identifier : nil) ?? 0)
    }
  }

  package var destination: Peer? {
    ip.map { ip in
      Peer(
        ip.destination, tcp?.destinationPort ?? udp?.destinationPort ?? (icmp?.type == 0 ? icmp?.identifier : nil) ?? 0)
    }
  }

  /// The transport payload, or the raw bytes behind the IP header of a later fragment.
  package var payload: [UInt8] { tcp?.payload ?? udp?.payload ?? icmp?.payload ?? Array(bytes[body]) }

  /// The transport payload as text.
  package var text: String { String(decoding: payload, as: UTF8.self) }
}

extension Decoded {
  private mutating func readEthernet(_ offset: inout Int) -> Bool {
    guard bytes.count >= 14 else { return fail("\(bytes.count) bytes are no Ethernet header") }
    var tags: [EthernetHeader.Tag] = []
    offset = 12
    while offset + 4 <= bytes.count, [0x8100, 0x88A8, 0x9100].contains(bytes.big16(offset)) {
      var tag = EthernetHeader.Tag(0, protocolID: bytes.big16(offset))
      tag.control = bytes.big16(offset + 2)
      tags.append(tag)
      offset += 4
    }
    guard offset + 2 <= bytes.count else { return fail("cut inside the VLAN tags") }
    ethernet = Ethernet(
      destination: Station(bytes: Array(bytes[0..<6])), source: Station(bytes: Array(bytes[6..<12])), tags: tags,
      etherType: bytes.big16(offset))
    offset += 2
    return true
  }

  private mutating func readARP(_ offset: Int) {
    guard ethernet?.etherType == 0x0806, bytes.count >= offset + 28 else { return }
    let packet = bytes[offset...]
    arp = ARP(
      operation: packet.big16(6), sender: Station(bytes: Array(packet.dropFirst(8).prefix(6))),
      senderHost: Host(bytes: packet.dropFirst(14)), target: Station(bytes: Array(packet.dropFirst(18).prefix(6))),
      targetHost: Host(bytes: packet.dropFirst(24)))
    trailer = bytes.count - offset - 28
  }

  private mutating func readIP(_ offset: Int, isQuote: Bool) -> Bool {
    guard bytes.count >= offset + 20 else { return fail("no room for an IPv4 header") }
    let header = bytes[offset...]
    guard header.first! >> 4 == 4 else { return fail("IP version \(header.first! >> 4)") }
    let length = Int(header.first! & 15) * 4
    let total = Int(header.big16(2))
    guard length >= 20, offset + length <= bytes.count, total >= length else {
      return fail("header length \(length), total length \(total), \(bytes.count - offset) bytes")
    }
    if !isQuote, offset + total > bytes.count { _ = fail("total length \(total), \(bytes.count - offset) bytes") }
    let flags = header.big16(6)
    ipHeader = offset..<offset + length
    body = ipHeader.upperBound..<min(bytes.count, offset + total)
    trailer = max(0, bytes.count - offset - total)
    ip = IP(
      source: Host(bytes: header.dropFirst(12)), destination: Host(bytes: header.dropFirst(16)),
      typeOfService: header[offset + 1], identification: header.big16(4), dontFragment: flags & 0x4000 != 0,
      moreFragments: flags & 0x2000 != 0, fragmentOffset: flags & 0x1FFF, ttl: header[offset + 8],
      ipProtocol: header[offset + 9], totalLength: total, options: Array(bytes[offset + 20..<offset + length]),
      checksum: header.big16(10))
    return true
  }

  private mutating func readTransport(isQuote: Bool) {
    if let ip, ip.fragmentOffset == 0 { readTransport(ip.ipProtocol, isQuote: isQuote) }
  }

  private mutating func readTransport(_ ipProtocol: UInt8, isQuote: Bool) {
    let part = bytes[body]
    switch ipProtocol {
    case 6 where part.count >= 8: readTCP(part, isQuote: isQuote)
    case 17 where part.count >= 8:
      udp = UDP(
        sourcePort: part.big16(0), destinationPort: part.big16(2), length: Int(part.big16(4)),
        payload: Array(part.dropFirst(8)), checksum: part.big16(6))
    case 1 where part.count >= 8:
      icmp = ICMP(
        type: part[body.lowerBound], code: part[body.lowerBound + 1], rest: part.big32(4),
        payload: Array(part.dropFirst(8)), checksum: part.big16(2))
    case 1, 6, 17: _ = fail("\(part.count) bytes of transport")
    default: break
    }
  }

  /// A quote may stop after the first eight bytes of the header (RFC 792); what lies behind them reads as zero.
  private mutating func readTCP(_ part: ArraySlice<UInt8>, isQuote: Bool) {
    let isWhole = part.count >= 20
    guard isWhole || isQuote else {
      _ = fail("\(part.count) bytes of TCP")
      return
    }
    let length = isWhole ? Int(part[body.lowerBound + 12] >> 4) * 4 : 0
    if isWhole, length < 20 || length > part.count, !isQuote { _ = fail("TCP header length \(length)") }
    tcp = TCP(
      sourcePort: part.big16(0), destinationPort: part.big16(2), sequence: part.big32(4),
      acknowledgment: isWhole ? part.big32(8) : 0,
      flags: TCPHeader.Flags(rawValue: isWhole ? part[body.lowerBound + 13] : 0), window: isWhole ? part.big16(14) : 0,
      options: Array(part.prefix(max(20, length)).dropFirst(20)), payload: Array(part.dropFirst(max(20, length))),
      checksum: isWhole ? part.big16(16) : 0)
  }

  mutating func fail(_ text: String) -> Bool {
    problems.append(text)
    return false
  }
}
