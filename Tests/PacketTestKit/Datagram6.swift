import Engine
import Glibc
import Testing

/// An IPv6 address, written as a literal: `let server: Host6 = "2001:db8:2::10"`.
package struct Host6: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
  package var bytes: [UInt8]

  package init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
  package init(stringLiteral text: String) { self.init(text) }

  /// Traps on anything that is no address: tests are written by us.
  package init(_ text: String) {
    var raw = [UInt8](repeating: 0, count: 16)
    precondition(inet_pton(AF_INET6, text, &raw) == 1, "not an IPv6 address: \(text)")
    bytes = raw
  }

  package var description: String {
    var text = [CChar](repeating: 0, count: 64)
    var raw = bytes
    inet_ntop(AF_INET6, &raw, &text, 64)
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// The same address as the engine's plan wants it.
  package var planned: IPv6Address { IPv6Address(description)! }

  /// The group that neighbours ask for it by (RFC 4291 section 2.7.1).
  package var group: Host6 { Host6(bytes: Host6("ff02::1:ff00:0").bytes[0..<13] + bytes[13..<16]) }
  /// The Ethernet address of a group (RFC 2464 section 7).
  package var groupStation: Station { Station(bytes: [0x33, 0x33] + bytes[12..<16]) }
}

extension Station {
  /// The Ethernet address that a test host has: 02:0b and the last four bytes of its IPv6 address.
  package static func of6(_ host: Host6) -> Station { Station(bytes: [0x02, 0x0B] + host.bytes[12..<16]) }
}

/// An IPv6 datagram to be built from scratch, checksums included. It shares no code with the engine.
package struct Datagram6: Sendable {
  package var source: Host6
  package var destination: Host6
  package var hopLimit: UInt8 = 64
  package var trafficClassAndLabel: UInt32 = 0
  /// Extension headers in order: number, and the bytes behind its next-header byte.
  package var extensions: [(number: UInt8, bytes: [UInt8])] = []
  package var nextHeader: UInt8
  /// What stands behind the headers, its checksum in place.
  package var payload: [UInt8]
  /// nil: what it is.
  package var payloadLength: UInt16?

  package init(_ source: Host6, _ destination: Host6, _ nextHeader: UInt8, _ payload: [UInt8]) {
    self.source = source
    self.destination = destination
    self.nextHeader = nextHeader
    self.payload = payload
  }

  package var bytes: [UInt8] {
    var behind: [UInt8] = []
    let numbers = extensions.map(\.number) + [nextHeader]
    for (index, one) in extensions.enumerated() { behind += [numbers[index + 1]] + one.bytes }
    behind += payload
    return big(0x6000_0000 | trafficClassAndLabel) + big(payloadLength ?? UInt16(behind.count)) + [
      numbers[0], hopLimit,
    ]
      + source.bytes + destination.bytes + behind
  }

  package func with(_ change: (inout Datagram6) -> Void) -> Datagram6 {
    var other = self
    change(&other)
    return other
  }

  /// As a router passes it on.
  package var hopped: Datagram6 { with { $0.hopLimit -= 1 } }

  package func frame(from sender: Station, to receiver: Station) -> [UInt8] {
    receiver.bytes + sender.bytes + [0x86, 0xDD] + bytes
  }

  /// Puts the checksum over pseudo-header and `bytes` (RFC 8200 section 8.1) at `offset`.
  static func summed(_ source: Host6, _ destination: Host6, _ number: UInt8, _ bytes: [UInt8], at offset: Int)
    -> [UInt8]
  {
    let pseudo = source.bytes + destination.bytes + big(UInt32(bytes.count)) + [0, 0, 0, number]
    var bytes = bytes
    bytes.replaceSubrange(offset..<offset + 2, with: [0, 0])
    var sum = InternetChecksum.of(pseudo + bytes)
    if number == 17, sum == 0 { sum = 0xFFFF }
    bytes.replaceSubrange(offset..<offset + 2, with: big(sum))
    return bytes
  }
}

// Short ways to the datagrams that tests are full of.
extension Datagram6 {
  package static func udp(
    _ source: Host6, _ sourcePort: UInt16, _ destination: Host6, _ port: UInt16, _ text: String = "payload"
  ) -> Datagram6 {
    let header = big(sourcePort) + big(port) + big(UInt16(8 + text.utf8.count)) + [0, 0]
    return Datagram6(
      source, destination, 17, summed(source, destination, 17, header + Array(text.utf8), at: 6))
  }

  package static func tcp(
    _ source: Host6, _ sourcePort: UInt16, _ destination: Host6, _ port: UInt16, _ flags: TCPHeader.Flags,
    sequence: UInt32 = 1000, acknowledgment: UInt32 = 0, _ text: String = ""
  ) -> Datagram6 {
    let header =
      big(sourcePort) + big(port) + big(sequence) + big(acknowledgment) + [0x50, flags.rawValue] + big(UInt16(65535))
      + [0, 0, 0, 0]
    return Datagram6(source, destination, 6, summed(source, destination, 6, header + Array(text.utf8), at: 16))
  }

  package static func icmp(
    _ source: Host6, _ destination: Host6, type: UInt8, code: UInt8 = 0, _ rest: UInt32 = 0, _ body: [UInt8] = []
  ) -> Datagram6 {
    let message = [type, code, 0, 0] + big(rest) + body
    return Datagram6(source, destination, 58, summed(source, destination, 58, message, at: 2))
  }

  package static func ping(
    _ source: Host6, _ destination: Host6, _ identifier: UInt16 = 7, sequence: UInt16 = 1, isAnswer: Bool = false
  ) -> Datagram6 {
    icmp(
      source, destination, type: isAnswer ? 129 : 128, UInt32(identifier) << 16 | UInt32(sequence),
      Array("abcdefghijklmnop".utf8))
  }

  /// A neighbour solicitation by `sender` (RFC 4861 section 4.3).
  package static func solicitation(
    _ source: Host6, for target: Host6, station: Station?, to destination: Host6? = nil
  ) -> Datagram6 {
    icmp(source, destination ?? target.group, type: 135, 0, target.bytes + (station.map { [1, 1] + $0.bytes } ?? []))
      .with { $0.hopLimit = 255 }
  }

  /// A neighbour advertisement (RFC 4861 section 4.4); flags are R, S and O in the upper three bits.
  package static func advertisement(
    _ target: Host6, flags: UInt8, station: Station?, to destination: Host6, from source: Host6? = nil
  ) -> Datagram6 {
    icmp(
      source ?? target, destination, type: 136, UInt32(flags) << 24,
      target.bytes + (station.map { [2, 1] + $0.bytes } ?? [])
    ).with { $0.hopLimit = 255 }
  }
}

// Two interfaces and a third with IPv6 beside the IPv4 of `Plan.home`:
//
//   2001:db8:f::7 ... 2001:db8:1::fe -- wan 2001:db8:1::1/64 [gateway] lan 2001:db8:2::1/64 -- 2001:db8:2::x
//                                                                     dmz 2001:db8:3::1/64 -- 2001:db8:3::x
extension Plan {
  package static func home6(_ change: (inout Plan) -> Void = { _ in }) -> Plan {
    .home {
      $0.change("wan") {
        $0.addresses6 = [IPv6Prefix("2001:db8:1::1/64")!]
        $0.gateways6 = [IPv6Address("2001:db8:1::fe")!]
      }
      $0.change("lan") { $0.addresses6 = [IPv6Prefix("2001:db8:2::1/64")!] }
      $0.interface("dmz", .inside, "192.168.3.1/24", mac: "02:00:00:00:03:01") {
        $0.addresses6 = [IPv6Prefix("2001:db8:3::1/64")!]
      }
      for host: Host6 in ["2001:db8:1::fe", "2001:db8:2::10", "2001:db8:2::11", "2001:db8:3::10"] { $0.neighbor6(host) }
      change(&$0)
    }
  }

  /// A static neighbour with `Station.of` its address.
  package mutating func neighbor6(_ host: Host6) {
    let home = interfaces.firstIndex { $0.addresses6.contains { $0.contains(host.planned) } }!
    neighbors6.append(NeighborPlan6(address: host.planned, mac: Station.of6(host).planned, interface: home))
  }
}

extension TestGateway {
  /// Sends one datagram into the gateway, from the station of its source (or of `via`) to the interface's, or to its group.
  @discardableResult
  package func receive6(
    _ datagram: Datagram6, on interface: String, via: Host6? = nil, at time: Double? = nil, to station: Station? = nil,
    offload: OffloadHeader = OffloadHeader(), sourceLocation: SourceLocation = #_sourceLocation
  ) -> Outcome {
    let home = plan.interfaces[plan.index(of: interface)]
    let isGroup = datagram.destination.bytes[0] == 0xFF
    let receiver = station ?? (isGroup ? datagram.destination.groupStation : Station(planned: home.mac!))
    var arrival = Arrival(datagram.frame(from: .of6(via ?? datagram.source), to: receiver), on: interface, at: time)
    arrival.offload = offload
    return burst([arrival], sourceLocation: sourceLocation).outcomes[0]
  }

  /// The frame that a datagram leaves an interface in, towards a neighbour.
  package func frame(_ datagram: Datagram6, on interface: String, to neighbor: Host6) -> [UInt8] {
    let home = plan.interfaces[plan.index(of: interface)]
    return datagram.frame(from: Station(planned: home.mac!), to: .of6(neighbor))
  }
}

extension TestGateway.Outcome {
  /// The frame went out on `interface` to `neighbor` and is, byte for byte, `datagram`.
  package func expectForward6(
    _ datagram: Datagram6, on interface: String, to neighbor: Host6, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    guard let forwarded, forwarded.interface == interface,
      forwarded.bytes == gateway.frame(datagram, on: interface, to: neighbor)
    else {
      let expected = gateway.frame(datagram, on: interface, to: neighbor)
      let text = "expected on \(interface): \(expected)\ngot \(summary): \(forwarded?.bytes ?? [])"
      Issue.record(Comment(rawValue: text), sourceLocation: sourceLocation)
      return
    }
  }
}
