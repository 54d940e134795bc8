import Engine
import PacketTestKit
import Testing

/// P7, P8: mappings, ports, addresses, neighbours and timers under rules that are replaced.
@Suite struct ReloadMappingTests {
  private let inside: Peer = "192.168.1.10:5000"

  /// The outside endpoint that `source` sends from.
  private func mapped(_ gateway: TestGateway, _ source: Peer, to destination: Peer = client) -> Peer? {
    gateway.receive(.udp(source, destination), on: "lan").forwarded?.decoded.source
  }

  // MARK: Ports

  @Test func `P7 a forward added over a dynamic mapping cuts that mapping, at once and with all its sessions`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway, from: inside)
    talk.open()
    #expect(mapped(gateway, inside) == "203.0.113.1:5000")
    try gateway.reload { $0.forward(.both, ports: "5000", to: "192.168.1.11") }
    #expect(gateway.live == 0)
    // From outside the port is the forward's.
    let datagram = Packet.udp(client, Peer(wan, 5000))
    gateway.receive(datagram, on: "wan").expectForward(datagram.translated(to: "192.168.1.11:5000"), on: "lan")
    // The connection is over; the inside endpoint gets another port from now on.
    #expect(talk.offer(talk.segment(.inside, .ack), from: .inside).expectDropAnswered(.sessionCut) != nil)
    let again = try #require(mapped(gateway, inside, to: stranger))
    #expect(again.host == wan && again.port != 5000)
  }

  @Test func `P7 ports of a forward that is gone are free for mappings, each for one`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.both, ports: "5000-5003", to: "192.168.1.12") }))
    for round in 0..<3 {
      let (one, two) = (Host("192.168.1.20").advanced(by: round), Host("192.168.1.40").advanced(by: round))
      try gateway.reload { $0.forwards = [] }
      #expect(mapped(gateway, Peer(one, 5001)) == "203.0.113.1:5001")
      let second = try #require(mapped(gateway, Peer(two, 5001)))
      #expect(second != "203.0.113.1:5001")
      try gateway.reload { $0.forward(.both, ports: "5000-5003", to: "192.168.1.12") }
      let first = try #require(mapped(gateway, Peer(one, 5001)))
      #expect(first.port > 5003 && first != second)
    }
  }

  @Test func `P7 U3 no two inside endpoints share a port through any number of changes`() throws {
    let gateway = try TestGateway(
      .masqueraded { $0.pool = [PortRange(6000, 6031)] })
    for round in 0..<40 {
      try gateway.reload {
        $0.forwards = []
        $0.forward("moving", .both, ports: "\(6000 + round % 30)-\(6001 + round % 30)", to: "192.168.1.12")
      }
      for host in 0..<12 { _ = mapped(gateway, Peer(Host("192.168.1.20").advanced(by: host), 6000)) }
      let outside = gateway.sessions().filter { $0.origin == .masquerade(0) }.map(\.reply.destination)
      #expect(Set(outside).count == outside.count)
      let forwarded = UInt16(6000 + round % 30)...UInt16(6001 + round % 30)
      #expect(!outside.contains { forwarded.contains($0.port) })
    }
  }

  // MARK: Masquerade

  @Test func `without its masquerade a session ends; with another pool or other rules for peers too`() throws {
    let changes: [(inout Plan) -> Void] = [
      { $0.masquerades = [] }, { $0.masquerades[0].pool = [PortRange(20000, 20999)] },
      { $0.masquerades[0].mapping = .addressDependent }, { $0.masquerades[0].filtering = .endpointIndependent },
    ]
    for (number, change) in changes.enumerated() {
      let gateway = try TestGateway(.masqueraded())
      let talk = TCPTalk.outward(gateway, from: inside)
      talk.open()
      #expect(mapped(gateway, inside) == "203.0.113.1:5000")
      try gateway.reload(change)
      #expect(gateway.live == 0, "change \(number)")
      talk.offer(talk.segment(.outside, .ack), from: .outside).expect(.drop)
      let now = mapped(gateway, inside)
      #expect(
        (now == nil) == (number == 0) && (number != 1 || now?.port ?? 0 >= 20000), "change \(number): \(now as Any)")
    }
  }

  @Test func `U2 what filtering permits follows from sessions that the current rules allow`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.udp, ports: "7000", to: "192.168.1.12") }))
    #expect(mapped(gateway, inside, to: "198.51.100.7:1") == "203.0.113.1:5000")
    gateway.receive(.udp("198.51.100.7:2", "203.0.113.1:5000"), on: "wan").expect(.forward)
    try gateway.reload { $0.timeouts.udp = 10 }
    gateway.receive(.udp("198.51.100.7:3", "203.0.113.1:5000"), on: "wan", at: 9).expect(.forward)
    gateway.receive(.udp("198.51.100.99:1", "203.0.113.1:5000"), on: "wan").expectDrop(.filtered)
    gateway.receive(.udp("198.51.100.7:4", "203.0.113.1:5000"), on: "wan", at: 20).expectDrop(.noForward)
  }

  @Test func `a mapping in quarantine whose rules are gone does not come back`() throws {
    let gateway = try TestGateway(.masqueraded { $0.filtering = .endpointIndependent })
    #expect(mapped(gateway, inside) == "203.0.113.1:5000")
    gateway.advance(to: 301)
    try gateway.reload { $0.masquerades[0].pool = [PortRange(20000, 20999)] }
    #expect(mapped(gateway, inside)?.port ?? 0 >= 20000)
  }

  @Test func `hairpin sessions end with the mapping that they go to, and with their own`() throws {
    let gateway = try TestGateway(.masqueraded())
    #expect(mapped(gateway, inside) == "203.0.113.1:5000")
    gateway.receive(.udp("192.168.1.11:6000", "203.0.113.1:5000"), on: "lan").expect(.forward)
    #expect(gateway.live == 2)
    try gateway.reload { $0.forward(.udp, ports: "5000", to: "192.168.1.12") }
    #expect(gateway.live == 0)
    let datagram = Packet.udp("192.168.1.11:6000", "203.0.113.1:5000")
    gateway.receive(datagram, on: "lan")
      .expectForward(datagram.translated(from: "203.0.113.1:6000", to: "192.168.1.12:5000"), on: "lan")
    try gateway.reload { $0.forward("six", .udp, ports: "6000", to: "192.168.1.10") }
    #expect(gateway.live == 0)
  }

  @Test func `the target of a one-to-one forward that is added sends from its outside endpoint`() throws {
    let gateway = try TestGateway(.masqueraded())
    #expect(mapped(gateway, "192.168.1.10:53000") == "203.0.113.1:53000")
    try gateway.reload { $0.forward(.udp, ports: "4000", to: "192.168.1.10:53000") }
    #expect(mapped(gateway, "192.168.1.10:53000") == "203.0.113.1:4000")
    try gateway.reload { $0.forwards = [] }
    #expect(mapped(gateway, "192.168.1.10:53000") == "203.0.113.1:53000")
  }

  // MARK: Addresses

  @Test func `an address that is lost takes its sessions with it; one that is gained serves at once`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.both, ports: "8000", to: "192.168.1.10") }))
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
    let talk = TCPTalk.outward(gateway, from: inside)
    talk.open()
    try gateway.reload {
      $0.change("wan") { $0.addresses = [IPv4Prefix("203.0.113.77/24")!] }
      $0.forwards[0].externals = [IPv4Address(203, 0, 113, 77)]
    }
    #expect(gateway.live == 0)
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.drop)
    talk.offer(talk.segment(.outside, .ack), from: .outside).expect(.drop)
    let datagram = Packet.udp(client, "203.0.113.77:8000")
    gateway.receive(datagram, on: "wan").expectForward(datagram.translated(to: "192.168.1.10:8000"), on: "lan")
    #expect(mapped(gateway, inside) == "203.0.113.77:5000")
    let who = Packet.arp(operation: 1, sender: .of("203.0.113.9"), "203.0.113.9", "203.0.113.77")
    #expect(gateway.receive(who, on: "wan").made.first?.decoded.arp?.operation == 2)
    let old = Packet.arp(operation: 1, sender: .of("203.0.113.9"), "203.0.113.9", wan)
    #expect(gateway.receive(old, on: "wan").made.isEmpty)
  }

  @Test func `addresses may come and go more often than there are pools`() throws {
    let gateway = try TestGateway(.masqueraded())
    for round in 0..<300 {
      let address = Host("203.0.113.2").advanced(by: round % 200)
      try gateway.reload { $0.change("wan") { $0.addresses = [IPv4Prefix("\(address)/24")!] } }
      #expect(mapped(gateway, inside)?.host == address)
      // The pass goes through the tables in ten seconds.
      if round % 20 == 19 { gateway.advance(to: gateway.now + 11) }
    }
    #expect(gateway.live == 1)
  }

  // MARK: Neighbours, routes, timers

  @Test func `static neighbours follow: another station is used at once, a removed one is asked for`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.udp, ports: "8000", to: "192.168.1.10") }))
    gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").expect(.forward)
    let station = Station(bytes: [2, 9, 9, 9, 9, 9])
    try gateway.reload {
      let index = $0.neighbors.firstIndex { $0.address == Host("192.168.1.10").planned }!
      $0.neighbors[index].mac = station.planned
    }
    let moved = gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan").forwarded?.decoded
    #expect(moved?.ethernet?.destination == station)
    try gateway.reload { $0.neighbors.removeAll { $0.address == Host("192.168.1.10").planned } }
    let asked = gateway.receive(.udp(client, Peer(wan, 8000)), on: "wan")
    asked.expect(.hold)
    #expect(asked.made.first?.decoded.arp?.operation == 1)
    // One that is added answers for those who wait.
    let released = try gateway.reload { $0.neighbor("192.168.1.10") }
    #expect(released.count == 1 && released[0].decoded.ethernet?.destination == .of("192.168.1.10"))
  }

  @Test func `routes follow: sessions go by the new next hop, or end where the way leads elsewhere`() throws {
    let gateway = try TestGateway(.masqueraded())
    let far: Peer = "192.0.2.1:80"
    _ = mapped(gateway, inside, to: far)
    try gateway.reload { $0.route("192.0.2.0/24", via: "203.0.113.9") }
    let hop = gateway.receive(.udp(inside, far), on: "lan").forwarded?.decoded
    #expect(hop?.ethernet?.destination == .of("203.0.113.9") && gateway.sessions()[0].original.packets == 2)
    try gateway.reload {
      $0.routes = []
      $0.route("192.0.2.0/24", via: "192.168.1.12")
    }
    gateway.receive(.udp(far, "203.0.113.1:5000"), on: "wan").expect(.drop)
    // Between inside hosts nothing is translated.
    let routed = Packet.udp(inside, far)
    gateway.receive(routed, on: "lan").expectForward(routed.translated(), on: "lan")
  }

  @Test func `timeouts hold for living sessions from their next packet on, in either direction of change`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway, from: inside)
    talk.open()
    _ = mapped(gateway, inside)
    try gateway.reload {
      $0.timeouts.tcpEstablished = 60
      $0.timeouts.udp = 600
    }
    talk.send(.inside, .ack, at: 1)
    #expect(mapped(gateway, inside) == "203.0.113.1:5000")
    gateway.advance(to: 62)
    #expect(gateway.sessions().map(\.ipProtocol) == [17])
    gateway.advance(to: 600)
    #expect(gateway.live == 1)
    gateway.advance(to: 602)
    #expect(gateway.live == 0)
  }
}
