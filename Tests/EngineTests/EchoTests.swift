import Engine
import PacketTestKit
import Testing

/// ICMP echo through the gateway and to it (RFC 5508 REQ-1, REQ-2).
@Suite struct EchoTests {
  @Test func `I1 two hosts with one identifier get two, and answers go home with the sequence untouched`() throws {
    let gateway = try TestGateway(.masqueraded())
    var seen: [Peer] = []
    for (host, sequence): (Host, UInt16) in [(server, 7), (neighbor, 65535)] {
      let ping = Packet.ping(Peer(host, 1), client.host, sequence: sequence)
      let outcome = gateway.receive(ping, on: "lan")
      let outside = try #require(outcome.forwarded?.decoded.source)
      outcome.expectForward(ping.translated(from: outside), on: "wan")
      let pong = Packet.pong(client.host, outside, sequence: sequence)
      gateway.receive(pong, on: "wan").expectForward(pong.translated(to: Peer(host, 1)), on: "lan")
      seen.append(outside)
    }
    #expect(seen[0] != seen[1])
  }

  @Test func `I1 an identifier is mapped independently of the destination`() throws {
    let gateway = try TestGateway(.masqueraded())
    gateway.receive(.ping("192.168.1.11:9", client.host), on: "lan").expect(.forward)
    let first = gateway.receive(.ping("192.168.1.10:9", client.host), on: "lan").forwarded?.decoded.source
    let second = gateway.receive(.ping("192.168.1.10:9", stranger.host), on: "lan").forwarded?.decoded.source
    #expect(first != nil && first == second)
  }

  @Test func `I1 an echo session lives 60 s`() throws {
    for (delta, live) in [(-0.1, 1), (0.0, 0)] {
      let gateway = try TestGateway(.masqueraded())
      gateway.receive(.ping("192.168.1.10:9", client.host), on: "lan").expect(.forward)
      gateway.advance(to: 60 + delta)
      #expect(gateway.live == live)
    }
  }

  @Test func `I1 identifier 0 has two directions too`() throws {
    let gateway = try TestGateway(.masqueraded())
    let ping = Packet.ping("192.168.1.10:0", client.host)
    let outcome = gateway.receive(ping, on: "lan")
    let outside = try #require(outcome.forwarded?.decoded.source)
    // An answer from the asking side is none of this session's, though all its numbers are the request's.
    gateway.receive(.pong(server, Peer(client.host, 0)), on: "lan").expectDrop(.icmpUnmatched)
    let pong = Packet.pong(client.host, outside)
    gateway.receive(pong, on: "wan").expectForward(pong.translated(to: "192.168.1.10:0"), on: "lan")
  }

  @Test func `a reply that nobody asked for is icmp-unmatched`() throws {
    let gateway = try TestGateway(.masqueraded())
    gateway.receive(.pong(client.host, Peer(wan, 9)), on: "wan").expectDrop(.icmpUnmatched)
    // From inside too, before its TTL or a missing masquerade matters.
    let stray = Packet.pong(server, Peer(client.host, 9)) { $0.ip.ttl = 1 }
    gateway.receive(stray, on: "lan").expectDrop(.icmpUnmatched)
    try TestGateway(.home()).receive(stray, on: "lan").expectDrop(.icmpUnmatched)
  }

  @Test func `our own addresses answer as configured: inside yes, outside no`() throws {
    let gateway = try TestGateway(.home())
    let inside = gateway.receive(.ping("192.168.1.10:9", "192.168.1.1", sequence: 3, "hello"), on: "lan")
    inside.expect(.consume)
    let answer = try #require(inside.made.first)
    #expect(answer.interface == "lan" && answer.decoded.icmp?.type == 0 && answer.decoded.icmp?.sequence == 3)
    #expect(answer.decoded.text == "hello" && answer.decoded.checksumProblems().isEmpty)
    #expect(answer.decoded.source?.host == "192.168.1.1" && answer.decoded.destination == "192.168.1.10:9")
    #expect(gateway.counts("lan").generated == 1)
    gateway.receive(.ping(client, wan), on: "wan").expect(.drop)

    let open = try TestGateway(.home { $0.change("wan") { $0.ping = true } })
    let outside = open.receive(.ping(client, wan), on: "wan")
    outside.expect(.consume)
    #expect(outside.made.first?.decoded.destination == client)
    #expect(outside.made.first?.decoded.ethernet?.destination == .of("203.0.113.254"))
  }

  @Test(arguments: [1, 3, 18, 40])
  func `I14 an Ethernet trailer is lost and the length is right`(count: Int) throws {
    let gateway = try TestGateway(.masqueraded())
    let ping = Packet.ping("192.168.1.10:9", client.host, "x")
    gateway.receive(ping.with { $0.trailer = [UInt8](repeating: 0xAA, count: count) }, on: "lan")
      .expectForward(ping.translated(from: "203.0.113.1:9"), on: "wan")
    let pong = Packet.pong(client.host, "203.0.113.1:9", "x")
    gateway.receive(pong.with { $0.trailer = [UInt8](repeating: 0x55, count: count) }, on: "wan")
      .expectForward(pong.translated(to: "192.168.1.10:9"), on: "lan")
  }

  @Test func `I15 redirect and source quench from outside are not forwarded`() throws {
    let gateway = try TestGateway(.masqueraded())
    let out = Packet.udp("192.168.1.10:4000", client)
    gateway.receive(out, on: "lan").expect(.forward)
    let about = out.translated(from: "203.0.113.1:4000")
    for type: UInt8 in [4, 5] {
      gateway.receive(.icmpError(type: type, code: 1, from: client.host, to: wan, about: about), on: "wan").expect(
        .drop)
    }
  }
}
