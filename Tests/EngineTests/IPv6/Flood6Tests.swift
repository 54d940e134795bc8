import PacketTestKit
import Testing

@testable import Engine

/// Floods over IPv6 that need no session (REQUIREMENTS A23, after the tools of THC-IPv6): what is live stays live, and
/// nothing is learnt, kept or answered because of them.
@Suite struct Flood6Tests {
  private static let count = 5000

  private let host: Host6 = "2001:db8:2::10"
  private let server: Host6 = "2001:db8:f::7"
  private let router: Host6 = "2001:db8:1::fe"
  private let everybody: Host6 = "ff02::1"

  /// Sends the flood, a hundred frames a millisecond, with traffic of one live session all the while.
  ///
  /// - Returns: how many frames were made because of it.
  private func flood(_ gateway: TestGateway, _ frame: (Int, inout SplitMix64) -> (Datagram6, interface: String)) -> Int
  {
    var random = SplitMix64(state: 23)
    var made = 0
    for number in 0..<Self.count {
      let (datagram, interface) = frame(number, &random)
      let time = Double(number / 100) / 1000
      let sender: Host6? = datagram.source.bytes[0] == 0xFF ? router : nil
      let outcome = gateway.receive6(datagram, on: interface, via: sender, at: time)
      #expect(outcome.verdict != .forward, "\(number)")
      made += outcome.made.count
      if number % 250 == 0 { expectTraffic(gateway) }
    }
    expectTraffic(gateway)
    return made
  }

  private func expectTraffic(_ gateway: TestGateway) {
    let question = Datagram6.udp(host, 1000, server, 53, "question")
    gateway.receive6(question, on: "lan").expectForward6(question.hopped, on: "wan", to: router)
    let answer = Datagram6.udp(server, 53, host, 1000, "answer")
    gateway.receive6(answer, on: "wan", via: router).expectForward6(answer.hopped, on: "lan", to: host)
    #expect(gateway.live == 1)
  }

  private func linkLocal(_ random: inout SplitMix64) -> Host6 {
    Host6(bytes: Host6("fe80::").bytes[0..<8] + (0..<8).map { _ in UInt8(truncatingIfNeeded: random.next()) })
  }

  @Test func `A23 routers that advertise themselves, redirects and solicitations teach nothing`() throws {
    let gateway = try TestGateway(.home6())
    let (host, everybody) = (host, everybody)
    let made = flood(gateway) { number, random in
      let source = linkLocal(&random)
      // A prefix to be configured (RFC 4861 section 4.6.2), and one's own MAC address as a router's.
      let prefix = [3, 4, 64, 0xC0] + [UInt8](repeating: 0xFF, count: 8) + [0, 0, 0, 0] + source.bytes
      let message: Datagram6 =
        switch number % 3 {
        case 0: .icmp(source, everybody, type: 134, 0x4000_FFFF, [UInt8](repeating: 0, count: 8) + prefix)
        case 1: .icmp(source, "ff02::2", type: 133)
        default: .icmp(source, host, type: 137, 0, source.bytes + host.bytes)
        }
      return (message.with { $0.hopLimit = 255 }, number % 2 == 0 ? "lan" : "wan")
    }
    #expect(made == 0 && gateway.totals.generated == 0 && gateway.totals.held == 0)
  }

  @Test func `A23 smurf6 and rsmurf6: no ping to a group is answered or passed on, no group is a source`() throws {
    let gateway = try TestGateway(
      .home6 { plan in for name in ["wan", "lan"] { plan.change(name) { $0.ping = true } } })
    let groups: [Host6] = ["ff02::1", "ff02::2", "ff05::1", "ff08::1", "ff0e::1"]
    let (host, server) = (host, server)
    let made = flood(gateway) { number, random in
      let group = groups[Int(random.next() % UInt64(groups.count))]
      // The victim, inside or outside, asks everybody; or everybody asks the victim.
      switch number % 4 {
      case 0: return (.ping(host, group), "lan")
      case 1: return (.ping(server, group), "wan")
      case 2: return (.ping(group, host, isAnswer: true), "wan")
      default: return (.ping(group, host), "lan")
      }
    }
    #expect(made == 0 && gateway.totals.generated == 0)
  }

  @Test func `A23 extension headers of every kind and number keep no state, and nobody is told of them`() throws {
    let gateway = try TestGateway(.home6())
    let (host, server) = (host, server)
    let made = flood(gateway) { number, random in
      var datagram = Datagram6.udp(server, UInt16(truncatingIfNeeded: random.next()), host, 80)
      let kinds: [UInt8] = [0, 43, 44, 51, 60, 135, 139, 140, 253]
      datagram.extensions = (0...random.next() % 40).map { place in
        let kind = place == 0 ? 0 : kinds[Int(random.next() % UInt64(kinds.count))]
        let eights = kind == 44 ? 1 : Int(random.next() % 4) + 1
        // Options that nobody knows, some of which ask for an answer (RFC 8200 section 4.2).
        let bytes = [UInt8(kind == 44 ? 0 : eights - 1)] + (0..<eights * 8 - 2).map { _ in UInt8(random.next() & 0xFF) }
        return (kind, bytes)
      }
      return (datagram, "wan")
    }
    // Pieces wait for the first of their datagram, in bounds of their own (V3), and are given up then.
    #expect(gateway.totals.held < Self.count / 4)
    gateway.advance(to: 60)
    #expect(made == 0 && gateway.totals.generated == 0 && gateway.totals.held == 0)
  }
}
