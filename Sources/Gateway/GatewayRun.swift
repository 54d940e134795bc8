import CLinux
import Capture
import Engine
import Explain
import Glibc
import Logging
import PacketIO
import Settings

/// What `sluice run` was told besides its configuration.
public struct GatewayOptions: Sendable {
  /// Take the device that carries the default route all the same.
  public var force = false
  /// Settles every random choice; nil for a random one.
  public var seed: UInt64?
  /// Path of the control socket; nil for the namespace's own.
  public var controlPath: String?
  /// File for the session table, in place of the configuration's.
  public var statePath: String?
  public var version = ""
  /// Reads the configuration file again, for SIGHUP and `sluice reload`.
  public var reread: (@Sendable () throws -> SettingsFile)?

  public init() {}
}

/// A gateway from start to end. The main thread does everything but frames: signals, clients, statistics.
public struct GatewayRun: ~Copyable {
  /// What it runs with: as it is written, and completed from the devices.
  var settings: SettingsFile
  var complete: CompletePlan
  let options: GatewayOptions
  let logger: Logger
  private let signals: HostSignals
  let quieting: HostQuieting
  private let control: ControlServer
  let crew: Crew
  private let addresses: AddressWatch
  private var sharing: RingSharing
  /// Of each link.
  private let descriptors: [[Int32]]
  private let started = monotonicTime()
  /// Outlives the crew, whose tables stand in it.
  private let state: StateFile?
  private var rings: [RingStatistics]
  private var watch: DeviceWatch
  private let gauge: TableGauge
  private var fill = FillWatch()
  /// nil where nothing is recorded.
  var flight: FlightKeeper?

  /// Forwards until SIGTERM or SIGINT; everything is put back as it was when this returns or throws.
  ///
  /// - Parameter isReady: called once frames are being forwarded.
  public static func run(
    _ settings: SettingsFile, options: GatewayOptions, logger: Logger, isReady: () -> Void
  ) throws(GatewayError) {
    var gateway = try start(settings, options, logger)
    isReady()
    let result = gateway.serve()
    gateway.finish()
    if let result { throw result }
  }

  // MARK: Start

  private static func start(
    _ settings: SettingsFile, _ options: GatewayOptions, _ logger: Logger
  ) throws(GatewayError) -> GatewayRun {
    try Privileges.require()
    let complete = try CompletePlan(settings)
    try refuseDefaultRoute(complete, settings, options, logger)
    if let core = complete.plan.cores.first(where: { sluice_may_use_core(UInt32($0)) == 0 }) {
      throw .configuration(
        settings.error(
          at: .key(of: .engine, "cores"), "this process may not run on core \(core); name one of `nproc`'s, from 0 on"))
    }
    do {
      // What can fail without touching anything comes first.
      let kept = try KeptState.open(complete.plan, options, logger)
      let saved = kept?.saved(logger)
      let seed = options.seed ?? saved?.seed ?? UInt64.random(in: .min ... .max)
      var engines = try CrewEngines(complete, seed: seed, store: kept?.store)
      if let saved { kept?.adopt(saved, into: &engines, logger) }
      let signals = try HostSignals()
      let control = try ControlServer(path: options.controlPath ?? ControlSocket.defaultPath)
      let links = complete.links.links
      let quieting = try HostQuieting(
        Array(zip(links.map(\.device), QuietingRules.rules(for: complete.plan, links: complete.links))))
      var sharing = try RingSharing(
        links.map { link in
          let roles = Set(link.interfaces.map { complete.plan.interfaces[$0].role })
          let peer: Steering.Peer = roles == [.outside] ? .source : roles == [.inside] ? .destination : .either
          return RingLink(device: link.device, macs: link.macs, peer: peer)
        }, kind: complete.plan.ring, workers: complete.plan.workers)
      let gear = try CrewGear(
        workers: complete.plan.workers, sharing: &sharing, devices: complete.links.deviceOfInterface)
      try sharing.start()
      let addresses = try AddressWatch()
      try kept?.file.replace()
      try Privileges.drop()
      return try GatewayRun(
        settings: settings, complete: complete, options: options, logger: logger, seed: seed, signals: signals,
        quieting: quieting, control: control,
        addresses: addresses, state: kept?.file, sharing: sharing, engines: engines, gear: gear)
    } catch let error as GatewayError {
      throw error
    } catch let error as SystemError {
      throw GatewayError(error)
    } catch {
      throw .failed("\(error)")
    }
  }

  private init(
    settings: SettingsFile, complete: CompletePlan, options: GatewayOptions, logger: Logger, seed: UInt64,
    signals: consuming HostSignals,
    quieting: HostQuieting, control: ControlServer, addresses: AddressWatch, state: StateFile?,
    sharing: RingSharing, engines: consuming CrewEngines, gear: consuming CrewGear
  ) throws(GatewayError) {
    gauge = engines.state.gauge
    let descriptors = gear.descriptors
    let links = complete.links.interfacesOfLinks
    flight = complete.plan.recorder.map { FlightKeeper($0, links: links) }
    let recorder: FlightRecorder?
    do throws(PlanError) {
      recorder = try complete.plan.recorder.map { plan throws(PlanError) in
        try FlightRecorder(
          links: links.count, bytes: plan.memory, stateBytes: plan.state, isWhole: plan.isWhole,
          burst: WorkerOptions().burst)
      }
    } catch {
      throw .failed("\(error)")
    }
    crew = try Crew.start(engines, complete, gear, recorder: recorder)
    self.settings = settings
    self.complete = complete
    self.addresses = addresses
    self.state = state
    self.options = options
    self.logger = logger
    self.signals = signals
    self.quieting = quieting
    self.control = control
    self.sharing = sharing
    self.descriptors = descriptors
    self.rings = descriptors.map { _ in RingStatistics() }
    watch = DeviceWatch(complete)
    logStart()
  }

  /// A machine that one is logged into over the network would be cut off.
  private static func refuseDefaultRoute(
    _ complete: CompletePlan, _ settings: SettingsFile, _ options: GatewayOptions, _ logger: Logger
  ) throws(GatewayError) {
    guard complete.plan.mode == .dedicated else { return }
    let devices = complete.links.links.map(\.device.name)
    logger.notice("dedicated mode: this host cannot be reached over \(devices.joined(separator: ", "))")
    guard !options.force, HostFacts.isMainNamespace else { return }
    let carriers = HostFacts.defaultRouteDevices
    for (index, interface) in complete.plan.interfaces.enumerated() where carriers.contains(interface.device) {
      let text =
        "device \(interface.device) carries this host's default route, and dedicated mode would cut the host off; "
        + "use mode = \"alongside\" or another device, or say --force"
      throw .configuration(settings.error(at: .key(of: .interface(index), "device"), text))
    }
  }

  private func logStart() {
    for link in complete.links.links {
      let names = link.interfaces.map { complete.plan.interfaces[$0].name }.joined(separator: ", ")
      logger.info("device \(link.device.name): \(names), mtu \(link.device.mtu), ring \(complete.plan.ring.rawValue)")
    }
    let plan = complete.plan
    logger.info(
      """
      \(plan.mode.rawValue) mode, \(plan.forwards.count) forwards, \(plan.masquerades.count) masquerades, \
      up to \(plan.sessions) sessions
      """)
  }

  // MARK: While it runs

  /// Serves signals and clients until it is to stop; the reason if that is a failure.
  private mutating func serve() -> GatewayError? {
    var nextSecond = monotonicTime()
    while true {
      let now = monotonicTime()
      if now >= nextSecond {
        nextSecond = now + 1_000_000_000
        everySecond()
      }
      var entries = [signals.descriptor, quieting.descriptor, sharing.descriptor, addresses.descriptor].map {
        pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
      }
      entries += control.pollEntries
      _ = sluice_poll(&entries, UInt(entries.count), nextSecond - min(now, nextSecond))
      while let signal = signals.next() {
        if signal == SIGHUP { _ = try? reloadLogged() } else { return nil }
      }
      if entries[1].revents != 0 && !quieting.isAlive {
        // SIGTERM to the whole control group ends nft before us; that is no failure.
        usleep(100_000)
        if let signal = signals.next(), signal != SIGHUP { return nil }
        return .failed("nft ended, and with it the rules that hid frames from this host's own stack")
      }
      if entries[2].revents != 0 { shareOut() }
      if entries[3].revents != 0, addresses.hasChanged(), complete.plan.interfaces.contains(where: \.isAutomatic) {
        followAddresses()
      }
      control.serve { request in answer(request) }
    }
  }

  private mutating func readRings() {
    for index in rings.indices { rings[index].update(descriptors: descriptors[index]) }
  }

  /// A worker wants to receive otherwise.
  private mutating func shareOut() {
    do { try sharing.serve() } catch { logger.error("\(error)") }
  }

  private mutating func everySecond() {
    readRings()
    flight?.look(crew.first, plan: complete.plan, settings: settings, logger: logger)
    for change in watch.changes() { logger.warning("\(change)") }
    if let warning = fill.look(gauge.use) { logger.warning("\(warning)") }
  }

  private mutating func answer(_ request: ControlRequest) -> ControlAnswer {
    let limit = max(0, min(request.limit ?? 100, ControlRequest.maximumSessions))
    switch request.command {
    case .status, .flows:
      let isList = request.command == .flows
      guard let report = crew.report(sessionLimit: isList ? limit : 0, within: 2000) else {
        return ControlAnswer(error: "a worker is too busy to answer")
      }
      if isList { return ControlAnswer(flows: report.sessions.map { FlowReport($0, complete.plan) }) }
      readRings()
      return ControlAnswer(status: status(report))
    case .explain, .explained: return explain(request)
    case .record: return answerRecord(request)
    case .flow, .kill: return answerSession(request)
    case .forwards:
      guard let report = crew.first.mailbox.ask(.report(sessionLimit: 0), within: 2000) else {
        return ControlAnswer(error: "a worker is too busy to answer")
      }
      return ControlAnswer(
        forwards: settings.forwardReports, triggers: TriggerReport.all(complete.plan, report.openings))
    case .reload, .forecast, .forward: return answerChange(request, limit: limit)
    }
  }

  /// Sets a watch, or fetches what it has explained.
  private func explain(_ request: ControlRequest) -> ControlAnswer {
    var question = Mailbox.Question.watched
    if request.command == .explain {
      guard let wanted = request.watch, wanted.isSound else { return ControlAnswer(error: "not a request") }
      let links = complete.links.links.map { $0.device.link == .ethernet ? CaptureLink.ethernet : .rawIP }
      do throws(CaptureFilter.Mistake) {
        let explainer = Explainer(plan: complete.plan, settings: settings)
        question = .watch(try FrameWatch(wanted, explainer, links: links, now: monotonicTime()))
      } catch {
        return ControlAnswer(error: "\"\(wanted.match)\" is no libpcap filter: \(error)")
      }
    }
    guard let report = crew.askAll(question, within: 2000) else {
      return ControlAnswer(error: "a worker is too busy to answer")
    }
    if request.command == .explain && !report.isWatching {
      return ControlAnswer(error: "frames are being explained to somebody else; wait until that is over")
    }
    return ControlAnswer(explained: report.explained, isWatching: report.isWatching)
  }

  /// Shows one session, or ends it.
  private func answerSession(_ request: ControlRequest) -> ControlAnswer {
    guard let identity = request.identity else { return ControlAnswer(error: "no session is named") }
    guard let session = crew.demand(.session(identity: identity)).session else {
      return ControlAnswer(error: "there is no session \(identity); `flow list` tells which there are")
    }
    if request.command == .kill, !crew.demand(.cut(identity: identity)).isFound {
      return ControlAnswer(error: "session \(identity) has ended by itself")
    }
    return ControlAnswer(flows: [FlowReport(session, complete.plan)])
  }

  private func status(_ report: EngineReport) -> StatusReport {
    var byDevice: [String: StatusReport.Ring] = [:]
    for (index, link) in complete.links.links.enumerated() {
      byDevice[link.device.name] = StatusReport.Ring(
        kind: complete.plan.ring.rawValue, frames: rings[index].frames, drops: rings[index].drops,
        changes: sharing.changes[index])
    }
    return StatusReport(
      report, plan: complete.plan, rings: byDevice, version: options.version, process: getpid(),
      uptime: monotonicTime() - started)
  }

  // MARK: End

  private mutating func finish() {
    everySecond()
    let report = crew.stop()
    sharing.deallocate()
    quieting.remove()
    let status = status(report)
    logger.info(
      """
      stopped: \(status.frames.received) frames received, \(status.frames.forwarded) forwarded, \
      \(status.frames.dropped) dropped, \(rings.reduce(0) { $0 + $1.drops }) lost before a ring, \
      \(status.sessions.created) sessions
      """)
  }
}
