/// The triggers, compiled: outside endpoint -> trigger, and what sessions ask for.
struct TriggerTable {
  private let inbound: PortTable
  /// By index of the plan.
  let askings: [Asking]

  /// - Parameter masquerades: whose outside addresses they are opened on.
  init(_ plan: Plan, _ masquerades: UnsafeBufferPointer<MasqueradeRule>) {
    askings = plan.triggers.map { trigger in
      Asking(
        key: Self.key(trigger, from: plan.interfaces[trigger.from].name),
        interface: UInt16(truncatingIfNeeded: trigger.from), ipProtocols: trigger.ipProtocols, ports: trigger.when,
        duration: TickTimeouts.ticks(trigger.seconds))
    }
    var maker = PortTableMaker()
    for (rule, trigger) in plan.triggers.enumerated() {
      for masquerade in masquerades where masquerade.from == trigger.from {
        for address in masquerade.addresses {
          for ipProtocol in trigger.ipProtocols {
            for ports in trigger.open {
              maker.insert(
                address, PortPools.portClass(ipProtocol), ports: ports, rule: rule, target: ports.first,
                isParallel: true, replacing: false)
            }
          }
        }
      }
    }
    inbound = maker.table()
  }

  func release() { inbound.release() }

  var isEmpty: Bool { askings.isEmpty }

  /// The trigger that has an outside endpoint (raw) among those that it opens.
  func find(_ address: UInt32, _ ipProtocol: UInt8, _ port: UInt16) -> Int? {
    guard !isEmpty, ipProtocol == IPProtocol.tcp || ipProtocol == IPProtocol.udp else { return nil }
    return inbound.find(address, PortPools.portClass(ipProtocol), port.bigEndian)?.rule
  }

  /// What a trigger is, as a number: all but how long it stays open and who wins may not change while it is open. FNV-1a,
  /// which is the same in every process.
  private static func key(_ trigger: TriggerPlan, from interface: String) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    for text in [trigger.name, interface] {
      for byte in text.utf8 { add(byte) }
      add(0)
    }
    add(trigger.protocols.rawValue)
    for ranges in [trigger.when, trigger.open] {
      for range in ranges {
        for port in [range.first, range.last] {
          add(UInt8(truncatingIfNeeded: port &>> 8))
          add(UInt8(truncatingIfNeeded: port))
        }
      }
      // Port 0 is none.
      add(0)
      add(0)
    }
    return max(hash, 1)
  }
}

extension TriggerPlan {
  /// - Parameter port: raw.
  func isAsked(by ipProtocol: UInt8, _ port: UInt16) -> Bool {
    ipProtocols.contains(ipProtocol)
      && when.contains { $0.first <= port.bigEndian && port.bigEndian <= $0.last }
  }

  var ipProtocols: [UInt8] {
    (protocols.contains(.tcp) ? [IPProtocol.tcp] : []) + (protocols.contains(.udp) ? [IPProtocol.udp] : [])
  }
}

/// Ports that a mapping may get by chance: the pools without what triggers open. Whoever has a trigger open gets those
/// where it sends from them itself.
struct DrawRanges {
  /// For each masquerade, and last for whom none applies: those of TCP, of UDP and of echo, which has no ports to open.
  private let ranges: UnsafeBufferPointer<UnsafeBufferPointer<PortRange>>

  init(_ pools: [[PortRange]], without triggers: [TriggerPlan]) {
    let copies = pools.flatMap { pool in
      [ForwardPlan.Protocols.tcp, .udp, []].map { kept in
        let held = triggers.filter { !$0.protocols.isDisjoint(with: kept) }.flatMap(\.open)
        let left = held.reduce(pool) { left, hole in left.flatMap { $0.without(hole) } }
        return UnsafeBufferPointer(copying: left)
      }
    }
    ranges = UnsafeBufferPointer(copying: copies)
  }

  func release() {
    for range in ranges { range.deallocate() }
    ranges.deallocate()
  }

  /// - Parameter masquerade: its index; nil where none applies.
  func of(_ masquerade: Int?, _ ipProtocol: UInt8) -> UnsafeBufferPointer<PortRange> {
    let pool = masquerade ?? ranges.count / PortPools.classes &- 1
    return ranges[pool &* PortPools.classes &+ PortPools.portClass(ipProtocol)]
  }
}

extension PortRange {
  fileprivate func without(_ hole: PortRange) -> [PortRange] {
    guard hole.first <= last, first <= hole.last else { return [self] }
    var parts: [PortRange] = []
    if first < hole.first { parts.append(PortRange(first, hole.first &- 1)) }
    if last > hole.last { parts.append(PortRange(hole.last &+ 1, last)) }
    return parts
  }
}
