import Engine
import PacketTestKit
import Testing

/// T4: what nobody asked for from outside (RFC 5382 REQ-4; CONTRACT `unsolicited`).
@Suite struct UnsolicitedTests {
  private func gateway(_ unsolicited: InterfacePlan.Unsolicited) throws -> TestGateway {
    try TestGateway(.masqueraded(more: { $0.change("wan") { $0.unsolicited = unsolicited } }))
  }

  private let syn = Packet.tcp(client, "203.0.113.1:80", .syn)

  @Test func `T4 silent: no answer, ever`() throws {
    let gateway = try gateway(.silent)
    gateway.receive(syn, on: "wan").expectDrop(.noForward)
    gateway.receive(.udp(client, "203.0.113.1:80"), on: "wan").expectDrop(.noForward)
    #expect(gateway.advance(to: 60).isEmpty)
  }

  @Test func `T4 unreachable: UDP is answered at once`() throws {
    let gateway = try gateway(.unreachable)
    let probe = Packet.udp(client, "203.0.113.1:80")
    let answer = try #require(gateway.receive(probe, on: "wan").expectDropAnswered(.noForward)?.decoded)
    #expect(answer.icmp?.type == 3 && answer.icmp?.code == 3 && answer.source?.host == wan)
    #expect(answer.icmp?.payload == probe.datagram && answer.checksumProblems().isEmpty)
  }

  @Test func `T4 unreachable: a SYN is answered after 6 s, not before`() throws {
    let gateway = try gateway(.unreachable)
    gateway.receive(syn, on: "wan").expectDrop(.noForward)
    #expect(gateway.advance(to: 5.9).isEmpty)
    let made = gateway.advance(to: 6)
    #expect(made.count == 1 && made.first?.time == 6)
    let answer = try #require(made.first?.decoded)
    #expect(answer.icmp?.type == 3 && answer.icmp?.code == 3 && answer.destination?.host == client.host)
    #expect(answer.quote?.source == client && answer.checksumProblems().isEmpty)
  }

  @Test func `T4 a SYN that goes out meanwhile opens the connection, and the old one is forgotten`() throws {
    let gateway = try gateway(.unreachable)
    gateway.receive(syn, on: "wan").expectDrop(.noForward)
    let out = Packet.tcp("192.168.1.10:80", client, .syn)
    gateway.receive(out, on: "lan", at: 3).expectForward(out.translated(from: "203.0.113.1:80"), on: "wan")
    #expect(gateway.advance(to: 60).isEmpty)
  }

  @Test func `T4 a SYN that is let in when it comes again is not refused for the first time any more`() throws {
    let gateway = try TestGateway(
      .masqueraded(
        { $0.filtering = .endpointIndependent }, more: { $0.change("wan") { $0.unsolicited = .unreachable } }))
    gateway.receive(syn, on: "wan").expectDrop(.noForward)
    // From now on an inside host is there.
    gateway.receive(.tcp("192.168.1.10:80", "198.51.100.8:443", .syn), on: "lan", at: 1).expect(.forward)
    gateway.receive(syn, on: "wan", at: 3).expectForward(syn.translated(to: "192.168.1.10:80"), on: "lan")
    #expect(gateway.advance(to: 60).isEmpty)
  }

  @Test func `A5 A11 pending answers are bounded`() throws {
    let gateway = try gateway(.unreachable)
    for index in 0..<2000 {
      gateway.receive(.tcp(client, Peer(wan, UInt16(10000 + index)), .syn), on: "wan").expectDrop(.noForward)
    }
    #expect(gateway.advance(to: 6).count <= 100)
  }
}
