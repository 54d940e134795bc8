import Engine
import PacketTestKit
import Testing

/// UDP idle times in virtual time (RFC 4787 REQ-5, REQ-6; RFC 7857 section 7).
@Suite struct UDPTimerTests {
  private let inside: Peer = "192.168.1.10:4000"
  private let out = Packet.udp("192.168.1.10:4000", client)
  private let probe = Packet.udp(client, "203.0.113.1:4000")

  private func open(_ rule: EndpointRule = .addressDependent, at time: Double = 0) throws -> TestGateway {
    let gateway = try TestGateway(.masqueraded { $0.filtering = rule })
    gateway.receive(out, on: "lan", at: time).expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
    return gateway
  }

  @Test(arguments: [119.0, 299])
  func `U7 alive when idle for 119 s and 299 s`(time: Double) throws {
    try open().receive(probe, on: "wan", at: time).expectForward(probe.translated(to: inside), on: "lan")
  }

  @Test(arguments: [300.0, 301, 100_000])
  func `U7 gone at 300 s, judged by the frame's own time`(time: Double) throws {
    let gateway = try open()
    gateway.receive(probe, on: "wan", at: time).expectDrop(.noForward)
    #expect(gateway.live == 0 && gateway.sessionCounts.expired == 1)
  }

  @Test func `due times are rounded up to ticks of 100 ms, never early`() throws {
    try open(at: 0.03).receive(probe, on: "wan", at: 300.03).expect(.forward)
    try open(at: 0.03).receive(probe, on: "wan", at: 300.099).expect(.forward)
    try open(at: 0.03).receive(probe, on: "wan", at: 300.1).expectDrop(.noForward)
  }

  @Test func `sessions are judged by the clock, swept or not`() throws {
    let gateway = try open()
    #expect(gateway.sessionCounts.created == 1 && gateway.live == 1 && gateway.sessions().count == 1)
    #expect(gateway.idleDeadline == 300)
    gateway.advance(to: 299.9)
    #expect(gateway.live == 1)
    gateway.advance(to: 300)
    #expect(gateway.sessionCounts.expired == 1 && gateway.live == 0 && gateway.sessions().isEmpty)
  }

  @Test func `U8 traffic in either direction refreshes`() throws {
    let gateway = try open()
    for step in 1...10 { gateway.receive(probe, on: "wan", at: Double(step) * minute).expect(.forward) }
    gateway.receive(probe, on: "wan", at: 600 + 299).expect(.forward)
    gateway.receive(out, on: "lan", at: 899 + 299).expect(.forward)
    gateway.receive(probe, on: "wan", at: 1198 + 299).expect(.forward)
    #expect(gateway.sessionCounts.created == 1)
  }

  @Test func `U8 without inbound refresh only the inside keeps a mapping alive`() throws {
    let gateway = try TestGateway(.masqueraded { $0.inboundRefresh = false })
    gateway.receive(out, on: "lan").expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
    for step in 1...29 {
      gateway.receive(probe, on: "wan", at: Double(step) * 10).expectForward(probe.translated(to: inside), on: "lan")
    }
    gateway.receive(probe, on: "wan", at: 299.95).expect(.forward)
    gateway.receive(probe, on: "wan", at: 300).expectDrop(.noForward)
  }

  @Test func `U8 nor does a new peer's datagram that the filtering lets in`() throws {
    let gateway = try TestGateway(
      .masqueraded {
        $0.inboundRefresh = false
        $0.filtering = .endpointIndependent
      })
    gateway.receive(out, on: "lan").expect(.forward)
    gateway.receive(.udp(stranger, "203.0.113.1:4000"), on: "wan", at: 200).expect(.forward)
    gateway.receive(.udp(stranger, "203.0.113.1:4000"), on: "wan", at: 299).expect(.forward)
    gateway.receive(.udp("198.51.100.100:1", "203.0.113.1:4000"), on: "wan", at: 300).expectDrop(.noForward)
    // What the inside sends still counts, to whomever.
    gateway.receive(out, on: "lan", at: 301).expect(.forward)
    gateway.receive(.udp(stranger, "203.0.113.1:4000"), on: "wan", at: 302).expect(.forward)
    gateway.receive(.udp(inside, stranger), on: "lan", at: 500).expect(.forward)
    gateway.receive(.udp(stranger, "203.0.113.1:4000"), on: "wan", at: 799).expect(.forward)
  }

  @Test func `a forward may have idle times of its own`() throws {
    let gateway = try TestGateway(
      .home {
        $0.forward(.both, ports: "53", to: "192.168.1.10") {
          var own = TimeoutPlan()
          own.udp = 30
          own.udpDNS = 20
          own.tcpOpening = 40
          $0.timeouts = own
        }
        $0.forward("other", .both, ports: "54", to: "192.168.1.10")
      })
    for port: UInt16 in [53, 54] {
      gateway.receive(.udp(client, Peer(wan, port)), on: "wan").expect(.forward)
      gateway.receive(.tcp(client, Peer(wan, port), .syn), on: "wan").expect(.forward)
    }
    for (time, live) in [(19.9, 4), (20, 3), (39.9, 3), (40, 2), (239.9, 2), (240, 1), (300, 0)] {
      gateway.advance(to: time)
      #expect(gateway.live == live, "\(time)")
    }
  }

  @Test func `U9 what was filtered refreshes nothing`() throws {
    let gateway = try open()
    for step in 1...29 {
      gateway.receive(.udp(stranger, "203.0.113.1:4000"), on: "wan", at: Double(step) * 10).expectDrop(.filtered)
    }
    gateway.receive(probe, on: "wan", at: 300).expectDrop(.noForward)
  }

  @Test func `U9 I9 ICMP errors refresh nothing`() throws {
    let gateway = try open()
    let error = Packet.icmpError(
      type: 3, code: 3, from: client.host, to: wan, about: out.translated(from: "203.0.113.1:4000"))
    for step in 1...29 { gateway.receive(error, on: "wan", at: Double(step) * 10).expect(.forward) }
    gateway.receive(probe, on: "wan", at: 300).expectDrop(.noForward)
  }

  @Test func `U9 I9 nor do errors that the inside sends about what came in`() throws {
    let gateway = try open()
    let quoted = probe.translated(to: inside)
    let error = Packet.icmpError(type: 3, code: 3, from: server, to: client.host, about: quoted)
    for step in 1...29 { gateway.receive(error, on: "lan", at: Double(step) * 10).expect(.forward) }
    gateway.receive(probe, on: "wan", at: 300).expectDrop(.noForward)
  }

  @Test func `a frame dropped for its TTL refreshes nothing`() throws {
    let gateway = try open()
    gateway.receive(probe.with { $0.ip.ttl = 1 }, on: "wan", at: 200).expect(.drop)
    gateway.receive(probe, on: "wan", at: 300).expectDrop(.noForward)
  }

  @Test func `U14 no ICMP deletes a mapping, whatever its type and code`() throws {
    let gateway = try open()
    let about = out.translated(from: "203.0.113.1:4000")
    for type: UInt8 in 0...18 {
      for code: UInt8 in [0, 1, 2, 3, 4, 13, 255] {
        gateway.receive(.icmpError(type: type, code: code, from: client.host, to: wan, about: about), on: "wan")
      }
    }
    gateway.receive(probe, on: "wan").expectForward(probe.translated(to: inside), on: "lan")
    #expect(gateway.live == 1)
  }

  @Test func `DNS outward lives 10 s`() throws {
    for (time, verdict) in [(9.9, Verdict.forward), (10, .drop)] {
      let gateway = try TestGateway(.masqueraded())
      gateway.receive(.udp(inside, "198.51.100.7:53"), on: "lan").expect(.forward)
      gateway.receive(.udp("198.51.100.7:53", "203.0.113.1:4000"), on: "wan", at: time).expect(verdict)
    }
  }

  @Test func `DNS by a forward lives 10 s, by its original destination port (RFC 4787 REQ-5a)`() throws {
    let gateway = try TestGateway(
      .home {
        $0.forward(.udp, ports: "53", to: "192.168.1.10:5353")
        $0.forward("other", .udp, ports: "5353", to: "192.168.1.11:53")
      })
    gateway.receive(.udp(client, Peer(wan, 53)), on: "wan").expect(.forward)
    gateway.receive(.udp(client, Peer(wan, 5353)), on: "wan").expect(.forward)
    #expect(gateway.live == 2)
    gateway.advance(to: 9.9)
    #expect(gateway.live == 2)
    gateway.advance(to: 10)
    #expect(gateway.live == 1)
    gateway.advance(to: 300)
    #expect(gateway.live == 0)
  }

  @Test func `configured idle times replace the defaults`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.timeouts.udp = 120 }))
    gateway.receive(out, on: "lan").expect(.forward)
    gateway.advance(to: 119.9)
    #expect(gateway.live == 1)
    gateway.advance(to: 120)
    #expect(gateway.live == 0)
  }

  @Test func `a mapping lives as long as the last of its sessions`() throws {
    let gateway = try open()
    gateway.receive(.udp(inside, stranger), on: "lan", at: 200).expect(.forward)
    gateway.advance(to: 300)
    #expect(gateway.live == 1)
    gateway.receive(.udp(stranger, "203.0.113.1:4000"), on: "wan", at: 450).expect(.forward)
    gateway.advance(to: 750)
    #expect(gateway.live == 0 && gateway.count(of: .mappingExpired) == 1)
  }

  @Test func `an older frame is judged and stamped at the clock`() throws {
    let gateway = try open()
    gateway.receive(out, on: "lan", at: 100).expect(.forward)
    let late = gateway.receive(probe, on: "wan", at: 50)
    #expect(late.forwarded?.time == 100)
    gateway.receive(probe, on: "wan", at: 399.9).expect(.forward)
  }
}
