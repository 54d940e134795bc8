import Engine
import PacketTestKit
import Testing

/// FTP over IPv6.
final class FTPTalk6: FTPConversation {
  struct Endpoint: Equatable {
    var host: Host6
    var port: UInt16

    init(_ host: Host6, _ port: UInt16) { (self.host, self.port) = (host, port) }
  }

  /// How the inside host is known outside.
  enum Way: CaseIterable {
    /// By its own address.
    case routed
    /// By that of a prefix.
    case prefix
    /// By the gateway's.
    case masqueraded

    var inside: Host6 { self == .prefix ? "fd01:203:405:1::10" : "2001:db8:2::10" }
    /// fd01:203:405:1 with another prefix, and what that differs by in the subnet (RFC 6296 section 3.4).
    var outside: Host6 {
      switch self {
      case .routed: inside
      case .prefix: "2001:db8:b:d546::10"
      case .masqueraded: "2001:db8:1::1"
      }
    }
  }

  static let peer: Host6 = "2001:db8:f::7"
  static let router: Host6 = "2001:db8:1::fe"

  var gateway: TestGateway
  var ends: [FTPStack<Endpoint>]

  init(_ gateway: TestGateway, client: Stack, server: Stack) {
    self.gateway = gateway
    ends = [client, server]
  }

  /// The client inside.
  static func inside(_ gateway: TestGateway, _ way: Way, port: UInt16 = 5000, first: UInt32 = 1_000_000) -> FTPTalk6 {
    FTPTalk6(
      gateway,
      client: Stack(own: Endpoint(way.inside, port), peer: Endpoint(peer, 21), interface: "lan", next: first),
      server: Stack(own: Endpoint(peer, 21), peer: Endpoint(way.outside, port), interface: "wan", next: 5_000_000))
  }

  /// The server inside.
  static func behind(_ gateway: TestGateway, _ way: Way, port: UInt16 = 40_000) -> FTPTalk6 {
    FTPTalk6(
      gateway,
      client: Stack(own: Endpoint(peer, port), peer: Endpoint(way.outside, 21), interface: "wan", next: 1_000_000),
      server: Stack(own: Endpoint(way.inside, 21), peer: Endpoint(peer, port), interface: "lan", next: 5_000_000))
  }

  /// The segment that is due.
  func segment(_ end: End, _ flags: TCPHeader.Flags = .ack, _ text: String = "") -> Datagram6 {
    let own = self[end]
    return .tcp(
      own.own.host, own.own.port, own.peer.host, own.peer.port, flags, sequence: own.next,
      acknowledgment: flags.contains(.ack) ? own.heard : 0, text)
  }

  func receive(
    _ segment: Datagram6, from end: End, at time: Double?, offload: OffloadHeader, sourceLocation: SourceLocation
  ) -> TestGateway.Outcome {
    gateway.receive6(
      segment, on: self[end].interface, via: self[end].interface == "wan" ? Self.router : nil, at: time,
      offload: offload, sourceLocation: sourceLocation)
  }

  /// The addresses must be what the other end knows.
  func take(
    _ got: [TestGateway.Emitted], from end: End, _ sourceLocation: SourceLocation = #_sourceLocation
  ) -> String? {
    guard got.count == 1, let ip = got[0].decoded.ip6 else { return nil }
    let other = self[end.other]
    if (ip.source, ip.destination) != (other.peer.host, other.own.host) {
      Issue.record("from \(ip.source) to \(ip.destination)", sourceLocation: sourceLocation)
    }
    return takeNext(got, from: end, sourceLocation)
  }

  // MARK: Data connections

  /// What becomes of a connection from outside to `port` of the inside host, as it is known there.
  func connect(
    to port: UInt16, _ way: Way, from peer: Host6 = FTPTalk6.peer, _ peerPort: UInt16 = 20, at time: Double? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> TestGateway.Outcome {
    gateway.receive6(
      .tcp(peer, peerPort, way.outside, port, .syn), on: "wan", via: Self.router, at: time,
      sourceLocation: sourceLocation)
  }
}

extension Plan {
  /// `home6` with FTP helped: from lan to wan, and from outside to port 21 of the inside host.
  static func ftp6(
    _ way: FTPTalk6.Way, _ change: (inout MasqueradePlan) -> Void = { _ in }, more: (inout Plan) -> Void = { _ in }
  ) -> Plan {
    .home6 { plan in
      if way == .prefix {
        plan.change("lan") { $0.addresses6.append(IPv6Prefix("fd01:203:405:1::1/64")!) }
        plan.neighbor6(way.inside)
        plan.prefixes = [
          PrefixPlan(
            interface: 0, inside: IPv6Prefix("fd01:203:405::/48")!, outside: IPv6Prefix("2001:db8:b::/48")!)
        ]
      }
      plan.masquerade {
        $0.helper = .ftp
        if way == .masqueraded { $0.external6 = way.outside.planned }
        change(&$0)
      }
      plan.forward6("ftp", way, ports: 21, to: 21) { $0.helper = .ftp }
      more(&plan)
    }
  }

  /// A pinhole to a port of the inside host, or a forward at the gateway's address.
  mutating func forward6(
    _ name: String, _ way: FTPTalk6.Way, ports port: UInt16, to target: UInt16,
    _ change: (inout ForwardPlan) -> Void = { _ in }
  ) {
    var forward = ForwardPlan(
      name: name, protocols: [], interface: 0, externals: [], isOnInterface: false, isWholeHost: false, spans: [],
      target: IPv4Address(0))
    forward.pinhole = PinholePlan(
      target: way.inside.planned, protocols: .tcp, ports: [PortRange(target, target)])
    if way == .masqueraded {
      forward.pinhole?.external = way.outside.planned
      forward.pinhole?.spans = [PortSpan(ports: PortRange(port, port), target: target, isParallel: false)]
    }
    change(&forward)
    forwards.append(forward)
  }
}
