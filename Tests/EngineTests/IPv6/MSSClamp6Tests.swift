import Engine
import PacketTestKit
import Testing

/// T15 over IPv6: the MSS that a SYN announces is lowered, by 20 bytes more than over IPv4 (RFC 6691).
@Suite struct MSSClamp6Tests {
  private let host: Host6 = "2001:db8:2::10"
  private let server: Host6 = "2001:db8:f::7"
  private let router: Host6 = "2001:db8:1::fe"
  private let wan: Host6 = "2001:db8:1::1"

  private func gateway(_ clamp: InterfacePlan.ClampMSS?, translates: Bool = false) throws -> TestGateway {
    try TestGateway(
      .home6 {
        $0.change("wan") {
          $0.clampMSS = clamp
          $0.mtu = 1400
        }
        if translates { $0.masquerade { $0.external6 = wan.planned } }
      })
  }

  private func segment(_ source: Host6, _ destination: Host6, _ flags: TCPHeader.Flags, _ options: [UInt8]) -> Datagram6
  {
    Datagram6.tcp(source, 5000, destination, 5000, flags).with {
      $0.payload[12] = UInt8((20 + options.count) / 4) << 4
      $0.payload += options
      $0.payload.replaceSubrange(16..<18, with: [0, 0])
      let pseudo = source.bytes + destination.bytes + [0, 0, 0, UInt8($0.payload.count), 0, 0, 0, 6]
      let sum = InternetChecksum.of(pseudo + $0.payload)
      $0.payload.replaceSubrange(16..<18, with: [UInt8(sum >> 8), UInt8(sum & 255)])
    }
  }

  /// 1440, and 1340 in its place: 1400 less 60.
  private static let layouts: [([UInt8], [UInt8])] = [
    ([2, 4, 5, 160], [2, 4, 5, 60]),
    ([1, 2, 4, 5, 160, 1, 1, 0], [1, 2, 4, 5, 60, 1, 1, 0]),
    ([2, 4, 4, 0], [2, 4, 4, 0]),
    ([], []),
    ([1, 1, 2, 4], [1, 1, 2, 4]),
    ([2, 0, 255, 255], [2, 0, 255, 255]),
  ]

  @Test(arguments: layouts, [false, true])
  func `T15 V6 by the MTU, both ways, at any offset, with and without translation`(
    _ layout: (before: [UInt8], after: [UInt8]), translates: Bool
  ) throws {
    let gateway = try gateway(.mtu, translates: translates)
    let own = translates ? wan : host
    gateway.receive6(segment(host, server, .syn, layout.before), on: "lan")
      .expectForward6(segment(own, server, .syn, layout.after).hopped, on: "wan", to: router)
    gateway.receive6(segment(server, own, [.syn, .ack], layout.before), on: "wan", via: router)
      .expectForward6(segment(server, host, [.syn, .ack], layout.after).hopped, on: "lan", to: host)
  }

  @Test func `T15 V6 bytes are bytes; without the setting, and behind the SYN, nothing is touched`() throws {
    let before: [UInt8] = [2, 4, 5, 160]
    try gateway(.bytes(1280)).receive6(segment(host, server, .syn, before), on: "lan")
      .expectForward6(segment(host, server, .syn, [2, 4, 5, 0]).hopped, on: "wan", to: router)
    let off = try gateway(nil)
    off.receive6(segment(host, server, .syn, before), on: "lan")
      .expectForward6(segment(host, server, .syn, before).hopped, on: "wan", to: router)
    let on = try gateway(.mtu)
    on.receive6(segment(host, server, .ack, before), on: "lan")
      .expectForward6(segment(host, server, .ack, before).hopped, on: "wan", to: router)
  }
}
