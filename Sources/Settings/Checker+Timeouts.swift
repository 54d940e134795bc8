import Engine

/// One idle time: its key, and where it stands in the plan.
struct TimeoutKey {
  var name: String
  var paths: [WritableKeyPath<TimeoutPlan, Int> & Sendable]
  var example: String
  /// Below it an RFC is broken: seconds and the words for it.
  var floor: (seconds: Int, source: String)?
  /// One that a forward may have of its own.
  var isSession = true

  static let all = [
    TimeoutKey(name: "udp", paths: [\.udp], example: "5m", floor: (120, "RFC 4787 REQ-5")),
    TimeoutKey(name: "udp-dns", paths: [\.udpDNS], example: "10s"),
    TimeoutKey(name: "tcp-established", paths: [\.tcpEstablished], example: "2h4m", floor: (7440, "RFC 5382 REQ-5")),
    TimeoutKey(name: "tcp-transitory", paths: [\.tcpOpening, \.tcpClosing, \.tcpReset], example: "4m"),
    TimeoutKey(name: "tcp-opening", paths: [\.tcpOpening], example: "4m"),
    TimeoutKey(name: "tcp-closing", paths: [\.tcpClosing], example: "4m"),
    TimeoutKey(name: "tcp-reset", paths: [\.tcpReset], example: "4m"),
    TimeoutKey(name: "icmp", paths: [\.icmp], example: "60s", floor: (60, "RFC 5508 REQ-2")),
    TimeoutKey(name: "other", paths: [\.other], example: "10m"),
    TimeoutKey(
      name: "unsolicited", paths: [\.unsolicited], example: "6s", floor: (6, "RFC 5382 REQ-4"), isSession: false),
    TimeoutKey(
      name: "quarantine", paths: [\.quarantine], example: "2m", floor: (120, "RFC 6888 REQ-8"), isSession: false),
    TimeoutKey(
      name: "fragment", paths: [\.fragment], example: "15s", floor: (2, "RFC 6146 section 4"), isSession: false),
    TimeoutKey(
      name: "identification", paths: [\.identification], example: "2m", floor: (120, "RFC 6864 section 4"),
      isSession: false),
  ]

  static let session = all.filter(\.isSession)
}

extension Checker {
  /// `[timeouts]`. From one second to a year is accepted. Below what an RFC demands a warning says so: who writes that
  /// into a configuration is taken at his word. The transitory times may be short without one: RFC 7857 section 2.1 has
  /// them lowered against floods.
  mutating func readTimeouts(_ node: Node?) {
    guard let node else { return }
    plan.timeouts = timeouts(node, "[timeouts]", TimeoutKey.all, over: plan.timeouts, places: .timeouts)
  }

  /// The idle times of a table, over those that hold where it says nothing. A general key gives way to a special one.
  mutating func timeouts(
    _ node: Node, _ title: String, _ keys: [TimeoutKey], over base: TimeoutPlan, places part: SettingsFile.Part?
  ) -> TimeoutPlan {
    var result = base
    guard let fields = fields(of: node, title: title, keys: keys.map(\.name), places: part) else { return base }
    for key in keys {
      guard let (seconds, piece) = duration(fields, key.name, like: key.example) else { continue }
      for path in key.paths { result[keyPath: path] = seconds }
      if let floor = key.floor, seconds < floor.seconds {
        let least = DurationText.text(floor.seconds)
        warn(piece, "\(key.name) = \(quoted(piece.text)) is below the \(least) of \(floor.source); write at least that")
      }
    }
    return result
  }

  mutating func duration(_ fields: Fields, _ key: String, like example: String) -> (Int, Piece)? {
    guard let piece = string(fields, key, like: quoted(example)) else { return nil }
    guard let seconds = DurationText.seconds(piece.text) else {
      fail(piece, "\(quoted(piece.text)) is no duration; write numbers with units, like \"90s\", \"5m\" or \"2h4m\"")
      return nil
    }
    guard (1...365 * 86400).contains(seconds) else {
      fail(piece, "\(key) = \(quoted(piece.text)) is out of range; write a duration from \"1s\" to \"365d\"")
      return nil
    }
    return (seconds, piece)
  }
}
