import Glibc
import PacketTestKit
import Synchronization
import Testing

@testable import Engine

/// Whole forwarders on threads of their own and on one state, with frames of the same few sessions, neighbours that come
/// and go, and rules that change meanwhile: what `StressTests` is for the tables. For the thread sanitizer above all.
@Suite(.serialized) struct CrewTests {
  static let plan = Plan.ftp(more: {
    $0.sessions = 512
    $0.forward("web", .both, ports: "8080", to: "192.168.1.10:80")
    $0.forward("asked", .udp, ports: "9000-9100", to: "192.168.1.77")
    $0.forward("last", .udp, ports: "9200-9203", to: "192.168.1.11")
  })
  /// One forward leads elsewhere, and there are fewer of them.
  static let otherPlan = Plan.masqueraded(more: {
    $0.sessions = 512
    $0.forward("web", .both, ports: "8080", to: "192.168.1.12:80")
  })

  private static var bursts: Int {
    getenv("SLUICE_STRESS_OPERATIONS").flatMap { Int(String(cString: $0)) }.map { $0 / 1000 } ?? 3000
  }

  @Test(arguments: [2, 3])
  func `P8 workers on threads: every frame is accounted for, and nothing is left over, whatever the rules become`(
    workers: Int
  ) throws {
    let state = try EngineState(plan: Self.plan, seed: 5, clock: CrewMember.start, workers: workers)
    let stage = CrewStage(frames: try Self.frames(), workers: workers)
    let team = UnsafeMutablePointer<CrewMember>.allocate(capacity: workers)
    for worker in 0..<workers {
      (team + worker).initialize(
        to: CrewMember(
          try Forwarder(plan: Self.plan, links: [[0], [1]], sharing: state, worker: worker), worker, stage,
          bursts: Self.bursts))
    }
    defer {
      team.deinitialize(count: workers)
      team.deallocate()
      state.release()
    }
    onThreads(workers) { team[$0].run() }

    var counts = InterfaceCounts()
    for worker in 0..<workers {
      for interface in 0...1 { counts += team[worker].forwarder.counts(interface: interface) }
    }
    #expect(counts.received == (0..<workers).reduce(0) { $0 + team[$1].received })
    #expect(counts.received == counts.forwarded &+ counts.dropped &+ counts.consumed &+ counts.passed &+ counts.held)
    #expect(counts.forwarded > counts.received / 8, "\(counts)")
    #expect(
      team[0].replacements == Self.bursts / 50
        && (1..<workers).allSatisfy { team[$0].replacements == team[0].replacements })

    // All have the same rules now, and at one time they say the same of the table.
    let now = CrewMember.start + UInt64(Self.bursts + 50) * CrewMember.pace
    for worker in 0..<workers { team[worker].forwarder.advance(to: now) }
    let live = team[0].forwarder.sessionCounts
    #expect(live.created > 100 && live.live > 0)
    #expect((1..<workers).allSatisfy { team[$0].forwarder.sessionCounts == live })
    // G7: the table goes back to nothing. What waited for a neighbour is given up.
    let end = now + 100_000_000_000_000
    for round in 0..<4 {
      for worker in 0..<workers { team[worker].forwarder.advance(to: end + UInt64(round) * 1_000_000_000) }
    }
    #expect(team[0].forwarder.sessionCounts.live == 0)
    let held = (0..<workers).reduce(into: InterfaceCounts()) { sum, worker in
      for interface in 0...1 { sum += team[worker].forwarder.counts(interface: interface) }
    }.held
    #expect(held == 0)
  }

  /// Of FTP, with a client inside and with a server: both directions of a connection in different workers.
  private static var controlConnections: [(PacketTestKit.Packet, on: String)] {
    let (inside, far): (Peer, Peer) = (Peer(server, 6000), Peer(client.host, 21))
    let (caller, own): (Peer, Peer) = (Peer(client.host, 40_100), Peer(server, 21))
    return [
      (.tcp(inside, far, .syn, sequence: 1000), on: "lan"),
      (.tcp(far, Peer(wan, 6000), [.syn, .ack], sequence: 5000, acknowledgment: 1001), on: "wan"),
      (
        .tcp(inside, far, .ack, sequence: 1001, acknowledgment: 5001, "PORT 192,168,1,10,200,10\r\n"), on: "lan"
      ),
      (.tcp(far, Peer(wan, 6000), .ack, sequence: 5001, acknowledgment: 1026, "200 ok\r\n"), on: "wan"),
      (
        .tcp(inside, far, .ack, sequence: 1027, acknowledgment: 5009, "PORT 192,168,1,10,200,11\r\n"), on: "lan"
      ),
      (.tcp(Peer(client.host, 20), Peer(wan, 51_210), .syn), on: "wan"),
      (.tcp(Peer(client.host, 20), Peer(wan, 51_211), .syn), on: "wan"),
      (.tcp(caller, Peer(wan, 21), .syn, sequence: 1000), on: "wan"),
      (.tcp(own, caller, [.syn, .ack], sequence: 5000, acknowledgment: 1001), on: "lan"),
      (.tcp(caller, Peer(wan, 21), .ack, sequence: 1001, acknowledgment: 5001, "PASV\r\n"), on: "wan"),
      (.tcp(own, caller, .ack, sequence: 5001, acknowledgment: 1007, "227 (192,168,1,10,200,12)\r\n"), on: "lan"),
      (.tcp(caller, Peer(wan, 21), [.rst], sequence: 1007), on: "wan"),
      (.tcp(inside, far, [.rst], sequence: 1027), on: "lan"),
    ]
  }

  /// Frames of few sessions, both ways, and what neighbours say.
  private static func frames() throws -> [CrewStage.Frame] {
    let gateway = try TestGateway(plan)
    var packets: [(PacketTestKit.Packet, on: String)] = []
    for number: UInt16 in 0..<4 {
      let outside = Peer(client.host, 40_000 + number)
      let inside = Peer(Host(number: 0xC0A8_010A + UInt32(number % 3)), 5000 + number)
      packets += [
        (.udp(inside, outside, "question"), on: "lan"), (.udp(outside, Peer(wan, 5000 + number), "answer"), on: "wan"),
        (.tcp(outside, Peer(wan, 8080), .syn, sequence: 1), on: "wan"),
        (.tcp(Peer(server, 80), outside, [.syn, .ack], sequence: 9, acknowledgment: 2), on: "lan"),
        (.tcp(outside, Peer(wan, 8080), .ack, sequence: 2, acknowledgment: 10), on: "wan"),
        (.tcp(outside, Peer(wan, 8080), [.rst], sequence: 2), on: "wan"),
        (.udp(outside, Peer(wan, 8080), "request"), on: "wan"), (.udp(outside, Peer(wan, 9000 + number)), on: "wan"),
        (.udp(outside, Peer(wan, 9200 + number)), on: "wan"), (.udp(inside, Peer(wan, 8080), "hairpin"), on: "lan"),
        (.ping(inside, client.host), on: "lan"),
      ]
    }
    packets += controlConnections
    let answer = PacketTestKit.Packet.arp(
      operation: 2, sender: "02:77:00:00:00:01", "192.168.1.77", target: "02:00:00:00:02:01", "192.168.1.1")
    packets.append((answer, on: "lan"))
    return packets.map {
      CrewStage.Frame(bytes: gateway.addressed($0.0, on: $0.on).bytes, link: $0.on == "wan" ? 0 : 1)
    }
  }
}

/// What the members share besides the engine.
final class CrewStage: @unchecked Sendable {
  struct Frame {
    var bytes: [UInt8]
    var link: Int
  }

  let frames: [Frame]
  let workers: Int
  /// How often the rules were replaced, as each worker has it: as the gateway does it, the first one leads, and begins
  /// no other change before all have followed.
  let generations: UnsafeMutablePointer<Atomic<Int>>
  /// The first one has come to its end.
  let isDone: UnsafeMutablePointer<Atomic<Bool>>

  init(frames: [Frame], workers: Int) {
    self.frames = frames
    self.workers = workers
    generations = .allocate(capacity: workers)
    isDone = .allocate(capacity: 1)
    isDone.initialize(to: Atomic(false))
    for worker in 0..<workers { (generations + worker).initialize(to: Atomic(0)) }
  }

  deinit {
    generations.deallocate()
    isDone.deallocate()
  }
}

/// One worker and its thread's part.
struct CrewMember: ~Copyable {
  static let start: UInt64 = 1_000_000_000_000
  /// Nanoseconds from burst to burst.
  static let pace: UInt64 = 20_000_000
  private static let burst = 16
  private static let room = Forwarder.headroom + 256

  var forwarder: Forwarder
  private let worker: Int
  private let stage: CrewStage
  private let bursts: Int
  private var random: SplitMix64
  private let slots = UnsafeMutablePointer<FrameSlot>.allocate(capacity: Self.burst)
  private let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.burst * Self.room, alignment: 64)
  private(set) var received: UInt64 = 0
  private(set) var replacements = 0

  init(_ forwarder: consuming Forwarder, _ worker: Int, _ stage: CrewStage, bursts: Int) {
    self.forwarder = forwarder
    self.worker = worker
    self.stage = stage
    self.bursts = bursts
    random = SplitMix64(state: UInt64(worker) &* 7919 &+ 1)
  }

  deinit {
    slots.deallocate()
    buffer.deallocate()
  }

  mutating func run() {
    for number in 0..<bursts {
      let time = Self.start + UInt64(number) * Self.pace
      process(time)
      if worker > 0 {
        follow()
      } else if number % 50 == 49 {
        awaitOthers()
        replace()
      }
      switch random.next() % 64 {
      case 0:
        _ = forwarder.sleep()
        forwarder.wake()
      case 1: forwarder.advance(to: time + Self.pace / 2)
      case 2: _ = forwarder.sessions(limit: 20)
      default: break
      }
    }
    finish()
  }

  /// The first one may change the rules until its own end.
  private mutating func finish() {
    if worker == 0 { stage.isDone.pointee.store(true, ordering: .releasing) }
    var isDone = false
    while !isDone {
      isDone = stage.isDone.pointee.load(ordering: .acquiring)
      if worker > 0 { follow() }
      _ = forwarder.sleep()
      sched_yield()
    }
  }

  private mutating func process(_ time: UInt64) {
    let count = Int(random.next() % UInt64(Self.burst)) + 1
    for index in 0..<count {
      let frame = stage.frames[Int(random.next() % UInt64(stage.frames.count))]
      let start = buffer + index * Self.room + Forwarder.headroom
      start.copyMemory(from: frame.bytes, byteCount: frame.bytes.count)
      (slots + index).initialize(
        to: FrameSlot(
          bytes: start, length: frame.bytes.count, headroom: Forwarder.headroom, link: frame.link, time: time))
    }
    forwarder.process(slots, count: count)
    received += UInt64(count)
  }

  // MARK: Rules

  private var hasEverybodyFollowed: Bool {
    (0..<stage.workers).allSatisfy { stage.generations[$0].load(ordering: .acquiring) == replacements }
  }

  /// So that the number of changes does not depend on who gets a core when.
  private mutating func awaitOthers() {
    while !hasEverybodyFollowed {
      _ = forwarder.sleep()
      sched_yield()
      forwarder.wake()
    }
  }

  private mutating func follow() {
    if stage.generations[0].load(ordering: .acquiring) > replacements { replace() }
  }

  private mutating func replace() {
    replacements += 1
    let plan = replacements % 2 == 1 ? CrewTests.otherPlan : CrewTests.plan
    do { try forwarder.replace(Rules(plan)).release() } catch { fatalError("\(error)") }
    stage.generations[worker].store(replacements, ordering: .releasing)
  }
}
