import class Foundation.JSONEncoder
import PacketTestKit

/// A golden case as the files that stand in `Tests/Golden`: what comes, what must leave, and what must be counted.
struct GoldenFiles {
  /// A frame that comes, and the one that leaves because of it.
  struct Step {
    var frame: [UInt8]
    var interface: String
    /// nil where it is dropped.
    var leaves: (frame: [UInt8], interface: String)?
  }

  /// Sessions in the report.
  struct Sessions: Encodable { var created = 1, expired = 0, live = 1 }

  var configuration: String
  var steps: [Step]
  /// Why those are dropped that leave nothing.
  var reason = "no-forward"
  var sessions = Sessions()

  /// A packet from one station, and what it becomes for another one.
  static func step(
    _ packet: Packet, _ interface: String, from sender: Station, _ result: Packet? = nil, _ egress: String = "",
    to receiver: Station = .broadcast
  ) -> Step {
    let stations: [String: Station] = ["wan": "02:00:00:00:01:01", "lan": "02:00:00:00:02:01"]
    let frame = packet.with {
      $0.ethernet.source = sender
      $0.ethernet.destination = stations[interface]
    }
    let leaving = result?.with {
      $0.ethernet.source = stations[egress]
      $0.ethernet.destination = receiver
      $0.trailer = []
    }
    return Step(frame: frame.bytes, interface: interface, leaves: leaving.map { ($0.bytes, egress) })
  }

  /// Every file by its name.
  var all: [String: [UInt8]] {
    var files = ["sluice.toml": Array(configuration.utf8), "expect.json": report]
    for interface in ["wan", "lan"] {
      let numbered = steps.enumerated()
      let received = numbered.filter { $1.interface == interface }.map { record($1.frame, $0) }
      let left = numbered.compactMap { index, step in
        step.leaves.flatMap { $0.interface == interface ? record($0.frame, index) : nil }
      }
      files["in-\(interface).pcap"] = CaptureBytes.pcap(received)
      files["expect-\(interface).pcap"] = CaptureBytes.pcap(left)
    }
    return files
  }

  /// A tenth of a second and a nanosecond apart.
  private func record(_ frame: [UInt8], _ index: Int) -> CaptureBytes.Record {
    CaptureBytes.Record(
      frame, seconds: 1_700_000_000 + UInt64(index / 10), fraction: UInt32(index % 10 * 100_000_000 + index))
  }

  /// What the report must say, by the names of CONTRACT.
  private struct Report: Encodable {
    struct Frames: Encodable {
      var received = 0, forwarded = 0, dropped = 0, consumed = 0, passed = 0, held = 0, generated = 0
    }

    var frames: Frames
    var interfaces: [String: Frames]
    var drops: [String: Int]
    var sessions: Sessions
  }

  private static func frames(_ steps: [Step]) -> Report.Frames {
    let dropped = steps.count { $0.leaves == nil }
    return Report.Frames(received: steps.count, forwarded: steps.count - dropped, dropped: dropped)
  }

  private var report: [UInt8] {
    let frames = Self.frames(steps)
    let report = Report(
      frames: frames,
      interfaces: Dictionary(
        uniqueKeysWithValues: ["wan", "lan"].map { name in (name, Self.frames(steps.filter { $0.interface == name })) }),
      drops: frames.dropped > 0 ? [reason: frames.dropped] : [:], sessions: sessions)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    guard let data = try? encoder.encode(report) else { preconditionFailure("plain numbers") }
    return [UInt8](data) + [0x0A]
  }
}
