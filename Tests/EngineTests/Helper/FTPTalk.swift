import Engine
import PacketTestKit
import Testing

/// FTP over IPv4.
final class FTPTalk: FTPConversation {
  var gateway: TestGateway
  var ends: [FTPStack<Peer>]

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

  /// The segment that is due.
  func segment(_ end: End, _ flags: TCPHeader.Flags = .ack, _ text: String = "") -> Packet {
    let own = self[end]
    return .tcp(
      own.own, own.peer, flags, sequence: own.next, acknowledgment: flags.contains(.ack) ? own.heard : 0, text)
  }

  func receive(
    _ segment: Packet, from end: End, at time: Double?, offload: OffloadHeader, sourceLocation: SourceLocation
  ) -> TestGateway.Outcome {
    gateway.receive(segment, on: self[end].interface, at: time, offload: offload, sourceLocation: sourceLocation)
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
