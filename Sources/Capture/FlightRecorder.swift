import Engine

/// Keeps the last frames of each link with the engine's answers, in memory of fixed size: the oldest give way.
///
/// It belongs to the worker. Each link has a ring of its own, so that a busy one does not push a quiet one's frames out;
/// the order of processing goes through all of them.
///
/// What the engine answers hangs on its state too. So the recorder asks for an image of it at the start, after every
/// change that is no frame, and whenever half of a ring has been filled: of the last two, one is always old enough for
/// half of what the busiest ring holds.
public final class FlightRecorder {
  /// Bytes kept of a frame where only headers are wanted; of ICMP, whose checksum covers all, the whole.
  static let headerBytes = 128
  /// Most of what a super-frame and its headers can be.
  fileprivate static let longestFrame = 1 << 17

  /// A link's memory: chunks that are filled one after the other; the oldest gives way as a whole.
  private struct Ring {
    static let chunks = 8

    let memory: UnsafeMutableRawPointer
    let chunkBytes: Int
    /// Bytes and entries in each chunk.
    var used = [Int](repeating: 0, count: Ring.chunks)
    var entries = [Int](repeating: 0, count: Ring.chunks)
    /// Sequence of the entry behind the last one in each chunk.
    var ends = [UInt64](repeating: 0, count: Ring.chunks)
    /// The one that is being filled.
    var current = 0
    /// Chunks filled since the last image.
    var filled = 0

    init(bytes: Int) {
      chunkBytes = max(bytes / Self.chunks & ~7, 2 * FlightRecorder.longestFrame)
      memory = .allocate(byteCount: chunkBytes * Self.chunks, alignment: 64)
    }
  }

  private let isWhole: Bool
  private var rings: [Ring]
  /// The entries of the burst that is being judged.
  private let pending: UnsafeMutablePointer<FlightRecord?>
  private let burst: Int
  private var sequence: UInt64 = 0
  /// Entries that gave way.
  private var lost: UInt64 = 0
  /// Everything from here on is kept.
  private var firstKept: UInt64 = 0

  /// The engine's state before an entry.
  private struct State {
    var image: EngineImage
    /// Sequence of that entry; nil where there is none.
    var next: UInt64?
  }
  private var states: [State]
  /// An image is due: to be given by `keepState` before anything else is judged.
  public private(set) var wantsState = true

  /// - Parameters:
  ///   - bytes: of each link's ring.
  ///   - stateBytes: of each of two images; taken when they are written to.
  ///   - burst: most frames that are judged at once.
  public init(links: Int, bytes: Int, stateBytes: Int, isWhole: Bool, burst: Int) throws(PlanError) {
    states = []
    for _ in 0..<2 { states.append(State(image: try EngineImage(capacity: stateBytes))) }
    self.isWhole = isWhole
    self.burst = burst
    rings = (0..<max(1, links)).map { _ in Ring(bytes: bytes) }
    pending = .allocate(capacity: burst)
    pending.initialize(repeating: nil, count: burst)
  }

  deinit {
    for state in states { state.image.release() }
    for ring in rings { ring.memory.deallocate() }
    pending.deallocate()
  }

  /// How many bytes are held against their replay: of a frame that left, and of one that the engine made, where a quote
  /// may hold bytes that were not kept.
  static func limits(isWhole: Bool) -> (left: Int, made: Int) { isWhole ? (.max, .max) : (headerBytes - 16, 34) }
  private var limit: Int { Self.limits(isWhole: isWhole).left }
  private var madeLimit: Int { Self.limits(isWhole: isWhole).made }

  // MARK: Recording

  /// Has `save` write the engine's state over the older of the two images.
  public func keepState(_ save: (inout EngineImage) -> Bool) {
    wantsState = false
    for index in rings.indices { rings[index].filled = 0 }
    let older = (states[0].next ?? 0) <= (states[1].next ?? 0) ? 0 : 1
    states[older].next = save(&states[older].image) ? sequence : nil
  }

  /// Something but frames and timers changes the engine: what was recorded before leads to another state.
  public func interrupt() {
    states[0].next = nil
    states[1].next = nil
    wantsState = true
  }

  /// Frames that are about to be judged.
  public func willJudge(_ slots: UnsafePointer<FrameSlot>, count: Int) {
    for index in 0..<count {
      let slot = slots + index
      pending[index] = add(
        slot.pointee.bytes, length: slot.pointee.length, captured: captured(slot), tag: slot.pointee.tag,
        time: slot.pointee.time, offload: slot.pointee.offload, link: slot.pointee.link)
    }
  }

  /// They have been judged.
  public func didJudge(_ slots: UnsafePointer<FrameSlot>, count: Int, outbox: UnsafeBufferPointer<OutboxFrame>) {
    for index in 0..<count { pending[index]?.answer(slots + index, digest: limit) }
    for frame in outbox where Int(frame.position) < count {
      pending[Int(frame.position)]?.add(frame, digest: madeLimit)
    }
  }

  /// Timers due by `time` were let run, with what they made.
  public func didAdvance(to time: UInt64, outbox: UnsafeBufferPointer<OutboxFrame>) {
    let record = add(
      UnsafeRawPointer(pending), length: 0, captured: 0, tag: 0, time: time, offload: OffloadHeader(),
      link: FlightRecord.timers)
    for frame in outbox { record.add(frame, digest: madeLimit) }
  }

  private func captured(_ slot: UnsafePointer<FrameSlot>) -> Int {
    let length = min(Int(slot.pointee.length), Self.longestFrame - FlightRecord.headerBytes)
    guard !isWhole, length > Self.headerBytes else { return length }
    // Whatever may be ICMP in an untagged, tagged or raw frame: the protocol field's three possible places.
    let bytes = slot.pointee.bytes
    let isICMP = [9, 23, 27].contains { bytes.load(fromByteOffset: $0, as: UInt8.self) == 1 }
    return isICMP ? length : Self.headerBytes
  }

  private func add(
    _ bytes: UnsafeRawPointer, length: UInt32, captured: Int, tag: UInt32, time: UInt64, offload: OffloadHeader,
    link: UInt16
  ) -> FlightRecord {
    let ring = min(Int(link), rings.count - 1)
    let record = FlightRecord(start: room(FlightRecord.size(captured: captured), in: &rings[ring]))
    record.write(
      captured: captured, length: length, tag: tag, sequence: sequence, time: time, offload: offload, link: link)
    record.bytes.copyMemory(from: bytes, byteCount: captured)
    sequence &+= 1
    rings[ring].ends[rings[ring].current] = sequence
    return record
  }

  /// Room for an entry; where the chunk is full, the oldest one gives way.
  private func room(_ size: Int, in ring: inout Ring) -> UnsafeMutableRawPointer {
    if ring.chunkBytes &- ring.used[ring.current] < size {
      ring.current = (ring.current &+ 1) % Ring.chunks
      ring.filled &+= 1
      if ring.filled >= Ring.chunks / 2 { wantsState = true }
      firstKept = max(firstKept, ring.ends[ring.current])
      lost &+= UInt64(ring.entries[ring.current])
      ring.used[ring.current] = 0
      ring.entries[ring.current] = 0
    }
    let place = ring.memory + (ring.current &* ring.chunkBytes &+ ring.used[ring.current])
    ring.used[ring.current] &+= size
    ring.entries[ring.current] &+= 1
    return place
  }

  // MARK: Reading

  /// Everything that is kept, in the order of processing.
  public func copy() -> FlightRecording {
    var records: [FlightRecord] = []
    for ring in rings {
      for chunk in 0..<Ring.chunks {
        var place = ring.memory + chunk * ring.chunkBytes
        for _ in 0..<ring.entries[chunk] {
          records.append(FlightRecord(start: place))
          place += records[records.count - 1].size
        }
      }
    }
    records.sort { $0.sequence < $1.sequence }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(records.reduce(0) { $0 + $1.size })
    for record in records {
      bytes.append(contentsOf: UnsafeRawBufferPointer(start: record.start, count: record.size))
    }
    var recording = FlightRecording(bytes: bytes, entries: records.count, lost: lost, isWhole: isWhole)
    if let state = oldestState, let next = state.next {
      recording.state = Array(state.image.bytes)
      recording.replayable = records.count { $0.sequence >= next }
    }
    return recording
  }

  /// The older of the images that everything has been kept since.
  private var oldestState: State? {
    states.filter { $0.next.map { $0 >= firstKept } ?? false }.min { $0.next! < $1.next! }
  }
}

/// A copy of what a recorder kept.
public struct FlightRecording: Sendable {
  /// Entries, one behind the other.
  public var bytes: [UInt8]
  public var entries: Int
  /// Entries that had given way before: with any, the beginning is missing.
  public var lost: UInt64
  /// Frames were kept whole.
  public var isWhole: Bool
  /// An image of the engine before the last `replayable` entries; empty where there is none.
  public var state: [UInt8] = []
  public var replayable = 0

  public init(bytes: [UInt8] = [], entries: Int = 0, lost: UInt64 = 0, isWhole: Bool = false) {
    self.bytes = bytes
    self.entries = entries
    self.lost = lost
    self.isWhole = isWhole
  }
}
