import ArgumentParser
import Explain
import Gateway
import Glibc
import Logging
import Settings

/// `sluice run`: forwards on real interfaces.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Forward on real interfaces until SIGTERM or SIGINT.",
    discussion: """
      Needs CAP_NET_RAW and CAP_NET_ADMIN, and the program nft. Says "sluice: ready" on standard error once it forwards; \
      the log goes there too. SIGHUP re-reads the configuration and takes it over, as `sluice reload` does.
      """)

  @Option(name: .shortAndLong, help: "Configuration file.")
  var config: String

  @Flag(help: "Take the device of the default route too, though the host cannot be reached over it then.")
  var force = false

  @Option(help: "Fixes every random choice (default: a random one).")
  var seed: UInt64?

  @Option(help: "File that keeps the sessions over a restart, in place of [engine] state; \"off\" for none.")
  var state: String?

  @OptionGroup var control: ControlOption

  func run() throws {
    let path = config
    let settings = try SettingsFile.load(path: path, purpose: .run)
    settings.warnings.forEach { complain($0.description) }
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    var options = GatewayOptions()
    options.force = force
    options.seed = seed
    options.controlPath = control.control
    options.statePath = state
    options.version = Sluice.configuration.version
    options.reread = { try SettingsFile.load(path: path, purpose: .run) }
    try runGateway {
      () throws(GatewayError) in
      try GatewayRun.run(settings, options: options, logger: Logger(label: "sluice")) { complain("ready") }
    }
  }
}

/// How clients and the gateway find each other.
struct ControlOption: ParsableArguments {
  @Option(help: "Path of the gateway's control socket (default: one for this network namespace, in /run/sluice).")
  var control: String?

  /// Asks the running gateway.
  func ask(_ request: ControlRequest) throws -> ControlAnswer {
    try runGateway {
      () throws(GatewayError) in
      try ControlClient.ask(request, at: control ?? ControlSocket.defaultPath)
    }
  }

  /// Has the running gateway explain frames.
  func watch(_ request: WatchRequest, _ tell: (ExplanationReport) -> Void) throws {
    try runGateway {
      () throws(GatewayError) in
      try ControlClient.watch(request, at: control ?? ControlSocket.defaultPath, began: { complain("watching") }, tell)
    }
  }

  /// Asks for one kind of answer.
  func ask<Answer>(_ request: ControlRequest, for kind: KeyPath<ControlAnswer, Answer?>) throws -> Answer {
    guard let answer = try ask(request)[keyPath: kind] else {
      throw Failure(.failed, "the gateway answers something else")
    }
    return answer
  }
}

/// Runs `body`, and gives what goes wrong in a gateway its exit status.
func runGateway<Result>(_ body: () throws(GatewayError) -> Result) throws -> Result {
  do {
    return try body()
  } catch {
    var failure = Failure(.failed, error.description)
    switch error {
    case .configuration: failure.status = .usage
    case .mistakes(let lines): (failure.status, failure.messages) = (.usage, lines)
    case .notPermitted: failure.status = .notPermitted
    case .failed: break
    }
    throw failure
  }
}
