/// How far a replay has come.
public struct ReplayProgress: Sendable {
  /// Frames judged so far.
  public var frames: UInt64 = 0
  /// Bytes of the captures that were read; of all passes where they are played more than once.
  public var readBytes = 0
  /// Bytes to be read; nil where that cannot be known (a pipe).
  public var totalBytes: Int?
  /// Nanoseconds since the beginning.
  public var elapsed: UInt64 = 0
  /// Nanoseconds spent in each part of the work.
  public var times = StageTimes()
}

/// What each part of a replay costs, in nanoseconds.
public struct StageTimes: Equatable, Sendable {
  /// Reading, merging, filtering and editing.
  public var read: UInt64 = 0
  /// The engine.
  public var engine: UInt64 = 0
  /// Writing what left.
  public var write: UInt64 = 0
}

/// Frames a second with more and more of the work counted in; never compared.
public struct ReplayRates: Codable, Equatable, Sendable {
  // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
  public var read, readEngine, readEngineWrite: Double

  enum CodingKeys: String, CodingKey {
    case read
    case readEngine = "read_engine"
    case readEngineWrite = "read_engine_write"
  }

  /// The rates of `frames` frames.
  public init(frames: UInt64, _ times: StageTimes) {
    func rate(_ nanoseconds: UInt64) -> Double {
      nanoseconds == 0 ? 0 : (Double(frames) * 1e9 / Double(nanoseconds)).rounded()
    }
    read = rate(times.read)
    readEngine = rate(times.read + times.engine)
    readEngineWrite = rate(times.read + times.engine + times.write)
  }
}
