// The ladder of an IPv6 frame: in the order of `Packet6.swift` and `Session6.swift`, with their lookups.
extension Core {
  func survey6(_ slot: UnsafeMutablePointer<FrameSlot>, network: Int, _ survey: inout Survey) {
    let ingress = survey.ingress!
    let available = Int(slot.pointee.length) &- network
    guard available >= IPv6Header.length else {
      return survey.stop(.header, .truncated, "\(available) bytes are less than an IPv6 header")
    }
    let header = IPv6Header(slot.pointee.bytes + network)
    guard header.isVersion6 else { return survey.stop(.header, .malformedIPv6, "its version is not 6") }
    guard header.totalLength <= available else {
      return survey.stop(
        .header, .truncated, "the datagram states \(header.totalLength) bytes, and \(available) are there")
    }
    let chain = IPv6Chain(header.start, length: header.totalLength)
    guard chain.flaw == .none else { return survey.stop(.header, chain.flaw, chain.flaw.explanation) }
    // What comes before `process` has no ingress yet.
    slot.pointee.ingress = UInt16(truncatingIfNeeded: ingress)
    let packet = Packet6(
      slot: slot, ingress: ingress, header: header, network: network, totalLength: header.totalLength, chain: chain,
      priority: 0)
    survey.packet6 = packet
    survey.pass(.header, "IPv6 from \(packet.source) to \(packet.destination), whole and in order")
    guard !isOurs(packet) || mayBeTranslated(packet) else { return surveyLocal6(packet, &survey) }
    guard !isMartian(packet), !isToGroup(slot) else { return surveyMartian6(packet, &survey) }
    survey.pass(.martian, "\(packet.source) may be a source on \(name(ingress))")
    surveyTransit6(packet, &survey)
  }

  private func surveyMartian6(_ packet: Packet6, _ survey: inout Survey) {
    let (source, destination) = (packet.source, packet.destination)
    guard !Martian6.isNever(source: source, destination: destination), !isToGroup(packet.slot) else {
      return survey.stop(
        .martian, .martian, "no datagram is routed from \(source) to \(destination) like this (RFC 4291)")
    }
    if let owner = own6[source] {
      return survey.stop(.martian, .martian, "its source \(source) is our own address, on \(name(owner))")
    }
    let home = routes6.find(source).map { name($0.interface) } ?? "another interface"
    survey.stop(
      .martian, .martian, "its source \(source) is reached through \(home), and it came in by \(name(packet.ingress))")
    survey.remedy("let it come in by \(home), or add a [[route]] that says where \(source) lives")
  }

  // MARK: For us

  private func surveyLocal6(_ packet: Packet6, _ survey: inout Survey) {
    let type = packet.icmpType
    if let type, ICMPv6.discovery.contains(type) {
      return survey.pass(.session, "neighbour or router discovery, ICMPv6 type \(type)")
    }
    let (source, destination) = (packet.source, packet.destination)
    guard !Martian6.isSpecial(source), !isMisplaced(source, packet.ingress) else {
      return surveyMartian6(packet, &survey)
    }
    let isHere = sixes[packet.ingress]?.owns(destination) == true
    guard let owner = isHere ? packet.ingress : own6[destination] else {
      return survey.stop(.session, .toUs, "for a group that we only hear neighbour discovery of")
    }
    if interfaces[packet.ingress].isOutside, !interfaces[owner].isOutside {
      return survey.stop(.route, .insideFromOutside, "\(destination) is our inside address")
    }
    guard type == ICMPv6.echoRequest else {
      return survey.stop(.session, .toUs, "\(destination) is our own address, and nothing listens there")
    }
    let reference = PlanReference(.interface(owner), "ping")
    guard interfaces[owner].answersEcho else {
      survey.stop(.session, .toUs, "\(name(owner)) does not answer a ping", reference)
      return survey.remedy("set ping = true", reference)
    }
    guard packet.hasICMPChecksum, packet.transport.byte(1) == 0 else {
      return survey.stop(.transport, .malformedICMP, "an echo request with a wrong checksum or code")
    }
    survey.pass(.session, "a ping for \(name(owner)), which answers", reference)
  }

  // MARK: Through us

  private func surveyTransit6(_ packet: Packet6, _ survey: inout Survey) {
    if let type = packet.icmpType, ICMPv6.discovery.contains(type) {
      return survey.stop(
        .transport, .icmpUnsupported, "ICMPv6 type \(type) belongs to its link and is never forwarded (RFC 4890)")
    }
    let hop = routes6.find(packet.destination)
    if !interfaces[packet.ingress].isOutside, let hop, !interfaces[hop.interface].isOutside,
      rules.prefix(outside: packet.destination) == nil, own6[packet.destination] == nil
    {
      survey.pass(.session, "none is needed between inside interfaces")
      return surveyWay6(packet, hop, &survey)
    }
    if packet.chain.isFragment {
      if let reason = refusal(packet, hop) {
        return survey.stop(Self.stage(of: reason), reason, refused6(packet, reason))
      }
      let what = "a piece of a datagram, at byte \(packet.chain.fragmentOffset * 8)"
      guard packet.chain.fragmentOffset == 0 else {
        survey.isLaterPiece = true
        return survey.pass(.transport, "\(what): it goes the way of the first, and waits where that has not come yet")
      }
      survey.pass(.transport, "\(what), which the others follow")
    }
    var packet = packet
    if let reason = findKey(&packet) { return survey.stop(.transport, reason, reason.explanation) }
    survey.packet6 = packet
    guard packet.kind != FlowKind.free else { return surveyError6(packet, &survey) }
    survey.pass(.transport, describe(packet))
    surveySession6(packet, &survey)
  }

  private func surveyError6(_ packet: Packet6, _ survey: inout Survey) {
    let what = "an ICMPv6 error, type \(packet.transport.byte(0)), code \(packet.transport.byte(1))"
    guard !packet.chain.isFragment else { return survey.stop(.transport, .fragment, "\(what), in pieces") }
    guard packet.hasICMPChecksum else { return survey.stop(.transport, .malformedICMP, "\(what), its checksum wrong") }
    guard
      let quote = Quote6(
        packet.transport + 8, available: packet.transportLength &- 8, scope: packet.slot.pointee.ingress,
        flows.sessions.secret),
      let flow = liveFlow(quote.key), isAbout(quote, flow), packet.destination == quote.header.source
    else { return survey.stop(.transport, .icmpUnmatched, "\(what), about no datagram of a live session") }
    guard isCredible(packet, quote, flow) else {
      return survey.stop(.transport, .icmpForged, "\(what), about what nobody sent, or with an MTU that no link has")
    }
    survey.pass(.transport, "\(what) about a datagram to \(quote.header.destination)")
    survey.session = report(flow &>> 1)
    survey.pass(.session, "about session \(flows.sessions.common(flow &>> 1).identity)")
    surveyWay6(packet, way6(of: flow), &survey)
  }

  private func surveySession6(_ packet: Packet6, _ survey: inout Survey) {
    let addresses = packet.header.start + IPv6Header.sourceOffset
    if let flow = liveFlow(packet.key), SideTable.matches(flows.sessions.sides.line(flow), addresses) {
      let report = report(flow &>> 1)
      survey.session = report
      survey.rule = reference(report.origin)
      survey.pass(
        .session,
        "session \(report.identity), \(report.state), in its \(flow & 1 == 1 ? "reply" : "original") direction",
        survey.rule)
      surveyWay6(packet, way6(of: flow), &survey)
      let isHelped = flows.sessions.flow(flow).kind == FlowKind.helped
      if isHelped, survey.foreseen == .none {
        let mtu = survey.hop6.map { Int(interfaces[$0.interface].mtu) } ?? 0
        surveyHelper(HelpedSegment(packet), flow, mtu: mtu, &survey)
      }
      return
    }
    survey.pass(.session, "no live session")
    guard packet.kind != FlowKind.tcp || canBegin(packet.tcpFlags) else {
      return surveyNoSYN(packet.tcpFlags, &survey)
    }
    surveyBeginning6(packet, &survey)
  }

  // MARK: Ways

  func way6(of flow: UInt32) -> RouteTable6.Hop? {
    let line = flows.sessions.flow(flow)
    let target = flows.sessions.sides.source(flow ^ 1)
    if line.adjacency != 0 {
      let adjacency = adjacencies[line.adjacency]
      let address = adjacencies.address6(line.adjacency)
      return RouteTable6.Hop(
        interface: Int(adjacency.egress), address: address == .unspecified ? target : address)
    }
    return routes6.find(target, over: Int(flows.sessions.flow(flow ^ 1).key.scope))
  }

  func surveyWay6(_ packet: Packet6, _ hop: RouteTable6.Hop?, _ survey: inout Survey) {
    let hopLimit = packet.header.hopLimit
    guard hopLimit > 1 else { return surveyHopLimit(packet, &survey) }
    survey.pass(.ttl, "hop limit \(hopLimit) becomes \(hopLimit - 1)")
    guard let hop else { return surveyNoRoute("\(packet.destination)", &survey) }
    survey.hop6 = hop
    survey.pass(.route, "through \(name(hop.interface)) to \(hop.address)", route(to: hop))
    let mtu = Int(interfaces[hop.interface].mtu)
    guard packet.wireLength <= mtu else {
      survey.stop(
        .mtu, .fragmentationNeeded, "\(packet.wireLength) bytes, and \(name(hop.interface)) carries \(mtu)",
        PlanReference(.interface(hop.interface), "mtu"))
      return survey.remedy("let ICMPv6 packet too big reach its sender, which then sends less, or raise the mtu")
    }
    survey.pass(.mtu, "\(packet.wireLength) of \(mtu) bytes")
  }

  func surveyHopLimit(_ packet: Packet6, _ survey: inout Survey) {
    survey.stop(.ttl, .ttlExceeded, "hop limit \(packet.header.hopLimit): it may not go one hop further")
    survey.remedy("send it with a larger hop limit; a value this low comes from traceroute, or from a routing loop")
  }

  private func route(to hop: RouteTable6.Hop) -> PlanReference? {
    let interface = plan.interfaces[hop.interface]
    if interface.gateways6.contains(hop.address) { return PlanReference(.interface(hop.interface), "gateway") }
    if let index = plan.routes6.firstIndex(where: { $0.via == hop.address && $0.interface == hop.interface }) {
      return PlanReference(.route6(index))
    }
    return PlanReference(.interface(hop.interface), "address")
  }

  func nextHop(_ hop: RouteTable6.Hop) -> Explanation.NextHop {
    let isPlain = interfaces[hop.interface].isRawIP
    let place = adjacencies.find(
      egress: UInt16(truncatingIfNeeded: hop.interface), address: isPlain ? .unspecified : hop.address)
    return nextHop(hop.interface, .v6(hop.address), place, route(to: hop))
  }

  // MARK: Names

  /// "TCP [2001:db8::7]:4000 > [2001:db8:1::1]:80 (SYN)".
  func describe(_ packet: Packet6) -> String {
    let key = packet.key
    switch packet.kind {
    case FlowKind.echoRequest: return "echo request, identifier \(key.sourcePort.bigEndian)"
    case FlowKind.other: return "IP protocol \(packet.chain.ipProtocol)"
    case FlowKind.echoReply: return "echo reply, identifier \(key.destinationPort.bigEndian)"
    default: break
    }
    let ends =
      "[\(packet.source)]:\(key.sourcePort.bigEndian) > [\(packet.destination)]:\(key.destinationPort.bigEndian)"
    return packet.kind == FlowKind.tcp ? "TCP \(ends)" + Self.flags(packet.tcpFlags) : "UDP \(ends)"
  }
}
