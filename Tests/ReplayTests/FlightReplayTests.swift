import Capture
import Engine
import Foundation
import PacketTestKit
import Settings
import Testing

@testable import Replay

/// A flight recording is replayed from the engine's state in the midst of its life, with every answer as it was.
@Suite struct FlightReplayTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private static let configuration =
    twoInterfaces + """
      [[masquerade]]
      from = "lan"
      to = "wan"

      [[forward]]
      name = "web"
      on = "wan"
      protocol = "tcp"
      ports = "80"
      to = "192.168.1.10"

      [engine]
      sessions = 4096

      """

  /// Frames of many flows, both ways, some for neighbours that nobody knows yet and some in pieces.
  private static func frame(_ number: Int) -> (Packet, link: Int) {
    let inside = Peer(Host("192.168.1.20").advanced(by: number % 7), UInt16(4000 + number % 61))
    let peer = Peer(Host("198.51.100.7").advanced(by: number % 5), 53)
    switch number % 8 {
    case 0:
      return (.arp(operation: 1, sender: .of(inside.host), inside.host, "192.168.1.1"), 1)
    case 1: return (.tcp(peer, Peer("203.0.113.1", 80), .syn), 0)
    case 2: return (.udp(peer, Peer("203.0.113.1", UInt16(4000 + number % 61)), "back \(number)"), 0)
    case 3:
      return (.arp(operation: 1, sender: .of("203.0.113.254"), "203.0.113.254", "203.0.113.1"), 0)
    case 4: return (.ping(inside, peer.host), 1)
    default: return (.udp(inside, peer, String(repeating: "\(number)", count: 180)), 1)
    }
  }

  /// Records `count` frames and what the engine makes of them, in bursts of 16.
  private func record(_ count: Int, memory: Int = 1 << 20, state: Int = 64 << 20) throws -> Int {
    let settings = try SettingsFile(text: Self.configuration, file: "sluice.toml", purpose: .replay)
    let links = [[settings.plan.index(of: "wan")], [settings.plan.index(of: "lan")]]
    var forwarder = try Forwarder(plan: settings.plan, links: links, seed: 9, clock: TestGateway.epoch)
    let recorder = try FlightRecorder(links: 2, bytes: memory, stateBytes: state, isWhole: true, burst: 16)
    let slots = UnsafeMutablePointer<FrameSlot>.allocate(capacity: 16)
    let room = UnsafeMutableRawPointer.allocate(byteCount: 16 * 2048, alignment: 64)
    defer {
      slots.deallocate()
      room.deallocate()
    }
    for first in stride(from: 0, to: count, by: 16) {
      for index in 0..<16 {
        let (packet, link) = Self.frame(first + index)
        let home = settings.plan.interfaces[links[link][0]]
        let bytes = packet.with {
          $0.ethernet.destination = home.mac.map(Station.init(planned:))
          $0.ethernet.source = $0.ethernet.source ?? .of(packet.ip.source)
        }.bytes
        let start = room + index * 2048 + Forwarder.headroom
        start.copyMemory(from: bytes, byteCount: bytes.count)
        (slots + index).initialize(
          to: FrameSlot(
            bytes: start, length: bytes.count, headroom: Forwarder.headroom, link: link,
            time: TestGateway.epoch + UInt64(first + index) * 3_000_000))
      }
      if recorder.wantsState { recorder.keepState { forwarder.save(to: &$0) } }
      recorder.willJudge(slots, count: 16)
      forwarder.process(slots, count: 16)
      recorder.didJudge(slots, count: 16, outbox: forwarder.outbox)
    }
    let recording = recorder.copy()
    try FlightDirectory.write(
      recording, FlightState(plan: settings.plan, links: links, recording: recording),
      configuration: settings.normalised, to: directory("flight"), wallOffset: 0)
    return recording.replayable
  }

  @Test func `all from the start, where all is kept`() throws {
    #expect(try record(1600) == 1600)
    let result = try FlightReplay(path: directory("flight")).run(outputDirectory: directory("out"))
    #expect(result.difference == nil)
    #expect(result.entries == 1600 && result.earlier == 0)
    #expect(result.forwarded > 400 && result.dropped > 0)
  }

  @Test func `the beginning has given way: from the engine's state on, bit for bit`() throws {
    let replayable = try record(24_000)
    let result = try FlightReplay(path: directory("flight")).run(outputDirectory: nil)
    #expect(result.difference == nil)
    #expect(result.entries == replayable && replayable > 1000 && result.earlier > 0)
    #expect(result.forwarded > 400)
  }

  @Test func `a state that is damaged, or does not fit, is refused in a sentence`() throws {
    #expect(try record(160) == 160)
    let good = try directory.read("flight/engine.sluice")
    for place in [0, 100, good.count - 1] {
      var bytes = good
      bytes[place] ^= 1
      try directory.write(bytes, as: "flight/engine.sluice")
      let error = try #require(throws: CaptureError.self) {
        try FlightReplay(path: directory("flight")).run(outputDirectory: nil)
      }
      #expect("\(error)".contains("engine.sluice") && "\(error)".contains("damaged"))
    }
    try directory.write(good, as: "flight/engine.sluice")
    let text = String(decoding: try directory.read("flight/sluice.toml"), as: UTF8.self)
    try directory.write(
      Array(text.replacing(/sessions = 4096/, with: "sessions = 8192").utf8), as: "flight/sluice.toml")
    #expect(throws: PlanError.self) { try FlightReplay(path: directory("flight")).run(outputDirectory: nil) }
  }

  @Test func `a state too large for its memory is said to be missing`() throws {
    #expect(try record(160, state: 4096) == 0)
    let error = try #require(throws: CaptureError.self) {
      try FlightReplay(path: directory("flight")).run(outputDirectory: nil)
    }
    #expect("\(error)".contains("more state"))
  }
}
