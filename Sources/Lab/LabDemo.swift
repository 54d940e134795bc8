import Glibc

/// Real traffic through a real gateway, one step after another, told to somebody who sees it for the first time.
package struct LabDemo {
  let network: LabNetwork
  let gateway: LabGateway
  private let client: Child
  private let server: Child
  private var failures: [String] = []
  private var stepNumber = 0

  /// Makes a lab of its own, runs every step in it, and takes it down whatever happens.
  /// - Parameters:
  ///   - executable: the `sluice` to run in the gateway.
  ///   - seconds: how long each bulk transfer runs.
  /// - Returns: whether every step succeeded.
  package static func run(executable: String, seconds: Int) throws -> Bool {
    LabNetwork.removeLeftovers()
    let network = LabNetwork(ownedFor: "demo")
    defer { network.down() }
    say(picture)
    try network.up()
    let configuration = try network.write(LabNetwork.configuration, to: "sluice.toml")
    var demo = try LabDemo(network: network, executable: executable, configuration: configuration)
    try demo.runSteps(seconds: seconds)
    return demo.conclude()
  }

  private init(network: LabNetwork, executable: String, configuration: String) throws {
    self.network = network
    server = try LabGateway.serve(LabNetwork.serverArguments, in: .server, of: network, executable: executable)
    client = try LabGateway.serve(LabNetwork.clientArguments, in: .client, of: network, executable: executable)
    gateway = try LabGateway(network: network, executable: executable, configuration: configuration)
  }

  private static let picture = """
    Three network namespaces, joined by two veth links with their default offloads; every host runs the kernel's own TCP:

        client  203.0.113.10 ---- wan 203.0.113.1  gateway  192.168.1.1 lan ---- 192.168.1.10  server
                                           (sluice run)

    """

  // MARK: - The steps

  private mutating func runSteps(seconds: Int) throws {
    let outside = LabNetwork.gatewayOutside
    let server = LabNetwork.server
    try step("HTTP through a single port: 80 outside is 8080 on the server", from: .client, curl("\(outside)/")) {
      $0.contains("server \(server):8080 sees client \(LabNetwork.client):")
    }
    for port in [8820, 8840] {
      try step("HTTP through a list of ports", from: .client, curl("\(outside):\(port)/")) {
        $0.contains("server \(server):\(port) ")
      }
    }
    for port in [9000, 9003] {
      try step("HTTP through a range: 9000-9003 is 9100-9103", from: .client, curl("\(outside):\(port)/")) {
        $0.contains("server \(server):\(port + 100) ")
      }
    }
    try step("A port that is not forwarded stays silent", from: .client, curl("\(outside):81/", limit: 1), status: 28) {
      _ in true
    }
    let echo = "echo 'datagram through sluice' | socat -t 2 - UDP:\(outside):7007"
    try step("UDP echo", from: .client, ["sh", "-c", echo]) { $0.contains("datagram through sluice") }
    let whole = LabNetwork.wholeHostOutside
    try step("Ping a whole host by its outside address", from: .client, ["ping", "-n", "-c", "3", "-i", "0.2", whole]) {
      $0.contains(" 0% packet loss")
    }
    try step("Traceroute to it: the gateway is a hop", from: .client, traceroute(whole)) {
      $0.contains("1  \(outside) ") && $0.contains("2  \(whole) ")
    }
    try step("An inside host reaches out: masquerade", from: .server, curl("\(LabNetwork.client):8000/")) {
      $0.contains("sees client \(outside):")
    }
    try step("Ping from inside", from: .server, ["ping", "-n", "-c", "3", "-i", "0.2", LabNetwork.client]) {
      $0.contains(" 0% packet loss")
    }
    try step("The server by its own outside address: hairpin", from: .server, curl("\(outside)/")) {
      $0.contains("server \(server):8080 sees client \(outside):")
    }
    try bulk(seconds: seconds)
  }

  private mutating func bulk(seconds: Int) throws {
    let listener = try network.start(in: .server, ["iperf3", "-s", "-p", "5201"])
    _ = try Interruption.wait(seconds: 5) { listener.output.contains("listening") || !listener.isRunning }
    let iperf = ["iperf3", "-c", LabNetwork.gatewayOutside, "-p", "5201", "-t", "\(seconds)", "-i", "0", "-f", "m"]
    let limit = Double(seconds) + 20
    try step("Bulk TCP to the server", from: .client, iperf, seconds: limit, show: Self.lastRates) {
      $0.contains("receiver")
    }
    try step("Bulk TCP from the server", from: .client, iperf + ["-R"], seconds: limit, show: Self.lastRates) {
      $0.contains("receiver")
    }
    listener.stop()
  }

  private func curl(_ address: String, limit: Int = 5) -> [String] {
    ["curl", "-sS", "--noproxy", "*", "--max-time", "\(limit)", "http://\(address)"]
  }

  private func traceroute(_ address: String) -> [String] {
    ["traceroute", "-n", "-q", "1", "-w", "2", "-m", "4", address]
  }

  /// iperf3's two closing lines.
  private static func lastRates(_ output: String) -> String {
    let lines = output.split(separator: "\n").filter { $0.hasSuffix("sender") || $0.hasSuffix("receiver") }
    return lines.map { $0.split(separator: "]", maxSplits: 1).last.map { String($0).trimmed } ?? "" }
      .joined(separator: "\n")
  }

  // MARK: - Telling

  /// Runs one program in a namespace, shows it and its result, and remembers a failure.
  private mutating func step(
    _ title: String, from place: LabNetwork.Place, _ argv: [String], seconds: Double = 15, status: Int32 = 0,
    show: (String) -> String = { $0 }, expecting isRight: (String) -> Bool
  ) throws {
    stepNumber += 1
    Self.say("\(stepNumber). \(title)")
    Self.say("   \(place.rawValue)$ " + argv.map(\.shellQuoted).joined(separator: " "))
    let outcome = try network.run(in: place, argv, seconds: seconds)
    let isFine = outcome.status == status && !outcome.timedOut && isRight(outcome.output)
    let result = isFine && status == 0 ? show(outcome.output) : outcome.output + outcome.errors
    for line in result.trimmed.split(separator: "\n") { Self.say("     \(line)") }
    Self.say(isFine ? "   ok\n" : "   FAILED: \(outcome.complaint)\n")
    if !isFine { failures.append("\(stepNumber). \(title)") }
  }

  /// Shows what the gateway knows now, stops it, and sums up.
  private mutating func conclude() -> Bool {
    for words in [["flow", "list"], ["status"], ["drops"]] {
      Self.say("gateway$ sluice " + words.joined(separator: " "))
      guard let outcome = try? gateway.ask(words), outcome.succeeded else {
        failures.append("sluice " + words.joined(separator: " "))
        Self.say("   FAILED\n")
        continue
      }
      Self.say(outcome.output)
    }
    let end = gateway.process.stop()
    if !end.succeeded { failures.append("the gateway's end: \(end.complaint)") }
    if failures.isEmpty {
      Self.say("All \(stepNumber) steps went through sluice. The namespaces are gone again.")
    } else {
      Self.say("FAILED:\n  " + failures.joined(separator: "\n  "))
      Self.say("The gateway said:\n" + end.errors)
    }
    return failures.isEmpty
  }

  private static func say(_ text: String) {
    print(text)
    fflush(nil)
  }
}
