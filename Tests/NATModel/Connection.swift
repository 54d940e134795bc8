import PacketTestKit

/// What the model knows of a TCP connection: as much as decides when it ends for certain.
///
/// As long as every segment is one that two ordinary stacks would send, the end is known to the tick (RFC 5382 REQ-5).
/// After the first odd one it is a range: never sooner than before it, except by RST or FIN (T7), never later than an
/// established connection's end.
struct Connection {
  enum Step { case regular, reset, blindReset, either }

  /// The sequence number that each side sends next.
  private var next: [UInt32?] = [nil, nil]
  /// What each side has acknowledged last.
  private var acknowledged: [UInt32?] = [nil, nil]
  private var hasSYN = [false, false]
  private var hasAnswered = [false, false]
  private var hasFIN = [false, false]
  private var isReset = false
  private var isOrdinary = true

  /// A session begins with a SYN, or with an ACK without SYN and RST (CONTRACT). No stack sends SYN with FIN.
  static func begins(_ datagram: Datagram) -> Bool {
    let flags = datagram.byte(13)
    return flags & 0b10111 == 0b00010 || flags & 0b10110 == 0b10000
  }

  init(_ datagram: Datagram) { _ = take(datagram, from: 0) }

  var isEstablished: Bool { hasAnswered[0] && hasAnswered[1] }
  var isClosing: Bool { hasFIN[0] && hasFIN[1] }

  mutating func take(_ datagram: Datagram, from side: Int) -> Step {
    let flags = datagram.byte(13)
    let (fin, syn, rst, ack) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0, flags & 16 != 0)
    let sequence = datagram.long(4)
    if rst { return takeReset(sequence, side) }
    let length = datagram.size - Int(datagram.byte(12) >> 4) * 4 + (syn ? 1 : 0) + (fin ? 1 : 0)
    let end = sequence &+ UInt32(length)
    let isDue = next[side].map { $0 == sequence } ?? true
    let isRepeat = next[side].map { end == $0 && length < 2000 } ?? false
    let isAcknowledging = next[1 - side].map { ack && datagram.long(8) == $0 } ?? !ack
    let isFirst = next[side] == nil
    // SYN; SYN+ACK; then everything with ACK. A picked up connection has no SYN at all.
    let isShaped: Bool =
      switch (side, isFirst) {
      case (0, true): true
      case (1, true): ack && syn == hasSYN[0] && acknowledged[0] ?? sequence == sequence
      default: syn ? isRepeat && hasSYN[side] && ack == (side == 1) && !isEstablished : ack
      }
    guard isOrdinary, !datagram.isFragment, isShaped, isDue || isRepeat,
      isFirst && side == 0 || isAcknowledging || syn && !ack,
      !fin || isEstablished && isDue && !hasFIN[side], !(isClosing || hasFIN[side]) || length == 0 || isRepeat,
      !isReset || !syn
    else {
      isOrdinary = false
      hasFIN[side] = hasFIN[side] || fin
      return .either
    }
    if isDue { next[side] = end }
    if ack { acknowledged[side] = datagram.long(8) }
    hasSYN[side] = hasSYN[side] || syn
    hasAnswered[side] = hasAnswered[side] || (ack && (isAcknowledging || isFirst))
    hasFIN[side] = hasFIN[side] || fin
    isReset = false
    return .regular
  }

  /// RFC 5961 section 3: exactly at the place that the receiver has told it counts; far away it must not.
  private mutating func takeReset(_ sequence: UInt32, _ side: Int) -> Step {
    guard isOrdinary, isEstablished, !isClosing, !isReset, let due = next[side], acknowledged[1 - side] == due
    else {
      isOrdinary = false
      return .either
    }
    if sequence == due {
      isReset = true
      return .reset
    }
    let distance = Int32(bitPattern: sequence &- due).magnitude
    if distance > 1 << 24 { return .blindReset }
    isOrdinary = false
    return .either
  }

  /// When the session ends after this step.
  func due(after step: Step, _ datagram: Datagram, was: ClosedRange<Int>, in model: Model) -> ClosedRange<Int> {
    let transitory = model.due(in: model.setup.transitory)
    let established = model.due(in: model.setup.established)
    switch step {
    case .regular:
      let due = isEstablished && !isClosing ? established : transitory
      return due...due
    case .reset: return transitory...transitory
    case .blindReset: return was.lowerBound...max(was.upperBound, established)
    case .either:
      let isEnding = datagram.byte(13) & 5 != 0
      let first = isEnding ? min(was.lowerBound, transitory) : was.lowerBound
      return first...max(was.upperBound, established, transitory)
    }
  }
}

extension Model.Session {
  /// What this side of a TCP connection sends next, as far as anybody saw.
  package func next(_ side: Int) -> UInt32? { connection?.due(side) }
  package var isUnanswered: Bool { connection?.isUnanswered ?? false }
  package var beganWithSYN: Bool { connection?.beganWithSYN ?? false }
}

extension Connection {
  func due(_ side: Int) -> UInt32? { next[side] ?? acknowledged[1 - side] }
  var isUnanswered: Bool { next[1] == nil }
  var beganWithSYN: Bool { hasSYN[0] }
}
