import Engine

// MARK: How long things live

extension Check {
  static let timers: [Check] = [
    Check("U7", "a UDP mapping lives its time, two minutes at least") { trial in
      let idle = Double(trial.plan.timeouts.udp)
      guard try trial.isOpen(after: idle - 1), try !trial.isOpen(after: idle + 1) else {
        return .notMet("it does not end after \(Int(idle)) s")
      }
      return .of(idle >= 120, "udp is \(Int(idle)) s, RFC 4787 REQ-5 wants 120 s")
    },
    Check("U8", "answers keep a UDP mapping alive") { trial in
      var stage = try trial.stage()
      let (source, peer) = (trial.host(0, trial.ports[0]), trial.peer(0, 1000))
      guard let outside = trial.mapped(&stage, source, to: peer) else { return .notMet("no mapping") }
      let step = Double(trial.plan.timeouts.udp) * 0.7
      for count in 1...4 where !trial.reaches(&stage, .udp(peer, outside), source, at: step * Double(count)) {
        return .notMet("gone after \(Int(step) * count) s")
      }
      return .met
    },
    Check("U9 I9", "ICMP errors keep nothing alive") { trial in
      var stage = try trial.stage()
      let (source, peer) = (trial.host(0, trial.ports[0]), trial.peer(0, 1000))
      guard let left = stage.send(.udp(source, peer), into: trial.inside).forwarded?.datagram else {
        return .notMet("no mapping")
      }
      let idle = Double(trial.plan.timeouts.udp)
      let error = Datagram.error(3, 3, from: peer.address, to: left.source.address, about: left)
      _ = stage.send(error, into: trial.outside, at: idle - 1)
      return .of(!trial.reaches(&stage, .udp(peer, left.source), source, at: idle + 1), "it outlived its time")
    },
    Check("U14", "no ICMP message ends a mapping") { trial in
      var stage = try trial.stage()
      let (source, peer) = (trial.host(0, trial.ports[0]), trial.peer(0, 1000))
      guard let left = stage.send(.udp(source, peer), into: trial.inside).forwarded?.datagram else {
        return .notMet("no mapping")
      }
      for type: UInt8 in 0...18 {
        for code: UInt8 in 0...15 {
          let message = Datagram.error(type, code, from: peer.address, to: left.source.address, about: left)
          _ = stage.send(message, into: trial.outside)
        }
      }
      return .of(trial.reaches(&stage, .udp(peer, left.source), source), "an answer is dropped after them")
    },
    Check("I1", "two hosts' echo identifiers are told apart") { trial in
      guard trial.hosts.count > 1, trial.ports.count > 1 else { return .skipped("one host only") }
      var stage = try trial.stage()
      let peer = trial.peer(0, 0)
      for index in 0..<2 {
        let asking = trial.host(index, trial.ports[0])
        guard let outside = trial.sent(&stage, .echo(asking, peer), to: peer),
          trial.reaches(&stage, .echo(peer, outside, isAnswer: true), asking)
        else { return .notMet("no answer reaches host \(index + 1)") }
      }
      return .met
    },
  ]

  static let connections: [Check] = [
    Check("T4", "a SYN that nobody asked for has no answer for six seconds") { trial in
      var stage = try trial.stage()
      let outside = Endpoint(trial.address, trial.ports[0])
      let syn = Datagram.tcp(trial.peer(0, 1000), outside, Datagram.syn)
      guard stage.send(syn, into: trial.outside).left.isEmpty, stage.advance(to: 5.9).isEmpty else {
        return .notMet("it is answered at once")
      }
      let answers = stage.advance(to: 7)
      let isFrank = trial.plan.interfaces[trial.outside].unsolicited == .unreachable
      return .of(isFrank ? answers.first?.icmpType == [3, 3] : answers.isEmpty, "then \(answers.count) answers")
    },
    Check("T5", "connections live 2 h 4 min, beginnings and ends 4 min at least") { trial in
      let timeouts = trial.plan.timeouts
      for (idle, isLive) in [(timeouts.tcpEstablished - 1, true), (timeouts.tcpEstablished + 1, false)] {
        var connection = try Connection(trial)
        connection.open()
        guard connection.lives(at: Double(idle)) == isLive else {
          return .notMet("\(isLive ? "gone" : "alive") after \(idle) s")
        }
      }
      let short = [timeouts.tcpOpening, timeouts.tcpClosing, timeouts.tcpReset].min() ?? 0
      return .of(
        timeouts.tcpEstablished >= 7440 && short >= 240,
        "configured: \(timeouts.tcpEstablished) s and \(short) s; RFC 5382 REQ-5 wants 7440 s and 240 s")
    },
    Check("T6", "a connection that goes on after a RST goes on") { trial in
      var connection = try Connection(trial)
      connection.open()
      connection.send(.outside, Datagram.rst)
      guard connection.send(.inside, Datagram.ack), connection.send(.outside, Datagram.ack) else {
        return .notMet("nothing passes after the RST")
      }
      return .of(connection.lives(at: Double(trial.plan.timeouts.tcpEstablished - 1)), "it is gone early")
    },
    Check("T7 A3", "a RST by guess ends nothing") { trial in
      var connection = try Connection(trial)
      connection.open()
      for guess: UInt32 in 1...64 { connection.send(.outside, Datagram.rst, offset: 0x10_0000 + guess * 0x300_0000) }
      return .of(connection.lives(at: Double(trial.plan.timeouts.tcpEstablished - 1)), "it is gone early")
    },
    Check("T2", "two hosts that open at once are connected") { trial in
      var connection = try Connection(trial)
      let steps = [connection.send(.inside, Datagram.syn), connection.send(.outside, Datagram.syn)]
      return .of(steps.allSatisfy { $0 }, "a SYN is dropped")
    },
  ]
}

extension Trial {
  /// Whether an answer still arrives so long after the only datagram.
  func isOpen(after idle: Double) throws -> Bool {
    var stage = try stage()
    guard let outside = mapped(&stage, host(0, ports[0]), to: peer(0, 1000)) else { return false }
    return reaches(&stage, .udp(peer(0, 1000), outside), host(0, ports[0]), at: idle)
  }
}

/// One TCP connection from inside to outside, with the sequence numbers that two stacks would use.
struct Connection: ~Copyable {
  enum Side: Int { case inside, outside }

  private let trial: Trial
  private var stage: Stage
  private var next: [UInt32] = [1000, 5000]
  private var outside: Endpoint?

  init(_ trial: Trial) throws {
    self.trial = trial
    stage = try trial.stage()
  }

  /// Sends a segment; true where the other side gets it.
  @discardableResult
  mutating func send(_ side: Side, _ flags: UInt8, offset: UInt32 = 0, at time: Double? = nil) -> Bool {
    let (host, peer) = (trial.host(0, trial.ports[0]), trial.peer(0, 80))
    let sequence = next[side.rawValue] &+ offset
    let acknowledgment = flags & Datagram.ack != 0 ? next[1 - side.rawValue] : 0
    if flags & (Datagram.syn | Datagram.fin) != 0 { next[side.rawValue] &+= 1 }
    if side == .inside {
      let segment = Datagram.tcp(host, peer, flags, sequence: sequence, acknowledgment: acknowledgment)
      let left = stage.send(segment, into: trial.inside, at: time).forwarded?.datagram
      outside = left?.source ?? outside
      return left?.destination == peer && left?.isSound == true
    }
    guard let outside else { return false }
    let segment = Datagram.tcp(peer, outside, flags, sequence: sequence, acknowledgment: acknowledgment)
    return trial.reaches(&stage, segment, host, at: time)
  }

  mutating func open() {
    send(.inside, Datagram.syn)
    send(.outside, Datagram.syn | Datagram.ack)
    send(.inside, Datagram.ack)
  }

  /// Whether the session lives at a time: a segment without ACK begins none.
  mutating func lives(at time: Double) -> Bool {
    _ = stage.advance(to: time)
    return stage.liveSessions == 1
  }
}
