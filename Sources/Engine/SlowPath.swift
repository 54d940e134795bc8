/// An IPv4 datagram whose header has been checked, on its way through the slow path.
struct Packet {
  let slot: UnsafeMutablePointer<FrameSlot>
  let ingress: Int
  let header: IPv4Header
  /// Offset of the IP header in the frame.
  let network: Int
  /// Bytes of the datagram, as its header says.
  let totalLength: Int
  /// The flow's key; for an ICMP error and other protocols only addresses and protocol mean anything.
  var key: FlowKey
  var kind: UInt8
  /// Raw TCI bits of PCP and DEI.
  let priority: UInt16
  /// How often another worker was in the way.
  var contentions = 0

  var source: IPv4Address { IPv4Address(wire: header.source) }
  var destination: IPv4Address { IPv4Address(wire: header.destination) }
  var transport: UnsafeMutableRawPointer { header.payload }
  var transportLength: Int { totalLength &- header.length }
  var tcpFlags: UInt8 { transport.byte(TCPHeader.flagsOffset) }
  /// The transport checksum is an unfinished pseudo-header sum.
  var isPartial: Bool { Offload.isPartial(slot.pointee.offload, transport: network &+ header.length) }
  /// A router may cut it into fragments.
  var canSplit: Bool { !header.dontFragment }
  /// Bytes of the largest datagram that this becomes on the wire.
  var wireLength: Int { Offload.wireLength(slot.pointee.offload, header) }
}

// Judges one frame completely, cause by cause in the contract's order: frame, MAC, tag, IP header, martian, session,
// forward/allow/filtering, TTL, route, MTU, limits and table, neighbour.
extension Core {
  @inline(never)
  mutating func judge(_ slot: UnsafeMutablePointer<FrameSlot>) {
    let link = links.baseAddress! + Int(slot.pointee.link)
    let located = Locator.locate(slot, link, tags)
    guard slot.pointee.length >= (link.pointee.rawIP == Link.none ? 14 : 1) else { return refuse(slot, .truncated) }
    guard located.interface != Link.none else { return refuse(slot, isOurs(slot) ? .unknownVLAN : .notOurMAC) }
    slot.pointee.ingress = located.interface
    let interface = interfaces[Int(located.interface)]
    if !interface.isRawIP {
      let destination = slot.pointee.bytes.rawMAC(0)
      let isBroadcastARP = located.etherType == EtherType.arp && destination == MACAddress.broadcast.raw
      let isForGroup = located.etherType == EtherType.ipv6 && sixes[Int(located.interface)]?.hears(destination) == true
      guard destination == interface.mac || isBroadcastARP || isForGroup else { return refuse(slot, .notOurMAC) }
    }
    switch located.etherType {
    case EtherType.ipv4: judgeIPv4(slot, network: Int(located.network))
    case EtherType.arp: judgeARP(slot, network: Int(located.network))
    case EtherType.ipv6: judgeIPv6(slot, network: Int(located.network))
    case 0: refuse(slot, .truncated)
    default: refuse(slot, .unknownEthertype)
    }
  }

  /// What is not for us is the host's in `alongside` mode.
  mutating func refuse(_ slot: UnsafeMutablePointer<FrameSlot>, _ reason: DropReason) {
    if isAlongside { pass(slot) } else { drop(slot, reason) }
  }

  func isOurs(_ slot: UnsafeMutablePointer<FrameSlot>) -> Bool {
    let destination = slot.pointee.bytes.rawMAC(0)
    return tags.contains { $0.link == slot.pointee.link && $0.mac == destination }
      || destination == MACAddress.broadcast.raw
  }

  private mutating func judgeIPv4(_ slot: UnsafeMutablePointer<FrameSlot>, network: Int) {
    let available = Int(slot.pointee.length) &- network
    let header = IPv4Header(slot.pointee.bytes + network)
    guard available >= 20 else { return refuse(slot, .truncated) }
    guard header.start.byte(0) &>> 4 == 4, header.length >= 20 else { return refuse(slot, .malformedIPv4) }
    let total = header.totalLength
    guard total >= header.length else { return refuse(slot, .malformedIPv4) }
    guard total <= available else { return refuse(slot, .truncated) }
    guard Checksum.fold(Checksum.sum(header.start, count: header.length)) == 0xFFFF else {
      return refuse(slot, .malformedIPv4)
    }
    if header.length > 20 {
      switch IPv4Options.examine(header) {
      case .plain: break
      case .sourceRoute: return refuse(slot, .sourceRoute)
      case .malformed: return refuse(slot, .malformedIPv4)
      }
    }
    guard header.isSoundPiece else { return refuse(slot, .malformedFragment) }
    let ingress = Int(slot.pointee.ingress)
    guard !isMartian(source: IPv4Address(wire: header.source), IPv4Address(wire: header.destination), ingress) else {
      return refuse(slot, .martian)
    }
    let packet = Packet(
      slot: slot, ingress: ingress, header: header, network: network, totalLength: total,
      key: FlowKey(
        addresses: header.start.raw64(IPv4Header.sourceOffset), ports: 0, scope: slot.pointee.ingress,
        ipProtocol: header.ipProtocol),
      kind: FlowKind.free, priority: Locator.priority(slot, network))
    judgeTransport(packet)
  }

  func isMartian(source: IPv4Address, _ destination: IPv4Address, _ ingress: Int) -> Bool {
    if Martian.isNever(source: source, destination: destination) { return true }
    if insideAddresses[source.wire] != nil { return true }
    if outsideAddresses[source.wire] != nil, !publicTargets.contains(source.wire) { return true }
    if broadcasts.contains(source.wire) || broadcasts.contains(destination.wire) { return true }
    // Strict towards inside hosts: a source must be reached through the interface that it comes in by (RFC 3704).
    guard let hop = routes.find(source) else { return false }
    return interfaces[ingress].isOutside ? !interfaces[hop.interface].isOutside : hop.interface != ingress
  }

  /// Finds the ports, and from then on deals with a flow, an ICMP error, or neither.
  private mutating func judgeTransport(_ packet: Packet) {
    var packet = packet
    let length = packet.transportLength
    if packet.header.isFragment, IPProtocol.hasPorts(packet.header.ipProtocol) { return judgeFragment(packet) }
    switch packet.header.ipProtocol {
    case IPProtocol.tcp:
      guard length >= TCPHeader.minimumLength,
        Forwarder.ports(packet.transport, IPProtocol.tcp, length) != Forwarder.noPorts
      else { return refuse(packet.slot, .malformedTCP) }
      packet.kind = FlowKind.tcp
    case IPProtocol.udp:
      guard length >= UDPHeader.length, Forwarder.ports(packet.transport, IPProtocol.udp, length) != Forwarder.noPorts
      else { return refuse(packet.slot, .malformedUDP) }
      packet.kind = FlowKind.udp
    case IPProtocol.icmp:
      guard length >= ICMPHeader.length else { return refuse(packet.slot, .malformedICMP) }
      switch packet.transport.byte(0) {
      case ICMPHeader.unreachable, ICMPHeader.timeExceeded, ICMPHeader.parameterProblem:
        return judgeICMPError(packet)
      case ICMPHeader.echoRequest where packet.transport.byte(1) == 0: packet.kind = FlowKind.echoRequest
      case ICMPHeader.echoReply where packet.transport.byte(1) == 0: packet.kind = FlowKind.echoReply
      default: return judgeOther(packet, .icmpUnsupported)
      }
    default:
      packet.kind = FlowKind.other
      return judgeFlow(packet)
    }
    let ports = Forwarder.ports(packet.transport, packet.header.ipProtocol, length)
    packet.key = FlowKey(
      addresses: packet.key.addresses, ports: ports, scope: UInt16(packet.ingress),
      ipProtocol: packet.header.ipProtocol)
    judgeFlow(packet)
  }

  /// What has no ports is routed between inside interfaces and goes nowhere else.
  mutating func judgeOther(_ packet: Packet, _ reason: DropReason) {
    guard !interfaces[packet.ingress].isOutside else { return refuse(packet.slot, reason) }
    let destination = packet.header.destination
    if outsideAddresses[destination] != nil || insideAddresses[destination] != nil { return refuse(packet.slot, .toUs) }
    guard let hop = routes.find(packet.destination), !interfaces[hop.interface].isOutside else {
      return refuse(packet.slot, reason)
    }
    route(packet)
  }

  mutating func judgeFlow(_ packet: Packet) {
    switch standing(of: packet.key) {
    case .live(let flow): return send(packet, by: flow)
    case .cut(let flow):
      guard Self.isSYN(packet.tcpFlags) else { return refuseCut(packet) }
      flows.remove(flow &>> 1)
    case .none: break
    }
    guard packet.kind != FlowKind.tcp || canBegin(packet.tcpFlags) else { return judgeStray(packet) }
    begin(packet)
  }

  static func isSYN(_ flags: UInt8) -> Bool {
    flags & (TCPHeader.syn | TCPHeader.ack | TCPHeader.rst | TCPHeader.fin) == TCPHeader.syn
  }

  /// A SYN, or an ACK without SYN and RST (a connection older than we are).
  func canBegin(_ flags: UInt8) -> Bool {
    let bits = flags & (TCPHeader.syn | TCPHeader.ack | TCPHeader.rst | TCPHeader.fin)
    return Self.isSYN(flags)
      || (plan.picksUpTCP && bits & TCPHeader.ack != 0 && bits & (TCPHeader.syn | TCPHeader.rst) == 0)
  }

  /// A segment that belongs to nothing. Between inside interfaces there are no sessions, so it is routed there.
  private mutating func judgeStray(_ packet: Packet) {
    let isOwn = outsideAddresses[packet.header.destination] != nil || insideAddresses[packet.header.destination] != nil
    if !interfaces[packet.ingress].isOutside, !isOwn, let hop = routes.find(packet.destination),
      !interfaces[hop.interface].isOutside
    {
      return route(packet)
    }
    refuse(packet.slot, .tcpNotSYN)
  }

  /// A packet of a live session: TTL, route, MTU and neighbour are what can still stop it.
  mutating func send(_ packet: Packet, by flow: UInt32) {
    guard packet.header.ttl > 1 else { return timeExceeded(packet) }
    guard let adjacency = settleAdjacency(flow) else { return drop(packet.slot, .noRoute) }
    guard fits(packet, adjacency) || packet.canSplit else { return tooBig(packet, adjacency) }
    if flows.sessions.flow(flow).kind == FlowKind.helped {
      return locked { $0.help(packet, by: flow, over: adjacency) }
    }
    let untranslated = prepare(packet, by: flow, over: adjacency)
    translate(packet, by: flow)
    deliver(packet, over: adjacency, untranslated)
  }

  /// What a packet needs before it is translated: what its sender knows of it is kept, and pieces get their numbers.
  mutating func prepare(_ packet: Packet, by flow: UInt32, over adjacency: UInt16) -> Untranslated {
    let hasPorts = packet.kind != FlowKind.other
    let untranslated = Untranslated(packet.header, kind: hasPorts ? packet.kind : FlowKind.free)
    if packet.header.isFragment, hasPorts {
      prove(packet, by: flow)
    } else if packet.header.isFragment || packet.wireLength > Int(adjacencies[adjacency].mtu) {
      packet.header.identify(newIdentification(packet.header, flow))
    }
    return untranslated
  }

  /// Tracks, counts and rewrites: what a packet does to its session.
  mutating func translate(_ packet: Packet, by flow: UInt32) {
    let line = flows.sessions.flow(flow)
    var refreshes = line.keepsSession
    if packet.kind == FlowKind.tcp {
      let common = flows.sessions.common(flow &>> 1)
      let headerLength = Int(packet.transport.byte(TCPHeader.dataOffset) &>> 4) &* 4
      clampMSS(packet, line)
      refreshes = TCPTracker(common, countingIn: tables.words).track(
        Int(flow & 1), TCPTracker.Segment(packet.transport, payload: packet.transportLength &- headerLength),
        tcp: packet.transport, headerLength: headerLength, timeouts: timeouts(of: common.origin).tcp)
    }
    if refreshes {
      line.lastSeen = clock.tickUp
      if flow & 1 == 0, !flows.openings.isEmpty { ask(by: flow) }
    }
    line.count(bytes: packet.totalLength)
    guard packet.kind != FlowKind.other else { return Rewrite.applyAddresses(line, packet.header) }
    Rewrite.apply(
      line, kind: packet.kind, ip: packet.header.start, transport: packet.transport, isPartial: packet.isPartial)
  }

  /// Routed between inside interfaces: no translation, no session.
  mutating func route(_ packet: Packet) {
    guard packet.header.ttl > 1 else { return timeExceeded(packet) }
    guard let hop = routes.find(packet.destination) else { return noRoute(packet) }
    guard let adjacency = adjacency(to: hop) else { return drop(packet.slot, .neighborTableFull) }
    guard fits(packet, adjacency) || packet.canSplit else { return tooBig(packet, adjacency) }
    let untranslated = Untranslated(packet.header, kind: FlowKind.free)
    packet.header.takeHop()
    deliver(packet, over: adjacency, untranslated)
  }

  func fits(_ packet: Packet, _ adjacency: UInt16) -> Bool { packet.wireLength <= Int(adjacencies[adjacency].mtu) }
}
