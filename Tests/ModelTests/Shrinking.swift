import NATModel
import PacketTestKit

/// Makes a run that ends in a mismatch as small as it gets: first fewer frames, then fewer rules, then fewer frames.
struct Shrinking {
  private(set) var setup: Setup
  private(set) var arrivals: [Arrival]
  private(set) var mismatch: Mismatch
  private let spoil: (inout Setup) -> Void

  init?(_ setup: Setup, _ arrivals: [Arrival], spoil: @escaping (inout Setup) -> Void = { _ in }) {
    guard let mismatch = Self.play(setup, arrivals, spoil: spoil) else { return nil }
    self.spoil = spoil
    self.setup = setup
    self.arrivals = Array(arrivals.prefix(mismatch.frame + 1))
    self.mismatch = mismatch
    dropFrames()
    dropRules()
    dropFrames()
  }

  /// The first mismatch of a run, if it has one.
  static func play(_ setup: Setup, _ arrivals: [Arrival], spoil: (inout Setup) -> Void = { _ in }) -> Mismatch? {
    do {
      var contest = try Contest(setup, spoil: spoil)
      for arrival in arrivals { _ = try contest.play(arrival) }
      return nil
    } catch let mismatch as Mismatch {
      return mismatch
    } catch {
      return nil
    }
  }

  private mutating func accept(_ setup: Setup, _ arrivals: [Arrival]) -> Bool {
    guard let found = Self.play(setup, arrivals, spoil: spoil), found.kind == mismatch.kind else { return false }
    self.setup = setup
    self.arrivals = Array(arrivals.prefix(found.frame + 1))
    mismatch = found
    return true
  }

  private mutating func dropFrames() {
    var size = max(1, arrivals.count / 2)
    while true {
      var start = 0
      while start < arrivals.count {
        var fewer = arrivals
        fewer.removeSubrange(start..<min(arrivals.count, start + size))
        if !accept(setup, fewer) { start += size }
      }
      if size == 1 { return }
      size = max(1, size / 2)
    }
  }

  private mutating func dropRules() {
    for index in setup.forwards.indices.reversed() {
      var fewer = setup
      fewer.forwards.remove(at: index)
      _ = accept(fewer, arrivals)
    }
    for index in setup.masquerades.indices.reversed() {
      var fewer = setup
      fewer.masquerades.remove(at: index)
      _ = accept(fewer, arrivals)
    }
  }

  /// The run as files that `sluice replay` plays: the configuration and a capture for each interface.
  var files: [String: [UInt8]] {
    var files = ["sluice.toml": Array(setup.toml.utf8)]
    for (index, interface) in setup.interfaces.enumerated() {
      let records = arrivals.filter { $0.interface == index }.map {
        CaptureBytes.Record(
          $0.bytes, seconds: UInt64(1_700_000_000 + $0.time / 1000), fraction: UInt32($0.time % 1000 * 1_000_000))
      }
      if !records.isEmpty { files["in-\(interface.name).pcap"] = CaptureBytes.pcap(records) }
    }
    return files
  }
}
