import PacketTestKit

extension Situation {
  private static let game = """

    [[trigger]]
    name = "game"
    from = "lan"
    protocol = "udp"
    when = "6112"
    open = "6112, 6881-6889"
    """

  private static let asked: (interface: String, second: Double, packet: Packet) = (
    "lan", 0, .udp("192.168.1.10:5000", "198.51.100.7:6112")
  )

  static let triggers: [Situation] = [
    Situation(
      name: "a trigger that nobody has open", more: game,
      frames: [("wan", 0, .udp("198.51.100.7:9", "203.0.113.1:6881"))], cause: "trigger-closed", says: ["udp 6881"],
      remedy: ("let a host of lan send to 6112", "when = \"6112\"")),
    Situation(
      name: "a trigger that has closed", more: game,
      frames: [asked, ("wan", 601, .udp("198.51.100.9:9", "203.0.113.1:6881"))], cause: "trigger-closed",
      says: ["nobody has it open"], remedy: ("add a [[forward]]", "when = \"6112\"")),
    Situation(
      name: "a trigger that is open", more: game,
      frames: [asked, ("wan", 100, .udp("198.51.100.9:9", "203.0.113.1:6881"))], cause: "forwarded",
      verdict: "forward", says: ["by lan", "new session"]),
    Situation(
      name: "a trigger that stands aside for a mapping", more: game,
      frames: [
        asked, ("lan", 1, .udp("192.168.1.10:6112", "198.51.100.7:9")),
        // Another host asks when the first one's opening is over, whose mapping lives.
        ("lan", 299, .udp("192.168.1.10:6112", "198.51.100.7:9")),
        ("lan", 598, .udp("192.168.1.10:6112", "198.51.100.7:9")),
        ("lan", 602, .udp("192.168.1.11:5000", "198.51.100.7:6112")),
        ("wan", 603, .udp("192.0.2.9:9", "203.0.113.1:6112")),
      ], cause: "filtered", says: ["192.168.1.10:6112"],
      remedy: ("filtering = \"endpoint-independent\"", "[[masquerade]]")),
  ]

  /// A second host asks for what the first one has.
  static let contested = Situation(
    name: "a trigger that somebody else has", more: game,
    frames: [asked, ("lan", 200, .udp("192.168.1.11:5000", "198.51.100.7:6112"))], cause: "forwarded",
    verdict: "forward", says: ["by wan"])
}
