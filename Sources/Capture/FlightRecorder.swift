import Engine

/// Keeps the last frames of each link with the engine's answers, in memory of fixed size: the oldest give way.
///
/// It belongs to the worker. Each link has a ring of its own, so that a busy one does not push a quiet one's frames out;
/// the order of processing goes through all of them.
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
    /// The one that is being filled.
    var current = 0

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

  /// - Parameters:
  ///   - bytes: of each link's ring.
  ///   - burst: most frames that are judged at once.
  public init(links: Int, bytes: Int, isWhole: Bool, burst: Int) {
    self.isWhole = isWhole
    self.burst = burst
    rings = (0..<max(1, links)).map { _ in Ring(bytes: bytes) }
    pending = .allocate(capacity: burst)
    pending.initialize(repeating: nil, count: burst)
  }

  deinit {
    for ring in rings { ring.memory.deallocate() }
    pending.deallocate()
  }

  /// How many bytes are held against their replay: of a frame that left, and of one that the engine made, where a quote
  /// may hold bytes that were not kept.
  static func limits(isWhole: Bool) -> (left: Int, made: Int) { isWhole ? (.max, .max) : (headerBytes - 16, 34) }
  private var limit: Int { Self.limits(isWhole: isWhole).left }
  private var madeLimit: Int { Self.limits(isWhole: isWhole).made }

  // MARK: Recording

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
    return record
  }

  /// Room for an entry; where the chunk is full, the oldest one gives way.
  private func room(_ size: Int, in ring: inout Ring) -> UnsafeMutableRawPointer {
    if ring.chunkBytes &- ring.used[ring.current] < size {
      ring.current = (ring.current &+ 1) % Ring.chunks
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
    return FlightRecording(bytes: bytes, entries: records.count, lost: lost, isWhole: isWhole)
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

  public init(bytes: [UInt8] = [], entries: Int = 0, lost: UInt64 = 0, isWhole: Bool = false) {
    self.bytes = bytes
    self.entries = entries
    self.lost = lost
    self.isWhole = isWhole
  }
}
