import Glibc

/// The programs of a lab: `sluice run` in the gateway's namespace, `sluice lab serve` at both ends.
package final class LabGateway {
  private let network: LabNetwork
  /// The `sluice` executable.
  private let executable: String
  /// `sluice run` with its arguments, as the gateway's namespace runs it.
  private let command: [String]
  private let log: String?
  /// The gateway that was started last.
  package private(set) var process: Child

  /// The control socket of a network's gateway.
  package static func controlPath(_ network: LabNetwork) -> String { "\(network.folder)/control.sock" }

  /// Starts `sluice run` and waits until it forwards.
  /// - Parameters:
  ///   - configuration: path of its configuration file.
  ///   - arguments: more of `sluice run`'s options.
  ///   - log: a file that takes its output, for a gateway that outlives this process.
  package init(
    network: LabNetwork, executable: String, configuration: String, arguments: [String] = [], log: String? = nil
  )
    throws
  {
    self.network = network
    self.executable = executable
    self.log = log
    command =
      [
        executable, "run", "-c", configuration, "--control", Self.controlPath(network), "--state",
        network.statePath,
      ] + arguments
    process = try network.start(in: .gateway, command, log: log)
    try waitUntilReady()
  }

  /// Starts `sluice run` anew and waits until it forwards.
  package func start() throws {
    process = try network.start(in: .gateway, command, log: log)
    try waitUntilReady()
  }

  private func waitUntilReady() throws {
    let child = process
    let ready = try Interruption.wait(seconds: 20) { child.errors.contains("sluice: ready") || !child.isRunning }
    guard ready, child.isRunning else {
      throw LabError("the gateway did not start: " + child.stop(seconds: 1).complaint)
    }
  }

  /// Asks the running gateway by its control socket, as a user would.
  /// - Parameter words: the command, such as `status` or `flow list`.
  package func ask(_ words: [String]) throws -> Outcome {
    try network.run(
      in: .gateway, [executable] + words + ["--control", Self.controlPath(network)])
  }

  /// Starts `lab serve` somewhere and waits until it listens.
  package static func serve(
    _ arguments: [String], in place: LabNetwork.Place, of network: LabNetwork, executable: String, log: String? = nil
  ) throws -> Child {
    let child = try network.start(in: place, [executable, "lab", "serve"] + arguments, log: log)
    let ready = try Interruption.wait(seconds: 10) { child.output.contains("serving") || !child.isRunning }
    guard ready, child.isRunning else {
      throw LabError("the \(place.rawValue)'s services did not start: " + child.stop(seconds: 1).complaint)
    }
    return child
  }

  /// The path of the executable that runs now.
  package static var ownExecutable: String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    return length > 0 ? String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self) : "sluice"
  }
}
