import ArgumentParser
import Glibc
import Lab

/// `sluice lab`: network namespaces to try things in.
struct LabCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lab",
    abstract: "Network namespaces client - gateway - server, and real traffic through them.",
    discussion: "Needs root, and iproute2; the demo also curl, socat, iperf3, ping and traceroute.",
    subcommands: [Up.self, Down.self, Demo.self, Serve.self]
  )

  struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "up", abstract: "Make the namespaces, start services at both ends and `sluice run` in the gateway.")

    @Option(help: "What to call it; several can be up at once.")
    var name = "lab"

    @Option(name: .shortAndLong, help: "Configuration file of the gateway (default: the lab's own).")
    var config: String?

    @Flag(help: "Leave the gateway to you: do not start `sluice run`.")
    var noGateway = false

    @Flag(help: "Switch checksum and segmentation offloads off (by ethtool).")
    var noOffloads = false

    @Option(help: "MTU of the gateway's outside device.")
    var wanMtu = 1500

    @Option(help: "MTU of the gateway's inside device.")
    var lanMtu = 1500

    func run() throws {
      var shape = LabNetwork.Shape()
      shape.offloads = !noOffloads
      shape.wanMTU = wanMtu
      shape.lanMTU = lanMtu
      try LabCommand.mapErrors {
        let hints = try LabSession.up(
          name: name, shape: shape, configuration: config, startsGateway: !noGateway,
          executable: LabGateway.ownExecutable)
        print(hints)
      }
    }
  }

  struct Down: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "down",
      abstract: "End every process of a lab and remove its namespaces, and those that killed demos left.")

    @Option(help: "Which one.")
    var name = "lab"

    func run() throws {
      try LabCommand.mapErrors { print(try LabSession.down(name: name)) }
    }
  }

  struct Demo: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "demo",
      abstract: "Up, real traffic through every kind of forward, the session table, and down again.")

    @Option(help: "Seconds of each bulk transfer.")
    var seconds = 3

    func run() throws {
      try LabCommand.mapErrors {
        let isFine = try LabDemo.run(executable: LabGateway.ownExecutable, seconds: seconds)
        if !isFine { throw ExitStatus.failed.code }
      }
    }
  }

  struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "serve", abstract: "What the lab's hosts run: HTTP and UDP echo, until killed.", shouldDisplay: false
    )

    @Option(help: "TCP ports of the HTTP server, such as \"80, 8810-8815\".")
    var http = ""

    @Option(help: "UDP ports of the echo service.")
    var udpEcho = ""

    func run() throws {
      try LabCommand.mapErrors(catchingSignals: false) {
        try LabService.serve(httpPorts: LabService.ports(http), echoPorts: LabService.ports(udpEcho))
      }
    }
  }

  /// What the lab throws, as this program ends. After Ctrl-C the status is 130, as shells count it.
  static func mapErrors(catchingSignals: Bool = true, _ body: () throws -> Void) throws {
    if catchingSignals { Interruption.catchSignals() }
    do {
      try body()
    } catch let error as LabError {
      throw Failure(.failed, "\(error)")
    } catch let error as NotPermitted {
      throw Failure(.notPermitted, "\(error)")
    } catch is Interruption {
      complain("interrupted; the lab is cleaned up")
      throw ExitCode(128 + SIGINT)
    }
  }
}
