import NATModel
import PacketTestKit

/// Random traffic that knows what lives in the model, so that most of it means something.
struct Traffic {
  private var dice: Dice
  private let setup: Setup
  private var time = 0
  /// Pieces that are still to come, and where.
  private var coming: [(Packet, Int)] = []
  /// What left lately: to be answered, or complained about.
  private var left: [Model.Frame] = []

  init(_ setup: Setup, seed: UInt64) {
    self.setup = setup
    dice = Dice(seed &+ 77)
  }

  /// Remembers what left.
  mutating func note(_ answer: Model.Answer) {
    left += answer.frames
    if left.count > 64 { left.removeFirst(left.count - 64) }
  }

  mutating func next(_ model: Model) -> Arrival {
    passTime(model)
    var (packet, interface) = nextPiece() ?? draw(model)
    if packet.ip.isPiece {
      if dice.chance(3) { packet.ip.ttl = 1 }
    } else {
      spoil(&packet)
    }
    let home = setup.interfaces[interface]
    packet.ethernet.destination = packet.ethernet.destination ?? home.station
    packet.ethernet.source = .of(setup.route(to: packet.ip.source, only: interface)?.nextHop ?? packet.ip.source)
    return Arrival(time: time, interface: interface, bytes: packet.bytes)
  }

  // MARK: Time

  private mutating func passTime(_ model: Model) {
    switch dice.roll(1...200) {
    case 1...160: time += dice.roll(0...50)
    case 161...190: time += dice.roll(100...20_000)
    case 191...198:
      guard !model.sessions.isEmpty else { return }
      let due = dice.pick(model.sessions).due
      let edge = dice.pick([due.lowerBound, due.upperBound]) + dice.pick([-100, -1, 0, 1, 100])
      // An established connection's end is far away: most often it is left alone.
      if edge - time < 1_000_000 || dice.chance(10) { time = max(time, edge) }
    default: time += dice.pick([6000, 61_000, 121_000, 241_000, 301_000])
    }
  }

  // MARK: What comes

  private mutating func draw(_ model: Model) -> (Packet, Int) {
    switch dice.roll(1...100) {
    case 1...50: ofSession(model) ?? outward()
    case 51...63: outward()
    case 64...75: toForward()
    case 76...82: toMapping(model) ?? outward()
    case 83...88: hairpin(model)
    case 89...91: stray()
    case 92...96: cut(model)
    default: error() ?? outward()
    }
  }

  // MARK: Pieces

  private mutating func nextPiece() -> (Packet, Int)? {
    coming.isEmpty || dice.chance(60) ? nil : coming.removeFirst()
  }

  /// A datagram in pieces, the first of which comes now: in whatever order, one perhaps twice, or not at all.
  private mutating func cut(_ model: Model) -> (Packet, Int) {
    var (packet, interface) = draw(model)
    let size = dice.pick([48, 64, 104, 552])
    guard coming.count < 100, case let whole = packet.datagram.count - 20, whole > size, packet.ip.options.isEmpty
    else {
      return (packet, interface)
    }
    // Few enough that two hosts now and then have the same.
    packet.ip.identification = UInt16(dice.chance(70) ? dice.roll(1...30) : dice.roll(1...65535))
    var pieces = packet.fragments(of: size).prefix(8).map { $0 }
    switch dice.roll(1...10) {
    case 1...4: break
    case 5...6: pieces.reverse()
    case 7...8: for index in pieces.indices { pieces.swapAt(index, dice.roll(0...index)) }
    case 9: pieces.remove(at: dice.roll(0...pieces.count - 1))
    default: pieces.insert(dice.pick(pieces), at: dice.roll(0...pieces.count))
    }
    coming += pieces.map { ($0, interface) }
    return coming.removeFirst()
  }

  private var outsides: [Int] { setup.interfaces.indices.filter { setup.interfaces[$0].isOutside } }
  private var insides: [Int] { setup.interfaces.indices.filter { !setup.interfaces[$0].isOutside } }

  private mutating func insideEndpoint() -> (Peer, Int) {
    let interface = dice.pick(insides)
    let hosts = setup.interfaces[interface].name == "dmz" ? RandomSetup.otherInsideHosts : RandomSetup.insideHosts
    let host =
      !setup.routes.isEmpty && setup.interfaces[interface].name == "lan" && dice.chance(10)
      ? "10.9.1.1" : dice.pick(hosts)
    return (Peer(host, insidePort()), interface)
  }

  private mutating func insidePort() -> UInt16 {
    switch dice.roll(1...10) {
    case 1...5: UInt16(4000 + dice.roll(0...5))
    case 6: UInt16(500 + dice.roll(0...3))
    case 7: dice.pick([0, 1, 53, 1023, 1024, 65535])
    case 8, 9:
      setup.forwards.randomTargetPort(&dice) ?? 8000
    default: UInt16(8000 + dice.roll(0...20))
    }
  }

  private mutating func remote() -> Peer {
    Peer(dice.pick(RandomSetup.clients), dice.pick([53, 80, 443, 1000, 1001, 1002]))
  }

  private mutating func payload() -> [UInt8] {
    let size = dice.pick([0, 1, 7, 20, 40, 100, 700, 1300, 1472])
    return (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ size) }
  }

  private mutating func beginning(_ source: Peer, _ destination: Peer, echo: Bool = true) -> Packet {
    switch dice.roll(1...10) {
    case 1...4:
      .tcp(
        source, destination,
        dice.pick([.syn, .syn, .syn, .syn, .ack, [.ack, .psh], .rst, [.syn, .ack], [.fin, .ack], []])
      ) {
        $0.tcp.sequence = UInt32(truncatingIfNeeded: dice.next())
        if $0.tcp.flags.contains(.ack) { $0.tcp.acknowledgment = UInt32(truncatingIfNeeded: dice.next()) }
        if dice.chance(10) { $0.tcp.payload = [1, 2, 3] }
        if dice.chance(30) { $0.tcp.options = [2, 4, 5, 180, 1, 3, 3, 7] }
      }
    case 5...8: .udp(source, destination) { $0.udp.payload = payload() }
    default:
      echo
        ? .ping(source, destination.host, sequence: UInt16(dice.roll(1...9))) { $0.icmp.payload = payload() }
        : .udp(source, destination) { $0.udp.payload = payload() }
    }
  }

  private mutating func outward() -> (Packet, Int) {
    let (source, interface) = insideEndpoint()
    return (beginning(source, remote()), interface)
  }

  private mutating func outsideAddress() -> Host {
    let own = outsides.flatMap { setup.interfaces[$0].addresses }
    return dice.pick(own + setup.forwards.compactMap(\.external) + setup.masquerades.flatMap(\.externals))
  }

  private mutating func toForward() -> (Packet, Int) {
    let destination = forwardEndpoint()
    let interface = dice.pick(outsides)
    let source = Peer(dice.pick(RandomSetup.clients), UInt16(dice.pick([40000, 40001, 1000, 53])))
    return (beginning(source, destination), interface)
  }

  private mutating func forwardEndpoint() -> Peer {
    guard !setup.forwards.isEmpty else { return Peer(outsideAddress(), 80) }
    let forward = dice.pick(setup.forwards)
    let host = forward.external ?? dice.pick(setup.interfaces[setup.index(forward.on)].addresses)
    return Peer(host, forward.ports.map { dice.pick($0).from } ?? dice.pick([22, 80, 500, 4000, 8000, 8001]))
  }

  private mutating func mappingEndpoint(_ model: Model) -> Peer? {
    let ends = model.sessions.filter { $0.keys[0].kind != .echo }.map { $0.keys[1].destination }
      .filter { end in setup.home(of: end.host).map { setup.interfaces[$0].isOutside } == true }
    return ends.isEmpty ? nil : dice.pick(ends)
  }

  private mutating func toMapping(_ model: Model) -> (Packet, Int)? {
    guard var destination = mappingEndpoint(model) else { return nil }
    if dice.chance(10) { destination.port &+= 1 }
    return (
      beginning(dice.chance(70) ? remote() : Peer(dice.pick(RandomSetup.clients), 999), destination),
      dice.pick(outsides)
    )
  }

  private mutating func hairpin(_ model: Model) -> (Packet, Int) {
    let (source, interface) = insideEndpoint()
    let destination = dice.chance(60) ? forwardEndpoint() : mappingEndpoint(model) ?? forwardEndpoint()
    return (beginning(source, destination), interface)
  }

  /// What has no business here, or is not translated.
  private mutating func stray() -> (Packet, Int) {
    let (inside, home) = insideEndpoint()
    let other = insideEndpoint().0
    let outside = dice.pick(outsides)
    switch dice.roll(1...7) {
    case 1: return (beginning(inside, other), home)
    case 2: return (beginning(inside, Peer(setup.interfaces[home].addresses[0], 53)), home)
    case 3: return (beginning(remote(), other), outside)
    case 4: return (beginning(remote(), remote()), outside)
    case 5:
      return (beginning(Peer(dice.pick(["127.0.0.1", "224.0.0.1", "0.0.0.0", "192.168.1.10"]), 9), remote()), outside)
    case 6:
      let number = dice.pick([47, 50, 132, 4] as [UInt8])
      return (
        .other(protocol: number, inside.host, dice.pick([other.host, "198.51.100.7"]), [1, 2, 3, 4, 5, 6, 7, 8]), home
      )
    default: return (.pong(remote().host, Peer(outsideAddress(), 9)), outside)
    }
  }

  // MARK: What lives

  /// The next packet of a live session, most often one that its end would send.
  private mutating func ofSession(_ model: Model) -> (Packet, Int)? {
    guard !model.sessions.isEmpty else { return nil }
    let session = dice.chance(60) ? model.sessions.suffix(8).randomElement(&dice)! : dice.pick(model.sessions)
    let side = dice.roll(0...1)
    let key = session.keys[side]
    switch key.kind {
    case .udp: return (.udp(key.source, key.destination) { $0.udp.payload = payload() }, key.interface)
    case .echo:
      let sequence = UInt16(dice.roll(1...9))
      return key.isAnswer
        ? (.pong(key.source.host, key.destination, sequence: sequence), key.interface)
        : (.ping(key.source, key.destination.host, sequence: sequence), key.interface)
    case .tcp: return (segment(session, side), key.interface)
    }
  }

  private mutating func segment(_ session: Model.Session, _ side: Int) -> Packet {
    let key = session.keys[side]
    let (mine, others) = (session.next(side), session.next(1 - side))
    var packet = Packet.tcp(
      key.source, key.destination, .ack, sequence: mine ?? UInt32(truncatingIfNeeded: dice.next()),
      acknowledgment: others ?? 0)
    if session.isUnanswered, side == 1, session.beganWithSYN { packet.tcp.flags = [.syn, .ack] }
    switch dice.roll(1...40) {
    case 1...20: if !packet.tcp.flags.contains(.syn) { packet.tcp.payload = Array(payload().prefix(1400)) }
    case 21...24: packet.tcp.flags.insert(.fin)
    case 25: packet.tcp.flags = .rst
    case 26: packet.tcp.flags = [.rst, .ack]
    case 27: packet.tcp.sequence &-= 1
    case 28:
      packet.tcp.flags = .rst
      packet.tcp.sequence &+= 0x4000_0000
    case 29: packet.tcp.sequence &+= UInt32(truncatingIfNeeded: dice.next())
    case 30: packet.tcp.flags = dice.pick([.syn, [.syn, .ack], [], [.fin, .syn], [.urg, .ack], [.ece, .cwr, .syn]])
    case 31: packet.tcp.acknowledgment &+= 500_000
    default: break
    }
    return packet
  }

  /// An ICMP error about something that left, from its receiver or from a router on the way.
  private mutating func error() -> (Packet, Int)? {
    guard !left.isEmpty else { return nil }
    let frame = dice.pick(left)
    let quoted = Decoded(frame.bytes)
    guard let ip = quoted.ip else { return nil }
    let isOutside = setup.interfaces[frame.interface].isOutside
    let sender = dice.pick([ip.destination, ip.destination, isOutside ? "198.51.100.1" : "192.168.1.12"])
    let keep = dice.pick([8, 8, 8, 28, 100, 500, 4])
    let datagram = Array(quoted.bytes[14...].prefix(quoted.ipHeader.count + keep))
    let (type, code, rest) = dice.pick(
      [
        (3, 0, 0), (3, 1, 0), (3, 3, 0), (3, 4, 1200), (11, 0, 0), (11, 1, 0), (12, 0, 20 << 24), (5, 1, 0), (4, 0, 0),
        (13, 0, 0), (3, 3, 0),
      ] as [(UInt8, UInt8, UInt32)])
    var packet = Packet()
    packet.ip.source = sender
    packet.ip.destination = dice.chance(95) ? ip.source : dice.pick(RandomSetup.clients)
    packet.transport = .icmp(ICMPMessage(type: type, code: code, rest: rest, payload: datagram))
    if dice.chance(3) { packet.icmp.checksum = 0x1234 }
    return (packet, frame.interface)
  }

  // MARK: What goes wrong on the way

  private mutating func spoil(_ packet: inout Packet) {
    packet.ip.identification = UInt16(truncatingIfNeeded: dice.next())
    packet.ip.typeOfService = dice.chance(10) ? 0xB8 : 0
    // Other protocols only pass by: which of their faults is named first is not the model's to say.
    if case .raw = packet.transport { return }
    guard dice.chance(22) else { return }
    switch dice.roll(1...16) {
    case 1, 2: packet.ip.ttl = UInt8(dice.roll(0...2))
    case 3, 4: packet.ip.dontFragment = false
    case 5, 6: packet.trailer = [UInt8](repeating: 0xAA, count: dice.roll(1...20))
    case 7:
      packet.ip.options = dice.pick([
        [1, 1, 1, 1], [148, 4, 0, 0], [7, 7, 4, 0, 0, 0, 0], [131, 7, 4, 10, 0, 0, 1], [7, 1],
      ])
    case 8, 9: if case .udp = packet.transport { packet.udp.checksum = 0 }
    case 10, 11: spoilChecksum(&packet)
    case 12: packet.ip.checksum = 0x0101
    case 13: packet.keep = dice.roll(0...60)
    case 14: packet.ethernet.destination = "02:99:00:00:00:01"
    case 15: packet.ethernet.etherType = 0x88CC
    default: packet.ip.ttl = 255
    }
  }

  private mutating func spoilChecksum(_ packet: inout Packet) {
    let wrong = UInt16(dice.roll(1...0xFFFE))
    switch packet.transport {
    case .udp: packet.udp.checksum = wrong
    case .tcp: packet.tcp.checksum = wrong
    case .icmp, .raw: break
    }
  }
}

extension IPHeader {
  fileprivate var isPiece: Bool { moreFragments || fragmentOffset > 0 }
}

extension ArraySlice {
  fileprivate func randomElement(_ dice: inout Dice) -> Element? {
    isEmpty ? nil : self[startIndex + dice.roll(0...count - 1)]
  }
}

extension [Setup.Forward] {
  /// A port that some forward leads to.
  fileprivate func randomTargetPort(_ dice: inout Dice) -> UInt16? {
    isEmpty ? nil : dice.pick(self).ports.map { dice.pick($0).to }
  }
}
