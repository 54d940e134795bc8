/// Frames that the engine made or released in one call, with room for their bytes: bounded, given back by the next call.
struct Outbox {
  static let capacity = 4096
  static let arenaBytes = 4 &<< 20

  private let frames: UnsafeMutablePointer<OutboxFrame>
  private let arena: Pages
  private var used = 0
  private(set) var count = 0
  /// Place in the burst of the frame that is being judged.
  var position: UInt16 = 0
  /// Of the received frame that is being put in; 0 for what the engine makes.
  var ticket: UInt32 = 0

  init() throws(PlanError) {
    frames = .allocate(capacity: Self.capacity)
    arena = try Pages(bytes: Self.arenaBytes)
  }

  func release() {
    frames.deallocate()
    arena.release()
  }

  mutating func clear() {
    used = 0
    count = 0
    position = 0
  }

  /// How full it is, to go back to where something does not fit as a whole.
  struct Mark {
    fileprivate let used: Int
    fileprivate let count: Int
  }
  var mark: Mark { Mark(used: used, count: count) }
  mutating func rewind(to mark: Mark) {
    used = mark.used
    count = mark.count
  }

  var all: UnsafeBufferPointer<OutboxFrame> { UnsafeBufferPointer(start: frames, count: count) }

  /// Room for a frame of up to `bytes`, with `Forwarder.headroom` before it; nil where the burst has used it all up.
  mutating func room(for bytes: Int) -> UnsafeMutableRawPointer? {
    let needed = (bytes &+ Forwarder.headroom &+ 63) & ~63
    guard count < Self.capacity, used &+ needed <= Self.arenaBytes else { return nil }
    let start = arena.start + used
    used &+= needed
    return start + Forwarder.headroom
  }

  /// The same for a datagram with headroom, whose link header is written first.
  mutating func add(
    _ adjacency: Adjacency, _ ip: UnsafeMutableRawPointer, length: Int, offload: OffloadHeader, priority: UInt16,
    time: UInt64
  ) -> Bool {
    let start = adjacency.writeHeader(before: ip, priority: priority)
    let linkLength = Int(adjacency.headerLength)
    return add(
      start, length: linkLength &+ length, egress: adjacency.egress, time: time,
      offload: Offload.shifted(offload, by: linkLength))
  }

  /// False where there is no room.
  mutating func add(
    _ bytes: UnsafeMutableRawPointer, length: Int, egress: UInt16, time: UInt64, offload: OffloadHeader
  ) -> Bool {
    guard count < Self.capacity else { return false }
    (frames + count).initialize(
      to: OutboxFrame(
        bytes: bytes, length: UInt32(truncatingIfNeeded: length), egress: egress, position: position, time: time,
        offload: offload, ticket: ticket))
    count &+= 1
    return true
  }
}
