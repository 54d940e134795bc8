import PacketTestKit
import Testing

@testable import Engine

/// Triggers under rules that are replaced, and over a restart.
@Suite struct TriggerChangeTests {
  private typealias Packet = PacketTestKit.Packet
  private static let boot = BootIdentity(high: 1, low: 2)
  private let lobby: Peer = "198.51.100.7:6112"

  private static func plan(_ change: (inout Plan) -> Void = { _ in }) -> Plan {
    TriggerTests.plan(more: {
      $0.sessions = 256
      change(&$0)
    })
  }

  private func ask(_ gateway: TestGateway, _ host: Host = server, port: UInt16 = 5000, at time: Double? = nil) {
    gateway.receive(.udp(Peer(host, port), lobby), on: "lan", at: time).expect(.forward)
  }

  private func remaining(_ gateway: TestGateway, _ trigger: Int = 0) -> Double? {
    gateway.openings[trigger].map { Double($0.remaining) / 1e9 }
  }

  // MARK: Reload

  @Test func `a reload leaves a trigger open that it does not change, whatever its place in the file`() throws {
    let gateway = try TestGateway(Self.plan())
    ask(gateway, at: 0)
    ask(gateway, at: 50)
    try gateway.reload {
      $0.forward(ports: "80", to: "192.168.1.12")
      let game = $0.triggers.removeFirst()
      $0.trigger("another", .tcp, when: "1", open: "2")
      $0.triggers.append(game)
    }
    gateway.advance(to: 100)
    #expect(gateway.openings[0] == nil && remaining(gateway, 1) == 550)
    // How long it stays open counts from the last packet, too.
    try gateway.reload { $0.triggers[1].seconds = 120 }
    #expect(remaining(gateway, 1) == 70)
    gateway.receive(.udp(stranger, Peer(wan, 6112)), on: "wan", at: 169).expect(.forward)
    gateway.receive(.udp(client, Peer(wan, 6112)), on: "wan", at: 171).expectDrop(.triggerClosed)
    ask(gateway, at: 172)
    try gateway.reload { $0.triggers[1].seconds = 10 }
    gateway.receive(.udp(client, Peer(wan, 6112)), on: "wan", at: 183).expectDrop(.triggerClosed)
  }

  @Test func `what is removed is closed at once, and what it let in ends with it`() throws {
    let gateway = try TestGateway(Self.plan())
    ask(gateway)
    let there = Packet.udp(stranger, Peer(wan, 6881))
    gateway.receive(there, on: "wan").expect(.forward)
    let other = Packet.udp(stranger, Peer(wan, 6112))
    gateway.receive(other, on: "wan").expect(.forward)
    // Another trigger by the same name: closed, until somebody asks again; sessions of ports that it has go on.
    try gateway.reload { $0.triggers[0].open = [PortRange(6112, 6112)] }
    #expect(gateway.openings == [nil])
    gateway.receive(there, on: "wan").expectDrop(.noForward)
    gateway.receive(other, on: "wan").expectForward(other.translated(to: "192.168.1.10:6112"), on: "lan")
    gateway.receive(.udp(client, Peer(wan, 6112)), on: "wan").expectDrop(.triggerClosed)
    ask(gateway)
    gateway.receive(.udp(client, Peer(wan, 6112)), on: "wan").expect(.forward)
    try gateway.reload { $0.triggers = [] }
    gateway.receive(other, on: "wan").expectDrop(.noForward)
    #expect(gateway.sessions().allSatisfy { $0.origin == .masquerade(0) } && gateway.live == 1)
  }

  @Test func `a forward takes its ports from a trigger, and a trigger is followed to a forward's place`() throws {
    let gateway = try TestGateway(Self.plan())
    ask(gateway)
    let there = Packet.udp(stranger, Peer(wan, 6881))
    gateway.receive(there, on: "wan").expect(.forward)
    try gateway.reload {
      $0.triggers = []
      $0.forward(.udp, ports: "6881", to: "192.168.1.12")
    }
    gateway.receive(there, on: "wan").expectForward(there.translated(to: "192.168.1.12:6881"), on: "lan")
    try gateway.reload { $0 = Self.plan() }
    gateway.receive(there, on: "wan").expectDrop(.triggerClosed)
  }

  @Test func `a trigger that comes with a reload is opened by the next packet of a session that lives already`() throws
  {
    let gateway = try TestGateway(Self.plan { $0.triggers = [] })
    ask(gateway, at: 0)
    ask(gateway, at: 1)
    try gateway.reload { $0 = Self.plan() }
    // The pass through the table, and a packet from outside, do not make it forget to ask.
    gateway.advance(to: 30)
    gateway.receive(.udp(lobby, Peer(wan, 5000)), on: "wan").expect(.forward)
    #expect(gateway.openings == [nil])
    ask(gateway, at: 31)
    #expect(remaining(gateway) == 600)
    // From then on it is an established session like any other, and keeps the trigger open.
    ask(gateway, at: 131)
    #expect(remaining(gateway) == 600)
  }

  // MARK: Restart

  @Test func `a restart leaves it open, for the time that remains`() throws {
    let first = try TestGateway(Self.plan(), boot: Self.boot)
    ask(first, at: 0)
    // By the burst loop alone: the opening's own word knows nothing of it.
    ask(first, at: 100)
    first.advance(to: 150)
    let (gateway, report) = try first.restarted(Self.plan(), boot: Self.boot, downFor: 50)
    #expect(report.sessions == 1 && report.refused == 0)
    #expect(gateway.openings == [OpeningReport(owner: server.planned, remaining: 500_000_000_000)])
    let there = Packet.udp(stranger, Peer(wan, 6881))
    gateway.receive(there, on: "wan", at: 699).expectForward(there.translated(to: "192.168.1.10:6881"), on: "lan")
    gateway.receive(.udp(client, Peer(wan, 6881)), on: "wan", at: 701).expectDrop(.triggerClosed)
    // What it has let in outlives a restart after its end.
    let (last, kept) = try gateway.restarted(Self.plan(), boot: Self.boot)
    #expect(kept.sessions == 1 && last.openings == [nil])
    last.receive(there, on: "wan").expectForward(there.translated(to: "192.168.1.10:6881"), on: "lan")
  }

  @Test func `closed by the time of the restart, changed, or of a host elsewhere: it begins closed`() throws {
    let first = try TestGateway(Self.plan { $0.timeouts.udp = 3000 }, boot: Self.boot)
    ask(first, at: 0)
    let (late, _) = try first.restarted(Self.plan { $0.timeouts.udp = 3000 }, boot: Self.boot, downFor: 601)
    #expect(late.openings == [nil] && late.live == 1)
    // The session that goes on opens it with its next packet.
    ask(late, at: 650)
    #expect(remaining(late) == 600)
    let changes: [(inout Plan) -> Void] = [
      { $0.triggers[0].name = "other" }, { $0.triggers[0].open = [PortRange(6112, 6112)] },
      { $0.triggers[0].when = [PortRange(6113, 6113)] }, { $0.triggers[0].protocols = .both },
    ]
    for change in changes {
      let (gateway, _) = try first.restarted(Self.plan(change), boot: Self.boot)
      #expect(gateway.openings == [nil])
    }
    let (shorter, _) = try first.restarted(Self.plan { $0.triggers[0].seconds = 60 }, boot: Self.boot, downFor: 20)
    #expect(remaining(shorter) == 40)
  }

  @Test func `of a damaged file no opening is believed that cannot be`() throws {
    let first = try TestGateway(Self.plan(), boot: Self.boot)
    ask(first, at: 10)
    let layout = RegionLayout(capacity: 256, pools: 1 + PortPools.spare)
    for owner in [IPv4Address(198, 51, 100, 1), IPv4Address(203, 0, 113, 9), IPv4Address(0)] {
      let copy = first.regionCopy
      defer { copy.deallocate() }
      let words = (copy.baseAddress! + layout.openingsOffset).assumingMemoryBound(to: UInt64.self)
      #expect(words[1] == Opening(owner: server.planned.wire, lastAsked: 100).rawValue)
      words[1] = Opening(owner: owner.wire, lastAsked: 100).rawValue
      let next = try TestGateway(Self.plan(), seed: 0, boot: Self.boot, from: 20)
      _ = next.adopt(try SavedRegion(copy, boot: Self.boot))
      #expect(next.openings == [nil])
    }
    let copy = first.regionCopy
    defer { copy.deallocate() }
    let words = (copy.baseAddress! + layout.openingsOffset).assumingMemoryBound(to: UInt64.self)
    words[1] = Opening(owner: server.planned.wire, lastAsked: 999_999).rawValue
    let next = try TestGateway(Self.plan(), seed: 0, boot: Self.boot, from: 20)
    _ = next.adopt(try SavedRegion(copy, boot: Self.boot))
    #expect(next.openings == [nil])
  }

  // MARK: Many

  @Test func `as many triggers as there is room for, exchanged for as many others, again and again`() throws {
    func plan(_ round: Int) -> Plan {
      Self.plan {
        $0.triggers = []
        for number in 0..<Openings.mostTriggers {
          let port = 10_000 + number
          $0.trigger("\(round)-\(number)", when: "\(port)", open: "\(port + 1000)")
        }
      }
    }
    let gateway = try TestGateway(plan(0))
    for round in 1...5 {
      gateway.receive(.udp("192.168.1.10:5000", "198.51.100.7:10127"), on: "lan").expect(.forward)
      #expect(gateway.openings.count == Openings.mostTriggers && gateway.openings[127] != nil)
      #expect(gateway.openings.dropLast().allSatisfy { $0 == nil })
      try gateway.reload { $0 = plan(round) }
      #expect(gateway.openings.allSatisfy { $0 == nil })
    }
    var much = plan(0)
    much.trigger("one more", when: "1", open: "2")
    #expect(throws: PlanError.self) { try TestGateway(much) }
  }
}
