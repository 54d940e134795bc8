/// All sessions, in the region: places of 192 bytes, and the index that finds a flow by its key.
///
/// A flow is `session << 1 | direction`, direction 0 being the one that made the session. Place 0 is never used, so
/// that 0 can mean "none" in links. A handle: copies are the same table.
struct SessionTable: @unchecked Sendable {
  static let placeBytes = 192

  let index: FlowIndex
  let secret: HashSecret
  let places: PlacePool
  /// First byte of the first place: hoisted by the burst loop.
  let base: UnsafeMutableRawPointer
  /// Addresses of IPv6 sessions.
  let sides: SideTable

  init(_ region: Region, secret: HashSecret) {
    self.secret = secret
    index = region.sessionIndex
    base = region.sessions
    sides = region.sides
    places = PlacePool(
      words: region.words.start + SharedWords.sessions, base: base, placeBytes: Self.placeBytes,
      linkOffset: 2 * FlowLine.bytes + CommonLine.linkOffset, capacity: UInt32(region.layout.capacity))
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

  /// First place never used yet.
  var highWater: UInt32 { places.highWater }

  /// The flow with this key, dead or alive.
  func find(_ key: FlowKey) -> UInt32? {
    var candidates = index.candidates(secret.hash(key))
    while let candidate = candidates.next() {
      if flow(candidate).hasKey(key) { return candidate }
    }
    return nil
  }

  /// Idle for its timeout or longer at `tick`: judged by the clock, whether swept or not. A session that is just being
  /// made is not.
  @inline(__always)
  func isExpired(_ session: UInt32, at tick: UInt32) -> Bool {
    let word = common(session).word
    return word.state != SessionState.free && Int32(bitPattern: lastSeen(session) &+ word.timeout &- tick) <= 0
  }

  /// The tick at which it expires if no packet follows.
  @inline(__always)
  func deadline(_ session: UInt32) -> UInt32 { lastSeen(session) &+ common(session).timeout }

  @inline(__always)
  func lastSeen(_ session: UInt32) -> UInt32 {
    let a = flow(session &<< 1).lastSeen
    let b = flow(session &<< 1 | 1).lastSeen
    return Int32(bitPattern: a &- b) >= 0 ? a : b
  }

  /// Makes a place ready for a new session. The generation tells it from the one before.
  func clear(_ session: UInt32) {
    let generation = flow(session &<< 1).generation &+ 1
    let place = base + Int(session) &* Self.placeBytes
    place.initializeMemory(as: UInt64.self, repeating: 0, count: 2 * FlowLine.bytes / 8)
    common(session).clear()
    flow(session &<< 1).generation = generation
    flow(session &<< 1 | 1).generation = generation
  }

  /// How a session's two keys came into the index, or did not.
  enum Publication {
    case made
    /// Another session has the original key already.
    case taken
    /// Another session has the reply key: nobody else may answer to it.
    case replyTaken
    /// Another worker wants one of the keys at the same time.
    case contended
    case full
  }

  /// Puts both directions into the index, or none. Both lanes are claimed before either is looked at again, and both
  /// are judged before either is published: a session that can be found stays.
  func publish(_ session: UInt32) -> Publication {
    let original = session &<< 1
    let key = flow(original).key
    let replyKey = flow(original | 1).key
    let hash = secret.hash(key)
    let replyHash = secret.hash(replyKey)
    guard let claim = index.claim(hash) else { return .full }
    guard let replyClaim = index.claim(replyHash) else {
      index.withdraw(hash, claim)
      return .full
    }
    let result: Publication
    switch index.contest(hash, claim, own: replyClaim, hasKey: { flow($0).hasKey(key) }) {
    case .taken: result = .taken
    case .contended: result = .contended
    case .clear:
      switch index.contest(replyHash, replyClaim, own: claim, hasKey: { flow($0).hasKey(replyKey) }) {
      case .taken: result = .replyTaken
      case .contended: result = .contended
      case .clear:
        claim.publish(original)
        replyClaim.publish(original | 1)
        return .made
      }
    }
    index.withdraw(replyHash, replyClaim)
    index.withdraw(hash, claim)
    return result
  }

  /// Takes both directions out of the index.
  func unpublish(_ session: UInt32) {
    index.remove(secret.hash(flow(session &<< 1).key), session &<< 1)
    index.remove(secret.hash(flow(session &<< 1 | 1).key), session &<< 1 | 1)
  }

  /// True for a place in use whose session is alive at `tick`.
  func isLive(_ session: UInt32, at tick: UInt32) -> Bool {
    let state = common(session).state
    return state != SessionState.free && state < SessionState.cut && !isExpired(session, at: tick)
  }

  /// The latest deadline of all sessions alive at `tick`; nil for none.
  func latestDeadline(at tick: UInt32) -> UInt32? {
    var latest: UInt32?
    let end = highWater
    var session: UInt32 = 1
    while session < end {
      if isLive(session, at: tick) {
        let due = deadline(session)
        latest = latest.map { Int32(bitPattern: due &- $0) > 0 ? due : $0 } ?? due
      }
      session &+= 1
    }
    return latest
  }
}
