import Engine

/// What the selftest found out about one requirement.
public enum Finding: Equatable, Sendable {
  case met
  /// And what was seen, or configured, instead.
  case notMet(String)
  /// And why the configuration gives nothing to play.
  case skipped(String)

  static func of(_ isMet: Bool, _ otherwise: @autoclosure () -> String) -> Finding {
    isMet ? .met : .notMet(otherwise())
  }
}

/// A requirement and the traffic that shows whether a masquerade meets it.
struct Check: Sendable {
  /// As in COMPLIANCE.md.
  let ids: String
  let title: String
  let play: @Sendable (Trial) throws -> Finding

  init(_ ids: String, _ title: String, _ play: @escaping @Sendable (Trial) throws -> Finding) {
    self.ids = ids
    self.title = title
    self.play = play
  }

  static let all = mapping + timers + connections + errors + attacks
}

// MARK: Mappings and ports

extension Check {
  static let mapping: [Check] = [
    Check("U1 T1", "an inside endpoint has one outside endpoint, whomever it sends to") { trial in
      let found = try trial.observedMapping()
      return .of(found == .endpointIndependent, "mapping is \(found?.rawValue ?? "not even stable")")
    },
    Check("U2", "filtering is the configured one") { trial in
      let found = try trial.observedFiltering()
      return .of(found == trial.rule.filtering, "filtering is \(found?.rawValue ?? "closed to answers too")")
    },
    Check("U3 T13", "two hosts never share an outside port") { trial in
      guard trial.hosts.count > 1, trial.ports.count > 16 else { return .skipped("too few hosts or ports") }
      var stage = try trial.stage()
      let seen = trial.hosts.indices.compactMap { index in
        trial.mapped(&stage, trial.host(index, trial.ports[0]), to: trial.peer(0, 1000))?.port
      }
      return .of(Set(seen).count == trial.hosts.count, "\(trial.hosts.count) hosts, \(Set(seen).count) ports")
    },
    Check("U4", "ports below 1024 stay below, the others above") { trial in
      try trial.collide(port: trial.lowPort) { $0 < 1024 } ?? .skipped("no port below 1024 in the pool")
    },
    Check("U5", "even ports stay even, odd ones odd") { trial in
      guard trial.ports.count > 64 else { return .skipped("too few ports in the pool") }
      for port in trial.ports.prefix(2) {
        if let found = try trial.collide(port: port, { $0 % 2 == port % 2 }), found != .met { return found }
      }
      return trial.hosts.count > 1 ? .met : .skipped("one host only")
    },
    Check("U6", "a port that is free is kept") { trial in
      var stage = try trial.stage()
      let seen = trial.mapped(&stage, trial.host(0, trial.ports[0]), to: trial.peer(0, 1000))
      return .of(seen?.port == trial.ports[0], "\(trial.ports[0]) became \(seen.map { "\($0.port)" } ?? "nothing")")
    },
    Check("U13 T12", "inside hosts reach each other by the outside endpoint, and see one") { trial in
      guard trial.hosts.count > 1 else { return .skipped("one host only") }
      var stage = try trial.stage()
      let (own, other) = (trial.host(0, trial.ports[0]), trial.host(1, trial.ports[1]))
      guard let outside = trial.mapped(&stage, other, to: trial.peer(0, 1000)) else { return .notMet("no mapping") }
      let left = stage.send(.udp(own, outside), into: trial.inside).forwarded?.datagram
      return .of(
        left?.destination == other && left?.source.address == outside.address,
        left.map { "arrives from \($0.source) at \($0.destination)" } ?? "dropped")
    },
    Check("U16", "a UDP mapping opens nothing for TCP") { trial in
      var stage = try trial.stage()
      guard let outside = trial.mapped(&stage, trial.host(0, trial.ports[0]), to: trial.peer(0, 1000)) else {
        return .notMet("no mapping")
      }
      let passes = stage.send(.tcp(trial.peer(0, 1000), outside, Datagram.syn), into: trial.outside).forwarded != nil
      return .of(!passes, "a SYN came in")
    },
    Check("U10", "a UDP datagram without a checksum leaves without one") { trial in
      var stage = try trial.stage()
      let datagram = Datagram.udp(trial.host(0, trial.ports[0]), trial.peer(0, 1000)).withoutChecksum()
      return .of(stage.send(datagram, into: trial.inside).forwarded?.datagram.udpChecksum == 0, "it got one")
    },
    Check("U11 C1", "a UDP checksum that comes to zero leaves as ffff") { trial in
      var stage = try trial.stage()
      let (source, destination) = (trial.host(0, trial.ports[0]), trial.peer(0, 1000))
      guard let outside = trial.mapped(&stage, source, to: destination) else { return .notMet("no mapping") }
      // A word that brings the translated datagram's sum to all ones, whose complement is zero.
      let rest = Datagram.udp(outside, destination, [0, 0]).udpChecksum
      let datagram = Datagram.udp(source, destination, [UInt8(rest >> 8), UInt8(rest & 255)])
      let left = stage.send(datagram, into: trial.inside).forwarded?.datagram
      return .of(left?.udpChecksum == 0xFFFF && left?.isSound == true, "it left otherwise")
    },
  ]
}

extension Trial {
  var lowPort: UInt16? {
    rule.pool.lazy.flatMap { $0.first...$0.last }.first { $0 < 1024 && !plan.isForwarded(address, $0) }
  }

  /// Two hosts with one port, twice: what the second gets; nil without such a port.
  func collide(port: UInt16?, _ isRight: (UInt16) -> Bool) throws -> Finding? {
    guard let port else { return nil }
    guard hosts.count > 1 else { return .skipped("one host only") }
    var stage = try stage()
    for index in 0..<2 {
      guard let seen = mapped(&stage, host(index, port), to: peer(0, 1000)) else { return .notMet("no mapping") }
      if !isRight(seen.port) { return .notMet("\(port) became \(seen.port)") }
    }
    return .met
  }

  /// As RFC 5780 finds out: three destinations from one endpoint.
  func observedMapping() throws -> EndpointRule? {
    var stage = try stage()
    let source = host(0, ports[0])
    let seen = [peer(0, 1000), peer(0, 1001), peer(1, 1000)].map { mapped(&stage, source, to: $0) }
    guard !seen.contains(nil) else { return nil }
    if seen[0] == seen[1] && seen[0] == seen[2] { return .endpointIndependent }
    return seen[0] == seen[1] ? .addressDependent : .addressAndPortDependent
  }

  func observedFiltering() throws -> EndpointRule? {
    let source = host(0, ports[0])
    func passes(_ from: Endpoint) throws -> Bool {
      var stage = try stage()
      guard let outside = mapped(&stage, source, to: peer(0, 1000)) else { return false }
      return reaches(&stage, .udp(from, outside), source)
    }
    guard try passes(peer(0, 1000)) else { return nil }
    if try passes(peer(1, 1000)) { return .endpointIndependent }
    return try passes(peer(0, 1001)) ? .addressDependent : .addressAndPortDependent
  }
}
