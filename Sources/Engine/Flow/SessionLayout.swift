import Synchronization

// Where everything in a session stands: three adjacent cache lines, one per direction and one for both.
// Key and rewrite do not change from the moment the session is in the index until nobody can be reading it any more;
// every other word is atomic.

/// One direction: what a UDP packet touches besides its bucket.
///
///     offset  0  key.addresses     UInt64  raw; of IPv6 a digest, see `SideTable`
///             8  key.rest          UInt64
///            16  new addresses     UInt64  raw, as they stand in the IPv4 header afterwards
///            24  new ports         UInt32  raw, source in the low half
///            28  header delta      UInt16  RFC 1624 delta of the addresses, and of one hop of IPv4
///            30  transport delta   UInt16  of addresses and ports (ICMP: of the identifier alone)
///            32  adjacency         UInt16  0 = none found yet
///            34  plan generation   UInt16
///            36  generation        UInt16  of the session's place
///            38  kind              UInt8   FlowKind
///            39  keeps no session  UInt8   1: packets of this direction do not refresh
///            40  timeout           UInt32  ticks (TCP: see the common line; here its last SYN, see TCPTracker), or `never`
///                                      for what is the slow path's
///            44  last seen         UInt32  tick, rounded up
///            48  packets           UInt64
///            56  bytes             UInt64  of IP datagrams
struct FlowLine {
  static let bytes = 64

  let line: UnsafeMutableRawPointer

  @inline(__always)
  init(_ line: UnsafeMutableRawPointer) { self.line = line }

  @inline(__always)
  func load<T: BitwiseCopyable>(_ offset: Int, _: T.Type = T.self) -> T {
    line.load(fromByteOffset: offset, as: T.self)
  }
  @inline(__always)
  func store<T: BitwiseCopyable>(_ offset: Int, _ value: T) {
    line.storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  @inline(__always)
  var key: FlowKey {
    get { FlowKey(addresses: load(0), rest: load(8)) }
    nonmutating set {
      store(0, newValue.addresses)
      store(8, newValue.rest)
    }
  }
  @inline(__always)
  func hasKey(_ key: FlowKey) -> Bool { load(0, UInt64.self) == key.addresses && load(8, UInt64.self) == key.rest }

  @inline(__always)
  var newAddresses: UInt64 {
    get { load(16) }
    nonmutating set { store(16, newValue) }
  }
  @inline(__always)
  var newSource: UInt32 { load(16) }
  @inline(__always)
  var newDestination: UInt32 { load(20) }
  @inline(__always)
  var newPorts: UInt32 {
    get { load(24) }
    nonmutating set { store(24, newValue) }
  }
  @inline(__always)
  var newSourcePort: UInt16 { load(24) }
  @inline(__always)
  var newDestinationPort: UInt16 { load(26) }
  /// What an IPv4 header's checksum changes by.
  @inline(__always)
  var headerDelta: UInt16 { load(28) }
  /// Of the addresses alone; zero, not -0, where their sum stays.
  @inline(__always)
  var networkDelta: UInt16 {
    get { headerDelta == IPv4Header.hopDelta ? 0 : Checksum.adjust(headerDelta, by: IPv4Header.hopDelta) }
    nonmutating set { store(28, Checksum.combine(newValue, IPv4Header.hopDelta)) }
  }
  @inline(__always)
  var transportDelta: UInt16 {
    get { load(30) }
    nonmutating set { store(30, newValue) }
  }
  @inline(__always)
  var adjacency: UInt16 {
    get { shared16(line, 32).plain }
    nonmutating set { shared16(line, 32).plain = newValue }
  }
  /// Of the rules that the session was last found right under.
  @inline(__always)
  var planGeneration: UInt16 {
    get { shared16(line, 34).plain }
    nonmutating set { shared16(line, 34).plain = newValue }
  }
  /// Both in one word: the plan generation in the upper half.
  @inline(__always)
  var route: UInt32 { UInt32(littleEndian: shared32(line, 32).plain) }
  @inline(__always)
  var generation: UInt16 {
    get { shared16(line, 36).plain }
    nonmutating set { shared16(line, 36).plain = newValue }
  }
  /// `FlowKind` as a number: compared without a switch in the burst loop.
  @inline(__always)
  var kind: UInt8 {
    get { load(38) }
    nonmutating set { store(38, newValue) }
  }
  var keepsSession: Bool {
    get { shared8(line, 39).pointee.load(ordering: .relaxed) == 0 }
    nonmutating set {
      shared8(line, 39).pointee.store(newValue ? 0 : 1, ordering: .relaxed)
      if !newValue { timeout = Self.never }
    }
  }
  /// By this timeout the burst loop finds a flow that is not TCP's over, whatever its last packet's tick: -2^30, since a
  /// timeout is at most a year, and the tick of the last packet may be ahead.
  static let never: UInt32 = 3 &<< 30
  @inline(__always)
  var timeout: UInt32 {
    get { shared32(line, 40).plain }
    nonmutating set { shared32(line, 40).plain = newValue }
  }
  @inline(__always)
  var lastSeen: UInt32 {
    get { shared32(line, 44).plain }
    nonmutating set { shared32(line, 44).plain = newValue }
  }
  @inline(__always)
  var packets: UInt64 {
    get { shared64(line, 48).plain }
    nonmutating set { shared64(line, 48).plain = newValue }
  }
  @inline(__always)
  var byteCount: UInt64 {
    get { shared64(line, 56).plain }
    nonmutating set { shared64(line, 56).plain = newValue }
  }

  /// Not idle for as long as `timeout` yet.
  @inline(__always)
  func isLive(for timeout: UInt32, at tick: UInt32) -> Bool { Int32(bitPattern: tick &- lastSeen &- timeout) < 0 }

  /// Counts a packet. A direction normally has one worker: two at once may lose a count, never more.
  @inline(__always)
  func count(bytes: Int) {
    packets &+= 1
    byteCount &+= UInt64(truncatingIfNeeded: bytes)
  }
}

/// How a flow's packets are rewritten.
enum FlowKind {
  static let free: UInt8 = 0
  static let udp: UInt8 = 1
  static let tcp: UInt8 = 2
  /// TCP that a helper reads. Always the slow path's.
  static let helped: UInt8 = 3
  /// The querier's direction: the identifier is the source port.
  static let echoRequest: UInt8 = 4
  /// The answering direction: the identifier is the destination port.
  static let echoReply: UInt8 = 5
  /// Another IP protocol: addresses alone are rewritten. Always the slow path's.
  static let other: UInt8 = 6

  static func isTCP(_ kind: UInt8) -> Bool { kind == tcp || kind == helped }
}

/// Both directions together.
///
///     offset  0  word         UInt64  SessionWord
///             8  origin       UInt32  Origin.rawValue
///            12  mapping      UInt32  0 = none
///            16  TCP window   2 x (end, acknowledged, edge: UInt32), per direction: see TCPTracker
///            40  TCP scale    2 x UInt8; upper half set = none in use
///            42  counted      UInt8   1: among the sessions of the inside host that has begun it
///            43  expected     UInt8   1: over IPv6, what a helper has let in
///            44  remote       UInt32  raw; the outside peer as the mapping sees it
///            48  next         UInt32  session of the same mapping << 1 | taken out; see `Flows.walk`
///            52  link         UInt32  of the list of free places
///            56  identity     UInt32  order of creation
///            60  pinned       UInt32  mapping that a hairpin session goes to; 0 = none
struct CommonLine {
  static let linkOffset = 52

  let line: UnsafeMutableRawPointer

  @inline(__always)
  init(_ line: UnsafeMutableRawPointer) { self.line = line }

  /// State, marks and timeout at once. What is written before a store of it is seen by whoever loads it.
  @inline(__always)
  var word: SessionWord {
    get { SessionWord(rawValue: shared64(line, 0).pointee.load(ordering: .acquiring)) }
    nonmutating set { shared64(line, 0).pointee.store(newValue.rawValue, ordering: .releasing) }
  }

  /// Changes the word, if nobody else has since it was `expected`.
  func exchange(_ expected: SessionWord, _ desired: SessionWord) -> Bool {
    shared64(line, 0).pointee.compareExchange(
      expected: expected.rawValue, desired: desired.rawValue, ordering: .acquiringAndReleasing
    ).exchanged
  }

  /// Sets the timeout that belongs to the state, and returns it.
  func setTimeout(for state: (UInt8) -> UInt32) -> UInt32 {
    while true {
      let before = word
      var after = before
      after.timeout = state(before.state)
      if exchange(before, after) { return after.timeout }
    }
  }

  /// Sets marks of one direction.
  func mark(_ d: Int, _ bits: UInt8) {
    let mask = UInt64(bits) &<< (8 &+ UInt64(d) &* 8)
    if word.rawValue & mask != mask { shared64(line, 0).pointee.bitwiseOr(mask, ordering: .acquiringAndReleasing) }
  }
  /// Clears marks of one direction; a load where they are clear.
  @inline(__always)
  func unmark(_ d: Int, _ bits: UInt8) {
    let mask = UInt64(bits) &<< (8 &+ UInt64(d) &* 8)
    if word.rawValue & mask != 0 { shared64(line, 0).pointee.bitwiseAnd(~mask, ordering: .acquiringAndReleasing) }
  }

  @inline(__always)
  var state: UInt8 { word.state }
  @inline(__always)
  var timeout: UInt32 { word.timeout }
  var origin: Origin {
    get { Origin(rawValue: shared32(line, 8).plain) }
    nonmutating set { shared32(line, 8).plain = newValue.rawValue }
  }
  var mapping: UInt32 {
    get { shared32(line, 12).plain }
    nonmutating set { shared32(line, 12).plain = newValue }
  }
  var isCounted: Bool {
    get { shared8(line, 42).plain != 0 }
    nonmutating set { shared8(line, 42).plain = newValue ? 1 : 0 }
  }
  /// What the session has from now on.
  func take(_ claims: Claims) {
    mapping = claims.mapping
    pinned = claims.pinned
    isCounted = claims.isCounted
  }
  var isExpected: Bool {
    get { shared8(line, 43).plain != 0 }
    nonmutating set { shared8(line, 43).plain = newValue ? 1 : 0 }
  }
  var remote: UInt32 {
    get { shared32(line, 44).plain }
    nonmutating set { shared32(line, 44).plain = newValue }
  }
  var next: UnsafeMutablePointer<Atomic<UInt32>> { shared32(line, 48) }
  var identity: UInt32 {
    get { shared32(line, 56).plain }
    nonmutating set { shared32(line, 56).plain = newValue }
  }
  var pinned: UInt32 {
    get { shared32(line, 60).plain }
    nonmutating set { shared32(line, 60).plain = newValue }
  }

  /// Takes over what is known of a TCP connection's windows. Any bytes are windows; a scale that cannot be is none.
  func copyWindows(from other: CommonLine) {
    for offset in stride(from: 16, to: 40, by: 4) { shared32(line, offset).plain = shared32(other.line, offset).plain }
    for offset in 40..<42 {
      let scale = shared8(other.line, offset).plain
      shared8(line, offset).plain = scale & 0x0F > 14 ? scale & 0xF0 : scale
    }
  }

  /// Makes the line as it was at first; atomic, since a line that was a session may be looked at by its number alone.
  func clear() {
    for offset in stride(from: 0, to: FlowLine.bytes, by: 8) { shared64(line, offset).plain = 0 }
  }
}

/// What decides how long a session lives: one word, changed by compare-and-swap as a whole.
///
///     bits  0  state             SessionState
///           8  TCP marks         2 x 8 bits, per direction
///          24  state before RST
///          32  timeout           ticks, in this state
struct SessionWord: Equatable {
  var rawValue: UInt64

  @inline(__always)
  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(state: UInt8, timeout: UInt32) { rawValue = UInt64(state) | UInt64(timeout) &<< 32 }

  @inline(__always)
  private func byte(_ shift: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: rawValue &>> shift) }
  private mutating func put(_ value: UInt8, _ shift: UInt64) {
    rawValue = rawValue & ~(0xFF &<< shift) | UInt64(value) &<< shift
  }

  /// `SessionState` as a number.
  @inline(__always)
  var state: UInt8 {
    get { byte(0) }
    set { put(newValue, 0) }
  }
  var stateBeforeReset: UInt8 {
    get { byte(24) }
    set { put(newValue, 24) }
  }
  @inline(__always)
  var timeout: UInt32 {
    get { UInt32(truncatingIfNeeded: rawValue &>> 32) }
    set { rawValue = rawValue & 0xFFFF_FFFF | UInt64(newValue) &<< 32 }
  }
  /// What one direction has done so far: see `TCPTracker`.
  @inline(__always)
  func marks(_ d: Int) -> UInt8 { byte(8 &+ UInt64(d) &* 8) }
  mutating func clearMarks() { rawValue &= ~0xFF_FF00 }
}

/// The life of a session, as it stands in `CommonLine.state`.
enum SessionState {
  static let free: UInt8 = 0
  /// UDP and echo: alive until idle for its timeout.
  static let open: UInt8 = 1
  /// TCP: not yet acknowledged on both sides.
  static let opening: UInt8 = 2
  static let established: UInt8 = 3
  /// TCP: both sides have sent FIN.
  static let closing: UInt8 = 4
  /// TCP: a valid RST went through; anything but a RST brings the state before it back (RFC 7857 section 2.2).
  static let reset: UInt8 = 5
  /// TCP: ended before its time. Not live: both directions are refused until it expires.
  static let cut: UInt8 = 6
  /// Being taken out, by the one worker that has set this.
  static let ending: UInt8 = 7
  /// On the way to `cut`, by the one worker that has set this: its place stays in use.
  static let leaving: UInt8 = 8

  /// Gives way where room is short: not acknowledged by both sides yet, or over but for its timer.
  static func givesWay(_ state: UInt8) -> Bool { state == opening || (closing...cut).contains(state) }

  /// Some worker is just ending it.
  static func isGoing(_ state: UInt8) -> Bool { state >= ending }

  static func name(_ state: UInt8) -> String {
    switch state {
    case open: "open"
    case opening: "opening"
    case established: "established"
    case closing: "closing"
    case reset: "reset"
    case cut: "cut"
    case ending, leaving: "ending"
    default: "free"
    }
  }
}

/// What made a session: a kind in the upper four bits, an index into the plan in the rest.
struct Origin: Equatable {
  var rawValue: UInt32

  static func forward(_ index: Int) -> Origin { Origin(rawValue: 1 &<< 28 | UInt32(truncatingIfNeeded: index)) }
  static func masquerade(_ index: Int) -> Origin { Origin(rawValue: 2 &<< 28 | UInt32(truncatingIfNeeded: index)) }
  static var hairpin: Origin { Origin(rawValue: 3 &<< 28) }
  static func trigger(_ index: Int) -> Origin { Origin(rawValue: 4 &<< 28 | UInt32(truncatingIfNeeded: index)) }
  static var outbound: Origin { Origin(rawValue: 5 &<< 28) }

  var report: SessionReport.Origin {
    let index = Int(rawValue & 0x0FFF_FFFF)
    return switch rawValue &>> 28 {
    case 1: .forward(index)
    case 2: .masquerade(index)
    case 4: .trigger(index)
    case 5: .outbound
    default: .hairpin
    }
  }
}
