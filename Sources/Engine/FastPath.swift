import CIntrinsics

// The burst loop: three stages over up to 32 frames, with prefetch between them.
//
//   parse    the frame is plain (Ethernet to us, IPv4 without options or fragments, checksum right, TCP, UDP or echo): hash
//            its key, ask for the bucket
//   match    look for the tag in the bucket, ask for the flow's lines
//   rewrite  in the order of arrival: verify the key, rewrite, put the link header on; or hand over to the slow path
//
// Only the last stage changes anything, frame by frame, so the size of a burst has no influence on the outcome: a session made
// by one frame is found by the next through the slow path.

extension Forwarder {
  static let burst = 32

  /// Frames that the fast path may take get `network` and `hash`; all others `network == notFast`.
  @inline(never)
  func parseStage(_ slots: UnsafeMutablePointer<FrameSlot>, _ count: Int) {
    let links = links, secret = secret, buckets = buckets, bucketCount = bucketCount
    var i = 0
    while i < count {
      let slot = slots + i
      i &+= 1
      let frame = slot.pointee.bytes
      let length = Int(slot.pointee.length)
      let link = links + Int(slot.pointee.link)
      slot.pointee.flow = FrameSlot.noFlow
      slot.pointee.network = FrameSlot.notFast
      var network = 14
      var ingress = link.pointee.untagged
      if length < 34 || ingress == Link.none || slot.pointee.tag != 0 || frame.raw16(12) != EtherType.ipv4.bigEndian {
        if length >= 62, ingress != Link.none, slot.pointee.tag == 0, frame.raw16(12) == EtherType.ipv6.bigEndian {
          slot.pointee.ingress = ingress
          parseIPv6(slot, network, ingress, link)
          continue
        }
        let located = Locator.locate(slot, link, tags)
        slot.pointee.ingress = located.interface == Link.none ? link.pointee.first : located.interface
        guard located.etherType == EtherType.ipv4, located.interface != Link.none else {
          if located.etherType == EtherType.ipv6, located.interface != Link.none {
            parseIPv6(slot, Int(located.network), located.interface, link)
          }
          continue
        }
        network = Int(located.network)
        ingress = located.interface
        if length < network &+ 20 { continue }
      } else {
        slot.pointee.ingress = ingress
      }
      // The six bytes of the destination lie in the low part of the word.
      if network != 0, (frame.raw64(0) ^ link.pointee.mac) &<< 16 != 0 { continue }
      let ip = frame + network
      let total = Int(ip.big16(2))
      let ipProtocol = ip.byte(IPv4Header.protocolOffset)
      guard ip.byte(0) == 0x45, total >= 28, total <= length &- network,
        ip.raw16(IPv4Header.flagsOffset) & UInt16(0x3FFF).bigEndian == 0, Checksum.isValidHeader20(ip)
      else { continue }
      let ports = Self.ports(ip + 20, ipProtocol, total &- 20)
      if ports == Self.noPorts { continue }
      let key = FlowKey(
        addresses: ip.raw64(IPv4Header.sourceOffset), ports: ports, scope: ingress,
        ipProtocol: ipProtocol)
      let hash = secret.hash(key)
      slot.pointee.network = UInt16(truncatingIfNeeded: network)
      slot.pointee.tag16 = FlowIndex.tag(hash)
      let bucket = FlowIndex.first(hash, of: bucketCount)
      slot.pointee.flow = bucket
      slot.pointee.rest = key.rest
      sluice_prefetch(buckets + Int(bucket) &<< 6)
    }
  }

  static let noPorts = UInt64.max

  /// The ports of a key, or `noPorts` where the transport header does not fit or is not for the fast path.
  @inline(__always)
  static func ports(_ transport: UnsafeMutableRawPointer, _ ipProtocol: UInt8, _ length: Int) -> UInt64 {
    if ipProtocol == IPProtocol.udp {
      let stated = Int(transport.big16(UDPHeader.lengthOffset))
      return stated >= UDPHeader.length && stated <= length ? UInt64(transport.raw32(0)) : noPorts
    }
    if ipProtocol == IPProtocol.tcp {
      let header = Int(transport.byte(TCPHeader.dataOffset) &>> 4) &* 4
      return length >= TCPHeader.minimumLength && header >= TCPHeader.minimumLength && header <= length
        ? UInt64(transport.raw32(0)) : noPorts
    }
    guard ipProtocol == IPProtocol.icmp, transport.byte(1) == 0 else { return noPorts }
    let identifier = UInt64(transport.raw16(ICMPHeader.identifierOffset))
    if transport.byte(0) == ICMPHeader.echoRequest { return identifier }
    return transport.byte(0) == ICMPHeader.echoReply ? identifier &<< 16 | FlowKey.echoReply : noPorts
  }

  /// Finds the candidate flow of each frame by tag alone.
  @inline(never)
  func matchStage(_ slots: UnsafeMutablePointer<FrameSlot>, _ count: Int) {
    let buckets = buckets, sessions = sessionBase
    var i = 0
    while i < count {
      let slot = slots + i
      i &+= 1
      if slot.pointee.network == FrameSlot.notFast { continue }
      let tag = slot.pointee.tag16
      var bucket = buckets + Int(slot.pointee.flow) &<< 6
      var lanes = sluice_match10(bucket, tag)
      if lanes == 0, FlowIndex.overflow(bucket) != 0 {
        bucket = secondBucket(slot)
        lanes = sluice_match10(bucket, tag)
      }
      if lanes == 0 {
        slot.pointee.flow = FrameSlot.noFlow
        continue
      }
      let flow = FlowIndex.value(bucket, lanes.trailingZeroBitCount)
      slot.pointee.flow = flow
      let line = SessionTable.line(sessions, flow)
      sluice_prefetch(line)
      sluice_prefetch(SessionTable.line(sessions, flow & ~1) + 2 &* FlowLine.bytes)
    }
  }

  /// The other bucket of a frame's key. Few keys stand there, so its hash is not kept but computed once more.
  @inline(never)
  private func secondBucket(_ slot: UnsafeMutablePointer<FrameSlot>) -> UnsafeMutableRawPointer {
    let ip = slot.pointee.bytes + Int(slot.pointee.network)
    let ipv6 = ip + IPv6Header.sourceOffset
    let addresses =
      slot.pointee.rest & FlowKey.isIPv6 != 0 ? secret.digest(ipv6, ipv6 + 16) : ip.raw64(IPv4Header.sourceOffset)
    let hash = secret.hash(addresses, slot.pointee.rest)
    return buckets + Int(FlowIndex.second(hash, of: bucketCount)) &<< 6
  }

  /// Judges each frame in order. `position` is the place of the first in the caller's burst.
  @inline(never)
  func rewriteStage(_ slots: UnsafeMutablePointer<FrameSlot>, _ count: Int, position: Int) {
    #if HOT_PATH_CANARY
      Canary.sing(count)
    #endif
    let core = core, counters = counters, generation = core.pointee.generation
    var now = core.pointee.clock.now
    var tick = core.pointee.clock.tick
    var tickUp = core.pointee.clock.tickUp
    var i = 0
    while i < count {
      let slot = slots + i
      if slot.pointee.time > now {
        core.pointee.outbox.position = UInt16(truncatingIfNeeded: position &+ i)
        core.pointee.advance(to: slot.pointee.time)
        now = core.pointee.clock.now
        tick = core.pointee.clock.tick
        tickUp = core.pointee.clock.tickUp
      }
      slot.pointee.time = now
      let row = counters + Int(slot.pointee.ingress) &* Counters.row
      if slot.pointee.flow != FrameSlot.noFlow, forward(slot, tick, tickUp, generation) {
        row[Counters.fast] &+= 1
      } else if slot.pointee.flow != FrameSlot.noFlow, forwardIPv6(slot, tick, tickUp, generation) {
        row[Counters.fast] &+= 1
      } else {
        row[Counters.received] &+= 1
        core.pointee.outbox.position = UInt16(truncatingIfNeeded: position &+ i)
        core.pointee.judge(slot)
      }
      i &+= 1
    }
  }

  /// The established case, start to end. False where anything is out of the ordinary: nothing has been changed then.
  @inline(__always)
  private func forward(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ tick: UInt32, _ tickUp: UInt32, _ generation: UInt16
  ) -> Bool {
    let network = Int(slot.pointee.network)
    let ip = slot.pointee.bytes + network
    let flow = FlowLine(SessionTable.line(sessionBase, slot.pointee.flow))
    let transport = ip + 20
    let total = Int(ip.big16(2))
    let key = FlowKey(addresses: ip.raw64(IPv4Header.sourceOffset), rest: slot.pointee.rest)
    guard flow.hasKey(key), flow.planGeneration == generation else { return false }
    let adjacency = Adjacency(adjacencyBase + Int(flow.adjacency) &* Adjacency.bytes)
    let headerLength = Int(adjacency.headerLength)
    guard ip.byte(IPv4Header.ttlOffset) > 1, adjacency.isReady(at: tick),
      headerLength <= network &+ Int(slot.pointee.headroom)
    else { return false }
    // Nearly always: a finished checksum and one segment.
    let isFinished = slot.pointee.offload.flags | slot.pointee.offload.segmentation == 0
    let wireLength = isFinished ? total : Offload.wireLength(slot.pointee.offload, IPv4Header(ip))
    guard wireLength <= Int(adjacency.mtu) else { return false }
    let kind = flow.kind
    guard isLive(slot.pointee.flow, flow, transport, length: total &- 20, tick) else { return false }
    let isPartial = !isFinished && Offload.isPartial(slot.pointee.offload, transport: network &+ 20)
    Rewrite.apply(flow, kind: kind, ip: ip, transport: transport, isPartial: isPartial)
    flow.lastSeen = tickUp
    flow.count(bytes: total)
    handOver(slot, ip, total, adjacency, isFinished: isFinished)
    return true
  }

  /// Whether a packet that nothing else is odd about may go by its flow: alive by the clock and, for TCP, an ordinary
  /// segment of an established connection, which is noted.
  @inline(__always)
  func isLive(
    _ number: UInt32, _ flow: FlowLine, _ transport: UnsafeMutableRawPointer, length: Int, _ tick: UInt32
  ) -> Bool {
    guard flow.kind == FlowKind.tcp else { return Int32(bitPattern: flow.lastSeen &+ flow.timeout &- tick) > 0 }
    let common = CommonLine(SessionTable.line(sessionBase, number & ~1) + 2 &* FlowLine.bytes)
    let dataOffset = Int(transport.byte(TCPHeader.dataOffset) &>> 4) &* 4
    let segment = TCPTracker.Segment(transport, payload: length &- dataOffset)
    let word = common.word
    guard segment.isPlain, word.state == SessionState.established,
      Int32(bitPattern: flow.lastSeen &+ word.timeout &- tick) > 0
    else { return false }
    TCPTracker(common).advance(Int(number & 1), segment)
    return true
  }

  /// Writes the link header before a datagram of `total` bytes at `ip` and names the frame's way out.
  @inline(__always)
  func handOver(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ ip: UnsafeMutableRawPointer, _ total: Int, _ adjacency: Adjacency,
    isFinished: Bool
  ) {
    let network = Int(slot.pointee.network)
    let headerLength = Int(adjacency.headerLength)
    let start =
      headerLength == 14
      ? adjacency.writeEthernet(before: ip)
      : adjacency.writeHeader(before: ip, priority: Locator.priority(slot, network))
    if !isFinished { slot.pointee.offload = Offload.shifted(slot.pointee.offload, by: headerLength &- network) }
    slot.pointee.headroom = UInt16(truncatingIfNeeded: Int(slot.pointee.headroom) &+ network &- headerLength)
    slot.pointee.bytes = start
    slot.pointee.length = UInt32(truncatingIfNeeded: headerLength &+ total)
    slot.pointee.egress = adjacency.egress
    slot.pointee.verdict = .forward
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
