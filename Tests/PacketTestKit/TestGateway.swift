import Engine
import Testing

/// A gateway for tests: the engine with buffers, a clock in seconds and a watch over its laws.
///
/// After every step the conservation law, the writes outside the frames and the checksums of everything that left are
/// checked; a violation is recorded as an issue at the caller's line.
package final class TestGateway {
  package private(set) var plan: Plan
  /// Seconds since the gateway began.
  package private(set) var now: Double
  private var forwarder: Team
  private let workers: Int
  private let linkOf: [Int]
  private var tally = Tally()
  private var region = UnsafeMutableRawBufferPointer(start: nil, count: 0)

  /// The engine's first instant, in nanoseconds.
  package static let epoch: UInt64 = 1_700_000_000_000_000_000

  /// Interfaces of one device share a link, like VLANs on one port.
  ///
  /// - Parameters:
  ///   - boot: gives the engine's tables memory that outlives it, see `restarted`.
  ///   - start: seconds since the first gateway began.
  package init(
    _ plan: Plan, seed: UInt64 = 0, boot: BootIdentity? = nil, from start: Double = 0, workers: Int? = nil
  ) throws {
    self.plan = plan
    self.workers = workers ?? Team.usualCount
    now = start
    var devices: [String] = []
    var links: [[Int]] = []
    var linkOf: [Int] = []
    for (index, interface) in plan.interfaces.enumerated() {
      if let known = devices.firstIndex(of: interface.device) {
        links[known].append(index)
        linkOf.append(known)
      } else {
        devices.append(interface.device)
        links.append([index])
        linkOf.append(links.count - 1)
      }
    }
    self.linkOf = linkOf
    var store: RegionStore?
    if let boot {
      let bytes = try Forwarder.regionBytes(for: plan)
      region = .allocate(byteCount: bytes, alignment: 4096)
      region.initializeMemory(as: UInt8.self, repeating: 0)
      store = RegionStore(memory: region.baseAddress!, boot: boot)
    }
    forwarder = try Team(
      plan: plan, links: links, seed: seed, clock: Self.nanoseconds(start), store: store,
      workers: self.workers)
  }

  deinit { region.deallocate() }

  /// What a process that is killed now leaves behind. The caller's to deallocate.
  package var regionCopy: UnsafeMutableRawBufferPointer {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: region.count, alignment: 4096)
    copy.copyMemory(from: UnsafeRawBufferPointer(region))
    return copy
  }

  /// Another engine, with what this one leaves if it is killed now.
  ///
  /// - Parameters:
  ///   - pause: seconds until it starts.
  ///   - workers: nil for as many as before.
  package func restarted(
    _ plan: Plan, boot: BootIdentity, downFor pause: Double = 0, workers: Int? = nil
  ) throws -> (TestGateway, AdoptionReport) {
    let copy = regionCopy
    defer { copy.deallocate() }
    let saved = try SavedRegion(copy, boot: boot)
    let next = try TestGateway(plan, seed: saved.seed, boot: boot, from: now + pause, workers: workers ?? self.workers)
    return (next, next.adopt(saved))
  }

  package func adopt(_ saved: SavedRegion) -> AdoptionReport { forwarder.adopt(saved) }

  /// One frame for `burst`.
  package struct Arrival {
    package var bytes: [UInt8]
    package var interface: String
    /// Seconds; nil is now.
    package var time: Double?
    /// TPID and TCI that the kernel stripped, 0 for none.
    package var tag: UInt32 = 0
    package var offload = OffloadHeader()

    package init(_ bytes: [UInt8], on interface: String, at time: Double? = nil) {
      self.bytes = bytes
      self.interface = interface
      self.time = time
    }
  }

  /// What became of one frame, and every frame that left in the same step.
  package struct Outcome {
    package var verdict: Verdict
    package var reason: DropReason
    /// The frame itself, where it was forwarded.
    package var forwarded: Emitted?
    /// Frames that the engine made or released, in order.
    package var made: [Emitted]
    let gateway: TestGateway
    let input: Decoded
  }

  /// A frame that left.
  package struct Emitted {
    package var interface: String
    package var bytes: [UInt8]
    /// Seconds since the gateway began.
    package var time: Double
    package var offload: OffloadHeader
    package var decoded: Decoded
  }

  /// A whole burst: outcome of each frame, and everything that left, in the order of the wire.
  package struct BurstOutcome {
    package var outcomes: [Outcome]
    package var emitted: [Emitted]
  }

  // MARK: Steps

  /// Sends one packet into the gateway; Ethernet addresses and tags that are not set become those of the interface.
  @discardableResult
  package func receive(
    _ packet: Packet, on interface: String, at time: Double? = nil, tag: UInt32 = 0,
    offload: OffloadHeader = OffloadHeader(), sourceLocation: SourceLocation = #_sourceLocation
  ) -> Outcome {
    var arrival = Arrival(addressed(packet, on: interface).bytes, on: interface, at: time)
    arrival.tag = tag
    arrival.offload = offload
    return burst([arrival], sourceLocation: sourceLocation).outcomes[0]
  }

  /// Sends the bytes as they are.
  @discardableResult
  package func receive(
    bytes: [UInt8], on interface: String, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) -> Outcome {
    burst([Arrival(bytes, on: interface, at: time)], sourceLocation: sourceLocation).outcomes[0]
  }

  /// Sends several packets as one burst.
  @discardableResult
  package func burst(
    _ packets: [(Packet, on: String)], at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) -> BurstOutcome {
    burst(
      packets.map { Arrival(addressed($0.0, on: $0.on).bytes, on: $0.on, at: time) }, sourceLocation: sourceLocation)
  }

  @discardableResult
  package func burst(_ arrivals: [Arrival], sourceLocation: SourceLocation = #_sourceLocation) -> BurstOutcome {
    let buffers = arrivals.map { GuardedBuffer($0.bytes) }
    defer { buffers.forEach { $0.release() } }
    let slots = UnsafeMutablePointer<FrameSlot>.allocate(capacity: max(1, arrivals.count))
    defer { slots.deallocate() }
    for (index, arrival) in arrivals.enumerated() {
      let nanoseconds = arrival.time.map(Self.nanoseconds) ?? Self.nanoseconds(now)
      now = max(now, arrival.time ?? now)
      var slot = FrameSlot(
        bytes: buffers[index].frame, length: arrival.bytes.count, headroom: Forwarder.headroom,
        link: linkOf[plan.index(of: arrival.interface)], time: nanoseconds)
      slot.tag = arrival.tag
      slot.offload = arrival.offload
      (slots + index).initialize(to: slot)
    }
    forwarder.process(slots, count: arrivals.count)
    let result = collect(arrivals, slots, sourceLocation)
    for (index, buffer) in buffers.enumerated() where !buffer.isIntact(slots[index]) {
      Issue.record("wrote outside the frame: \(result.outcomes[index].input)", sourceLocation: sourceLocation)
    }
    return result
  }

  /// Lets time pass until `time` (seconds) and fires the timers due.
  @discardableResult
  package func advance(to time: Double, sourceLocation: SourceLocation = #_sourceLocation) -> [Emitted] {
    now = max(now, time)
    forwarder.advance(to: Self.nanoseconds(time))
    let made = forwarder.outbox.map(emitted)
    tally.made += made.count
    checkLaws(splits: countReleasedSplits(made), sourceLocation)
    checkMade(made, sourceLocation)
    return made
  }

  /// Goes on as another engine, from an image of this one.
  package func hop() { forwarder.hop() }

  /// Takes over another plan between two bursts, as a reload does; what left because of it.
  @discardableResult
  package func reload(_ plan: Plan, sourceLocation: SourceLocation = #_sourceLocation) throws -> [Emitted] {
    try forwarder.replace(plan)
    self.plan = plan
    let made = forwarder.outbox.map(emitted)
    tally.made += made.count
    checkLaws(splits: 0, sourceLocation)
    return made
  }

  /// The same with the plan as it is and some change.
  @discardableResult
  package func reload(
    sourceLocation: SourceLocation = #_sourceLocation, _ change: (inout Plan) -> Void
  ) throws -> [Emitted] {
    var plan = plan
    change(&plan)
    return try reload(plan, sourceLocation: sourceLocation)
  }

  /// What another plan would make of the live sessions.
  package func forecast(_ plan: Plan) throws -> [SessionForecast] {
    let rules = try Rules(plan)
    defer { rules.release() }
    return forwarder.forecast(under: rules)
  }

  /// Cuts the session of this identity.
  package func cut(identity: UInt64) -> Bool { forwarder.cut(identity: identity) }

  private func collect(
    _ arrivals: [Arrival], _ slots: UnsafeMutablePointer<FrameSlot>, _ sourceLocation: SourceLocation
  ) -> BurstOutcome {
    let outbox = forwarder.outbox.map { (position: Int($0.position), frame: emitted($0)) }
    var result = BurstOutcome(outcomes: [], emitted: [])
    var splits = 0
    for (index, arrival) in arrivals.enumerated() {
      let slot = slots[index]
      let made = outbox.filter { $0.position == index }.map(\.frame)
      let isRawIP = plan.interfaces[plan.index(of: arrival.interface)].link == .rawIP
      var outcome = Outcome(
        verdict: slot.verdict, reason: slot.reason, forwarded: nil, made: made, gateway: self,
        input: Decoded(arrival.bytes, isRawIP: isRawIP))
      result.emitted += made
      if slot.verdict == .forward {
        let frame = emitted(slot)
        outcome.forwarded = frame
        result.emitted.append(frame)
        checkForwarded(frame, of: outcome.input, arrival, sourceLocation)
      }
      if slot.verdict == .split { splits += 1 }
      if slot.verdict == .none {
        Issue.record("no verdict for \(outcome.input)", sourceLocation: sourceLocation)
      }
      if (slot.verdict == .drop) != (slot.reason != .none) {
        Issue.record("\(slot.verdict) with reason \(slot.reason.name)", sourceLocation: sourceLocation)
      }
      tally.count(slot.verdict)
      tally.hasPieces = tally.hasPieces || outcome.input.ip?.isFragment == true
      result.outcomes.append(outcome)
    }
    let late = outbox.filter { $0.position >= arrivals.count }.map(\.frame)
    result.emitted += late
    if !arrivals.isEmpty { result.outcomes[arrivals.count - 1].made += late }
    tally.made += outbox.count
    checkLaws(splits: splits + countReleasedSplits(outbox.map(\.frame)), sourceLocation)
    checkMade(splits == 0 ? outbox.map(\.frame) : [], sourceLocation)
    return result
  }

  /// Pieces that left while none has ever come in were cut here, from a frame that waited.
  private func countReleasedSplits(_ made: [Emitted]) -> Int {
    tally.hasPieces ? 0 : made.filter { $0.decoded.ip?.isFragment == true }.count
  }

  // MARK: Questions

  package func counts(_ interface: String) -> InterfaceCounts { forwarder.counts(interface: plan.index(of: interface)) }
  package var totals: InterfaceCounts {
    plan.interfaces.indices.reduce(into: InterfaceCounts()) { $0 += forwarder.counts(interface: $1) }
  }
  package func drops(_ reason: DropReason) -> Int {
    plan.interfaces.indices.reduce(0) { $0 + Int(forwarder.drops(interface: $1, reason: reason)) }
  }
  package func drops(_ reason: DropReason, on interface: String) -> Int {
    Int(forwarder.drops(interface: plan.index(of: interface), reason: reason))
  }
  package func count(of event: Event) -> Int { Int(forwarder.count(of: event)) }
  package var sessionCounts: SessionCounts { forwarder.sessionCounts }
  package var use: TableUse { forwarder.gauge.use }
  package var live: Int { Int(forwarder.sessionCounts.live) }
  package func sessions(limit: Int = .max) -> [SessionReport] { forwarder.sessions(limit: limit) }
  /// What each trigger has open.
  package var openings: [OpeningReport?] { forwarder.openings }
  /// Seconds since the gateway began; nil for none.
  package var nextDeadline: Double? { forwarder.nextDeadline == .max ? nil : Self.seconds(forwarder.nextDeadline) }
  package var idleDeadline: Double { Self.seconds(forwarder.idleDeadline) }
  package func takeBack(_ interface: String, reason: DropReason) {
    forwarder.takeBack(ingress: plan.index(of: interface), reason: reason)
  }

  // MARK: Addresses

  /// `packet` with the Ethernet addresses and tags of a frame that arrives on `interface` for the gateway.
  package func addressed(_ packet: Packet, on interface: String) -> Packet {
    let home = plan.interfaces[plan.index(of: interface)]
    return packet.with {
      $0.hasEthernet = home.link == .ethernet
      if $0.ethernet.tags.isEmpty, home.device == home.name {
        $0.ethernet.tags = home.tags.map { EthernetHeader.Tag($0.vlan, protocolID: $0.protocolID) }
      }
      if $0.ethernet.destination == nil { $0.ethernet.destination = home.mac.map(Station.init(planned:)) }
      if $0.ethernet.source == nil { $0.ethernet.source = .of(nextHop(to: packet.ip.source, on: interface)) }
    }
  }

  /// `packet` with the Ethernet header that it must leave `interface` with.
  package func departing(_ packet: Packet, on interface: String) -> Packet {
    let home = plan.interfaces[plan.index(of: interface)]
    return packet.with {
      $0.hasEthernet = home.link == .ethernet
      $0.trailer = []
      if $0.ethernet.tags.isEmpty {
        $0.ethernet.tags = home.tags.map { EthernetHeader.Tag($0.vlan, protocolID: $0.protocolID) }
      }
      $0.ethernet.source = home.mac.map(Station.init(planned:))
      $0.ethernet.destination = .of(nextHop(to: packet.ip.destination, on: interface))
    }
  }

  private func nextHop(to host: Host, on interface: String) -> Host {
    let index = plan.index(of: interface)
    let home = plan.interfaces[index]
    if home.addresses.contains(where: { $0.contains(host.planned) }) { return host }
    let route = plan.routes.filter { $0.interface == index && $0.destination.contains(host.planned) }
      .max { $0.destination.length < $1.destination.length }
    return Host(number: (route?.via ?? home.gateways.first ?? host.planned).value)
  }

  private static func nanoseconds(_ seconds: Double) -> UInt64 { epoch + UInt64((seconds * 1e9).rounded()) }
  private static func seconds(_ time: UInt64) -> Double { Double(Int64(time) - Int64(epoch)) / 1e9 }

  private func emitted(_ slot: FrameSlot) -> Emitted {
    emitted(slot.bytes, slot.length, slot.egress, slot.time, slot.offload)
  }

  private func emitted(_ frame: OutboxFrame) -> Emitted {
    emitted(frame.bytes, frame.length, frame.egress, frame.time, frame.offload)
  }

  private func emitted(
    _ start: UnsafeMutableRawPointer, _ length: UInt32, _ egress: UInt16, _ time: UInt64, _ offload: OffloadHeader
  ) -> Emitted {
    let bytes = Array(UnsafeRawBufferPointer(start: start, count: Int(length)))
    let interface = plan.interfaces[Int(egress)]
    return Emitted(
      interface: interface.name, bytes: bytes, time: Self.seconds(time), offload: offload,
      decoded: Decoded(bytes, isRawIP: interface.link == .rawIP))
  }
}

// MARK: Laws

extension TestGateway {
  /// What the kit itself saw, to hold the engine's counters against.
  struct Tally {
    var received: UInt64 = 0
    var forwarded: UInt64 = 0
    var consumed: UInt64 = 0
    var passed: UInt64 = 0
    var made = 0
    var hasSplit = false
    /// A piece of a datagram has come in.
    var hasPieces = false

    mutating func count(_ verdict: Verdict) {
      received += 1
      switch verdict {
      case .forward, .split: forwarded += 1
      case .consume: consumed += 1
      case .pass: passed += 1
      case .none, .drop, .hold: break
      }
    }
  }

  private func checkLaws(splits: Int, _ sourceLocation: SourceLocation) {
    for interface in plan.interfaces {
      let counts = counts(interface.name)
      let sum = counts.forwarded + counts.dropped + counts.consumed + counts.passed + counts.held
      if counts.received != sum {
        Issue.record("conservation on \(interface.name): \(counts)", sourceLocation: sourceLocation)
      }
      let named = DropReason.allCases.reduce(0) { $0 + drops($1, on: interface.name) }
      if named != Int(counts.dropped) || drops(.none, on: interface.name) != 0 {
        Issue.record(
          "\(interface.name): dropped \(counts.dropped), named reasons \(named)", sourceLocation: sourceLocation)
      }
    }
    let all = totals
    if all.received != tally.received || all.consumed != tally.consumed || all.passed != tally.passed {
      Issue.record("counted \(all), seen \(tally)", sourceLocation: sourceLocation)
    }
    // What left is either a frame received before (forwarded) or one that the engine made; fragments break the sum.
    // An echo reply or error of ours may be cut as well.
    let isCut = forwarder.outbox.contains { emitted($0).decoded.ip?.isFragment == true }
    tally.hasSplit = tally.hasSplit || splits > 0 || isCut
    if !tally.hasSplit, all.forwarded + all.generated != tally.forwarded + UInt64(tally.made) {
      Issue.record("left: counted \(all), seen \(tally)", sourceLocation: sourceLocation)
    }
  }

  /// G1: valid in, valid out. What was wrong before need not be right after.
  private func checkForwarded(
    _ frame: Emitted, of input: Decoded, _ arrival: Arrival, _ sourceLocation: SourceLocation
  ) {
    let isPartial = arrival.offload.flags & OffloadHeader.needsChecksum != 0
    let isOdd = input.ip6 != nil && !input.problems.isEmpty
    guard !isOdd, input.checksumProblems(isPartial: isPartial).isEmpty else { return }
    for problem in frame.decoded.checksumProblems(isPartial: isPartial) + frame.decoded.problems {
      Issue.record("\(problem)\n in: \(input)\nout: \(frame.decoded)", sourceLocation: sourceLocation)
    }
  }

  private func checkMade(_ frames: [Emitted], _ sourceLocation: SourceLocation) {
    for frame in frames where frame.offload.flags & OffloadHeader.needsChecksum == 0 {
      // The transport of a quoted or released frame may have been wrong when it came in: only headers are ours.
      for problem in frame.decoded.problems {
        Issue.record("\(problem) in \(frame.decoded)", sourceLocation: sourceLocation)
      }
    }
  }
}

/// A frame with room before it and a pattern on both sides of what the engine may touch.
private struct GuardedBuffer {
  static let guardBytes = 64
  let start: UnsafeMutableRawPointer
  let count: Int
  let length: Int

  init(_ bytes: [UInt8]) {
    length = bytes.count
    count = Self.guardBytes + Forwarder.headroom + bytes.count + Self.guardBytes
    start = .allocate(byteCount: count, alignment: 64)
    start.initializeMemory(as: UInt8.self, repeating: 0xA5, count: count)
    frame.copyMemory(from: bytes, byteCount: bytes.count)
  }

  var frame: UnsafeMutableRawPointer { start + Self.guardBytes + Forwarder.headroom }

  /// Nothing was written before the headroom or behind the frame, and the frame to send lies within.
  func isIntact(_ slot: FrameSlot) -> Bool {
    let all = UnsafeRawBufferPointer(start: start, count: count)
    guard all.prefix(Self.guardBytes).allSatisfy({ $0 == 0xA5 }), all.suffix(Self.guardBytes).allSatisfy({ $0 == 0xA5 })
    else { return false }
    guard slot.verdict == .forward else { return true }
    let end = frame + length
    return slot.bytes >= start + Self.guardBytes && slot.bytes + Int(slot.length) <= end
  }

  /// The engine must hold no pointer into a frame after the call: the bytes are spoiled before they are given back.
  func release() {
    start.initializeMemory(as: UInt8.self, repeating: 0xEE, count: count)
    start.deallocate()
  }
}
