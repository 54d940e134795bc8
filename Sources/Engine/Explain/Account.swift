// What the engine did, held against what the survey had found: the verdict is the engine's.
extension Core {
  @inline(never)
  func account(for survey: Survey, _ slot: UnsafeMutablePointer<FrameSlot>) -> Explanation {
    var account = Explanation()
    account.time = clock.now
    account.steps = survey.steps
    account.candidates = survey.candidates
    account.otherForwards = survey.otherForwards
    account.ingress = survey.ingress
    account.verdict = slot.pointee.verdict
    account.reason = slot.pointee.reason
    account.foreseen = survey.foreseen
    account.remedies = survey.remedies
    account.session = session(of: survey)
    if slot.pointee.verdict == .forward || slot.pointee.verdict == .split {
      account.egress = Int(slot.pointee.egress)
    }
    account.nextHop = survey.hop.map { nextHop($0) } ?? survey.hop6.map { nextHop($0) }
    if account.verdict == .drop {
      concludeDrop(&account)
    } else {
      conclude(&account, survey)
    }
    return account
  }

  /// The packet's session as it stands now.
  private func session(of survey: Survey) -> Explanation.Session? {
    let kind = survey.packet?.kind ?? survey.packet6?.kind
    guard let kind, kind != FlowKind.free, let key = survey.key, let flow = liveFlow(key) else {
      // An ICMP error is about a session and belongs to none.
      return survey.session.map { Explanation.Session(report: $0, isNew: false, isReply: true, answers: 0) }
    }
    let now = report(flow &>> 1)
    let isReply = flow & 1 == 1
    let before = survey.session
    return Explanation.Session(
      report: now, isNew: before == nil, isReply: isReply,
      answers: before.map { isReply ? $0.original.packets : $0.reply.packets } ?? 0)
  }

  private func nextHop(_ hop: RouteTable.Hop) -> Explanation.NextHop {
    let isPlain = interfaces[hop.interface].isRawIP
    let place = adjacencies.find(
      egress: UInt16(truncatingIfNeeded: hop.interface), address: isPlain ? 0 : hop.address.wire)
    return nextHop(hop.interface, .v4(hop.address), place, route(to: hop))
  }

  func nextHop(
    _ interface: Int, _ address: IPAddress, _ place: UInt16?, _ reference: PlanReference?
  ) -> Explanation.NextHop {
    let adjacency = place.map { adjacencies[$0] }
    let hasAddress = !interfaces[interface].isRawIP && adjacency?.hasLinkAddress == true
    return Explanation.NextHop(
      interface: interface, address: address,
      mac: hasAddress ? adjacency.map { MACAddress(raw: $0.line.rawMAC(0)) } : nil,
      state: AdjacencyState.name(adjacency?.state ?? AdjacencyState.unknown), reference: reference)
  }

  // MARK: Conclusions

  /// A drop: the cause's name, its sentence, and the rung that stopped it where the survey could not foresee it.
  private func concludeDrop(_ account: inout Explanation) {
    let reason = account.reason
    account.cause = reason.name
    if account.foreseen != reason {
      account.steps.removeAll { $0.isStop }
      account.remedies = []
      account.steps.append(
        Explanation.Step(stage: Self.stage(of: reason), isStop: true, text: reason.explanation, reference: nil))
      addRemedy(for: reason, &account)
    }
    let why = account.steps.last { $0.isStop }?.text ?? reason.explanation
    account.conclusion = "dropped (\(reason.name)): \(why)"
  }

  /// What helps against causes that only trying shows.
  private func addRemedy(for reason: DropReason, _ account: inout Explanation) {
    func add(_ text: String, _ part: PlanReference.Part, _ key: String? = nil) {
      account.remedies.append(Explanation.Remedy(text: text, reference: PlanReference(part, key)))
    }
    switch reason {
    case .tableFull:
      add("raise sessions (\(flows.sessions.places.capacity) now), or lower the timeouts", .engine, "sessions")
    case .sessionLimit:
      add("raise sessions-per-host (\(rules.limits.sessionsPerHost) now)", .limits, "sessions-per-host")
    case .portLimit: add("raise ports-per-host (\(rules.limits.portsPerHost) now)", .limits, "ports-per-host")
    case .halfOpenLimit: add("raise half-open (\(rules.limits.halfOpen) now)", .limits, "half-open")
    case .noPort:
      let index = account.ingress.flatMap { ingress in masquerades.firstIndex { $0.from == ingress } }
      if let index { add("give the masquerade more ports", .masquerade(index), "ports") }
    case .noNeighbor, .neighborQueueFull:
      if let hop = account.nextHop {
        account.remedies.append(
          Explanation.Remedy(
            text: "see that \(hop.address) is up and on \(name(hop.interface))", reference: hop.reference))
      }
    default: break
    }
  }

  static func stage(of reason: DropReason) -> Explanation.Stage {
    switch reason {
    case .sessionLimit, .halfOpenLimit, .portLimit, .noPort, .tableFull, .insertContention, .outboxFull: .limits
    case .noNeighbor, .neighborQueueFull, .neighborTableFull, .egressFull, .egressError: .neighbor
    case .ttlExceeded: .ttl
    case .fragmentationNeeded: .mtu
    case .noRoute, .noMasquerade, .insideFromOutside, .outsideToOutside: .route
    case .notAllowed, .filtered, .hairpinOff: .filtering
    case .noForward, .triggerClosed: .forward
    case .martian: .martian
    default: .transport
    }
  }

  private func conclude(_ account: inout Explanation, _ survey: Survey) {
    switch account.verdict {
    case .hold where survey.isLaterPiece:
      account.cause = "piece-waiting"
      account.conclusion = "held: it waits for the first piece of its datagram, or for its next hop"
    case .hold:
      account.cause = "next-hop-silent"
      let hop = account.nextHop.map { "\($0.address) on \(name($0.interface))" } ?? "its next hop"
      let way = survey.hop6 == nil ? "ARP" : "neighbour solicitations"
      account.conclusion = "held: \(hop) has not answered \(way) yet"
      account.steps.append(
        Explanation.Step(
          stage: .neighbor, isStop: true, text: "\(hop) is being asked for; after 3 s without an answer: no-neighbor",
          reference: account.nextHop?.reference))
      account.remedies.append(
        Explanation.Remedy(
          text: "see that \(hop) is up and that this is the right next hop, or add a [[neighbor]] for it",
          reference: account.nextHop?.reference))
    case .consume:
      account.cause = "consumed"
      account.conclusion = "for ourselves: \(survey.steps.last?.text ?? "answered or noted")"
    case .pass:
      account.cause = "passed"
      account.conclusion = "left to the host's own stack"
    case .forward, .split: concludeForward(&account)
    case .none, .drop: break
    }
  }

  private func concludeForward(_ account: inout Explanation) {
    if let hop = account.nextHop {
      account.steps.append(
        Explanation.Step(
          stage: .neighbor, isStop: false,
          text: "\(hop.address) is \(hop.mac.map { "\($0)" } ?? "on the link") (\(hop.state))",
          reference: nil))
    }
    let way = account.egress.map { "by \(name($0))" } ?? ""
    guard let session = account.session else {
      account.cause = "routed"
      account.conclusion = "routed \(way), untranslated"
      return
    }
    account.cause = "forwarded"
    account.conclusion = "forwarded \(way) by \(session.isNew ? "a new session" : "session \(session.report.identity)")"
    let sent = session.isReply ? session.report.reply.packets : session.report.original.packets
    guard !session.isNew, !session.isReply, session.answers == 0, sent > 1 else { return }
    account.cause = "target-silent"
    account.conclusion += ", and \(sent) packets of it have had no answer"
    let target = session.report.reply.source
    account.remedies = [
      Explanation.Remedy(
        text: "see that something listens at \(target) and that its firewall lets it in", reference: nil),
      Explanation.Remedy(
        text: "see that its answers come back through this gateway; where its default route is elsewhere, "
          + "source = \"gateway\" makes them", reference: reference(session.report.origin)),
    ]
  }
}

extension AdjacencyState {
  static func name(_ state: UInt8) -> String {
    switch state {
    case asking: "asking"
    case resolved: "resolved"
    case probing: "probing"
    case permanent: "permanent"
    default: "unknown"
    }
  }
}
