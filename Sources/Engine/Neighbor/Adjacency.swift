import Synchronization

/// A next hop with the link header that leads to it: one cache line, shared by all sessions that go there.
///
///     offset  0  header        the first `header length` bytes of it
///            16  header tail   of Ethernet without tags: its bytes 6 to 13 again, which never change; else part of it
///            24  header length UInt8   0 (raw IP), 14, 18 or 22
///            25  state         UInt8   AdjacencyState
///            26  egress        UInt16  interface
///            28  MTU           UInt32  of the interface
///            32  address       UInt32  raw, of an IPv4 next hop
///            36  fresh until   UInt32  tick
///            40  hold head     UInt16  first held frame; 0 = none
///            42  hold tail     UInt16
///            44  hold count    UInt16
///            46  asks          UInt8   requests sent in this round
///            47  family        UInt8   0 = IPv4, 1 = IPv6: the address stands in a table of its own
///            48  asked since   UInt64  nanoseconds
///            56  next          UInt16  of the hash chain
///
/// Whoever changes one holds the lock of `EngineState`. The packet path reads it without: state, link address and the
/// time until which that is fresh are single words, the address written before the state.
struct Adjacency {
  static let bytes = 64
  /// Where the header tail is. The header has those bytes too, but two of them in the word that is changed under readers.
  private static let tail = 16

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
  var headerLength: UInt8 { load(24) }
  @inline(__always)
  var state: UInt8 {
    get { shared8(line, 25).pointee.load(ordering: .acquiring) }
    nonmutating set { shared8(line, 25).pointee.store(newValue, ordering: .releasing) }
  }
  @inline(__always)
  var egress: UInt16 { load(26) }
  @inline(__always)
  var mtu: UInt32 { load(28) }
  var address: UInt32 { load(32) }
  @inline(__always)
  var freshUntil: UInt32 {
    get { shared32(line, 36).plain }
    nonmutating set { shared32(line, 36).plain = newValue }
  }
  var holdHead: UInt16 {
    get { load(40) }
    nonmutating set { store(40, newValue) }
  }
  var holdTail: UInt16 {
    get { load(42) }
    nonmutating set { store(42, newValue) }
  }
  var holdCount: UInt16 {
    get { load(44) }
    nonmutating set { store(44, newValue) }
  }
  var asks: UInt8 {
    get { load(46) }
    nonmutating set { store(46, newValue) }
  }
  /// Its frames are IPv6, and its neighbour is asked by neighbour discovery.
  @inline(__always)
  var isIPv6: Bool { load(47, UInt8.self) != 0 }
  var askedSince: UInt64 {
    get { load(48) }
    nonmutating set { store(48, newValue) }
  }
  var next: UInt16 {
    get { shared16(line, 56).pointee.load(ordering: .acquiring) }
    nonmutating set { shared16(line, 56).pointee.store(newValue, ordering: .releasing) }
  }
  /// The header's first eight bytes: the link address, and two of our own.
  @inline(__always)
  var headerStart: UInt64 {
    get { shared64(line, 0).plain }
    nonmutating set { shared64(line, 0).plain = newValue }
  }

  /// Frames can go out without another look.
  @inline(__always)
  func isReady(at tick: UInt32) -> Bool {
    let state = state
    return state == AdjacencyState.permanent
      || (state == AdjacencyState.resolved && Int32(bitPattern: freshUntil &- tick) > 0)
  }

  /// The same, and its header is Ethernet's without tags: both bytes at one look.
  @inline(__always)
  func isReadyEthernet(at tick: UInt32) -> Bool {
    let both = shared16(line, 24).pointee.load(ordering: .acquiring)
    return both == (UInt16(AdjacencyState.permanent) &<< 8 | 14).littleEndian
      || (both == (UInt16(AdjacencyState.resolved) &<< 8 | 14).littleEndian
        && Int32(bitPattern: freshUntil &- tick) > 0)
  }

  /// The link address is known, fresh or not.
  var hasLinkAddress: Bool {
    state == AdjacencyState.permanent || state == AdjacencyState.resolved || state == AdjacencyState.probing
  }

  /// Writes the interface's header, with this EtherType, into the line.
  func setHeader(_ header: LinkHeader, etherType: UInt16) {
    line.copyMemory(from: header.bytes, byteCount: LinkHeader.capacity)
    store(24, UInt8(truncatingIfNeeded: header.length))
    guard header.length != 0 else { return }
    line.putBig(etherType, header.length &- 2)
    if header.length == 14 { line.putRaw(line.raw64(6), Self.tail) }
  }

  /// Writes an Ethernet header without tags right before `network` and returns its first byte: `headerLength` is 14.
  @inline(__always) @discardableResult
  func writeEthernet(before network: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    let start = network - 14
    start.putRaw(headerStart, 0)
    start.putRaw(line.raw64(Self.tail), 6)
    return start
  }

  /// Writes the link header right before `network` and returns its first byte. `priority` is PCP and DEI of the frame
  /// as it came in (raw TCI bits), copied into every tag: the next bridge reads the outer one, and may take it off.
  @inline(never)
  func writeHeader(before network: UnsafeMutableRawPointer, priority: UInt16) -> UnsafeMutableRawPointer {
    let length = Int(headerLength)
    if length == 14 { return writeEthernet(before: network) }
    let start = network - length
    guard length != 0 else { return start }
    start.putRaw(headerStart, 0)
    (start + 8).copyMemory(from: line + 8, byteCount: length &- 8)
    start.putRaw(start.raw16(14) | priority, 14)
    if length == 22 { start.putRaw(start.raw16(18) | priority, 18) }
    return start
  }
}

enum AdjacencyState {
  static let free: UInt8 = 0
  /// No link address, nobody asked: the next frame asks.
  static let unknown: UInt8 = 1
  /// Asked for; frames wait.
  static let asking: UInt8 = 2
  static let resolved: UInt8 = 3
  /// Had an answer more than 60 s ago; in use and asked for again.
  static let probing: UInt8 = 4
  /// Configured, or a link without addresses: never changes.
  static let permanent: UInt8 = 5
}

/// All adjacencies; found by (egress interface, next hop). Place 0 is never used and means "none"; its line has what
/// changes, so that this is a handle which workers read without the lock.
struct AdjacencyTable {
  static let capacity = 65_536

  private let pages: Pages
  /// Heads of the hash chains.
  private let heads: Pages
  /// Addresses of IPv6 next hops, by place: memory that is not touched where there are none.
  private let addresses6: Pages
  private let secret: HashSecret
  private var highWater: UInt16 {
    get { self[0].holdHead }
    nonmutating set { self[0].holdHead = newValue }
  }
  private var freeHead: UInt16 {
    get { self[0].next }
    nonmutating set { self[0].next = newValue }
  }

  init(secret: HashSecret) throws(PlanError) {
    self.secret = secret
    pages = try Pages(bytes: Self.capacity * Adjacency.bytes)
    heads = try Pages(bytes: Self.capacity * 2)
    addresses6 = try Pages(bytes: Self.capacity * 16)
    highWater = 1
  }

  func release() {
    pages.release()
    heads.release()
    addresses6.release()
  }

  func pass(_ state: inout StatePass) {
    state.memory(pages)
    state.memory(heads)
    state.memory(addresses6)
  }

  @inline(__always)
  var base: UnsafeMutableRawPointer { pages.start }

  @inline(__always)
  subscript(adjacency: UInt16) -> Adjacency { Adjacency(pages.start + Int(adjacency) &* Adjacency.bytes) }

  /// Of an IPv6 next hop.
  func address6(_ place: UInt16) -> IPv6Address { IPv6Address(at: addresses6.start + Int(place) &* 16) }

  private func head(_ egress: UInt16, _ address: UInt32) -> UnsafeMutablePointer<Atomic<UInt16>> {
    head(secret.hash(UInt64(address), UInt64(egress)))
  }

  private func head(_ egress: UInt16, _ address: IPv6Address) -> UnsafeMutablePointer<Atomic<UInt16>> {
    head(secret.hash(secret.digest(address), UInt64(egress)))
  }

  private func head(_ hash: UInt64) -> UnsafeMutablePointer<Atomic<UInt16>> {
    shared16(heads.start, Int(truncatingIfNeeded: hash & 0xFFFF) &* 2)
  }

  func find(egress: UInt16, address: UInt32) -> UInt16? {
    var candidate = head(egress, address).pointee.load(ordering: .acquiring)
    while candidate != 0 {
      let adjacency = self[candidate]
      if adjacency.address == address, adjacency.egress == egress, !adjacency.isIPv6 { return candidate }
      candidate = adjacency.next
    }
    return nil
  }

  func find(egress: UInt16, address: IPv6Address) -> UInt16? {
    var candidate = head(egress, address).pointee.load(ordering: .acquiring)
    while candidate != 0 {
      let adjacency = self[candidate]
      if adjacency.isIPv6, adjacency.egress == egress, address6(candidate) == address { return candidate }
      candidate = adjacency.next
    }
    return nil
  }

  /// A new adjacency in state unknown, with the interface's header; nil where the table is full.
  func insert(egress: UInt16, address: UInt32, mtu: UInt32, header: LinkHeader) -> UInt16? {
    guard let place = take(egress: egress, mtu: mtu) else { return nil }
    self[place].setHeader(header, etherType: EtherType.ipv4)
    self[place].store(32, address)
    self[place].store(47, UInt8(0))
    chain(place, to: head(egress, address))
    return place
  }

  /// The same for an IPv6 next hop.
  func insert(egress: UInt16, address: IPv6Address, mtu: UInt32, header: LinkHeader) -> UInt16? {
    guard let place = take(egress: egress, mtu: mtu) else { return nil }
    self[place].setHeader(header, etherType: EtherType.ipv6)
    address.put(at: addresses6.start + Int(place) &* 16)
    self[place].store(32, UInt32(0))
    self[place].store(47, UInt8(1))
    chain(place, to: head(egress, address))
    return place
  }

  private func take(egress: UInt16, mtu: UInt32) -> UInt16? {
    let place = freeHead != 0 ? freeHead : highWater
    guard place != 0 else { return nil }
    let adjacency = self[place]
    if place == freeHead { freeHead = adjacency.next } else { highWater = highWater &+ 1 }
    adjacency.store(26, egress)
    adjacency.store(28, mtu)
    adjacency.state = AdjacencyState.unknown
    return place
  }

  private func chain(_ place: UInt16, to head: UnsafeMutablePointer<Atomic<UInt16>>) {
    self[place].next = head.plain
    head.pointee.store(place, ordering: .releasing)
  }

  /// Frees every adjacency that nobody waits for and that has no fresh link address. True where that freed any.
  ///
  /// Sessions may still name them: whoever calls this must make them forget.
  func reclaim(at tick: UInt32) -> Bool {
    let before = freeHead
    for place in 1..<UInt16.max {
      let adjacency = self[place]
      guard adjacency.state == AdjacencyState.unknown || adjacency.state == AdjacencyState.resolved,
        !adjacency.isReady(at: tick), adjacency.holdCount == 0
      else { continue }
      unchain(place)
      adjacency.state = AdjacencyState.free
      adjacency.next = freeHead
      freeHead = place
    }
    return freeHead != before
  }

  private func unchain(_ place: UInt16) {
    let egress = self[place].egress
    let head = self[place].isIPv6 ? head(egress, address6(place)) : head(egress, self[place].address)
    if head.plain == place {
      head.pointee.store(self[place].next, ordering: .releasing)
      return
    }
    var candidate = head.plain
    while candidate != 0 {
      if self[candidate].next == place {
        self[candidate].next = self[place].next
        return
      }
      candidate = self[candidate].next
    }
  }

  /// Sets the link address of the next hop.
  func setLinkAddress(_ adjacency: UInt16, _ mac: UInt64) {
    var start = self[adjacency].headerStart
    withUnsafeMutableBytes(of: &start) { $0.baseAddress!.putMAC(mac, 0) }
    self[adjacency].headerStart = start
  }
}

/// The header that an interface's frames begin with; destination all zero where it is not known yet.
struct LinkHeader {
  static let capacity = 24
  /// `capacity` bytes that live as long as the forwarder; the EtherType is the next hop's to fill in.
  let bytes: UnsafeMutableRawPointer
  let length: Int

  /// Destination, source, tags (VID alone).
  init(mac: UInt64, tags: [VLANTag], link: InterfacePlan.Link) {
    bytes = .allocate(byteCount: Self.capacity, alignment: 8)
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: Self.capacity)
    guard link == .ethernet else {
      length = 0
      return
    }
    bytes.putMAC(mac, 6)
    var offset = 12
    for tag in tags {
      bytes.putBig(tag.protocolID, offset)
      bytes.putBig(tag.vlan, offset &+ 2)
      offset &+= 4
    }
    length = offset &+ 2
  }

  func release() { bytes.deallocate() }
}
