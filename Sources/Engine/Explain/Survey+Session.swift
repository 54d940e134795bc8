// The rungs from the session on: what a packet belongs to, or may begin.
extension Core {
  func surveySession(_ packet: Packet, _ survey: inout Survey) {
    if let flow = liveFlow(packet.key) {
      let report = report(flow &>> 1)
      survey.session = report
      survey.rule = reference(report.origin)
      let isReply = flow & 1 == 1
      let direction = isReply ? "reply" : "original"
      survey.pass(
        .session, "session \(report.identity), \(report.state), in its \(direction) direction", survey.rule)
      if !isReply, case .masquerade = report.origin { surveyAsking(packet, isNew: false, &survey) }
      surveyWay(packet, way(of: flow), &survey)
      let isHelped = flows.sessions.flow(flow).kind == FlowKind.helped
      if isHelped, survey.foreseen == .none {
        surveyHelper(
          HelpedSegment(packet), flow, mtu: survey.hop.map { Int(interfaces[$0.interface].mtu) } ?? 0, &survey)
      }
      return
    }
    survey.pass(.session, "no live session")
    guard packet.kind != FlowKind.tcp || canBegin(packet.tcpFlags) else { return surveyStray(packet, &survey) }
    surveyBeginning(packet, &survey)
  }

  private func surveyStray(_ packet: Packet, _ survey: inout Survey) {
    let isOwn = outsideAddresses[packet.header.destination] != nil || insideAddresses[packet.header.destination] != nil
    if !interfaces[packet.ingress].isOutside, !isOwn, let hop = routes.find(packet.destination),
      !interfaces[hop.interface].isOutside
    {
      survey.pass(.session, "none is needed between inside interfaces")
      return surveyWay(packet, hop, &survey)
    }
    surveyNoSYN(packet.tcpFlags, &survey)
  }

  func surveyNoSYN(_ flags: UInt8, _ survey: inout Survey) {
    let isAnswer = flags & TCPHeader.syn != 0
    survey.stop(
      .session, .tcpNotSYN,
      isAnswer
        ? "an answer to a SYN that did not come this way, or was forgotten"
        : "only a SYN, or an ACK of a connection older than this gateway, begins a session")
    survey.remedy(
      isAnswer
        ? "let both directions go through this gateway, or use source = \"gateway\" in the forward"
        : "connect anew; where idle connections must live longer, raise tcp-established or tcp-transitory",
      isAnswer ? nil : PlanReference(.timeouts))
  }

  private func surveyBeginning(_ packet: Packet, _ survey: inout Survey) {
    let destination = packet.header.destination
    if interfaces[packet.ingress].isOutside {
      if outsideAddresses[destination] != nil { return surveyInbound(packet, &survey) }
      return surveyTransit(packet, &survey)
    }
    if outsideAddresses[destination] != nil { return surveyHairpin(packet, &survey) }
    if insideAddresses[destination] != nil { return surveyToUs(packet, .toUs, &survey) }
    surveyOutbound(packet, &survey)
  }

  // MARK: From outside

  private func surveyInbound(_ packet: Packet, _ survey: inout Survey) {
    let key = packet.key
    if packet.kind == FlowKind.echoReply {
      return survey.stop(.session, .icmpUnmatched, "an echo reply that answers no request of a live session")
    }
    let entry = forwards.find(key.destination, key.ipProtocol, key.destinationPort.bigEndian)
    surveyCandidates(packet, winner: entry, &survey)
    if let entry { return surveyForward(packet, entry, &survey) }
    guard packet.kind != FlowKind.other else {
      survey.stop(
        .forward, .unknownProtocol, "\(describe(packet)), and no forward of all protocols is at \(packet.destination)")
      guard survey.candidates.isEmpty else { return }
      return survey.remedy("add a [[forward]] with protocol = \"all\", ports = \"all\" and this external address")
    }
    guard packet.kind != FlowKind.echoRequest else { return surveyToUs(packet, .noForward, &survey) }
    if let hop = surveyExpected(packet, &survey) { return surveyWay(packet, hop, &survey) }
    let mapping = liveMapping(outside: key.destination, key.destinationPort, key.ipProtocol)
    if let host = surveyTriggers(packet, mapping, &survey) {
      return surveyWay(packet, routes.find(IPv4Address(wire: host)), &survey)
    }
    guard let mapping else {
      survey.pass(.filtering, "no mapping of an inside host has this port")
      let isTriggers = rules.triggers.find(key.destination, key.ipProtocol, key.destinationPort) != nil
      return surveyToUs(packet, isTriggers ? .triggerClosed : .noForward, &survey)
    }
    let line = flows.mappings[mapping]
    let owner = "\(IPv4Address(wire: line.insideAddress)):\(line.insidePort.bigEndian)"
    guard mayUse(mapping, key.source) else {
      survey.stop(
        .filtering, .filtered,
        "the mapping of \(owner) is \(line.filtering.rawValue), and it has not sent to \(packet.source)")
      let index = masqueradeIndex(of: line)
      survey.remedy(
        "let \(owner) send to \(packet.source) first, or set filtering = \"endpoint-independent\"",
        index.map { PlanReference(.masquerade($0), "filtering") })
      return
    }
    survey.rule = masqueradeIndex(of: line).map { PlanReference(.masquerade($0)) }
    survey.pass(.filtering, "the mapping of \(owner) lets \(packet.source) in", survey.rule)
    surveyWay(packet, routes.find(IPv4Address(wire: line.insideAddress)), &survey)
  }

  private func surveyForward(_ packet: Packet, _ entry: PortTable.Entry, _ survey: inout Survey) {
    let rule = plan.forwards[entry.rule]
    survey.rule = PlanReference(.forward(entry.rule))
    guard surveySource(packet, rule, entry.rule, &survey) else { return }
    guard packet.kind != FlowKind.other || !IPProtocol.coversAddresses(packet.header.ipProtocol) else {
      return survey.stop(.forward, .unknownProtocol, "\(describe(packet)): its checksum covers the addresses")
    }
    surveyWay(packet, routes.find(rule.target), &survey, needsInside: rule.source != .gateway)
  }

  /// Allow and deny; false where they refuse.
  private func surveySource(_ packet: Packet, _ rule: ForwardPlan, _ index: Int, _ survey: inout Survey) -> Bool {
    if let prefix = rule.deny.first(where: { $0.contains(packet.source) }) {
      survey.stop(
        .filtering, .notAllowed, "forward \"\(rule.name)\" denies \(prefix), which holds \(packet.source)",
        PlanReference(.forward(index), "deny"))
      survey.remedy("take \(prefix) out of deny", PlanReference(.forward(index), "deny"))
      return false
    }
    guard rule.allow.contains(where: { $0.contains(packet.source) }) else {
      let list = rule.allow.map(\.description).joined(separator: ", ")
      survey.stop(
        .filtering, .notAllowed, "forward \"\(rule.name)\" allows \(list), which does not hold \(packet.source)",
        PlanReference(.forward(index), "allow"))
      survey.remedy("add \(packet.source) or its prefix to allow", PlanReference(.forward(index), "allow"))
      return false
    }
    survey.pass(.filtering, "\(packet.source) may use forward \"\(rule.name)\"")
    return true
  }

  func surveyTransit(_ packet: Packet, _ survey: inout Survey) {
    if insideAddresses[packet.header.destination] != nil {
      survey.stop(.route, .insideFromOutside, "\(packet.destination) is our inside address")
    } else if let hop = routes.find(packet.destination) {
      let isOutside = interfaces[hop.interface].isOutside
      survey.stop(
        .route, isOutside ? .outsideToOutside : .insideFromOutside,
        isOutside
          ? "\(packet.destination) is reached through \(name(hop.interface)), outside as well"
          : "\(packet.destination) is inside, behind \(name(hop.interface))")
    } else if packet.header.ttl <= 1 {
      return survey.stop(.ttl, .ttlExceeded, "time to live \(packet.header.ttl)")
    } else {
      return survey.stop(.route, .noRoute, "no route to \(packet.destination)")
    }
    let own = interfaces[packet.ingress].firstAddress.map { "\(IPv4Address(wire: $0))" } ?? "our outside address"
    survey.remedy("send it to \(own), and add a [[forward]] there that leads to \(packet.destination)")
  }

  // MARK: From inside

  private func surveyOutbound(_ packet: Packet, _ survey: inout Survey) {
    let hop = routes.find(packet.destination)
    if let hop, !interfaces[hop.interface].isOutside {
      survey.pass(.session, "none is needed between inside interfaces")
      return surveyWay(packet, hop, &survey)
    }
    guard packet.kind != FlowKind.echoReply else {
      return survey.stop(.session, .icmpUnmatched, "an echo reply that answers no request of a live session")
    }
    guard packet.header.ttl > 1 else { return surveyTTL(packet, &survey) }
    guard let hop else { return surveyNoRoute("\(packet.destination)", &survey) }
    guard
      let index = plan.masquerades.firstIndex(where: { $0.from == packet.ingress && $0.to == hop.interface }),
      !masquerades[index].addresses.isEmpty
    else {
      survey.hop = hop
      survey.stop(
        .route, .noMasquerade, "from \(name(packet.ingress)) to \(name(hop.interface)) without a masquerade")
      survey.remedy("add [[masquerade]] with from = \"\(name(packet.ingress))\" and to = \"\(name(hop.interface))\"")
      return
    }
    survey.rule = PlanReference(.masquerade(index))
    if let exception = plan.masquerades[index].except.first(where: { $0.contains(packet.destination) }) {
      let reference = PlanReference(.masquerade(index), "except")
      survey.pass(.forward, "not translated: \(exception) is an exception of the masquerade", reference)
      return surveyWay(packet, hop, &survey)
    }
    guard packet.kind != FlowKind.other || rules.allowsOther(index, packet.key) else {
      let reference = PlanReference(.masquerade(index), "other-protocols")
      survey.stop(.route, .unknownProtocol, "\(describe(packet)) is not masqueraded", reference)
      return survey.remedy("set other-protocols = true, or use TCP, UDP or echo", reference)
    }
    survey.pass(.forward, "masqueraded from \(name(packet.ingress)) to \(name(hop.interface))", survey.rule)
    surveyAsking(packet, isNew: true, &survey)
    surveyWay(packet, hop, &survey)
  }

  private func surveyHairpin(_ packet: Packet, _ survey: inout Survey) {
    let key = packet.key
    guard packet.kind != FlowKind.echoReply else {
      return survey.stop(.session, .icmpUnmatched, "an echo reply that answers no request of a live session")
    }
    survey.pass(.session, "from inside to an outside address of ours: hairpin")
    let entry = forwards.find(key.destination, key.ipProtocol, key.destinationPort.bigEndian)
    surveyCandidates(packet, winner: entry, &survey)
    if let entry {
      let rule = plan.forwards[entry.rule]
      let reference = PlanReference(.forward(entry.rule), "hairpin")
      guard rule.hairpin else {
        survey.stop(.filtering, .hairpinOff, "forward \"\(rule.name)\" has hairpin = false", reference)
        return survey.remedy("set hairpin = true, or use \(rule.target) itself from inside", reference)
      }
      return surveyForward(packet, entry, &survey)
    }
    if let hop = surveyExpected(packet, &survey) { return surveyWay(packet, hop, &survey) }
    guard packet.kind != FlowKind.echoRequest, packet.kind != FlowKind.other else {
      return surveyToUs(packet, .toUs, &survey)
    }
    guard let mapping = liveMapping(outside: key.destination, key.destinationPort, key.ipProtocol) else {
      guard let host = surveyTriggers(packet, nil, &survey) else { return surveyToUs(packet, .toUs, &survey) }
      return surveyWay(packet, routes.find(IPv4Address(wire: host)), &survey)
    }
    let line = flows.mappings[mapping]
    survey.pass(
      .filtering,
      "the mapping of \(IPv4Address(wire: line.insideAddress)):\(line.insidePort.bigEndian) lets inside hosts in")
    surveyWay(packet, routes.find(IPv4Address(wire: line.insideAddress)), &survey)
  }

  // MARK: To us

  private func surveyToUs(_ packet: Packet, _ reason: DropReason, _ survey: inout Survey) {
    let owner = interfaces.firstIndex { $0.isOwn(packet.header.destination) }
    if packet.kind == FlowKind.echoRequest, let owner, interfaces[owner].answersEcho, !packet.header.isFragment {
      return survey.pass(.session, "a ping for \(name(owner)), which answers", PlanReference(.interface(owner), "ping"))
    }
    let port = packet.key.destinationPort.bigEndian
    let text =
      switch reason {
      case .noForward: "no forward takes \(Self.service(packet)) at \(packet.destination)"
      case .triggerClosed: "a trigger opens \(Self.service(packet)), and nobody has it open"
      default: "\(packet.destination) is our own address, and nothing listens there"
      }
    survey.stop(reason == .toUs ? .session : .forward, reason, text)
    if packet.kind == FlowKind.echoRequest, let owner {
      survey.remedy("set ping = true", PlanReference(.interface(owner), "ping"))
    }
    guard survey.candidates.isEmpty, packet.kind == FlowKind.tcp || packet.kind == FlowKind.udp,
      outsideAddresses[packet.header.destination] != nil
    else { return }
    survey.remedy(
      "add a [[forward]] with protocol = \"\(packet.kind == FlowKind.tcp ? "tcp" : "udp")\" and ports = \"\(port)\"")
  }

  /// "tcp 80", "udp 53", "ping".
  static func service(_ packet: Packet) -> String { service(packet.kind, packet.key, packet.header.ipProtocol) }

  static func service(_ kind: UInt8, _ key: FlowKey, _ ipProtocol: UInt8) -> String {
    switch kind {
    case FlowKind.tcp: "tcp \(key.destinationPort.bigEndian)"
    case FlowKind.udp: "udp \(key.destinationPort.bigEndian)"
    case FlowKind.other: "protocol \(ipProtocol)"
    default: "ping"
    }
  }

  // MARK: TTL, route, MTU, neighbour

  private func surveyTTL(_ packet: Packet, _ survey: inout Survey) {
    survey.stop(.ttl, .ttlExceeded, "time to live \(packet.header.ttl): it may not go one hop further")
    survey.remedy("send it with a larger time to live; a value this low comes from traceroute, or from a routing loop")
  }

  func surveyNoRoute(_ destination: String, _ survey: inout Survey) {
    survey.stop(.route, .noRoute, "no prefix, [[route]] or gateway leads to \(destination)")
    survey.remedy("add a [[route]] for \(destination), or a gateway to the interface that leads there")
  }

  /// - Parameter needsInside: an outside next hop stops it.
  func surveyWay(
    _ packet: Packet, _ hop: RouteTable.Hop?, _ survey: inout Survey, needsInside: Bool = false
  ) {
    guard packet.header.ttl > 1 else { return surveyTTL(packet, &survey) }
    survey.pass(.ttl, "time to live \(packet.header.ttl) becomes \(packet.header.ttl - 1)")
    guard let hop else { return surveyNoRoute("\(packet.destination)", &survey) }
    survey.hop = hop
    let cause = route(to: hop)
    if needsInside, interfaces[hop.interface].isOutside {
      survey.stop(
        .route, .outsideToOutside, "\(hop.address) is reached through \(name(hop.interface)), outside as well", cause)
      return survey.remedy("set source = \"gateway\" in the forward", survey.rule)
    }
    survey.pass(.route, "through \(name(hop.interface)) to \(hop.address)", cause)
    let mtu = Int(interfaces[hop.interface].mtu)
    guard packet.wireLength <= mtu || packet.canSplit else {
      survey.stop(
        .mtu, .fragmentationNeeded, "\(packet.wireLength) bytes with DF, and \(name(hop.interface)) carries \(mtu)",
        PlanReference(.interface(hop.interface), "mtu"))
      return survey.remedy("let ICMP 3/4 reach its sender, which then sends less, or raise the mtu")
    }
    survey.pass(.mtu, "\(packet.wireLength) of \(mtu) bytes")
  }
}
