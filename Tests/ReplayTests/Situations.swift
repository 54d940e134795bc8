import Explain
import PacketTestKit
import Testing

/// A situation that somebody may be puzzled by: a configuration, what came before, and the frame that is asked about.
struct Situation: CustomTestStringConvertible, Sendable {
  var name: String
  /// Changes to the configuration; all are replacements of text in `Situation.configuration`.
  var edits: [(old: String, new: String)] = []
  /// More configuration, at the end.
  var more = ""
  /// Frames before, and the one that is explained: interface, second, packet.
  var frames: [(interface: String, second: Double, packet: Packet)]
  /// What must be told.
  var cause: String
  var verdict = "drop"
  /// Words of the conclusion.
  var says: [String]
  /// Words of a remedy, and the configuration's line that it names, by its text; nil where nothing helps.
  var remedy: (words: String, line: String)?

  var testDescription: String { name }

  static let configuration =
    "[engine]\nsessions = 16\n\n" + twoInterfaces + """

      [[neighbor]]
      address = "203.0.113.254"
      mac = "02:00:00:00:01:fe"

      [[neighbor]]
      address = "192.168.1.10"
      mac = "02:00:00:00:02:10"

      [[forward]]
      name = "web"
      protocol = "tcp"
      on = "wan"
      ports = "8080"
      to = "192.168.1.10:80"
      allow = ["198.51.100.0/24"]
      deny = ["198.51.100.66"]

      [[forward]]
      name = "dns"
      protocol = "udp"
      on = "wan"
      ports = "5353"
      to = "192.168.1.10:53"

      [[forward]]
      name = "host"
      protocol = "any"
      external = "203.0.113.5"
      ports = "all"
      except = "22"
      to = "192.168.1.20"

      [[masquerade]]
      from = "lan"
      to = "wan"

      """

  var text: String {
    edits.reduce(Self.configuration) { text, edit in
      precondition(text.contains(edit.old), "\(name): nothing to replace")
      return text.replacing(edit.old, with: edit.new)
    } + more
  }

  // MARK: The situations

  static let all: [Situation] = forwards + filters + ways + states + frames + triggers + helpers

  private static let client: Peer = "198.51.100.7:4000"
  private static let web: Peer = "203.0.113.1:8080"

  private static func one(_ interface: String, _ packet: Packet) -> [(
    interface: String, second: Double, packet: Packet
  )] {
    [(interface, 0, packet)]
  }

  private static let forwards: [Situation] = [
    Situation(
      name: "no rule", frames: one("wan", .tcp(client, "203.0.113.1:25", .syn)), cause: "no-forward",
      says: ["tcp 25"], remedy: ("add 25 to ports", "ports = \"8080\"")),
    Situation(
      name: "the port is right, the protocol is not", frames: one("wan", .udp(client, web)), cause: "no-forward",
      says: ["udp 8080"], remedy: ("protocol = \"tcp+udp\"", "protocol = \"tcp\"")),
    Situation(
      name: "the forward is off", edits: [("to = \"192.168.1.10:80\"", "to = \"192.168.1.10:80\"\nenabled = false")],
      frames: one("wan", .tcp(client, web, .syn)), cause: "no-forward", says: ["tcp 8080"],
      remedy: ("enabled = true", "enabled = false")),
    Situation(
      name: "the port is excepted", frames: one("wan", .tcp(client, "203.0.113.5:22", .syn)), cause: "no-forward",
      says: ["203.0.113.5"], remedy: ("out of except", "except = \"22\"")),
    Situation(
      name: "the right port at another address", frames: one("wan", .tcp(client, "203.0.113.1:22", .syn)),
      cause: "no-forward", says: ["203.0.113.1"], remedy: ("add 22 to ports", "ports = \"8080\"")),
    Situation(
      name: "all is well", frames: one("wan", .tcp(client, web, .syn)), cause: "forwarded", verdict: "forward",
      says: ["by lan", "new session"]),
    Situation(
      name: "a narrower forward wins", more: Self.narrow, frames: one("wan", .tcp(client, "203.0.113.5:80", .syn)),
      cause: "forwarded", verdict: "forward", says: ["new session"]),
  ]

  private static let narrow = """

    [[forward]]
    name = "narrow"
    protocol = "tcp"
    external = "203.0.113.5"
    ports = "80"
    to = "192.168.1.10"
    """

  private static let filters: [Situation] = [
    Situation(
      name: "not allowed", frames: one("wan", .tcp("192.0.2.9:4000", web, .syn)), cause: "not-allowed",
      says: ["\"web\"", "198.51.100.0/24"], remedy: ("allow", "allow = [\"198.51.100.0/24\"]")),
    Situation(
      name: "denied", frames: one("wan", .tcp("198.51.100.66:4000", web, .syn)), cause: "not-allowed",
      says: ["denies 198.51.100.66"], remedy: ("deny", "deny = [\"198.51.100.66\"]")),
    Situation(
      name: "filtered by the mapping",
      frames: [
        ("lan", 0, .udp("192.168.1.10:5000", "198.51.100.7:9")), ("wan", 1, .udp("192.0.2.9:9", "203.0.113.1:5000")),
      ], cause: "filtered", says: ["192.168.1.10:5000", "192.0.2.9"],
      remedy: ("filtering = \"endpoint-independent\"", "[[masquerade]]")),
    Situation(
      name: "hairpin off", edits: [("to = \"192.168.1.10:53\"", "to = \"192.168.1.10:53\"\nhairpin = false")],
      frames: one("lan", .udp("192.168.1.10:5000", "203.0.113.1:5353")), cause: "hairpin-off", says: ["\"dns\""],
      remedy: ("hairpin = true", "hairpin = false")),
    Situation(
      name: "a ping that nobody answers", frames: one("wan", .ping(client, "203.0.113.1")), cause: "no-forward",
      says: ["ping"], remedy: ("ping = true", "[interface.wan]")),
  ]

  private static let ways: [Situation] = [
    Situation(
      name: "the target does not answer ARP", frames: one("wan", .tcp(client, "203.0.113.5:80", .syn)),
      cause: "next-hop-silent", verdict: "hold", says: ["192.168.1.20 on lan"],
      remedy: ("192.168.1.20", "address = [\"192.168.1.1/24\"]")),
    Situation(
      name: "the wrong next hop", edits: [("to = \"192.168.1.10:53\"", "to = \"10.0.0.5:53\"")],
      more: "\n[[route]]\ndestination = \"10.0.0.0/8\"\nvia = \"192.168.1.99\"\n",
      frames: one("wan", .udp(client, "203.0.113.1:5353")), cause: "next-hop-silent", verdict: "hold",
      says: ["192.168.1.99 on lan"], remedy: ("right next hop", "[[route]]")),
    Situation(
      name: "no way out", edits: [("gateway = [\"203.0.113.254\"]\n", "")],
      frames: one("lan", .udp("192.168.1.10:5000", "198.51.100.7:9")), cause: "no-route", says: ["198.51.100.7"],
      remedy: ("[[route]]", "")),
    Situation(
      name: "no masquerade", edits: [("\n[[masquerade]]\nfrom = \"lan\"\nto = \"wan\"\n", "")],
      frames: one("lan", .udp("192.168.1.11:5000", "198.51.100.7:9")), cause: "no-masquerade", says: ["lan", "wan"],
      remedy: ("[[masquerade]]", "")),
    Situation(
      name: "too many hops", frames: one("wan", .tcp(client, web, .syn) { $0.ip.ttl = 1 }), cause: "ttl-exceeded",
      says: ["time to live 1"], remedy: ("larger time to live", "")),
    Situation(
      name: "too large for the next link",
      edits: [("mac = \"02:00:00:00:02:01\"", "mac = \"02:00:00:00:02:01\"\nmtu = 1400")],
      frames: one("wan", .udp(client, "203.0.113.1:5353", String(repeating: "x", count: 1450))),
      cause: "fragmentation-needed", says: ["1400"], remedy: ("3/4", "")),
    Situation(
      name: "straight to an inside address", frames: one("wan", .tcp(client, "192.168.1.10:80", .syn)),
      cause: "inside-from-outside", says: ["192.168.1.10"], remedy: ("203.0.113.1", "")),
    Situation(
      name: "between outside hosts", frames: one("wan", .udp(client, "8.8.8.8:53")), cause: "outside-to-outside",
      says: ["wan"], remedy: ("203.0.113.1", "")),
    Situation(
      name: "for ourselves, where nothing listens", frames: one("lan", .udp("192.168.1.10:5", "192.168.1.1:53")),
      cause: "to-us", says: ["192.168.1.1"]),
  ]

  private static let states: [Situation] = [
    Situation(
      name: "a stale session",
      frames: [
        ("wan", 0, .tcp(client, web, .syn)), ("lan", 1, .tcp("192.168.1.10:80", client, [.syn, .ack])),
        ("wan", 9000, .tcp(client, web, [.rst])),
      ], cause: "tcp-not-syn", says: ["only a SYN"], remedy: ("connect anew", "")),
    Situation(
      name: "an answer to what did not come this way",
      frames: one("lan", .tcp("192.168.1.10:80", "198.51.100.7:99", [.syn, .ack])), cause: "tcp-not-syn",
      says: ["an answer to a SYN"], remedy: ("source = \"gateway\"", "")),
    Situation(
      name: "the target's service does not answer",
      frames: [("wan", 0, .tcp(client, web, .syn)), ("wan", 1, .tcp(client, web, .syn))], cause: "target-silent",
      verdict: "forward", says: ["2 packets", "no answer"], remedy: ("listens at 192.168.1.10:80", "")),
    Situation(
      name: "table full",
      frames: (0..<17).map {
        ("wan", Double($0) / 100, .udp(Peer("198.51.100.7", 5000 + UInt16($0)), "203.0.113.1:5353"))
      },
      cause: "table-full", says: ["full"], remedy: ("raise sessions (16 now)", "sessions = 16")),
    Situation(
      name: "a session too many for one host", more: "\n[limits]\nsessions-per-host = 1\n",
      frames: [
        ("lan", 0, .udp("192.168.1.10:5000", "198.51.100.7:9")),
        ("lan", 1, .udp("192.168.1.10:5001", "198.51.100.7:9")),
      ], cause: "session-limit", says: ["as many sessions as one may have"],
      remedy: ("raise sessions-per-host (1 now)", "sessions-per-host = 1")),
    Situation(
      name: "a port too many for one host", more: "\n[limits]\nports-per-host = 1\n",
      frames: [
        ("lan", 0, .udp("192.168.1.10:5000", "198.51.100.7:9")),
        ("lan", 1, .udp("192.168.1.10:5001", "198.51.100.7:9")),
      ], cause: "port-limit", says: ["as many outside ports as one may have"],
      remedy: ("raise ports-per-host (1 now)", "ports-per-host = 1")),
    Situation(
      name: "no port left", edits: [("from = \"lan\"", "from = \"lan\"\nports = \"6000\"")],
      frames: [
        ("lan", 0, .udp("192.168.1.10:5000", "198.51.100.7:9")),
        ("lan", 1, .udp("192.168.1.10:5001", "198.51.100.7:9")),
      ], cause: "no-port", says: ["no free outside port"], remedy: ("more ports", "ports = \"6000\"")),
    Situation(
      name: "an ICMP error about nothing",
      frames: one(
        "wan",
        .icmpError(
          type: 3, code: 1, from: "198.51.100.7", to: "203.0.113.1", about: .udp(Peer("203.0.113.1", 7), client))),
      cause: "icmp-unmatched", says: ["type 3, code 1", "no live session"]),
    Situation(
      name: "an echo reply that nobody asked for", frames: one("wan", .pong("198.51.100.7", Peer("203.0.113.1", 9))),
      cause: "icmp-unmatched", says: ["echo reply"]),
  ]

  private static let frames: [Situation] = [
    Situation(
      name: "for another station",
      frames: one("wan", .tcp(client, web, .syn) { $0.ethernet.destination = "02:00:00:00:00:99" }),
      cause: "not-our-mac", says: ["02:00:00:00:00:99"], remedy: ("--mac", "mac = \"02:00:00:00:01:01\"")),
    Situation(
      name: "on a VLAN of nobody", frames: one("wan", .tcp(client, web, .syn) { $0.ethernet.tags = [.init(7)] }),
      cause: "unknown-vlan", says: ["VLAN"], remedy: ("vlan", "")),
    Situation(
      name: "an inside source from outside", frames: one("wan", .tcp("192.168.1.77:5", web, .syn)), cause: "martian",
      says: ["192.168.1.77", "lan"], remedy: ("[[route]]", "")),
    Situation(
      name: "a source that cannot be", frames: one("wan", .tcp("127.0.0.1:5", web, .syn)), cause: "martian",
      says: ["127.0.0.1"]),
    Situation(
      name: "a wrong header checksum", frames: one("wan", .tcp(client, web, .syn) { $0.ip.checksum = 1 }),
      cause: "malformed-ipv4", says: ["checksum"]),
    Situation(
      name: "a source route", frames: one("wan", .tcp(client, web, .syn) { $0.ip.options = [131, 3, 4, 0] }),
      cause: "source-route", says: ["source route"]),
    Situation(
      name: "a later fragment alone",
      frames: one(
        "wan", Packet.udp(client, "203.0.113.1:5353", String(repeating: "x", count: 64)).fragments(of: 32)[1]),
      cause: "piece-waiting", verdict: "hold", says: ["first piece"]),
    Situation(
      name: "a protocol without ports",
      frames: one("wan", .other(protocol: 47, "198.51.100.7", "203.0.113.1", [0, 0, 8, 0])),
      cause: "unknown-protocol", says: ["IP protocol 47"],
      remedy: ("protocol = \"all\" with ports = \"all\"", "")),
    Situation(
      name: "an ICMP type that is not forwarded",
      frames: one("wan", .ping(client, "203.0.113.1") { $0.icmp.type = 13 }), cause: "icmp-unsupported",
      says: ["ICMP type 13"]),
    Situation(
      name: "IPv6", frames: one("wan", .tcp(client, web, .syn) { $0.ethernet.etherType = 0x86DD }), cause: "ipv6-off",
      says: ["IPv6"], remedy: ("an IPv6 address", "")),
  ]
}
