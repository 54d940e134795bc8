// What a helper makes of a packet.
extension Core {
  /// - Parameter mtu: of the way that its flow has.
  func surveyHelper(_ segment: HelpedSegment, _ flow: UInt32, mtu: Int, _ survey: inout Survey) {
    let helper = flows.helper(flow &>> 1)
    let side = helper.side(Int(flow & 1))
    guard admits(segment, side) else {
      let isCut = side.overlap(segment.sequence, segment.end) != .none
      survey.stop(
        .session, .helperOrder,
        isCut
          ? "has a part of a text that helper ftp has changed: its sender sends the whole again"
          : "helper ftp reads in order, and what lies in front of it has not come yet: its sender sends it again")
      return
    }
    let shift = Int32(bitPattern: side.after)
    survey.pass(
      .session,
      side.has(HelperLine.reads)
        ? "helper ftp reads it; its numbers are shifted by \(shift)"
        : "helper ftp does not read it any more; its numbers are shifted by \(shift)")
    guard !segment.hasSYN, var lines = lines(segment, side) else { return }
    while let line = lines.next() {
      surveyLine(
        FTPLine(
          segment.payload + line.lowerBound, count: line.count, isReply: flow & 1 == 1, isIPv6: segment.isIPv6),
        segment, flow, mtu, &survey)
    }
    if lines.isInLine { survey.pass(.session, "helper ftp: a line that goes on in another segment is not read") }
  }

  private func surveyLine(
    _ line: FTPLine, _ segment: HelpedSegment, _ flow: UInt32, _ mtu: Int, _ survey: inout Survey
  ) {
    switch line {
    case .other: return
    case .asks: survey.pass(.session, "helper ftp: the client asks its server for an endpoint")
    case .securing: survey.pass(.session, "helper ftp: the client asks for encryption")
    case .secured: survey.pass(.session, "helper ftp: from here on it is encrypted, and not read")
    case .malformed: survey.pass(.session, "helper ftp: an endpoint that is not written to the letter stays as it is")
    case .names(let endpoint):
      let named = SessionEnd(endpoint.address ?? flows.source(flow), endpoint.port)
      if let refusal = refusal(of: endpoint, segment, by: flow, mtu: mtu) {
        survey.pass(.session, "helper ftp: \(named) stays as it is: \(refusal)")
      } else if needsOpening(flow) {
        survey.pass(
          .session,
          "helper ftp: \(named) is told as a port of \(flows.newSource(flow)), open for \(flows.source(flow ^ 1))")
      } else {
        survey.pass(.session, "helper ftp: \(named) is reached as it is")
      }
    }
  }

  /// The same over IPv6.
  func surveyExpected6(_ packet: Packet6, _ survey: inout Survey) -> RouteTable6.Hop? {
    guard flows.helps, packet.kind == FlowKind.tcp, Self.isSYN(packet.tcpFlags), let expected = expected(packet) else {
      return nil
    }
    let end = SessionEnd(.v6(expected.inside), expected.insidePort.bigEndian)
    survey.pass(.filtering, "helper ftp expects it: \(end) was announced to \(packet.source)")
    return routes6.find(expected.inside)
  }

  /// Where a helper expects the session that this packet begins.
  func surveyExpected(_ packet: Packet, _ survey: inout Survey) -> RouteTable.Hop? {
    guard flows.helps, packet.kind == FlowKind.tcp, Self.isSYN(packet.tcpFlags),
      let mapping = flows.expectedMapping(packet.key, at: clock.tick)
    else { return nil }
    let line = flows.mappings[mapping]
    survey.pass(
      .filtering,
      "helper ftp expects it: \(IPv4Address(wire: line.insideAddress)):\(line.insidePort.bigEndian) was announced to \(packet.source)"
    )
    return routes.find(IPv4Address(wire: line.insideAddress))
  }
}
