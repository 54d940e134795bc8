import Synchronization

/// A mapping: (protocol, inside endpoint) <-> (protocol, outside endpoint), found by either. One cache line. Its endpoints
/// do not change from the moment it can be found until nobody can be reading it any more. Of IPv6 the addresses are digests
/// and numbers: see `MappingSides`.
///
///     offset  0  inside address   UInt32  raw
///             4  remote address   UInt32  raw; 0 where the mapping is endpoint-independent
///             8  inside port      UInt16  raw
///            10  remote port      UInt16  raw; 0 unless address-and-port-dependent
///            12  pool             UInt16  of the outside address
///            14  protocol         UInt8
///            15  marks            UInt8   MappingMark
///            16  outside address  UInt32  raw
///            20  outside port     UInt16  raw
///            22  filtering        UInt8   place in EndpointRule.allCases
///            23  kind             UInt8   of its inside key: see `MappingKind`
///            24  life             UInt64  MappingLife; of a free place its upper half links the list of free places
///            32  head             UInt32  first of its sessions << 1; 0 = none
///            36  guest            UInt32  one of the hairpin sessions that go to it; 0 = none so far
///            40  interface        UInt16  inside interface that leads to the inside address
///            42  plan generation  UInt16  of the rules that it was last found right under
///            44  witness          UInt32  one of the sessions with the peer, to be looked at first
///            48  expectation      UInt64  Expectation
///            56  peer             UInt64  PeerCount
///
/// A place may also be a permit of a mapping, which has a peer more: see `Permits.swift`.
struct MappingLine {
  static let bytes = 64
  /// The deadline's: whoever comes late changes a life only from a state that is not free, and by compare-and-swap.
  static let linkOffset = 28

  let line: UnsafeMutableRawPointer

  func load<T: BitwiseCopyable>(_ offset: Int, _: T.Type = T.self) -> T {
    line.load(fromByteOffset: offset, as: T.self)
  }
  func store<T: BitwiseCopyable>(_ offset: Int, _ value: T) {
    line.storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  /// Makes the line of a place that nobody can find as it was at first.
  func clear() {
    for offset in stride(from: 0, to: Self.bytes, by: 8) { shared64(line, offset).plain = 0 }
  }

  var insideAddress: UInt32 { load(0) }
  var insidePort: UInt16 { load(8) }
  var pool: UInt16 { load(12) }
  var ipProtocol: UInt8 { load(14) }
  var outsideAddress: UInt32 {
    get { load(16) }
    nonmutating set { store(16, newValue) }
  }
  var outsidePort: UInt16 {
    get { load(20) }
    nonmutating set { store(20, newValue) }
  }
  var filtering: EndpointRule {
    get { EndpointRule.allCases[Int(load(22, UInt8.self))] }
    nonmutating set { store(22, UInt8(truncatingIfNeeded: EndpointRule.allCases.firstIndex(of: newValue) ?? 0)) }
  }
  /// What is written before a store of it is seen by whoever loads it.
  var life: MappingLife {
    get { MappingLife(rawValue: shared64(line, 24).pointee.load(ordering: .acquiring)) }
    nonmutating set { shared64(line, 24).pointee.store(newValue.rawValue, ordering: .releasing) }
  }
  /// Changes the life, if nobody else has since it was `expected`.
  func exchange(_ expected: MappingLife, _ desired: MappingLife) -> Bool {
    shared64(line, 24).pointee.compareExchange(
      expected: expected.rawValue, desired: desired.rawValue, ordering: .acquiringAndReleasing
    ).exchanged
  }
  var state: UInt32 { life.state }
  var kind: UInt8 { load(23) }
  var head: UnsafeMutablePointer<Atomic<UInt32>> { shared32(line, 32) }
  var guest: UnsafeMutablePointer<Atomic<UInt32>> { shared32(line, 36) }
  /// Of `MappingMark`.
  var marks: UnsafeMutablePointer<Atomic<UInt8>> { shared8(line, 15) }
  func has(_ mark: UInt8) -> Bool { marks.pointee.load(ordering: .acquiring) & mark != 0 }
  func mark(_ mark: UInt8) { marks.pointee.bitwiseOr(mark, ordering: .acquiringAndReleasing) }
  /// A full fence: what is looked at next is no older.
  func unmark(_ mark: UInt8) { marks.pointee.bitwiseAnd(~mark, ordering: .sequentiallyConsistent) }
  var interface: UInt16 {
    get { load(40) }
    nonmutating set { store(40, newValue) }
  }

  /// Of the rules that the mapping was last found right under.
  var planGeneration: UInt16 {
    get { shared16(line, 42).plain }
    nonmutating set { shared16(line, 42).plain = newValue }
  }

  var insideKey: FlowKey {
    get {
      MappingTable.insideKey(
        addresses: load(0), ports: UInt64(load(8, UInt32.self)), pool: pool, ipProtocol: ipProtocol, kind: kind)
    }
    nonmutating set {
      store(0, newValue.addresses)
      store(8, newValue.ports)
      store(12, newValue.scope)
      store(14, newValue.ipProtocol)
      store(23, UInt8(truncatingIfNeeded: newValue.rest &>> 56))
    }
  }
  var outsideKey: FlowKey {
    MappingTable.outsideKey(address: outsideAddress, port: outsidePort, ipProtocol: ipProtocol)
  }
}

enum MappingMark {
  /// Among the ports of its inside host.
  static let counted: UInt8 = 1
  /// Sessions that are over still stand in its list.
  static let littered: UInt8 = 2
  /// The expected session's source becomes the gateway's.
  static let asGateway: UInt8 = 4
}

/// State, users and latest deadline of a mapping, changed by compare-and-swap as a whole: its end is one step, and whoever
/// comes too late sees that.
///
///     bits  0  users     sessions, pins of hairpin sessions, packets that are about to make one
///          30  state     MappingState
///          32  deadline  tick: latest of the sessions that are gone; in quarantine: its end
struct MappingLife: Equatable {
  var rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(state: UInt32, users: UInt32, deadline: UInt32) {
    rawValue = UInt64(users | state &<< 30) | UInt64(deadline) &<< 32
  }

  var users: UInt32 { UInt32(truncatingIfNeeded: rawValue) & 0x3FFF_FFFF }
  var state: UInt32 { UInt32(truncatingIfNeeded: rawValue) &>> 30 }
  var deadline: UInt32 { UInt32(truncatingIfNeeded: rawValue &>> 32) }
}

enum MappingState {
  static let free: UInt32 = 0
  static let live: UInt32 = 1
  /// Its port waits for its former owner (RFC 6888 REQ-8).
  static let quarantined: UInt32 = 2
  /// Being taken out, by the one worker that has set this.
  static let ending: UInt32 = 3
}

/// All mappings and permits, in the region, with an index of three kinds of keys in it: inside endpoints, outside
/// endpoints, and (mapping, remote address). A handle: copies are the same table.
struct MappingTable: @unchecked Sendable {
  let secret: HashSecret
  let index: FlowIndex
  /// Of mappings and permits.
  let places: PlacePool
  /// Addresses of IPv6 mappings.
  let sides: MappingSides
  private let base: UnsafeMutableRawPointer

  init(_ region: Region, secret: HashSecret) {
    self.secret = secret
    index = region.mappingIndex
    base = region.mappings
    sides = region.mappingSides
    places = PlacePool(
      words: region.words.start + SharedWords.mappings, base: base, placeBytes: MappingLine.bytes,
      linkOffset: MappingLine.linkOffset, capacity: UInt32(region.layout.capacity))
  }

  subscript(mapping: UInt32) -> MappingLine { MappingLine(line: base + Int(mapping) &* MappingLine.bytes) }

  /// First place never used yet.
  var highWater: UInt32 { places.highWater }

  // The key's uppermost byte tells the kinds apart.

  static func insideKey(
    addresses: UInt64, ports: UInt64, pool: UInt16, ipProtocol: UInt8, kind: UInt8 = MappingKind.ipv4
  ) -> FlowKey {
    var key = FlowKey(addresses: addresses, ports: ports, scope: pool, ipProtocol: ipProtocol)
    key.rest |= UInt64(kind) &<< 56
    return key
  }

  static func outsideKey(address: UInt32, port: UInt16, ipProtocol: UInt8) -> FlowKey {
    var key = FlowKey(addresses: UInt64(address), ports: UInt64(port), scope: 0, ipProtocol: ipProtocol)
    key.rest |= 2 &<< 56
    return key
  }

  // An index value is the mapping (or the permit) with two bits that say which kind of key led to it.
  private static let inside: UInt32 = 0
  private static let outside: UInt32 = 1
  static let permit: UInt32 = 2

  private func hasInside(_ value: UInt32, _ key: FlowKey) -> Bool {
    value & 3 == Self.inside && self[value &>> 2].insideKey == key
  }

  // MARK: Mappings

  /// The mapping, live or quarantined, of an inside key.
  func find(inside key: FlowKey) -> UInt32? {
    var candidates = index.candidates(secret.hash(key))
    while let value = candidates.next() {
      if hasInside(value, key) { return value &>> 2 }
    }
    return nil
  }

  /// The mapping, live or quarantined, that owns an outside endpoint.
  func find(outside key: FlowKey) -> UInt32? {
    var candidates = index.candidates(secret.hash(key))
    while let value = candidates.next() {
      if value & 3 == Self.outside, self[value &>> 2].outsideKey == key { return value &>> 2 }
    }
    return nil
  }

  /// Puts a mapping into the index by both its keys, or by none. Nobody else can have its outside key: whoever owns the
  /// port alone makes a mapping with it.
  func publish(_ mapping: UInt32) -> SessionTable.Publication {
    let line = self[mapping]
    let key = line.insideKey
    let hash = secret.hash(key)
    let outsideHash = secret.hash(line.outsideKey)
    guard let claim = index.claim(hash) else { return .full }
    guard let outsideClaim = index.claim(outsideHash) else {
      index.withdraw(hash, claim)
      return .full
    }
    switch index.contest(hash, claim, own: outsideClaim, hasKey: { hasInside($0, key) }) {
    case .clear:
      claim.publish(mapping &<< 2 | Self.inside)
      outsideClaim.publish(mapping &<< 2 | Self.outside)
      return .made
    case .taken:
      index.withdraw(outsideHash, outsideClaim)
      index.withdraw(hash, claim)
      return .taken
    case .contended:
      index.withdraw(outsideHash, outsideClaim)
      index.withdraw(hash, claim)
      return .contended
    }
  }

  func unpublish(_ mapping: UInt32) {
    let line = self[mapping]
    index.remove(secret.hash(line.insideKey), mapping &<< 2 | Self.inside)
    index.remove(secret.hash(line.outsideKey), mapping &<< 2 | Self.outside)
  }
}
