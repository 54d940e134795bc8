import PacketTestKit
import Testing

@testable import Engine

/// What applications say is their own: there is no helper that would read it (REQUIREMENTS A18).
@Suite struct PayloadTests {
  private typealias Packet = PacketTestKit.Packet
  private typealias UDPHeader = PacketTestKit.UDPHeader

  /// Payloads that have broken other NATs' helpers, and the ports of those.
  private static let telling: [(port: UInt16, text: String)] = [
    // slirp's tcp_emu: ident without an end (CVE-2019-6778), IRC and rlogin (CVE-2020-7039).
    (113, "40000 , 4294967295\r\n"), (6668, "DCC SEND x 3232235786 1234 "), (543, String(repeating: "\0", count: 63)),
    // nf_conntrack_irc took any text for a command (CVE-2022-2663, VU#230307).
    (6667, "x PRIVMSG a :\u{1}DCC CHAT chat 3232235786 1234\u{1}\r\n"), (6667, "\u{1}DCC SEND \u{1}\u{1}DCC "),
    (21, "PORT 192,168,1,10,4,210\r\n"), (21, "227 Entering Passive Mode (192,168,1,10,4,210)\r\n"),
    (21, "EPRT |1|192.168.1.10|1234|\r\n"), (69, "\0\u{1}file\0octet\0"),
    (1720, "\u{8}\u{2}\0\u{1}\u{5}192.168.1.10\u{4}\u{D2}"), (1723, "\0\u{9C}\0\u{1}\u{1A}+<M\0\u{7}\0\0"),
    (554, "SETUP rtsp://a/ RTSP/1.0\r\nTransport: RTP/AVP;client_port=1234-1235\r\n\r\n"),
    (5060, "INVITE sip:a@192.168.1.10:1234 SIP/2.0\r\nContent-Length: -1\r\n\r\n"),
  ]

  /// Ports that those payloads name, and the next ones.
  private static let named: [UInt16] = [1234, 1235, 1236]

  /// Nothing may come in that did not go out: neither from the server nor from elsewhere.
  private func expectClosed(_ gateway: TestGateway, to server: Peer, sourceLocation: SourceLocation = #_sourceLocation)
  {
    for port in Self.named {
      for source in [Peer(server.host, 20), server, stranger] {
        let probes = [
          Packet.udp(source, Peer(wan, port)), .tcp(source, Peer(wan, port), .syn),
          .tcp(source, Peer("192.168.1.10", port), .syn),
        ]
        for probe in probes { gateway.receive(probe, on: "wan", sourceLocation: sourceLocation).expect(.drop) }
      }
    }
  }

  @Test func `A18 payloads that other helpers fell over pass as they are, and open nothing`() throws {
    for (port, text) in Self.telling {
      let gateway = try TestGateway(.masqueraded())
      let server = Peer("198.51.100.7", port)
      let talk = TCPTalk.outward(gateway, to: server)
      talk.open()
      // Whole, from the other side, and byte by byte; each segment is compared with what was sent.
      talk.send(.inside, [.ack, .psh], text)
      talk.send(.outside, [.ack, .psh], text)
      for letter in text { talk.send(.inside, [.ack, .psh], String(letter)) }
      let datagram = Packet.udp("192.168.1.10:6000", server, text)
      gateway.receive(datagram, on: "lan").expectForward(datagram.translated(from: Peer(wan, 6000)), on: "wan")
      expectClosed(gateway, to: server)
      #expect(gateway.sessionCounts.created == 2 && gateway.live == 2, "port \(port)")
    }
  }

  @Test func `A18 random payloads behind those beginnings change nothing but addresses, ports and checksums`() throws {
    var random = SplitMix64(state: 18)
    let gateway = try TestGateway(.masqueraded())
    for (number, (port, text)) in Self.telling.enumerated() {
      let server = Peer("198.51.100.7", port)
      let source = Peer("192.168.1.10", UInt16(5000 + number))
      for _ in 0..<100 {
        var bytes = Array(text.utf8.prefix(Int(random.next() % UInt64(text.utf8.count + 1))))
        for _ in 0..<random.next() % 200 { bytes.append(UInt8(truncatingIfNeeded: random.next())) }
        let packet = Packet.udp(source, server) { $0.transport = .udp(UDPHeader(from: source.port, to: port, bytes)) }
        gateway.receive(packet, on: "lan").expectForward(packet.translated(from: Peer(wan, source.port)), on: "wan")
        let answer = Packet.udp(server, Peer(wan, source.port)) {
          $0.transport = .udp(UDPHeader(from: port, to: source.port, bytes))
        }
        gateway.receive(answer, on: "wan").expectForward(answer.translated(to: source), on: "lan")
      }
      expectClosed(gateway, to: server)
    }
    #expect(gateway.sessionCounts.created == UInt64(Self.telling.count))
  }
}
