import Capture
import Engine

/// Where a replay's clock goes on to after the last frame.
public enum ReplayEnd: Equatable, Sendable {
  /// Nowhere.
  case lastFrame
  /// So many nanoseconds on.
  case after(nanoseconds: UInt64)
  /// Until no timer is left and no session lives.
  case idle
}

/// A replay that cannot begin.
public enum ReplayError: Error, Equatable, CustomStringConvertible {
  /// An Ethernet interface has no MAC address. `links` says what each interface of the plan is on here.
  case noMAC(links: [InterfacePlan.Link])
  /// An interface whose name cannot be a file's.
  case noFileName(interface: String)

  /// What is wrong, and what would be right.
  public var description: String {
    switch self {
    case .noMAC:
      "an interface that is Ethernet here has no mac, and a replay has no device to ask"
    case .noFileName(let name): "interface \"\(name)\" cannot name a file of its captures: no \"/\", no \".\" in front"
    }
  }
}

/// What a replay left.
public struct ReplayResult: Sendable {
  /// Counters at the end.
  public var report: ReplayReport
  /// What broke off the reading or the writing; all that was read before it is in the report and the output.
  public var failure: CaptureError?
}

/// One replay: captures through the engine into captures, in the captures' own time.
public struct ReplayRun: Sendable {
  /// The configuration; MTUs not given are 1500, link types follow the captures.
  public var plan: Plan
  /// Captures to receive, in the order of the options.
  public var inputs: [ReplayInput]
  /// Gets `IF.pcap` for every interface; nil for no captures.
  public var outputDirectory: String?
  /// Settles every random choice.
  public var seed: UInt64 = 0
  /// Every frame counts as sent to the interface that receives it.
  public var takesEveryFrame = false
  /// Address changes to make before the engine sees a frame.
  public var map: [AddressRule] = []
  /// Unfinished checksums and segments count as the ring's offloads.
  public var hasOffloads = false
  /// How far the clock runs on.
  public var end = ReplayEnd.lastFrame
  /// Most frames given to the engine at once; without influence on anything but speed.
  var burstFrames = 32

  /// A replay of `inputs` by the rules of `plan`.
  public init(plan: Plan, inputs: [ReplayInput], outputDirectory: String?) {
    self.plan = plan
    self.inputs = inputs
    self.outputDirectory = outputDirectory
  }

  /// Runs it.
  ///
  /// - Throws: `ReplayError`, `PlanError` or `CaptureError` where it cannot begin; what goes wrong later is in the result.
  public func run() throws -> ReplayResult {
    let start = ContinuousClock.now
    var merge = InputMerge(inputs)
    let plan = try completed(links: merge.links)
    let edits = plan.interfaces.map { interface in
      InputEdit(
        station: takesEveryFrame ? interface.mac : nil, map: map.isEmpty ? nil : AddressMap(map),
        offloadMTU: hasOffloads ? interface.mtu : nil, isEthernet: interface.link == .ethernet)
    }
    let output = try outputDirectory.map { try ReplayOutput(directory: $0, plan: plan) }
    var clock = merge.nextTime() ?? 0
    // Each interface is a link of its own: a capture belongs to an interface, tags included.
    let links = plan.interfaces.indices.map { [$0] }
    var forwarder = try Forwarder(plan: plan, links: links, seed: seed, clock: clock)
    var failure: CaptureError?
    do throws(CaptureError) {
      try forward(&merge, edits, &forwarder, to: output, &clock)
      if merge.failure == nil { try runOn(&forwarder, from: clock, to: output) }
    } catch {
      failure = error
    }
    let broken = output?.finish()
    let report = ReplayReport(forwarder, plan: plan, elapsed: ContinuousClock.now - start)
    return ReplayResult(report: report, failure: merge.failure ?? failure ?? broken)
  }

  /// The plan with everything that a device would have told.
  private func completed(links: [Int: CaptureLink]) throws(ReplayError) -> Plan {
    var plan = plan
    for index in plan.interfaces.indices {
      // Without a capture, whoever has a station address is on Ethernet.
      let link = links[index] ?? (plan.interfaces[index].mac == nil ? .rawIP : .ethernet)
      plan.interfaces[index].link = link == .ethernet ? .ethernet : .rawIP
      plan.interfaces[index].mtu = plan.interfaces[index].mtu ?? 1500
    }
    if plan.interfaces.contains(where: { $0.link == .ethernet && $0.mac == nil }) {
      throw .noMAC(links: plan.interfaces.map(\.link))
    }
    return plan
  }

  // MARK: The loop

  private func forward(
    _ merge: inout InputMerge, _ edits: [InputEdit], _ forwarder: inout Forwarder, to output: ReplayOutput?,
    _ clock: inout UInt64
  ) throws(CaptureError) {
    let burst = ReplayBurst(frames: burstFrames)
    defer { burst.deallocate() }
    while true {
      var count = 0
      var used = 0
      while count < burstFrames, burst.hasRoom(behind: used), let (frame, interface) = merge.next() {
        burst.slots[count] = burst.copy(frame, interface: interface, behind: &used)
        if !edits[interface].isIdle { edits[interface].apply(to: &burst.slots[count]) }
        clock = max(clock, frame.time)
        count += 1
      }
      if count == 0 { return }
      forwarder.process(burst.slots, count: count)
      try output?.write(burst.slots, count: count, outbox: forwarder.outbox)
    }
  }

  /// Fires the timers that are due by `end`, each at its own time.
  private func runOn(_ forwarder: inout Forwarder, from clock: UInt64, to output: ReplayOutput?) throws(CaptureError) {
    let last: UInt64
    switch end {
    case .lastFrame: return
    case .after(let nanoseconds):
      let (sum, isBeyond) = clock.addingReportingOverflow(nanoseconds)
      last = isBeyond ? Self.endOfTime : min(sum, Self.endOfTime)
    case .idle: last = Self.endOfTime
    }
    var clock = clock
    while true {
      var next = forwarder.nextDeadline
      // Sessions end unseen: their deadline counts only where somebody waits for the last of them.
      if end == .idle, forwarder.idleDeadline > clock { next = min(next, forwarder.idleDeadline) }
      if next > last { break }
      clock = max(clock, next)
      forwarder.advance(to: clock)
      try output?.writeOutbox(forwarder.outbox)
      precondition(forwarder.nextDeadline > clock, "a timer that is due again at once would never let the clock go on")
    }
    guard end != .idle else { return }
    forwarder.advance(to: last)
    try output?.writeOutbox(forwarder.outbox)
  }

  /// The year 2262: far behind what a capture can hold, and far from overflow.
  private static let endOfTime = UInt64(Int64.max)
}
