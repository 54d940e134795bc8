/// The IPv6 side of a forward: what from outside may reach an inside host, at its own address and without translation, or
/// at an outside address.
public struct PinholePlan: Sendable, Equatable {
  public var target: IPv6Address
  public var protocols: ForwardPlan.Protocols
  /// Ports of the target.
  public var ports: [PortRange]
  /// The outside address that stands for the target; nil: nothing is translated.
  public var external: IPv6Address?
  /// Where there is one: its ports, and where they go.
  public var spans: [PortSpan] = []
  public var allow: [IPv6Prefix] = [IPv6Prefix(IPv6Address(high: 0, low: 0), length: 0)]
  public var deny: [IPv6Prefix] = []

  public init(target: IPv6Address, protocols: ForwardPlan.Protocols, ports: [PortRange]) {
    self.target = target
    self.protocols = protocols
    self.ports = ports
  }

  /// `deny` wins over `allow`.
  func allows(_ source: IPv6Address) -> Bool {
    !deny.contains { $0.contains(source) } && allow.contains { $0.contains(source) }
  }

  /// Whether it names what a key, which begins a session, is to.
  fileprivate func names(_ key: FlowKey) -> Bool {
    switch key.ipProtocol {
    case IPProtocol.tcp where !protocols.contains(.tcp), IPProtocol.udp where !protocols.contains(.udp): return false
    case IPProtocol.tcp, IPProtocol.udp:
      let port = key.destinationPort.bigEndian
      return ports.contains { $0.first <= port && port <= $0.last }
    case ICMPv6.number: return protocols.contains(.echo)
    default: return protocols.contains(.other)
    }
  }
}

/// The pinholes by target.
struct PinholeTable {
  /// Rules in the order of the file; a narrower one before a whole host's.
  private var rules: [IPv6Address: [Int]] = [:]

  init(_ plan: Plan) {
    for isWhole in [false, true] {
      for (rule, forward) in plan.forwards.enumerated() where forward.isEnabled && forward.isWholeHost == isWhole {
        if let pinhole = forward.pinhole, pinhole.external == nil { rules[pinhole.target, default: []].append(rule) }
      }
    }
  }

  /// The rule that lets a packet with this key in at an outside interface; whether its source may use it is to be seen.
  func find(_ destination: IPv6Address, _ key: FlowKey, _ ingress: Int, in plan: Plan) -> Int? {
    rules[destination]?.first {
      plan.forwards[$0].interface == ingress && plan.forwards[$0].pinhole?.names(key) == true
    }
  }
}

extension Rules {
  func pinhole(_ destination: IPv6Address, _ key: FlowKey, _ ingress: Int) -> Int? {
    pinholes.find(destination, key, ingress, in: plan)
  }
}
