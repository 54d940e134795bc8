import CLinux
import Capture
import Engine
import Glibc
import PacketIO

/// What a worker needs to begin, before its thread is there.
struct WorkerGear: ~Copyable {
  let rings: RingSet
  let transmitter: Transmitter
  let mailbox: Mailbox
}

/// The gear of all workers, opened while the process may still open it.
struct CrewGear: ~Copyable {
  private let gears: UnsafeMutablePointer<WorkerGear>
  private var count: Int
  /// Of each link, over all workers.
  let descriptors: [[Int32]]

  /// Opens everything, or nothing.
  init(
    workers: Int, sharing: inout RingSharing, devices: [PacketDevice]
  ) throws(SystemError) {
    let gears = UnsafeMutablePointer<WorkerGear>.allocate(capacity: workers)
    var descriptors: [[Int32]] = []
    for worker in 0..<workers {
      do throws(SystemError) {
        let rings = try sharing.open()
        for (link, sockets) in rings.descriptors.enumerated() {
          if worker == 0 { descriptors.append([]) }
          descriptors[link] += sockets
        }
        (gears + worker).initialize(
          to: WorkerGear(
            rings: rings, transmitter: try Transmitter.open(devices: devices), mailbox: try Mailbox()))
      } catch {
        gears.deinitialize(count: worker).deallocate()
        throw error
      }
    }
    self.gears = gears
    self.descriptors = descriptors
    count = workers
  }

  /// The gear of one worker, the caller's from then on.
  mutating func take() -> WorkerGear {
    count -= 1
    return (gears + count).move()
  }

  deinit {
    gears.deinitialize(count: count)
    gears.deallocate()
  }
}

/// The forwarders of all workers on one engine's state, before their threads are there.
struct CrewEngines: ~Copyable {
  let state: EngineState
  private let forwarders: UnsafeMutablePointer<Forwarder>
  private var count: Int

  /// - Parameter store: where the tables are to stand; nil for memory of their own.
  init(_ complete: CompletePlan, seed: UInt64, store: RegionStore?) throws(PlanError) {
    let plan = complete.plan
    let state = try EngineState(
      plan: plan, seed: seed, clock: monotonicTime(), store: store, workers: plan.workers)
    // A state file has its room already, but no page of it is mapped.
    if store != nil { state.takePages() }
    let forwarders = UnsafeMutablePointer<Forwarder>.allocate(capacity: plan.workers)
    // The first one settles what all share.
    for worker in 0..<plan.workers {
      do throws(PlanError) {
        let forwarder = try Forwarder(
          plan: plan, links: complete.links.interfacesOfLinks, sharing: state, worker: worker)
        (forwarders + worker).initialize(to: forwarder)
      } catch {
        forwarders.deinitialize(count: worker).deallocate()
        state.release()
        throw error
      }
    }
    self.state = state
    self.forwarders = forwarders
    count = plan.workers
  }

  /// First time, in nanoseconds.
  var clock: UInt64 { state.clock }

  /// Takes over what an earlier gateway has left, once for all.
  mutating func adopt(_ saved: SavedRegion) -> AdoptionReport { forwarders[0].adopt(saved) }

  /// The last forwarder that is here, the caller's from then on.
  mutating func take() -> Forwarder {
    count -= 1
    return (forwarders + count).move()
  }

  deinit {
    forwarders.deinitialize(count: count)
    forwarders.deallocate()
  }
}

/// All workers of a gateway, as the control thread knows them: one engine with several threads.
struct Crew {
  private let threads: [WorkerThread]
  private let state: EngineState

  /// Starts a thread for each worker.
  static func start(
    _ engines: consuming CrewEngines, _ complete: CompletePlan, _ gear: consuming CrewGear,
    recorder: FlightRecorder? = nil
  ) throws(GatewayError) -> Crew {
    let plan = complete.plan
    var options = WorkerOptions()
    // A worker that spins where others wait for the core makes them wait longer.
    if plan.workers >= sysconf(Int32(_SC_NPROCESSORS_ONLN)) { options.spin = 0 }
    if let microseconds = plan.spinMicroseconds { options.spin = UInt64(microseconds) * 1000 }
    var threads: [WorkerThread] = []
    for worker in (0..<plan.workers).reversed() {
      if worker < plan.cores.count { options.core = plan.cores[worker] }
      let own = gear.take()
      do {
        threads.append(
          try WorkerThread.start(
            Worker(
              judge: engines.take(), rings: own.rings, transmitter: own.transmitter,
              interfaceCount: plan.interfaces.count, mailbox: own.mailbox, options: options, recorder: recorder)))
      } catch {
        for thread in threads { _ = thread.stop() }
        throw error
      }
    }
    return Crew(threads: threads.reversed(), state: engines.state)
  }

  /// The one that answers for the table.
  var first: WorkerThread { threads[0] }

  // MARK: Questions

  /// The report of all, its sessions those of the one table; nil if one of them did not come by in time.
  func report(sessionLimit: Int, within milliseconds: Int32) -> EngineReport? {
    var sum = EngineReport()
    for _ in 0..<3 {
      for (worker, thread) in threads.enumerated() {
        let limit = worker == 0 ? sessionLimit : 0
        guard let report = thread.mailbox.ask(.report(sessionLimit: limit), within: milliseconds) else { return nil }
        sum.add(report, isFirst: worker == 0)
      }
      // Workers answer one after another: what one has held and the next has sent meanwhile is held less than never.
      if sum.counts.allSatisfy({ Int64(bitPattern: $0.held) >= 0 }) { break }
    }
    return sum
  }

  /// A question about frames, which goes to all; nil if one of them did not come by in time.
  func askAll(_ question: Mailbox.Question, within milliseconds: Int32) -> EngineReport? {
    var answer = EngineReport()
    for (worker, thread) in threads.enumerated() {
      guard let part = thread.mailbox.ask(question, within: milliseconds) else { return nil }
      answer.explained += part.explained
      answer.isWatching = worker == 0 ? part.isWatching : answer.isWatching || part.isWatching
    }
    answer.explained.sort { $0.frame < $1.frame }
    return answer
  }

  /// A question about the table, which one of them answers for all. Waits for as long as it takes.
  func demand(_ question: Mailbox.Question) -> EngineReport { threads[0].mailbox.demand(question) }

  /// Takes over new rules, each worker between two of its bursts, the first one first: it settles what all share, and may
  /// refuse. Returns why, or nil where all have them.
  func replace(_ plan: Plan) -> String? {
    var all: [Rules] = []
    do {
      for _ in threads { all.append(try Rules(plan)) }
    } catch {
      for rules in all { rules.release() }
      return "\(error)"
    }
    for (worker, thread) in threads.enumerated() {
      let answer = thread.mailbox.demand(.replace(all[worker]))
      if let old = answer.replaced {
        old.release()
      } else {
        for rules in all[worker...] { rules.release() }
        return answer.refusal ?? "the engine refuses the new rules"
      }
    }
    return nil
  }

  /// Stops all, waits for their end, and returns their last report.
  func stop() -> EngineReport {
    var sum = EngineReport()
    for (worker, thread) in threads.enumerated() { sum.add(thread.stop(), isFirst: worker == 0) }
    state.release()
    return sum
  }
}

extension EngineReport {
  /// Adds another worker's counts. What is of the one table comes from the first.
  mutating func add(_ other: EngineReport, isFirst: Bool) {
    guard !isFirst else {
      self = other
      return
    }
    for index in counts.indices { counts[index] += other.counts[index] }
    for (interface, reasons) in other.drops.enumerated() {
      for (reason, count) in reasons.enumerated() { drops[interface][reason] &+= count }
    }
    for event in Event.allCases where !event.isOfTable {
      events[Int(event.rawValue)] &+= other.events[Int(event.rawValue)]
    }
  }
}
