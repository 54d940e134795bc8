import PacketTestKit
import Testing

@testable import Engine

/// Triggers with several workers on one engine's state: what one of them opens the others let in, and two hosts that ask
/// at once are one after the other for all.
@Suite struct TriggerWorkerTests {
  private typealias Packet = PacketTestKit.Packet

  private static let lobby: Peer = "198.51.100.7:6112"
  private static let second: UInt64 = 1_000_000_000

  private static func plan(_ conflict: TriggerPlan.Conflict, _ more: (inout Plan) -> Void = { _ in }) -> Plan {
    TriggerTests.plan(conflict) {
      $0.sessions = 65_536
      more(&$0)
    }
  }

  /// One worker and frames for it.
  private struct Worker: ~Copyable {
    var forwarder: Forwarder
    private let gateway: TestGateway
    private let slot = UnsafeMutablePointer<FrameSlot>.allocate(capacity: 1)
    private let room = UnsafeMutableRawPointer.allocate(byteCount: Forwarder.headroom + 256, alignment: 64)

    /// - Parameter gateway: tells what frames look like.
    init(_ forwarder: consuming Forwarder, _ gateway: TestGateway) {
      self.forwarder = forwarder
      self.gateway = gateway
    }

    deinit {
      slot.deallocate()
      room.deallocate()
    }

    /// The inside host that a packet was let in to; nil where it was not forwarded.
    mutating func host(of packet: Packet, on interface: String, at time: UInt64) -> UInt32? {
      let bytes = gateway.addressed(packet, on: interface).bytes
      let start = room + Forwarder.headroom
      start.copyMemory(from: bytes, byteCount: bytes.count)
      slot.initialize(
        to: FrameSlot(
          bytes: start, length: bytes.count, headroom: Forwarder.headroom, link: interface == "wan" ? 0 : 1, time: time)
      )
      forwarder.process(slot, count: 1)
      return slot.pointee.verdict == .forward ? slot.pointee.bytes.raw32(14 + IPv4Header.destinationOffset) : nil
    }
  }

  private func withWorkers(
    _ plan: Plan, _ count: Int = 2, _ body: (UnsafeMutablePointer<Worker>) throws -> Void
  ) throws {
    let state = try EngineState(plan: plan, seed: 5, clock: Self.second, workers: count)
    let workers = UnsafeMutablePointer<Worker>.allocate(capacity: count)
    let gateway = try TestGateway(plan)
    for number in 0..<count {
      let forwarder = try Forwarder(plan: plan, links: [[0], [1]], sharing: state, worker: number)
      (workers + number).initialize(to: Worker(forwarder, gateway))
    }
    defer {
      workers.deinitialize(count: count)
      workers.deallocate()
      state.release()
    }
    try body(workers)
  }

  private func ask(_ host: Host, _ port: UInt16 = 5000) -> Packet { .udp(Peer(host, port), Self.lobby) }
  private func knock(_ number: UInt16) -> Packet { .udp(Peer("198.51.100.99", number), Peer(wan, 6881)) }

  @Test func `what one worker opens, renews and lets lapse, another one lets in, and no longer`() throws {
    try withWorkers(Self.plan(.refuse)) { workers in
      func knock(_ number: UInt16, at second: UInt64) -> UInt32? {
        workers[1].host(of: self.knock(number), on: "wan", at: second * Self.second)
      }
      #expect(knock(1, at: 2) == nil && workers[1].forwarder.drops(interface: 0, reason: .triggerClosed) == 1)
      _ = workers[0].host(of: ask(server), on: "lan", at: 10 * Self.second)
      #expect(knock(2, at: 10) == server.planned.wire)
      #expect(workers[0].forwarder.openings == workers[1].forwarder.openings)
      // A packet of its established session, which goes by the burst loop of the one and is seen by the other.
      _ = workers[0].host(of: ask(server), on: "lan", at: 100 * Self.second)
      #expect(knock(3, at: 699) == server.planned.wire)
      #expect(knock(4, at: 701) == nil)
      // Asked by the other one from here on.
      #expect(workers[1].host(of: ask(server, 5001), on: "lan", at: 800 * Self.second) != nil)
      #expect(workers[0].host(of: self.knock(5), on: "wan", at: 1399 * Self.second) == server.planned.wire)
      #expect(workers[0].host(of: self.knock(6), on: "wan", at: 1401 * Self.second) == nil)
    }
  }

  @Test func `a second host at another worker is refused, or steals it, for both`() throws {
    for conflict in TriggerPlan.Conflict.allCases {
      try withWorkers(Self.plan(conflict)) { workers in
        _ = workers[0].host(of: ask(server), on: "lan", at: 10 * Self.second)
        _ = workers[1].host(of: ask(neighbor), on: "lan", at: 11 * Self.second)
        let owner = conflict == .refuse ? server.planned.wire : neighbor.planned.wire
        for number in 0..<2 {
          #expect(
            workers[number].host(of: knock(UInt16(number + 1)), on: "wan", at: 12 * Self.second) == owner,
            "\(conflict), worker \(number)")
          #expect(workers[number].forwarder.openings[0]?.owner.wire == owner)
        }
      }
    }
  }

  @Test func `rules that one worker has and the other not yet do no harm to what is open`() throws {
    let plan = Self.plan(.refuse)
    try withWorkers(plan) { workers in
      _ = workers[0].host(of: ask(server), on: "lan", at: 10 * Self.second)
      let other = Self.plan(.refuse) { $0.trigger("voice", when: "7000", open: "7001") }
      try workers[0].forwarder.replace(Rules(other)).release()
      #expect(workers[1].host(of: knock(1), on: "wan", at: 11 * Self.second) == server.planned.wire)
      try workers[1].forwarder.replace(Rules(other)).release()
      for number in 0..<2 {
        #expect(
          workers[number].host(of: knock(UInt16(number + 2)), on: "wan", at: 12 * Self.second) == server.planned.wire)
      }
      // And back: the second trigger's place is free again, the first one's as it was.
      for number in 0..<2 { try workers[number].forwarder.replace(Rules(plan)).release() }
      #expect(workers[1].host(of: knock(9), on: "wan", at: 13 * Self.second) == server.planned.wire)
    }
  }

  @Test(arguments: TriggerPlan.Conflict.allCases)
  func `P8 two hosts ask on threads of their own: one has it at a time, and with refuse always the same one`(
    conflict: TriggerPlan.Conflict
  ) throws {
    try withWorkers(Self.plan(conflict)) { workers in
      let hosts = [server, neighbor]
      let owners = UnsafeMutablePointer<Set<UInt32>>.allocate(capacity: 2)
      owners.initialize(repeating: [], count: 2)
      defer {
        owners.deinitialize(count: 2)
        owners.deallocate()
      }
      onThreads(2) { number in
        for round in 0..<1500 {
          let time = (10 + UInt64(round) / 100) * Self.second
          _ = workers[number].host(of: ask(hosts[number], UInt16(10_000 + round)), on: "lan", at: time)
          let peer = Peer("198.51.100.99", UInt16(10_000 + round * 2 + number))
          if let host = workers[number].host(of: .udp(peer, Peer(wan, 6881)), on: "wan", at: time) {
            owners[number].insert(host)
          }
        }
      }
      let seen = owners[0].union(owners[1])
      let known = Set(hosts.map(\.planned.wire))
      func count(of event: Event) -> UInt64 { (0..<2).reduce(0) { $0 + workers[$1].forwarder.count(of: event) } }
      #expect(count(of: .triggerOpened) == 1)
      if conflict == .refuse {
        #expect(seen.count == 1 && count(of: .triggerRefused) > 0 && count(of: .triggerStolen) == 0)
      } else {
        #expect(seen.isSubset(of: known) && !seen.isEmpty && count(of: .triggerStolen) > 0)
      }
      // They agree in the end.
      let owner = try #require(workers[0].forwarder.openings[0]?.owner.wire)
      for number in 0..<2 {
        #expect(workers[number].host(of: knock(UInt16(number + 1)), on: "wan", at: 40 * Self.second) == owner)
      }
    }
  }
}
