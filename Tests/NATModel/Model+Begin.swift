import PacketTestKit

extension Model {
  /// A packet that no session knows (CONTRACT, "Which traffic may pass").
  mutating func begin(_ datagram: Datagram, _ key: Key) -> Answer {
    let isOutside = setup.interfaces[key.interface].isOutside
    let home = setup.home(of: key.destination.host)
    if let home, !setup.interfaces[home].isOutside {
      if isOutside { return .drop("inside-from-outside", "to-us", "tcp-not-syn", "icmp-unmatched") }
      return ourselves(datagram, key, home)
    }
    let way = setup.route(to: key.destination.host)
    if isOutside, home == nil {
      let isTransit = way.map { setup.interfaces[$0.interface].isOutside } ?? true
      return .drop(isTransit ? "outside-to-outside" : "inside-from-outside", "icmp-unmatched", "tcp-not-syn")
    }
    if key.isAnswer { return .drop("icmp-unmatched") }
    if key.kind == .tcp, !Connection.begins(datagram) { return .drop("tcp-not-syn") }
    return home.map { reachOutsideAddress(datagram, key, $0) } ?? masquerade(datagram, key, way)
  }

  /// Our own address: echo as configured, all else dropped silently.
  private mutating func ourselves(_ datagram: Datagram, _ key: Key, _ home: Int) -> Answer {
    // Answering pieces would mean putting them together.
    guard key.kind == .echo, !key.isAnswer, setup.interfaces[home].ping, !datagram.isFragment else {
      return .drop("to-us", "tcp-not-syn", "icmp-unmatched")
    }
    var body = Array(datagram.bytes[datagram.header...])
    body[0] = 0
    let answer = Datagram(icmp: body, from: datagram.destination, to: datagram.source)
    guard let way = setup.route(to: datagram.source, only: key.interface) else { return Answer(.consume) }
    return Answer(.consume, frames: send(answer, to: way).frames)
  }

  /// From either side to an outside address of ours: forward, then mapping with its filtering.
  private mutating func reachOutsideAddress(_ datagram: Datagram, _ key: Key, _ home: Int) -> Answer {
    let isOutside = setup.interfaces[key.interface].isOutside
    if let forward = setup.forward(key.kind, key.destination) {
      func holds(_ list: [Setup.Prefix]) -> Bool { list.contains { $0.contains(key.source.host) } }
      guard holds(forward.allow), !holds(forward.deny) else {
        return isOutside || forward.hairpin ? .drop("not-allowed") : .drop("not-allowed", "hairpin-off")
      }
      guard isOutside || forward.hairpin else { return .drop("hairpin-off") }
      let port = key.kind == .echo ? 0 : forward.targetPort(of: key.destination.port)!
      return open(datagram, key, home, target: Peer(forward.target, port), hidesClient: forward.hidesClient)
    }
    if key.kind != .echo, let (id, mapping) = mapping(key.kind, outside: key.destination) {
      // Filtering guards against outsiders; inside hosts reach a mapping by its outside endpoint (RFC 4787 REQ-9).
      guard !isOutside || admits(id, mapping, key) else {
        return refuse(datagram, key, "filtered")
      }
      return open(datagram, key, home, target: mapping.inside, through: id, hidesClient: false)
    }
    if key.kind == .echo, setup.interfaces[home].ping, !datagram.isFragment,
      setup.interfaces[home].addresses.contains(key.destination.host)
    {
      return ourselves(datagram, key, home)
    }
    return isOutside ? refuse(datagram, key, "no-forward") : .drop("to-us")
  }

  /// Silent, or with `unsolicited = "unreachable"`: UDP told at once, a SYN after 6 s (RFC 5382 REQ-4).
  private mutating func refuse(_ datagram: Datagram, _ key: Key, _ reason: String) -> Answer {
    guard setup.interfaces[key.interface].isFrank else { return .drop(reason) }
    if key.kind == .udp { return .drop(reason, telling: error(3, 3, about: datagram, from: key.interface)) }
    if key.kind == .tcp, datagram.byte(13) & 2 != 0, !unsolicited.contains(where: { $0.key == key }) {
      unsolicited.append((due(in: 6), key, datagram))
    }
    return .drop(reason)
  }

  /// The mapping's filtering: somebody inside has a live session with such a remote endpoint. Whether one that comes in by
  /// another outside interface than that session's is let in is left open.
  private func admits(_ id: Int, _ mapping: Mapping, _ key: Key) -> Bool {
    if mapping.filtering == .endpointIndependent { return true }
    let permits = sessions.filter { $0.mappings.contains(id) }.flatMap(\.keys).filter {
      $0.destination == mapping.outside && mapping.filtering.matches(key.source, $0.source)
    }
    return permits.contains { $0.interface == key.interface } || !permits.isEmpty && seen.reasons != ["filtered"]
  }

  private func mapping(_ kind: Setup.Kind, outside: Peer) -> (id: Int, Mapping)? {
    mappings.first { $0.value.kind == kind && $0.value.outside == outside }.map { ($0.key, $0.value) }
  }

  /// A session towards an inside endpoint, by a forward or a mapping, from outside or from inside (hairpin).
  private mutating func open(
    _ datagram: Datagram, _ key: Key, _ home: Int, target: Peer, through: Int? = nil, hidesClient: Bool
  ) -> Answer {
    let route = setup.route(to: target.host)
    if let answer = obstacle(datagram, from: key.interface, to: route) { return answer }
    let way = route!
    func reply(_ source: Peer) -> Key {
      Key(interface: way.interface, kind: key.kind, isAnswer: key.kind == .echo, source: target, destination: source)
    }
    var client = key.source
    var used = through.map { [$0] } ?? []
    let isHairpin = !setup.interfaces[key.interface].isOutside
    if isHairpin && !hidesClient {
      let remote = key.destination
      guard let id = clientMapping(key, at: key.destination.host, on: home, remote: remote) else {
        return noPort(datagram, key)
      }
      used.append(id)
      client = mappings[id]!.outside
    } else {
      if hidesClient { client.host = setup.interfaces[way.interface].addresses[0] }
      // The client's port if its reply tuple is free, else another from 1024-65535.
      func isFree(_ port: UInt16) -> Bool {
        let end = Peer(client.host, port)
        return !sessions.contains { $0.keys.contains(reply(end)) } && !(hidesClient && isOurs(key.kind, end))
      }
      // Only a forward may change the client's port: what comes in by a mapping keeps it, or does not come in.
      if through == nil, !isFree(client.port) {
        let chosen = Self.source(seen)?.port ?? 0
        guard let port = chosen >= 1024 && isFree(chosen) ? chosen : (1024...65535).first(where: isFree) else {
          return noPort(datagram, key)
        }
        client.port = port
      }
    }
    return start(datagram, [key, reply(client)], used, way)
  }

  /// Both ends of a new session must be nobody else's: two outside interfaces can lead to the same pair of endpoints.
  private func isTaken(_ keys: [Key]) -> Bool { sessions.contains { $0.keys.contains(keys[1]) } }

  /// `source = "gateway"` on an outside address: what a forward or a mapping has there, or had lately, is not free.
  private func isOurs(_ kind: Setup.Kind, _ peer: Peer) -> Bool {
    mapping(kind, outside: peer) != nil || kind != .echo && setup.forward(kind, peer) != nil
      || quarantine.contains { $0.kind == kind && $0.outside == peer }
  }

  /// From inside to the outside.
  private mutating func masquerade(
    _ datagram: Datagram, _ key: Key, _ route: (interface: Int, nextHop: Host)?
  ) -> Answer {
    if datagram.ttl > 1, let route, masquerade(key.interface, route.interface) == nil { return .drop("no-masquerade") }
    if let answer = obstacle(datagram, from: key.interface, to: route) { return answer }
    let way = route!
    let rule = masquerade(key.interface, way.interface)!
    var reply = Key(
      interface: way.interface, kind: key.kind, isAnswer: key.kind == .echo, source: key.destination,
      destination: key.source)
    // Sent to, and answered, without translation (RFC 6888 REQ-6).
    if rule.except.contains(where: { $0.contains(key.destination.host) }) {
      return start(datagram, [key, reply], [], way)
    }
    guard let id = clientMapping(key, at: address(of: key, rule), on: way.interface, remote: key.destination) else {
      return noPort(datagram, key)
    }
    reply.destination = mappings[id]!.outside
    return start(datagram, [key, reply], [id], way)
  }

  private mutating func noPort(_ datagram: Datagram, _ key: Key) -> Answer {
    // Want of resources is told to inside senders (RFC 5508 REQ-8).
    let isInside = !setup.interfaces[key.interface].isOutside
    return .drop("no-port", telling: isInside ? error(3, 13, about: datagram, from: key.interface) : [])
  }

  private mutating func start(
    _ datagram: Datagram, _ keys: [Key], _ used: [Int], _ way: (interface: Int, nextHop: Host)
  ) -> Answer {
    if isTaken(keys) {
      mappings = mappings.filter { id, _ in sessions.contains { $0.mappings.contains(id) } }
      return noPort(datagram, keys[0])
    }
    let kind = keys[0].kind
    let idle = kind == .echo ? setup.icmp : keys[0].destination.port == 53 ? setup.dns : setup.udp
    lastNumber += 1
    var session = Session(keys: keys, number: lastNumber, mappings: used, idle: idle)
    if kind == .tcp {
      session.connection = Connection(datagram)
      session.due = due(in: setup.transitory)...due(in: setup.transitory)
    } else {
      session.due = due(in: idle)...due(in: idle)
    }
    sessions.append(session)
    // A SYN that goes out meanwhile opens the connection, and the one that waited is forgotten.
    unsolicited.removeAll { keys.contains($0.key) }
    return leave(datagram, by: sessions.count - 1, 0, to: way)
  }

  // MARK: Ports

  func masquerade(_ from: Int, _ to: Int) -> Setup.Masquerade? {
    setup.masquerades.first { setup.index($0.from) == from && setup.index($0.to) == to }
  }

  /// The mapping by which an inside endpoint is known at an outside address, made if need be; nil: no port is left.
  private mutating func clientMapping(_ key: Key, at address: Host, on outside: Int, remote: Peer)
    -> Int?
  {
    var rule = masquerade(key.interface, outside)
    let fixed = rule == nil ? nil : ownEndpoint(key, address, outside)
    // Hairpin by another outside address than the masquerade's: no masquerade applies there.
    if fixed == nil, let own = rule, !addresses(own).contains(address) { rule = nil }
    let address = fixed?.host ?? rule.map { self.address(of: key, $0) } ?? address
    let mappingRule = fixed != nil ? .endpointIndependent : rule?.mapping ?? .endpointIndependent
    let known = mappings.first {
      let mapping = $0.value
      return mapping.kind == key.kind && mapping.inside == key.source && mapping.insideInterface == key.interface
        && mapping.outside.host == address && mappingRule.matches(remote, mapping.remote)
    }
    if let known { return known.key }
    let pool = rule?.pool ?? 1024...65535
    // A port in quarantine comes back to its owner.
    let former = quarantine.first {
      $0.kind == key.kind && $0.owner == key.source && $0.outside.port == Self.source(seen)?.port
        && $0.outside.host == address
    }
    guard let outside = fixed ?? former?.outside ?? choose(key, address, pool, keeps: rule != nil) else {
      return nil
    }
    lastNumber += 1
    mappings[lastNumber] = Mapping(
      kind: key.kind, insideInterface: key.interface, inside: key.source, outside: outside, remote: remote,
      filtering: rule?.filtering ?? .addressAndPortDependent)
    return lastNumber
  }

  private func addresses(_ rule: Setup.Masquerade) -> [Host] {
    rule.externals.isEmpty ? [setup.interfaces[setup.index(rule.to)].addresses[0]] : rule.externals
  }

  /// The outside address of an inside host: any of the pool at first, and that one ever after (RFC 4787 REQ-2).
  private mutating func address(of key: Key, _ rule: Setup.Masquerade) -> Host {
    let pool = addresses(rule)
    let pair = Pair(from: rule.from, to: rule.to, host: key.source.host)
    if let known = pairs[pair] { return known }
    let outside = setup.index(rule.to)
    // A forward's target may send from another one.
    let drawn = pool.first { (ownEndpoint(key, $0, outside)?.host ?? $0) == Self.source(seen)?.host } ?? pool[0]
    if ownEndpoint(key, drawn, outside) == nil, Self.source(seen)?.host == drawn {
      pairs[pair] = drawn
    }
    return drawn
  }

  /// The target of a one-to-one forward sends from that forward's outside address and port (the first in the file).
  private func ownEndpoint(_ key: Key, _ address: Host, _ outside: Int) -> Peer? {
    if key.kind == .echo { return nil }
    for forward in setup.forwards
    where forward.isEnabled && forward.isOneToOne && forward.kinds.contains(key.kind)
      && forward.target == key.source.host && setup.homeInterface(of: forward) == outside
    {
      let host =
        setup.covers(forward, address) ? address : forward.external ?? setup.interfaces[outside].addresses[0]
      let ports = forward.ports.map { $0.filter { $0.to == key.source.port }.map(\.from) } ?? [key.source.port]
      for port in ports where setup.forward(key.kind, Peer(host, port))?.name == forward.name {
        return Peer(host, port)
      }
    }
    return nil
  }

  /// The source port is kept if it is in the pool and free; else any in the pool, of the same class, then parity.
  private func choose(_ key: Key, _ address: Host, _ pool: ClosedRange<UInt16>, keeps: Bool) -> Peer? {
    let wanted = key.source.port
    func fits(_ port: UInt16, surely: Bool = false) -> Bool {
      pool.contains(port) && isFree(key.kind, Peer(address, port), for: key.source, surely: surely)
    }
    if keeps, fits(wanted, surely: true) { return Peer(address, wanted) }
    func rank(_ port: UInt16) -> Int { (port < 1024) != (wanted < 1024) ? 0 : port % 2 != wanted % 2 ? 1 : 2 }
    func best(surely: Bool) -> Int { pool.reduce(-1) { fits($1, surely: surely) ? max($0, rank($1)) : $0 } }
    if let chosen = Self.source(seen)?.port, fits(chosen) {
      if chosen == wanted || !keeps || rank(chosen) == 2 || rank(chosen) >= best(surely: true) {
        return Peer(address, chosen)
      }
    }
    // Dropped for want of a port, and every port that might be free might also not be.
    if seen.verdict == .drop, best(surely: true) < 0 { return nil }
    return pool.filter { fits($0) }.max { rank($0) < rank($1) }.map { Peer(address, $0) }
  }

  /// No live mapping's (RFC 4787 REQ-3), no forward's, and not waiting for its former owner.
  private func isFree(_ kind: Setup.Kind, _ outside: Peer, for owner: Peer, surely: Bool) -> Bool {
    outside.port != 0 && mapping(kind, outside: outside) == nil
      && (kind == .echo || setup.forward(kind, outside) == nil)
      && !quarantine.contains {
        // Whether an endpoint-dependent mapping's owner is the inside endpoint or the pair is left open.
        $0.kind == kind && $0.outside == outside && (surely || $0.owner != owner)
          && now < (surely ? $0.until.upperBound : $0.until.lowerBound)
      }
  }

  /// What the engine's frame became.
  static func datagram(_ seen: Answer) -> Datagram? {
    guard seen.verdict == .forward || seen.verdict == .split, let frame = seen.frames.first, frame.bytes.count > 14
    else { return nil }
    return Datagram(frame.bytes[14...])
  }

  /// The source that it left with; of echo the identifier.
  static func source(_ seen: Answer) -> Peer? {
    guard let out = datagram(seen), out.size >= 8 else { return nil }
    return Peer(out.source, out.word(out.number == 1 ? 4 : 0))
  }
}
