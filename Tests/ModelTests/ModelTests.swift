import Foundation
import NATModel
import PacketTestKit
import Testing

/// R4: the engine against the reference model, every verdict and every byte that leaves.
///
/// `SLUICE_MODEL_PACKETS` and `SLUICE_MODEL_SEED` play more, or other, traffic than CI does. Ten million packets:
/// `SLUICE_MODEL_PACKETS=10000000 swift test -c release --filter ModelTests`.
@Suite struct ModelTests {
  private static let environment = ProcessInfo.processInfo.environment
  private static let packets = environment["SLUICE_MODEL_PACKETS"].flatMap { Int($0) } ?? (isDebug ? 20_000 : 500_000)
  #if DEBUG
    private static let isDebug = true
  #else
    private static let isDebug = false
  #endif
  private static let firstSeed = environment["SLUICE_MODEL_SEED"].flatMap { UInt64($0) } ?? 1
  private static let configurations = 200

  @Test(arguments: 0..<4)
  func `R4 engine and model agree on random traffic through random configurations`(part: Int) throws {
    let perConfiguration = Self.packets / Self.configurations
    for index in stride(from: part, to: Self.configurations, by: 4) {
      let seed = Self.firstSeed + UInt64(index)
      let setup = RandomSetup.make(seed: seed)
      var contest = try Contest(setup)
      var traffic = Traffic(setup, seed: seed)
      var arrivals: [Arrival] = []
      do {
        for _ in 0..<perConfiguration {
          arrivals.append(traffic.next(contest.model))
          traffic.note(try contest.play(arrivals[arrivals.count - 1]))
        }
      } catch let mismatch as Mismatch {
        try report(seed, mismatch, Shrinking(setup, arrivals))
        return
      }
    }
  }

  /// Says the smallest run that still differs, and leaves it where `sluice replay` can play it.
  private func report(_ seed: UInt64, _ mismatch: Mismatch, _ shrunk: Shrinking?) throws {
    guard let shrunk else {
      Issue.record("seed \(seed): \(mismatch)")
      return
    }
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-model-\(seed)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for (name, bytes) in shrunk.files { try Data(bytes).write(to: folder.appendingPathComponent(name)) }
    let frames = shrunk.arrivals.map { arrival in
      "\(arrival.time) ms on \(shrunk.setup.interfaces[arrival.interface].name): \(Decoded(arrival.bytes))"
    }
    let text = "seed \(seed), \(shrunk.arrivals.count) frames left, in \(folder.path)\n\(shrunk.mismatch)\n"
    Issue.record(Comment(rawValue: text + frames.joined(separator: "\n")))
  }
}
