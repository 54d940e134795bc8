import PacketTestKit

extension Model {
  // MARK: Errors of others

  /// An error about a session goes back the way of what it quotes, with everything in the quote reverted (RFC 5508).
  mutating func receiveError(_ datagram: Datagram, on interface: Int) -> Answer {
    guard InternetChecksum.isValid(datagram.bytes[datagram.header...]) else { return .drop("malformed-icmp") }
    guard let quoted = quote(of: datagram), let key = sentBack(quoted, interface),
      let session = sessions.first(where: { $0.keys.contains(key) }), let direction = session.keys.firstIndex(of: key)
    else { return unmatched(datagram, interface) }
    // A10: the error must go to whom it says the packet came from.
    guard datagram.destination == quoted.source else { return .drop("icmp-unmatched") }
    // What a TCP quote must hold to be believed is left open: it may be old, or forged (RFC 5927 section 4).
    if key.kind == .tcp, seen.reasons == ["icmp-forged"] { return .drop("icmp-forged") }
    let onward = session.keys[1 - direction]
    let way = setup.route(to: onward.source.host, only: onward.interface)
    if let answer = obstacle(datagram, from: interface, to: way) { return answer }
    var out = datagram
    out.rewrite {
      $0.bytes[8] -= 1
      $0.destination = onward.source.host
      // The session's own end is translated as ever. Any other sender outside is a router on the way and keeps its
      // address (RFC 5508 REQ-4); inside it is hidden behind the one that the other side knows (REQ-5).
      if datagram.source == key.source.host
        || onward.destination.host != key.source.host && !setup.interfaces[interface].isOutside
      {
        $0.source = onward.destination.host
      }
      $0.revertQuote(from: onward.source, to: onward.destination, kind: key.kind)
    }
    return send(out, to: way!)
  }

  private mutating func unmatched(_ datagram: Datagram, _ interface: Int) -> Answer {
    if let answer = relay(datagram, from: interface) { return answer }
    return setup.home(of: datagram.destination) == nil
      ? .drop("icmp-unmatched", "malformed-icmp") : .drop("icmp-unmatched", "malformed-icmp", "to-us")
  }

  /// The quoted datagram, with at least eight bytes behind its header (RFC 792); only its header's checksum counts.
  private func quote(of error: Datagram) -> Datagram? {
    var bytes = Array(error.bytes[(error.header + 8)...])
    guard bytes.count >= 28, bytes[0] >> 4 == 4 else { return nil }
    let length = Int(bytes[0] & 15) * 4
    guard length >= 20, bytes.count >= length + 8, InternetChecksum.isValid(bytes[..<length]) else { return nil }
    bytes.replaceSubrange(2..<4, with: Datagram.two(bytes.count))
    guard var quoted = Datagram(unchecked: bytes) else { return nil }
    quoted.sealHeader()
    return quoted.fragmentOffset == 0 ? quoted : nil
  }

  /// The key that frames in the other direction than the quoted one have, as they come in by `interface`.
  private func sentBack(_ quoted: Datagram, _ interface: Int) -> Key? {
    switch (quoted.number, quoted.byte(0)) {
    case (6, _), (17, _):
      Key(
        interface: interface, kind: quoted.number == 6 ? .tcp : .udp,
        source: Peer(quoted.destination, quoted.word(2)), destination: Peer(quoted.source, quoted.word(0)))
    case (1, 8):
      Key(
        interface: interface, kind: .echo, isAnswer: true, source: Peer(quoted.destination, 0),
        destination: Peer(quoted.source, quoted.word(4)))
    case (1, 0):
      Key(
        interface: interface, kind: .echo, source: Peer(quoted.destination, quoted.word(4)),
        destination: Peer(quoted.source, 0))
    default: nil
    }
  }

  // MARK: Errors of our own

  /// An ICMP error to the sender of `datagram`: from the ingress interface's address, 576 bytes at most, limited to
  /// 50 a second and a burst of 100 for each destination, and never about another error or a later piece (RFC 1122 3.2.2).
  mutating func error(_ type: UInt8, _ code: UInt8, rest: UInt32 = 0, about datagram: Datagram, from ingress: Int)
    -> [Frame]
  {
    let queries: [UInt8] = [0, 8, 13, 14, 15, 16, 17, 18]
    if datagram.fragmentOffset > 0 || datagram.number == 1 && !queries.contains(datagram.byte(0)) { return [] }
    let destination = datagram.source
    var (left, at) = allowance[destination] ?? (100, now)
    left = min(100, left + Double(now - at) * 0.05)
    at = now
    defer { allowance[destination] = (left, at) }
    guard left >= 1 else { return [] }
    left -= 1
    let body = [type, code, 0, 0, 0, 0] + Datagram.two(Int(rest)) + datagram.bytes.prefix(576 - 28)
    let home = setup.interfaces[ingress]
    guard let way = setup.route(to: destination, only: ingress) else { return [] }
    return send(Datagram(icmp: body, from: home.addresses[0], to: destination), to: way).frames
  }

  // MARK: What may be at all

  /// A source route is never followed (RFC 7126 4.3, 4.4); a length that lies ends the walk (RFC 1122 3.2.1.8).
  func optionMistake(_ datagram: Datagram) -> String? {
    var rest = datagram.options
    while let kind = rest.first, kind != 0 {
      if kind == 131 || kind == 137 { return "source-route" }
      let length = kind == 1 ? 1 : Int(rest.dropFirst().first ?? 0)
      guard kind == 1 || length >= 2, length <= rest.count else { return "malformed-ipv4" }
      rest = rest.dropFirst(length)
    }
    return nil
  }

  private static let never: [Setup.Prefix] = [
    .init("0.0.0.0", 8), .init("127.0.0.0", 8), .init("169.254.0.0", 16), .init("240.0.0.0", 4),
  ]

  /// F13, and a source whose route leads to another role or, from inside, to another interface.
  func isMartian(_ datagram: Datagram, on interface: Int) -> Bool {
    let (source, destination) = (datagram.source, datagram.destination)
    if Self.never.contains(where: { $0.contains(source) || $0.contains(destination) }) { return true }
    if Setup.Prefix("224.0.0.0", 4).contains(source) || source == destination { return true }
    if setup.home(of: source) != nil { return true }
    guard let way = setup.route(to: source) else { return true }
    let isOutside = setup.interfaces[interface].isOutside
    return setup.interfaces[way.interface].isOutside != isOutside || !isOutside && way.interface != interface
  }

  /// Headers that do not fit the datagram.
  func transportMistake(_ datagram: Datagram) -> String? {
    switch datagram.number {
    case 1: datagram.size < 8 ? "malformed-icmp" : nil
    case 6:
      datagram.size < 20 || datagram.byte(12) >> 4 < 5 || Int(datagram.byte(12) >> 4) * 4 > datagram.size
        ? "malformed-tcp" : nil
    case 17:
      datagram.size < 8 || datagram.word(4) < 8 || Int(datagram.word(4)) > datagram.size ? "malformed-udp" : nil
    default: nil
    }
  }
}

extension Datagram {
  init?(unchecked bytes: [UInt8]) {
    self.bytes = bytes
  }

  /// Inside an ICMP error: the quoted datagram's source, destination and ports (or identifier) become these.
  mutating func revertQuote(from source: Peer, to destination: Peer, kind: Setup.Kind) {
    let start = header + 8
    let length = self[16, start + 2]
    guard var quoted = Datagram(unchecked: Array(bytes[start...])) else { return }
    quoted.rewrite(isPart: true) {
      $0.source = source.host
      $0.destination = destination.host
      if kind == .echo {
        $0.setWord(4, max(source.port, destination.port))
      } else {
        $0.setWord(0, source.port)
        $0.setWord(2, destination.port)
      }
    }
    quoted[16, 2] = length
    quoted.sealHeader()
    bytes.replaceSubrange(start..., with: quoted.bytes)
  }
}
