// Triggers in an explanation: who has them, for how long, and what a packet from inside does to them.
extension Core {
  /// Every trigger that comes near, and why it lost or won. The host (raw) that the packet goes to, if one won.
  func surveyTriggers(_ packet: Packet, _ mapping: UInt32?, _ survey: inout Survey) -> UInt32? {
    let key = packet.key
    let exact = rules.triggers.find(key.destination, key.ipProtocol, key.destinationPort)
    for index in plan.triggers.indices where index != exact {
      guard let (text, name) = onlyMiss(packet, plan.triggers[index]) else { continue }
      tell(Explanation.Candidate(rule: .trigger(index), won: false, text: text, key: name), &survey)
    }
    guard let exact else { return nil }
    let rule = plan.triggers[exact]
    let service = Self.service(packet)
    guard let opening = openings[exact] else {
      let text = "closed: no host of \(name(rule.from)) has sent to \(ports(rule.when)) for \(rule.seconds) s"
      tell(Explanation.Candidate(rule: .trigger(exact), won: false, text: text, key: "when"), &survey)
      survey.remedy(
        "let a host of \(name(rule.from)) send to \(ports(rule.when)) first, or add a [[forward]] for what is always open",
        PlanReference(.trigger(exact), "when"))
      return nil
    }
    let left = "\(opening.owner) has it, and for \(opening.remaining / 1_000_000_000) s more"
    guard rules.serves(exact, opening.owner.wire, at: key.destination, flows.sessions.secret) else {
      let text = "\(left), but is not known by \(packet.destination)"
      tell(Explanation.Candidate(rule: .trigger(exact), won: false, text: text, key: nil), &survey)
      return nil
    }
    guard givesWay(mapping, to: opening.owner.wire, key.destinationPort) else {
      let text = "\(left), but \(service) belongs to a mapping for as long as that lives"
      tell(Explanation.Candidate(rule: .trigger(exact), won: false, text: text, key: nil), &survey)
      return nil
    }
    let text = "takes \(service) to \(opening.owner): \(left)"
    tell(Explanation.Candidate(rule: .trigger(exact), won: true, text: text, key: nil), &survey)
    survey.rule = PlanReference(.trigger(exact))
    return opening.owner.wire
  }

  private func tell(_ candidate: Explanation.Candidate, _ survey: inout Survey) {
    guard survey.candidates.count < Self.mostCandidates else { return }
    survey.candidates.append(candidate)
    survey.pass(
      .forward, "\(title(candidate.rule)) \(candidate.won ? "" : "does not: ")\(candidate.text)",
      PlanReference(candidate.rule, candidate.key))
  }

  /// In what a trigger and a packet differ, if it is one thing, and the key that says so.
  private func onlyMiss(_ packet: Packet, _ trigger: TriggerPlan) -> (text: String, key: String)? {
    var misses: [(text: String, key: String)] = []
    let port = packet.key.destinationPort.bigEndian
    if rules.masquerade(from: trigger.from, as: packet.key.destination) == nil {
      misses.append(("no host of \(name(trigger.from)) is known by \(packet.destination)", "from"))
    }
    if !trigger.ipProtocols.contains(packet.key.ipProtocol) {
      misses.append(("it is for another protocol", "protocol"))
    }
    if !trigger.open.contains(where: { $0.first <= port && port <= $0.last }) {
      misses.append(("it opens \(ports(trigger.open)), not \(port)", "open"))
    }
    return misses.count == 1 ? misses[0] : nil
  }

  /// What a packet from inside does to the triggers that it asks for.
  func surveyAsking(_ packet: Packet, isNew: Bool, _ survey: inout Survey) {
    let key = packet.key
    for (index, trigger) in plan.triggers.enumerated()
    where trigger.from == packet.ingress && trigger.isAsked(by: key.ipProtocol, key.destinationPort) {
      let title = title(.trigger(index))
      let text: String
      var name = "when"
      if let opening = openings[index], opening.owner != packet.source {
        let left = "\(opening.owner) has it, for \(opening.remaining / 1_000_000_000) s more"
        name = "conflict"
        text =
          trigger.conflict == .steal && isNew
          ? "\(title) is taken from \(opening.owner), for \(trigger.seconds) s" : "\(title) is not opened: \(left)"
      } else {
        text = "\(title) is open for \(packet.source) from now on, for \(trigger.seconds) s"
      }
      survey.pass(.forward, text, PlanReference(.trigger(index), name))
    }
  }

  private func ports(_ ranges: [PortRange]) -> String {
    let list = ranges.prefix(6).map { $0.first == $0.last ? "\($0.first)" : "\($0.first)-\($0.last)" }
    return list.joined(separator: ", ") + (ranges.count > 6 ? ", ..." : "")
  }
}
