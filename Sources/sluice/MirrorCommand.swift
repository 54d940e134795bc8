import ArgumentParser
import Engine
import Gateway
import PacketIO

/// `sluice mirror A B`: the gateway without its engine, for measurements.
struct MirrorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mirror",
    abstract:
      "Send what comes in on one device out on the other unchanged, until SIGTERM: the floor of every measurement.",
    shouldDisplay: false)

  @Argument(help: "A device.")
  var first: String

  @Argument(help: "The other device.")
  var second: String

  @Option(help: "Microseconds to watch the rings after the last frame before sleeping.")
  var spin = 50

  @Option(help: "How frames come in: latency, throughput or auto.")
  var ring: Plan.Ring = .latency

  @Option(help: "Frames a second from which auto receives in blocks; a fifth of it for slots.")
  var floodRate: UInt64 = RingRates().blocks

  func run() throws {
    var rates = RingRates()
    rates.blocks = floodRate
    rates.slots = floodRate / 5
    let counts = try runGateway {
      () throws(GatewayError) in
      try MirrorRun.run(devices: (first, second), spinMicroseconds: spin, ring: ring, rates: rates) {
        complain("ready")
      }
    }
    for (name, count) in counts { print(name, count) }
  }
}

extension Plan.Ring: ExpressibleByArgument {}
