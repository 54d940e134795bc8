// A connection that a helper reads. Each of its packets comes this way: numbers are shifted where a text has become longer
// or shorter, what its ends announce is read, and a text that names an endpoint is changed. Everything under the engine's
// lock: both directions may be under way in different workers, and such connections carry little.

extension Core {
  /// Whether a session that is about to be made begins a connection that its rule has a helper for: from the first byte,
  /// since what was not seen from there cannot be told from anybody's text (REQUIREMENTS A1).
  func isHelped(_ draft: Draft, _ source: SourceChoice, _ flags: UInt8) -> Bool {
    guard Self.isSYN(flags), rules.helper(draft.origin) != nil else { return false }
    if case .forward = draft.origin.report { return true }
    // Not what comes in by its mappings, nor what it does not translate.
    guard case .masquerade = source else { return false }
    return draft.key.destinationPort == Self.controlPort
  }

  /// The same over IPv6, where the helper of a masquerade reads what leaves as it is, too.
  func isHelped(_ draft: Draft6, _ packet: Packet6) -> Bool {
    guard Self.isSYN(packet.tcpFlags), !draft.isExpected,
      rules.helper(draft.origin, from: packet.key.scope, to: UInt16(truncatingIfNeeded: draft.hop.interface)) != nil
    else { return false }
    if case .forward = draft.origin.report { return true }
    return packet.key.destinationPort == Self.controlPort
  }

  /// FTP's (RFC 959 section 5.2), raw: of a masquerade's connections those that go there; a forward names its own.
  static let controlPort = UInt16(21).bigEndian

  /// A packet of such a session, for which TTL and MTU have been seen to.
  mutating func help(_ packet: Packet, by flow: UInt32, over adjacency: UInt16) {
    let segment = HelpedSegment(packet)
    guard admits(segment, flows.helper(flow &>> 1).side(Int(flow & 1))) else { return drop(packet.slot, .helperOrder) }
    // A held frame that is given up quotes what its sender has sent, which these numbers are not.
    let isKnown = !flows.helper(flow &>> 1).isShifted
    let untranslated = prepare(packet, by: flow, over: adjacency)
    settleAcknowledgement(segment, flow)
    translate(packet, by: flow)
    if let changed = settleText(segment, by: flow, over: adjacency) {
      deliver(changed, over: adjacency)
    } else {
      deliver(packet, over: adjacency, isKnown ? untranslated : nil)
    }
  }

  /// The same over IPv6.
  mutating func help(_ packet: Packet6, by flow: UInt32, over adjacency: UInt16) {
    let segment = HelpedSegment(packet)
    guard admits(segment, flows.helper(flow &>> 1).side(Int(flow & 1))) else { return drop(packet.slot, .helperOrder) }
    let untranslated = flows.helper(flow &>> 1).isShifted ? nil : Untranslated(packet)
    settleAcknowledgement(segment, flow)
    translate(packet, by: flow)
    if let changed = settleText(segment, by: flow, over: adjacency) {
      deliver(changed, over: adjacency)
    } else {
      deliver(packet, over: adjacency, untranslated)
    }
  }

  /// Whether the segment may pass: of the changed text all or nothing, and what is read comes in order, so that nobody can
  /// have a piece read that is none. Its sender sends it again.
  func admits(_ segment: HelpedSegment, _ side: HelperLine.Side) -> Bool {
    guard segment.count > 0, !segment.hasSYN else { return true }
    switch side.overlap(segment.sequence, segment.end) {
    case .part: return false
    case .whole: return !segment.isPiece
    case .none: break
    }
    let gap = Int32(bitPattern: segment.sequence &- side.next)
    return !side.has(HelperLine.reads) || gap <= 0 || gap > HelpedSegment.farthest
  }

  /// Numbers of the other direction, as this one's receiver has sent them. From here on until `settleText` the line is
  /// being written.
  private func settleAcknowledgement(_ segment: HelpedSegment, _ flow: UInt32) {
    let helper = flows.helper(flow &>> 1)
    let other = helper.side(Int(1 &- flow & 1))
    helper.isWhole = false
    guard segment.hasACK else { return }
    let number = other.inward(segment.acknowledgement)
    other.acknowledge(number)
    guard other.isShifted else { return }
    segment.put(number, TCPHeader.acknowledgementOffset)
    segment.eachSelective { offset in segment.put(other.inward(segment.tcp.big32(offset)), offset) }
  }

  /// Reads a segment that has been translated, and gives it its number. Returns what of it is to be changed.
  private mutating func settleText(_ segment: HelpedSegment, by flow: UInt32, over adjacency: UInt16) -> Rewording? {
    let helper = flows.helper(flow &>> 1)
    let side = helper.side(Int(flow & 1))
    var changed: Rewording?
    if segment.hasSYN {
      beginStream(segment, flow)
    } else if segment.count > 0 {
      read(segment, by: flow, over: adjacency)
      if side.overlap(segment.sequence, segment.end) == .whole {
        changed = Rewording(segment, side, as: flows.newSource(flow))
      }
    }
    // In the middle of the changed text is nobody but one who sends nothing: he is behind it.
    segment.put(side.outward(segment.sequence) ?? segment.sequence &+ side.after, TCPHeader.sequenceOffset)
    helper.isWhole = true
    return changed
  }

  /// A SYN, once the tracker has taken it for the beginning of a connection. Data in it (RFC 7413) is not read, nor what
  /// follows.
  private func beginStream(_ segment: HelpedSegment, _ flow: UInt32) {
    let helper = flows.helper(flow &>> 1)
    guard flows.sessions.common(flow &>> 1).state == SessionState.opening else { return }
    helper.side(Int(flow & 1)).begin(at: segment.sequence &+ 1)
    if segment.hasACK {
      // Of two beginnings, or one in the middle of an older connection, the one that was answered counts.
      let other = helper.side(Int(1 &- flow & 1))
      let number = other.inward(segment.acknowledgement)
      if other.next != number { other.resume(at: number, shiftedBy: segment.acknowledgement &- number) }
    }
    helper.asked = 0
    if segment.count > 0 || segment.isPiece { helper.stop() }
  }

  // MARK: Reading

  /// The new lines of a segment; nil where it is not read.
  func lines(_ segment: HelpedSegment, _ side: HelperLine.Side) -> HelpedLines? {
    // What its receiver will not take is not read either: so far ahead that it is no window, or with a wrong checksum.
    guard side.has(HelperLine.reads), side.overtakes(segment), !segment.isPiece, segment.isIntact else { return nil }
    return HelpedLines(
      segment: segment, at: Int(side.next &- segment.sequence), isInLine: side.has(HelperLine.isInLine))
  }

  private mutating func read(_ segment: HelpedSegment, by flow: UInt32, over adjacency: UInt16) {
    let helper = flows.helper(flow &>> 1)
    let side = helper.side(Int(flow & 1))
    guard var lines = lines(segment, side) else {
      // The other pieces of a datagram are not seen here.
      if segment.isPiece, side.overtakes(segment) { helper.stop() }
      return
    }
    while let line = lines.next() { heed(segment, line, by: flow, over: adjacency) }
    side.mark(HelperLine.isInLine, lines.isInLine)
    side.next = segment.end
  }

  private mutating func heed(
    _ segment: HelpedSegment, _ line: Range<Int>, by flow: UInt32, over adjacency: UInt16
  ) {
    let helper = flows.helper(flow &>> 1)
    let text = FTPLine(
      segment.payload + line.lowerBound, count: line.count, isReply: flow & 1 == 1, isIPv6: segment.isIPv6)
    switch text {
    case .other: break
    case .asks(let form): helper.asked = form.rawValue
    case .securing: helper.asked = HelperLine.securing
    case .secured: if helper.asked == HelperLine.securing { helper.stop() }
    case .malformed: counters.add(.helperRefused)
    case .names(let endpoint):
      let mtu = Int(adjacencies[adjacency].mtu)
      guard refusal(of: endpoint, segment, by: flow, mtu: mtu) == nil else { return counters.add(.helperRefused) }
      // One answer to one question.
      if flow & 1 == 1 { helper.asked = 0 }
      if needsOpening(flow) { announce(endpoint, segment, at: line.lowerBound, by: flow) }
    }
  }

  /// Why an announcement is left as it is: one end of the connection may say where it will be itself, at a port that is not
  /// the system's (REQUIREMENTS A1).
  func refusal(
    of endpoint: FTPEndpoint, _ segment: HelpedSegment, by flow: UInt32, mtu: Int
  ) -> StaticString? {
    let helper = flows.helper(flow &>> 1)
    if endpoint.port < 1024 { return "its port is below 1024" }
    if let address = endpoint.address, address != flows.source(flow) {
      return "its address is not its sender's"
    }
    if flow & 1 == 1, helper.asked != endpoint.form.rawValue { return "nobody has asked for it" }
    guard needsOpening(flow) else { return nil }
    // Only the last change is known: the receiver must have all of the one before.
    if helper.side(Int(flow & 1)).has(HelperLine.isPending) { return "the one before it is not acknowledged yet" }
    return segment.mayGrow(to: mtu) ? nil : "its segment has no room for another text"
  }

  /// The sender is inside, and what it says is for outside; who is outside is reached as it is.
  func needsOpening(_ flow: UInt32) -> Bool {
    let line = flows.sessions.flow(flow)
    guard !interfaces[Int(line.key.scope)].isOutside else { return false }
    if !line.key.isIPv6 { return outsideAddresses[line.newSource] != nil }
    // What is not translated has to be let in all the same.
    return interfaces[Int(flows.sessions.flow(flow ^ 1).key.scope)].isOutside
      || flows.newSource(flow) != flows.source(flow)
  }

  private mutating func announce(
    _ endpoint: FTPEndpoint, _ segment: HelpedSegment, at offset: Int, by flow: UInt32
  ) {
    forgetExpectation(of: flow &>> 1)
    guard let port = segment.isIPv6 ? expect6(flow, at: endpoint.port) : expect(flow, at: endpoint.port) else {
      return counters.add(.helperRefused)
    }
    counters.add(.helperOpened)
    let address = flows.newSource(flow)
    guard endpoint.port != port || endpoint.address.map({ $0 != address }) ?? false else { return }
    let count = withUnsafeTemporaryAllocation(byteCount: FTPEndpoint.longest, alignment: 1) { bytes in
      FTPEndpoint.write(endpoint.form, address, port, endpoint.delimiter, to: bytes.baseAddress!)
    }
    let place = segment.sequence &+ UInt32(truncatingIfNeeded: offset &+ endpoint.offset)
    flows.helper(flow &>> 1).side(Int(flow & 1)).change(endpoint, at: place, to: port, newLength: count)
  }
}

extension Flows {
  /// Where a flow's packets come from.
  func source(_ flow: UInt32) -> IPAddress {
    let key = sessions.flow(flow).key
    return key.isIPv6 ? .v6(sessions.sides.source(flow)) : .v4(IPv4Address(wire: key.source))
  }

  /// The same, as it is known on the far side.
  func newSource(_ flow: UInt32) -> IPAddress {
    let line = sessions.flow(flow)
    return line.key.isIPv6 ? .v6(sessions.sides.destination(flow ^ 1)) : .v4(IPv4Address(wire: line.newSource))
  }
}

extension Core {
  /// Brings the numbers in a quoted segment back to what its sender had sent: the quote goes to it.
  ///
  /// - Parameters:
  ///   - tcp: what is quoted of it, `length` bytes.
  ///   - icmp: the message, whose checksum covers the quote.
  func unshift(_ tcp: UnsafeMutableRawPointer, length: Int, in icmp: UnsafeMutableRawPointer, _ flow: UInt32) {
    let helper = flows.helper(flow &>> 1)
    let own = helper.side(Int(1 &- flow & 1))
    let other = helper.side(Int(flow & 1))
    guard helper.isShifted else { return }
    var delta: UInt16 = 0
    func put(_ number: UInt32, _ offset: Int) {
      delta = Checksum.combine(delta, Checksum.delta(tcp.raw32(offset), number.bigEndian))
      tcp.putBig(number, offset)
    }
    put(own.inward(tcp.big32(TCPHeader.sequenceOffset)), TCPHeader.sequenceOffset)
    if length >= TCPHeader.acknowledgementOffset &+ 4 {
      let acknowledgement = tcp.big32(TCPHeader.acknowledgementOffset)
      put(other.outward(acknowledgement) ?? acknowledgement &+ other.after, TCPHeader.acknowledgementOffset)
    }
    if length >= TCPHeader.checksumOffset &+ 2 {
      let before = tcp.raw16(TCPHeader.checksumOffset)
      let after = Checksum.adjust(before, by: delta)
      tcp.putRaw(after, TCPHeader.checksumOffset)
      delta = Checksum.combine(delta, Checksum.delta(before, after))
    }
    icmp.putRaw(Checksum.adjust(icmp.raw16(ICMPHeader.checksumOffset), by: delta), ICMPHeader.checksumOffset)
  }

  /// Takes over what another engine knows of a connection; false where that cannot be relied on.
  func adoptHelper(_ session: UInt32, from saved: SavedRegion, _ place: UInt32) -> Bool {
    guard flows.helps, let helpers = saved.helpers else { return false }
    return flows.helper(session).copy(from: helpers[place])
  }
}
