import PacketTestKit

/// The golden case of a trigger: two inside hosts, a list and a range, from closed to closed and open again. All built
/// from scratch here, like the forwards' cases; frames come a tenth of a second apart, and it stays open for one second.
enum TriggerCase {
  static let name = "trigger-udp-refuse"

  private static let lobby: Peer = "198.51.100.7:6112"
  private static let peer: Peer = "198.51.100.99:9"
  private static let outside: Host = "203.0.113.1"
  private static let first: Host = "192.168.1.10"
  private static let second: Host = "192.168.1.11"

  static let configuration =
    "# \(name): written by TriggerCase.swift.\n\n" + twoInterfaces
    + ["203.0.113.254", "192.168.1.10", "192.168.1.11"].map { (host: Host) in
      "\n[[neighbor]]\naddress = \"\(host)\"\nmac = \"\(Station.of(host))\"\n"
    }.joined() + """

      [[masquerade]]
      from = "lan"
      to = "wan"

      [[trigger]]
      name = "game"
      from = "lan"
      protocol = "udp"
      when = "6112"
      open = "6112, 6881-6889"
      for = "1s"
      conflict = "refuse"

      """

  static let steps: [GoldenFiles.Step] =
    [
      knock(6881, nil),  // 0.0
      asks(first, 6112), asks(second, 5000),
      knock(6881, first), answer(first, 6881), knock(6889, first), knock(6112, first),  // 0.3 to 0.6
      // Refused once more, and renewed: it is over at 1.9 s.
      asks(second, 5000), asks(first, 6112),
    ] + (9..<19).map { _ in fromLobby(first, 6112) } + [  // What comes in renews nothing.
      knock(6882, nil),  // 1.9
      knock(6881, first), answer(first, 6881),
      asks(second, 5000), knock(6883, second), answer(second, 6883), asks(first, 6112), knock(6885, second),
    ]

  static var files: GoldenFiles {
    GoldenFiles(
      configuration: configuration, steps: steps, reason: "trigger-closed",
      // Two that ask, and for each port that was reached one.
      sessions: .init(created: 7, expired: 0, live: 7))
  }

  /// A stranger at a port that is open for `host`, or closed.
  private static func knock(_ port: UInt16, _ host: Host?) -> GoldenFiles.Step {
    let packet = Packet.udp(peer, Peer(outside, port), "knock")
    guard let host else { return GoldenFiles.step(packet, "wan", from: router) }
    return inward(packet, Peer(host, port))
  }

  private static func answer(_ host: Host, _ port: UInt16) -> GoldenFiles.Step {
    outward(.udp(Peer(host, port), peer, "come in"), as: port)
  }

  private static func asks(_ host: Host, _ port: UInt16) -> GoldenFiles.Step {
    outward(.udp(Peer(host, port), lobby, "I play"), as: port)
  }

  private static func fromLobby(_ host: Host, _ port: UInt16) -> GoldenFiles.Step {
    inward(.udp(lobby, Peer(outside, port), "so do they"), Peer(host, port))
  }

  private static var router: Station { .of("203.0.113.254") }

  private static func inward(_ packet: Packet, _ target: Peer) -> GoldenFiles.Step {
    GoldenFiles.step(packet, "wan", from: router, packet.translated(to: target), "lan", to: .of(target.host))
  }

  private static func outward(_ packet: Packet, as port: UInt16) -> GoldenFiles.Step {
    GoldenFiles.step(
      packet, "lan", from: .of(packet.ip.source), packet.translated(from: Peer(outside, port)), "wan", to: router)
  }
}
