// Short ways to the packets that tests are full of. The closure at the end changes any field.

extension Packet {
  package typealias Change = (inout Packet) -> Void

  /// A UDP datagram.
  package static func udp(
    _ source: Peer, _ destination: Peer, _ text: String = "payload", _ change: Change = { _ in }
  ) -> Packet {
    between(source, destination, .udp(UDPHeader(from: source.port, to: destination.port, Array(text.utf8))), change)
  }

  /// A TCP segment. `sequence` and `acknowledgment` default to values that fit a connection nobody looks at closely.
  package static func tcp(
    _ source: Peer, _ destination: Peer, _ flags: TCPHeader.Flags, sequence: UInt32 = 1000,
    acknowledgment: UInt32 = 0, _ text: String = "", _ change: Change = { _ in }
  ) -> Packet {
    var header = TCPHeader(from: source.port, to: destination.port, flags)
    header.sequence = sequence
    header.acknowledgment = acknowledgment
    header.payload = Array(text.utf8)
    return between(source, destination, .tcp(header), change)
  }

  /// An echo request (RFC 792); the port of `source` is its identifier.
  package static func ping(
    _ source: Peer, _ destination: Host, sequence: UInt16 = 1, _ text: String = "abcdefghijklmnop",
    _ change: Change = { _ in }
  ) -> Packet {
    let rest = UInt32(source.port) << 16 | UInt32(sequence)
    let message = ICMPMessage(type: 8, rest: rest, payload: Array(text.utf8))
    return between(source, Peer(destination, 0), .icmp(message), change)
  }

  /// The answer to an echo request; the port of `destination` is the identifier.
  package static func pong(
    _ source: Host, _ destination: Peer, sequence: UInt16 = 1, _ text: String = "abcdefghijklmnop",
    _ change: Change = { _ in }
  ) -> Packet {
    let rest = UInt32(destination.port) << 16 | UInt32(sequence)
    let message = ICMPMessage(type: 0, rest: rest, payload: Array(text.utf8))
    return between(Peer(source, 0), destination, .icmp(message), change)
  }

  /// An ICMP error about `quoted` (the header and `keeping` bytes behind it).
  package static func icmpError(
    type: UInt8, code: UInt8, rest: UInt32 = 0, from source: Host, to destination: Host, about quoted: Packet,
    keeping: Int = 8, _ change: Change = { _ in }
  ) -> Packet {
    let message = ICMPMessage(type: type, code: code, rest: rest, payload: quoted.quote(keeping))
    return between(Peer(source, 0), Peer(destination, 0), .icmp(message), change)
  }

  /// A datagram of some other IP protocol.
  package static func other(
    protocol number: UInt8, _ source: Host, _ destination: Host, _ payload: [UInt8], _ change: Change = { _ in }
  ) -> Packet {
    between(Peer(source, 0), Peer(destination, 0), .raw(payload)) {
      $0.ip.ipProtocol = number
      change(&$0)
    }
  }

  /// An ARP packet for IPv4 over Ethernet (RFC 826).
  package static func arp(
    operation: UInt16, sender: Station, _ senderHost: Host, target: Station = Station(bytes: [0, 0, 0, 0, 0, 0]),
    _ targetHost: Host, _ change: Change = { _ in }
  ) -> Packet {
    var packet = Packet()
    packet.ethernet.etherType = 0x0806
    packet.ethernet.source = sender
    packet.ethernet.destination = operation == 1 ? .broadcast : target
    packet.otherPayload =
      big(UInt16(1)) + big(UInt16(0x0800)) + [6, 4] + big(operation) + sender.bytes + senderHost.bytes
      + target.bytes + targetHost.bytes
    change(&packet)
    return packet
  }

  /// The packet that answers this one at the same level: ends exchanged, ports too, payload replaced.
  package func answered(_ text: String = "answer") -> Packet {
    var back = self
    (back.ip.source, back.ip.destination) = (ip.destination, ip.source)
    back.ethernet.source = nil
    back.ethernet.destination = nil
    switch transport {
    case .udp(let header):
      back.transport = .udp(UDPHeader(from: header.destinationPort, to: header.sourcePort, Array(text.utf8)))
    case .tcp(let header):
      var answer = TCPHeader(from: header.destinationPort, to: header.sourcePort, .ack)
      answer.sequence = header.acknowledgment
      answer.acknowledgment = header.sequence &+ UInt32(header.payload.count)
      answer.payload = Array(text.utf8)
      back.transport = .tcp(answer)
    case .icmp(let message):
      back.transport = .icmp(ICMPMessage(type: 0, rest: message.rest, payload: message.payload))
    case .raw: break
    }
    return back
  }

  /// This datagram cut into IPv4 fragments with `size` bytes of payload each (a multiple of eight).
  package func fragments(of size: Int) -> [Packet] {
    let body = Array(datagram.dropFirst(20 + (ip.options.count + 3) / 4 * 4))
    return stride(from: 0, to: body.count, by: size).map { start in
      with {
        $0.ip.ipProtocol = ipProtocol
        $0.ip.dontFragment = false
        $0.ip.fragmentOffset = UInt16(start / 8)
        $0.ip.moreFragments = start + size < body.count
        $0.transport = .raw(Array(body[start..<min(start + size, body.count)]))
      }
    }
  }

  private static func between(_ source: Peer, _ destination: Peer, _ transport: Transport, _ change: Change) -> Packet {
    var packet = Packet()
    packet.ip.source = source.host
    packet.ip.destination = destination.host
    packet.transport = transport
    change(&packet)
    return packet
  }
}
