import Engine
import Glibc

/// One engine with its traffic, on one thread.
struct WorkerBench: ~Copyable {
  private var forwarder: Forwarder
  private var generator: Generator
  private let options: EngineBenchOptions
  private let flows: Int
  private let capacity: Int
  private var packetsSent: UInt64 = 0

  /// Bursts between two looks at the clock.
  private static let burstsPerTurn = 256

  init(options: EngineBenchOptions, flows: Int, seed: UInt64) throws(EngineBenchError) {
    self.options = options
    self.flows = flows
    // Some room: at exactly full, single bucket pairs would run over.
    capacity = flows + flows / 16 + 64
    let plan = BenchPlan.make(capacity: capacity, kind: options.kind)
    do throws(PlanError) {
      forwarder = try Forwarder(plan: plan, links: [[0], [1]], seed: seed, clock: Generator.start)
    } catch {
      throw EngineBenchError(description: "\(error)")
    }
    generator = Generator(options: options, flows: flows, seed: seed)
  }

  var bytesPerSession: Double { Double(forwarder.tableBytes) / Double(capacity) }

  /// Makes every session, by the first frame of each client; then brings TCP through its handshake.
  ///
  /// - Returns: processor time in the engine for each new session, nanoseconds.
  mutating func establish() throws(EngineBenchError) -> Double {
    let both = pass(.open, judged: true)
    let alone = pass(.open, judged: false)
    try check("made", Int(forwarder.sessionCounts.live), of: flows)
    if options.kind == .tcp {
      _ = pass(.accept, judged: true)
      _ = pass(.confirm, judged: true)
    } else {
      _ = pass(.answer, judged: true)
    }
    try checkForwarded()
    return max(0.1, Double(both) - Double(alone)) / Double(flows)
  }

  /// Runs one frame of each flow, and takes the processor time of it.
  private mutating func pass(_ step: Generator.Step, judged: Bool) -> UInt64 {
    let begin = threadNanoseconds()
    var flow = 0
    while flow < flows {
      let count = min(Generator.burst, flows - flow)
      generator.fill(step, from: flow, count: count)
      if judged { process(count) }
      flow += count
    }
    return threadNanoseconds() - begin
  }

  /// - Returns: nanoseconds for one frame in the engine, and in the generator; medians over all turns.
  mutating func measure() throws(EngineBenchError) -> (engine: Double, generator: Double) {
    let packets = Double(Self.burstsPerTurn * Generator.burst)
    let end = wallNanoseconds() + UInt64(options.seconds * 1e9)
    var engine: [Double] = []
    var alone: [Double] = []
    turn(judged: true)
    repeat {
      let first = threadNanoseconds()
      turn(judged: true)
      let second = threadNanoseconds()
      turn(judged: false)
      let third = threadNanoseconds()
      engine.append((Double(second - first) - Double(third - second)) / packets)
      alone.append(Double(third - second) / packets)
    } while wallNanoseconds() < end
    try checkForwarded()
    try check("alive", Int(forwarder.sessionCounts.live), of: flows)
    return (max(0.1, Self.median(engine)), Self.median(alone))
  }

  private mutating func turn(judged: Bool) {
    for _ in 0..<Self.burstsPerTurn {
      generator.fillNext()
      if judged { process(Generator.burst) }
    }
  }

  private mutating func process(_ count: Int) {
    forwarder.process(generator.slots, count: count)
    packetsSent &+= UInt64(count)
  }

  private func checkForwarded() throws(EngineBenchError) {
    var counts = InterfaceCounts()
    for interface in 0..<2 { counts += forwarder.counts(interface: interface) }
    guard counts.forwarded != packetsSent else { return }
    let reasons = DropReason.allCases.filter { reason in
      (0..<2).contains { forwarder.drops(interface: $0, reason: reason) > 0 }
    }
    throw EngineBenchError(
      description: "the engine forwarded \(counts.forwarded) of \(packetsSent) frames"
        + (reasons.isEmpty ? "" : " (\(reasons.map(\.name).joined(separator: ", ")))"))
  }

  private func check(_ what: String, _ count: Int, of expected: Int) throws(EngineBenchError) {
    if count != expected { throw EngineBenchError(description: "\(count) of \(expected) sessions were \(what)") }
  }

  private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}

/// The gateway that is measured: one forward, static neighbours, timers that do not run out meanwhile.
enum BenchPlan {
  static let wan = IPv4Address(203, 0, 113, 1)
  static let server = IPv4Address(192, 168, 1, 10)
  static let port: UInt16 = 7000
  static let targetPort: UInt16 = 8000
  static let wanStation = MACAddress(0x0200_0000_0101)
  static let lanStation = MACAddress(0x0200_0000_0201)

  static func make(capacity: Int, kind: EngineBenchOptions.Kind) -> Plan {
    var plan = Plan()
    plan.sessions = capacity
    var wan = InterfacePlan(name: "wan", role: .outside, device: "wan")
    wan.addresses = [IPv4Prefix(Self.wan, length: 24)]
    wan.gateways = [IPv4Address(203, 0, 113, 254)]
    wan.mac = wanStation
    wan.mtu = 1500
    var lan = InterfacePlan(name: "lan", role: .inside, device: "lan")
    lan.addresses = [IPv4Prefix(IPv4Address(192, 168, 1, 1), length: 24)]
    lan.mac = lanStation
    lan.mtu = 1500
    plan.interfaces = [wan, lan]
    plan.neighbors = [
      NeighborPlan(address: wan.gateways[0], mac: MACAddress(0x0200_0000_0001), interface: 0),
      NeighborPlan(address: server, mac: MACAddress(0x0200_0000_0002), interface: 1),
    ]
    plan.forwards = [
      ForwardPlan(
        name: "bench", protocols: kind == .udp ? .udp : .tcp, interface: 0, externals: [Self.wan], isWholeHost: false,
        spans: [PortSpan(ports: PortRange(port, port), target: targetPort, isParallel: true)], target: server)
    ]
    plan.timeouts.udp = 86_400
    plan.timeouts.tcpEstablished = 86_400
    plan.timeouts.tcpOpening = 86_400
    return plan
  }
}
