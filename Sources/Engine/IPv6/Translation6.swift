/// Forwards that stand at an IPv6 address of ours. Their ports are in the tables of IPv4's, where a number stands for each
/// address.
struct Translation6 {
  private let table: ForwardTable
  private let numbers: [IPv6Address: UInt32]
  /// Addresses of ours that something is translated at.
  private let externals: Set<IPv6Address>

  init(_ plan: Plan) {
    var numbers: [IPv6Address: UInt32] = [:]
    func number(_ address: IPv6Address) -> IPv4Address {
      let next = UInt32(numbers.count + 1)
      let known = numbers[address, default: next]
      numbers[address] = known
      return IPv4Address(wire: known)
    }
    var externals = Set(plan.masquerades.compactMap(\.external6))
    var shadow = plan
    for (rule, forward) in plan.forwards.enumerated() {
      guard forward.isEnabled, let six = forward.pinhole, let external = six.external else {
        shadow.forwards[rule].isEnabled = false
        continue
      }
      externals.insert(external)
      shadow.forwards[rule].protocols = six.protocols
      shadow.forwards[rule].spans = six.spans
      shadow.forwards[rule].isOnInterface = false
      shadow.forwards[rule].externals = [number(external)]
      shadow.forwards[rule].target = number(six.target)
    }
    table = ForwardTableMaker(shadow).table()
    self.numbers = numbers
    self.externals = externals
  }

  func release() { table.release() }

  var isEmpty: Bool { externals.isEmpty }

  /// Whether something is translated at an address of ours.
  func isAt(_ address: IPv6Address) -> Bool { externals.contains(address) }

  /// The rule for an outside endpoint, and the target port; `port` in host order.
  func find(_ address: IPv6Address, _ ipProtocol: UInt8, _ port: UInt16) -> PortTable.Entry? {
    numbers[address].flatMap {
      table.find($0, ipProtocol == ICMPv6.number ? IPProtocol.icmp : ipProtocol, port)
    }
  }

  /// The rule whose target this inside endpoint is, and the outside port that it sends from.
  func findOutbound(_ address: IPv6Address, _ ipProtocol: UInt8, _ port: UInt16) -> PortTable.Entry? {
    numbers[address].flatMap { table.findOutbound($0, ipProtocol, port) }
  }

  /// A port (host order) that a forward has, which no other session may send from.
  func isReserved(_ address: IPv6Address, _ ipProtocol: UInt8, _ port: UInt16) -> Bool {
    ipProtocol != ICMPv6.number && find(address, ipProtocol, port) != nil
  }
}

/// Which source port a session may have.
struct PortChoice6 {
  /// The packet's own will do, if no session answers to it yet.
  var keepsOwn: Bool
  /// Others, less those of forwards; empty for none.
  var pool: UnsafeBufferPointer<PortRange>
}

extension Rules {
  /// Whether a port (host order) may be the source of what a draft describes.
  func allows(_ port: UInt16, _ draft: Draft6, of key: FlowKey) -> Bool {
    if port == key.sourcePort.bigEndian { return draft.choice.keepsOwn }
    return draft.choice.pool.contains { $0.first <= port && port <= $0.last }
      && !translation6.isReserved(draft.source, key.ipProtocol, port)
  }

  /// The client's own port where it is in the pool and no forward has it, else another one there.
  func choice(_ key: FlowKey, at address: IPv6Address, from pool: UnsafeBufferPointer<PortRange>) -> PortChoice6 {
    let port = key.sourcePort.bigEndian
    return PortChoice6(
      keepsOwn: pool.contains { $0.first <= port && port <= $0.last }
        && !translation6.isReserved(address, key.ipProtocol, port), pool: pool)
  }
}

extension Core {
  private static let portTries: UInt64 = 1024

  /// Settles a draft's source port so that the reply tuple is nobody else's; false where there is none. A new one is drawn
  /// at random: of the wanted port's class and parity first (RFC 4787 REQ-3a, REQ-4), then any.
  mutating func settlePort(_ draft: inout Draft6, _ key: FlowKey, _ kind: UInt8) -> Bool {
    if draft.choice.keepsOwn, !isTaken(replyKey(key, draft)) { return true }
    let pool = draft.choice.pool
    let count = pool.reduce(0) { $0 &+ UInt64($1.count) }
    guard kind != FlowKind.other, count > 0 else { return false }
    let wanted = key.sourcePort.bigEndian
    var random = SplitMix64(state: flows.sessions.secret.hash(replyKey(key, draft)))
    for round in 0..<2 &* Self.portTries {
      var rest = random.next() % count
      var port: UInt16 = 0
      for range in pool {
        port = range.first &+ UInt16(truncatingIfNeeded: rest)
        if rest < UInt64(range.count) { break }
        rest &-= UInt64(range.count)
      }
      let isAlike = port & 1 == wanted & 1 && (port < 1024) == (wanted < 1024)
      guard isAlike || round >= Self.portTries, port != 0, port != wanted, rules.allows(port, draft, of: key) else {
        continue
      }
      draft.ports = draft.ports & 0xFFFF_0000 | UInt32(port.bigEndian)
      if !isTaken(replyKey(key, draft)) { return true }
    }
    return false
  }
}
