import Engine
import PacketTestKit
import Testing

/// Same input and seed, same bytes out; burst size has no influence (CONTRACT "sluice replay").
@Suite struct DeterminismTests {
  /// A mixed bag of 600 frames with times, made from a small generator of its own.
  private static let traffic: [(Packet, on: String, Double)] = {
    var state: UInt64 = 42
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var time = 0.0
    return (0..<600).map { index in
      time += [0, 0, 0, 0.0001, 0.01, 7][random(6)]
      let inside = Peer(Host("192.168.1.10").advanced(by: random(3)), UInt16(4000 + random(8)))
      let outside = Peer(Host("198.51.100.7").advanced(by: random(4)), UInt16(80 + random(4)))
      switch random(12) {
      case 0...2: return (.udp(inside, outside, "\(index)"), "lan", time)
      case 3: return (.tcp(inside, outside, random(2) == 0 ? .syn : .ack), "lan", time)
      case 4: return (.tcp(outside, Peer(wan, UInt16(8000 + random(6))), .syn), "wan", time)
      case 5: return (.udp(outside, Peer(wan, inside.port)), "wan", time)
      case 6: return (.ping(inside, outside.host), "lan", time)
      case 7: return (.udp(inside, outside) { $0.ip.ttl = UInt8(random(3)) }, "lan", time)
      case 8: return (.udp(outside, Peer(wan, 9000)), "wan", time)
      case 9: return (.arp(operation: 1, sender: .of(inside.host), inside.host, "192.168.1.1"), "lan", time)
      case 10: return (.tcp(inside, Peer(wan, 8000), .syn), "lan", time)
      default: return (.udp(inside, outside, String(repeating: "x", count: 1600)), "lan", time)
      }
    }
  }()

  private struct Record: Equatable {
    var interface: String
    var bytes: [UInt8]
    var time: Double
  }

  private struct Run: Equatable {
    var frames: [Record]
    var counts: InterfaceCounts
    var live: Int
  }

  /// - Parameter hops: each burst is another engine's, which goes on from an image of the one before.
  private func run(seed: UInt64, burst size: Int, hops: Bool = false) throws -> Run {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.forward("web", [.tcp], ports: "8000-8003", to: "192.168.1.10:80")
        $0.forward("slow", [.udp], ports: "9000", to: "192.168.1.99")
      }), seed: seed, workers: hops ? 1 : nil)
    var frames: [Record] = []
    var index = 0
    while index < Self.traffic.count {
      if hops { gateway.hop() }
      let part = Self.traffic[index..<min(index + size, Self.traffic.count)]
      let arrivals = part.map { TestGateway.Arrival(gateway.addressed($0.0, on: $0.on).bytes, on: $0.on, at: $0.2) }
      frames += gateway.burst(arrivals).emitted.map { Record(interface: $0.interface, bytes: $0.bytes, time: $0.time) }
      index += size
    }
    frames += gateway.advance(to: 10_000).map { Record(interface: $0.interface, bytes: $0.bytes, time: $0.time) }
    return Run(frames: frames, counts: gateway.totals, live: gateway.live)
  }

  @Test func `one seed, one run: every byte and every time`() throws {
    let first = try run(seed: 7, burst: 8)
    let second = try run(seed: 7, burst: 8)
    #expect(first == second)
    #expect(first.frames.count > 300)
    let other = try run(seed: 8, burst: 8)
    #expect(first.frames != other.frames, "the seed must matter where ports are made")
  }

  @Test func `an engine that goes on from an image of another has no influence`() throws {
    let one = try run(seed: 7, burst: 8)
    let many = try run(seed: 7, burst: 8, hops: true)
    #expect(one.counts == many.counts && one.live == many.live)
    #expect(one.frames == many.frames)
  }

  @Test(arguments: [2, 3, 32, 64])
  func `burst size has no influence`(size: Int) throws {
    let single = try run(seed: 7, burst: 1)
    let burst = try run(seed: 7, burst: size)
    #expect(single.counts == burst.counts && single.live == burst.live)
    #expect(single.frames.count == burst.frames.count)
    for (index, pair) in zip(single.frames, burst.frames).enumerated() where pair.0 != pair.1 {
      Issue.record(
        "frame \(index)\n   alone: \(pair.0.time) \(pair.0.interface) \(Decoded(pair.0.bytes))\nin burst: \(pair.1.time) \(pair.1.interface) \(Decoded(pair.1.bytes))"
      )
      return
    }
  }

  @Test func `G7 when all timers ran out the table is as empty as at first`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: { $0.forward("web", [.tcp], ports: "8000-8003", to: "192.168.1.10:80") }))
    for (packet, interface, time) in Self.traffic { gateway.receive(packet, on: interface, at: time) }
    #expect(gateway.live > 0)
    gateway.advance(to: gateway.idleDeadline)
    #expect(gateway.live == 0 && gateway.sessionCounts.created == gateway.sessionCounts.expired)
    #expect(gateway.count(of: .mappingCreated) == gateway.count(of: .mappingExpired))
    #expect(gateway.totals.held == 0)
  }

  @Test func `frames of one burst see the sessions that earlier ones made`() throws {
    let gateway = try TestGateway(.masqueraded())
    let out = Packet.udp("192.168.1.10:4000", client)
    let back = Packet.udp(client, "203.0.113.1:4000")
    let result = gateway.burst([(out, on: "lan"), (back, on: "wan"), (out, on: "lan")])
    result.outcomes[0].expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
    result.outcomes[1].expectForward(back.translated(to: "192.168.1.10:4000"), on: "lan")
    result.outcomes[2].expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
    #expect(gateway.sessionCounts.created == 1)
  }

  @Test func `G6 made frames stand where their cause stood`() throws {
    let gateway = try TestGateway(.masqueraded())
    let out = Packet.udp("192.168.1.10:4000", client)
    let dying = out.with { $0.ip.ttl = 1 }
    let result = gateway.burst([(out, on: "lan"), (dying, on: "lan"), (out, on: "lan")])
    #expect(result.emitted.map { $0.decoded.icmp == nil ? "frame" : "error" } == ["frame", "error", "frame"])
  }
}
