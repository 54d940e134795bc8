import ArgumentParser
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

  func run() throws {
    let counts = try runGateway {
      () throws(GatewayError) in
      try MirrorRun.run(devices: (first, second), spinMicroseconds: spin) { complain("ready") }
    }
    for (name, count) in counts { print(name, count) }
  }
}
