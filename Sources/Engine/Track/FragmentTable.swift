/// What is known of a datagram that comes in pieces.
struct FragmentEntry {
  enum State: UInt8 {
    case free
    /// Pieces wait for the first one, which has the ports.
    case waiting
    /// The first one was not let through: neither are the others.
    case refused
    /// The first one belongs to a session: the others go the same way.
    case translated
  }

  var state = State.free
  /// Of a refused one; `none` where it was left to the host.
  var reason = DropReason.none
  /// Pieces seen so far.
  var pieces: UInt8 = 0
  /// The share of its source.
  var group: UInt8 = 0
  /// Source, destination, protocol, ingress; the identification stands for the source port.
  var key = FlowKey(addresses: 0, rest: 0)
  /// Nanoseconds; when it is forgotten.
  var due: UInt64 = 0
  /// Pieces that wait, in order of arrival; places in a `HoldPool`, 0 for none.
  var heldHead: UInt16 = 0
  var heldTail: UInt16 = 0
  /// What the identification becomes, raw.
  var identification: UInt16 = 0
  /// Ports of the first piece, as in a key.
  var ports: UInt64 = 0
  var flow: UInt32 = 0
  /// Of the flow's session, which may be gone by now.
  var identity: UInt32 = 0
  // Neighbours in the list of its class, by age, and in its hash chain; 0 for none.
  var next: UInt16 = 0
  var previous: UInt16 = 0
  var chain: UInt16 = 0
}

/// The datagrams that come in pieces, so that these are translated without putting them together (RFC 4787 REQ-14).
///
/// Bounded, and fair: those that have a session (*proven*) and the others have room of their own, so that a flood of
/// pieces that lead nowhere takes nothing from datagrams in order. Among the unproven the source with the most gives way
/// (CVE-2018-5391 was an attack on such room). Sources share by a keyed hash, so that nobody can choose his company.
struct FragmentTable {
  static let unproven = 2048
  static let proven = 4096
  /// A datagram of 65,535 bytes has 45 pieces on Ethernet.
  static let piecesPerDatagram = 64
  private static let chains = 4096
  private static let groups = 256

  private struct List {
    var head: UInt16 = 0
    var tail: UInt16 = 0
    var count = 0
  }

  private let secret: HashSecret
  private let entries: UnsafeMutablePointer<FragmentEntry>
  /// First byte (low half) and the byte behind the last of every piece, in units of 8 bytes: 64 for each entry.
  private let ranges: UnsafeMutablePointer<UInt32>
  private let chainHeads: UnsafeMutablePointer<UInt16>
  /// Unproven datagrams and their held pieces, by group.
  private let loads: UnsafeMutablePointer<UInt16>
  private var freeHead: UInt16 = 0
  private var unprovenList = List()
  private var provenList = List()
  /// True where a timer stands in the queue for the oldest unproven one.
  var isTimerSet = false

  init(secret: HashSecret) {
    self.secret = secret
    let count = Self.unproven + Self.proven
    entries = .allocate(capacity: count + 1)
    entries.initialize(repeating: FragmentEntry(), count: count + 1)
    ranges = .allocate(capacity: (count + 1) * Self.piecesPerDatagram)
    chainHeads = .allocate(capacity: Self.chains)
    chainHeads.initialize(repeating: 0, count: Self.chains)
    loads = .allocate(capacity: Self.groups)
    loads.initialize(repeating: 0, count: Self.groups)
    for place in (1...count).reversed() {
      entries[place].next = freeHead
      freeHead = UInt16(place)
    }
  }

  func release() {
    entries.deallocate()
    ranges.deallocate()
    chainHeads.deallocate()
    loads.deallocate()
  }

  mutating func pass(_ state: inout StatePass) {
    state.word(&freeHead)
    state.word(&unprovenList)
    state.word(&provenList)
    state.word(&isTimerSet)
    state.memory(entries, Self.unproven + Self.proven + 1)
    state.memory(ranges, (Self.unproven + Self.proven + 1) * Self.piecesPerDatagram)
    state.memory(chainHeads, Self.chains)
    state.memory(loads, Self.groups)
  }

  subscript(place: UInt16) -> FragmentEntry {
    get { entries[Int(place)] }
    nonmutating set { entries[Int(place)] = newValue }
  }

  static func key(_ header: IPv4Header, scope: UInt16) -> FlowKey {
    FlowKey(
      addresses: header.start.raw64(IPv4Header.sourceOffset), ports: UInt64(header.start.raw16(4)), scope: scope,
      ipProtocol: header.ipProtocol)
  }

  // MARK: Finding

  private func chain(_ key: FlowKey) -> Int { Int(truncatingIfNeeded: secret.hash(key) % UInt64(Self.chains)) }

  /// The datagram with this key; a proven one that has grown old is forgotten on the way.
  mutating func find(_ key: FlowKey, at now: UInt64) -> UInt16? {
    var place = chainHeads[chain(key)]
    while place != 0, entries[Int(place)].key != key { place = entries[Int(place)].chain }
    guard place != 0 else { return nil }
    if entries[Int(place)].state == .translated, entries[Int(place)].due <= now {
      remove(place)
      return nil
    }
    return place
  }

  /// True where another unproven datagram needs another to give way.
  var isUnprovenFull: Bool { unprovenList.count >= Self.unproven }

  /// The unproven datagram that gives way: the oldest of the source with the most.
  var victim: UInt16 {
    var largest = 0
    for group in 1..<Self.groups where loads[group] > loads[largest] { largest = group }
    var place = unprovenList.head
    while place != 0, Int(entries[Int(place)].group) != largest { place = entries[Int(place)].next }
    return place
  }

  /// The unproven datagram that is forgotten next; 0 for none.
  var oldestUnproven: UInt16 { unprovenList.head }

  // MARK: Changing

  /// Makes an unproven datagram; the caller has seen to it that there is room.
  mutating func insert(_ key: FlowKey, due: UInt64) -> UInt16 {
    let place = take(key, due: due)
    let group = UInt8(truncatingIfNeeded: secret.hash(UInt64(key.source), UInt64(key.scope) &<< 32 | 0x6672_6167))
    entries[Int(place)].group = group
    loads[Int(group)] &+= 1
    append(place, to: &unprovenList)
    return place
  }

  /// A datagram, known or not, whose first piece has found a session.
  mutating func prove(_ known: UInt16?, _ key: FlowKey, due: UInt64) -> UInt16 {
    if let known {
      guard entries[Int(known)].state != .translated else { return known }
      loads[Int(entries[Int(known)].group)] &-= 1
      take(known, outOf: &unprovenList)
    }
    if provenList.count >= Self.proven { remove(provenList.head) }
    let place = known ?? take(key, due: due)
    entries[Int(place)].state = .translated
    entries[Int(place)].due = due
    append(place, to: &provenList)
    return place
  }

  /// Forgets a datagram; none of its pieces may be held any more.
  mutating func remove(_ place: UInt16) {
    if entries[Int(place)].state == .translated {
      take(place, outOf: &provenList)
    } else {
      loads[Int(entries[Int(place)].group)] &-= 1
      take(place, outOf: &unprovenList)
    }
    let chain = chain(entries[Int(place)].key)
    var link = chainHeads + chain
    while link.pointee != place { link = chainLink(link.pointee) }
    link.pointee = entries[Int(place)].chain
    entries[Int(place)] = FragmentEntry()
    entries[Int(place)].next = freeHead
    freeHead = place
  }

  /// A piece of an unproven datagram is held from now on, or no longer.
  func countHeld(_ place: UInt16, _ change: Int) {
    let group = Int(entries[Int(place)].group)
    loads[group] = UInt16(truncatingIfNeeded: Int(loads[group]) &+ change)
  }

  private func chainLink(_ place: UInt16) -> UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer(entries + Int(place)).advanced(by: MemoryLayout<FragmentEntry>.offset(of: \.chain)!)
      .assumingMemoryBound(to: UInt16.self)
  }

  private mutating func take(_ key: FlowKey, due: UInt64) -> UInt16 {
    let place = freeHead
    freeHead = entries[Int(place)].next
    let chain = chain(key)
    entries[Int(place)] = FragmentEntry()
    entries[Int(place)].key = key
    entries[Int(place)].due = due
    entries[Int(place)].state = .waiting
    entries[Int(place)].chain = chainHeads[chain]
    chainHeads[chain] = place
    return place
  }

  private func append(_ place: UInt16, to list: inout List) {
    entries[Int(place)].next = 0
    entries[Int(place)].previous = list.tail
    if list.tail == 0 { list.head = place } else { entries[Int(list.tail)].next = place }
    list.tail = place
    list.count &+= 1
  }

  private func take(_ place: UInt16, outOf list: inout List) {
    let (next, previous) = (entries[Int(place)].next, entries[Int(place)].previous)
    if previous == 0 { list.head = next } else { entries[Int(previous)].next = next }
    if next == 0 { list.tail = previous } else { entries[Int(next)].previous = previous }
    list.count &-= 1
  }

  // MARK: Pieces

  enum Piece {
    case new
    /// The very same range once more.
    case repeated
    /// Shares bytes with another piece: which of the two a receiver believes cannot be known (RFC 1858, RFC 3128).
    case overlapping
    case tooMany
  }

  /// Notes a piece of a datagram: `length` bytes at `offset`, which is in units of 8 bytes.
  func note(_ place: UInt16, offset: Int, length: Int) -> Piece {
    let seen = ranges + Int(place) &* Self.piecesPerDatagram
    let count = Int(entries[Int(place)].pieces)
    let end = offset &+ (length &+ 7) / 8
    let range = UInt32(truncatingIfNeeded: offset) | UInt32(truncatingIfNeeded: end) &<< 16
    for index in 0..<count {
      if seen[index] == range { return .repeated }
      if offset < Int(seen[index] &>> 16), Int(seen[index] & 0xFFFF) < end { return .overlapping }
    }
    guard count < Self.piecesPerDatagram else { return .tooMany }
    (seen + count).initialize(to: range)
    entries[Int(place)].pieces &+= 1
    return .new
  }
}
