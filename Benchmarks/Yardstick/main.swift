// The engine beside the least that C needs for the same frames, in turns, in one process: the time of one over the other
// stands also where the machine is busy.
//
//     swift run -c release Yardstick [--flows N[,N...]] [--seconds S] [--json]
@_spi(Benchmark) import Bench
import CYardstick
import Engine
import Foundation

/// What the command line says.
struct Arguments {
  var flows = [1000, 100_000, 1_000_000, 10_000_000]
  var seconds = 3.0
  var json = false

  init(_ words: [String]) {
    var rest = words[...]
    while let word = rest.popFirst() {
      switch word {
      case "--json": json = true
      case "--flows":
        let counts = (rest.popFirst() ?? "").split(separator: ",").map { Int($0) ?? 0 }
        guard !counts.isEmpty, counts.allSatisfy({ EngineBenchOptions.mostFlows >= $0 && $0 > 0 }) else {
          Self.refuse()
        }
        flows = counts
      case "--seconds":
        guard let value = Double(rest.popFirst() ?? ""), value > 0, value <= 3600 else { Self.refuse() }
        seconds = value
      default: Self.refuse()
      }
    }
  }

  static func refuse() -> Never {
    FileHandle.standardError.write(Data("usage: Yardstick [--flows N[,N...]] [--seconds S] [--json]\n".utf8))
    exit(2)
  }
}

/// The C loop, that has learnt every flow of a probe from what the engine made of its frames.
final class Yardstick {
  private let state: OpaquePointer
  private(set) var known = 0
  private(set) var seen = 0

  init(flows: Int) {
    guard let state = yardstick_make(flows) else { fatalError("no memory for \(flows) flows") }
    self.state = state
  }

  deinit { yardstick_free(state) }

  func learn(from probe: BenchProbe) {
    for isAnswer in [false, true] {
      probe.everyFlow(isAnswer: isAnswer) { [state] slots, count in
        let arriving = (0..<count).map { Array(UnsafeRawBufferPointer(start: slots[$0].bytes, count: 38)) }
        probe.judge(count)
        for index in 0..<count where yardstick_learn(state, arriving[index], slots[index].bytes) == 0 {
          fatalError("the yardstick's table is full")
        }
      }
    }
  }

  func take(_ slots: UnsafeMutablePointer<FrameSlot>) {
    known += Int(yardstick_burst(state, slots, MemoryLayout<FrameSlot>.stride, UInt32(BenchProbe.burst), 1))
    seen += BenchProbe.burst
  }
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// One row: both in turns with the generator alone, whose time is taken off.
func measure(flows: Int, seconds: Double) throws -> (engine: Double, yardstick: Double, ratio: Double) {
  var options = EngineBenchOptions()
  options.flows = flows
  let probe = try BenchProbe(options)
  let yardstick = Yardstick(flows: flows)
  yardstick.learn(from: probe)
  let bursts = 256
  let packets = Double(bursts * BenchProbe.burst)
  var rows: [(engine: Double, yardstick: Double)] = []
  let end = Date(timeIntervalSinceNow: seconds)
  repeat {
    let start = BenchProbe.threadNanoseconds
    probe.judgedTurn(bursts: bursts)
    let engine = BenchProbe.threadNanoseconds
    probe.turn(bursts: bursts) { yardstick.take($0) }
    let plain = BenchProbe.threadNanoseconds
    probe.turn(bursts: bursts) { _ in }
    let alone = Double(BenchProbe.threadNanoseconds - plain)
    rows.append(((Double(engine - start) - alone) / packets, (Double(plain - engine) - alone) / packets))
  } while Date() < end
  try probe.check()
  guard yardstick.known == yardstick.seen else {
    fatalError("the yardstick knew \(yardstick.known) of \(yardstick.seen) frames")
  }
  return (median(rows.map(\.engine)), median(rows.map(\.yardstick)), median(rows.map { $0.engine / $0.yardstick }))
}

func tenths(_ value: Double) -> String { String(format: "%.1f", value) }

let arguments = Arguments(Array(CommandLine.arguments.dropFirst()))
var rows: [String] = []
if !arguments.json { print("     flows   engine ns        C ns    ratio") }
for flows in arguments.flows {
  let row = try measure(flows: flows, seconds: arguments.seconds)
  rows.append(
    "{\"flows\":\(flows),\"engine_ns\":\(tenths(row.engine)),\"yardstick_ns\":\(tenths(row.yardstick)),"
      + "\"ratio\":\(String(format: "%.2f", row.ratio))}")
  if !arguments.json {
    print(String(format: "%10d  %10.1f  %10.1f  %7.2f", flows, row.engine, row.yardstick, row.ratio))
  }
}
if arguments.json { print("[" + rows.joined(separator: ",\n ") + "]") }
