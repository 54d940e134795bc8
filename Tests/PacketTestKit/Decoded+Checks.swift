// Checksums summed again from the first byte on, and frames as text.

extension Decoded {
  /// Every checksum in the frame that is not what a full summation gives; empty if all are right.
  ///
  /// - Parameter isPartial: the transport field must hold the uncomplemented pseudo-header sum instead.
  package func checksumProblems(isPartial: Bool = false) -> [String] {
    if let ip6 { return checksumProblems6(ip6, isPartial: isPartial) }
    guard let ip else { return [] }
    var found: [String] = []
    if !InternetChecksum.isValid(bytes[ipHeader]) {
      found.append(Self.wrong("IPv4", ip.checksum, expected(zeroing: 10)))
    }
    guard !ip.isFragment, ipHeader.upperBound - ipHeader.lowerBound <= ip.totalLength,
      body.count == ip.totalLength - ipHeader.count
    else { return found }
    let pseudo = InternetChecksum.pseudoHeader(
      from: ip.source, to: ip.destination, protocol: ip.ipProtocol, length: body.count)
    if isPartial {
      let field = tcp?.checksum ?? udp?.checksum ?? 0
      let sum = InternetChecksum.sum(pseudo)
      if field != sum { found.append(Self.wrong("partial transport", field, sum)) }
    } else if let tcp, !InternetChecksum.isValid(pseudo + bytes[body]) {
      found.append(Self.wrong("TCP", tcp.checksum, transportChecksum(pseudo, at: 16)))
    } else if let udp, udp.checksum != 0, !InternetChecksum.isValid(pseudo + bytes[body].prefix(max(8, udp.length))) {
      found.append(Self.wrong("UDP", udp.checksum, transportChecksum(pseudo, at: 6)))
    } else if let icmp, !InternetChecksum.isValid(bytes[body]) {
      found.append(Self.wrong("ICMP", icmp.checksum, transportChecksum([], at: 2)))
    }
    return found + quoteProblems
  }

  /// What is wrong with the checksums inside an ICMP error's quote; the transport's only where all of it is quoted.
  package var quoteProblems: [String] {
    guard let quote, quote.ip != nil else { return [] }
    return quote.checksumProblems().map { "quoted " + $0 }
  }

  private static func wrong(_ what: String, _ actual: UInt16, _ right: UInt16) -> String {
    "\(what) checksum is \(hex(actual, digits: 4)), summed again \(hex(right, digits: 4))"
  }

  private func expected(zeroing offset: Int) -> UInt16 {
    var header = Array(bytes[ipHeader])
    header.replaceSubrange(offset..<offset + 2, with: [0, 0])
    return InternetChecksum.of(header)
  }

  private func transportChecksum(_ pseudo: [UInt8], at offset: Int) -> UInt16 {
    var part = Array(bytes[body])
    part.replaceSubrange(offset..<offset + 2, with: [0, 0])
    return InternetChecksum.of(pseudo + part)
  }
}

extension Decoded: CustomStringConvertible {
  /// Every field with its name, in the order of the wire.
  package var fields: [(name: String, value: String)] {
    var list: [(String, String)] = []
    if let ethernet {
      list.append(("ethernet destination", "\(ethernet.destination)"))
      list.append(("ethernet source", "\(ethernet.source)"))
      list.append(("tags", ethernet.tags.map(\.description).joined(separator: " ")))
      list.append(("ethertype", hex(ethernet.etherType, digits: 4)))
    }
    if let arp {
      list.append(("arp operation", "\(arp.operation)"))
      list.append(("arp sender", "\(arp.sender) \(arp.senderHost)"))
      list.append(("arp target", "\(arp.target) \(arp.targetHost)"))
    }
    if let ip6 {
      list.append(("ip6 source", "\(ip6.source)"))
      list.append(("ip6 destination", "\(ip6.destination)"))
      list.append(("ip6 class and label", hex(ip6.trafficClassAndLabel, digits: 7)))
      list.append(("ip6 length", "\(ip6.totalLength)"))
      list.append(("ip6 hop limit", "\(ip6.hopLimit)"))
      list.append(("ip6 protocol", "\(ip6.ipProtocol)"))
      list.append(("ip6 extensions", Self.dump(ip6.extensions)))
    }
    if let ip {
      list.append(("ip source", "\(ip.source)"))
      list.append(("ip destination", "\(ip.destination)"))
      list.append(("ip tos", hex(ip.typeOfService, digits: 2)))
      list.append(("ip length", "\(ip.totalLength)"))
      list.append(("ip id", "\(ip.identification)"))
      list.append(("ip fragment", "\(ip.fragmentOffset)\(ip.moreFragments ? "+" : "")\(ip.dontFragment ? " DF" : "")"))
      list.append(("ip ttl", "\(ip.ttl)"))
      list.append(("ip protocol", "\(ip.ipProtocol)"))
      list.append(("ip options", Self.dump(ip.options)))
      list.append(("ip checksum", "\(hex(ip.checksum, digits: 4))"))
    }
    return list + transportFields + [("trailer", "\(trailer)")]
  }

  private var transportFields: [(name: String, value: String)] {
    if let tcp {
      return [
        ("tcp ports", "\(tcp.sourcePort) > \(tcp.destinationPort)"),
        ("tcp sequence", "\(tcp.sequence)"), ("tcp acknowledgment", "\(tcp.acknowledgment)"),
        ("tcp flags", "\(tcp.flags)"), ("tcp window", "\(tcp.window)"),
        ("tcp options", Self.dump(tcp.options)), ("tcp checksum", hex(tcp.checksum, digits: 4)),
        ("payload", Self.dump(tcp.payload)),
      ]
    }
    if let udp {
      return [
        ("udp ports", "\(udp.sourcePort) > \(udp.destinationPort)"), ("udp length", "\(udp.length)"),
        ("udp checksum", hex(udp.checksum, digits: 4)), ("payload", Self.dump(udp.payload)),
      ]
    }
    if let icmp {
      return [
        ("icmp type", "\(icmp.type)/\(icmp.code)"), ("icmp rest", hex(icmp.rest, digits: 8)),
        ("icmp checksum", hex(icmp.checksum, digits: 4)), ("payload", Self.dump(icmp.payload)),
      ] + (quote.map { $0.fields.map { ("quoted " + $0.name, $0.value) } } ?? [])
    }
    return ip == nil && ip6 == nil ? [] : [("payload", Self.dump(Array(bytes[body])))]
  }

  package var description: String {
    guard ip != nil || ip6 != nil || arp != nil || ethernet != nil else {
      return Self.dump(bytes) + " (\(problems.joined(separator: "; ")))"
    }
    let shown = fields.filter { !$0.value.isEmpty }.map { "\($0.name) \($0.value)" }.joined(separator: ", ")
    return shown + (problems.isEmpty ? "" : " (\(problems.joined(separator: "; ")))")
  }

  /// One line for each field in which `actual` is not `expected`.
  package static func differences(expected: Decoded, actual: Decoded) -> [String] {
    guard expected.bytes != actual.bytes else { return [] }
    let wanted = expected.fields
    let found = actual.fields
    var lines = zip(wanted, found).filter { $0 != $1 }.map { "\($0.name): expected \($0.value), actual \($1.value)" }
    if wanted.count != found.count || lines.isEmpty {
      lines.append("bytes: expected \(dump(expected.bytes)), actual \(dump(actual.bytes))")
    }
    return lines
  }

  static func dump(_ bytes: [UInt8]) -> String {
    let shown = bytes.prefix(96).map { hex($0, digits: 2) }.joined()
    return bytes.count > 96 ? shown + "... (\(bytes.count) bytes)" : shown
  }
}
