import PacketTestKit
import Testing

@testable import Engine

/// V4: the walk over extension headers ends within its bounds, whatever the bytes (RFC 8200 section 4).
@Suite struct ExtensionHeaderTests {
  private let host: Host6 = "2001:db8:2::10"
  private let peer: Host6 = "2001:db8:3::10"

  private func chain(_ datagram: Datagram6, length: Int? = nil) -> IPv6Chain {
    var bytes = datagram.bytes
    let count = length ?? bytes.count
    return bytes.withUnsafeMutableBytes { IPv6Chain($0.baseAddress!, length: count) }
  }

  private func datagram(_ extensions: [(number: UInt8, bytes: [UInt8])]) -> Datagram6 {
    Datagram6.udp(host, 1000, peer, 2000).with { $0.extensions = extensions }
  }

  /// An options header of `eights` times 8 bytes, filled with Pad1 and PadN.
  private func options(_ number: UInt8, eights: Int = 1) -> (number: UInt8, bytes: [UInt8]) {
    (number, [UInt8(eights - 1)] + [UInt8](repeating: 0, count: eights * 8 - 2))
  }

  private func piece(offset: UInt16, more: Bool, identification: UInt32 = 9) -> (number: UInt8, bytes: [UInt8]) {
    let word = offset << 3 | (more ? 1 : 0)
    let id = (0..<4).map { UInt8(truncatingIfNeeded: identification >> UInt32(24 - 8 * $0)) }
    return (44, [0, UInt8(word >> 8), UInt8(word & 255)] + id)
  }

  @Test func `V4 known headers are walked to the transport`() {
    let plain = chain(datagram([]))
    #expect(plain.flaw == .none && plain.ipProtocol == 17 && plain.offset == 40)
    let all = chain(
      datagram([
        options(0), options(60, eights: 2), (43, [0, 2, 0, 0, 0, 0, 0]), (51, [4] + [UInt8](repeating: 1, count: 22)),
      ]))
    #expect(all.flaw == .none && all.ipProtocol == 17 && all.offset == 40 + 8 + 16 + 8 + 24)
  }

  @Test func `V4 an unknown header ends the walk and has no ports`() {
    for number: UInt8 in [50, 59, 135, 139, 140, 253, 254] {
      let odd = chain(datagram([(number, [UInt8](repeating: 255, count: 7))]))
      #expect(odd.flaw == .none && odd.ipProtocol == number && odd.offset == 40)
    }
  }

  @Test func `V4 eight headers and 256 bytes are the most`() {
    #expect(chain(datagram((0..<8).map { _ in options(60) })).flaw == .none)
    #expect(chain(datagram((0..<9).map { _ in options(60) })).flaw == .malformedIPv6)
    #expect(chain(datagram([options(60, eights: 32)])).flaw == .none)
    #expect(chain(datagram([options(60, eights: 33)])).flaw == .malformedIPv6)
    #expect(chain(datagram([options(60, eights: 31), options(60, eights: 2)])).flaw == .malformedIPv6)
  }

  @Test func `V4 hop-by-hop options stand first or not at all`() {
    #expect(chain(datagram([options(60), options(0)])).flaw == .malformedIPv6)
    #expect(chain(datagram([options(0), options(0)])).flaw == .malformedIPv6)
  }

  @Test func `V4 two fragment headers are refused, CVE-2023-4809`() {
    #expect(chain(datagram([piece(offset: 0, more: false), piece(offset: 0, more: false)])).flaw == .malformedIPv6)
    #expect(chain(datagram([piece(offset: 0, more: true), piece(offset: 0, more: true)])).flaw == .malformedFragment)
  }

  @Test func `a routing header of type 0 is refused, RFC 5095`() {
    #expect(chain(datagram([(43, [0, 0, 1, 0, 0, 0, 0])])).flaw == .sourceRoute)
  }

  @Test func `an atomic fragment is a whole datagram, a piece is none`() {
    let atomic = chain(datagram([piece(offset: 0, more: false)]))
    #expect(atomic.flaw == .none && !atomic.isFragment && atomic.ipProtocol == 17 && atomic.offset == 48)
    let first = chain(datagram([piece(offset: 0, more: true)]).with { $0.payload += [0] })
    #expect(first.flaw == .none && first.isFragment && first.fragment == 40)
    // What looks like options behind a later piece's header is data.
    let later = chain(Datagram6(host, peer, 60, [0xFF]).with { $0.extensions = [piece(offset: 5, more: false)] })
    #expect(later.flaw == .none && later.isFragment && later.offset == 48 && later.fragmentOffset == 5)
  }

  @Test func `pieces come in eights and end within 65,535 bytes`() {
    #expect(chain(datagram([piece(offset: 0, more: true)])).flaw == .malformedFragment)
    #expect(chain(datagram([piece(offset: 8191, more: false)])).flaw == .malformedFragment)
    let empty = Datagram6(host, peer, 17, []).with { $0.extensions = [piece(offset: 1, more: false)] }
    #expect(chain(empty).flaw == .malformedFragment)
  }

  @Test func `V4 a datagram that ends anywhere within its headers is refused, and nothing traps`() {
    let whole = datagram([options(0, eights: 2), options(60), (51, [1] + [UInt8](repeating: 0, count: 10))])
    for length in 40..<(40 + 16 + 8 + 12) { #expect(chain(whole, length: length).flaw == .malformedIPv6) }
    #expect(chain(whole, length: 40 + 16 + 8 + 12).flaw == .none)
  }

  @Test func `V4 random bytes behind the header never trap, in the walk or in the gateway`() throws {
    let gateway = try TestGateway(.home6())
    var random = SplitMix64(state: 6)
    for round in 0..<20_000 {
      let numbers: [UInt8] = [0, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135, 255]
      let count = Int(random.next() % 300)
      var behind = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      // Lengths that mostly fit, so that the walk gets somewhere.
      for index in stride(from: 1, to: count, by: 8) where random.next() % 4 != 0 { behind[index] &= 3 }
      for index in stride(from: 0, to: count, by: 8) { behind[index] = numbers[Int(random.next() % 12)] }
      let first = numbers[Int(random.next() % 12)]
      let destination = round % 3 == 0 ? Host6("2001:db8:2::1") : peer
      let hostile = Datagram6(host, destination, first, behind)
      let result = chain(hostile)
      #expect(result.offset <= hostile.bytes.count && result.offset <= 40 + 256)
      gateway.receive6(hostile, on: "lan")
    }
  }
}
