/// A mapping: (protocol, inside endpoint) <-> (protocol, outside endpoint), found by either. One cache line.
///
///     offset  0  inside address   UInt32  raw
///             4  remote address   UInt32  raw; 0 where the mapping is endpoint-independent
///             8  inside port      UInt16  raw
///            10  remote port      UInt16  raw; 0 unless address-and-port-dependent
///            12  pool             UInt16  of the outside address
///            14  protocol         UInt8
///            15  state            UInt8   MappingState
///            16  outside address  UInt32  raw
///            20  outside port     UInt16  raw
///            22  filtering        UInt8   place in EndpointRule.allCases
///            23  -
///            24  head             UInt32  first of its sessions; 0 = none
///            28  pins             UInt32  hairpin sessions that come in by it
///            32  last deadline    UInt32  tick: latest of the sessions that are gone; in quarantine: its end
///            36  next             UInt32  of the free list
///            40  interface        UInt16  inside interface that leads to the inside address
///            42  plan generation  UInt16  of the rules that it was last found right under
struct MappingLine {
  static let bytes = 64

  let line: UnsafeMutableRawPointer

  func load<T: BitwiseCopyable>(_ offset: Int, _: T.Type = T.self) -> T {
    line.load(fromByteOffset: offset, as: T.self)
  }
  func store<T: BitwiseCopyable>(_ offset: Int, _ value: T) {
    line.storeBytes(of: value, toByteOffset: offset, as: T.self)
  }

  var insideAddress: UInt32 { load(0) }
  var insidePort: UInt16 { load(8) }
  var pool: UInt16 { load(12) }
  var ipProtocol: UInt8 { load(14) }
  var state: UInt8 {
    get { load(15) }
    nonmutating set { store(15, newValue) }
  }
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
  var head: UInt32 {
    get { load(24) }
    nonmutating set { store(24, newValue) }
  }
  var pins: UInt32 {
    get { load(28) }
    nonmutating set { store(28, newValue) }
  }
  var lastDeadline: UInt32 {
    get { load(32) }
    nonmutating set { store(32, newValue) }
  }
  var next: UInt32 {
    get { load(36) }
    nonmutating set { store(36, newValue) }
  }
  var interface: UInt16 {
    get { load(40) }
    nonmutating set { store(40, newValue) }
  }
  var planGeneration: UInt16 {
    get { load(42) }
    nonmutating set { store(42, newValue) }
  }

  var insideKey: FlowKey {
    get {
      MappingTable.insideKey(
        addresses: load(0), ports: UInt64(load(8, UInt32.self)), pool: pool, ipProtocol: ipProtocol)
    }
    nonmutating set {
      store(0, newValue.addresses)
      store(8, newValue.ports)
      store(12, newValue.scope)
      store(14, newValue.ipProtocol)
    }
  }
  var outsideKey: FlowKey {
    MappingTable.outsideKey(address: outsideAddress, port: outsidePort, ipProtocol: ipProtocol)
  }
}

enum MappingState {
  static let free: UInt8 = 0
  static let live: UInt8 = 1
  /// Its port waits for its former owner (RFC 6888 REQ-8).
  static let quarantined: UInt8 = 2
}

/// All mappings, in the region, with an index of three kinds of keys in it: inside endpoints, outside endpoints, and (mapping,
/// remote address) for address-dependent filtering, which finds the first of the sessions with that remote.
struct MappingTable {
  let capacity: Int
  let secret: HashSecret
  private let index: FlowIndex
  private let base: UnsafeMutableRawPointer
  private var freeHead: UInt32 = 0
  private(set) var highWater: UInt32 = 1
  private(set) var used = 0

  init(_ region: Region, secret: HashSecret) {
    capacity = region.layout.capacity
    self.secret = secret
    index = region.mappingIndex
    base = region.mappings
  }

  subscript(mapping: UInt32) -> MappingLine { MappingLine(line: base + Int(mapping) &* MappingLine.bytes) }

  // The key's uppermost byte tells the kinds apart.

  static func insideKey(addresses: UInt64, ports: UInt64, pool: UInt16, ipProtocol: UInt8) -> FlowKey {
    var key = FlowKey(addresses: addresses, ports: ports, scope: pool, ipProtocol: ipProtocol)
    key.rest |= 1 &<< 56
    return key
  }

  static func outsideKey(address: UInt32, port: UInt16, ipProtocol: UInt8) -> FlowKey {
    var key = FlowKey(addresses: UInt64(address), ports: UInt64(port), scope: 0, ipProtocol: ipProtocol)
    key.rest |= 2 &<< 56
    return key
  }

  private static func remoteKey(mapping: UInt32, remote: UInt32) -> FlowKey {
    FlowKey(addresses: UInt64(remote) | UInt64(mapping) &<< 32, rest: 3 &<< 56)
  }

  // An index value is the mapping (or the session) with two bits that say which kind of key led to it.
  private static let inside: UInt32 = 0
  private static let outside: UInt32 = 1
  private static let remote: UInt32 = 2

  /// The mapping, live or quarantined, of an inside key.
  func find(inside key: FlowKey) -> UInt32? {
    var candidates = index.candidates(secret.hash(key))
    while let value = candidates.next() {
      if value & 3 == Self.inside, self[value &>> 2].insideKey == key { return value &>> 2 }
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

  /// The first of the mapping's sessions with this remote address. `owner` and `remoteOf` tell of a session.
  func find(mapping: UInt32, remote: UInt32, sessions: SessionTable) -> UInt32? {
    var candidates = index.candidates(secret.hash(Self.remoteKey(mapping: mapping, remote: remote)))
    while let value = candidates.next() {
      let session = value &>> 2
      if value & 3 == Self.remote, sessions.common(session).mapping == mapping,
        sessions.common(session).remote == remote
      {
        return session
      }
    }
    return nil
  }

  /// Makes a live mapping; nil where the table is full.
  mutating func insert(
    inside key: FlowKey, outsideAddress: UInt32, outsidePort: UInt16, filtering: EndpointRule, interface: UInt16
  ) -> UInt32? {
    guard used < capacity else { return nil }
    let isFresh = freeHead == 0
    let mapping = isFresh ? highWater : freeHead
    let line = self[mapping]
    let next = line.next
    line.line.initializeMemory(as: UInt64.self, repeating: 0, count: MappingLine.bytes / 8)
    line.insideKey = key
    line.outsideAddress = outsideAddress
    line.outsidePort = outsidePort
    line.filtering = filtering
    line.interface = interface
    guard index.insert(secret.hash(key), mapping &<< 2 | Self.inside) else {
      line.next = next
      return nil
    }
    guard index.insert(secret.hash(line.outsideKey), mapping &<< 2 | Self.outside) else {
      index.remove(secret.hash(key), mapping &<< 2 | Self.inside)
      line.next = next
      return nil
    }
    line.state = MappingState.live
    if isFresh { highWater &+= 1 } else { freeHead = next }
    used &+= 1
    return mapping
  }

  mutating func remove(_ mapping: UInt32) {
    let line = self[mapping]
    index.remove(secret.hash(line.insideKey), mapping &<< 2 | Self.inside)
    index.remove(secret.hash(line.outsideKey), mapping &<< 2 | Self.outside)
    line.state = MappingState.free
    line.next = freeHead
    freeHead = mapping
    used &-= 1
  }

  /// Adds a session to its mapping's list: behind the first with the same remote, so that a remote's sessions stand
  /// together and one index entry finds them. False where the index has no room.
  func link(_ session: UInt32, to mapping: UInt32, remote: UInt32, sessions: SessionTable) -> Bool {
    let line = self[mapping]
    let common = sessions.common(session)
    var after: UInt32 = 0
    if line.filtering == .addressDependent {
      if let first = find(mapping: mapping, remote: remote, sessions: sessions) {
        after = first
      } else if !index.insert(
        secret.hash(Self.remoteKey(mapping: mapping, remote: remote)), session &<< 2 | Self.remote)
      {
        return false
      }
    }
    common.mapping = mapping
    common.remote = remote
    common.previous = after
    common.next = after == 0 ? line.head : sessions.common(after).next
    if common.next != 0 { sessions.common(common.next).previous = session }
    if after == 0 { line.head = session } else { sessions.common(after).next = session }
    return true
  }

  /// Takes a session out of its mapping's list.
  func unlink(_ session: UInt32, sessions: SessionTable) {
    let common = sessions.common(session)
    let mapping = common.mapping
    let line = self[mapping]
    let next = common.next
    if line.filtering == .addressDependent,
      find(mapping: mapping, remote: common.remote, sessions: sessions) == session
    {
      let hash = secret.hash(Self.remoteKey(mapping: mapping, remote: common.remote))
      if next != 0, sessions.common(next).remote == common.remote {
        index.replace(hash, session &<< 2 | Self.remote, with: next &<< 2 | Self.remote)
      } else {
        index.remove(hash, session &<< 2 | Self.remote)
      }
    }
    if common.previous == 0 { line.head = next } else { sessions.common(common.previous).next = next }
    if next != 0 { sessions.common(next).previous = common.previous }
    common.mapping = 0
  }
}
