import Engine
import Testing

// Expectations that print the frame, the field, the expected and the actual value.

extension TestGateway.Outcome {
  /// The frame went out on `interface` and is, byte for byte, `packet` with the Ethernet header it needs there.
  ///
  /// `packet` is built from scratch, checksums included, so equality proves every incremental update.
  package func expectForward(
    _ packet: Packet, on interface: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    guard let forwarded else {
      Issue.record("expected a frame on \(interface), got \(summary)\n in: \(input)", sourceLocation: sourceLocation)
      return
    }
    forwarded.expect(packet, on: interface, from: gateway, input: input, sourceLocation: sourceLocation)
  }

  /// The frame was dropped for `reason` and nothing left because of it.
  package func expectDrop(_ reason: DropReason, sourceLocation: SourceLocation = #_sourceLocation) {
    guard verdict == .drop, self.reason == reason, made.isEmpty else {
      let text = "expected drop \(reason.name) in silence, got \(summary)\n in: \(input)"
      Issue.record(Comment(rawValue: text), sourceLocation: sourceLocation)
      return
    }
  }

  /// The frame was dropped for `reason` and exactly one frame was made, which is returned.
  package func expectDropAnswered(_ reason: DropReason, sourceLocation: SourceLocation = #_sourceLocation)
    -> TestGateway.Emitted?
  {
    guard verdict == .drop, self.reason == reason, made.count == 1 else {
      let text = "expected drop \(reason.name) with one answer, got \(summary)\n in: \(input)"
      Issue.record(Comment(rawValue: text), sourceLocation: sourceLocation)
      return nil
    }
    return made[0]
  }

  /// Refused for want of room: dropped for `reason`, and its sender told so by ICMP 3/13 unless that is limited (RFC 5508
  /// REQ-8).
  package func expectRefusal(_ reason: DropReason, sourceLocation: SourceLocation = #_sourceLocation) {
    let isTold = made.count == 1 && made[0].decoded.icmp?.type == 3 && made[0].decoded.icmp?.code == 13
    guard verdict == .drop, self.reason == reason, isTold || made.isEmpty && gateway.count(of: .errorLimited) > 0 else {
      Issue.record("expected refusal \(reason.name), got \(summary)\n in: \(input)", sourceLocation: sourceLocation)
      return
    }
  }

  package func expect(_ verdict: Verdict, sourceLocation: SourceLocation = #_sourceLocation) {
    if self.verdict != verdict {
      Issue.record("expected \(verdict), got \(summary)\n in: \(input)", sourceLocation: sourceLocation)
    }
  }

  var summary: String {
    var text = "\(verdict)"
    if verdict == .drop { text += " \(reason.name)" }
    if let forwarded { text += " on \(forwarded.interface): \(forwarded.decoded)" }
    return made.reduce(text) { $0 + "\nmade on \($1.interface): \($1.decoded)" }
  }
}

extension TestGateway.Emitted {
  /// This frame left on `interface` and is `packet` as it must leave there.
  package func expect(
    _ packet: Packet, on interface: String, from gateway: TestGateway, input: Decoded? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let isRawIP = gateway.plan.interfaces[gateway.plan.index(of: interface)].link == .rawIP
    let expected = Decoded(gateway.departing(packet, on: interface).bytes, isRawIP: isRawIP)
    var lines = Decoded.differences(expected: expected, actual: decoded)
    if self.interface != interface { lines.insert("interface: expected \(interface), actual \(self.interface)", at: 0) }
    guard !lines.isEmpty else { return }
    let origin = input.map { "\n in: \($0)" } ?? ""
    let text = lines.joined(separator: "\n") + "\(origin)\nexpected: \(expected)\n  actual: \(decoded)"
    Issue.record(Comment(rawValue: text), sourceLocation: sourceLocation)
  }
}

extension Packet {
  /// This packet as a NAT router passes it on: TTL one less, the given ends replaced.
  package func translated(from source: Peer? = nil, to destination: Peer? = nil) -> Packet {
    with {
      $0.ip.ttl -= 1
      if let source { $0.ip.source = source.host }
      if let destination { $0.ip.destination = destination.host }
      switch $0.transport {
      case .tcp:
        if let source { $0.tcp.sourcePort = source.port }
        if let destination { $0.tcp.destinationPort = destination.port }
      case .udp:
        if let source { $0.udp.sourcePort = source.port }
        if let destination { $0.udp.destinationPort = destination.port }
      case .icmp(let message) where message.type == 8:
        if let source { $0.icmp.rest = UInt32(source.port) << 16 | message.rest & 0xFFFF }
      case .icmp(let message) where message.type == 0:
        if let destination { $0.icmp.rest = UInt32(destination.port) << 16 | message.rest & 0xFFFF }
      case .icmp, .raw: break
      }
    }
  }
}
