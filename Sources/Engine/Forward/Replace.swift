// New rules in the place of the old ones, between two bursts.
extension Core {
  /// After so many replacements every session is reviewed at once: half of what signed difference can tell.
  private static var reviewedGenerations: UInt16 { 1 << 14 }

  /// Takes the new rules over and returns the old ones. Interfaces, links and capacity are the same in both.
  ///
  /// What cannot wait is settled here: ports that forwards reserve, and static neighbours. Sessions are reviewed later,
  /// each before it is used again.
  mutating func replace(_ new: Rules) throws(PlanError) -> Rules {
    // Side lines are there from the start, or not at all.
    guard flows.tables.region.layout.hasIPv6 || !new.plan.hasIPv6 else { throw .tooMany("IPv6 addresses") }
    guard flows.tables.region.layout.hasHelpers || !new.plan.hasHelpers else { throw .tooMany("helpers") }
    // What all workers share, the first one settles.
    if flows.worker == 0 {
      guard flows.pools.assign(new.pooledAddresses) else { throw .tooMany("new outside addresses") }
    } else {
      flows.pools.refresh()
    }
    let old = rules
    rules = new
    generation &+= 1
    flows.quarantine = new.timeouts.quarantine
    exchangeTriggers()
    if flows.worker == 0 {
      exchangeReserved(old.reserved, new.reserved)
      exchangeNeighbors(old.plan.neighbors, new.plan.neighbors)
      exchangeNeighbors(old.plan.neighbors6, new.plan.neighbors6)
      // Generations come round: none may be left that is too old to be told from a new one.
      if generation % Self.reviewedGenerations == 0 { reviewAll() }
    }
    pass.sessionsLeft = flows.sessions.highWater
    pass.mappingsLeft = flows.mappings.highWater
    return old
  }

  /// Nobody but a forward has its ports: a mapping that stands on one is cut.
  mutating func exchangeReserved(_ old: ReservedPorts, _ new: ReservedPorts) {
    for (place, words) in old.inOrder {
      guard let pool = flows.pools.pool(of: place.address) else { continue }
      let kept = new.bitmaps[place]
      Self.forEachPort(words, without: kept) { flows.pools.giveBack(pool, place.ipProtocol, $0) }
    }
    for (place, words) in new.inOrder {
      guard let pool = flows.pools.pool(of: place.address) else { continue }
      Self.forEachPort(words, without: old.bitmaps[place]) { port in
        if flows.pools.isTaken(pool, place.ipProtocol, port),
          let mapping = flows.mappings.find(
            outside: MappingTable.outsideKey(
              address: place.address, port: port.bigEndian, ipProtocol: place.ipProtocol))
        {
          cut(mapping: mapping)
        }
        flows.pools.take(pool, place.ipProtocol, port)
      }
    }
  }

  private static func forEachPort(_ words: [UInt64], without others: [UInt64]?, _ body: (UInt16) -> Void) {
    for (index, word) in words.enumerated() {
      var left = word & ~(others?[index] ?? 0)
      while left != 0 {
        body(UInt16(truncatingIfNeeded: index * 64 + left.trailingZeroBitCount))
        left &= left &- 1
      }
    }
  }

  private mutating func exchangeNeighbors(_ old: [NeighborPlan], _ new: [NeighborPlan]) {
    locked { $0.exchangeNeighborsLocked(old, new) }
  }

  private mutating func exchangeNeighborsLocked(_ old: [NeighborPlan], _ new: [NeighborPlan]) {
    for neighbor in old where !new.contains(neighbor) {
      guard !interfaces[neighbor.interface].isRawIP,
        let place = adjacencies.find(
          egress: UInt16(truncatingIfNeeded: neighbor.interface), address: neighbor.address.wire)
      else { continue }
      adjacencies[place].state = AdjacencyState.unknown
    }
    for neighbor in new where !old.contains(neighbor) {
      let hop = RouteTable.Hop(interface: neighbor.interface, address: neighbor.address)
      guard !interfaces[neighbor.interface].isRawIP, let place = adjacency(to: hop) else { continue }
      // Whatever waits for it goes out now.
      resolve(place, neighbor.mac.raw)
      adjacencies[place].state = AdjacencyState.permanent
    }
  }
}

/// The ports that forwards have for themselves: a bitmap of 65,536 bits for each address and protocol.
struct ReservedPorts {
  struct Place: Hashable {
    /// Raw.
    var address: UInt32
    var ipProtocol: UInt8
  }

  private(set) var bitmaps: [Place: [UInt64]] = [:]

  /// Always the same order: what is cut first has an influence on which places are used next.
  var inOrder: [(key: Place, value: [UInt64])] {
    bitmaps.sorted { ($0.key.address, $0.key.ipProtocol) < ($1.key.address, $1.key.ipProtocol) }
  }

  /// Adds those of other addresses.
  mutating func add(_ others: ReservedPorts) { bitmaps.merge(others.bitmaps) { own, _ in own } }

  mutating func insert(_ address: UInt32, _ ipProtocol: UInt8, _ ports: PortRange) {
    var words =
      bitmaps.removeValue(forKey: Place(address: address, ipProtocol: ipProtocol))
      ?? [UInt64](repeating: 0, count: 1024)
    for port in Int(ports.first)...Int(ports.last) { words[port / 64] |= 1 &<< UInt64(port % 64) }
    bitmaps[Place(address: address, ipProtocol: ipProtocol)] = words
  }
}

// MARK: - From outside

/// What new rules would make of a live session.
public struct SessionForecast: Sendable {
  public enum Fate: String, Sendable, CaseIterable { case kept, retargeted, cut }

  public var session: SessionReport
  public var fate: Fate
}

extension Forwarder {
  /// Takes over new rules between two bursts and returns the old ones, which the caller releases. The outbox of the call
  /// before is gone with it.
  ///
  /// - Parameter rules: of a plan with the same interfaces (but for addresses, gateways, `ping`, `unsolicited`), mode and
  ///   capacity.
  /// - Throws: and nothing has changed.
  public mutating func replace(_ rules: Rules) throws(PlanError) -> Rules {
    core.pointee.begin()
    return try core.pointee.replace(rules)
  }

  /// Places of the session table that were ever used: what `forecast` goes through.
  public var sessionPlaces: Int { Int(core.pointee.flows.sessions.highWater) }

  /// What new rules would make of the live sessions in `places`; nothing is changed.
  public func forecast(under rules: Rules, places: Range<Int>) -> [SessionForecast] {
    var forecasts: [SessionForecast] = []
    for place in places.clamped(to: 1..<max(1, sessionPlaces)) where core.pointee.isLive(UInt32(place)) {
      let fate: SessionForecast.Fate =
        switch rules.fate(of: UInt32(place), in: core.pointee.flows) {
        case .kept: .kept
        case .retargeted: .retargeted
        case .cut: .cut
        }
      forecasts.append(SessionForecast(session: report(UInt32(place)), fate: fate))
    }
    return forecasts
  }

  /// The live session of this identity.
  public func session(identity: UInt64) -> SessionReport? {
    place(of: identity).map { report($0) }
  }

  private func place(of identity: UInt64) -> UInt32? {
    let core = core
    return (1..<max(1, UInt32(sessionPlaces))).first {
      UInt64(core.pointee.flows.sessions.common($0).identity) == identity && core.pointee.isLive($0)
    }
  }

  /// Cuts the live session of this identity: TCP ends are told by a reset when they send next. False where there is none.
  public mutating func cut(identity: UInt64) -> Bool {
    guard let place = place(of: identity) else { return false }
    core.pointee.cut(place)
    return true
  }
}
