import PacketTestKit
import Testing

/// The oracle itself, held against vectors that others published.
@Suite struct KitTests {
  @Test func `the plain sum gives RFC 1071's example and a published IPv4 header checksum`() {
    // RFC 1071 section 3: 0001 f203 f4f5 f6f7 sums to ddf2.
    #expect(InternetChecksum.sum([0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]) == 0xDDF2)
    let header: [UInt8] = [
      0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xC0, 0xA8, 0, 1, 0xC0, 0xA8, 0, 0xC7,
    ]
    #expect(InternetChecksum.of(header) == 0xB861)
    #expect(InternetChecksum.sum([1]) == 0x0100)
  }

  @Test func `a built frame reads back as it was said, and a wrong checksum is found`() {
    let packet = Packet.tcp("198.51.100.7:40000", "203.0.113.1:80", [.syn, .ece], sequence: 0xFFFF_FFFF, "odd") {
      $0.ethernet.tags = [EthernetHeader.Tag(200, protocolID: 0x88A8), EthernetHeader.Tag(100, priority: 5)]
      $0.ip.options = [1, 1, 1]
      $0.tcp.options = [2, 4, 5, 180]
      $0.trailer = [0, 0]
    }
    let decoded = Decoded(packet.bytes)
    #expect(decoded.problems.isEmpty && decoded.checksumProblems().isEmpty)
    #expect(decoded.source == "198.51.100.7:40000" && decoded.destination == "203.0.113.1:80")
    #expect(decoded.ethernet?.tags.map(\.description) == ["88a8:200/0", "8100:100/5"])
    #expect(decoded.tcp?.sequence == 0xFFFF_FFFF && decoded.tcp?.flags == [.syn, .ece])
    #expect(decoded.ip?.options == [1, 1, 1, 0] && decoded.tcp?.options == [2, 4, 5, 180])
    #expect(decoded.text == "odd" && decoded.trailer == 2)

    for offset in decoded.ipHeader.lowerBound..<decoded.body.upperBound {
      var bytes = packet.bytes
      bytes[offset] ^= 0x10
      let spoiled = Decoded(bytes)
      #expect(!spoiled.checksumProblems().isEmpty || !spoiled.problems.isEmpty, "offset \(offset)")
    }
  }

  @Test func `a UDP checksum summed by hand`() {
    let datagram = Packet.udp("10.0.0.1:53", "10.0.0.2:1025", "\u{0}").datagram
    // Pseudo-header (addresses, protocol, length), ports and length (RFC 768); the one byte of data is zero.
    let sum = 0x0A00 + 0x0001 + 0x0A00 + 0x0002 + 0x0011 + 0x0009 + 0x0035 + 0x0401 + 0x0009
    #expect(Decoded(datagram, isRawIP: true).udp?.checksum == UInt16(0xFFFF - sum))
  }

  @Test func `an error quotes what it is about, and a spoiled quote is found`() {
    let about = Packet.udp("203.0.113.1:4000", "198.51.100.7:53")
    let error = Packet.icmpError(type: 3, code: 4, rest: 1280, from: "198.51.100.1", to: "203.0.113.1", about: about)
    let decoded = Decoded(error.bytes)
    #expect(decoded.quote?.source == "203.0.113.1:4000" && decoded.quote?.destination == "198.51.100.7:53")
    #expect(decoded.checksumProblems().isEmpty)
    let spoiled = error.with { $0.icmp.payload[8] ^= 1 }
    #expect(Decoded(spoiled.bytes).checksumProblems().count == 1)
  }

  @Test func `fragments cover the datagram and differences name the field`() {
    let pieces = Packet.udp("10.0.0.1:1", "10.0.0.2:2", String(repeating: "x", count: 40)).fragments(of: 16)
    #expect(pieces.map { Int($0.ip.fragmentOffset) } == [0, 2, 4])
    #expect(pieces.map(\.ip.moreFragments) == [true, true, false])
    let one = Packet.udp("10.0.0.1:1", "10.0.0.2:2")
    let lines = Decoded.differences(
      expected: Decoded(one.bytes), actual: Decoded(one.with { $0.udp.sourcePort = 9 }.bytes))
    #expect(lines.first == "udp ports: expected 1 > 2, actual 9 > 2")
  }
}
