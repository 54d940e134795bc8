import Engine
import PacketTestKit
import Testing

/// Two TCP stacks that speak FTP through a gateway: each numbers its own bytes, and acknowledges what it has really got.
final class FTPTalk {
  enum End: Int {
    case client, server
    var other: End { self == .client ? .server : .client }
  }

  /// One stack.
  struct Stack {
    var own: Peer
    /// As it knows the other one.
    var peer: Peer
    var interface: String
    /// Its next number, and the next that it waits for.
    var next: UInt32
    var heard: UInt32 = 0
  }

  var gateway: TestGateway
  var ends: [Stack]

  init(_ gateway: TestGateway, client: Stack, server: Stack) {
    self.gateway = gateway
    ends = [client, server]
  }

  /// The client inside, behind the masquerade.
  static func inside(
    _ gateway: TestGateway, from own: Peer = "192.168.1.10:5000", to server: Peer = "198.51.100.7:21",
    first: UInt32 = 1_000_000
  ) -> FTPTalk {
    FTPTalk(
      gateway, client: Stack(own: own, peer: server, interface: "lan", next: first),
      server: Stack(own: server, peer: Peer(wan, own.port), interface: "wan", next: 5_000_000))
  }

  /// The server inside, behind a forward of port 21.
  static func behind(_ gateway: TestGateway, source: Peer = client) -> FTPTalk {
    FTPTalk(
      gateway, client: Stack(own: client, peer: Peer(wan, 21), interface: "wan", next: 1_000_000),
      server: Stack(own: Peer(server, 21), peer: source, interface: "lan", next: 5_000_000))
  }

  subscript(_ end: End) -> Stack {
    get { ends[end.rawValue] }
    set { ends[end.rawValue] = newValue }
  }

  /// The segment that is due.
  func segment(_ end: End, _ flags: TCPHeader.Flags = .ack, _ text: String = "") -> Packet {
    let own = self[end]
    return .tcp(
      own.own, own.peer, flags, sequence: own.next, acknowledgment: flags.contains(.ack) ? own.heard : 0, text)
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
    let packet = segment(end, [.ack, .psh], text)
    self[end].next &+= UInt32(text.utf8.count)
    return take(offer(packet, from: end, at: time, sourceLocation: sourceLocation), from: end, sourceLocation)
  }

  /// Sends any segment; every frame that left for the other end.
  func offer(
    _ packet: Packet, from end: End, at time: Double? = nil, offload: OffloadHeader = OffloadHeader(),
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> [TestGateway.Emitted] {
    let outcome = gateway.receive(
      packet, on: self[end].interface, at: time, offload: offload, sourceLocation: sourceLocation)
    let left = [outcome.forwarded].compactMap { $0 } + outcome.made
    for frame in left where frame.interface == self[end.other].interface {
      let isPartial = frame.offload.flags & OffloadHeader.needsChecksum != 0
      for problem in frame.decoded.checksumProblems(isPartial: isPartial) + frame.decoded.problems {
        Issue.record("\(problem) in \(frame.decoded)", sourceLocation: sourceLocation)
      }
    }
    return left.filter { $0.interface == self[end.other].interface }
  }

  /// The other end takes one segment in order: number and acknowledgement must be what it knows.
  func take(
    _ got: [TestGateway.Emitted], from end: End, _ sourceLocation: SourceLocation = #_sourceLocation
  ) -> String? {
    guard got.count == 1, let tcp = got[0].decoded.tcp else { return nil }
    if tcp.sequence != self[end.other].heard {
      Issue.record("number \(tcp.sequence), waits for \(self[end.other].heard)", sourceLocation: sourceLocation)
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
}

extension Plan {
  /// `home` with FTP helped: from lan to wan by the masquerade, and from outside to port 21 of 192.168.1.10.
  static func ftp(_ change: (inout MasqueradePlan) -> Void = { _ in }, more: (inout Plan) -> Void = { _ in }) -> Plan {
    .masqueraded(
      {
        $0.helper = .ftp
        change(&$0)
      },
      more: {
        $0.forward("ftp", ports: "21", to: "192.168.1.10") { $0.helper = .ftp }
        more(&$0)
      })
  }
}
