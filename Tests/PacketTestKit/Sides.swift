/// Who talks to whom in a capture: each address is on one of two sides, by who sent first in its first conversation.
package struct Sides: Sendable {
  package private(set) var originators: [Host] = []
  package private(set) var responders: [Host] = []
  private var isOriginator: [Host: Bool] = [:]

  package init(_ frames: [Decoded]) {
    for frame in frames {
      guard let ip = frame.ip, ip.source.isUnicast, ip.destination.isUnicast else { continue }
      let isAnswer = Self.looksLikeAnswer(frame)
      let (first, second) = isAnswer ? (ip.destination, ip.source) : (ip.source, ip.destination)
      // Whoever is known keeps its side; a stranger who talks with it is on the other.
      settle(first, isOriginator[first] ?? isOriginator[second].map { !$0 } ?? true)
      settle(second, isOriginator[second] ?? !isOriginator[first]!)
    }
  }

  private mutating func settle(_ host: Host, _ originates: Bool) {
    guard isOriginator.updateValue(originates, forKey: host) == nil else { return }
    if originates { originators.append(host) } else { responders.append(host) }
  }

  /// A capture may begin with the second frame of a conversation.
  private static func looksLikeAnswer(_ frame: Decoded) -> Bool {
    if let tcp = frame.tcp {
      if tcp.flags.contains(.syn) { return tcp.flags.contains(.ack) }
      return tcp.sourcePort < tcp.destinationPort
    }
    if let udp = frame.udp { return udp.sourcePort < 1024 && udp.destinationPort >= 1024 }
    return frame.icmp?.type == 0
  }

  /// True where the frame comes from the originators' side. What has no IPv4 source comes from there as well.
  package func isForward(_ frame: Decoded) -> Bool { frame.ip.map { isOriginator[$0.source] != false } ?? true }
}

extension Host {
  /// Neither "this network" nor a group nor reserved.
  package var isUnicast: Bool { (1..<224).contains(number >> 24) }
}
