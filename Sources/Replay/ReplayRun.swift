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
  /// The captures are played so many times, each pass right behind the one before.
  public var loops = 1
  /// How fast.
  public var speed = ReplaySpeed.unlimited
  /// Frames that do not match are as if they were not in the captures.
  public var filter: CaptureFilter?
  /// Told now and then how far it has come.
  public var onProgress: (@Sendable (ReplayProgress) -> Void)?
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
  public func run() throws -> ReplayResult { try run { _ in nil } }

  /// Runs it under the eyes of an observer, who is told the plan as it is played.
  func run(observed by: (Plan) throws -> (any ReplayObserver)?) throws -> ReplayResult {
    let start = ContinuousClock.now
    var merge = InputMerge(inputs, filter: filter)
    let plan = try completed(links: merge.links)
    let output = try outputDirectory.map { try ReplayOutput(directory: $0, plan: plan) }
    let clock = merge.nextTime() ?? 0
    // Each interface is a link of its own: a capture belongs to an interface, tags included.
    let links = plan.interfaces.indices.map { [$0] }
    var loop = ReplayLoop(
      self, plan: plan, forwarder: try Forwarder(plan: plan, links: links, seed: seed, clock: clock), clock: clock,
      output: output, observer: try by(plan))
    var failure: CaptureError?
    do throws(CaptureError) {
      failure = try loop.play(merge)
      if failure == nil { try loop.runOn() }
    } catch {
      failure = error
    }
    let broken = output?.finish()
    let report = ReplayReport(loop.forwarder, plan: plan, elapsed: ContinuousClock.now - start, times: loop.times)
    return ReplayResult(report: report, failure: failure ?? broken)
  }

  /// The plan with everything that a device would have told.
  func completed(links: [Int: CaptureLink]) throws(ReplayError) -> Plan {
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
}
