/// What the engine will find when it judges a frame, looked up right before with nothing changed.
struct Survey {
  var steps: [Explanation.Step] = []
  var candidates: [Explanation.Candidate] = []
  var otherForwards = 0
  /// The first cause that applies, as far as it can be known beforehand.
  var foreseen = DropReason.none
  var remedies: [Explanation.Remedy] = []
  var ingress: Int?
  /// nil where the header cannot be read.
  var packet: Packet? {
    didSet { key = packet?.key }
  }
  /// The same of IPv6.
  var packet6: Packet6? {
    didSet { key = packet6?.key }
  }
  /// The packet's key before it was rewritten.
  private(set) var key: FlowKey?
  /// Its ports are in another piece.
  var isLaterPiece = false
  /// The session that was there before.
  var session: SessionReport?
  var hop: RouteTable.Hop?
  var hop6: RouteTable6.Hop?
  /// The configuration's rule that takes the packet.
  var rule: PlanReference?

  mutating func pass(_ stage: Explanation.Stage, _ text: String, _ reference: PlanReference? = nil) {
    steps.append(Explanation.Step(stage: stage, isStop: false, text: text, reference: reference))
  }

  mutating func stop(
    _ stage: Explanation.Stage, _ reason: DropReason, _ text: String, _ reference: PlanReference? = nil
  ) {
    foreseen = reason
    steps.append(Explanation.Step(stage: stage, isStop: true, text: text, reference: reference))
  }

  mutating func remedy(_ text: String, _ reference: PlanReference? = nil) {
    remedies.append(Explanation.Remedy(text: text, reference: reference))
  }
}

// The ladder, in the order of SlowPath.swift and with its lookups. Each method goes on to the next rung or stops.
extension Core {
  @inline(never)
  func survey(_ slot: UnsafeMutablePointer<FrameSlot>) -> Survey {
    var survey = Survey()
    surveyFrame(slot, &survey)
    return survey
  }

  // MARK: Frame, MAC, tag

  private func surveyFrame(_ slot: UnsafeMutablePointer<FrameSlot>, _ survey: inout Survey) {
    let link = links.baseAddress! + Int(slot.pointee.link)
    let isEthernet = link.pointee.rawIP == Link.none
    let located = Locator.locate(slot, link, tags)
    let length = slot.pointee.length
    guard length >= (isEthernet ? 14 : 1) else {
      return survey.stop(.frame, .truncated, "\(length) bytes are less than a link header")
    }
    guard located.interface != Link.none else { return surveyStranger(slot, &survey) }
    let index = Int(located.interface)
    let interface = interfaces[index]
    survey.ingress = index
    survey.pass(.frame, "\(length) bytes in by \(name(index)), \(interface.isOutside ? "outside" : "inside")")
    if isEthernet {
      let destination = slot.pointee.bytes.rawMAC(0)
      let isQuestion = located.etherType == EtherType.arp && destination == MACAddress.broadcast.raw
      let isForGroup = located.etherType == EtherType.ipv6 && sixes[Int(located.interface)]?.hears(destination) == true
      guard destination == interface.mac || isQuestion || isForGroup else {
        survey.stop(
          .mac, .notOurMAC,
          "sent to \(MACAddress(raw: destination)), and \(name(index)) is \(MACAddress(raw: interface.mac))",
          PlanReference(.interface(index), "mac"))
        return survey.remedy(
          "send it to \(MACAddress(raw: interface.mac)); in a replay, --mac takes every frame as sent to the interface",
          PlanReference(.interface(index), "mac"))
      }
      survey.pass(.mac, "sent to us")
    }
    surveyEtherType(slot, located, &survey)
  }

  private func surveyStranger(_ slot: UnsafeMutablePointer<FrameSlot>, _ survey: inout Survey) {
    guard isOurs(slot) else {
      survey.stop(.mac, .notOurMAC, "sent to \(MACAddress(raw: slot.pointee.bytes.rawMAC(0))), which no interface has")
      return survey.remedy("in a replay, --mac takes every frame as sent to the interface")
    }
    survey.stop(.tag, .unknownVLAN, "its VLAN tags are those of no interface on this link")
    survey.remedy("give the interface that it is for the same vlan, or send it with the interface's")
  }

  private func surveyEtherType(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ located: Locator, _ survey: inout Survey
  ) {
    switch located.etherType {
    case EtherType.ipv4: surveyHeader(slot, network: Int(located.network), &survey)
    case EtherType.arp:
      guard Int(slot.pointee.length) >= Int(located.network) &+ ARPPacket.length else {
        return survey.stop(.frame, .truncated, "the frame ends within its ARP packet")
      }
      survey.pass(.frame, "ARP")
    case EtherType.ipv6:
      if isAlongside { return survey.pass(.frame, "IPv6, which is the host's") }
      guard sixes[Int(located.interface)] == nil else {
        return survey6(slot, network: Int(located.network), &survey)
      }
      survey.stop(.frame, .ipv6Off, "IPv6, and \(name(Int(located.interface))) has no IPv6 address")
      survey.remedy("give the interface an IPv6 address", PlanReference(.interface(Int(located.interface)), "address"))
    case 0: survey.stop(.frame, .truncated, "the frame ends within its link header")
    default:
      survey.stop(
        .frame, .unknownEthertype, "EtherType 0x\(String(located.etherType, radix: 16)) is neither IPv4, IPv6 nor ARP")
    }
  }

  // MARK: IP header, martian

  private func surveyHeader(_ slot: UnsafeMutablePointer<FrameSlot>, network: Int, _ survey: inout Survey) {
    let available = Int(slot.pointee.length) &- network
    let header = IPv4Header(slot.pointee.bytes + network)
    guard available >= 20 else {
      return survey.stop(.header, .truncated, "\(available) bytes are less than an IPv4 header")
    }
    guard header.start.byte(0) &>> 4 == 4, header.length >= 20, header.totalLength >= header.length else {
      return survey.stop(.header, .malformedIPv4, "version, header length and total length contradict one another")
    }
    guard header.totalLength <= available else {
      return survey.stop(
        .header, .truncated, "the datagram states \(header.totalLength) bytes, and \(available) are there")
    }
    guard Checksum.fold(Checksum.sum(header.start, count: header.length)) == 0xFFFF else {
      return survey.stop(.header, .malformedIPv4, "the header checksum is wrong")
    }
    switch header.length > 20 ? IPv4Options.examine(header) : .plain {
    case .plain: break
    case .sourceRoute: return survey.stop(.header, .sourceRoute, "it carries a source route option")
    case .malformed: return survey.stop(.header, .malformedIPv4, "its options run out of the header")
    }
    guard header.isSoundPiece else {
      return survey.stop(.header, .malformedFragment, "a piece that fits no datagram, or cuts a TCP header")
    }
    let ingress = survey.ingress!
    var packet = Packet(
      slot: slot, ingress: ingress, header: header, network: network, totalLength: header.totalLength,
      key: FlowKey(
        addresses: header.start.raw64(IPv4Header.sourceOffset), ports: 0, scope: UInt16(truncatingIfNeeded: ingress),
        ipProtocol: header.ipProtocol),
      kind: FlowKind.free, priority: 0)
    survey.packet = packet
    survey.pass(.header, "IPv4 from \(packet.source) to \(packet.destination), whole and in order")
    surveyMartian(packet, &survey)
    if survey.foreseen == .none { surveyTransport(&packet, &survey) }
  }

  private func surveyMartian(_ packet: Packet, _ survey: inout Survey) {
    let (source, destination) = (packet.source, packet.destination)
    guard !isMartian(source: source, destination, packet.ingress) else {
      let text: String
      if Martian.isNever(source: source, destination: destination) {
        text = "no datagram goes from \(source) to \(destination), wherever it comes from (RFC 6890)"
      } else if let owner = insideAddresses[source.wire] ?? outsideAddresses[source.wire] {
        text = "its source \(source) is our own address, on \(name(owner))"
      } else if broadcasts.contains(source.wire) || broadcasts.contains(destination.wire) {
        text = "\(source) or \(destination) is the network or broadcast address of an interface"
      } else {
        let home = routes.find(source).map { name($0.interface) } ?? "another interface"
        text = "its source \(source) is reached through \(home), and it came in by \(name(packet.ingress))"
        survey.remedy("let it come in by \(home), or add a [[route]] that says where \(source) lives")
      }
      return survey.stop(.martian, .martian, text)
    }
    survey.pass(.martian, "\(source) may be a source on \(name(packet.ingress))")
  }

  // MARK: Transport

  private func surveyTransport(_ packet: inout Packet, _ survey: inout Survey) {
    let length = packet.transportLength
    if packet.header.isFragment, IPProtocol.hasPorts(packet.header.ipProtocol) {
      return surveyFragment(packet, &survey)
    }
    let ports = Forwarder.ports(packet.transport, packet.header.ipProtocol, length)
    switch packet.header.ipProtocol {
    case IPProtocol.tcp:
      guard length >= TCPHeader.minimumLength, ports != Forwarder.noPorts else {
        return survey.stop(.transport, .malformedTCP, "its TCP header does not fit into \(length) bytes")
      }
      packet.kind = FlowKind.tcp
    case IPProtocol.udp:
      guard length >= UDPHeader.length, ports != Forwarder.noPorts else {
        return survey.stop(.transport, .malformedUDP, "its UDP header does not fit into \(length) bytes")
      }
      packet.kind = FlowKind.udp
    case IPProtocol.icmp:
      guard length >= ICMPHeader.length else {
        return survey.stop(.transport, .malformedICMP, "\(length) bytes are less than an ICMP header")
      }
      switch (packet.transport.byte(0), packet.transport.byte(1)) {
      case (ICMPHeader.unreachable, _), (ICMPHeader.timeExceeded, _), (ICMPHeader.parameterProblem, _):
        return surveyError(packet, &survey)
      case (ICMPHeader.echoRequest, 0): packet.kind = FlowKind.echoRequest
      case (ICMPHeader.echoReply, 0): packet.kind = FlowKind.echoReply
      case (let type, let code):
        return surveyOther(packet, .icmpUnsupported, "ICMP type \(type), code \(code)", &survey)
      }
    default:
      packet.kind = FlowKind.other
      survey.packet = packet
      survey.pass(.transport, describe(packet))
      return surveySession(packet, &survey)
    }
    packet.key = FlowKey(
      addresses: packet.key.addresses, ports: ports, scope: packet.key.scope, ipProtocol: packet.key.ipProtocol)
    survey.packet = packet
    survey.pass(.transport, describe(packet))
    surveySession(packet, &survey)
  }

  /// A piece of a datagram: the first is judged like any packet, the others go its way.
  private func surveyFragment(_ packet: Packet, _ survey: inout Survey) {
    let offset = packet.header.fragmentOffset * 8
    let what = "a piece of a datagram, at byte \(offset)"
    guard mayHaveSession(packet) else {
      survey.pass(.transport, what)
      guard interfaces[packet.ingress].isOutside else {
        return surveyWay(packet, routes.find(packet.destination), &survey)
      }
      return surveyTransit(packet, &survey)
    }
    guard offset == 0 else {
      survey.isLaterPiece = true
      return survey.pass(.transport, "\(what): it goes the way of the first, and waits where that has not come yet")
    }
    survey.pass(.transport, "\(what), which the others follow")
    var whole = packet
    var ports = Forwarder.ports(packet.transport, packet.header.ipProtocol, packet.transportLength)
    switch packet.header.ipProtocol {
    case IPProtocol.tcp: whole.kind = FlowKind.tcp
    case IPProtocol.udp where packet.transportLength >= UDPHeader.length:
      whole.kind = FlowKind.udp
      ports = UInt64(packet.transport.raw32(0))
    case IPProtocol.icmp where packet.transportLength >= ICMPHeader.length:
      let isRequest = packet.transport.byte(0) == ICMPHeader.echoRequest
      whole.kind = isRequest ? FlowKind.echoRequest : FlowKind.echoReply
    default: return
    }
    guard ports != Forwarder.noPorts else { return }
    whole.key = FlowKey(
      addresses: packet.key.addresses, ports: ports, scope: packet.key.scope, ipProtocol: packet.key.ipProtocol)
    survey.packet = whole
    survey.pass(.transport, describe(whole))
    surveySession(whole, &survey)
  }

  /// What has no ports: routed between inside interfaces, and nowhere else.
  private func surveyOther(_ packet: Packet, _ reason: DropReason, _ what: String, _ survey: inout Survey) {
    guard !interfaces[packet.ingress].isOutside else {
      return survey.stop(.transport, reason, "\(what): from outside that can reach nobody")
    }
    let destination = packet.header.destination
    if outsideAddresses[destination] != nil || insideAddresses[destination] != nil {
      return survey.stop(.transport, .toUs, "\(what) for our own address \(packet.destination)")
    }
    guard let hop = routes.find(packet.destination), !interfaces[hop.interface].isOutside else {
      return survey.stop(
        .transport, reason, "\(what): it is routed between inside interfaces only, and never translated")
    }
    survey.pass(.transport, "\(what), routed between inside interfaces")
    surveyWay(packet, hop, &survey)
  }

  private func surveyError(_ packet: Packet, _ survey: inout Survey) {
    let inner = packet.transport + ICMPHeader.length
    let available = packet.transportLength &- ICMPHeader.length
    guard Checksum.fold(Checksum.sum(packet.transport, count: packet.transportLength)) == 0xFFFF, available >= 20,
      inner.byte(0) &>> 4 == 4, IPv4Header(inner).length >= 20, IPv4Header(inner).length <= available,
      Checksum.fold(Checksum.sum(inner, count: IPv4Header(inner).length)) == 0xFFFF
    else { return survey.stop(.transport, .malformedICMP, "an ICMP error whose checksum or quoted header is wrong") }
    let what = "an ICMP error, type \(packet.transport.byte(0)), code \(packet.transport.byte(1))"
    let quoted = IPv4Header(inner)
    let about = "about a datagram from \(IPv4Address(wire: quoted.source)) to \(IPv4Address(wire: quoted.destination))"
    guard let quote = Quote(inner, available: available, scope: packet.key.scope),
      let flow = liveFlow(quote.key), packet.header.destination == quote.key.destination
    else { return surveyOther(packet, .icmpUnmatched, "\(what) \(about), which belongs to no live session", &survey) }
    guard isCredible(packet, quote, flow) else {
      return survey.stop(
        .transport, .icmpForged, "\(what) \(about), which nobody sent, or with an MTU that no link has")
    }
    survey.pass(.transport, "\(what) \(about)")
    survey.session = report(flow &>> 1)
    survey.pass(.session, "about session \(flows.sessions.common(flow &>> 1).identity)")
    surveyWay(packet, way(of: flow), &survey)
  }

  // MARK: Names

  func name(_ interface: Int) -> String { plan.interfaces[interface].name }

  /// "TCP 198.51.100.7:4000 > 203.0.113.1:80 (SYN)".
  func describe(_ packet: Packet) -> String {
    let key = packet.key
    switch packet.kind {
    case FlowKind.echoRequest: return "echo request, identifier \(key.sourcePort.bigEndian)"
    case FlowKind.other: return "IP protocol \(packet.header.ipProtocol)"
    case FlowKind.echoReply: return "echo reply, identifier \(key.destinationPort.bigEndian)"
    default: break
    }
    let ends = "\(packet.source):\(key.sourcePort.bigEndian) > \(packet.destination):\(key.destinationPort.bigEndian)"
    return packet.kind == FlowKind.tcp ? "TCP \(ends)" + Self.flags(packet.tcpFlags) : "UDP \(ends)"
  }

  /// " (SYN, ACK)"; nothing for none.
  static func flags(_ flags: UInt8) -> String {
    let names: [(UInt8, String)] = [
      (TCPHeader.syn, "SYN"), (TCPHeader.fin, "FIN"), (TCPHeader.rst, "RST"), (TCPHeader.psh, "PSH"),
      (TCPHeader.ack, "ACK"),
    ]
    let list = names.filter { flags & $0.0 != 0 }.map(\.1).joined(separator: ", ")
    return list.isEmpty ? "" : " (\(list))"
  }
}
