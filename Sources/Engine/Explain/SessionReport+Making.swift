extension Core {
  /// A session in use, copied out.
  func report(_ session: UInt32) -> SessionReport {
    let table = flows.sessions
    let common = table.common(session)
    let seen = clock.time(of: table.lastSeen(session))
    let due = clock.time(of: table.deadline(session))
    return SessionReport(
      identity: UInt64(common.identity), ipProtocol: table.flow(session << 1).key.ipProtocol,
      state: SessionState.name(common.state), origin: origin(session).report,
      original: direction(session << 1), reply: direction(session << 1 | 1), helper: helperReport(session),
      idle: clock.now - min(seen, clock.now), remaining: due - min(due, clock.now))
  }

  private func helperReport(_ session: UInt32) -> SessionReport.Helper? {
    guard flows.sessions.flow(session << 1).kind == FlowKind.helped else { return nil }
    let helper = flows.helper(session)
    return SessionReport.Helper(
      name: Helper.ftp.rawValue, originalShift: Int32(bitPattern: helper.side(0).after),
      replyShift: Int32(bitPattern: helper.side(1).after))
  }

  private func direction(_ flow: UInt32) -> SessionReport.Direction {
    let line = flows.sessions.flow(flow)
    let key = line.key
    let sides = flows.sessions.sides
    let (source, destination) =
      key.isIPv6
      ? (IPAddress.v6(sides.source(flow)), IPAddress.v6(sides.destination(flow)))
      : (.v4(IPv4Address(wire: key.source)), .v4(IPv4Address(wire: key.destination)))
    return SessionReport.Direction(
      source: SessionEnd(source, key.sourcePort.bigEndian),
      destination: SessionEnd(destination, key.destinationPort.bigEndian),
      interface: Int(key.scope), packets: line.packets, bytes: line.byteCount)
  }
}
