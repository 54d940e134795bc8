// What an IPv6 packet without a session may begin, as `Begin6.swift` says.
extension Core {
  func surveyBeginning6(_ packet: Packet6, _ survey: inout Survey) {
    let beginning = rules.beginning(packet.key, from: packet.source, to: packet.destination)
    if beginning.mayBeExpected, let hop = surveyExpected6(packet, &survey) { return surveyWay6(packet, hop, &survey) }
    switch beginning {
    case .session(let draft):
      if case .forward(let rule) = draft.origin.report { surveyCandidates6(packet, winner: rule, &survey) }
      survey.rule = reference(draft.origin.report)
      survey.pass(.filtering, begun(packet, draft), survey.rule)
      surveyWay6(packet, draft.hop, &survey)
    case .endpoint: surveyEndpoint6(packet, &survey)
    case .refused(let reason): surveyRefused6(packet, reason, &survey)
    }
  }

  private func begun(_ packet: Packet6, _ draft: Draft6) -> String {
    switch draft.origin.report {
    case .forward(let index): "\(packet.source) may use forward \"\(plan.forwards[index].name)\""
    case .masquerade(let index):
      "masqueraded from \(name(plan.masquerades[index].from)) to \(name(plan.masquerades[index].to)) as \(draft.source)"
    case .hairpin: "from inside to an outside address of an inside host: hairpin"
    case .outbound, .trigger:
      draft.source == packet.source
        ? "from inside everything may begin a session" : "leaves as \(draft.source), by prefix translation"
    }
  }

  /// To an outside endpoint that no forward has.
  private func surveyEndpoint6(_ packet: Packet6, _ survey: inout Survey) {
    let isFromOutside = interfaces[packet.ingress].isOutside
    let key = packet.key
    guard packet.kind == FlowKind.tcp || packet.kind == FlowKind.udp,
      let mapping = liveMapping(outside: packet.destination.number, key.destinationPort, key.ipProtocol)
    else { return surveyRefused6(packet, isFromOutside ? .noForward : .toUs, &survey) }
    surveyCandidates6(packet, winner: nil, &survey)
    survey.remedies = []
    let line = flows.mappings[mapping]
    let inside = flows.mappings.sides[mapping].inside
    let owner = "[\(inside)]:\(line.insidePort.bigEndian)"
    let index = masqueradeIndex(of: line)
    guard !isFromOutside || mayUse(mapping, packet.source) else {
      survey.stop(
        .filtering, .filtered,
        "the mapping of \(owner) is \(line.filtering.rawValue), and it has not sent to \(packet.source)")
      return survey.remedy(
        "let \(owner) send to \(packet.source) first, or set filtering = \"endpoint-independent\"",
        index.map { PlanReference(.masquerade($0), "filtering") })
    }
    survey.rule = index.map { PlanReference(.masquerade($0)) }
    survey.pass(
      .filtering, "the mapping of \(owner) lets \(isFromOutside ? "\(packet.source)" : "inside hosts") in", survey.rule)
    surveyWay6(packet, rules.draft(key, from: packet.source, to: inside, line.insidePort)?.hop, &survey)
  }

  private func mayUse(_ mapping: UInt32, _ remote: IPv6Address) -> Bool {
    switch flows.mappings[mapping].filtering {
    case .endpointIndependent: return true
    case .addressAndPortDependent: return false
    case .addressDependent: break
    }
    var session = flows.firstSession(mapping)
    while session != 0 {
      if flows.isSession(session, of: mapping, with: remote, at: clock.tick), isLive(session) { return true }
      session = flows.nextSession(session)
    }
    return false
  }

  // MARK: Refused

  private func surveyRefused6(_ packet: Packet6, _ reason: DropReason, _ survey: inout Survey) {
    if isForUs(packet, reason), packet.kind == FlowKind.echoRequest, let owner = own6[packet.destination],
      interfaces[owner].answersEcho,
      interfaces[packet.ingress].isOutside == interfaces[owner].isOutside
        || !interfaces[packet.ingress].isOutside
    {
      return survey.pass(.session, "a ping for \(name(owner)), which answers", PlanReference(.interface(owner), "ping"))
    }
    var reason = reason
    if isForUs(packet, reason), let owner = own6[packet.destination] {
      let isCrossed = interfaces[packet.ingress].isOutside && !interfaces[owner].isOutside
      reason = isCrossed ? .insideFromOutside : .toUs
    }
    guard reason.rawValue < DropReason.ttlExceeded.rawValue || packet.header.hopLimit > 1 else {
      return surveyHopLimit(packet, &survey)
    }
    switch reason {
    case .noRoute: return surveyNoRoute("\(packet.destination)", &survey)
    case .noForward, .notAllowed, .hairpinOff: surveyCandidates6(packet, winner: nil, &survey)
    default: break
    }
    survey.stop(Self.stage(of: reason), reason, refused6(packet, reason))
    switch reason {
    case .noForward where survey.candidates.isEmpty:
      survey.remedy(
        "add a [[forward]] with "
          + (own6[packet.destination] == nil
            ? "to = \"\(packet.destination)\"" : "external = \"\(packet.destination)\" and an IPv6 target"))
    case .toUs where packet.kind == FlowKind.echoRequest:
      if let owner = own6[packet.destination] {
        survey.remedy("set ping = true", PlanReference(.interface(owner), "ping"))
      }
    case .insideFromOutside: survey.remedy("send it to the address that is translated to this one")
    default: break
    }
  }

  func refused6(_ packet: Packet6, _ reason: DropReason) -> String {
    let (source, destination) = (packet.source, packet.destination)
    switch reason {
    case .icmpUnmatched: return "an echo reply that answers no request of a live session"
    case .untranslatable: return "a prefix translation has no counterpart for \(source) or \(destination) (RFC 6296)"
    case .insideFromOutside: return "\(destination) is an inside address, which nobody outside knows"
    case .outsideToOutside: return "\(destination) is reached through an outside interface as well"
    case .noForward: return "no forward lets \(describe(packet)) in"
    case .notAllowed: return "the forward that takes \(describe(packet)) does not allow \(source)"
    case .hairpinOff: return "the forward that takes \(describe(packet)) has hairpin = false"
    case .toUs: return "\(destination) is our own address, and nothing listens there"
    case .unknownProtocol: return "\(describe(packet)) is not translated"
    case .noRoute: return "no prefix, [[route]] or gateway leads to \(destination)"
    default: return reason.explanation
    }
  }

  // MARK: Forwards

  /// Every forward with an IPv6 side that comes near.
  private func surveyCandidates6(_ packet: Packet6, winner: Int?, _ survey: inout Survey) {
    let service = Self.service(packet.kind, packet.key, packet.chain.ipProtocol)
    let takes = winner.flatMap { plan.forwards[$0].pinhole }.map { "takes \(service) to \($0.target)" }
    let six = plan.forwards.indices.filter { plan.forwards[$0].pinhole != nil }
    surveyCandidates(
      among: six, winner: winner.map { ($0, takes ?? "") }, misses: { misses(packet, $0) }, &survey)
  }

  private func misses(_ packet: Packet6, _ index: Int) -> [Miss] {
    let forward = plan.forwards[index]
    guard let six = forward.pinhole else { return [] }
    var list: [Miss] = []
    let place = six.external ?? six.target
    if place != packet.destination {
      let key = six.external == nil ? "to" : "external"
      list.append(("it is for \(place), not \(packet.destination)", key, "name \(packet.destination)"))
    }
    if interfaces[packet.ingress].isOutside, forward.interface != packet.ingress {
      list.append(
        ("it stands on \(name(forward.interface)), not \(name(packet.ingress))", "on", "name \(name(packet.ingress))"))
    }
    let ports = six.external == nil ? six.ports : six.spans.map(\.ports)
    list += missesOfService(packet.kind, packet.key, forward, six.protocols, ports)
    if list.isEmpty, !six.allows(packet.source) {
      list.append(("it does not allow \(packet.source)", "allow", "let \(packet.source) use it"))
    }
    return list
  }
}
