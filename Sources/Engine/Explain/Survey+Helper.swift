// What a helper makes of a packet.
extension Core {
  func surveyHelper(_ packet: Packet, _ flow: UInt32, _ survey: inout Survey) {
    let helper = flows.helper(flow &>> 1)
    let side = helper.side(Int(flow & 1))
    let segment = HelpedSegment(packet)
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
    let mtu = survey.hop.map { Int(interfaces[$0.interface].mtu) } ?? 0
    while let line = lines.next() {
      surveyLine(
        FTPLine(segment.payload + line.lowerBound, count: line.count, isReply: flow & 1 == 1), segment, flow, mtu,
        &survey)
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
      let own = flows.sessions.flow(flow)
      let address = IPv4Address(wire: endpoint.address ?? own.key.source)
      if let refusal = refusal(of: endpoint, segment, by: flow, mtu: mtu) {
        survey.pass(.session, "helper ftp: \(address):\(endpoint.port) stays as it is: \(refusal)")
      } else if needsOpening(flow) {
        let peer = IPv4Address(wire: flows.sessions.flow(flow ^ 1).key.source)
        survey.pass(
          .session,
          "helper ftp: \(address):\(endpoint.port) is told as a port of \(IPv4Address(wire: own.newSource)), open for \(peer)"
        )
      } else {
        survey.pass(.session, "helper ftp: \(address):\(endpoint.port) is reached as it is")
      }
    }
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
