import Engine
import PacketTestKit
import Testing

/// Checksums of what leaves the gateway, against frames built from scratch: U10, U11, C2, C3, G1.
@Suite struct ChecksumTests {
  /// True where the exhaustive test can afford every value: a debug build is some fifty times slower.
  #if DEBUG
    private static let isExhaustive = false
  #else
    private static let isExhaustive = true
  #endif

  private func gateway() throws -> TestGateway {
    try TestGateway(.masqueraded(more: { $0.forward(.both, ports: "80-90", to: "192.168.1.10:8080-8090") }))
  }

  @Test func `U10 a UDP checksum of zero stays zero, on new and on live sessions, both ways`() throws {
    let gateway = try gateway()
    let out = Packet.udp("192.168.1.10:4000", client) { $0.udp.checksum = 0 }
    let back = Packet.udp(client, "203.0.113.1:4000") { $0.udp.checksum = 0 }
    for _ in 0..<3 {
      gateway.receive(out, on: "lan").expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
      gateway.receive(back, on: "wan").expectForward(back.translated(to: "192.168.1.10:4000"), on: "lan")
    }
  }

  /// A payload word for which the datagram's checksum after translation is `wanted` in one's complement.
  private func word(_ packet: Packet, translated: (Packet) -> Packet, giving wanted: UInt16) -> UInt16 {
    let zero = translated(packet.with { $0.udp.payload = [0, 0] })
    let sum = ~(Decoded(zero.datagram, isRawIP: true).udp?.checksum ?? 0)
    return Self.folded(UInt32(~wanted) + UInt32(~sum))
  }

  @Test(arguments: [0, 1, 0x8000, 0xFFFE] as [UInt16])
  func `U11 C3 a computed zero goes out as 0xFFFF for UDP and as zero for TCP`(wanted: UInt16) throws {
    let gateway = try gateway()
    let udp = Packet.udp("192.168.1.10:4000", client)
    let value = word(udp, translated: { $0.translated(from: "203.0.113.1:4000") }, giving: wanted)
    let chosen = udp.with { $0.udp.payload = [UInt8(value >> 8), UInt8(value & 0xFF)] }
    for _ in 0..<2 {
      let outcome = gateway.receive(chosen, on: "lan")
      outcome.expectForward(chosen.translated(from: "203.0.113.1:4000"), on: "wan")
      #expect(outcome.forwarded?.decoded.udp?.checksum == (wanted == 0 ? 0xFFFF : wanted))
    }

    let tcp = Packet.tcp("192.168.1.10:4000", client, .syn)
    let plain = tcp.with { $0.tcp.payload = [0, 0] }.translated(from: "203.0.113.1:4000")
    let sum = ~(Decoded(plain.datagram, isRawIP: true).tcp?.checksum ?? 0)
    let filler = Self.folded(UInt32(~wanted) + UInt32(~sum))
    let segment = tcp.with { $0.tcp.payload = [UInt8(filler >> 8), UInt8(filler & 0xFF)] }
    for _ in 0..<2 {
      let outcome = gateway.receive(segment, on: "lan")
      outcome.expectForward(segment.translated(from: "203.0.113.1:4000"), on: "wan")
      #expect(outcome.forwarded?.decoded.tcp?.checksum == wanted)
    }
  }

  @Test func `C2 U11 every UDP checksum there is, through a live session`() throws {
    let gateway = try gateway()
    let base = gateway.addressed(.udp("192.168.1.10:4000", client, "ab"), on: "lan").bytes
    gateway.receive(bytes: base, on: "lan").expect(.forward)
    // The header's sum does not depend on the payload, so each word is added to it as RFC 1071 says.
    let pseudo = InternetChecksum.pseudoHeader(from: server, to: client.host, protocol: 17, length: 10)
    let without = UInt32(InternetChecksum.sum(pseudo + base[34..<40]))
    var seen = Set<UInt16>()
    for start in stride(from: 0, to: Self.isExhaustive ? 0x10000 : 0x2000, by: 64) {
      let arrivals = (start..<start + 64).map { index -> TestGateway.Arrival in
        // In a debug build every eighth, the ones around both zeros among them.
        let word = UInt16(truncatingIfNeeded: Self.isExhaustive ? index : index * 8 &+ Int(~without & 7))
        let sum = ~Self.folded(without + UInt32(word))
        let checksum = sum == 0 ? 0xFFFF : sum
        var bytes = base
        bytes[40...43] = [UInt8(checksum >> 8), UInt8(checksum & 0xFF), UInt8(word >> 8), UInt8(word & 0xFF)]
        return TestGateway.Arrival(bytes, on: "lan")
      }
      for outcome in gateway.burst(arrivals).outcomes {
        let udp = try #require(outcome.forwarded?.decoded.udp)
        #expect(udp.checksum != 0)
        seen.insert(udp.checksum)
      }
    }
    #expect(seen.count >= (Self.isExhaustive ? 0xFFFF : 0x1FFF))
  }

  @Test func `G1 what was wrong stays wrong by the same difference, and is never repaired`() throws {
    let gateway = try gateway()
    for spoiled: UInt16 in [1, 0x1234, 0xFFFE] {
      for packet in [Packet.udp(client, Peer(wan, 80)), .tcp(client, Peer(wan, 81), .syn)] {
        let outcome = gateway.receive(packet.with { Self.spoil(&$0, by: spoiled) }, on: "wan")
        guard let out = outcome.forwarded else { continue }
        let right = packet.translated(to: Peer(server, (packet.ipProtocol == 17 ? 8080 : 8081)))
        let expected = right.with { Self.spoil(&$0, by: spoiled) }
        #expect(Array(out.bytes.dropFirst(14)) == expected.datagram)
      }
    }
  }

  /// Adds `difference` to the transport checksum in one's complement.
  private static func spoil(_ packet: inout Packet, by difference: UInt16) {
    let decoded = Decoded(packet.datagram, isRawIP: true)
    if let udp = decoded.udp { packet.udp.checksum = folded(UInt32(udp.checksum) + UInt32(difference)) }
    if let tcp = decoded.tcp { packet.tcp.checksum = folded(UInt32(tcp.checksum) + UInt32(difference)) }
  }

  private static func folded(_ sum: UInt32) -> UInt16 {
    var sum = sum
    while sum > 0xFFFF { sum = sum >> 16 + sum & 0xFFFF }
    return UInt16(sum)
  }
}
