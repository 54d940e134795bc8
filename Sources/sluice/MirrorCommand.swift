import ArgumentParser
import Engine
import Gateway

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

  @Option(help: "How frames come in: latency or throughput.")
  var ring: Plan.Ring = .latency

  func run() throws {
    let counts = try runGateway {
      () throws(GatewayError) in
      try MirrorRun.run(devices: (first, second), spinMicroseconds: spin, ring: ring) { complain("ready") }
    }
    for (name, count) in counts { print(name, count) }
  }
}

extension Plan.Ring: ExpressibleByArgument {}
