import Engine
import PacketTestKit
import Testing

/// ARP asked, answered, aged and held for (RFC 826; CONTRACT "As a router"; L7).
@Suite struct NeighborTests {
  private let unknown: Host = "192.168.1.77"
  private let station: Station = "02:77:00:00:00:01"

  private func gateway(_ more: (inout Plan) -> Void = { _ in }) throws -> TestGateway {
    try TestGateway(
      .masqueraded(more: {
        $0.forward("web", .udp, ports: "80-200", to: "192.168.1.77")
        more(&$0)
      }))
  }

  private func datagram(_ index: Int = 0) -> Packet { .udp(client, Peer(wan, UInt16(80 + index)), "number \(index)") }

  /// An ARP request of the gateway for `host` on lan.
  private func isRequest(_ frame: TestGateway.Emitted, for host: Host) -> Bool {
    frame.interface == "lan"
      && frame.decoded.arp
        == Decoded.ARP(
          operation: 1, sender: "02:00:00:00:02:01", senderHost: "192.168.1.1", target: "00:00:00:00:00:00",
          targetHost: host)
  }

  private func reply(_ from: Station? = nil) -> Packet {
    .arp(operation: 2, sender: from ?? station, unknown, target: "02:00:00:00:02:01", "192.168.1.1")
  }

  @Test func `the first frame for an unknown neighbour is held and asked for, broadcast and unpadded`() throws {
    let gateway = try gateway()
    let outcome = gateway.receive(datagram(), on: "wan")
    outcome.expect(.hold)
    let request = try #require(outcome.made.first)
    #expect(outcome.made.count == 1 && isRequest(request, for: unknown))
    #expect(request.bytes.count == 42 && request.decoded.ethernet?.destination == .broadcast)
    #expect(request.decoded.ethernet?.source == "02:00:00:00:02:01")
    #expect(gateway.counts("wan").held == 1 && gateway.counts("lan").generated == 1)
  }

  @Test func `an answer lets go what was held, in order, to the station that answered`() throws {
    let gateway = try gateway()
    for index in 0..<3 { gateway.receive(datagram(index), on: "wan").expect(.hold) }
    let answered = gateway.receive(reply(), on: "lan", at: 0.5)
    answered.expect(.consume)
    #expect(answered.made.count == 3)
    for (index, frame) in answered.made.enumerated() {
      let expected = datagram(index).translated(to: Peer(unknown, UInt16(80 + index)))
      #expect(frame.decoded.ethernet?.destination == station && frame.time == 0.5)
      #expect(Array(frame.bytes.dropFirst(14)) == expected.datagram)
    }
    #expect(gateway.counts("wan").held == 0 && gateway.counts("wan").forwarded == 3)
    #expect(gateway.counts("wan").generated == 0 && gateway.counts("lan").generated == 1)
    #expect(gateway.count(of: .neighborResolved) == 1)
    let next = gateway.receive(datagram(), on: "wan")
    #expect(next.forwarded?.decoded.ethernet?.destination == station)
  }

  @Test func `asked at 0, 1 and 2 s, failed at 3 s with no-neighbor for all that waited`() throws {
    let gateway = try gateway()
    gateway.receive(datagram(0), on: "wan").expect(.hold)
    gateway.receive(datagram(1), on: "wan", at: 0.4).expect(.hold)
    #expect(gateway.nextDeadline == 1)
    #expect(gateway.advance(to: 0.9).isEmpty)
    for second in [1.0, 2] {
      let made = gateway.advance(to: second)
      #expect(made.count == 1 && made.allSatisfy { isRequest($0, for: unknown) && $0.time == second })
    }
    #expect(gateway.advance(to: 2.9).isEmpty && gateway.counts("wan").held == 2)
    #expect(gateway.advance(to: 3).isEmpty, "nobody outside is told")
    #expect(gateway.drops(.noNeighbor, on: "wan") == 2 && gateway.counts("wan").held == 0)
    #expect(gateway.count(of: .neighborFailed) == 1)
  }

  @Test func `timers passed over in one step fire with their own times, before the frame`() throws {
    let gateway = try gateway()
    gateway.receive(datagram(), on: "wan").expect(.hold)
    let made = gateway.advance(to: 60)
    #expect(made.map(\.time) == [1, 2])
    #expect(gateway.drops(.noNeighbor) == 1)
  }

  @Test func `inside senders are told host unreachable`() throws {
    let gateway = try gateway {
      $0.interface("dmz", .inside, "10.1.0.1/16", mac: "02:00:00:00:04:01"); $0.neighbor("10.1.0.5")
    }
    let packet = Packet.udp("10.1.0.5:4000", Peer(unknown, 80))
    gateway.receive(packet, on: "dmz").expect(.hold)
    let made = gateway.advance(to: 3)
    let error = try #require(made.last)
    #expect(made.count == 3 && error.interface == "dmz" && error.time == 3)
    #expect(error.decoded.icmp?.type == 3 && error.decoded.icmp?.code == 1)
    #expect(error.decoded.ip?.source == "10.1.0.1" && error.decoded.ip?.destination == "10.1.0.5")
    #expect(error.decoded.quote?.source == "10.1.0.5:4000" && error.decoded.checksumProblems().isEmpty)
  }

  @Test func `64 frames are held, the oldest give way first`() throws {
    let gateway = try gateway()
    for index in 0..<70 { gateway.receive(datagram(index), on: "wan").expect(.hold) }
    #expect(gateway.counts("wan").held == 64 && gateway.drops(.neighborQueueFull) == 6)
    let made = gateway.receive(reply(), on: "lan").made
    #expect(made.map { $0.decoded.text } == (6..<70).map { "number \($0)" })
  }

  @Test func `a neighbour is good for 60 s, then probed while used, and lost when silent`() throws {
    let gateway = try gateway()
    gateway.receive(datagram(), on: "wan").expect(.hold)
    gateway.receive(reply(), on: "lan").expect(.consume)
    let fresh = gateway.receive(datagram(), on: "wan", at: 59.9)
    #expect(fresh.verdict == .forward && fresh.made.isEmpty)
    // Due for a probe: the frame still goes, and one question with it (or by a timer soon after).
    let stale = gateway.receive(datagram(), on: "wan", at: 61)
    stale.expect(.forward)
    let questions = stale.made + gateway.advance(to: 61.5)
    #expect(questions.contains { $0.decoded.arp?.operation == 1 && $0.decoded.arp?.targetHost == unknown })
    gateway.receive(reply(), on: "lan", at: 61.6).expect(.consume)
    let confirmed = gateway.receive(datagram(), on: "wan", at: 100)
    #expect(confirmed.verdict == .forward && confirmed.made.isEmpty)
    // Nobody answers the next probe.
    gateway.receive(datagram(), on: "wan", at: 123).expect(.forward)
    gateway.advance(to: 130)
    gateway.receive(datagram(), on: "wan", at: 130).expect(.hold)
  }

  @Test func `an unused neighbour is not probed`() throws {
    let gateway = try gateway()
    gateway.receive(datagram(), on: "wan").expect(.hold)
    gateway.receive(reply(), on: "lan").expect(.consume)
    #expect(gateway.advance(to: 250).isEmpty)
  }

  @Test func `L7 ARP for our addresses is answered to the asker, also for external and only there`() throws {
    let gateway = try gateway { $0.forward("x", .tcp, ports: "80", to: "192.168.1.10", external: "203.0.113.5") }
    let router: Host = "203.0.113.254"
    for host: Host in ["203.0.113.1", "203.0.113.5"] {
      let outcome = gateway.receive(.arp(operation: 1, sender: .of(router), router, host), on: "wan")
      outcome.expect(.consume)
      let answer = try #require(outcome.made.first)
      #expect(outcome.made.count == 1 && answer.interface == "wan" && answer.bytes.count == 42)
      #expect(answer.decoded.ethernet?.destination == .of(router))
      #expect(
        answer.decoded.arp
          == Decoded.ARP(
            operation: 2, sender: "02:00:00:00:01:01", senderHost: host, target: .of(router), targetHost: router))
    }
    for (host, interface, asker): (Host, String, Host) in [
      ("203.0.113.7", "wan", router), ("192.168.1.1", "wan", router), ("203.0.113.1", "lan", server),
      ("192.168.1.10", "lan", server),
    ] {
      let outcome = gateway.receive(.arp(operation: 1, sender: .of(asker), asker, host), on: interface)
      outcome.expect(.consume)
      #expect(outcome.made.isEmpty, "\(host) on \(interface)")
    }
  }

  @Test func `L7 a request addressed to us teaches us the asker`() throws {
    let gateway = try gateway()
    gateway.receive(.arp(operation: 1, sender: station, unknown, "192.168.1.1"), on: "lan").expect(.consume)
    #expect(gateway.receive(datagram(), on: "wan").forwarded?.decoded.ethernet?.destination == station)
  }

  @Test func `L7 nothing is learnt from IP traffic or from ARP between others`() throws {
    let gateway = try gateway()
    gateway.receive(.udp(Peer(unknown, 4000), client) { $0.ethernet.source = station }, on: "lan").expect(.forward)
    gateway.receive(.arp(operation: 1, sender: station, unknown, "192.168.1.10"), on: "lan").expect(.consume)
    gateway.receive(datagram(), on: "wan").expect(.hold)
  }

  @Test func `L7 a known entry follows its host, a static one never moves`() throws {
    let gateway = try gateway()
    gateway.receive(datagram(), on: "wan").expect(.hold)
    gateway.receive(reply(), on: "lan").expect(.consume)
    let moved: Station = "02:77:00:00:00:02"
    gateway.receive(.arp(operation: 1, sender: moved, unknown, unknown), on: "lan").expect(.consume)
    #expect(gateway.receive(datagram(), on: "wan").forwarded?.decoded.ethernet?.destination == moved)

    let thief: Station = "02:66:00:00:00:01"
    for operation: UInt16 in [1, 2] {
      let claim = Packet.arp(operation: operation, sender: thief, "203.0.113.254", target: "02:00:00:00:01:01", wan)
      gateway.receive(claim, on: "wan").expect(.consume)
    }
    let out = Packet.udp("192.168.1.10:4000", client)
    gateway.receive(out, on: "lan").expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
  }

  @Test func `ARP that contradicts itself is malformed`() throws {
    let gateway = try gateway()
    let good = Packet.arp(operation: 1, sender: station, unknown, "192.168.1.1")
    let changes: [(String, (inout [UInt8]) -> Void)] = [
      ("hardware type", { $0[1] = 6 }), ("protocol type", { $0[2] = 0x86 }), ("hardware length", { $0[4] = 8 }),
      ("protocol length", { $0[5] = 16 }), ("operation 0", { $0[7] = 0 }), ("cut", { $0.removeLast() }),
    ]
    for (name, change) in changes {
      let outcome = gateway.receive(good.with { change(&$0.otherPayload!) }, on: "lan")
      #expect(outcome.verdict == .drop && outcome.made.isEmpty, "\(name): \(outcome.reason)")
    }
    gateway.receive(
      good.with {
        $0.otherPayload![8] ^= 1; $0.otherPayload![13] ^= 7
      }, on: "lan"
    ).expect(.drop)
    gateway.receive(datagram(), on: "wan").expect(.hold)
  }

  @Test func `a held frame is the engine's own copy and is sent rewritten`() throws {
    let gateway = try gateway {
      $0.forward("tcp", .tcp, ports: "443", to: "192.168.1.77:8443") { $0.source = .gateway }
    }
    let there = Packet.tcp(client, Peer(wan, 443), .syn) { $0.tcp.options = [2, 4, 5, 180] }
    gateway.receive(there, on: "wan").expect(.hold)
    let released = gateway.receive(reply(), on: "lan").made
    #expect(released.count == 1)
    #expect(
      released.first.map { Array($0.bytes.dropFirst(14)) }
        == there.translated(from: "192.168.1.1:40000", to: "192.168.1.77:8443").datagram)
  }
}
