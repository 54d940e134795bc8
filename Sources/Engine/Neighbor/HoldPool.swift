/// What to put back into a held frame so that an ICMP error can quote it untranslated.
struct Untranslated {
  /// Of IPv4 in the first word.
  var addresses = SIMD4<UInt64>()
  var ports: UInt32 = 0
  var identification: UInt16 = 0
  var networkChecksum: UInt16 = 0
  var transportChecksum: UInt16 = 0
  var ttl: UInt8 = 0
  /// FlowKind; `free` where only TTL and header checksum have changed.
  var kind: UInt8 = FlowKind.free

  init(_ header: IPv4Header, kind: UInt8) {
    self.kind = kind
    addresses.x = header.start.raw64(IPv4Header.sourceOffset)
    identification = header.identification
    networkChecksum = header.start.raw16(IPv4Header.checksumOffset)
    ttl = header.ttl
    guard kind != FlowKind.free else { return }
    ports = header.payload.raw32(Self.portsOffset(kind))
    transportChecksum = header.payload.raw16(Rewrite.checksumOffset(kind))
  }

  init(_ packet: Packet6) {
    let start = packet.header.start + IPv6Header.sourceOffset
    for word in 0..<4 { addresses[word] = start.raw64(word &* 8) }
    ttl = packet.header.hopLimit
    kind = packet.kind == FlowKind.other ? FlowKind.free : packet.kind
    guard kind != FlowKind.free else { return }
    ports = packet.transport.raw32(Self.portsOffset(kind))
    transportChecksum = packet.transport.raw16(Rewrite.checksumOffset(kind))
  }

  func restore(_ header: IPv6Header) {
    let start = header.start + IPv6Header.sourceOffset
    for word in 0..<4 { start.putRaw(addresses[word], word &* 8) }
    header.start.put(ttl, IPv6Header.hopLimitOffset)
    guard kind != FlowKind.free else { return }
    let transport = header.start + IPv6Chain(header.start, length: header.totalLength).offset
    transport.putRaw(ports, Self.portsOffset(kind))
    transport.putRaw(transportChecksum, Rewrite.checksumOffset(kind))
  }

  func restore(_ header: IPv4Header) {
    header.start.putRaw(addresses.x, IPv4Header.sourceOffset)
    header.start.putRaw(identification, IPv4Header.identificationOffset)
    header.start.putRaw(networkChecksum, IPv4Header.checksumOffset)
    header.start.put(ttl, IPv4Header.ttlOffset)
    guard kind != FlowKind.free else { return }
    header.payload.putRaw(ports, Self.portsOffset(kind))
    header.payload.putRaw(transportChecksum, Rewrite.checksumOffset(kind))
  }

  private static func portsOffset(_ kind: UInt8) -> Int { kind >= FlowKind.echoRequest ? 4 : 0 }
}

/// A frame that waits for its next hop: everything from the IP header on, rewritten already.
struct HeldFrame {
  var length: UInt32 = 0
  /// Next in its adjacency's queue; 0 = none.
  var next: UInt16 = 0
  /// Interface that it came in by.
  var ingress: UInt16 = 0
  /// Raw TCI bits of PCP and DEI.
  var priority: UInt16 = 0
  /// A received frame counts as held; one that we made counts only when it leaves.
  var isReceived = false
  /// Its sender may be told by ICMP.
  var canReport = false
  var offload = OffloadHeader()
  /// Its caller's number for it.
  var ticket: UInt32 = 0
  var untranslated: Untranslated?
}

/// Room for held frames: many small places and a few for super-frames, none of them touched before use.
struct HoldPool {
  static let smallBytes = 2048
  static let largeBytes = 67_584
  static let perNeighbor = 64

  private let small: Int
  private let total: Int
  private let frames: UnsafeMutablePointer<HeldFrame>
  private let smallPages: Pages
  private let largePages: Pages
  private var freeSmall: UInt16 = 0
  private var freeLarge: UInt16 = 0

  static let usualPlaces = 4095 + 64

  init(small: Int = 4095, large: Int = 64) throws(PlanError) {
    self.small = small
    total = small + large
    frames = .allocate(capacity: total + 1)
    frames.initialize(repeating: HeldFrame(), count: total + 1)
    smallPages = try Pages(bytes: (small + 1) * Self.smallBytes)
    largePages = try Pages(bytes: large * Self.largeBytes)
    for place in (1...total).reversed() { free(UInt16(place)) }
  }

  func release() {
    frames.deallocate()
    smallPages.release()
    largePages.release()
  }

  mutating func pass(_ state: inout StatePass) {
    state.word(&freeSmall)
    state.word(&freeLarge)
    state.memory(frames, total + 1)
    state.memory(smallPages)
    state.memory(largePages)
  }

  subscript(place: UInt16) -> HeldFrame {
    get { frames[Int(place)] }
    nonmutating set { frames[Int(place)] = newValue }
  }

  /// The IP header of a held frame, with `Forwarder.headroom` before it.
  func bytes(_ place: UInt16) -> UnsafeMutableRawPointer {
    let index = Int(place)
    let start =
      index <= small
      ? smallPages.start + index &* Self.smallBytes
      : largePages.start + (index &- small &- 1) &* Self.largeBytes
    return start + Forwarder.headroom
  }

  /// True where `allocate` would find a place.
  func canAllocate(length: Int) -> Bool {
    let isSmall = length &+ Forwarder.headroom <= Self.smallBytes
    return length &+ Forwarder.headroom <= Self.largeBytes && (isSmall && freeSmall != 0 || freeLarge != 0)
  }

  /// A free place for `length` bytes; nil where there is none.
  mutating func allocate(length: Int) -> UInt16? {
    let isSmall = length &+ Forwarder.headroom <= Self.smallBytes
    guard length &+ Forwarder.headroom <= Self.largeBytes else { return nil }
    let place = isSmall && freeSmall != 0 ? freeSmall : freeLarge
    guard place != 0 else { return nil }
    if Int(place) <= small { freeSmall = self[place].next } else { freeLarge = self[place].next }
    return place
  }

  mutating func free(_ place: UInt16) {
    if Int(place) <= small {
      frames[Int(place)].next = freeSmall
      freeSmall = place
    } else {
      frames[Int(place)].next = freeLarge
      freeLarge = place
    }
  }
}

/// Places of a pool whose bytes stand in one worker's outbox: free again after it is gone.
struct LeavingFrames {
  private let places: UnsafeMutablePointer<UInt16>
  private var count = 0

  init(capacity: Int) { places = .allocate(capacity: capacity) }

  func release() { places.deallocate() }

  var isEmpty: Bool { count == 0 }

  mutating func add(_ place: UInt16) {
    places[count] = place
    count &+= 1
  }

  mutating func free(into pool: inout HoldPool) {
    while count > 0 {
      count &-= 1
      pool.free(places[count])
    }
  }
}
