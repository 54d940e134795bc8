import Synchronization

/// Follows a TCP connection as far as its timers need, and never stands in its way: every segment is translated, whatever
/// the tracker makes of it. What it guards is the session's life.
///
///                 ACK from both sides               FIN from both sides
///     opening ------------------------> established -------------------> closing
///      |  ^  ^                           |  ^  |   <-------------------   |  |
///      |  |  +--- SYN from both sides ---+--|--+   data behind a FIN      |  |
///      |  +------ SYN on closing or reset --|-----------------------------+  |
///      +--------- exact RST ----------+-----|--------------------------------+
///                                     v     | anything but a RST
///                                    reset -+ (back to the state before)
///
/// - *opening*, *closing* and *reset* last their transitory times, *established* 2 h 4 min (RFC 5382 REQ-5, RFC 7857
///   section 2.1): after one FIN the other side may still send for as long as it likes, so closing begins with both.
/// - A segment moves the state only where the receiver would take it: inside the window that we have seen it announce.
///   Otherwise a blind outsider could end a connection that is not his (REQUIREMENTS T7, A3; RFC 5961).
/// - A RST must hit the one place that its receiver, or its sender, is at: the window would be too easy to hit (RFC 5961
///   section 3.2; a RST elsewhere in the window is answered by a challenge ACK and is no end).
/// - After a RST the session stays, since we cannot know that it was accepted (RFC 7857 section 2.2).
/// - A SYN on an established session changes nothing: its answer is a challenge ACK (RFC 5961 section 4). Only where the
///   other side answers it with a SYN of its own has it forgotten the old connection too.
/// - A FIN that data follows was somebody else's: nobody sends behind his own.
/// - Where we have not seen enough to judge (picked up, or one direction only), everything counts as inside the window.
struct TCPTracker {
  // Marks of one direction (SessionWord.marks).
  private static let seen: UInt8 = 1
  private static let acknowledged: UInt8 = 2
  private static let finished: UInt8 = 4
  /// Has sent a SYN into the established session.
  private static let reopening: UInt8 = 8
  /// Its first segment was no SYN.
  private static let pickedUp: UInt8 = 16

  /// What a window scale offset holds where the side, or its peer, offered none; its lower half is the shift.
  private static let unscaled: UInt8 = 0xF0
  /// The largest shift (RFC 7323 section 2.3), for sides whose SYN we have not seen: a window too wide lets a FIN count
  /// that should not, one too narrow would keep a dead session.
  private static let largestScale: UInt8 = 14
  /// How far back a retransmission may lie at least; also the largest window without scaling.
  private static let unscaledWindow: UInt32 = 0xFFFF

  private let common: CommonLine
  /// Where changes of the state are counted; only `track` makes any.
  private let words: SharedWords?

  @inline(__always)
  init(_ common: CommonLine, countingIn words: SharedWords? = nil) {
    self.common = common
    self.words = words
  }

  // Two workers may be here at once, each with a direction's segment. Every word is atomic by itself; the state changes by
  // compare-and-swap, and only from the state that was judged. One side may then see the other's window a segment late,
  // as it could on the wire.

  // All numbers of the window are in host order; arithmetic is modulo 2^32 (RFC 9293 section 3.4).
  @inline(__always)
  private func marks(_ d: Int) -> UInt8 { common.word.marks(d) }
  private func mark(_ d: Int, _ bits: UInt8) { common.mark(d, bits) }
  @inline(__always)
  private func unmark(_ d: Int, _ bits: UInt8) { common.unmark(d, bits) }
  @inline(__always)
  private func scale(_ d: Int) -> UInt32 { UInt32(scaleByte(d).plain & 15) }
  @inline(__always)
  private func scaleByte(_ d: Int) -> UnsafeMutablePointer<Atomic<UInt8>> { shared8(common.line, 40 &+ d) }
  @inline(__always)
  private func side(_ d: Int) -> Side { Side(start: common.line + (16 &+ d &* 12)) }

  /// A side's own line. For TCP nothing reads a timeout there, so it holds the number of the last SYN that the side has sent
  /// into the established session, unless a helper reads along. New rules forget it; the SYN will be sent again.
  private func line(_ d: Int) -> FlowLine { FlowLine(common.line - (2 &- d) &* FlowLine.bytes) }

  /// The three words of a side.
  private struct Side {
    let start: UnsafeMutableRawPointer

    @inline(__always)
    subscript(place: Int) -> UInt32 {
      get { shared32(start, place &* 4).plain }
      nonmutating set { shared32(start, place &* 4).plain = newValue }
    }
  }

  // Places in a side's three words.
  /// Behind the last byte that it has sent without a gap.
  private static let end = 0
  /// What it has acknowledged.
  private static let taken = 1
  /// How far it lets its peer send: the farthest of acknowledgement + window.
  private static let edge = 2

  /// True where `a` does not lie behind `b` in the sequence space.
  @inline(__always)
  private static func isUpTo(_ a: UInt32, _ b: UInt32) -> Bool { Int32(bitPattern: b &- a) >= 0 }

  /// A segment as the tracker sees it. `payload` is bytes behind the TCP header.
  struct Segment {
    let flags: UInt8
    let sequence: UInt32
    let acknowledgement: UInt32
    let window: UInt16
    let payload: Int

    @inline(__always)
    init(_ tcp: UnsafeMutableRawPointer, payload: Int) {
      flags = tcp.byte(TCPHeader.flagsOffset)
      sequence = tcp.big32(TCPHeader.sequenceOffset)
      acknowledgement = tcp.big32(TCPHeader.acknowledgementOffset)
      window = tcp.big16(TCPHeader.windowOffset)
      self.payload = payload
    }

    @inline(__always)
    func has(_ flag: UInt8) -> Bool { flags & flag != 0 }
    /// The sequence number behind it; SYN and FIN take one each.
    var end: UInt32 {
      sequence &+ UInt32(truncatingIfNeeded: payload) &+ (has(TCPHeader.syn) ? 1 : 0) &+ (has(TCPHeader.fin) ? 1 : 0)
    }
  }

  // MARK: Established

  /// An ACK without SYN, FIN or RST.
  @inline(__always)
  static func isPlain(_ tcp: UnsafeMutableRawPointer) -> Bool {
    tcp.byte(TCPHeader.flagsOffset) & (TCPHeader.syn | TCPHeader.fin | TCPHeader.rst | TCPHeader.ack) == TCPHeader.ack
  }

  /// A plain segment on an established session: all that the burst loop does. `length` is of the TCP header at `tcp` with
  /// the payload. Each field is read where it is needed: a `Segment` would fill the registers.
  @inline(__always)
  func advance(_ d: Int, _ tcp: UnsafeMutableRawPointer, length: Int) {
    let sequence = tcp.big32(TCPHeader.sequenceOffset)
    let header = UInt32(tcp.byte(TCPHeader.dataOffset) &>> 4) &* 4
    let end = sequence &+ UInt32(truncatingIfNeeded: length) &- header
    guard isInWindow(d, sequence, end) else { return }
    extend(d, sequence, end)
    acknowledge(d, tcp.big32(TCPHeader.acknowledgementOffset), tcp.big16(TCPHeader.windowOffset))
  }

  /// True where the other side would take the segment: not beyond the edge that it has announced, and not farther back
  /// than a retransmission can be.
  @inline(__always)
  private func isInWindow(_ d: Int, _ sequence: UInt32, _ end: UInt32) -> Bool {
    let receiver = side(1 &- d)
    let edge = receiver[Self.edge]
    let taken = receiver[Self.taken]
    return Self.isUpTo(sequence, edge)
      && (Self.isUpTo(taken, end &+ Self.unscaledWindow) || Self.isUpTo(taken, end &+ (edge &- taken)))
  }

  /// Notes how far a side has sent. Only what joins on: a place that nobody vouches for must not become one that a RST
  /// may hit.
  @inline(__always)
  private func extend(_ d: Int, _ sequence: UInt32, _ end: UInt32) {
    let mine = side(d)
    let sent = mine[Self.end]
    guard Self.isUpTo(sequence, sent), !Self.isUpTo(end, sent) else { return }
    mine[Self.end] = end
    unmark(d, Self.finished)
  }

  /// Notes what a side has acknowledged, and how far it has opened its window: at most what it has allowed, and one more,
  /// since a probe into a closed window may be taken.
  @inline(__always)
  private func acknowledge(_ d: Int, _ number: UInt32, _ unscaled: UInt16) {
    let mine = side(d)
    let edge = mine[Self.edge]
    guard Self.isUpTo(mine[Self.taken], number), Self.isUpTo(number, edge &+ 1) else { return }
    mine[Self.taken] = number
    let opened = number &+ UInt32(unscaled) &<< scale(d)
    if !Self.isUpTo(opened, edge) { mine[Self.edge] = opened }
    // What was acknowledged was sent, though a gap may have hidden it from us.
    let other = side(1 &- d)
    if !Self.isUpTo(number, other[Self.end]) { other[Self.end] = number }
  }

  // MARK: Any segment

  /// Moves the state. True where the segment refreshes the timer.
  func track(
    _ d: Int, _ segment: Segment, tcp: UnsafeMutableRawPointer, headerLength: Int,
    timeouts: TCPTimeouts
  ) -> Bool {
    if segment.has(TCPHeader.rst) {
      guard isExactReset(d, segment) else { return false }
      enter(SessionState.reset, from: common.state, timeouts)
      return true
    }
    if segment.has(TCPHeader.syn) {
      return synchronize(d, segment, tcp: tcp, headerLength: headerLength, timeouts)
    }
    returnFromReset(timeouts)
    // Outside of the window it may still be the receiver's: our picture has gaps. So it keeps the session, and no more.
    guard isCredible(d, segment) else { return true }
    follow(d, segment)
    move(timeouts)
    return true
  }

  private func isCredible(_ d: Int, _ segment: Segment) -> Bool {
    guard marks(1 &- d) & Self.acknowledged != 0 else { return true }
    return isInWindow(d, segment.sequence, segment.end)
  }

  /// A segment without SYN or RST.
  private func follow(_ d: Int, _ segment: Segment) {
    let mine = side(d)
    if marks(d) & Self.seen == 0 {
      mine[Self.end] = segment.end
      mark(d, Self.seen | Self.pickedUp)
      scaleByte(d).plain = Self.largestScale
    }
    if segment.has(TCPHeader.ack), marks(d) & Self.acknowledged == 0 { acknowledgeFirst(d, segment) }
    if marks(d) & Self.acknowledged != 0 {
      extend(d, segment.sequence, segment.end)
      acknowledge(d, segment.acknowledgement, segment.window)
    } else if !Self.isUpTo(segment.end, mine[Self.end]) {
      mine[Self.end] = segment.end
    }
    if segment.has(TCPHeader.fin) {
      // Its place is the stream's end, whatever is missing before it: what comes late then opens nothing again.
      if !Self.isUpTo(segment.end, mine[Self.end]) { mine[Self.end] = segment.end }
      mark(d, Self.finished)
    }
  }

  /// The first acknowledgement of a side. It must be of something that the peer has just sent, or anybody could make a
  /// session last for hours with a handshake of which he sees nothing.
  private func acknowledgeFirst(_ d: Int, _ segment: Segment) {
    let mine = side(d)
    let other = side(1 &- d)
    if marks(1 &- d) & Self.seen != 0 {
      let distance = other[Self.end] &- segment.acknowledgement
      let limit = marks(1 &- d) & Self.pickedUp != 0 ? Self.unscaledWindow &<< 14 : Self.unscaledWindow
      let isAhead = marks(1 &- d) & Self.pickedUp != 0 && 0 &- distance <= limit
      guard distance <= limit || isAhead else { return }
    }
    mine[Self.taken] = segment.acknowledgement
    // The window of a SYN is not scaled (RFC 7323 section 2.2).
    let shift = segment.has(TCPHeader.syn) ? 0 : scale(d)
    mine[Self.edge] = segment.acknowledgement &+ UInt32(segment.window) &<< shift
    mark(d, Self.acknowledged)
  }

  private func move(_ timeouts: TCPTimeouts) {
    let both = marks(0) & marks(1)
    if common.state == SessionState.opening, both & Self.acknowledged != 0 {
      enter(SessionState.established, from: SessionState.opening, timeouts)
    }
    if common.state == SessionState.established, both & Self.finished != 0 {
      enter(SessionState.closing, from: SessionState.established, timeouts)
    } else if common.state == SessionState.closing, both & Self.finished == 0 {
      enter(SessionState.established, from: SessionState.closing, timeouts)
    }
  }

  private func returnFromReset(_ timeouts: TCPTimeouts) {
    let word = common.word
    if word.state == SessionState.reset { enter(word.stateBeforeReset, from: SessionState.reset, timeouts) }
  }

  /// Enters a state, unless another worker has been faster: then its segment came first. A session that is being taken
  /// out stays as it is; this segment goes out as its last.
  private func enter(_ state: UInt8, from judged: UInt8, _ timeouts: TCPTimeouts, clearsMarks: Bool = false) {
    while true {
      let before = common.word
      guard before.state == judged, judged != SessionState.free, judged < SessionState.cut else { return }
      var after = before
      after.state = state
      after.timeout = timeouts.idle(in: state)
      if state == SessionState.reset, judged != SessionState.reset { after.stateBeforeReset = judged }
      if clearsMarks { after.clearMarks() }
      if common.exchange(before, after) {
        words?.countChange(from: judged, to: state)
        return
      }
    }
  }

  // MARK: SYN

  /// A segment with SYN: begins, repeats or answers a beginning, or means nothing.
  private func synchronize(
    _ d: Int, _ segment: Segment, tcp: UnsafeMutableRawPointer, headerLength: Int,
    _ timeouts: TCPTimeouts
  ) -> Bool {
    let isAnswer = segment.has(TCPHeader.ack)
    switch common.state {
    case SessionState.opening: break
    case SessionState.closing where !isAnswer, SessionState.reset where !isAnswer: reopen(timeouts)
    case SessionState.reset:
      returnFromReset(timeouts)
      return true
    case SessionState.established where isAnswer && answersReopening(d, segment): reopen(timeouts)
    case SessionState.established where !isAnswer:
      if line(d).kind == FlowKind.tcp { line(d).timeout = segment.sequence }
      mark(d, Self.reopening)
      return false
    // A late SYN/ACK, repeated.
    default: return isInWindow(d, segment.sequence, segment.end)
    }
    // A SYN sent anew may start elsewhere, as long as nobody has answered the first one.
    if marks(d) & Self.seen == 0 || marks(1 &- d) & Self.acknowledged == 0 { side(d)[Self.end] = segment.end }
    mark(d, Self.seen)
    unmark(d, Self.pickedUp)
    learnScale(d, TCPHeader.windowScale(tcp, headerLength: headerLength))
    if isAnswer, marks(d) & Self.acknowledged == 0 { acknowledgeFirst(d, segment) }
    move(timeouts)
    return true
  }

  /// True for the answer to the other side's SYN into the established session, which may have carried data (RFC 7413). One
  /// that acknowledges anything else is late, or forged.
  private func answersReopening(_ d: Int, _ segment: Segment) -> Bool {
    guard marks(1 &- d) & Self.reopening != 0 else { return false }
    let other = line(1 &- d)
    return other.kind != FlowKind.tcp || segment.acknowledgement &- other.timeout &- 1 <= Self.unscaledWindow
  }

  private func reopen(_ timeouts: TCPTimeouts) {
    enter(SessionState.opening, from: common.state, timeouts, clearsMarks: true)
    scaleByte(0).plain = Self.largestScale
    scaleByte(1).plain = Self.largestScale
  }

  /// Scaling holds only where both SYNs offer it (RFC 7323 section 2.2).
  private func learnScale(_ d: Int, _ scale: UInt8?) {
    scaleByte(d).plain = scale ?? Self.unscaled
    if scale == nil {
      scaleByte(1 &- d).plain = Self.unscaled
    } else if scaleByte(1 &- d).plain == Self.unscaled {
      scaleByte(d).plain = Self.unscaled
    }
  }

  // MARK: Quoted segments

  /// True where a segment of this side with this number may still be on its way, or lost: sent already, and not
  /// acknowledged for longer than a window ago.
  func mayBeUnderWay(_ d: Int, _ sequence: UInt32) -> Bool {
    guard marks(d) & Self.seen != 0 else { return true }
    let end = side(d)[Self.end]
    guard Self.isUpTo(sequence, end) else { return false }
    let oldest = marks(1 &- d) & Self.acknowledged != 0 ? side(1 &- d)[Self.taken] : end
    return Self.isUpTo(oldest, sequence &+ Self.unscaledWindow)
  }

  // MARK: RST

  private func isExactReset(_ d: Int, _ segment: Segment) -> Bool {
    // A FIN may have come from elsewhere, and moved the end to where its sender likes.
    let sent = marks(d) & (Self.seen | Self.finished) == Self.seen && segment.sequence == side(d)[Self.end]
    if marks(1 &- d) & Self.acknowledged != 0 { return sent || segment.sequence == side(1 &- d)[Self.taken] }
    // The receiver has not acknowledged anything: a refused SYN is answered by a RST with an ACK of exactly it.
    if segment.has(TCPHeader.ack), marks(1 &- d) & Self.seen != 0 {
      return segment.acknowledgement == side(1 &- d)[Self.end]
    }
    return sent
  }
}

/// In ticks.
struct TCPTimeouts {
  let established: UInt32
  let opening: UInt32
  let closing: UInt32
  let reset: UInt32

  /// How long a connection in this state may be idle.
  func idle(in state: UInt8) -> UInt32 {
    switch state {
    case SessionState.established: established
    case SessionState.opening: opening
    case SessionState.closing: closing
    default: reset
    }
  }
}
