import Engine
import PacketTestKit
import Testing

/// Port triggering: what an inside host sends opens ports from outside to it, for a while.
@Suite struct TriggerTests {
  /// The game's server, to which inside hosts send, and a peer that nobody inside knows.
  private let lobby: Peer = "198.51.100.7:6112"
  private let peer: Peer = "198.51.100.99:6112"

  static func plan(
    _ conflict: TriggerPlan.Conflict = .refuse, more: (inout Plan) -> Void = { _ in }
  ) -> Plan {
    .masqueraded(more: {
      $0.trigger(when: "6112", open: "6112, 6881-6889") { $0.conflict = conflict }
      more(&$0)
    })
  }

  /// An inside host asks from a port of its own.
  private func ask(_ gateway: TestGateway, _ host: Host = server, port: UInt16 = 5000, at time: Double? = nil) {
    gateway.receive(.udp(Peer(host, port), lobby), on: "lan", at: time).expect(.forward)
  }

  /// A peer that has not been seen before knocks at a port.
  private func knock(
    _ gateway: TestGateway, _ port: UInt16 = 6112, at time: Double? = nil, to host: Host?, from number: UInt16,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let datagram = Packet.udp(Peer(peer.host, number), Peer(wan, port))
    let outcome = gateway.receive(datagram, on: "wan", at: time, sourceLocation: sourceLocation)
    if let host {
      outcome.expectForward(datagram.translated(to: Peer(host, port)), on: "lan", sourceLocation: sourceLocation)
    } else {
      outcome.expectDrop(.triggerClosed, sourceLocation: sourceLocation)
    }
  }

  @Test func `a list and a range open to the host that asked, there and back, and their neighbours to nobody`() throws {
    let gateway = try TestGateway(Self.plan())
    knock(gateway, to: nil, from: 1)
    ask(gateway)
    for port in [6112] + Array(UInt16(6881)...6889) {
      let there = Packet.udp(peer, Peer(wan, port))
      gateway.receive(there, on: "wan").expectForward(there.translated(to: Peer(server, port)), on: "lan")
      let back = Packet.udp(Peer(server, port), peer)
      gateway.receive(back, on: "lan").expectForward(back.translated(from: Peer(wan, port)), on: "wan")
    }
    for port: UInt16 in [6111, 6113, 6880, 6890] {
      gateway.receive(.udp(peer, Peer(wan, port)), on: "wan").expectDrop(.noForward)
    }
    gateway.receive(.tcp(peer, Peer(wan, 6112), .syn), on: "wan").expectDrop(.noForward)
    #expect(gateway.sessions().count { $0.origin == .trigger(0) } == 10)
    #expect(gateway.count(of: .triggerOpened) == 1)
  }

  @Test func `TCP opens TCP, both open both, and a port that is not asked by opens nothing`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.trigger("web", .tcp, when: "8000-8002", open: "9000")
        $0.trigger("both", .both, when: "7000", open: "7001")
      }))
    gateway.receive(.udp("192.168.1.10:5000", "198.51.100.7:8001"), on: "lan").expect(.forward)
    gateway.receive(.tcp("192.168.1.10:5000", "198.51.100.7:8003", .syn), on: "lan").expect(.forward)
    #expect(gateway.openings.allSatisfy { $0 == nil })
    gateway.receive(.tcp("192.168.1.10:5001", "198.51.100.7:8002", .syn), on: "lan").expect(.forward)
    gateway.receive(.tcp(stranger, Peer(wan, 9000), .syn), on: "wan").expect(.forward)
    gateway.receive(.udp(stranger, Peer(wan, 9000)), on: "wan").expectDrop(.noForward)
    gateway.receive(.tcp("192.168.1.11:5000", "198.51.100.7:7000", .syn), on: "lan").expect(.forward)
    let datagram = Packet.udp(stranger, Peer(wan, 7001))
    gateway.receive(datagram, on: "wan").expectForward(datagram.translated(to: "192.168.1.11:7001"), on: "lan")
    // A connection that was not begun by a SYN is picked up as anywhere else.
    gateway.receive(.tcp("198.51.100.99:5", Peer(wan, 7001), .ack), on: "wan").expect(.forward)
  }

  // MARK: Time

  @Test func `open a second before its time, closed a second after it`() throws {
    let gateway = try TestGateway(Self.plan())
    ask(gateway, at: 10)
    #expect(gateway.openings == [OpeningReport(owner: server.planned, remaining: 600_000_000_000)])
    knock(gateway, at: 609, to: server, from: 1)
    #expect(gateway.openings[0]?.remaining == 1_000_000_000)
    knock(gateway, at: 611, to: nil, from: 2)
    #expect(gateway.openings == [nil])
  }

  @Test func `renewed by each packet of an established session, whether that lives until the end or not`() throws {
    // UDP sessions of 300 s end long before the opening; those of 900 s do not.
    for timeout in [300, 900] {
      let gateway = try TestGateway(Self.plan { $0.timeouts.udp = timeout })
      ask(gateway, at: 0)
      ask(gateway, at: 100)
      ask(gateway, at: 200)
      #expect(gateway.openings[0]?.remaining == 600_000_000_000, "\(timeout)")
      knock(gateway, at: 799, to: server, from: 1)
      knock(gateway, at: 801, to: nil, from: 2)
    }
  }

  @Test func `not renewed by what comes in, nor by what is answered to it`() throws {
    let gateway = try TestGateway(Self.plan { $0.timeouts.udp = 3000 })
    ask(gateway, at: 0)
    for second in stride(from: 50.0, through: 550, by: 100) {
      // The lobby itself, a peer at the very port that is asked by, and the answers to that.
      gateway.receive(.udp(lobby, Peer(wan, 5000)), on: "wan", at: second).expect(.forward)
      gateway.receive(.udp(peer, Peer(wan, 6112)), on: "wan", at: second).expect(.forward)
      gateway.receive(.udp(Peer(server, 6112), peer), on: "lan", at: second).expect(.forward)
    }
    knock(gateway, at: 599, to: server, from: 1)
    knock(gateway, at: 601, to: nil, from: 2)
  }

  @Test func `an established session opens it again after its end, with the first packet`() throws {
    let gateway = try TestGateway(Self.plan { $0.timeouts.udp = 3000 })
    ask(gateway, at: 0)
    ask(gateway, at: 1)
    knock(gateway, at: 602, to: nil, from: 1)
    ask(gateway, at: 1000)
    knock(gateway, at: 1599, to: server, from: 2)
    knock(gateway, at: 1601, to: nil, from: 3)
    ask(gateway, at: 1700)
    #expect(gateway.count(of: .triggerOpened) == 3 && gateway.openings[0]?.remaining == 600_000_000_000)
  }

  @Test func `what was let in stays when the opening is over, and ends by its own timer`() throws {
    let gateway = try TestGateway(Self.plan { $0.triggers[0].seconds = 20 })
    ask(gateway, at: 0)
    let there = Packet.udp(peer, Peer(wan, 6881))
    gateway.receive(there, on: "wan", at: 10).expect(.forward)
    gateway.receive(there, on: "wan", at: 200).expectForward(there.translated(to: "192.168.1.10:6881"), on: "lan")
    knock(gateway, 6881, to: nil, from: 7)
    gateway.receive(.udp("192.168.1.10:6881", peer), on: "lan", at: 400).expect(.forward)
    gateway.receive(there, on: "wan", at: 701).expectDrop(.triggerClosed)
  }

  @Test func `a dropped packet opens nothing, nor does one that is not translated`() throws {
    let gateway = try TestGateway(
      Self.plan { $0.masquerades[0].except = [IPv4Prefix("198.51.100.0/25")!] })
    let outcome = gateway.receive(.udp("192.168.1.10:5000", lobby) { $0.ip.ttl = 1 }, on: "lan")
    #expect(outcome.reason == .ttlExceeded)
    ask(gateway)
    #expect(gateway.openings == [nil])
    gateway.receive(.udp("192.168.1.10:5000", "198.51.100.200:6112"), on: "lan").expect(.forward)
    #expect(gateway.openings[0]?.owner == server.planned)
  }

  // MARK: Two hosts

  @Test func `refuse: the first keeps it until it is over, and then whoever sends next has it`() throws {
    let gateway = try TestGateway(Self.plan(.refuse) { $0.timeouts.udp = 3000 })
    ask(gateway, server, at: 0)
    ask(gateway, neighbor, at: 300)
    #expect(gateway.count(of: .triggerRefused) == 1)
    knock(gateway, at: 599, to: server, from: 1)
    // A session of the second host that is long established does not have it by itself.
    ask(gateway, neighbor, at: 600)
    knock(gateway, at: 601, to: neighbor, from: 2)
    ask(gateway, server, at: 602)
    knock(gateway, to: neighbor, from: 3)
    knock(gateway, at: 1201, to: nil, from: 4)
  }

  @Test func `steal: a new session of the second host takes it, an old one of the first does not take it back`() throws
  {
    let gateway = try TestGateway(Self.plan(.steal) { $0.timeouts.udp = 3000 })
    ask(gateway, server, at: 0)
    let kept = Packet.udp(peer, Peer(wan, 6881))
    gateway.receive(kept, on: "wan").expect(.forward)
    ask(gateway, neighbor, at: 300)
    knock(gateway, to: neighbor, from: 1)
    ask(gateway, server, at: 301)
    knock(gateway, to: neighbor, from: 2)
    // What the first host was reached by goes on.
    gateway.receive(kept, on: "wan").expectForward(kept.translated(to: "192.168.1.10:6881"), on: "lan")
    ask(gateway, server, port: 5001, at: 302)
    knock(gateway, at: 303, to: server, from: 3)
    #expect(gateway.count(of: .triggerStolen) == 2 && gateway.count(of: .triggerRefused) == 0)
    // The second host's session is silent: at the end of the first host's opening it has nothing.
    knock(gateway, at: 903, to: nil, from: 4)
  }

  // MARK: Ports

  @Test func `the host that has it sends from its ports, others get other ones, at no time by chance`() throws {
    let gateway = try TestGateway(Self.plan { $0.masquerades[0].pool = [PortRange(6870, 6899)] })
    // The very packet that opens it keeps the port.
    let first = Packet.udp("192.168.1.10:6112", lobby)
    gateway.receive(first, on: "lan").expectForward(first.translated(from: "203.0.113.1:6112"), on: "wan")
    let own = Packet.udp("192.168.1.10:6881", stranger)
    gateway.receive(own, on: "lan").expectForward(own.translated(from: "203.0.113.1:6881"), on: "wan")
    var seen: Set<UInt16> = []
    for host in 20...40 {
      let sender = Host("192.168.1.20").advanced(by: host - 20)
      let outcome = gateway.receive(.udp(Peer(sender, 6882), stranger), on: "lan")
      seen.insert(try #require(outcome.forwarded?.decoded.source).port)
    }
    #expect(seen == Set(6870...6880).union(6890...6899))
    #expect(gateway.receive(.udp("192.168.1.41:6882", stranger), on: "lan").reason == .noPort)
  }

  @Test func `a mapping that has a port already keeps it, with its filtering, for as long as it lives`() throws {
    let gateway = try TestGateway(.masqueraded())
    // Before there is a trigger.
    gateway.receive(.udp(Peer(neighbor, 6881), client), on: "lan").expect(.forward)
    try gateway.reload { $0 = Self.plan() }
    ask(gateway, at: 1)
    gateway.receive(.udp(peer, Peer(wan, 6881)), on: "wan").expectDrop(.filtered)
    let answer = Packet.udp(client, Peer(wan, 6881))
    gateway.receive(answer, on: "wan").expectForward(answer.translated(to: Peer(neighbor, 6881)), on: "lan")
    knock(gateway, 6882, to: server, from: 1)
    knock(gateway, 6881, at: 302, to: server, from: 2)
  }

  @Test func `a mapping of the owner's own does not stand in its way`() throws {
    let gateway = try TestGateway(Self.plan())
    ask(gateway, port: 6112)
    knock(gateway, to: server, from: 1)
    // Answers come by the mapping's session, strangers by the trigger; both leave from the same endpoint.
    let back = Packet.udp(Peer(server, 6112), Peer(peer.host, 1))
    gateway.receive(back, on: "lan").expectForward(back.translated(from: Peer(wan, 6112)), on: "wan")
    gateway.receive(.udp(lobby, Peer(wan, 6112)), on: "wan").expect(.forward)
    // Closed, and the mapping is kept alive: only who was sent to gets through.
    for second in stride(from: 100.0, through: 700, by: 100) {
      gateway.receive(.udp(Peer(server, 6112), client), on: "lan", at: second).expect(.forward)
    }
    gateway.receive(.udp("198.51.100.98:9", Peer(wan, 6112)), on: "wan").expectDrop(.filtered)
  }

  @Test func `other inside hosts reach it by the outside address`() throws {
    let gateway = try TestGateway(Self.plan())
    let there = Packet.udp(Peer(neighbor, 7777), Peer(wan, 6881))
    gateway.receive(there, on: "lan").expectDrop(.toUs)
    ask(gateway)
    gateway.receive(there, on: "lan")
      .expectForward(there.translated(from: Peer(wan, 7777), to: Peer(server, 6881)), on: "lan")
    let back = Packet.udp(Peer(server, 6881), Peer(wan, 7777))
    gateway.receive(back, on: "lan")
      .expectForward(back.translated(from: Peer(wan, 6881), to: Peer(neighbor, 7777)), on: "lan")
  }

  @Test func `of a pool of outside addresses only the owner's own is open`() throws {
    let gateway = try TestGateway(
      Self.plan {
        $0.masquerades[0].externals = [IPv4Address(203, 0, 113, 5), IPv4Address(203, 0, 113, 6)]
      })
    let outcome = gateway.receive(.udp(Peer(server, 5000), lobby), on: "lan")
    let own = try #require(outcome.forwarded?.decoded.source).host
    let other: Host = own == "203.0.113.5" ? "203.0.113.6" : "203.0.113.5"
    gateway.receive(.udp(peer, Peer(own, 6881)), on: "wan").expect(.forward)
    gateway.receive(.udp(peer, Peer(other, 6881)), on: "wan").expectDrop(.triggerClosed)
    gateway.receive(.udp(peer, Peer(wan, 6881)), on: "wan").expectDrop(.noForward)
  }

  @Test func `a closed port is unsolicited like any other`() throws {
    let gateway = try TestGateway(
      Self.plan {
        $0.change("wan") { $0.unsolicited = .unreachable }
        $0.trigger("tcp", .tcp, when: "1", open: "2")
      })
    let outcome = gateway.receive(.udp(peer, Peer(wan, 6112)), on: "wan")
    #expect(outcome.reason == .triggerClosed && outcome.made.first?.decoded.icmp?.type == 3)
    gateway.receive(.tcp(peer, Peer(wan, 2), .syn), on: "wan").expectDrop(.triggerClosed)
    #expect(gateway.nextDeadline == 6)
  }
}
