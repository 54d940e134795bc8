import Engine
import PacketTestKit
import Testing

/// U13, T12, I10: inside hosts reach each other by the outside address (RFC 4787 REQ-9, RFC 5382 REQ-8).
@Suite struct HairpinTests {
  private let from: Peer = "192.168.1.11:5000"

  @Test(arguments: [false, true])
  func `U13 T12 the target of a forward sees the outside address and the client's mapping port`(udp: Bool) throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.both, ports: "8080", to: "192.168.1.10:80") }))
    let there: Packet = udp ? .udp(from, Peer(wan, 8080)) : .tcp(from, Peer(wan, 8080), .syn)
    gateway.receive(there, on: "lan")
      .expectForward(there.translated(from: Peer(wan, 5000), to: "192.168.1.10:80"), on: "lan")
    let answer: Packet =
      udp ? .udp("192.168.1.10:80", Peer(wan, 5000)) : .tcp("192.168.1.10:80", Peer(wan, 5000), [.syn, .ack])
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 8080), to: from), on: "lan")
    #expect(gateway.count(of: .hairpin) >= 1)
  }

  @Test func `without a masquerade a port is made from 1024-65535`() throws {
    let gateway = try TestGateway(.home { $0.forward(ports: "8080", to: "192.168.1.10:80") })
    let there = Packet.tcp(from, Peer(wan, 8080), .syn)
    let outcome = gateway.receive(there, on: "lan")
    let seen = try #require(outcome.forwarded?.decoded.source)
    #expect(seen.host == wan && seen.port >= 1024)
    outcome.expectForward(there.translated(from: seen, to: "192.168.1.10:80"), on: "lan")
    let answer = Packet.tcp("192.168.1.10:80", seen, [.syn, .ack])
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 8080), to: from), on: "lan")
    // Address-and-port-dependent filtering on the port that was made.
    gateway.receive(.tcp(stranger, seen, .syn), on: "wan").expect(.drop)
  }

  @Test func `hairpin false refuses inside hosts and nobody else`() throws {
    let gateway = try TestGateway(
      .home { $0.forward(ports: "80", to: "192.168.1.10") { $0.hairpin = false } })
    gateway.receive(.tcp(from, Peer(wan, 80), .syn), on: "lan").expectDrop(.hairpinOff)
    gateway.receive(.tcp(client, Peer(wan, 80), .syn), on: "wan").expect(.forward)
  }

  @Test func `source gateway holds for hairpin too`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: { $0.forward(ports: "80", to: "192.168.1.10") { $0.source = .gateway } }))
    let there = Packet.tcp(from, Peer(wan, 80), .syn)
    gateway.receive(there, on: "lan")
      .expectForward(there.translated(from: "192.168.1.1:5000", to: "192.168.1.10:80"), on: "lan")
    let answer = Packet.tcp("192.168.1.10:80", "192.168.1.1:5000", [.syn, .ack])
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 80), to: from), on: "lan")
  }

  @Test func `U13 a host reaches another one's dynamic mapping, and itself, by the outside endpoint`() throws {
    let gateway = try TestGateway(.masqueraded { $0.filtering = .endpointIndependent })
    // .10 makes a mapping wan:7000.
    gateway.receive(.udp("192.168.1.10:7000", client), on: "lan").expect(.forward)
    for source: Peer in ["192.168.1.11:5000", "192.168.1.10:7000"] {
      let there = Packet.udp(source, Peer(wan, 7000))
      gateway.receive(there, on: "lan")
        .expectForward(there.translated(from: Peer(wan, source.port), to: "192.168.1.10:7000"), on: "lan")
    }
    let answer = Packet.udp("192.168.1.10:7000", Peer(wan, 5000))
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 7000), to: from), on: "lan")
  }

  @Test func `U7 U13 a mapping lives as long as a session that came in by it, whichever of them`() throws {
    let gateway = try TestGateway(.masqueraded { $0.filtering = .endpointIndependent })
    // The sweep has others to look at first.
    for port in 1...30 { gateway.receive(.udp(Peer("192.168.1.12", 2000 + UInt16(port)), client), on: "lan") }
    gateway.receive(.udp("192.168.1.10:7000", client), on: "lan", at: 0.2).expect(.forward)
    let guest = Packet.udp(from, Peer(wan, 7000))
    gateway.receive(guest, on: "lan", at: 0.3).expect(.forward)
    gateway.receive(.udp("192.168.1.13:5000", Peer(wan, 7000)), on: "lan", at: 0.4).expect(.forward)
    // Of its own session and the two that came in by it, only the first of these is kept alive.
    gateway.receive(guest, on: "lan", at: 200).expect(.forward)
    gateway.receive(.udp("192.168.1.12:5000", client), on: "lan", at: 300.35).expect(.forward)
    gateway.receive(.udp(stranger, Peer(wan, 7000)), on: "wan", at: 300.45).expect(.forward)
  }

  @Test func `U7 U13 a session that is over keeps no mapping that it came in by, before the sweep has found it`() throws
  {
    let gateway = try TestGateway(.masqueraded { $0.filtering = .endpointIndependent })
    for port in 1...30 { gateway.receive(.udp(Peer("192.168.1.12", 2000 + UInt16(port)), client), on: "lan") }
    gateway.receive(.udp("192.168.1.10:7000", client), on: "lan", at: 0.2).expect(.forward)
    gateway.receive(.udp(from, Peer(wan, 7000)), on: "lan", at: 0.35).expect(.forward)
    // A jump ends what is over; the session above has a tick more.
    gateway.receive(.udp("192.168.1.12:5000", client), on: "lan", at: 300.3).expect(.forward)
    gateway.receive(.udp("192.168.1.12:5001", Peer(wan, 7000)), on: "lan", at: 300.45).expectDrop(.toUs)
    gateway.receive(.udp(client, Peer(wan, 7000)), on: "wan", at: 300.45).expectDrop(.noForward)
  }

  @Test func `U13 a forward's target is known by its own outside endpoint, on whichever address it was sent to`() throws
  {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.change("wan") { $0.addresses.append(IPv4Prefix("203.0.113.2/24")!) }
        $0.forward("host", [.tcp, .udp], ports: "all", to: "192.168.1.10", external: "203.0.113.5")
        $0.forward("game", .udp, ports: "8000-8003", to: "192.168.1.11:7000-7003")
      }))
    // To another host by the address of the whole host's own forward, and to itself.
    for (source, port, seen, target): (Peer, Peer, Peer, Peer) in [
      ("192.168.1.10:4000", "203.0.113.5:4001", "203.0.113.5:4000", "192.168.1.10:4001"),
      ("192.168.1.10:4000", "203.0.113.2:8001", "203.0.113.5:4000", "192.168.1.11:7001"),
      ("192.168.1.11:7003", "203.0.113.2:8001", "203.0.113.2:8003", "192.168.1.11:7001"),
    ] {
      let there = Packet.udp(source, port)
      gateway.receive(there, on: "lan").expectForward(there.translated(from: seen, to: target), on: "lan")
    }
  }

  @Test func `I10 an error about a hairpinned datagram finds its way back`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.both, ports: "8080", to: "192.168.1.10:80") }))
    let there = Packet.udp(from, Peer(wan, 8080))
    gateway.receive(there, on: "lan").expect(.forward)
    let delivered = there.translated(from: Peer(wan, 5000), to: "192.168.1.10:80")
    let error = Packet.icmpError(type: 3, code: 3, from: server, to: wan, about: delivered)
    let quoted = delivered.with {
      $0.ip.source = from.host
      $0.ip.destination = wan
      $0.udp.destinationPort = 8080
    }
    let back = Packet.icmpError(type: 3, code: 3, from: wan, to: from.host, about: quoted) { $0.ip.ttl = 63 }
    gateway.receive(error, on: "lan").expectForward(back, on: "lan")
  }
}
