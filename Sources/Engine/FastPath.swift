import CIntrinsics

// The burst loop: three stages over up to 32 frames, with prefetch between them.
//
//   parse    the frame is plain (to us, IPv4 without options or fragments, checksum right, TCP, UDP or echo): note its
//            shape, hash its key, ask for the bucket
//   match    look for the tag in the bucket, ask for the flow's lines
//   rewrite  in the order of arrival: verify the key, rewrite, put the link header on; or hand over to the slow path
//
// Only the last stage changes anything, frame by frame, so the size of a burst has no influence on the outcome: a session made
// by one frame is found by the next through the slow path.

extension Forwarder {
  static let burst = 32

  /// Marks each frame with its shape. What the fast path may take also gets `network`, the key's hash and `rest`.
  @inline(never)
  mutating func parseStage(_ slots: UnsafeMutablePointer<FrameSlot>, _ count: Int) {
    let links = links, finder = finder, hasIPv6 = hasIPv6
    var slot = slots
    let end = slots + count
    while slot < end {
      let link = links + Int(slot.pointee.link)
      if !Self.parseUsual(slot, link, finder, hasIPv6) { parseUnusual(slot, link) }
      slot += 1
    }
  }

  /// Most frames: to us, without tags, with nothing that the sender has left to a device, and no IPv4 echo.
  @inline(__always)
  private static func parseUsual(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ link: UnsafeMutablePointer<Link>, _ finder: Finder, _ hasIPv6: Bool
  ) -> Bool {
    let frame = slot.pointee.bytes
    guard slot.pointee.length >= 42, frame.raw64(0) &<< 16 == link.pointee.untaggedMAC, FrameSlot.isBare(slot) else {
      return false
    }
    if frame.raw16(12) == EtherType.ipv4.bigEndian {
      return parseIPv4(slot, 14, link.pointee.untagged, link.pointee.scope, finder, .usualIPv4)
    }
    return hasIPv6 && frame.raw16(12) == EtherType.ipv6.bigEndian && slot.pointee.length >= 62
      && parseIPv6(slot, 14, link.pointee.untagged, finder, .usualIPv6)
  }

  /// Any other frame.
  @inline(never)
  private mutating func parseUnusual(_ slot: UnsafeMutablePointer<FrameSlot>, _ link: UnsafeMutablePointer<Link>) {
    slot.pointee.shape = .notFast
    let located = Locator.locate(slot, link, tags)
    slot.pointee.ingress = located.interface == Link.none ? link.pointee.first : located.interface
    let network = Int(located.network)
    let available = Int(slot.pointee.length) &- network
    // The six bytes of the destination lie in the low part of the word.
    guard located.interface != Link.none, available >= 28,
      network == 0 || (slot.pointee.bytes.raw64(0) ^ link.pointee.mac) &<< 16 == 0
    else { return }
    if located.etherType == EtherType.ipv4 {
      _ = Self.parseIPv4(slot, network, located.interface, FlowKey.scope(located.interface), finder, .ipv4)
    } else if located.etherType == EtherType.ipv6, hasIPv6, available >= IPv6Header.length &+ 8 {
      _ = Self.parseIPv6(slot, network, located.interface, finder, .ipv6)
    }
  }

  /// Checks the header, hashes the key and asks for the bucket. At least 28 bytes of the frame are behind `network`. The
  /// usual shape has ports.
  @inline(__always)
  private static func parseIPv4(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ network: Int, _ ingress: UInt16, _ scope: UInt64, _ finder: Finder,
    _ shape: FrameSlot.Shape
  ) -> Bool {
    let ip = slot.pointee.bytes + network
    let total = Int(ip.big16(2))
    let ipProtocol = ip.byte(IPv4Header.protocolOffset)
    let available = Int(slot.pointee.length) &- network
    guard ip.byte(0) == 0x45, isWithin(28, total, available),
      ip.raw16(IPv4Header.flagsOffset) & UInt16(0x3FFF).bigEndian == 0,
      Checksum.isValidHeader20(ip)
    else { return false }
    let ports = ports(ip + 20, ipProtocol, total &- 20, hasEcho: shape != .usualIPv4)
    if ports == noPorts { return false }
    let key = FlowKey(
      addresses: ip.raw64(IPv4Header.sourceOffset), rest: ports | scope | FlowKey.ipProtocol(ipProtocol))
    slot.pointee.shape = shape
    slot.pointee.network = UInt8(truncatingIfNeeded: network)
    slot.pointee.ingress = ingress
    finder.seek(key, slot)
    return true
  }

  /// `least...most` contains `length`, where it contains anything: one comparison.
  @inline(__always)
  static func isWithin(_ least: Int, _ length: Int, _ most: Int) -> Bool {
    UInt(bitPattern: length &- least) <= UInt(bitPattern: most &- least)
  }

  static let noPorts = UInt64.max

  /// The ports of a key, or `noPorts` where the transport header does not fit or is not for the fast path.
  @inline(__always)
  static func ports(
    _ transport: UnsafeMutableRawPointer, _ ipProtocol: UInt8, _ length: Int, hasEcho: Bool = true
  ) -> UInt64 {
    if ipProtocol == IPProtocol.udp {
      return isWithin(UDPHeader.length, Int(transport.big16(UDPHeader.lengthOffset)), length)
        ? UInt64(transport.raw32(0)) : noPorts
    }
    if ipProtocol == IPProtocol.tcp {
      let header = Int(transport.byte(TCPHeader.dataOffset) &>> 4) &* 4
      return length >= TCPHeader.minimumLength && isWithin(TCPHeader.minimumLength, header, length)
        ? UInt64(transport.raw32(0)) : noPorts
    }
    guard hasEcho, ipProtocol == IPProtocol.icmp, transport.byte(1) == 0 else { return noPorts }
    let identifier = UInt64(transport.raw16(ICMPHeader.identifierOffset))
    if transport.byte(0) == ICMPHeader.echoRequest { return identifier }
    return transport.byte(0) == ICMPHeader.echoReply ? identifier &<< 16 | FlowKey.echoReply : noPorts
  }

  /// Finds the candidate flow of each frame by tag alone.
  @inline(never)
  mutating func matchStage(_ slots: UnsafeMutablePointer<FrameSlot>, _ count: Int) {
    let buckets = finder.index.start, sessions = sessionBase
    var slot = slots
    let end = slots + count
    while slot < end {
      defer { slot += 1 }
      if _slowPath(slot.pointee.shape == .notFast) { continue }
      let tag = FrameSlot.tagWord(slot)
      var bucket = buckets + Int(slot.pointee.place) &<< 6
      var lanes = sluice_match10(bucket, tag)
      if _slowPath(lanes == 0) {
        if FlowIndex.overflow(bucket) != 0 {
          bucket = secondBucket(slot)
          lanes = sluice_match10(bucket, tag)
        }
        if lanes == 0 {
          slot.pointee.shape = .notFast
          continue
        }
      }
      // 0, which a lane has that is not published yet, is a flow too here: one that has no packet's key.
      let flow = FlowIndex.value(bucket, lanes.trailingZeroBitCount)
      let first = Int(flow &>> 1) &* 3
      let line = first &+ Int(flow & 1)
      slot.pointee.place = UInt32(truncatingIfNeeded: line)
      slot.pointee.direction = UInt16(truncatingIfNeeded: flow & 1)
      sluice_prefetch(sessions + line &<< 6)
      if FrameSlot.isTCP(slot) {
        sluice_prefetch(sessions + first &<< 6 + 2 &* FlowLine.bytes)
      }
    }
  }

  /// The other bucket of a frame's key. Few keys stand there, so its hash is not kept but computed once more.
  @inline(never)
  private mutating func secondBucket(_ slot: UnsafeMutablePointer<FrameSlot>) -> UnsafeMutableRawPointer {
    let ip = slot.pointee.bytes + Int(slot.pointee.network)
    let ipv6 = ip + IPv6Header.sourceOffset
    let addresses =
      slot.pointee.rest & FlowKey.isIPv6 != 0
      ? finder.secret.digest(ipv6, ipv6 + 16) : ip.raw64(IPv4Header.sourceOffset)
    return finder.index.second(finder.secret.hash(addresses, slot.pointee.rest))
  }

  /// Judges each frame in order. `position` is the place of the first in the caller's burst.
  @inline(never)
  mutating func rewriteStage(_ slots: UnsafeMutablePointer<FrameSlot>, _ count: Int, position: Int) {
    #if HOT_PATH_CANARY
      Canary.sing(count)
    #endif
    let core = core, counters = counters
    var now = core.pointee.clock.now
    var pass = Pass(self)
    var slot = slots
    let end = slots + count
    while slot < end {
      if slot.pointee.time != now {
        now = advance(slot, slots, position)
        pass.tick = core.pointee.clock.tick
        pass.tickUp = core.pointee.clock.tickUp
      }
      if Self.forward(slot, pass) || forwardUnusual(slot, pass.tick, pass.tickUp) {
        (counters + Int(slot.pointee.ingress) &* Counters.row)[Counters.fast] &+= 1
      } else {
        judge(slot, slots, position)
      }
      slot += 1
    }
  }

  /// Brings the clock to a frame's time, or the frame's time to the clock, which never runs back.
  @inline(never)
  private mutating func advance(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ slots: UnsafeMutablePointer<FrameSlot>, _ position: Int
  ) -> UInt64 {
    if slot.pointee.time > core.pointee.clock.now {
      core.pointee.outbox.position = UInt16(truncatingIfNeeded: position &+ (slot - slots))
      core.pointee.advance(to: slot.pointee.time)
    }
    slot.pointee.time = core.pointee.clock.now
    return slot.pointee.time
  }

  /// The slow path.
  @inline(never)
  private mutating func judge(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ slots: UnsafeMutablePointer<FrameSlot>, _ position: Int
  ) {
    (counters + Int(slot.pointee.ingress) &* Counters.row)[Counters.received] &+= 1
    core.pointee.outbox.position = UInt16(truncatingIfNeeded: position &+ (slot - slots))
    core.pointee.judge(slot)
  }

  /// A frame of a usual shape, with what is known of it as constants.
  @inline(__always)
  private static func forward(_ slot: UnsafeMutablePointer<FrameSlot>, _ pass: Pass) -> Bool {
    if slot.pointee.shape == .usualIPv4 { return forwardIPv4(slot, pass, network: 14, isUsual: true) }
    // Asked for by the key first: else the compiler makes one decision of the two, and asks for IPv6 before IPv4.
    // And the shape is read again, so that IPv4 compares it where it stands.
    let kept = sluice_kept(slot).assumingMemoryBound(to: FrameSlot.self)
    return slot.pointee.rest & FlowKey.isIPv6 != 0 && kept.pointee.shape == .usualIPv6
      && forwardIPv6(slot, pass, network: 14, isUsual: true)
  }

  /// What `forward` has declined.
  @inline(never)
  private mutating func forwardUnusual(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ tick: UInt32, _ tickUp: UInt32
  ) -> Bool {
    guard slot.pointee.shape != .notFast else { return false }
    var pass = Pass(self)
    pass.tick = tick
    pass.tickUp = tickUp
    let network = Int(slot.pointee.network)
    return slot.pointee.rest & FlowKey.isIPv6 == 0
      ? Self.forwardIPv4(slot, pass, network: network, isUsual: false)
      : Self.forwardIPv6(slot, pass, network: network, isUsual: false)
  }

  /// The established case, start to end. False where anything is out of the ordinary: nothing has been changed then.
  ///
  /// - Parameter isUsual: the frame is of that shape, and only what leaves as it came, with a link header of as many bytes,
  ///   is taken. Both parameters are constants where speed matters: what they make needless is not there at all.
  @inline(__always)
  private static func forwardIPv4(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ pass: Pass, network: Int, isUsual: Bool
  ) -> Bool {
    let ip = slot.pointee.bytes + network
    let flow = pass.flow(slot)
    let total = Int(ip.big16(2))
    let key = FlowKey(addresses: ip.raw64(IPv4Header.sourceOffset), rest: slot.pointee.rest)
    let route = pass.route(of: flow)
    guard flow.hasKey(key), pass.isCurrent(route) else { return false }
    let adjacency = pass.adjacency(route)
    guard ip.byte(IPv4Header.ttlOffset) > 1, canTake(slot, adjacency, network, pass.tick, isUsual: isUsual) else {
      return false
    }
    let isFinished = isUsual || slot.pointee.isFinished
    let wireLength = isFinished ? total : Offload.wireLength(slot.pointee.offload, IPv4Header(ip))
    let isPartial = !isFinished && Offload.isPartial(slot.pointee.offload, transport: network &+ 20)
    guard wireLength <= Int(adjacency.mtu),
      rewriteTransport(flow, slot.pointee.direction, ip + 20, length: total &- 20, isPartial: isPartial, pass.tick)
    else { return false }
    Rewrite.applyNetwork(flow, ip)
    flow.lastSeen = pass.tickUp
    flow.count(bytes: total)
    handOver(slot, ip, total, adjacency, network, isUsual: isUsual)
    return true
  }

  /// Whether the next hop is there for a frame, and the link header has room before its datagram: in a usual frame it
  /// takes the place of the one that came.
  @inline(__always)
  static func canTake(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ adjacency: Adjacency, _ network: Int, _ tick: UInt32, isUsual: Bool
  ) -> Bool {
    if isUsual { return adjacency.isReadyEthernet(at: tick) }
    return adjacency.isReady(at: tick) && Int(adjacency.headerLength) <= network &+ Int(slot.pointee.headroom)
  }

  /// Ports or identifier and their checksum, of a packet that nothing else is odd about. False, with nothing changed, where
  /// its flow is over by the clock, or it is no ordinary segment of an established connection; that notes it.
  @inline(__always)
  static func rewriteTransport(
    _ flow: FlowLine, _ direction: UInt16, _ transport: UnsafeMutableRawPointer, length: Int, isPartial: Bool,
    _ tick: UInt32
  ) -> Bool {
    if flow.kind == FlowKind.tcp {
      // Constants for the direction: the places of its words are then known.
      let isTaken =
        direction == 0
        ? follow(flow, 0, transport, length: length, tick) : follow(flow, 1, transport, length: length, tick)
      guard isTaken else { return false }
      Rewrite.applyTCP(flow, transport, isPartial: isPartial)
      return true
    }
    guard flow.isLive(for: flow.timeout, at: tick) else { return false }
    // Read again, for it is compared where it stands then: TCP has not had to load it.
    let kind = FlowLine(sluice_kept(flow.line)).kind
    if kind == FlowKind.udp {
      Rewrite.applyUDP(flow, transport, isPartial: isPartial)
    } else {
      Rewrite.applyEcho(flow, kind: kind, transport)
    }
    return true
  }

  @inline(__always)
  private static func follow(
    _ flow: FlowLine, _ d: Int, _ tcp: UnsafeMutableRawPointer, length: Int, _ tick: UInt32
  ) -> Bool {
    let common = CommonLine(flow.line + (2 &- d) &* FlowLine.bytes)
    let word = common.word
    guard TCPTracker.isPlain(tcp), word.state == SessionState.established, flow.isLive(for: word.timeout, at: tick)
    else { return false }
    TCPTracker(common).advance(d, tcp, length: length)
    return true
  }

  /// Writes the link header before a datagram of `total` bytes at `ip` and names the frame's way out.
  @inline(__always)
  static func handOver(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ ip: UnsafeMutableRawPointer, _ total: Int, _ adjacency: Adjacency,
    _ network: Int, isUsual: Bool
  ) {
    let headerLength = isUsual ? network : Int(adjacency.headerLength)
    if isUsual {
      adjacency.writeEthernet(before: ip)
    } else {
      slot.pointee.offload = Offload.shifted(slot.pointee.offload, by: headerLength &- network)
      let priority = Locator.priority(slot, network)
      slot.pointee.bytes = adjacency.writeHeader(before: ip, priority: priority)
      slot.pointee.headroom = UInt16(truncatingIfNeeded: Int(slot.pointee.headroom) &+ network &- headerLength)
    }
    slot.pointee.length = UInt32(truncatingIfNeeded: headerLength &+ total)
    slot.pointee.egress = adjacency.egress
    slot.pointee.verdict = .forward
  }
}

/// What the parse stage needs to find a key's bucket, and the match stage after it.
struct Finder {
  let secret: HashSecret
  let index: FlowIndex

  /// Notes where a key is to be looked for, and asks for that bucket.
  @inline(__always)
  func seek(_ key: FlowKey, _ slot: UnsafeMutablePointer<FrameSlot>) {
    let hash = secret.hash(key)
    let bucket = FlowIndex.first(hash, of: index.buckets)
    slot.pointee.tag16 = FlowIndex.tag(hash)
    slot.pointee.place = bucket
    slot.pointee.rest = key.rest
    sluice_prefetch(index.start + Int(bucket) &<< 6)
  }
}

/// What the rewrite stage reads for every frame.
struct Pass {
  var tick: UInt32
  var tickUp: UInt32
  /// In the upper half.
  let generation: UInt32
  let sessions: UnsafeMutableRawPointer
  let sides: UnsafeMutableRawPointer
  let adjacencies: UnsafeMutableRawPointer

  @inline(__always)
  init(_ forwarder: borrowing Forwarder) {
    tick = forwarder.core.pointee.clock.tick
    tickUp = forwarder.core.pointee.clock.tickUp
    generation = UInt32(forwarder.core.pointee.generation) &<< 16
    sessions = forwarder.sessionBase
    sides = forwarder.sideBase
    adjacencies = forwarder.adjacencyBase
  }

  /// A frame's candidate.
  @inline(__always)
  func flow(_ slot: UnsafeMutablePointer<FrameSlot>) -> FlowLine {
    FlowLine(sluice_kept(sessions + Int(slot.pointee.place) &<< 6))
  }

  /// A flow's adjacency, and above it how its generation differs from the current one.
  @inline(__always)
  func route(of flow: FlowLine) -> UInt32 { flow.route ^ generation }

  /// The flow was last found right under the current rules.
  @inline(__always)
  func isCurrent(_ route: UInt32) -> Bool { route <= UInt16.max }

  @inline(__always)
  func adjacency(_ route: UInt32) -> Adjacency {
    Adjacency(sluice_kept(adjacencies + Int(route) &* Adjacency.bytes))
  }
}

#if HOT_PATH_CANARY
  /// What must never be on the packet path, for `tools/hot-path-check` to prove that it would see it.
  public enum Canary {
    nonisolated(unsafe) public static var songs: [Int] = []
    nonisolated(unsafe) public static var note: (Int) -> Int = { $0 }

    @inline(__always)
    static func sing(_ count: Int) { songs.append(note(count)) }
  }
#endif
