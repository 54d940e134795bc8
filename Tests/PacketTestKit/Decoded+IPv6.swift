// IPv6 frames taken apart like those of IPv4.

extension Decoded {
  package struct IP6: Sendable, Equatable {
    package var source: Host6
    package var destination: Host6
    package var trafficClassAndLabel: UInt32
    package var hopLimit: UInt8
    /// Of the datagram, header included.
    package var totalLength: Int
    /// What stands behind all extension headers.
    package var ipProtocol: UInt8
    /// The bytes of the extension headers.
    package var extensions: [UInt8]
    package var isFragment: Bool
    package var isFirst: Bool
  }

  /// Source and destination with their ports.
  package var ends6: (source: (Host6, UInt16), destination: (Host6, UInt16))? {
    ip6.map {
      (
        ($0.source, tcp?.sourcePort ?? udp?.sourcePort ?? 0),
        ($0.destination, tcp?.destinationPort ?? udp?.destinationPort ?? 0)
      )
    }
  }

  mutating func readIP6(_ offset: Int) -> Bool {
    guard bytes.count >= offset + 40 else { return fail("no room for an IPv6 header") }
    let header = bytes[offset...]
    guard header.first! >> 4 == 6 else { return fail("IP version \(header.first! >> 4)") }
    let total = 40 + Int(header.big16(4))
    if offset + total > bytes.count { _ = fail("total length \(total), \(bytes.count - offset) bytes") }
    let end = min(bytes.count, offset + total)
    var (next, at) = (header[offset + 6], offset + 40)
    var (isFragment, isFirst) = (false, true)
    // Hop-by-hop, routing, destination options (RFC 8200 section 4.1), and the fragment header, which is 8 bytes long.
    while [0, 43, 44, 60].contains(next), isFirst {
      guard at + 8 <= end else { return fail("cut inside the extension headers") }
      if next == 44 {
        isFragment = true
        isFirst = bytes[at...].big16(2) & 0xFFF8 == 0
      }
      (next, at) = (bytes[at], at + (next == 44 ? 8 : 8 + 8 * Int(bytes[at + 1])))
    }
    guard at <= end else { return fail("extension headers of \(at - offset - 40) bytes") }
    ipHeader = offset..<at
    body = at..<end
    trailer = max(0, bytes.count - offset - total)
    ip6 = IP6(
      source: Host6(bytes: header.dropFirst(8).prefix(16)), destination: Host6(bytes: header.dropFirst(24).prefix(16)),
      trafficClassAndLabel: header.big32(0) & 0x0FFF_FFFF, hopLimit: header[offset + 7], totalLength: total,
      ipProtocol: next, extensions: Array(bytes[offset + 40..<at]), isFragment: isFragment, isFirst: isFirst)
    return isFirst
  }

  /// What is wrong with the transport's checksum, which is the only one there is (RFC 8200 section 8.1).
  func checksumProblems6(_ ip: IP6, isPartial: Bool) -> [String] {
    guard !ip.isFragment, body.count == ip.totalLength - ipHeader.count else { return [] }
    // A routing header leads elsewhere in the end: its last address is the one that is summed.
    if ip.extensions.count > 0, bytes[ipHeader.lowerBound + 6] == 43 { return [] }
    let pseudo =
      ip.source.bytes + ip.destination.bytes + big(UInt32(body.count)) + [0, 0, 0, ip.ipProtocol]
    if isPartial {
      let field = tcp?.checksum ?? udp?.checksum ?? 0
      let sum = InternetChecksum.sum(pseudo)
      return field == sum ? [] : ["partial transport checksum is \(field), the pseudo-header's sum \(sum)"]
    }
    guard tcp != nil || udp != nil || ip.ipProtocol == 58, !InternetChecksum.isValid(pseudo + bytes[body]) else {
      return []
    }
    return ["transport checksum of protocol \(ip.ipProtocol) is wrong"]
  }
}
