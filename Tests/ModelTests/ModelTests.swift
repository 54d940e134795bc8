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
    var mismatches = 0
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
        mismatches += 1
        if mismatches == 3 { return }
      }
    }
  }

  /// What an engine could get wrong, by a configuration that says so.
  private static let faults: [(name: String, spoil: @Sendable (inout Setup) -> Void)] = [
    ("a timer", { $0.udp += 1 }),
    ("how long pieces wait", { $0.fragment = 5 }),
    ("filtering", { for index in $0.masquerades.indices { $0.masquerades[index].filtering = .endpointIndependent } }),
    ("mapping", { for index in $0.masquerades.indices { $0.masquerades[index].mapping = .addressAndPortDependent } }),
    (
      "a port of a forward",
      { for index in $0.forwards.indices { $0.forwards[index].ports = [(8000, 9001), (8001, 9002)] } }
    ),
    ("who may use a forward", { for index in $0.forwards.indices { $0.forwards[index].deny = [] } }),
    (
      "an outside address",
      { for index in $0.masquerades.indices { $0.masquerades[index].externals = ["203.0.113.17"] } }
    ),
    ("what is not translated", { for index in $0.masquerades.indices { $0.masquerades[index].except = [] } }),
    ("the MTU", { $0.interfaces[0].mtu = 1400 }),
    ("answers", { $0.interfaces[1].ping = false }),
  ]

  @Test(arguments: faults.indices)
  func `R4 a fault is noticed, and shrunk to the few frames that show it`(index: Int) throws {
    var setup = Setup()
    setup.interfaces = [
      Setup.Interface("wan", outside: true, ["203.0.113.1"], 24, gateway: "203.0.113.254"),
      Setup.Interface("lan", outside: false, ["192.168.1.1"], 24),
    ]
    setup.neighbors = ["203.0.113.254", "203.0.113.9"] + RandomSetup.insideHosts
    var forward = Setup.Forward("range", [.tcp, .udp], ports: [(8000, 9000), (8001, 9001)], to: "192.168.1.10")
    forward.deny = [Setup.Prefix("198.51.100.8", 32)]
    setup.forwards = [forward]
    var masquerade = Setup.Masquerade(from: "lan", to: "wan")
    masquerade.filtering = .addressAndPortDependent
    masquerade.except = [Setup.Prefix("198.51.100.96", 27)]
    setup.masquerades = [masquerade]
    let spoil = Self.faults[index].spoil
    var contest = try Contest(setup, spoil: spoil)
    var traffic = Traffic(setup, seed: 1)
    var arrivals: [Arrival] = []
    do {
      for _ in 0..<20_000 {
        arrivals.append(traffic.next(contest.model))
        traffic.note(try contest.play(arrivals[arrivals.count - 1]))
      }
      Issue.record("\(Self.faults[index].name): not noticed")
    } catch is Mismatch {
      let shrunk = try #require(Shrinking(setup, arrivals, spoil: spoil))
      #expect(shrunk.arrivals.count <= 4, "\(Self.faults[index].name): \(shrunk.arrivals.count) frames")
      #expect(Shrinking.play(setup, shrunk.arrivals, spoil: spoil) != nil)
      #expect(Shrinking.play(setup, shrunk.arrivals) == nil, "\(Self.faults[index].name) is not what differs")
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
