import PacketTestKit

extension Situation {
  private static let host: Peer = "192.168.1.10:5000"
  private static let far: Peer = "198.51.100.7:21"
  private static let outside: Peer = "203.0.113.1:5000"

  /// A client inside with a connection to a server, and what it sends then.
  private static func talk(
    _ texts: String..., then last: (interface: String, second: Double, packet: Packet)? = nil
  ) -> [(interface: String, second: Double, packet: Packet)] {
    var frames: [(interface: String, second: Double, packet: Packet)] = [
      ("lan", 0, .tcp(host, far, .syn, sequence: 1000)),
      ("wan", 0.1, .tcp(far, outside, [.syn, .ack], sequence: 5000, acknowledgment: 1001)),
      ("lan", 0.2, .tcp(host, far, .ack, sequence: 1001, acknowledgment: 5001)),
    ]
    var next: UInt32 = 1001
    for text in texts {
      frames.append(("lan", 1, .tcp(host, far, .ack, sequence: next, acknowledgment: 5001, text)))
      next += UInt32(text.utf8.count)
    }
    return frames + [last].compactMap { $0 }
  }

  private static let command = "PORT 192,168,1,10,200,10\r\n"

  static let helpers: [Situation] = [
    Situation(
      name: "an endpoint that a helper tells otherwise", more: "helper = \"ftp\"\n", frames: talk(command),
      cause: "forwarded", verdict: "split", says: ["by wan"]),
    Situation(
      name: "an endpoint that is another's", more: "helper = \"ftp\"\n", frames: talk("PORT 192,168,1,11,200,10\r\n"),
      cause: "forwarded", verdict: "forward", says: ["by wan"]),
    Situation(
      name: "a command cut in two", more: "helper = \"ftp\"\n", frames: talk("PORT 192,168,1,"), cause: "forwarded",
      verdict: "forward", says: ["by wan"]),
    Situation(
      name: "a connection that a helper expects",
      more: "filtering = \"address-and-port-dependent\"\nhelper = \"ftp\"\n",
      frames: talk(command, then: ("wan", 2, .tcp("198.51.100.7:20", "203.0.113.1:51210", .syn))), cause: "forwarded",
      verdict: "forward", says: ["by lan", "new session"]),
    Situation(
      name: "a segment before its turn", more: "helper = \"ftp\"\n",
      frames: talk(then: ("lan", 1, .tcp(host, far, .ack, sequence: 1011, acknowledgment: 5001, "NOOP\r\n"))),
      cause: "helper-order", says: ["sends it again"]),
  ]
}
