@_spi(Benchmark) import Bench
import Benchmark
import Capture
@_spi(Benchmark) import Engine
import Foundation
import Settings

/// Made once, when a row begins, however often that is measured.
final class Fixture<Value>: @unchecked Sendable {
  private let make: () -> Value
  lazy var value = make()
  init(_ make: @escaping () -> Value) { self.make = make }
}

/// `times` says how often; what is told is for once.
func row<Value>(
  _ name: String, _ make: @escaping () -> Value, _ work: @escaping @Sendable (Value, _ times: Int) -> Void
) {
  let fixture = Fixture(make)
  Benchmark(name, configuration: .init(metrics: [.wallClock], scalingFactor: .kilo, maxDuration: .seconds(1))) {
    benchmark in
    let value = fixture.value
    benchmark.startMeasurement()
    work(value, benchmark.scaledIterations.count)
    benchmark.stopMeasurement()
  }
}

/// The same for work that needs preparation each time, and is for a thousand sessions at once.
func thousand<Value>(
  _ name: String, _ make: @escaping () -> Value, prepare: @escaping @Sendable (Value) -> Void,
  _ work: @escaping @Sendable (Value) -> Void
) {
  let fixture = Fixture(make)
  Benchmark(name, configuration: .init(metrics: [.wallClock], maxDuration: .seconds(1))) { benchmark in
    let value = fixture.value
    prepare(value)
    benchmark.startMeasurement()
    work(value)
    benchmark.stopMeasurement()
  }
}

func probe(_ flows: Int, _ kind: EngineBenchOptions.Kind = .udp) -> BenchProbe {
  var options = EngineBenchOptions()
  options.flows = flows
  options.kind = kind
  do { return try BenchProbe(options) } catch { fatalError("\(error)") }
}

let benchmarks: @Sendable () -> Void = {
  engineRows()
  slowPathRows()
  tableRows()
  wireRows()
  fileRows()
}

/// The stages, and whole bursts of 32 frames of 60 bytes.
func engineRows() {
  row("burst: parse", { probe(1000) }) { probe, times in
    probe.turn(bursts: 1) { _ in probe.parse(times: times) }
  }
  for (name, flows) in [("1 k", 1000), ("100 k", 100_000), ("1 M", 1_000_000)] {
    row("burst: parse and find, \(name) flows", { probe(flows) }) { probe, times in
      for _ in 0..<times / 10 {
        // Other flows each time: else they would all lie in the first cache.
        probe.turn(bursts: 10) { _ in probe.match(times: 1) }
      }
    }
  }
  row("burst: written only", { probe(1000) }) { $0.turn(bursts: $1) { _ in } }
  row("burst: UDP, written and judged", { probe(1000) }) { $0.judgedTurn(bursts: $1) }
  row("burst: TCP established, written and judged", { probe(1000, .tcp) }) { $0.judgedTurn(bursts: $1) }
}

/// What the fast path leaves to the slow one, for a thousand frames or connections.
func slowPathRows() {
  typealias State = (gateway: Gateway, frames: Frames)
  func established(_ frames: Frames) -> State {
    let gateway = Gateway()
    let requests = Traffic.requests()
    requests.prepare(at: gateway.time)
    requests.judge(by: gateway, expecting: .forward)
    return (gateway, frames)
  }
  let again: @Sendable (State) -> Void = { $0.frames.prepare(at: $0.gateway.time) }
  thousand("1000 new UDP sessions", { (Gateway(), Traffic.requests()) as State }) {
    $0.gateway.settle()
    $0.frames.prepare(at: $0.gateway.time)
  } _: {
    $0.frames.judge(by: $0.gateway, expecting: .forward)
  }
  thousand("1000 TCP connections opened and closed", { (Gateway(), Traffic.connection()) }) { gateway, steps in
    gateway.settle()
    for step in steps { step.prepare(at: gateway.time) }
  } _: { gateway, steps in
    for step in steps { step.judge(by: gateway, expecting: .forward) }
  }
  thousand("1000 datagrams with IP options", { established(Traffic.requests(options: [1, 1, 1, 0])) }, prepare: again) {
    $0.frames.judge(by: $0.gateway, expecting: .forward)
  }
  thousand("1000 ICMP errors about sessions", { established(Traffic.errors()) }, prepare: again) {
    $0.frames.judge(by: $0.gateway, expecting: .forward)
  }
  thousand("1000 dropped: no-forward", { established(Traffic.nowhere()) }, prepare: again) {
    $0.frames.judge(by: $0.gateway, expecting: .drop)
  }
}

func wireRows() {
  for bytes in [60, 1500] {
    row("checksum of \(bytes) bytes", { UnsafeMutableRawPointer.allocate(byteCount: 2048, alignment: 64) }) {
      blackHole(ChecksumProbe.full($0, count: bytes, times: $1))
    }
  }
  row("checksum, one address replaced", { 0 }) {
    blackHole(ChecksumProbe.delta(from: UInt32($0), to: 0xC0A8_010A, times: $1))
  }
}

/// Sixteen-byte keys of one's own, by number.
final class Keys: @unchecked Sendable {
  static let count = 1 << 20
  let table: TableProbe
  let words = UnsafeMutablePointer<UInt64>.allocate(capacity: 2 * count)
  /// Copies, in the order in which they are looked up.
  let present = UnsafeMutablePointer<UInt64>.allocate(capacity: 2 * count)
  let absent = UnsafeMutablePointer<UInt64>.allocate(capacity: 2 * count)
  private let used: Int
  private var passed = 0

  /// - Parameter percent: of the table's capacity, how much is in use.
  init(percent: Int) {
    do { table = try TableProbe(keys: Self.count, seed: 1) } catch { fatalError("\(error)") }
    for index in 0..<2 * Self.count { words[index] = UInt64(index) &* 0x9E37_79B9_7F4A_7C15 }
    used = Self.count * percent / 100
    guard table.insert(words, 0..<used) == used else { fatalError("the table is full") }
    var random = SystemRandomNumberGenerator()
    for index in 0..<Self.count {
      (present + 2 * index).update(from: words + 2 * Int.random(in: 0..<used, using: &random), count: 2)
      (absent + 2 * index).update(from: words + 2 * Int.random(in: used..<Self.count, using: &random), count: 2)
    }
  }

  /// The next `count` places of an order: other keys each time, or they would all lie in the first cache.
  func next(_ count: Int) -> Int {
    passed = passed + 2 * count > Self.count ? 0 : passed + count
    return passed
  }

  /// The next `count` keys that are not in the table.
  func nextAbsent(_ count: Int) -> Range<Int> {
    let begin = used + next(count) % (Self.count - used - count)
    return begin..<begin + count
  }
}

/// The index and the ports by themselves.
func tableRows() {
  for percent in [10, 50, 95] {
    row("table of 1 M keys, \(percent) % in use: find, hit", { Keys(percent: percent) }) {
      blackHole($0.table.find($0.present + 2 * $0.next($1), count: $1))
    }
    row("table of 1 M keys, \(percent) % in use: find, miss", { Keys(percent: percent) }) {
      blackHole($0.table.find($0.absent + 2 * $0.next($1), count: $1))
    }
    row("table of 1 M keys, \(percent) % in use: insert and remove", { Keys(percent: percent) }) { keys, times in
      let range = keys.nextAbsent(times)
      blackHole(keys.table.insert(keys.words, range))
      keys.table.remove(keys.words, range)
    }
  }
  for (name, free) in [("0", PortProbe.count), ("50", 32_256), ("90", 6451), ("99", 645), ("99.9", 64)] {
    row("ports, \(name) % in use: take and give back", { ports(free) }) {
      guard $0.cycle(times: $1) == $1 else { fatalError("a free port was not found") }
    }
  }
  row("ports, all in use: refused", { ports(0) }) {
    guard $0.cycle(times: $1) == 0 else { fatalError("there was no free port") }
  }
}

func ports(_ free: Int) -> PortProbe {
  do { return try PortProbe(free: free) } catch { fatalError("\(error)") }
}

/// Configurations and captures.
func fileRows() {
  for forwards in [10, 1000] {
    thousand("configuration of \(forwards) forwards: text to plan", { configuration(forwards) }, prepare: { _ in }) {
      do { blackHole(try SettingsFile(text: $0, file: "bench.toml", purpose: .replay).plan) } catch {
        fatalError("\(error)")
      }
    }
    thousand(
      "configuration of \(forwards) forwards: plan to rules", { Gateway.plan(forwards: forwards) }, prepare: { _ in }
    ) {
      do { try Rules($0).release() } catch { fatalError("\(error)") }
    }
  }
  thousand("capture of 100,000 frames of 60 bytes: read", capture, prepare: { _ in }) {
    do {
      let reader = try CaptureReader(path: $0)
      while let frame = try reader.next() { blackHole(frame.length) }
      guard reader.count == 100_000 else { fatalError("\(reader.count) frames") }
    } catch {
      fatalError("\(error)")
    }
  }
}

func configuration(_ forwards: Int) -> String {
  var text = """
    [interface.wan]
    role = "outside"
    device = "wan0"
    mac = "02:00:00:00:01:01"
    address = ["203.0.113.1/24"]
    [interface.lan]
    role = "inside"
    device = "lan0"
    mac = "02:00:00:00:02:01"
    address = ["192.168.1.1/24"]

    """
  for index in 0..<forwards {
    text +=
      "[[forward]]\nname = \"f\(index)\"\nprotocol = \"tcp\"\non = \"wan\"\nports = \"\(7000 + index)\"\n"
      + "to = \"192.168.1.10\"\n"
  }
  return text
}

/// A file of its own in the temporary folder, written anew for each run.
func capture() -> String {
  let path = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-bench.pcap").path
  var bytes = Data([0x4D, 0x3C, 0xB2, 0xA1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0])
  let record = Data([0, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0]) + Data(repeating: 0, count: 60)
  for _ in 0..<100_000 { bytes.append(record) }
  guard FileManager.default.createFile(atPath: path, contents: bytes) else { fatalError("cannot write \(path)") }
  return path
}
