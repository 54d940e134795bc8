// Invariants G1-G7 over whole captures, judged from outside: what went in, what came out, and the counters.

/// A frame of a capture.
package struct CapturedBytes: Sendable {
  package var bytes: [UInt8]
  /// Nanoseconds.
  package var time: UInt64
  /// The name of the interface.
  package var interface: String

  package init(_ bytes: [UInt8], time: UInt64, interface: String) {
    self.bytes = bytes
    self.time = time
    self.interface = interface
  }
}

/// Pairs the frames that left with those that came, and says what is wrong with each pair and with the whole.
///
/// Nothing of the engine is asked: a frame that left is the one that came with the same bytes, apart from what a
/// translator may change. A frame that pairs with none must be one that the gateway made itself.
package struct Invariants {
  /// The gateway's own addresses, forwarded ones included: who sends what it makes itself.
  package var ownAddresses: Set<Host>
  /// Prefixes of masqueraded networks, as first and last address.
  package var hidden: [ClosedRange<Host>]
  /// Names of the interfaces that hidden addresses must not leave by.
  package var outside: Set<String>
  /// Names of interfaces whose frames begin with an IP header.
  package var rawIP: Set<String> = []

  package init(ownAddresses: Set<Host>, hidden: [ClosedRange<Host>], outside: Set<String>) {
    self.ownAddresses = ownAddresses
    self.hidden = hidden
    self.outside = outside
  }

  /// What `check` found.
  package struct Finding {
    /// Frames that came and left: index into the input, and into the output.
    package var pairs: [(input: Int, output: Int)] = []
    /// Indexes of frames that left and never came.
    package var made: [Int] = []
    package var problems: [String] = []
  }

  /// - Parameters:
  ///   - inputs: in the order in which they were judged.
  ///   - outputs: in the order in which they left, for each interface.
  package func check(inputs: [CapturedBytes], outputs: [CapturedBytes]) -> Finding {
    var finding = Finding()
    let came = inputs.map { Trace(Decoded($0.bytes, isRawIP: rawIP.contains($0.interface))) }
    var waiting: [[UInt8]: [Int]] = [:]
    for (index, trace) in came.enumerated() {
      if let mark = trace?.mark { waiting[mark, default: []].append(index) }
    }
    for (index, output) in outputs.enumerated() {
      let decoded = Decoded(output.bytes, isRawIP: rawIP.contains(output.interface))
      checkAddresses(decoded, on: output.interface, &finding)
      let trace = Trace(decoded)
      // G4: each frame that came is used up by the one that left.
      let candidates = trace.flatMap { waiting[$0.mark] } ?? []
      let possible = candidates.indices.filter { inputs[candidates[$0]].time <= output.time }
      // Frames may be equal but for what may change: of those the one that fits is meant.
      if let trace, let place = possible.first(where: { compare(came[candidates[$0]]!, trace) == [] }) ?? possible.first
      {
        let input = candidates[place]
        waiting[trace.mark]!.remove(at: place)
        finding.pairs.append((input, index))
        finding.problems += compare(came[input]!, trace).map { "\($0)\n in: \(came[input]!.frame)\nout: \(decoded)" }
      } else {
        finding.made.append(index)
        if let problem = problem(made: decoded) { finding.problems.append("\(problem): \(decoded)") }
      }
    }
    finding.problems += orderProblems(finding.pairs, came, inputs, outputs)
    return finding
  }

  // MARK: One frame

  /// G3: no address of a masqueraded network leaves, in quotes neither.
  private func checkAddresses(_ frame: Decoded, on interface: String, _ finding: inout Finding) {
    guard outside.contains(interface) else { return }
    let headers = [frame.ip, frame.quote?.ip].compactMap { $0 }
    for host in headers.flatMap({ [$0.source, $0.destination] }) where hidden.contains(where: { $0.contains(host) }) {
      finding.problems.append("G3: \(host) leaves \(interface): \(frame)")
    }
  }

  /// What the gateway makes is right throughout, and sent by itself.
  private func problem(made frame: Decoded) -> String? {
    if frame.arp != nil { return nil }
    guard let ip = frame.ip, frame.icmp != nil else { return "G4: left and never came" }
    guard ownAddresses.contains(ip.source) else { return "G4: made under a foreign address" }
    if let problem = (frame.checksumProblems().first { !$0.hasPrefix("quoted") }) { return "G1: \(problem)" }
    return nil
  }

  /// G1 and G2 of a frame that came and left.
  private func compare(_ before: Trace, _ after: Trace) -> [String] {
    guard let old = before.frame.ip, let new = after.frame.ip else { return ["G2: no IP header"] }
    var problems: [String] = []
    if !InternetChecksum.isValid(after.frame.bytes[after.frame.ipHeader]) {
      problems.append("G1: IPv4 header checksum")
    }
    if new.ttl != old.ttl &- 1 { problems.append("G2: TTL \(old.ttl) became \(new.ttl)") }
    if after.frame.trailer != 0 { problems.append("G2: \(after.frame.trailer) bytes of trailer") }
    if before.error != after.error {
      problems.append("G1: transport checksum off by \(before.error as Any), then by \(after.error as Any)")
    }
    if (before.frame.udp?.checksum == 0) != (after.frame.udp?.checksum == 0) { problems.append("G1: UDP zero") }
    if before.quoteError != after.quoteError { problems.append("G1: checksum in the quote") }
    return problems
  }

  /// G6: within a flow and direction, frames leave in the order in which they came.
  private func orderProblems(
    _ pairs: [(input: Int, output: Int)], _ came: [Trace?], _ inputs: [CapturedBytes], _ outputs: [CapturedBytes]
  ) -> [String] {
    struct Flow: Hashable {
      var ends: [Peer?]
      var ipProtocol: UInt8?
      var interfaces: [String]
    }
    var last: [Flow: Int] = [:]
    var problems: [String] = []
    for pair in pairs {
      let frame = came[pair.input]!.frame
      let flow = Flow(
        ends: [frame.source, frame.destination], ipProtocol: frame.ip?.ipProtocol,
        interfaces: [inputs[pair.input].interface, outputs[pair.output].interface])
      if let before = last[flow], before > pair.input {
        problems.append("G6: frame \(pair.input + 1) left after frame \(before + 1): \(frame)")
      }
      last[flow] = pair.input
    }
    return problems
  }
}

/// What a translator leaves alone in a frame, and by how much its checksums are off.
private struct Trace {
  let frame: Decoded
  /// The datagram with everything that may change set to zero.
  let mark: [UInt8]

  /// nil for what is no whole IPv4 datagram.
  init?(_ frame: Decoded) {
    guard let ip = frame.ip, frame.problems.isEmpty || ip.fragmentOffset > 0 else { return nil }
    self.frame = frame
    var bytes = Array(frame.bytes[frame.ipHeader.lowerBound..<frame.body.upperBound])
    Self.blank(&bytes, at: 0)
    mark = bytes
  }

  /// IP ID, TTL, header checksum, addresses; ports and transport checksum; the same in a quote.
  private static func blank(_ bytes: inout [UInt8], at start: Int) {
    func clear(_ offset: Int, _ count: Int) {
      for index in bytes.indices.clamped(to: offset..<offset + count) { bytes[index] = 0 }
    }
    guard start + 20 <= bytes.count else { return }
    let header = Int(bytes[start] & 15) * 4
    let isFirst = bytes.big16(start + 6) & 0x1FFF == 0
    let body = start + header
    clear(start + 4, 2)
    clear(start + 8, 1)
    clear(start + 10, 10)
    guard isFirst, body < bytes.count else { return }
    switch bytes[start + 9] {
    case 6:
      clear(body, 4)
      clear(body + 16, 2)
    case 17:
      clear(body, 4)
      clear(body + 6, 2)
    case 1:
      clear(body + 2, 2)
      switch bytes[body] {
      case 0, 8: clear(body + 4, 2)
      case 3, 4, 5, 11, 12: if start == 0 { blank(&bytes, at: body + 8) }
      default: break
      }
    default: break
    }
  }

  /// By how much the transport checksum is off; nil where there is none, or not all that it covers.
  var error: UInt16? { Self.error(frame) }

  /// The same for what an ICMP error quotes: of a part, the sum of all that may change in it, the rest being equal.
  var quoteError: [UInt16?]? {
    guard let quote = frame.quote, let ip = quote.ip else { return nil }
    let header = Self.folded(quote.bytes[quote.ipHeader])
    if quote.body.count == ip.totalLength - quote.ipHeader.count { return [header, Self.error(quote)] }
    let body = quote.bytes[quote.body]
    let hasChecksum = ip.ipProtocol == 17 ? quote.udp?.checksum != 0 : ip.ipProtocol == 6 && body.count >= 18
    guard hasChecksum else { return [header, nil] }
    return [header, Self.folded(ip.source.bytes + ip.destination.bytes + body)]
  }

  private static func error(_ frame: Decoded) -> UInt16? {
    guard let ip = frame.ip, !ip.isFragment else { return nil }
    let body = frame.bytes[frame.body]
    if frame.icmp != nil { return folded(body) }
    guard frame.tcp != nil || frame.udp.map({ $0.checksum != 0 }) == true else { return nil }
    // UDP states its length a second time; what lies behind it is not summed.
    let covered = body.prefix(frame.udp.map { max(8, $0.length) } ?? body.count)
    let pseudo = InternetChecksum.pseudoHeader(
      from: ip.source, to: ip.destination, protocol: ip.ipProtocol, length: covered.count)
    return folded(pseudo + covered)
  }

  /// Zero has two forms.
  private static func folded(_ bytes: some Sequence<UInt8>) -> UInt16 {
    let sum = InternetChecksum.sum(bytes)
    return sum == 0xFFFF ? 0 : sum
  }
}
