// Where everything in a session stands: three adjacent cache lines, one per direction and one for both.
// Key and rewrite do not change from the moment the session is in the index until it is out again.

/// One direction: what a UDP packet touches besides its bucket.
///
///     offset  0  key.addresses     UInt64  raw
///             8  key.rest          UInt64
///            16  new addresses     UInt64  raw, as they stand in the IPv4 header afterwards
///            24  new ports         UInt32  raw, source in the low half
///            28  network delta     UInt16  RFC 1624 delta of the addresses
///            30  transport delta   UInt16  of addresses and ports (ICMP: of the identifier alone)
///            32  adjacency         UInt16  0 = none found yet
///            34  plan generation   UInt16
///            36  generation        UInt16  of the session's place
///            38  kind              UInt8   FlowKind
///            39  -                 UInt8
///            40  timeout           UInt32  ticks (TCP: see the common line)
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
  @inline(__always)
  var networkDelta: UInt16 {
    get { load(28) }
    nonmutating set { store(28, newValue) }
  }
  @inline(__always)
  var transportDelta: UInt16 {
    get { load(30) }
    nonmutating set { store(30, newValue) }
  }
  @inline(__always)
  var adjacency: UInt16 {
    get { load(32) }
    nonmutating set { store(32, newValue) }
  }
  /// Of the rules that the session was last found right under.
  @inline(__always)
  var planGeneration: UInt16 {
    get { load(34) }
    nonmutating set { store(34, newValue) }
  }
  @inline(__always)
  var generation: UInt16 {
    get { load(36) }
    nonmutating set { store(36, newValue) }
  }
  /// `FlowKind` as a number: compared without a switch in the burst loop.
  @inline(__always)
  var kind: UInt8 {
    get { load(38) }
    nonmutating set { store(38, newValue) }
  }
  @inline(__always)
  var timeout: UInt32 {
    get { load(40) }
    nonmutating set { store(40, newValue) }
  }
  @inline(__always)
  var lastSeen: UInt32 {
    get { load(44) }
    nonmutating set { store(44, newValue) }
  }
  @inline(__always)
  var packets: UInt64 {
    get { load(48) }
    nonmutating set { store(48, newValue) }
  }
  @inline(__always)
  var byteCount: UInt64 {
    get { load(56) }
    nonmutating set { store(56, newValue) }
  }

  /// Counts a packet.
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
  /// The querier's direction: the identifier is the source port.
  static let echoRequest: UInt8 = 3
  /// The answering direction: the identifier is the destination port.
  static let echoReply: UInt8 = 4
}

/// Both directions together.
///
///     offset  0  state        UInt8   SessionState
///             1  -            UInt8
///             2  TCP marks    2 x UInt8, per direction
///             4  timeout      UInt32  ticks, in this state
///             8  origin       UInt32  Origin.rawValue
///            12  mapping      UInt32  0 = none
///            16  TCP window   2 x (end, acknowledged, edge: UInt32), per direction: see TCPTracker
///            40  TCP scale    2 x UInt8; upper half set = none in use
///            42  state before RST  UInt8
///            43  -
///            44  remote       UInt32  raw; the outside peer as the mapping sees it
///            48  next         UInt32  session of the same mapping; of the free list
///            52  previous     UInt32
///            56  identity     UInt32  order of creation
///            60  pinned       UInt32  mapping that a hairpin session goes to; 0 = none
struct CommonLine {
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

  /// `SessionState` as a number.
  @inline(__always)
  var state: UInt8 {
    get { load(0) }
    nonmutating set { store(0, newValue) }
  }
  @inline(__always)
  var timeout: UInt32 {
    get { load(4) }
    nonmutating set { store(4, newValue) }
  }
  var origin: Origin {
    get { Origin(rawValue: load(8)) }
    nonmutating set { store(8, newValue.rawValue) }
  }
  var mapping: UInt32 {
    get { load(12) }
    nonmutating set { store(12, newValue) }
  }
  var stateBeforeReset: UInt8 {
    get { load(42) }
    nonmutating set { store(42, newValue) }
  }
  var remote: UInt32 {
    get { load(44) }
    nonmutating set { store(44, newValue) }
  }
  var next: UInt32 {
    get { load(48) }
    nonmutating set { store(48, newValue) }
  }
  var previous: UInt32 {
    get { load(52) }
    nonmutating set { store(52, newValue) }
  }
  var identity: UInt32 {
    get { load(56) }
    nonmutating set { store(56, newValue) }
  }
  var pinned: UInt32 {
    get { load(60) }
    nonmutating set { store(60, newValue) }
  }
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

  static func name(_ state: UInt8) -> String {
    switch state {
    case open: "open"
    case opening: "opening"
    case established: "established"
    case closing: "closing"
    case reset: "reset"
    case cut: "cut"
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

  var report: SessionReport.Origin {
    let index = Int(rawValue & 0x0FFF_FFFF)
    return switch rawValue &>> 28 {
    case 1: .forward(index)
    case 2: .masquerade(index)
    default: .hairpin
    }
  }
}
