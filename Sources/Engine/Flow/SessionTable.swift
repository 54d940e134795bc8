/// All sessions, in the region: places of 192 bytes, and the index that finds a flow by its key.
///
/// A flow is `session << 1 | direction`, direction 0 being the one that made the session. Place 0 is never used, so
/// that 0 can mean "none" in links.
struct SessionTable {
  static let placeBytes = 192

  let capacity: Int
  let index: FlowIndex
  let secret: HashSecret
  /// First byte of the first place: hoisted by the burst loop.
  let base: UnsafeMutableRawPointer
  private var freeHead: UInt32 = 0
  /// First place never used yet.
  private(set) var highWater: UInt32 = 1
  /// Places in use, expired but unswept ones included.
  private(set) var used = 0
  private(set) var created: UInt64 = 0

  init(_ region: Region, secret: HashSecret) {
    capacity = region.layout.capacity
    self.secret = secret
    index = region.sessionIndex
    base = region.sessions
  }

  @inline(__always)
  static func line(_ base: UnsafeMutableRawPointer, _ flow: UInt32) -> UnsafeMutableRawPointer {
    base + (Int(flow &>> 1) &* placeBytes &+ Int(flow & 1) &* FlowLine.bytes)
  }

  @inline(__always)
  func flow(_ flow: UInt32) -> FlowLine { FlowLine(Self.line(base, flow)) }

  @inline(__always)
  func common(_ session: UInt32) -> CommonLine {
    CommonLine(base + (Int(session) &* Self.placeBytes &+ 2 &* FlowLine.bytes))
  }

  /// The flow with this key, dead or alive.
  func find(_ key: FlowKey) -> UInt32? {
    var candidates = index.candidates(secret.hash(key))
    while let candidate = candidates.next() {
      if flow(candidate).hasKey(key) { return candidate }
    }
    return nil
  }

  /// Idle for its timeout or longer at `tick`: judged by the clock, whether swept or not.
  @inline(__always)
  func isExpired(_ session: UInt32, at tick: UInt32) -> Bool { Int32(bitPattern: deadline(session) &- tick) <= 0 }

  /// The tick at which it expires if no packet follows.
  @inline(__always)
  func deadline(_ session: UInt32) -> UInt32 { lastSeen(session) &+ common(session).timeout }

  @inline(__always)
  func lastSeen(_ session: UInt32) -> UInt32 {
    let a = flow(session &<< 1).lastSeen
    let b = flow(session &<< 1 | 1).lastSeen
    return Int32(bitPattern: a &- b) >= 0 ? a : b
  }

  /// Takes a place and zeroes it; nil where the table is full.
  mutating func allocate() -> UInt32? {
    guard used < capacity else { return nil }
    let session: UInt32
    if freeHead != 0 {
      session = freeHead
      freeHead = common(session).next
    } else {
      session = highWater
      highWater &+= 1
    }
    used &+= 1
    let generation = flow(session &<< 1).generation &+ 1
    let place = base + Int(session) &* Self.placeBytes
    place.initializeMemory(as: UInt64.self, repeating: 0, count: Self.placeBytes / 8)
    flow(session &<< 1).generation = generation
    flow(session &<< 1 | 1).generation = generation
    return session
  }

  /// Puts both directions into the index. False, and nothing done, where a bucket pair is full.
  mutating func publish(_ session: UInt32) -> Bool {
    let original = session &<< 1
    let reply = original | 1
    let hash = secret.hash(flow(original).key)
    guard index.insert(hash, original) else { return false }
    guard index.insert(secret.hash(flow(reply).key), reply) else {
      index.remove(hash, original)
      return false
    }
    created &+= 1
    common(session).identity = UInt32(truncatingIfNeeded: created)
    return true
  }

  /// Takes both directions out of the index.
  func unpublish(_ session: UInt32) {
    index.remove(secret.hash(flow(session &<< 1).key), session &<< 1)
    index.remove(secret.hash(flow(session &<< 1 | 1).key), session &<< 1 | 1)
  }

  /// Gives the place back.
  mutating func free(_ session: UInt32) {
    common(session).state = SessionState.free
    flow(session &<< 1).kind = FlowKind.free
    flow(session &<< 1 | 1).kind = FlowKind.free
    common(session).next = freeHead
    freeHead = session
    used &-= 1
  }

  /// True for a place in use whose session is alive at `tick`.
  func isLive(_ session: UInt32, at tick: UInt32) -> Bool {
    let state = common(session).state
    return state != SessionState.free && state != SessionState.cut && !isExpired(session, at: tick)
  }

  /// The latest deadline of all sessions alive at `tick`; nil for none.
  func latestDeadline(at tick: UInt32) -> UInt32? {
    var latest: UInt32?
    var session: UInt32 = 1
    while session < highWater {
      if isLive(session, at: tick) {
        let due = deadline(session)
        latest = latest.map { Int32(bitPattern: due &- $0) > 0 ? due : $0 } ?? due
      }
      session &+= 1
    }
    return latest
  }
}
