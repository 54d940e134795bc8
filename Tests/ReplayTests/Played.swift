import Capture
import Engine
import PacketTestKit
import Testing

@testable import Replay

/// One replay as a test sees it: what went in, in the order of the merge, and what came out.
struct Played {
  var inputs: [CapturedBytes]
  var outputs: [CapturedBytes]
  var result: ReplayResult
  /// Each output file, byte for byte.
  var files: [String: [UInt8]]

  init(_ run: ReplayRun, in directory: TemporaryDirectory, _ name: String = "out") throws {
    var run = run
    run.outputDirectory = directory(name)
    inputs = []
    var merge = InputMerge(run.inputs)
    while let (frame, interface) = merge.next() {
      inputs.append(frame.captured(on: run.plan.interfaces[interface].name))
    }
    result = try run.run()
    outputs = []
    files = [:]
    for interface in run.plan.interfaces {
      let file = "\(name)/\(interface.name).pcap"
      files[interface.name] = try directory.read(file)
      outputs += try Self.frames(directory(file), on: interface.name)
    }
  }

  /// All frames of a capture up to its end or its first damage, which is thrown away.
  static func frames(_ path: String, on interface: String) throws -> [CapturedBytes] {
    let reader = try CaptureReader(path: path)
    var frames: [CapturedBytes] = []
    while let frame = try? reader.next() { frames.append(frame.captured(on: interface)) }
    return frames
  }

  /// G5 and G7, and that the counters agree with what was seen.
  func counterProblems(_ finding: Invariants.Finding, isIdle: Bool) -> [String] {
    var problems: [String] = []
    let report = result.report
    for (name, frames) in report.interfaces {
      let sum = frames.forwarded + frames.dropped + frames.consumed + frames.passed + frames.held
      if frames.received != sum { problems.append("G5: \(name) received \(frames.received), accounted for \(sum)") }
      let came = inputs.count { $0.interface == name }
      if frames.received != came { problems.append("G5: \(name) received \(frames.received) of \(came)") }
    }
    let total = report.frames
    let named = report.drops.values.reduce(0, +)
    if total.dropped != named { problems.append("G5: dropped \(total.dropped), \(named) with a reason") }
    if total.forwarded != finding.pairs.count {
      problems.append("G4: forwarded \(total.forwarded), \(finding.pairs.count) left")
    }
    if total.generated != finding.made.count {
      problems.append("G5: generated \(total.generated), \(finding.made.count) left")
    }
    if isIdle, report.sessions.live != 0 || total.held != 0 {
      problems.append("G7: \(report.sessions.live) sessions and \(total.held) held frames left")
    }
    return problems
  }
}

extension CapturedFrame {
  fileprivate func captured(on interface: String) -> CapturedBytes {
    CapturedBytes(Array(UnsafeRawBufferPointer(start: bytes, count: length)), time: time, interface: interface)
  }
}
