import Engine
import PacketTestKit
import Testing

/// "The first cause wins, in this order: frame, MAC, tag, IP header, martian, session, forward/allow/filtering, TTL,
/// route, MTU, limits and table, neighbour" (CONTRACT).
@Suite struct OrderTests {
  /// A frame with every fault at once, then one fault less in each step; each step names the cause that is left first.
  @Test func `the first cause wins, one by one`() throws {
    let gateway = try TestGateway(
      .home {
        $0.change("lan") { $0.mtu = 600 }
        $0.forward(.udp, ports: "80", to: "192.168.1.77") { $0.deny = [IPv4Prefix("198.51.100.99/32")!] }
      })
    var packet = Packet.udp("127.0.0.1:1000", Peer(wan, 81), String(repeating: "x", count: 1000)) {
      $0.ethernet.source = .of("203.0.113.254")
      $0.ethernet.destination = "02:99:00:00:00:01"
      $0.ethernet.tags = [EthernetHeader.Tag(99)]
      $0.ip.version = 5
      $0.ip.ttl = 1
    }
    gateway.receive(packet.with { $0.keep = 10 }, on: "wan").expectDrop(.truncated)
    gateway.receive(packet, on: "wan").expectDrop(.notOurMAC)
    packet.ethernet.destination = nil
    gateway.receive(packet, on: "wan").expectDrop(.unknownVLAN)
    packet.ethernet.tags = []
    gateway.receive(packet, on: "wan").expectDrop(.malformedIPv4)
    packet.ip.version = 4
    gateway.receive(packet, on: "wan").expectDrop(.martian)
    packet.ip.source = stranger.host
    gateway.receive(packet, on: "wan").expectDrop(.noForward)
    packet.udp.destinationPort = 80
    gateway.receive(packet, on: "wan").expectDrop(.notAllowed)
    packet.ip.source = client.host
    #expect(gateway.receive(packet, on: "wan").expectDropAnswered(.ttlExceeded)?.decoded.icmp?.type == 11)
    packet.ip.ttl = 64
    #expect(gateway.receive(packet, on: "wan").expectDropAnswered(.fragmentationNeeded)?.decoded.icmp?.code == 4)
    packet.udp.payload = [1, 2, 3]
    gateway.receive(packet, on: "wan").expect(.hold)
    #expect(gateway.sessionCounts.created == 1)
  }

  @Test func `TTL comes before route, route before table`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.change("wan") { $0.gateways = [] } }))
    let out = Packet.udp("192.168.1.10:4000", client)
    _ = gateway.receive(out.with { $0.ip.ttl = 1 }, on: "lan").expectDropAnswered(.ttlExceeded)
    _ = gateway.receive(out, on: "lan").expectDropAnswered(.noRoute)
    let closed = try TestGateway(.home())
    closed.receive(out, on: "lan").expect(.drop)
    #expect(closed.drops(.noMasquerade) == 1)
    _ = closed.receive(out.with { $0.ip.ttl = 1 }, on: "lan").expectDropAnswered(.ttlExceeded)
  }

  @Test func `TTL comes before filtering's session, filtering before TTL`() throws {
    let gateway = try TestGateway(.masqueraded())
    gateway.receive(.udp("192.168.1.10:4000", client), on: "lan").expect(.forward)
    gateway.receive(.udp(stranger, "203.0.113.1:4000") { $0.ip.ttl = 1 }, on: "wan").expectDrop(.filtered)
    gateway.receive(.udp(client, "203.0.113.1:4001") { $0.ip.ttl = 1 }, on: "wan").expectDrop(.noForward)
  }

  @Test func `every reason and every event has one name, in lower-case words with hyphens`() {
    let names = DropReason.allCases.map(\.name) + Event.allCases.map(\.name)
    for name in names {
      #expect(name.allSatisfy { $0 == "-" || $0.isLowercase || $0.isNumber }, "\(name)")
    }
    #expect(Set(DropReason.allCases.map(\.name)).count == DropReason.allCases.count)
    #expect(Set(Event.allCases.map(\.name)).count == Event.allCases.count)
  }

  @Test func `G5 counts by interface, and a frame taken back is dropped instead`() throws {
    let gateway = try TestGateway(.masqueraded())
    gateway.receive(.udp("192.168.1.10:4000", client), on: "lan").expect(.forward)
    gateway.receive(.udp(stranger, Peer(wan, 9)), on: "wan").expectDrop(.noForward)
    #expect(gateway.counts("lan").forwarded == 1 && gateway.counts("lan").dropped == 0)
    #expect(gateway.counts("wan").received == 1 && gateway.drops(.noForward, on: "wan") == 1)
    gateway.takeBack("lan", reason: .egressFull)
    #expect(gateway.counts("lan").forwarded == 0 && gateway.drops(.egressFull, on: "lan") == 1)
    #expect(gateway.counts("lan").received == 1)
  }
}
