/// Follows a TCP connection as far as its timers need, and never stands in its way: every segment is translated.
///
///                 ACK from both sides               FIN from both sides
///     opening ------------------------> established -------------------> closing
///        |  ^                              |   ^                          |   |
///        |  +-- SYN on closing or reset ---|---|--------------------------+   |
///        +---------- valid RST ------------+---|------------------------------+
///                                          v   | anything but a RST
///                                         reset (remembers the state before)
///
/// - opening, closing and reset last the transitory time (RFC 5382 REQ-5, RFC 7857 section 2.1).
/// - A RST moves the state only inside the receiver's window (RFC 5961 section 3): a blind one never shortens a timer.
/// - After a RST the session stays, since the RST may not have been accepted (RFC 7857 section 2.2).
/// - A SYN on an established session changes nothing: the answer to it is the peer's challenge ACK (RFC 5961 section 4).
struct TCPTracker {
  // Marks of one direction (CommonLine offset 2).
  private static let seen: UInt8 = 1
  private static let acknowledged: UInt8 = 2
  private static let finished: UInt8 = 4

  private let line: UnsafeMutableRawPointer

  @inline(__always)
  init(_ common: CommonLine) { line = common.line }

  // All numbers of the window are in host order; arithmetic is modulo 2^32 (RFC 9293 section 3.4).
  @inline(__always)
  private func marks(_ d: Int) -> UInt8 { line.byte(2 &+ d) }
  @inline(__always)
  private func mark(_ d: Int, _ bit: UInt8) { line.put(line.byte(2 &+ d) | bit, 2 &+ d) }
  @inline(__always)
  private func window(_ d: Int) -> UnsafeMutablePointer<UInt32> {
    (line + (16 &+ d &* 12)).assumingMemoryBound(to: UInt32.self)
  }

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

    /// An ACK without SYN, FIN or RST.
    @inline(__always)
    var isPlain: Bool { flags & (TCPHeader.syn | TCPHeader.fin | TCPHeader.rst | TCPHeader.ack) == TCPHeader.ack }
  }

  /// The window's part of a plain segment on an established session: all that the burst loop does.
  @inline(__always)
  func advance(_ d: Int, _ segment: Segment) {
    let mine = window(d)
    let end = segment.sequence &+ UInt32(truncatingIfNeeded: segment.payload)
    if Int32(bitPattern: end &- mine[0]) > 0 { mine[0] = end }
    let other = window(1 &- d)
    if Int32(bitPattern: segment.acknowledgement &- mine[1]) >= 0,
      Int32(bitPattern: segment.acknowledgement &- other[0]) <= 0
    {
      mine[1] = segment.acknowledgement
      mine[2] = UInt32(segment.window) &<< UInt32(line.byte(40 &+ d) & 15)
    }
  }

  /// Any segment: moves the state. True where it refreshes the timer.
  func track(
    _ common: CommonLine, _ d: Int, _ segment: Segment, tcp: UnsafeMutableRawPointer, headerLength: Int,
    timeouts: TCPTimeouts
  ) -> Bool {
    if segment.flags & TCPHeader.rst != 0 {
      guard isValidReset(d, segment) else { return false }
      if common.state != SessionState.reset { common.stateBeforeReset = common.state }
      enter(SessionState.reset, common, timeouts)
      return true
    }
    let isSYN = segment.flags & (TCPHeader.syn | TCPHeader.ack) == TCPHeader.syn
    if isSYN {
      switch common.state {
      case SessionState.established: return false
      case SessionState.closing, SessionState.reset: reopen(common, timeouts)
      default: break
      }
    } else if common.state == SessionState.reset {
      enter(common.stateBeforeReset, common, timeouts)
    }
    learn(d, segment, isSYN: isSYN, tcp: tcp, headerLength: headerLength)
    if segment.flags & TCPHeader.fin != 0 { mark(d, Self.finished) }
    if common.state == SessionState.opening, marks(0) & marks(1) & Self.acknowledged != 0 {
      enter(SessionState.established, common, timeouts)
    }
    if common.state == SessionState.established, marks(0) & marks(1) & Self.finished != 0 {
      enter(SessionState.closing, common, timeouts)
    }
    return true
  }

  private func enter(_ state: UInt8, _ common: CommonLine, _ timeouts: TCPTimeouts) {
    common.state = state
    common.timeout = state == SessionState.established ? timeouts.established : timeouts.transitory
  }

  private func reopen(_ common: CommonLine, _ timeouts: TCPTimeouts) {
    enter(SessionState.opening, common, timeouts)
    line.put(0, 2)
    line.put(0, 3)
  }

  /// Notes how far a side has sent, acknowledged and opened its window.
  private func learn(_ d: Int, _ segment: Segment, isSYN: Bool, tcp: UnsafeMutableRawPointer, headerLength: Int) {
    let mine = window(d)
    let other = window(1 &- d)
    let hasSYN = segment.flags & TCPHeader.syn != 0
    let length = segment.payload &+ (hasSYN ? 1 : 0) &+ (segment.flags & TCPHeader.fin != 0 ? 1 : 0)
    let end = segment.sequence &+ UInt32(truncatingIfNeeded: length)
    // A SYN sent anew may start elsewhere, as long as nobody has answered the first one.
    let isAnew = isSYN && marks(1 &- d) & Self.acknowledged == 0
    if marks(d) & Self.seen == 0 || isAnew || Int32(bitPattern: end &- mine[0]) > 0 { mine[0] = end }
    mark(d, Self.seen)
    if hasSYN { learnScale(d, TCPHeader.windowScale(tcp, headerLength: headerLength)) }
    guard segment.flags & TCPHeader.ack != 0 else { return }
    // An acknowledgement of what was never sent is nobody's of this connection.
    if marks(1 &- d) & Self.seen != 0, Int32(bitPattern: segment.acknowledgement &- other[0]) > 0 { return }
    if marks(d) & Self.acknowledged == 0 || Int32(bitPattern: segment.acknowledgement &- mine[1]) >= 0 {
      mine[1] = segment.acknowledgement
      // The window of a SYN is not scaled (RFC 7323 section 2.2).
      mine[2] = UInt32(segment.window) &<< (hasSYN ? 0 : UInt32(line.byte(40 &+ d) & 15))
      mark(d, Self.acknowledged)
    }
  }

  /// Scaling holds only where both SYNs offer it (RFC 7323 section 2.2). A side that was picked up without a SYN counts
  /// with the largest scale: a window too wide lets a RST through, one too narrow would keep a dead session.
  private func learnScale(_ d: Int, _ scale: UInt8?) {
    line.put(scale ?? 0xF0, 40 &+ d)
    if scale == nil {
      line.put(0xF0, 40 &+ (1 &- d))
    } else if line.byte(40 &+ (1 &- d)) == 0xF0 {
      line.put(0xF0, 40 &+ d)
    }
  }

  private func isValidReset(_ d: Int, _ segment: Segment) -> Bool {
    let mine = window(d)
    let other = window(1 &- d)
    if marks(1 &- d) & Self.acknowledged != 0 {
      return segment.sequence &- other[1] < max(other[2], 1)
    }
    // The receiver has not acknowledged anything: a refused SYN is answered by RST with an ACK of exactly it.
    if segment.flags & TCPHeader.ack != 0, marks(1 &- d) & Self.seen != 0 { return segment.acknowledgement == other[0] }
    return marks(d) & Self.seen != 0 && segment.sequence == mine[0]
  }
}

/// In ticks.
struct TCPTimeouts {
  let established: UInt32
  let transitory: UInt32
}
