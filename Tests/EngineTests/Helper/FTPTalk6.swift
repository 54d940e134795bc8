import Engine
import PacketTestKit
import Testing

/// Two TCP stacks that speak FTP over IPv6 through a gateway: `FTPTalk` for the other family.
final class FTPTalk6 {
  typealias End = FTPTalk.End

  struct Endpoint: Equatable {
    var host: Host6
    var port: UInt16

    init(_ host: Host6, _ port: UInt16) { (self.host, self.port) = (host, port) }
  }

  /// One stack.
  struct Stack {
    var own: Endpoint
    /// As it knows the other one.
    var peer: Endpoint
    var interface: String
    /// Its next number, and the next that it waits for.
    var next: UInt32
    var heard: UInt32 = 0
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
  private var ends: [Stack]

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

  subscript(_ end: End) -> Stack {
    get { ends[end.rawValue] }
    set { ends[end.rawValue] = newValue }
  }

  /// The segment that is due.
  func segment(_ end: End, _ flags: TCPHeader.Flags = .ack, _ text: String = "") -> Datagram6 {
    let own = self[end]
    return .tcp(
      own.own.host, own.own.port, own.peer.host, own.peer.port, flags, sequence: own.next,
      acknowledgment: flags.contains(.ack) ? own.heard : 0, text)
  }

  func open(sourceLocation: SourceLocation = #_sourceLocation) {
    for (end, flags) in [(End.client, TCPHeader.Flags.syn), (.server, [.syn, .ack]), (.client, .ack)] {
      let got = offer(segment(end, flags), from: end, sourceLocation: sourceLocation)
      guard let tcp = got.last?.decoded.tcp else { return }
      if flags.contains(.syn) {
        self[end].next &+= 1
        self[end.other].heard = tcp.sequence &+ 1
      }
      check(tcp.flags.contains(.ack) ? tcp.acknowledgment : self[end.other].next, at: end.other, sourceLocation)
    }
  }

  /// Sends the next bytes, and has the other end take them; what it got.
  @discardableResult
  func say(
    _ end: End, _ text: String, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) -> String? {
    let segment = segment(end, [.ack, .psh], text)
    self[end].next &+= UInt32(text.utf8.count)
    return take(offer(segment, from: end, at: time, sourceLocation: sourceLocation), from: end, sourceLocation)
  }

  /// Sends any segment; every frame that left for the other end.
  func offer(
    _ segment: Datagram6, from end: End, at time: Double? = nil, offload: OffloadHeader = OffloadHeader(),
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> [TestGateway.Emitted] {
    let outcome = gateway.receive6(
      segment, on: self[end].interface, via: self[end].interface == "wan" ? Self.router : nil, at: time,
      offload: offload, sourceLocation: sourceLocation)
    let left = [outcome.forwarded].compactMap { $0 } + outcome.made
    for frame in left where frame.interface == self[end.other].interface {
      let isPartial = frame.offload.flags & OffloadHeader.needsChecksum != 0
      for problem in frame.decoded.checksumProblems(isPartial: isPartial) + frame.decoded.problems {
        Issue.record("\(problem) in \(frame.decoded)", sourceLocation: sourceLocation)
      }
    }
    return left.filter { $0.interface == self[end.other].interface }
  }

  /// The other end takes one segment in order: addresses, number and acknowledgement must be what it knows.
  func take(
    _ got: [TestGateway.Emitted], from end: End, _ sourceLocation: SourceLocation = #_sourceLocation
  ) -> String? {
    guard got.count == 1, let tcp = got[0].decoded.tcp, let ip = got[0].decoded.ip6 else { return nil }
    let other = self[end.other]
    if (ip.source, ip.destination) != (other.peer.host, other.own.host) {
      Issue.record("from \(ip.source) to \(ip.destination)", sourceLocation: sourceLocation)
    }
    if tcp.sequence != other.heard {
      Issue.record("number \(tcp.sequence), waits for \(other.heard)", sourceLocation: sourceLocation)
    }
    check(tcp.acknowledgment, at: end.other, sourceLocation)
    self[end.other].heard = tcp.sequence &+ UInt32(tcp.payload.count)
    return got[0].decoded.text
  }

  /// All that an end has sent is acknowledged, and no more.
  private func check(_ number: UInt32, at end: End, _ sourceLocation: SourceLocation) {
    if number != self[end].next {
      Issue.record("acknowledges \(number) of \(self[end].next)", sourceLocation: sourceLocation)
    }
  }

  /// A line from each end in turn.
  func chat(_ count: Int, sourceLocation: SourceLocation = #_sourceLocation) {
    for index in 0..<count {
      #expect(say(.client, "NOOP \(index)\r\n", sourceLocation: sourceLocation) == "NOOP \(index)\r\n")
      #expect(say(.server, "200 \(index)\r\n", sourceLocation: sourceLocation) == "200 \(index)\r\n")
    }
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
