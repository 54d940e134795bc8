import Testing

/// One TCP connection through a gateway, with sequence numbers that a real pair of stacks would use.
package final class TCPTalk {
  package enum Side { case inside, outside }

  let gateway: TestGateway
  /// The inside host and whom it talks to; the outside host and whom *it* talks to.
  package let inside: Peer
  package let insideSees: Peer
  package let outside: Peer
  package let outsideSees: Peer
  package var insideNext: UInt32
  package var outsideNext: UInt32

  package init(
    _ gateway: TestGateway, inside: Peer, seeing insideSees: Peer, outside: Peer, seeing outsideSees: Peer,
    insideFirst: UInt32 = 1_000_000, outsideFirst: UInt32 = 5_000_000
  ) {
    self.gateway = gateway
    self.inside = inside
    self.insideSees = insideSees
    self.outside = outside
    self.outsideSees = outsideSees
    insideNext = insideFirst
    outsideNext = outsideFirst
  }

  /// An inside host that goes out by a masquerade that keeps its port.
  package static func outward(
    _ gateway: TestGateway, from inside: Peer = "192.168.1.10:5000", to outside: Peer = "198.51.100.7:80",
    insideFirst: UInt32 = 1_000_000, outsideFirst: UInt32 = 5_000_000
  ) -> TCPTalk {
    TCPTalk(
      gateway, inside: inside, seeing: outside, outside: outside, seeing: Peer("203.0.113.1", inside.port),
      insideFirst: insideFirst, outsideFirst: outsideFirst)
  }

  /// The next segment of `side`, at the place in its stream that is due.
  package func segment(_ side: Side, _ flags: TCPHeader.Flags, _ text: String = "") -> Packet {
    let acknowledgment = flags.contains(.ack) ? (side == .inside ? outsideNext : insideNext) : 0
    return side == .inside
      ? .tcp(inside, insideSees, flags, sequence: insideNext, acknowledgment: acknowledgment, text)
      : .tcp(outside, outsideSees, flags, sequence: outsideNext, acknowledgment: acknowledgment, text)
  }

  /// Sends the next segment, moves the stream on and expects the other side to get it, translated.
  @discardableResult
  package func send(
    _ side: Side, _ flags: TCPHeader.Flags, _ text: String = "", at time: Double? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> TestGateway.Outcome {
    let packet = segment(side, flags, text)
    let advance = UInt32(text.utf8.count) + (flags.contains(.syn) ? 1 : 0) + (flags.contains(.fin) ? 1 : 0)
    if side == .inside { insideNext &+= advance } else { outsideNext &+= advance }
    return deliver(packet, from: side, at: time, sourceLocation: sourceLocation)
  }

  /// Sends any segment of this connection and expects it on the other side.
  @discardableResult
  package func deliver(
    _ packet: Packet, from side: Side, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) -> TestGateway.Outcome {
    let outcome = offer(packet, from: side, at: time, sourceLocation: sourceLocation)
    let expected =
      side == .inside
      ? packet.translated(from: outsideSees, to: outside) : packet.translated(from: insideSees, to: inside)
    outcome.expectForward(expected, on: side == .inside ? "wan" : "lan", sourceLocation: sourceLocation)
    return outcome
  }

  /// Sends any segment, expecting nothing yet.
  @discardableResult
  package func offer(
    _ packet: Packet, from side: Side, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) -> TestGateway.Outcome {
    gateway.receive(packet, on: side == .inside ? "lan" : "wan", at: time, sourceLocation: sourceLocation)
  }

  /// Three-way handshake begun by `side`.
  package func open(
    from side: Side = .inside, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let other: Side = side == .inside ? .outside : .inside
    send(side, .syn, at: time, sourceLocation: sourceLocation)
    send(other, [.syn, .ack], at: time, sourceLocation: sourceLocation)
    send(side, .ack, at: time, sourceLocation: sourceLocation)
  }
}
