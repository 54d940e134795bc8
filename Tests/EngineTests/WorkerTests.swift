import Engine
import PacketTestKit
import Testing

/// Several workers on one table are one gateway: whichever of them gets a frame, the same comes of it.
@Suite struct WorkerTests {
  private static let plan = Plan.masqueraded(more: {
    $0.forward("web", .both, ports: "8080", to: "192.168.1.10:80")
    $0.forward("unknown", .udp, ports: "9000-9100", to: "192.168.1.77")
  })
  /// With one forward retargeted, and the other gone.
  private static let otherPlan = Plan.masqueraded(more: {
    $0.forward("web", .both, ports: "8080", to: "192.168.1.12:80")
  })
  private static let boot = BootIdentity(high: 1, low: 2)

  /// Random traffic over few endpoints, in bursts, with answers, new neighbours, other rules, restarts and time that
  /// passes.
  private func run(workers: Int, seed: UInt64) throws -> [String] {
    var gateway = try TestGateway(Self.plan, seed: 3, boot: Self.boot, workers: workers)
    var random = TestRandom(seed)
    var log: [String] = []
    var time = 0.0
    for _ in 0..<150 {
      var packets: [(Packet, on: String)] = []
      for _ in 0..<Int(random.next() % 12 + 1) {
        let host = Host(number: 0xC0A8_0114 + UInt32(random.next() % 3))
        let peer = Host(number: 0xC633_6401 + UInt32(random.next() % 3))
        let port = UInt16(5000 + random.next() % 4)
        switch random.next() % 6 {
        case 0: packets.append((.udp(Peer(host, port), Peer(peer, 53), "question"), on: "lan"))
        case 1: packets.append((.udp(Peer(peer, 53), Peer(wan, port), "answer"), on: "wan"))
        case 2: packets.append((.tcp(Peer(peer, port), Peer(wan, 8080), .syn, sequence: 1), on: "wan"))
        case 3:
          packets.append(
            (
              .tcp("192.168.1.10:80", Peer(peer, port), [.syn, .ack], sequence: 9, acknowledgment: 2), on: "lan"
            ))
        case 4: packets.append((.udp(Peer(peer, port), Peer(wan, 9000 + UInt16(random.next() % 3)), "held"), on: "wan"))
        default: packets.append((.udp(Peer(host, port), Peer(wan, 8080), "hairpin"), on: "lan"))
        }
      }
      if random.next() % 8 == 0 {
        packets.append(
          (
            .arp(
              operation: 2, sender: "02:77:00:00:00:01", "192.168.1.77", target: "02:00:00:00:02:01", "192.168.1.1"),
            on: "lan"
          ))
      }
      time += Double(random.next() % 400) / 100
      let result = gateway.burst(packets, at: time)
      log += result.outcomes.map { "\($0.verdict) \($0.reason.name)" }
      log += Self.lines(result.emitted)
      if random.next() % 4 == 0 {
        time += Double(random.next() % 6000) / 100
        log += Self.lines(gateway.advance(to: time))
      }
      switch random.next() % 24 {
      case 0:
        log += Self.lines(try gateway.reload(gateway.plan == Self.plan ? Self.otherPlan : Self.plan))
        // How far a pass has come is each worker's own: all have come through.
        time += 12
        log += Self.lines(gateway.advance(to: time))
      case 1:
        log += Self.counts(gateway)
        let report: AdoptionReport
        (gateway, report) = try gateway.restarted(gateway.plan, boot: Self.boot)
        log.append("\(report.sessions) \(report.mappings) \(report.refused) \(report.damaged)")
      default: break
      }
    }
    return log + Self.counts(gateway)
  }

  private static func counts(_ gateway: TestGateway) -> [String] {
    // What the rules end may have expired before a worker comes by to see it.
    let events = Event.allCases.filter { $0 != .sessionRetargeted && $0 != .sessionCut }
    return ["\(gateway.totals) \(gateway.sessionCounts)"] + events.map { "\($0.name) \(gateway.count(of: $0))" }
  }

  /// Requests that are due at the same time, of several workers, have no order among them.
  private static func lines(_ frames: [TestGateway.Emitted]) -> [String] {
    var lines: [String] = []
    var requests: [String] = []
    for frame in frames {
      let line = "\(frame.interface) \(frame.time) \(frame.bytes)"
      if frame.decoded.arp?.operation == 1 {
        requests.append(line)
      } else {
        lines += requests.sorted() + [line]
        requests = []
      }
    }
    return lines + requests.sorted()
  }

  @Test(arguments: [1, 2, 3, 4] as [UInt64])
  func `two or three workers in turns: the very frames and counts of one`(seed: UInt64) throws {
    let one = try run(workers: 1, seed: seed)
    for workers in [2, 3] {
      let several = try run(workers: workers, seed: seed)
      #expect(one.count == several.count)
      for (index, (a, b)) in zip(one, several).enumerated() where a != b {
        Issue.record("\(workers) workers differ at \(index):\n  \(a.prefix(300))\n  \(b.prefix(300))")
        return
      }
    }
  }
}

/// SplitMix64 once more: tests draw nothing from the engine.
private struct TestRandom {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x1234_5678_9ABC_DEF1 }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
