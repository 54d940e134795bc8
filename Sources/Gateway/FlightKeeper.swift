import Capture
import Engine
import Glibc
import Logging
import PacketIO
import Settings

/// Writes down what the worker's flight recorder keeps: when asked, and by itself when a trigger moves.
struct FlightKeeper {
  /// Recordings that are written by themselves: no more than so many, and no two within a minute.
  private static let most = 16
  private static let pauseNanoseconds: UInt64 = 60_000_000_000

  private let plan: RecorderPlan
  private let links: [[Int]]
  /// Of the triggers, when it was last looked at.
  private var counts: [UInt64] = []
  private var written = 0
  private var nextTime: UInt64 = 0

  init(_ plan: RecorderPlan, links: [[Int]]) {
    self.plan = plan
    self.links = links
  }

  /// Looks whether a trigger has moved, and writes the recording down if so.
  mutating func look(_ worker: WorkerThread, plan complete: Plan, settings: SettingsFile, logger: Logger) {
    guard let directory = plan.directory, !plan.triggers.isEmpty,
      let found = worker.mailbox.ask(.drops(plan.triggers), within: 500)?.drops.first
    else { return }
    defer { counts = found }
    let moved = zip(plan.triggers, zip(found, counts)).first { $1.0 > $1.1 }?.0
    let now = monotonicTime()
    guard let moved, now >= nextTime, written < Self.most else { return }
    nextTime = now + Self.pauseNanoseconds
    written += 1
    let path = "\(directory)/\(moved.name)-\(Self.timeOfDay() / 1_000_000_000)"
    do {
      let report = try write(worker, to: path, plan: complete, settings: settings)
      logger.warning("\(moved.name) has moved: \(report.entries) entries recorded in \(path)")
    } catch {
      logger.error("\(moved.name) has moved, and the recording is lost: \(error)")
    }
  }

  /// Writes down what is kept now.
  func write(
    _ worker: WorkerThread, to path: String, plan complete: Plan, settings: SettingsFile
  ) throws -> RecordReport {
    guard let answer = worker.mailbox.ask(.recording, within: 5000), let recording = answer.recording else {
      throw CaptureError(path: path, offset: nil, message: "the worker is too busy to answer")
    }
    let state = FlightState(plan: complete, links: links, recording: recording)
    try FlightDirectory.write(
      recording, state, configuration: settings.normalised, to: path,
      wallOffset: Self.timeOfDay() &- monotonicTime())
    return RecordReport(directory: path, entries: recording.entries, replayable: recording.replayable)
  }

  private static func timeOfDay() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }
}

extension GatewayRun {
  func answerRecord(_ request: ControlRequest) -> ControlAnswer {
    guard let flight else {
      return ControlAnswer(error: "nothing is recorded; add [recorder] to the configuration, and restart")
    }
    guard let directory = request.directory, directory.hasPrefix("/") else {
      return ControlAnswer(error: "not a request")
    }
    do {
      return ControlAnswer(
        recorded: try flight.write(crew.first, to: directory, plan: complete.plan, settings: settings))
    } catch {
      return ControlAnswer(error: "\(error)")
    }
  }
}
