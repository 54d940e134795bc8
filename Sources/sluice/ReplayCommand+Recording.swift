import Capture
import Engine
import Replay

extension ReplayCommand {
  /// `--state DIR`: a flight recording.
  func runRecording(_ path: String) throws {
    guard config == nil, options.inputs.isEmpty, expect == nil, report == nil else {
      throw Failure(.usage, "--state brings its own configuration and frames; leave out -c, --in, --expect, --report")
    }
    let result: FlightReplay.Result
    do {
      result = try FlightReplay(path: path).run(outputDirectory: out)
    } catch let error as CaptureError {
      throw Failure(.failed, "\(error)")
    } catch let error as PlanError {
      throw Failure(.failed, "\(error)")
    }
    if json {
      print(jsonText(result), terminator: "")
    } else {
      let earlier = result.earlier > 0 ? ", after \(result.earlier) that the engine's state is not kept for" : ""
      print("\(result.entries) entries: \(result.forwarded) forwarded, \(result.dropped) dropped\(earlier)")
    }
    if let difference = result.difference { throw Failure(.differs, "\(path): \(difference)") }
    if !json { print("every answer is the recorded one") }
  }
}
