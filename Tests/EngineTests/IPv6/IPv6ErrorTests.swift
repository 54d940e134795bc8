import Engine
import PacketTestKit
import Testing

/// ICMPv6 errors about sessions (RFC 4443, RFC 4890 section 4.3.1).
@Suite struct IPv6ErrorTests {
  private let host: Host6 = "2001:db8:2::10"
  private let server: Host6 = "2001:db8:f::7"
  private let transit: Host6 = "2001:db8:e::1"
  private let router: Host6 = "2001:db8:1::fe"

  /// A gateway with three sessions from inside, and what made them.
  private func begun() throws -> (TestGateway, [Datagram6]) {
    let gateway = try TestGateway(.home6())
    let sent: [Datagram6] = [
      .udp(host, 1000, server, 2000), .tcp(host, 1000, server, 80, .syn, sequence: 100), .ping(host, server),
      Datagram6(host, server, 50, [UInt8](repeating: 1, count: 24)),
      .udp(host, 1001, server, 2000).with { $0.extensions = [(60, [0] + [UInt8](repeating: 0, count: 6))] },
    ]
    for datagram in sent { gateway.receive6(datagram, on: "lan").expect(.forward) }
    return (gateway, sent)
  }

  private func error(_ type: UInt8, _ code: UInt8, about quoted: Datagram6, _ rest: UInt32 = 0, to: Host6? = nil)
    -> Datagram6
  {
    .icmp(transit, to ?? host, type: type, code: code, rest, quoted.hopped.bytes)
  }

  @Test func `V1 errors about live sessions pass, from whichever router, and nothing of them changes`() throws {
    let (gateway, sent) = try begun()
    let kinds: [(UInt8, UInt8, UInt32)] = [
      (1, 0, 0), (1, 1, 0), (1, 3, 0), (1, 4, 0), (2, 0, 1280), (2, 0, 1492), (3, 0, 0), (3, 1, 0), (4, 0, 6),
      (4, 1, 40),
      (4, 2, 40),
    ]
    for (type, code, rest) in kinds {
      for quoted in sent {
        let message = error(type, code, about: quoted, rest)
        gateway.receive6(message, on: "wan", via: router).expectForward6(message.hopped, on: "lan", to: host)
      }
    }
    #expect(gateway.live == sent.count)
  }

  @Test func `errors about nothing that lives are dropped`() throws {
    let (gateway, sent) = try begun()
    func unmatched(_ datagram: Datagram6) {
      gateway.receive6(datagram, on: "wan", via: router).expectDrop(.icmpUnmatched)
    }
    unmatched(error(1, 4, about: .udp(host, 1000, server, 2001)))
    unmatched(error(1, 4, about: .udp(host, 1000, "2001:db8:f::8", 2000)))
    unmatched(error(1, 4, about: .udp(server, 2000, host, 1000)))
    // Quoted and outer ends must fit (A10).
    unmatched(error(1, 4, about: sent[0], to: "2001:db8:2::11"))
    // An error about an error, and one that quotes IPv4.
    unmatched(error(1, 4, about: error(1, 4, about: sent[0])))
    unmatched(.icmp(transit, host, type: 1, code: 4, 0, [0x45] + [UInt8](repeating: 0, count: 60)))
    gateway.receive6(error(1, 4, about: sent[0]).with { $0.payload[3] ^= 1 }, on: "wan", via: router)
      .expectDrop(.malformedICMP)
  }

  @Test func `eight bytes of the quoted transport are enough, and fewer are not`() throws {
    let (gateway, sent) = try begun()
    let quoted = sent[1].hopped.bytes
    for count in 0..<60 {
      let message = Datagram6.icmp(transit, host, type: 1, code: 0, 0, Array(quoted.prefix(count)))
      let outcome = gateway.receive6(message, on: "wan", via: router)
      if count < 48 { outcome.expectDrop(.icmpUnmatched) } else { outcome.expect(.forward) }
    }
  }

  @Test func `A9 what anybody could have made up is dropped`() throws {
    let (gateway, sent) = try begun()
    gateway.receive6(error(2, 0, about: sent[0], 1279), on: "wan", via: router).expectDrop(.icmpForged)
    let unsent = Datagram6.tcp(host, 1000, server, 80, .syn, sequence: 5_000_000)
    gateway.receive6(error(1, 0, about: unsent), on: "wan", via: router).expectDrop(.icmpForged)
  }

  @Test func `an error keeps nothing alive and ends nothing`() throws {
    let (gateway, sent) = try begun()
    for time in stride(from: 50.0, to: 300, by: 50) {
      gateway.receive6(error(1, 4, about: sent[0]), on: "wan", via: router, at: time).expect(.forward)
    }
    gateway.receive6(error(1, 4, about: sent[0]), on: "wan", via: router, at: 301).expectDrop(.icmpUnmatched)
  }

  @Test func `an inside host tells an outside one, about a pinhole's session too`() throws {
    let gateway = try TestGateway(
      .home6 {
        var forward = ForwardPlan(
          name: "dns", protocols: [], interface: 0, externals: [], isWholeHost: false, spans: [], target: IPv4Address(0)
        )
        forward.pinhole = PinholePlan(
          target: IPv6Address("2001:db8:2::10")!, protocols: .udp, ports: [PortRange(53, 53)])
        $0.forwards = [forward]
      })
    let question = Datagram6.udp(server, 1000, host, 53)
    gateway.receive6(question, on: "wan", via: router).expect(.forward)
    let refusal = Datagram6.icmp(host, server, type: 1, code: 4, 0, question.hopped.bytes)
    gateway.receive6(refusal, on: "lan").expectForward6(refusal.hopped, on: "wan", to: router)
    gateway.receive6(.icmp(host, server, type: 1, code: 4, 0, Datagram6.udp(server, 9, host, 53).bytes), on: "lan")
      .expectDrop(.icmpUnmatched)
  }
}
