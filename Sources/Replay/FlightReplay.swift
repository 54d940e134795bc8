import Capture
import Engine
import Settings

/// Plays a flight recording again, and holds every answer of the engine against the recorded one.
public struct FlightReplay {
  /// How it went.
  public struct Result: Sendable, Codable, Equatable {
    /// Entries played.
    public var entries = 0
    /// Entries before the engine's state that is kept: there to be read.
    public var earlier = 0
    public var forwarded = 0
    public var dropped = 0
    /// The first entry, from 1, that was answered otherwise, and in what.
    public var difference: String?
  }

  private let path: String

  /// - Parameter path: a directory that `sluice record dump` wrote.
  public init(path: String) { self.path = path }

  /// Runs it.
  ///
  /// - Parameter outputDirectory: gets `IF.pcap` for every interface, with what leaves.
  /// - Throws: `CaptureError` for a recording that is damaged or has no state of the engine, `PlanError` for a state that is
  ///   another configuration's, and what the configuration throws.
  public func run(outputDirectory: String?) throws -> Result {
    let (recording, state) = try FlightDirectory.read(path)
    guard !recording.state.isEmpty else {
      throw CaptureError(
        path: path, offset: nil,
        message:
          "the engine's state is not in it, so that its replay would meet other sessions; give [recorder] more state")
    }
    let settings = try SettingsFile.load(path: "\(path)/\(FlightDirectory.configuration)", purpose: .check)
    guard let plan = state.completed(settings.plan) else {
      throw CaptureError(path: path, offset: nil, message: "state and configuration have different interfaces")
    }
    let output = try outputDirectory.map { try ReplayOutput(directory: $0, plan: plan) }
    let image = try recording.state.withUnsafeBytes { bytes throws(PlanError) in try EngineImage(bytes) }
    defer { image.release() }
    var forwarder = try Forwarder(plan: plan, links: state.links, image: image)
    var result = Result()
    result.earlier = recording.entries - recording.replayable
    try recording.replay { slot, record in
      if let slot {
        forwarder.process(slot, count: 1)
        try output?.write(slot, count: 1, outbox: forwarder.outbox)
        if slot.pointee.verdict == .forward { result.forwarded += 1 }
        if slot.pointee.verdict == .drop { result.dropped += 1 }
      } else {
        forwarder.advance(to: record.time)
        try output?.writeOutbox(forwarder.outbox)
      }
      result.entries += 1
      result.difference =
        result.difference
        ?? record.difference(slot, forwarder.outbox).map { "entry \(result.earlier + result.entries): \($0)" }
    }
    if let failure = output?.finish() { throw failure }
    return result
  }
}
