/// A frame to be built: correct by default, and every field can be set wrong.
///
/// `nil` in a field that is computed (lengths, checksums, header length) means "the right value".
package struct Packet: Sendable {
  /// The Ethernet header. Its addresses are filled in by `TestGateway` where they are nil.
  package var ethernet = EthernetHeader()
  /// False for raw-IP links: the frame begins with the IP header.
  package var hasEthernet = true
  package var ip = IPHeader()
  /// What follows the IP header.
  package var transport: Transport = .raw([])
  /// Ethernet padding or trailer, outside the datagram.
  package var trailer: [UInt8] = []
  /// Cuts the finished frame, as a short snapshot would.
  package var keep: Int?
  /// In place of IPv4: the bytes after the Ethernet header.
  package var otherPayload: [UInt8]?

  package enum Transport: Sendable {
    case tcp(TCPHeader)
    case udp(UDPHeader)
    case icmp(ICMPMessage)
    case raw([UInt8])
  }

  package init() {}

  /// The finished frame.
  package var bytes: [UInt8] {
    let frame = (hasEthernet ? ethernet.bytes : []) + (otherPayload ?? datagram) + trailer
    return keep.map { Array(frame.prefix($0)) } ?? frame
  }

  /// The IPv4 datagram alone.
  package var datagram: [UInt8] {
    let body = transportBytes
    return ip.bytes(body: body, protocol: ipProtocol) + body
  }

  /// The datagram as an ICMP error quotes it: the header and the first `count` bytes of what follows.
  package func quote(_ count: Int = 8) -> [UInt8] {
    let body = transportBytes
    return ip.bytes(body: body, protocol: ipProtocol) + body.prefix(count)
  }

  package var ipProtocol: UInt8 {
    if let number = ip.ipProtocol { return number }
    switch transport {
    case .tcp: return 6
    case .udp: return 17
    case .icmp: return 1
    case .raw: return 255
    }
  }

  private var transportBytes: [UInt8] {
    switch transport {
    case .tcp(let header): header.bytes(from: ip.source, to: ip.destination)
    case .udp(let header): header.bytes(from: ip.source, to: ip.destination)
    case .icmp(let message): message.bytes
    case .raw(let bytes): bytes
    }
  }

  /// The same packet with changes.
  package func with(_ change: (inout Packet) -> Void) -> Packet {
    var copy = self
    change(&copy)
    return copy
  }

  // The transport header of the kind that the packet was made with; a test that asks for another one is wrong.

  package var tcp: TCPHeader {
    get { if case .tcp(let header) = transport { header } else { fatalError("not TCP") } }
    set { transport = .tcp(newValue) }
  }

  package var udp: UDPHeader {
    get { if case .udp(let header) = transport { header } else { fatalError("not UDP") } }
    set { transport = .udp(newValue) }
  }

  package var icmp: ICMPMessage {
    get { if case .icmp(let message) = transport { message } else { fatalError("not ICMP") } }
    set { transport = .icmp(newValue) }
  }
}

package struct EthernetHeader: Sendable {
  package var destination: Station?
  package var source: Station?
  /// Outermost first.
  package var tags: [Tag] = []
  package var etherType: UInt16 = 0x0800

  /// An 802.1Q or 802.1ad tag with its priority bits.
  package struct Tag: Hashable, Sendable, CustomStringConvertible {
    package var protocolID: UInt16
    /// PCP, DEI and VLAN number as they stand on the wire.
    package var control: UInt16

    package init(_ vlan: UInt16, priority: UInt16 = 0, dropEligible: Bool = false, protocolID: UInt16 = 0x8100) {
      self.protocolID = protocolID
      control = priority << 13 | (dropEligible ? 0x1000 : 0) | vlan
    }

    package var description: String { "\(hex(protocolID, digits: 4)):\(control & 0xFFF)/\(control >> 13)" }
  }

  package var bytes: [UInt8] {
    let ends = (destination ?? .broadcast).bytes + (source ?? Station(bytes: [2, 0, 0, 0, 0xEE, 0xEE])).bytes
    return ends + tags.flatMap { big($0.protocolID) + big($0.control) } + big(etherType)
  }
}

package struct IPHeader: Sendable {
  package var source: Host = "192.0.2.1"
  package var destination: Host = "192.0.2.2"
  package var typeOfService: UInt8 = 0
  package var identification: UInt16 = 0
  package var dontFragment = true
  package var moreFragments = false
  /// The reserved bit of the flags.
  package var evil = false
  /// In units of eight bytes.
  package var fragmentOffset: UInt16 = 0
  package var ttl: UInt8 = 64
  /// Padded with end-of-options to a multiple of four.
  package var options: [UInt8] = []
  /// nil: what the transport says.
  package var ipProtocol: UInt8?
  package var version: UInt8 = 4
  /// In units of four bytes.
  package var headerLength: UInt8?
  package var totalLength: UInt16?
  package var checksum: UInt16?

  func bytes(body: [UInt8], protocol number: UInt8) -> [UInt8] {
    let padded = options + [UInt8](repeating: 0, count: (4 - options.count % 4) % 4)
    let length = totalLength ?? UInt16(truncatingIfNeeded: 20 + padded.count + body.count)
    let flags: UInt16 = (evil ? 0x8000 : 0) | (dontFragment ? 0x4000 : 0) | (moreFragments ? 0x2000 : 0)
    var header = [version << 4 | (headerLength ?? UInt8(5 + padded.count / 4)), typeOfService]
    header += big(length) + big(identification) + big(flags | fragmentOffset) + [ttl, number, 0, 0]
    header += source.bytes + destination.bytes + padded
    header.replaceSubrange(10..<12, with: big(checksum ?? InternetChecksum.of(header)))
    return header
  }
}

package struct TCPHeader: Sendable {
  package struct Flags: OptionSet, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let fin = Flags(rawValue: 1)
    package static let syn = Flags(rawValue: 2)
    package static let rst = Flags(rawValue: 4)
    package static let psh = Flags(rawValue: 8)
    package static let ack = Flags(rawValue: 16)
    package static let urg = Flags(rawValue: 32)
    package static let ece = Flags(rawValue: 64)
    package static let cwr = Flags(rawValue: 128)

    package var description: String {
      zip(["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"], 0..<8)
        .filter { rawValue >> UInt8($0.1) & 1 == 1 }.map(\.0).joined(separator: "+")
    }
  }

  package var sourcePort: UInt16
  package var destinationPort: UInt16
  package var sequence: UInt32 = 1000
  package var acknowledgment: UInt32 = 0
  package var flags: Flags
  package var window: UInt16 = 65000
  package var urgentPointer: UInt16 = 0
  /// Padded with end-of-options to a multiple of four.
  package var options: [UInt8] = []
  package var payload: [UInt8] = []
  /// In units of four bytes.
  package var dataOffset: UInt8?
  package var checksum: UInt16?
  /// The checksum field holds the uncomplemented pseudo-header sum, as under VIRTIO_NET_HDR_F_NEEDS_CSUM.
  package var isPartial = false

  package init(from sourcePort: UInt16, to destinationPort: UInt16, _ flags: Flags) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    self.flags = flags
  }

  func bytes(from source: Host, to destination: Host) -> [UInt8] {
    let padded = options + [UInt8](repeating: 0, count: (4 - options.count % 4) % 4)
    var segment = big(sourcePort) + big(destinationPort) + big(sequence) + big(acknowledgment)
    segment += [(dataOffset ?? UInt8(5 + padded.count / 4)) << 4, flags.rawValue]
    segment += big(window) + [0, 0] + big(urgentPointer) + padded + payload
    let pseudo = InternetChecksum.pseudoHeader(from: source, to: destination, protocol: 6, length: segment.count)
    let right = isPartial ? InternetChecksum.sum(pseudo) : InternetChecksum.of(pseudo + segment)
    segment.replaceSubrange(16..<18, with: big(checksum ?? right))
    return segment
  }
}

package struct UDPHeader: Sendable {
  package var sourcePort: UInt16
  package var destinationPort: UInt16
  package var payload: [UInt8] = []
  package var length: UInt16?
  /// nil: the right one. Zero means that the sender made none (RFC 768).
  package var checksum: UInt16?
  package var isPartial = false

  package init(from sourcePort: UInt16, to destinationPort: UInt16, _ payload: [UInt8]) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    self.payload = payload
  }

  func bytes(from source: Host, to destination: Host) -> [UInt8] {
    let size = length ?? UInt16(truncatingIfNeeded: 8 + payload.count)
    var segment = big(sourcePort) + big(destinationPort) + big(size) + [0, 0] + payload
    let pseudo = InternetChecksum.pseudoHeader(from: source, to: destination, protocol: 17, length: segment.count)
    var right = isPartial ? InternetChecksum.sum(pseudo) : InternetChecksum.of(pseudo + segment)
    // RFC 768: a computed zero is sent as all ones, because zero means "none".
    if right == 0, !isPartial { right = 0xFFFF }
    segment.replaceSubrange(6..<8, with: big(checksum ?? right))
    return segment
  }
}

package struct ICMPMessage: Sendable {
  package var type: UInt8
  package var code: UInt8
  /// The second word of the header: identifier and sequence, or what the type makes of it.
  package var rest: UInt32
  package var payload: [UInt8]
  package var checksum: UInt16?

  package init(type: UInt8, code: UInt8 = 0, rest: UInt32 = 0, payload: [UInt8] = []) {
    self.type = type
    self.code = code
    self.rest = rest
    self.payload = payload
  }

  var bytes: [UInt8] {
    var message = [type, code, 0, 0] + big(rest) + payload
    message.replaceSubrange(2..<4, with: big(checksum ?? InternetChecksum.of(message)))
    return message
  }
}
