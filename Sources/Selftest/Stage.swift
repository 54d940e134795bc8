import Engine

/// A plan made playable without devices, and one engine that plays it from the beginning.
struct Stage: ~Copyable {
  /// What became of one datagram.
  struct Outcome {
    var verdict: Verdict
    var reason: DropReason
    /// What left because of it, forwarded or made.
    var left: [(interface: Int, datagram: Datagram)]

    /// The datagram itself, where it was forwarded.
    var forwarded: (interface: Int, datagram: Datagram)? { verdict == .forward ? left.first : nil }
    /// What an answer to a dropped datagram says.
    var answer: Datagram? { verdict == .forward ? nil : left.first?.datagram }
  }

  private static let epoch: UInt64 = 1_000_000_000_000
  private static let headroom = Forwarder.headroom

  private let plan: Plan
  private var forwarder: Forwarder
  private(set) var now = 0.0

  /// - Parameter plan: prepared.
  init(_ plan: Plan) throws(PlanError) {
    self.plan = plan
    forwarder = try Forwarder(plan: plan, links: plan.interfaces.indices.map { [$0] }, seed: 1, clock: Self.epoch)
  }

  var liveSessions: Int { Int(forwarder.sessionCounts.live) }

  /// Sends a datagram into an interface, at a time in seconds from the beginning.
  mutating func send(_ datagram: Datagram, into interface: Int, at time: Double? = nil) -> Outcome {
    now = max(now, time ?? now)
    let home = plan.interfaces[interface]
    let sender = MACAddress(0x02_0B_00_00_00_01)
    let link = home.link == .ethernet ? Self.ethernet(home.mac ?? sender, sender) : []
    let frame = link + datagram.bytes
    let memory = UnsafeMutableRawPointer.allocate(byteCount: Self.headroom + frame.count, alignment: 64)
    defer { memory.deallocate() }
    let start = memory + Self.headroom
    start.copyMemory(from: frame, byteCount: frame.count)
    var slot = FrameSlot(
      bytes: start, length: frame.count, headroom: Self.headroom, link: interface,
      time: Self.epoch + UInt64(now * 1e9))
    forwarder.process(&slot, count: 1)
    var left = forwarder.outbox.compactMap { self.left(Int($0.egress), $0.bytes, Int($0.length)) }
    if slot.verdict == .forward, let frame = self.left(Int(slot.egress), slot.bytes, Int(slot.length)) {
      left.insert(frame, at: 0)
    }
    return Outcome(verdict: slot.verdict, reason: slot.reason, left: left)
  }

  /// Lets time pass and returns what leaves because of it.
  mutating func advance(to time: Double) -> [Datagram] {
    now = max(now, time)
    forwarder.advance(to: Self.epoch + UInt64(now * 1e9))
    return forwarder.outbox.compactMap { left(Int($0.egress), $0.bytes, Int($0.length))?.datagram }
  }

  private static func ethernet(_ destination: MACAddress, _ source: MACAddress) -> [UInt8] {
    let addresses = [destination, source].flatMap { address in
      stride(from: 40, through: 0, by: -8).map { UInt8(truncatingIfNeeded: address.value >> UInt64($0)) }
    }
    return addresses + [8, 0]
  }

  private func left(_ egress: Int, _ bytes: UnsafeMutableRawPointer, _ length: Int)
    -> (interface: Int, datagram: Datagram)?
  {
    let frame = Array(UnsafeRawBufferPointer(start: bytes, count: length))
    let home = plan.interfaces[egress]
    let header = home.link == .rawIP ? 0 : 14 + 4 * home.tags.count
    guard frame.count >= header + 28, frame[header] == 0x45 else { return nil }
    return (egress, Datagram(Array(frame[header...])))
  }
}

extension Plan {
  /// This plan without its devices: no tags on the way in, a MAC, an MTU and an address where the device would give
  /// one, and every neighbour known.
  ///
  /// - Parameter hosts: who must be reachable besides the next hops.
  func prepared(hosts: [IPv4Address]) -> Plan {
    var plan = self
    plan.workers = 1
    plan.sessions = Swift.min(sessions, 16_384)
    for index in plan.interfaces.indices {
      plan.interfaces[index].mac = interfaces[index].mac ?? MACAddress(0x02_0A_00_00_00_00 + UInt64(index))
      plan.interfaces[index].mtu = interfaces[index].mtu ?? 1500
      // Each interface is a link of its own here, so tags tell nothing.
      plan.interfaces[index].tags = []
    }
    let hops =
      interfaces.flatMap(\.gateways) + routes.map(\.via) + forwards.filter { !$0.protocols.isEmpty }.map(\.target)
      + hosts
    for address in Set(hops) where !neighbors.contains(where: { $0.address == address }) {
      guard let home = plan.connected(address) else { continue }
      let mac = MACAddress(0x02_0C_00_00_00_00 + UInt64(address.value))
      plan.neighbors.append(NeighborPlan(address: address, mac: mac, interface: home))
    }
    return plan
  }

  /// This plan with an address where the device would give one: 10.77.N.1 inside, 203.0.113.N outside.
  func addressed() -> Plan {
    var plan = self
    for index in interfaces.indices where interfaces[index].addresses.isEmpty {
      let isInside = interfaces[index].role == .inside
      let number = UInt8(truncatingIfNeeded: index + 1)
      plan.interfaces[index].addresses = [
        isInside
          ? IPv4Prefix(IPv4Address(10, 77, number, 1), length: 24)
          : IPv4Prefix(IPv4Address(203, 0, 113, number), length: 24)
      ]
      if !isInside, plan.interfaces[index].gateways.isEmpty {
        plan.interfaces[index].gateways = [IPv4Address(203, 0, 113, 254)]
      }
    }
    for index in forwards.indices where forwards[index].isOnInterface {
      plan.forwards[index].externals = plan.interfaces[forwards[index].interface].addresses.map(\.address)
    }
    return plan
  }

  /// The interface that a host is directly behind.
  func connected(_ host: IPv4Address) -> Int? {
    interfaces.firstIndex { interface in
      interface.addresses.contains { $0.contains(host) && $0.address != host }
    }
  }

  /// The interface that leads to a host: the longest prefix wins.
  func way(to host: IPv4Address) -> Int? {
    var best: (interface: Int, length: Int)?
    func offer(_ interface: Int, _ length: Int) { if length > best?.length ?? -1 { best = (interface, length) } }
    for (index, interface) in interfaces.enumerated() {
      for prefix in interface.addresses where prefix.contains(host) { offer(index, Int(prefix.length)) }
    }
    for route in routes where route.destination.contains(host) {
      offer(route.interface, Int(route.destination.length))
    }
    for (index, interface) in interfaces.enumerated() where !interface.gateways.isEmpty { offer(index, 0) }
    return best?.interface
  }
}
