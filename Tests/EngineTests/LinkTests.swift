import Engine
import PacketTestKit
import Testing

/// L1, L2: VLAN tags in the frame and in ring metadata; raw-IP links (CONTRACT "Links").
@Suite struct LinkTests {
  /// lan is VLAN 100 and guest VLAN 200.300 (802.1ad outside) of one device; wan is untagged.
  private func tagged() throws -> TestGateway {
    var plan = Plan()
    plan.sessions = 1024
    plan.interface("wan", .outside, "203.0.113.1/24", mac: "02:00:00:00:01:01") {
      $0.gateways = [IPv4Address(203, 0, 113, 254)]
    }
    plan.interface("lan", .inside, "192.168.1.1/24", mac: "02:00:00:00:02:01") {
      $0.device = "trunk"
      $0.tags = [VLANTag(protocolID: 0x8100, vlan: 100)]
    }
    plan.interface("guest", .inside, "192.168.2.1/24", mac: "02:00:00:00:02:01") {
      $0.device = "trunk"
      $0.tags = [VLANTag(protocolID: 0x88A8, vlan: 200), VLANTag(protocolID: 0x8100, vlan: 300)]
    }
    for host: Host in ["203.0.113.254", "192.168.1.10", "192.168.2.10"] { plan.neighbor(host) }
    plan.masquerade(from: "lan", to: "wan")
    plan.masquerade(from: "guest", to: "wan")
    plan.forward("web", [.tcp, .udp], ports: "80", to: "192.168.1.10")
    plan.forward("guest", [.tcp, .udp], ports: "81", to: "192.168.2.10")
    return try TestGateway(plan)
  }

  private typealias Tag = EthernetHeader.Tag

  @Test func `L1 tags in the frame name the interface, and egress puts its own on`() throws {
    let gateway = try tagged()
    let one = Packet.tcp(client, Peer(wan, 80), .syn)
    gateway.receive(one, on: "wan")
      .expectForward(one.translated(to: "192.168.1.10:80").with { $0.ethernet.tags = [Tag(100)] }, on: "lan")
    let two = Packet.tcp(client, Peer(wan, 81), .syn)
    gateway.receive(two, on: "wan")
      .expectForward(
        two.translated(to: "192.168.2.10:81").with { $0.ethernet.tags = [Tag(200, protocolID: 0x88A8), Tag(300)] },
        on: "guest")
    let answer = Packet.tcp("192.168.2.10:81", client, [.syn, .ack]) {
      $0.ethernet.tags = [Tag(200, protocolID: 0x88A8), Tag(300)]
    }
    gateway.receive(answer, on: "guest")
      .expectForward(answer.translated(from: Peer(wan, 81)).with { $0.ethernet.tags = [] }, on: "wan")
  }

  @Test func `L2 a tag that the kernel stripped counts as in the frame`() throws {
    let gateway = try tagged()
    let out = Packet.udp("192.168.1.10:4000", client)
    gateway.receive(bytes: gateway.addressed(out, on: "lan").bytes, on: "lan").expectDrop(.unknownVLAN)
    gateway.receive(out, on: "lan", tag: 0x8100_0064)
      .expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
    // QinQ: the outer tag in the metadata, the inner one in the frame.
    let inner = Packet.udp("192.168.2.10:4001", client) { $0.ethernet.tags = [Tag(300)] }
    gateway.receive(inner, on: "guest", tag: 0x88A8_00C8)
      .expectForward(inner.translated(from: "203.0.113.1:4001").with { $0.ethernet.tags = [] }, on: "wan")
  }

  @Test func `L2 priority and drop eligibility are copied to the egress tag`() throws {
    let gateway = try tagged()
    let host = Packet.udp("192.168.1.10:4000", "192.168.2.10:53")
    let tag = Tag(100, priority: 5, dropEligible: true)
    let expected = host.translated().with {
      $0.ethernet.tags = [
        Tag(200, priority: 5, dropEligible: true, protocolID: 0x88A8), Tag(300, priority: 5, dropEligible: true),
      ]
    }
    for asMetadata in [false, true] {
      let outcome = gateway.receive(
        host.with { if !asMetadata { $0.ethernet.tags = [tag] } }, on: "lan",
        tag: asMetadata ? 0x8100_0000 | UInt32(tag.control) : 0)
      // Both egress tags carry it: the next bridge reads the outer one, and may take it off.
      outcome.expectForward(expected, on: "guest")
    }
  }

  @Test func `L1 the same five-tuple in two VLANs is two flows`() throws {
    let gateway = try tagged()
    let packet = Packet.udp("192.168.1.10:4000", client)
    gateway.receive(packet, on: "lan", tag: 0x8100_0064).expect(.forward)
    // From the other VLAN the source is a martian, and the session of the first does not help it.
    gateway.receive(packet.with { $0.ethernet.tags = [Tag(300)] }, on: "guest", tag: 0x88A8_00C8).expectDrop(.martian)
  }

  @Test func `tags of no interface are unknown, VID 0 counts as untagged`() throws {
    let gateway = try tagged()
    let there = Packet.tcp(client, Peer(wan, 80), .syn)
    gateway.receive(there.with { $0.ethernet.tags = [Tag(5)] }, on: "wan").expectDrop(.unknownVLAN)
    gateway.receive(there.with { $0.ethernet.tags = [Tag(0, priority: 3)] }, on: "wan").expect(.forward)
    gateway.receive(there, on: "wan", tag: 0x8100_6000).expect(.forward)
    gateway.receive(there, on: "wan", tag: 0x8100_0007).expectDrop(.unknownVLAN)
    let out = Packet.udp("192.168.1.10:4000", client)
    for tags in [[Tag(101)], [Tag(100), Tag(100)], [Tag(200, protocolID: 0x88A8)], [Tag(200), Tag(300)]] {
      gateway.receive(out.with { $0.ethernet.tags = tags }, on: "lan").expectDrop(.unknownVLAN)
    }
  }

  @Test func `three tags do not confuse anyone`() throws {
    let tags = [Tag(200, protocolID: 0x88A8), Tag(300), Tag(1)]
    try tagged().receive(.udp("192.168.2.10:1", client) { $0.ethernet.tags = tags }, on: "guest")
      .expectDrop(.unknownVLAN)
  }

  @Test func `ARP carries the tags of its interface`() throws {
    let gateway = try tagged()
    let asked = gateway.receive(
      .arp(operation: 1, sender: .of("192.168.1.10"), "192.168.1.10", "192.168.1.1") { $0.ethernet.tags = [Tag(100)] },
      on: "lan")
    #expect(asked.made.first?.decoded.ethernet?.tags == [Tag(100)])
    #expect(asked.made.first?.decoded.arp?.operation == 2)
  }

  // MARK: Raw IP

  private func tunnel(_ role: InterfacePlan.Role) throws -> TestGateway {
    var plan = Plan()
    plan.sessions = 1024
    let outside = role == .outside
    plan.interface("wan", .outside, "203.0.113.1/24", mac: outside ? nil : "02:00:00:00:01:01") {
      $0.gateways = [IPv4Address(203, 0, 113, 254)]
    }
    plan.interface("lan", .inside, "192.168.1.1/24", mac: outside ? "02:00:00:00:02:01" : nil)
    if !outside { plan.neighbor("203.0.113.254") }
    if outside { plan.neighbor("192.168.1.10") }
    plan.forward("web", [.tcp, .udp], ports: "8080", to: "192.168.1.10:80")
    plan.masquerade(from: "lan", to: "wan")
    return try TestGateway(plan)
  }

  @Test(arguments: [InterfacePlan.Role.outside, .inside])
  func `a raw-IP link beside Ethernet: headers appear and disappear, both ways`(role: InterfacePlan.Role) throws {
    let gateway = try tunnel(role)
    let there = Packet.tcp(client, Peer(wan, 8080), .syn)
    gateway.receive(there, on: "wan").expectForward(there.translated(to: "192.168.1.10:80"), on: "lan")
    let answer = Packet.tcp("192.168.1.10:80", client, [.syn, .ack])
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 8080)), on: "wan")
    let out = Packet.udp("192.168.1.10:4000", client)
    gateway.receive(out, on: "lan").expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
    let dying = gateway.receive(out.with { $0.ip.ttl = 1 }, on: "lan").expectDropAnswered(.ttlExceeded)
    #expect(dying?.decoded.icmp?.type == 11 && dying?.decoded.checksumProblems().isEmpty == true)
  }

  @Test func `on a raw-IP link anything but IPv4 is refused by name`() throws {
    let gateway = try tunnel(.outside)
    gateway.receive(bytes: [0x60] + [UInt8](repeating: 0, count: 39), on: "wan").expectDrop(.ipv6Off)
    gateway.receive(bytes: [0x50] + [UInt8](repeating: 0, count: 39), on: "wan").expectDrop(.malformedIPv4)
    gateway.receive(bytes: [], on: "wan").expectDrop(.truncated)
  }
}
