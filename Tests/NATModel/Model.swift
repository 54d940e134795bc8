import PacketTestKit

/// R4: a NAT to be checked by eye against CONTRACT and the RFCs. Tables are arrays, every question is a scan.
///
/// It is told what the engine did with a frame (`seen`) only to take over what the contract leaves to chance: a port
/// that was drawn, a segment out of order that may pass or not. Each such choice is checked to be an allowed one.
package struct Model {
  /// One direction of a session as its frames look when they come in. Echo: the identifier stands on the asking side.
  package struct Key: Equatable, Sendable {
    package var interface: Int
    package var kind: Setup.Kind
    package var isAnswer = false
    package var source: Peer
    package var destination: Peer
  }

  package struct Session: Sendable {
    /// Original and reply direction. A frame of one becomes what comes back by the other, turned round.
    package var keys: [Key]
    /// Told apart from an earlier one between the same ends.
    var number: Int
    var mappings: [Int]
    var idle: Int
    /// When it ends, in milliseconds; a range where TCP leaves it open.
    package var due: ClosedRange<Int> = 0...0
    var connection: Connection?
  }

  struct Pair: Hashable {
    var from: String
    var to: String
    var host: Host
  }

  struct Mapping {
    var kind: Setup.Kind
    var insideInterface: Int
    var inside: Peer
    var outside: Peer
    /// Whom it was made for.
    var remote: Peer
    var filtering: Setup.Rule
    /// Freed ports wait for their owner (A2).
    var isQuarantined: Bool { filtering == .endpointIndependent }
  }

  package struct Frame: Equatable, Sendable {
    package var interface: Int
    package var bytes: [UInt8]
    package init(_ interface: Int, _ bytes: [UInt8]) {
      self.interface = interface
      self.bytes = bytes
    }
  }

  package struct Answer: Sendable {
    package enum Verdict: Sendable { case forward, split, consume, drop, hold, other }
    package var verdict: Verdict
    /// Any of these is right.
    package var reasons: Set<String> = []
    /// In the order in which they leave.
    package var frames: [Frame] = []

    package init(_ verdict: Verdict, reasons: Set<String> = [], frames: [Frame] = []) {
      self.verdict = verdict
      self.reasons = reasons
      self.frames = frames
    }

    static func drop(_ reasons: String..., telling frames: [Frame] = []) -> Answer {
      Answer(.drop, reasons: Set(reasons), frames: frames)
    }
  }

  package let setup: Setup
  package internal(set) var now = 0
  package internal(set) var sessions: [Session] = []
  var mappings: [Int: Mapping] = [:]
  /// Of mappings and sessions.
  var lastNumber = 0
  var quarantine: [(kind: Setup.Kind, outside: Peer, owner: Peer, until: ClosedRange<Int>)] = []
  /// SYNs that nobody asked for and that wait for their answer (RFC 5382 REQ-4).
  var unsolicited: [(due: Int, key: Key, datagram: Datagram)] = []
  /// What is left of the allowance for ICMP errors, by destination.
  var allowance: [Host: (left: Double, at: Int)] = [:]

  /// Datagrams in pieces, and identifications in use: see `Model+Pieces.swift`.
  var pieces: [Pieces] = []
  var identifications: [Identification] = []
  /// Which address of a pool an inside host has (RFC 4787 REQ-2, "paired").
  var pairs: [Pair: Host] = [:]
  /// What the engine has made of the frame in hand.
  var seen = Answer(.other)

  package init(_ setup: Setup) { self.setup = setup }

  // MARK: Time

  /// Lets time pass; returns what leaves because of it.
  ///
  /// - Parameter isLive: asked about sessions whose end the contract leaves open.
  package mutating func advance(to time: Int, isLive: (Session) -> Bool) -> [Frame] {
    let due = unsolicited.filter { $0.due <= time }
    unsolicited.removeAll { $0.due <= time }
    var frames: [Frame] = []
    for waiting in due {
      now = max(now, waiting.due)
      frames += error(3, 3, about: waiting.datagram, from: waiting.key.interface)
    }
    now = max(now, time)
    pieces.removeAll { $0.due <= now }
    let ended = sessions.filter {
      $0.due.lowerBound <= now && ($0.due.upperBound <= now || !isLive($0))
    }
    for session in ended.sorted(by: { $0.due.upperBound < $1.due.upperBound }) { end(session) }
    for index in sessions.indices where sessions[index].due.lowerBound <= now {
      sessions[index].due = now + 1...sessions[index].due.upperBound
    }
    quarantine.removeAll { $0.until.upperBound <= now }
    return frames
  }

  private mutating func end(_ session: Session) {
    sessions.removeAll { $0.keys == session.keys }
    for id in session.mappings where !sessions.contains(where: { $0.mappings.contains(id) }) {
      guard let mapping = mappings.removeValue(forKey: id), mapping.isQuarantined else { continue }
      let freed = session.due.lowerBound + 120_000...min(now, session.due.upperBound) + 120_000
      quarantine.append((mapping.kind, mapping.outside, mapping.inside, freed))
    }
  }

  /// Due times are rounded up to ticks of 100 ms, never early.
  func due(in seconds: Int) -> Int { (now + seconds * 1000 + 99) / 100 * 100 }

  // MARK: A frame

  package mutating func receive(_ frame: [UInt8], on interface: Int, seen: Answer) -> Answer {
    self.seen = seen
    guard frame.count >= 14 else { return .drop("truncated") }
    guard frame.starts(with: setup.interfaces[interface].station.bytes) else { return .drop("not-our-mac") }
    guard frame[12] == 8, frame[13] == 0 else { return .drop("unknown-ethertype") }
    guard let datagram = Datagram(frame[14...]) else { return .drop("malformed-ipv4", "truncated") }
    if let reason = optionMistake(datagram) { return .drop(reason) }
    if isMartian(datagram, on: interface) { return .drop("martian") }
    if datagram.isFragment, [1, 6, 17].contains(datagram.number) { return receivePiece(datagram, on: interface) }
    if let reason = transportMistake(datagram) { return .drop(reason) }
    switch (datagram.number, datagram.byte(0)) {
    case (6, _), (17, _): return receive(datagram, key(datagram, interface))
    case (1, _) where datagram.isEcho: return receive(datagram, key(datagram, interface))
    case (1, 3), (1, 11), (1, 12): return receiveError(datagram, on: interface)
    default:
      return relay(datagram, from: interface) ?? .drop("icmp-unsupported", "unknown-protocol", "to-us", "no-masquerade")
    }
  }

  func key(_ datagram: Datagram, _ interface: Int) -> Key {
    let kind: Setup.Kind = datagram.number == 6 ? .tcp : datagram.number == 17 ? .udp : .echo
    let isEcho = kind == .echo
    let isAnswer = isEcho && datagram.byte(0) == 0
    let identifier = isEcho ? datagram.word(4) : 0
    return Key(
      interface: interface, kind: kind, isAnswer: isAnswer,
      source: Peer(datagram.source, isEcho ? (isAnswer ? 0 : identifier) : datagram.word(0)),
      destination: Peer(datagram.destination, isEcho ? (isAnswer ? identifier : 0) : datagram.word(2)))
  }

  mutating func receive(_ datagram: Datagram, _ key: Key) -> Answer {
    for index in sessions.indices {
      if let direction = sessions[index].keys.firstIndex(of: key) { return pass(datagram, index, direction) }
    }
    if let answer = relay(datagram, from: key.interface) { return answer }
    return begin(datagram, key)
  }

  /// A frame of a live session: TTL, MTU, TCP; then it leaves and refreshes.
  private mutating func pass(_ datagram: Datagram, _ index: Int, _ direction: Int) -> Answer {
    let key = sessions[index].keys[1 - direction]
    let way = setup.route(to: key.source.host, only: key.interface)
    if let answer = obstacle(datagram, from: sessions[index].keys[direction].interface, to: way) { return answer }
    if var connection = sessions[index].connection {
      let step = connection.take(datagram, from: direction)
      if step == .either, seen.verdict == .drop {
        return Answer(.drop, reasons: seen.reasons.filter { $0.hasPrefix("tcp-") })
      }
      sessions[index].due = connection.due(after: step, datagram, was: sessions[index].due, in: self)
      sessions[index].connection = connection
    } else {
      sessions[index].due = due(in: sessions[index].idle)...due(in: sessions[index].idle)
    }
    return leave(datagram, by: index, direction, to: way!)
  }

  /// TTL, route and MTU, in this order; nil where nothing is in the way.
  mutating func obstacle(_ datagram: Datagram, from ingress: Int, to way: (interface: Int, nextHop: Host)?) -> Answer? {
    if datagram.ttl <= 1 {
      return .drop("ttl-exceeded", telling: error(11, 0, about: datagram, from: ingress))
    }
    let isInside = !setup.interfaces[ingress].isOutside
    guard let way else {
      return .drop("no-route", telling: isInside ? error(3, 0, about: datagram, from: ingress) : [])
    }
    let mtu = setup.interfaces[way.interface].mtu
    guard datagram.total > mtu, !datagram.mayBeCut else { return nil }
    return .drop("fragmentation-needed", telling: error(3, 4, rest: UInt32(mtu), about: datagram, from: ingress))
  }

  /// The datagram as a session's direction sends it out: with the ends of the other one turned round.
  mutating func leave(
    _ datagram: Datagram, by index: Int, _ direction: Int, to way: (interface: Int, nextHop: Host)
  ) -> Answer {
    let key = sessions[index].keys[1 - direction]
    var out = datagram
    out.rewrite(isPart: datagram.isFragment) {
      $0.bytes[8] -= 1
      $0.source = key.destination.host
      $0.destination = key.source.host
      if key.kind == .echo {
        $0.setWord(4, max(key.source.port, key.destination.port))
      } else {
        $0.setWord(0, key.destination.port)
        $0.setWord(2, key.source.port)
      }
    }
    if datagram.isFragment || out.total > setup.interfaces[way.interface].mtu {
      out.identification = identify(datagram, sessions[index].keys[direction], leavingAs: out)
    }
    if datagram.isFragment { prove(datagram, by: index, direction, out.identification) }
    out.sealHeader()
    return send(out, to: way)
  }

  /// Whole, or in pieces where the link is too narrow.
  func send(_ datagram: Datagram, to way: (interface: Int, nextHop: Host)) -> Answer {
    let home = setup.interfaces[way.interface]
    let pieces = datagram.total > home.mtu ? datagram.cut(to: home.mtu) : [datagram]
    return Answer(
      pieces.count > 1 ? .split : .forward,
      frames: pieces.map {
        Frame(way.interface, Station.of(way.nextHop).bytes + home.station.bytes + [8, 0] + $0.bytes)
      })
  }

  /// Between inside interfaces: routed, no translation, no session; nil where it is no such traffic.
  mutating func relay(_ datagram: Datagram, from ingress: Int) -> Answer? {
    guard !setup.interfaces[ingress].isOutside, setup.home(of: datagram.destination) == nil,
      let way = setup.route(to: datagram.destination), !setup.interfaces[way.interface].isOutside
    else { return nil }
    if let answer = obstacle(datagram, from: ingress, to: way) { return answer }
    var out = datagram
    out.bytes[8] -= 1
    out.sealHeader()
    return send(out, to: way)
  }
}
