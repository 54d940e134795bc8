import Engine
import PacketTestKit
import Testing

/// T4 over IPv6: what nobody asked for from outside (RFC 6092 REC-34; CONTRACT `unsolicited`).
@Suite struct Unsolicited6Tests {
  private let host: Host6 = "2001:db8:2::10"
  private let server: Host6 = "2001:db8:f::7"
  private let router: Host6 = "2001:db8:1::fe"
  private let wan: Host6 = "2001:db8:1::1"

  private func gateway(
    _ unsolicited: InterfacePlan.Unsolicited, _ change: (inout MasqueradePlan) -> Void = { _ in },
    translates: Bool = false
  ) throws -> TestGateway {
    try TestGateway(
      .home6 { plan in
        plan.change("wan") { $0.unsolicited = unsolicited }
        if translates {
          plan.masquerade {
            $0.external6 = wan.planned
            change(&$0)
          }
        }
      })
  }

  private func syn(_ destination: Host6, _ port: UInt16 = 80) -> Datagram6 {
    .tcp(server, 4000, destination, port, .syn)
  }

  /// What tells the sender: of our own address that nothing is there, of another host that it is not let through.
  private func answer(_ gateway: TestGateway, to datagram: Datagram6) -> [UInt8] {
    gateway.frame(
      .icmp(wan, server, type: 1, code: datagram.destination == wan ? 4 : 1, 0, datagram.bytes), on: "wan", to: router)
  }

  @Test func `T4 V6 silent: no answer, ever`() throws {
    let gateway = try gateway(.silent)
    for destination in [host, wan] {
      let reason = destination == wan ? DropReason.toUs : .noForward
      gateway.receive6(syn(destination), on: "wan", via: router).expectDrop(reason)
      gateway.receive6(.udp(server, 4000, destination, 80), on: "wan", via: router).expectDrop(reason)
    }
    #expect(gateway.advance(to: 60).isEmpty)
  }

  @Test(arguments: [false, true])
  func `T4 V6 unreachable: UDP is answered at once, a SYN after 6 s, not before`(translates: Bool) throws {
    for destination in [host, wan] {
      let gateway = try gateway(.unreachable, translates: translates)
      let reason = destination == host || translates ? DropReason.noForward : .toUs
      let probe = Datagram6.udp(server, 4000, destination, 80)
      let told = try #require(gateway.receive6(probe, on: "wan", via: router).expectDropAnswered(reason))
      #expect(told.bytes == answer(gateway, to: probe))
      gateway.receive6(syn(destination), on: "wan", via: router).expectDrop(reason)
      // Sent again, it is the same question.
      gateway.receive6(syn(destination), on: "wan", via: router, at: 1).expectDrop(reason)
      #expect(gateway.advance(to: 5.9).isEmpty)
      let made = gateway.advance(to: 6)
      #expect(made.map(\.bytes) == [answer(gateway, to: syn(destination))])
      #expect(gateway.advance(to: 60).isEmpty)
    }
  }

  @Test(arguments: [false, true])
  func `T4 V6 a SYN that goes out meanwhile opens the connection, and the old one is forgotten`(
    translates: Bool
  ) throws {
    let gateway = try gateway(.unreachable, translates: translates)
    let own = translates ? wan : host
    gateway.receive6(syn(own), on: "wan", via: router).expectDrop(.noForward)
    gateway.receive6(.tcp(host, 80, server, 4000, .syn), on: "lan", at: 3)
      .expectForward6(Datagram6.tcp(own, 80, server, 4000, .syn).hopped, on: "wan", to: router)
    gateway.receive6(syn(own), on: "wan", via: router, at: 4)
      .expectForward6(syn(host).hopped, on: "lan", to: host)
    #expect(gateway.advance(to: 60).isEmpty)
  }

  @Test func `T4 V6 what a mapping's filtering keeps out is told too, what is in pieces or inside is not`() throws {
    let gateway = try gateway(.unreachable, translates: true)
    gateway.receive6(.udp(host, 80, "2001:db8:f::9", 1), on: "lan").expect(.forward)
    let probe = Datagram6.udp(server, 4000, wan, 80)
    let told = try #require(gateway.receive6(probe, on: "wan", via: router).expectDropAnswered(.filtered))
    #expect(told.bytes == answer(gateway, to: probe))
    gateway.receive6(.udp(host, 80, wan, 81), on: "lan").expectDrop(.toUs)
    gateway.receive6(.icmp(server, wan, type: 200), on: "wan", via: router).expect(.drop)
    #expect(gateway.advance(to: 60).isEmpty)
  }

  @Test func `A5 A11 V6 pending answers are bounded, and so are their number for one sender`() throws {
    let gateway = try gateway(.unreachable)
    for port: UInt16 in 10000..<12000 {
      gateway.receive6(syn(host, port), on: "wan", via: router).expectDrop(.noForward)
    }
    #expect(gateway.advance(to: 6).count <= 100)
  }
}
