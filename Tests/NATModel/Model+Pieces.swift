import PacketTestKit

/// A datagram that comes in pieces, told from others by its ends, protocol and identification (RFC 791 section 3.2).
struct Pieces {
  enum State {
    /// Later pieces wait for the first one, which has the ports.
    case waiting([Datagram])
    /// The first one was not let through: neither are the others.
    case refused(Set<String>)
    /// The others go the first one's way: a session's direction, under this identification.
    case proven(session: Int, direction: Int, key: Model.Key, identification: UInt16)
  }

  let interface: Int
  let like: Datagram
  var state: State
  var due: Int
  /// What has been seen of it, in units of eight bytes.
  var seen: [Range<Int>] = []

  func isOf(_ piece: Datagram, _ interface: Int) -> Bool {
    interface == self.interface && piece.source == like.source && piece.destination == like.destination
      && piece.number == like.number && piece.identification == like.identification
  }
}

/// An identification that datagrams in pieces left with, and whose (RFC 6864 section 5.3.1).
struct Identification {
  let interface: Int
  let came: Datagram
  let left: Datagram
  /// In ticks of 100 ms.
  var used: Int
}

// RFC 4787 REQ-14: pieces are translated one by one, in whatever order they come.
extension Model {
  mutating func receivePiece(_ piece: Datagram, on interface: Int) -> Answer {
    guard mayMeetSession(piece, interface) else {
      if setup.interfaces[interface].isOutside { return .drop("inside-from-outside", "outside-to-outside") }
      return relay(piece, from: interface) ?? obstacle(piece, from: interface, to: setup.route(to: piece.destination))!
    }
    if let index = pieces.firstIndex(where: { $0.isOf(piece, interface) }) {
      if case .refused(let reasons) = pieces[index].state { return Answer(.drop, reasons: reasons) }
      let range = piece.range
      let isRepeated = pieces[index].seen.contains(range)
      // Which of two that overlap a receiver believes cannot be known (RFC 1858, RFC 3128).
      if isRepeated ? isWaiting(index) : pieces[index].seen.contains(where: { $0.overlaps(range) }) {
        return .drop("fragment-overlap")
      }
      if !isRepeated, pieces[index].seen.count == 64 { return .drop("fragment-limit") }
      if !isRepeated { pieces[index].seen.append(range) }
    } else if piece.fragmentOffset > 0 {
      pieces.append(
        Pieces(
          interface: interface, like: piece, state: .waiting([]), due: due(in: setup.fragment), seen: [piece.range]))
    }
    if piece.fragmentOffset == 0 { return receiveFirst(piece, interface) }
    let index = pieces.firstIndex { $0.isOf(piece, interface) }!
    guard case .waiting(let held) = pieces[index].state else { return follow(piece, index) }
    if piece.ttl <= 1 { return .drop("ttl-exceeded") }
    pieces[index].state = .waiting(held + [piece])
    return Answer(.hold)
  }

  private func isWaiting(_ index: Int) -> Bool { if case .waiting = pieces[index].state { true } else { false } }

  /// False for what is only routed, or goes nowhere, whatever its ports are.
  private func mayMeetSession(_ piece: Datagram, _ interface: Int) -> Bool {
    if let home = setup.home(of: piece.destination), setup.interfaces[home].isOutside { return true }
    // Destinations that are not translated answer to inside addresses.
    if setup.interfaces[interface].isOutside { return setup.masquerades.contains { !$0.except.isEmpty } }
    return setup.home(of: piece.destination) != nil
      || setup.route(to: piece.destination).map { setup.interfaces[$0.interface].isOutside } == true
  }

  /// The first piece is judged like any packet; what becomes of it becomes of those that wait.
  private mutating func receiveFirst(_ piece: Datagram, _ interface: Int) -> Answer {
    let key = key(piece, interface)
    let known = pieces.firstIndex { $0.isOf(piece, interface) }
    if let known, case .proven(_, _, let first, _) = pieces[known].state, first != key {
      return .drop("fragment-overlap")
    }
    let waiting: [Datagram] = known.map { if case .waiting(let held) = pieces[$0].state { held } else { [] } } ?? []
    // An error in pieces is too long to be one.
    let isMessage = piece.number != 1 || piece.isEcho
    var answer =
      piece.number == 6 && transportMistake(piece) != nil
      ? .drop("malformed-tcp") : isMessage ? receive(piece, key) : .drop("fragment")
    let index = pieces.firstIndex { $0.isOf(piece, interface) }
    if let index, case .proven = pieces[index].state {
      if known == nil { pieces[index].seen = [piece.range] }
      for held in waiting { answer.frames += follow(held, index).frames }
    } else if let index {
      pieces[index].state = .refused(answer.reasons)
    } else {
      pieces.append(
        Pieces(interface: interface, like: piece, state: .refused(answer.reasons), due: due(in: setup.fragment)))
    }
    return answer
  }

  /// The first piece has found its session.
  mutating func prove(_ piece: Datagram, by session: Int, _ direction: Int, _ identification: UInt16) {
    let key = sessions[session].keys[direction]
    let number = sessions[session].number
    let state = Pieces.State.proven(session: number, direction: direction, key: key, identification: identification)
    guard let index = pieces.firstIndex(where: { $0.isOf(piece, key.interface) }) else {
      pieces.append(Pieces(interface: key.interface, like: piece, state: state, due: now + setup.fragment * 1000))
      return
    }
    if isWaiting(index) { pieces[index].due = now + setup.fragment * 1000 }
    pieces[index].state = state
  }

  /// A later piece, on the way of the first one: only addresses are translated.
  private mutating func follow(_ piece: Datagram, _ index: Int) -> Answer {
    guard case .proven(let number, let direction, let key, let identification) = pieces[index].state,
      let session = sessions.firstIndex(where: { $0.number == number })
    else { return .drop("fragment") }
    let onward = sessions[session].keys[1 - direction]
    let way = setup.route(to: onward.source.host, only: onward.interface)
    if let answer = obstacle(piece, from: key.interface, to: way) { return answer }
    refresh(session)
    var out = piece
    out.bytes[8] -= 1
    out.source = onward.destination.host
    out.destination = onward.source.host
    out.identification = identification
    out.sealHeader()
    return send(out, to: way!)
  }

  /// A piece tells nothing of what a TCP segment holds.
  private mutating func refresh(_ session: Int) {
    if sessions[session].connection == nil {
      sessions[session].due = due(in: sessions[session].idle)...due(in: sessions[session].idle)
    } else {
      let was = sessions[session].due
      sessions[session].due = was.lowerBound...max(was.upperBound, due(in: setup.established))
    }
  }

  /// The identification of a datagram that leaves in pieces: its own, unless another between the same ends had it in the
  /// last 120 s (RFC 6864 section 5.3.1, RFC 7857 section 10); then one that nobody had.
  mutating func identify(_ datagram: Datagram, _ key: Key, leavingAs out: Datagram) -> UInt16 {
    // A piece of a datagram that is known already.
    if let known = pieces.first(where: { datagram.isFragment && $0.isOf(datagram, key.interface) }),
      case .proven(_, _, _, let identification) = known.state
    {
      return identification
    }
    var left = out
    func others(_ identification: UInt16) -> Bool {
      identifications.contains {
        $0.left.isBetween(out) && $0.left.identification == identification && now / 100 - $0.used < 1200
          && !($0.interface == key.interface && $0.came.isBetween(datagram)
            && $0.came.identification == datagram.identification)
      }
    }
    if others(datagram.identification) {
      let drawn = Self.datagram(seen)?.identification ?? datagram.identification
      left.identification =
        others(drawn) ? (0...UInt16.max).first { !others($0) } ?? datagram.identification : drawn
    }
    identifications.removeAll {
      now / 100 - $0.used >= 1200 || $0.left.isBetween(left) && $0.left.identification == left.identification
    }
    identifications.append(
      Identification(interface: key.interface, came: datagram, left: left, used: now / 100))
    return left.identification
  }
}

extension Datagram {
  fileprivate var range: Range<Int> { fragmentOffset / 8..<fragmentOffset / 8 + (size + 7) / 8 }

  fileprivate func isBetween(_ other: Datagram) -> Bool {
    source == other.source && destination == other.destination && number == other.number
  }
}
