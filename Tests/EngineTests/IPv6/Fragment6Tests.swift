import Engine
import PacketTestKit
import Testing

/// V3: IPv6 datagrams in pieces between inside and outside, translated piece by piece in whatever order they come.
@Suite struct Fragment6Tests {
  private let host: Host6 = "2001:db8:2::10"
  private let server: Host6 = "2001:db8:f::7"
  private let router: Host6 = "2001:db8:1::fe"
  private let wan: Host6 = "2001:db8:1::1"

  /// 8080 leads to port 80 of `host`, and `lan` is masqueraded.
  private func gateway(_ change: (inout Plan) -> Void = { _ in }) throws -> TestGateway {
    try TestGateway(
      .home6 { plan in
        var forward = ForwardPlan(
          name: "web", protocols: [], interface: 0, externals: [], isOnInterface: false, isWholeHost: false, spans: [],
          target: IPv4Address(0))
        forward.pinhole = PinholePlan(target: host.planned, protocols: [.tcp, .udp], ports: [])
        forward.pinhole?.external = wan.planned
        forward.pinhole?.spans = [PortSpan(ports: PortRange(8080, 8080), target: 80, isParallel: true)]
        plan.forwards = [forward]
        var masquerade = MasqueradePlan(from: 1, to: 0)
        masquerade.external6 = wan.planned
        plan.masquerades = [masquerade]
        change(&plan)
      })
  }

  /// The pieces of a datagram, `sizes` bytes each but for the last.
  private func pieces(_ datagram: Datagram6, _ identification: UInt8, of size: Int = 400) -> [Datagram6] {
    stride(from: 0, to: datagram.payload.count, by: size).map { offset in
      let end = min(offset + size, datagram.payload.count)
      return piece(datagram, identification, offset..<end, more: end < datagram.payload.count)
    }
  }

  private func piece(_ datagram: Datagram6, _ identification: UInt8, _ bytes: Range<Int>, more: Bool) -> Datagram6 {
    datagram.with {
      $0.payload = Array(datagram.payload[bytes])
      let word = UInt16(bytes.lowerBound) | (more ? 1 : 0)
      $0.extensions = [(44, [0, UInt8(word >> 8), UInt8(word & 0xFF), 1, 2, 3, identification])]
    }
  }

  private let text = String(repeating: "0123456789abcdef", count: 75)
  private var came: Datagram6 { .udp(server, 1000, wan, 8080, text) }
  private var left: Datagram6 { .udp(server, 1000, host, 80, text) }

  @Test func `V3 pieces follow their first one, both ways`() throws {
    let gateway = try gateway()
    for (piece, translated) in zip(pieces(came, 1), pieces(left, 1)) {
      gateway.receive6(piece, on: "wan", via: router).expectForward6(translated.hopped, on: "lan", to: host)
    }
    let answer = Datagram6.udp(host, 80, server, 1000, text)
    for (piece, translated) in zip(pieces(answer, 2), pieces(.udp(wan, 8080, server, 1000, text), 2)) {
      gateway.receive6(piece, on: "lan").expectForward6(translated.hopped, on: "wan", to: router)
    }
    // From inside too, with a port of the masquerade.
    let question = Datagram6.udp(host, 5000, server, 53, text)
    for (piece, translated) in zip(pieces(question, 3), pieces(.udp(wan, 5000, server, 53, text), 3)) {
      gateway.receive6(piece, on: "lan").expectForward6(translated.hopped, on: "wan", to: router)
    }
    #expect(gateway.live == 2)
  }

  @Test func `V3 in any order, those before the first wait for it`() throws {
    let orders = [[2, 1, 0, 3], [3, 2, 1, 0], [1, 3, 0, 2], [0, 3, 2, 1]]
    for (number, order) in orders.enumerated() {
      let gateway = try gateway()
      let (all, translated) = (pieces(came, UInt8(number)), pieces(left, UInt8(number)))
      #expect(all.count == 4)
      var gone: [[UInt8]] = []
      for index in order {
        let outcome = gateway.receive6(all[index], on: "wan", via: router)
        gone += (outcome.forwarded.map { [$0] } ?? []).map(\.bytes) + outcome.made.map(\.bytes)
      }
      let expected = translated.map { gateway.frame($0.hopped, on: "lan", to: host) }
      #expect(gone.count == 4 && Set(gone) == Set(expected) && gone[0] == expected[0])
    }
  }

  @Test func `V3 two datagrams at once do not mix, and neither do two sources`() throws {
    let gateway = try gateway()
    let other: Host6 = "2001:db8:f::8"
    let mixed: [(Datagram6, Datagram6)] = [
      (came, left), (.udp(other, 1000, wan, 8080, text), .udp(other, 1000, host, 80, text)),
    ]
    for index in 0..<3 {
      for (one, translated) in mixed {
        gateway.receive6(pieces(one, 9)[index], on: "wan", via: router)
          .expectForward6(pieces(translated, 9)[index].hopped, on: "lan", to: host)
      }
    }
  }

  @Test func `V3 pieces that overlap end their whole datagram`() throws {
    let gateway = try gateway()
    let all = pieces(came, 1)
    gateway.receive6(all[0], on: "wan", via: router).expect(.forward)
    gateway.receive6(piece(came, 1, 392..<800, more: true), on: "wan", via: router).expectDrop(.fragmentOverlap)
    for late in all[1...] { gateway.receive6(late, on: "wan", via: router).expectDrop(.fragmentOverlap) }
    // And one that waits still.
    let second = pieces(came, 2)
    gateway.receive6(second[1], on: "wan", via: router).expect(.hold)
    gateway.receive6(piece(came, 2, 408..<816, more: true), on: "wan", via: router).expectDrop(.fragmentOverlap)
    gateway.receive6(second[0], on: "wan", via: router).expectDrop(.fragmentOverlap)
    #expect(gateway.drops(.fragmentOverlap) == 7)
  }

  @Test func `V3 what the first piece may not, the others may not either`() throws {
    let gateway = try gateway()
    let refused = pieces(.udp(server, 1000, wan, 8081, text), 1)
    gateway.receive6(refused[2], on: "wan", via: router).expect(.hold)
    gateway.receive6(refused[0], on: "wan", via: router).expectDrop(.noForward)
    gateway.receive6(refused[1], on: "wan", via: router).expectDrop(.noForward)
    #expect(gateway.drops(.noForward) == 3)
    // None comes first: they are dropped when it is late.
    gateway.receive6(pieces(came, 2)[1], on: "wan", via: router).expect(.hold)
    gateway.advance(to: 16)
    #expect(gateway.drops(.fragmentTimeout) == 1 && gateway.totals.held == 0)
    // A header chain must be in the first piece as a whole (RFC 7112), and a TCP header in it too.
    let short = Datagram6.tcp(server, 1000, wan, 8080, .syn, text)
    gateway.receive6(piece(short, 3, 0..<16, more: true), on: "wan", via: router, at: 17).expectDrop(.malformedTCP)
    let error = Datagram6.icmp(server, wan, type: 1, code: 4, 0, Array(text.utf8))
    gateway.receive6(pieces(error, 4)[0], on: "wan", via: router, at: 17).expectDrop(.fragment)
  }

  @Test func `V3 room for pieces is bounded, and datagrams in order keep theirs`() throws {
    let gateway = try gateway()
    for index in 0..<5000 {
      let source = Host6("2001:db8:bad::\(String(index + 1, radix: 16))")
      let stray = piece(.udp(source, 1, wan, 8080, text), 1, 400..<800, more: true)
      gateway.receive6(stray, on: "wan", via: router)
    }
    #expect(gateway.totals.held <= 2080 && gateway.drops(.fragmentLimit) >= 2900)
    for (piece, translated) in zip(pieces(came, 1), pieces(left, 1)) {
      gateway.receive6(piece, on: "wan", via: router).expectForward6(translated.hopped, on: "lan", to: host)
    }
    // More pieces than a datagram may have.
    let many = pieces(.udp(server, 1001, wan, 8080, String(repeating: "x", count: 70 * 8)), 7, of: 8)
    let verdicts = many.map { gateway.receive6($0, on: "wan", via: router).verdict }
    #expect(verdicts.prefix(64).allSatisfy { $0 == .forward } && verdicts.dropFirst(64).allSatisfy { $0 == .drop })
  }

  @Test func `V5 pieces of a translated prefix keep its addresses apart`() throws {
    let gateway = try TestGateway(
      .home6 {
        $0.prefixes = [
          PrefixPlan(
            interface: 0, inside: IPv6Prefix("2001:db8:2::/48")!, outside: IPv6Prefix("2001:db8:b::/48")!)
        ]
      })
    // 2001:db8:2 and 2001:db8:b differ by 9.
    let outside: Host6 = "2001:db8:b:fff6::10"
    let pairs = zip(
      pieces(.udp(host, 5000, server, 53, text), 3), pieces(.udp(outside, 5000, server, 53, text), 3))
    for (piece, translated) in pairs {
      gateway.receive6(piece, on: "lan").expectForward6(translated.hopped, on: "wan", to: router)
    }
  }
}
