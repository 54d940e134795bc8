import Engine

extension Checker {
  /// `[engine]`: the defaults are mode "dedicated", 1 worker, 1048576 sessions, ring "latency" and on-change "keep".
  mutating func readEngine(_ node: Node?) {
    let keys = ["mode", "workers", "sessions", "on-change", "ring", "spin-microseconds", "cores"]
    guard let node, let fields = fields(of: node, title: "[engine]", keys: keys, places: .engine) else { return }
    plan.mode = choice(fields, "mode", of: [.dedicated, .alongside]) ?? plan.mode
    plan.workers = integer(fields, "workers", in: 1...256) ?? plan.workers
    // A session's index and its direction share 32 bits with room to spare.
    plan.sessions = integer(fields, "sessions", in: 1...(1 << 30)) ?? plan.sessions
    plan.onChange = choice(fields, "on-change", of: [.keep, .cut]) ?? plan.onChange
    plan.ring = choice(fields, "ring", of: [.latency, .throughput, .auto]) ?? plan.ring
    plan.spinMicroseconds = integer(fields, "spin-microseconds", in: 0...1_000_000)
    plan.cores = cores(fields)
  }

  /// `cores`: one for each worker, none of them twice, so that no worker waits for another.
  private mutating func cores(_ fields: Fields) -> [Int] {
    guard let node = fields["cores"] else { return [] }
    let form = "write one core for each worker, like cores = [0, 1]"
    guard case .array(let elements) = node.value else {
      if !node.isInvalid { fail(node, "cores is \(node.kind), not a list; \(form)") }
      return []
    }
    var cores: [Int] = []
    for element in elements {
      guard case .integer(let number) = element.value, (0...1023).contains(number) else {
        if !element.isInvalid { fail(element, "cores holds what is no number from 0 to 1023; \(form)") }
        return []
      }
      if cores.contains(Int(number)) { fail(element, "core \(number) is there already; \(form)") }
      cores.append(Int(number))
    }
    if cores.count != plan.workers { fail(node, "cores has \(cores.count) of \(plan.workers) workers; \(form)") }
    return cores
  }

  /// `[timeouts]`: udp "5m", udp-dns "10s", tcp-established "2h4m", tcp-transitory "4m", icmp "60s".
  ///
  /// RFC 4787 REQ-5, RFC 5382 REQ-5 and RFC 5508 REQ-2 set floors for what a translator does unasked (2 min, 2 h 4 min,
  /// 60 s). Who writes less than that into a configuration is taken at his word: from one second to a year is accepted.
  mutating func readTimeouts(_ node: Node?) {
    let keys = ["udp", "udp-dns", "tcp-established", "tcp-transitory", "icmp"]
    guard let node, let fields = fields(of: node, title: "[timeouts]", keys: keys, places: .timeouts) else { return }
    plan.timeouts.udp = duration(fields, "udp", like: "5m") ?? plan.timeouts.udp
    plan.timeouts.udpDNS = duration(fields, "udp-dns", like: "10s") ?? plan.timeouts.udpDNS
    plan.timeouts.tcpEstablished = duration(fields, "tcp-established", like: "2h4m") ?? plan.timeouts.tcpEstablished
    if let both = duration(fields, "tcp-transitory", like: "4m") {
      plan.timeouts.tcpOpening = both
      plan.timeouts.tcpClosing = both
      plan.timeouts.tcpReset = both
    }
    plan.timeouts.icmp = duration(fields, "icmp", like: "60s") ?? plan.timeouts.icmp
  }

  private mutating func duration(_ fields: Fields, _ key: String, like example: String) -> Int? {
    guard let piece = string(fields, key, like: quoted(example)) else { return nil }
    guard let seconds = DurationText.seconds(piece.text) else {
      fail(piece, "\(quoted(piece.text)) is no duration; write numbers with units, like \"90s\", \"5m\" or \"2h4m\"")
      return nil
    }
    guard (1...365 * 86400).contains(seconds) else {
      fail(piece, "\(key) = \(quoted(piece.text)) is out of range; write a duration from \"1s\" to \"365d\"")
      return nil
    }
    return seconds
  }
}
