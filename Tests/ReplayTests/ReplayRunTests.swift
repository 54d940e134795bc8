import Capture
import Engine
import PacketTestKit
import Testing

@testable import Replay

@Suite struct ReplayRunTests {
  private static let client: Peer = "198.51.100.7:40000"
  private static let server: Peer = "192.168.1.10:53"
  private static let outside: Peer = "203.0.113.1:8853"
  private static let router: Station = .of("203.0.113.254")

  private static func forwarding() -> Plan {
    .home { $0.forward("dns", .udp, ports: "8853", to: "192.168.1.10:53") }
  }

  @Test func `a forwarded datagram and its answer, byte for byte`() throws {
    var rig = try Rig(Self.forwarding())
    rig.receive(.udp(Self.client, Self.outside, "question"), on: "wan", at: 1.000000001)
    rig.receive(.udp(Self.server, Self.client, "answer"), on: "lan", at: 1.25)
    let (result, emitted) = try rig.replay()
    let question = Packet.udp(Self.client, Self.server, "question") { $0.ip.ttl = 63 }
    let answer = Packet.udp(Self.outside, Self.client, "answer") { $0.ip.ttl = 63 }
    #expect(
      emitted == [
        .init(interface: "wan", seconds: 1.25, frame: rig.departing(answer, on: "wan", to: Self.router)),
        .init(
          interface: "lan", seconds: 1.000000001, frame: rig.departing(question, on: "lan", to: .of(Self.server.host))),
      ])
    #expect(result.failure == nil)
    let report = result.report
    #expect(report.frames.received == 2 && report.frames.forwarded == 2)
    #expect(report.interfaces["wan"]?.received == 1 && report.interfaces["lan"]?.forwarded == 1)
    #expect(report.drops.isEmpty)
    #expect(report.sessions.created == 1 && report.sessions.live == 1 && report.sessions.expired == 0)
  }

  @Test func `every interface gets a file of its own kind, whether anything leaves there or not`() throws {
    var rig = try Rig(
      .home {
        $0.interface("tunnel", .inside, "10.9.0.1/24", mac: nil)
        $0.interface("spare", .inside, "10.8.0.1/24", mac: "02:00:00:00:03:01")
      })
    rig.receive(.udp("10.9.0.2:1", "192.168.1.10:2", "hello"), on: "tunnel", at: 0)
    let (_, emitted) = try rig.replay()
    #expect(
      emitted == [
        .init(
          interface: "lan", seconds: 0,
          frame: rig.departing(
            .udp("10.9.0.2:1", "192.168.1.10:2", "hello") { $0.ip.ttl = 63 }, on: "lan", to: .of("192.168.1.10")))
      ])
    for (name, link) in [("wan", CaptureLink.ethernet), ("lan", .ethernet), ("tunnel", .rawIP), ("spare", .ethernet)] {
      let reader = try CaptureReader(path: rig.directory("out/\(name).pcap"))
      #expect(reader.link == link)
    }
  }

  @Test func `an older frame is judged and stamped at the clock`() throws {
    var rig = try Rig(Self.forwarding())
    for (seconds, text) in [(5.0, "first"), (3.0, "late"), (5.5, "last")] {
      rig.receive(.udp(Self.client, Self.outside, text), on: "wan", at: seconds)
    }
    let (_, emitted) = try rig.replay()
    #expect(emitted.map(\.seconds) == [5, 5, 5.5])
    #expect(emitted.map(\.decoded.text) == ["first", "late", "last"])
  }

  @Test func `an unknown next hop is asked for, and an answer in the input resolves it`() throws {
    var plan = Self.forwarding()
    plan.neighbors.removeAll { $0.address == Self.server.host.planned }
    var rig = try Rig(plan)
    let station: Station = "02:00:00:00:00:10"
    rig.receive(.udp(Self.client, Self.outside, "question"), on: "wan", at: 1)
    rig.receive(
      .arp(operation: 2, sender: station, Self.server.host, target: "02:00:00:00:02:01", "192.168.1.1"), on: "lan",
      at: 2.5
    )
    let (result, emitted) = try rig.replay()
    let question = Packet.udp(Self.client, Self.server, "question") { $0.ip.ttl = 63 }
    #expect(emitted.map(\.seconds) == [1, 2, 2.5])
    #expect(emitted.prefix(2).allSatisfy { $0.decoded.arp?.targetHost == Self.server.host })
    #expect(emitted.last?.frame == rig.departing(question, on: "lan", to: station))
    #expect(result.report.frames.held == 0 && result.report.frames.forwarded == 1)
    #expect(result.report.frames.consumed == 1)
    #expect(result.report.interfaces["lan"]?.generated == 2)
  }

  // MARK: The end of time

  private func asking() throws -> Rig {
    var plan = Self.forwarding()
    plan.neighbors.removeAll { $0.address == Self.server.host.planned }
    var rig = try Rig(plan)
    rig.receive(.udp(Self.client, Self.outside, "question"), on: "wan", at: 1)
    return rig
  }

  @Test func `after the last frame the clock stops unless told to run on`() throws {
    let rig = try asking()
    let stopped = try rig.replay()
    #expect(stopped.emitted.map(\.seconds) == [1])
    #expect(stopped.result.report.frames.held == 1)
    #expect(stopped.result.report.sessions.live == 1)

    let later = try rig.replay { $0.end = .after(nanoseconds: 1_500_000_000) }
    #expect(later.emitted.map(\.seconds) == [1, 2])

    let failed = try rig.replay { $0.end = .after(nanoseconds: 60_000_000_000) }
    #expect(failed.emitted.map(\.seconds) == [1, 2, 3])
    #expect(failed.result.report.frames.held == 0)
    #expect(failed.result.report.drops == ["no-neighbor": 1])
    #expect(failed.result.report.sessions.live == 1)

    for far in [400_000_000_000, UInt64.max] {
      let ended = try rig.replay { $0.end = .after(nanoseconds: far) }
      #expect(ended.result.report.sessions.live == 0 && ended.result.report.sessions.expired == 1)
    }
    let idle = try rig.replay { $0.end = .idle }
    #expect(idle.emitted == failed.emitted)
    #expect(idle.result.report.sessions.live == 0 && idle.result.report.sessions.expired == 1)
  }

  @Test func `a session is alive until its time is over, by the clock alone`() throws {
    var rig = try Rig(Self.forwarding())
    rig.receive(.udp(Self.client, Self.outside, "question"), on: "wan", at: 1)
    for (seconds, live) in [(299.0, 1 as UInt64), (301, 0)] {
      let (result, _) = try rig.replay { $0.end = .after(nanoseconds: UInt64(seconds * 1e9)) }
      #expect(result.report.sessions.live == live, "\(seconds) s")
      #expect(result.report.sessions.expired == 1 - live, "\(seconds) s")
    }
  }

  @Test func `a time that pcap cannot hold ends the replay, with everything before it written`() throws {
    let rig = try asking()
    let last = CaptureBytes.Record(
      Packet.udp(Self.client, Self.outside) { $0.ethernet.destination = "02:00:00:00:01:01" }.bytes,
      seconds: UInt64(UInt32.max))
    let path = try rig.directory.write(CaptureBytes.pcap([last]), as: "late.pcap")
    var run = ReplayRun(plan: rig.plan, inputs: [.init(interface: 0, path: path)], outputDirectory: nil)
    run.end = .idle
    let played = try Played(run, in: rig.directory)
    #expect(played.result.failure?.message.contains("time that pcap cannot hold") == true)
    #expect(played.result.failure?.path.hasSuffix("lan.pcap") == true)
    #expect(played.outputs.map(\.time) == [UInt64(UInt32.max) * 1_000_000_000])
    #expect(played.result.report.frames.received == 1)
  }

  // MARK: Failure

  @Test func `what was read before the damage is replayed and reported`() throws {
    var rig = try Rig(Self.forwarding())
    for index in 0..<50 {
      rig.receive(.udp(Self.client, Self.outside, "\(index)"), on: "wan", at: Double(index))
    }
    let path = try rig.inputs()[0].path
    let bytes = try rig.directory.read("wan.in.pcap")
    try rig.directory.write(Array(bytes.dropLast(10)), as: "wan.in.pcap")
    var run = ReplayRun(plan: rig.plan, inputs: [.init(interface: 0, path: path)], outputDirectory: nil)
    // Nor does the clock run on behind a hole.
    run.end = .idle
    let played = try Played(run, in: rig.directory)
    #expect(played.result.failure?.path == path)
    #expect(played.result.failure?.offset != nil)
    #expect(played.result.report.frames.received == 49)
    #expect(played.outputs.count == 49)
    #expect(played.result.report.sessions.live == 1)
  }

  @Test func `an output that cannot be written is an error before anything is read`() throws {
    let rig = try asking()
    try rig.directory.write([1], as: "file")
    var run = ReplayRun(plan: rig.plan, inputs: try rig.inputs(), outputDirectory: rig.directory("file"))
    #expect(throws: CaptureError.self) { try run.run() }
    run.plan.interfaces[0].name = "../wan"
    run.outputDirectory = rig.directory("out")
    #expect(throws: ReplayError.noFileName(interface: "../wan")) { try run.run() }
  }

  @Test func `a capture may be replayed into the place it is read from`() throws {
    var rig = try Rig(Self.forwarding())
    rig.receive(.udp(Self.client, Self.outside, "question"), on: "wan", at: 1)
    _ = try rig.inputs()
    try rig.directory.write(try rig.directory.read("wan.in.pcap"), as: "wan.pcap")
    let run = ReplayRun(
      plan: rig.plan, inputs: [.init(interface: 0, path: rig.directory("wan.pcap"))],
      outputDirectory: rig.directory.path)
    let result = try run.run()
    #expect(result.failure == nil && result.report.frames.forwarded == 1)
    #expect(try Played.frames(rig.directory("lan.pcap"), on: "lan").count == 1)
    #expect(try Played.frames(rig.directory("wan.pcap"), on: "wan").isEmpty)
  }

  @Test func `Ethernet without a station cannot begin`() throws {
    var rig = try asking()
    rig.plan.interfaces[1].mac = nil
    let run = ReplayRun(plan: rig.plan, inputs: try rig.inputs(), outputDirectory: nil)
    // Nothing says that lan is on Ethernet: it is taken for raw IP.
    #expect(throws: Never.self) { try run.run() }
    rig.plan.interfaces[0].mac = nil
    let bare = ReplayRun(plan: rig.plan, inputs: try rig.inputs(), outputDirectory: nil)
    #expect(throws: ReplayError.noMAC(links: [.ethernet, .rawIP])) { try bare.run() }
  }

  // MARK: Seeds

  /// Many inside hosts with one source port: all but one get a random one.
  @Test func `the seed settles every choice`() throws {
    var rig = try Rig(
      .home {
        $0.masquerade()
        $0.neighbors.removeAll { $0.interface == 1 }
      })
    for index in 0..<64 {
      rig.receive(
        .udp(Peer(Host("192.168.1.20").advanced(by: index), 5000), "198.51.100.7:9", "x"), on: "lan", at: Double(index))
    }
    let first = try rig.replay()
    #expect(first.emitted.count == 64)
    #expect(Set(first.emitted.map { $0.decoded.source }).count == 64)
    #expect(try rig.replay().emitted == first.emitted)
    #expect(try rig.replay { $0.burstFrames = 1 }.emitted == first.emitted)
    #expect(try rig.replay { $0.seed = 1 }.emitted != first.emitted)
  }
}
