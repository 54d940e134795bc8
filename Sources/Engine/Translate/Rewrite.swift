/// Runs a flow's precomputed rewrite on a packet.
enum Rewrite {
  /// Where the transport checksum stands, from the transport header's first byte.
  @inline(__always)
  static func checksumOffset(_ kind: UInt8) -> Int {
    kind == FlowKind.tcp
      ? TCPHeader.checksumOffset : kind == FlowKind.udp ? UDPHeader.checksumOffset : ICMPHeader.checksumOffset
  }

  /// Addresses, ports or identifier, TTL and both checksums. `isPartial`: the transport checksum is an unfinished
  /// pseudo-header sum (CHECKSUM_PARTIAL), which ports are no part of.
  @inline(__always)
  static func apply(
    _ flow: FlowLine, kind: UInt8, ip: UnsafeMutableRawPointer, transport: UnsafeMutableRawPointer, isPartial: Bool
  ) {
    applyNetwork(flow, ip)
    applyTransport(flow, kind: kind, transport: transport, isPartial: isPartial)
  }

  /// Addresses, TTL and header checksum.
  @inline(__always)
  static func applyNetwork(_ flow: FlowLine, _ ip: UnsafeMutableRawPointer) {
    ip.putRaw(flow.newAddresses, IPv4Header.sourceOffset)
    ip.put(ip.byte(IPv4Header.ttlOffset) &- 1, IPv4Header.ttlOffset)
    ip.putRaw(
      Checksum.adjust(ip.raw16(IPv4Header.checksumOffset), by: flow.headerDelta), IPv4Header.checksumOffset)
  }

  /// Ports or identifier, and the checksum over them; the same for both families.
  @inline(__always)
  static func applyTransport(_ flow: FlowLine, kind: UInt8, transport: UnsafeMutableRawPointer, isPartial: Bool) {
    if kind == FlowKind.udp {
      applyUDP(flow, transport, isPartial: isPartial)
    } else if kind == FlowKind.tcp {
      applyTCP(flow, transport, isPartial: isPartial)
    } else {
      applyEcho(flow, kind: kind, transport)
    }
  }

  @inline(__always)
  static func applyUDP(_ flow: FlowLine, _ udp: UnsafeMutableRawPointer, isPartial: Bool) {
    udp.putRaw(flow.newPorts, 0)
    let checksum = udp.raw16(UDPHeader.checksumOffset)
    udp.putRaw(
      isPartial
        ? Checksum.adjustPartial(checksum, by: flow.networkDelta)
        : Checksum.adjustUDP(checksum, by: flow.transportDelta),
      UDPHeader.checksumOffset)
  }

  @inline(__always)
  static func applyTCP(_ flow: FlowLine, _ tcp: UnsafeMutableRawPointer, isPartial: Bool) {
    tcp.putRaw(flow.newPorts, 0)
    let checksum = tcp.raw16(TCPHeader.checksumOffset)
    tcp.putRaw(
      isPartial
        ? Checksum.adjustPartial(checksum, by: flow.networkDelta)
        : Checksum.adjust(checksum, by: flow.transportDelta),
      TCPHeader.checksumOffset)
  }

  @inline(__always)
  static func applyEcho(_ flow: FlowLine, kind: UInt8, _ icmp: UnsafeMutableRawPointer) {
    let identifier = kind == FlowKind.echoRequest ? flow.newSourcePort : flow.newDestinationPort
    icmp.putRaw(identifier, ICMPHeader.identifierOffset)
    icmp.putRaw(
      Checksum.adjust(icmp.raw16(ICMPHeader.checksumOffset), by: flow.transportDelta), ICMPHeader.checksumOffset)
  }

  /// Addresses, TTL and header checksum: for what has no ports, and later pieces of what has.
  static func applyAddresses(_ flow: FlowLine, _ header: IPv4Header) {
    header.start.putRaw(flow.newAddresses, IPv4Header.sourceOffset)
    header.start.putRaw(
      Checksum.adjust(header.start.raw16(IPv4Header.checksumOffset), by: flow.networkDelta), IPv4Header.checksumOffset)
    header.takeHop()
  }

  /// Fills in what the flow's packets become, with the deltas of that change.
  static func prepare(_ flow: FlowLine, kind: UInt8, key: FlowKey, to new: FlowKey) {
    flow.key = key
    flow.kind = kind
    flow.newAddresses = new.addresses
    flow.newPorts = new.ports
    let network = Checksum.combine(
      Checksum.delta(key.source, new.source), Checksum.delta(key.destination, new.destination))
    let ports = Checksum.combine(
      Checksum.delta(key.sourcePort, new.sourcePort), Checksum.delta(key.destinationPort, new.destinationPort))
    flow.networkDelta = network
    // The ICMP checksum covers no pseudo-header (RFC 792).
    flow.transportDelta = kind >= FlowKind.echoRequest ? ports : Checksum.combine(network, ports)
  }
}
