import Capture
import Engine
import PacketTestKit
import Synchronization
import Testing

@testable import Replay

/// What a replay reads, how often and how fast, has no other influence than it should.
@Suite struct ReplaySpeedTests {
  private func rig() throws -> Rig {
    var plan = Plan.home()
    plan.forward("dns", .udp, ports: "8853", to: "192.168.1.10:53")
    var rig = try Rig(plan)
    for index in 0..<40 {
      let port = UInt16(index % 2 == 0 ? 8853 : 99)
      rig.receive(
        .udp(Peer("198.51.100.7", 4000 + UInt16(index % 4)), Peer("203.0.113.1", port), "\(index)"), on: "wan",
        at: Double(index) / 10)
    }
    return rig
  }

  @Test func `a filter takes frames out as if they were not there`() throws {
    let rig = try rig()
    let filter = try CaptureFilter("udp dst port 8853 and src port 4002")
    let filtered = try rig.replay { $0.filter = filter }
    #expect(filtered.result.report.frames.received == 10)
    #expect(filtered.result.report.frames.forwarded == 10)
    #expect(filtered.result.report.drops.isEmpty)
    #expect(filtered.emitted.count == 10)
    // Damage is found at its place whether the frames before it matched or not.
    let whole = try rig.directory.read("wan.in.pcap")
    let path = try rig.directory.write(Array(whole.dropLast()), as: "cut.pcap")
    for text in ["udp", "tcp"] {
      let reader = try CaptureReader(path: path, filter: try CaptureFilter(text))
      let error = #expect(throws: CaptureError.self) { while try reader.next() != nil {} }
      #expect(error?.offset == whole.count - 16 - 44)
    }
  }

  @Test func `a filter that is none says so`() throws {
    for text in ["udp dst port nowhere", "and", "host"] {
      #expect(throws: CaptureFilter.Mistake.self) { try CaptureFilter(text) }
    }
  }

  @Test func `every pass comes behind the one before, and meets the sessions it left`() throws {
    let rig = try rig()
    let once = try rig.replay()
    let three = try rig.replay { $0.loops = 3 }
    #expect(three.result.report.frames.received == 3 * once.result.report.frames.received)
    #expect(three.result.report.sessions.created == once.result.report.sessions.created)
    #expect(three.emitted.map(\.frame) == Array(repeating: once.emitted.map(\.frame), count: 3).flatMap { $0 })
    let pass = 3.9 + Double(ReplayLoop.passGap) / 1e9
    #expect(abs(three.emitted[once.emitted.count].seconds - pass) < 1e-6)
  }

  @Test func `the pace has no influence on a byte`() throws {
    let rig = try rig()
    let reference = try rig.replay()
    let paced = try rig.replay { $0.speed = .factor(1000) }
    #expect(paced.emitted == reference.emitted)
  }

  @Test func `a frame is due when its distance from the first has passed, scaled`() throws {
    var pace = try #require(ReplayPace(.factor(4)))
    #expect(pace.due(1_000_000_000, now: 500) == 500)
    #expect(pace.due(5_000_000_000, now: 900) == 500 + 1_000_000_000)
    // Older than the first: at once.
    #expect(pace.due(10, now: 900) == 500)
    #expect(ReplayPace(.unlimited) == nil)
    for (text, speed) in [("max", ReplaySpeed.unlimited), ("real", .factor(1)), ("0.5", .factor(0.5))] {
      #expect(ReplaySpeed(text) == speed)
    }
    for text in ["", "0", "-1", "nan", "inf", "fast"] { #expect(ReplaySpeed(text) == nil) }
  }

  @Test func `progress ends at the end`() throws {
    let rig = try rig()
    let told = Mutex<[ReplayProgress]>([])
    _ = try rig.replay { run in
      run.loops = 2
      run.onProgress = { progress in told.withLock { $0.append(progress) } }
    }
    let last = try #require(told.withLock { $0.last })
    #expect(last.frames == 80)
    #expect(last.totalBytes == last.readBytes)
  }

  @Test func `rates are of more and more work`() throws {
    let report = try rig().replay().result.report
    let rates = try #require(report.rates)
    #expect(rates.read >= rates.readEngine && rates.readEngine >= rates.readEngineWrite)
    #expect(rates.readEngineWrite > 0)
  }
}
