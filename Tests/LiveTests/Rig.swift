import Foundation
import Lab
import Testing

/// Every test of real traffic, one after another: each has namespaces of its own, but they share two cores.
///
/// Without the right to make namespaces the tests are skipped, except in CI, where that is a failure.
@Suite(.serialized, .enabled(if: LabNetwork.isPermitted || isCI, "needs root, to make network namespaces"))
enum Live {}

private let isCI = ProcessInfo.processInfo.environment["CI"] == "true"

/// R2: client - gateway - server in namespaces, with a forwarder in the middle and services at both ends.
struct Rig {
  /// What forwards in the gateway's namespace.
  enum Forwarder {
    /// `sluice run` with this configuration and more of its options.
    case sluice(String, arguments: [String] = [])
    /// The kernel's own forwarding and nftables NAT: what the rig itself is checked with.
    case kernel
    /// Nothing yet: the test starts it.
    case nothing
  }

  let network: LabNetwork
  let gateway: LabGateway?
  private let services: [Child]

  /// The `sluice` of the same build as this test bundle.
  static var executable: String {
    let bundle = LabGateway.ownExecutable
    return (bundle as NSString).deletingLastPathComponent + "/sluice"
  }

  /// Makes the rig, runs the body and takes everything down, whatever happens. What the gateway said is told on failure.
  static func with(
    _ purpose: String, _ shape: LabNetwork.Shape = .init(), forwarder: Forwarder = .sluice(LabNetwork.configuration),
    _ body: (Rig) throws -> Void
  ) throws {
    LabNetwork.removeLeftovers()
    let network = LabNetwork(ownedFor: purpose)
    defer { network.down() }
    try network.up(shape)
    let rig = try Rig(network: network, forwarder: forwarder)
    do {
      try body(rig)
    } catch {
      if let process = rig.gateway?.process { Issue.record("the gateway said: \(process.output)\(process.errors)") }
      throw error
    }
    if let process = rig.gateway?.process {
      #expect(process.isRunning, "the gateway ended: \(process.errors)")
      let end = process.stop()
      #expect(end.succeeded, "the gateway did not end well: \(end.complaint)")
    }
  }

  private init(network: LabNetwork, forwarder: Forwarder) throws {
    self.network = network
    services = [
      try LabGateway.serve(
        LabNetwork.serverArguments, in: .server, of: network, executable: Self.executable),
      try LabGateway.serve(
        LabNetwork.clientArguments, in: .client, of: network, executable: Self.executable),
    ]
    switch forwarder {
    case .nothing:
      gateway = nil
    case .kernel:
      gateway = nil
      try KernelNAT.start(in: network)
    case .sluice(let text, let arguments):
      let path = try Self.configure(network, text)
      gateway = try LabGateway(
        network: network, executable: Self.executable, configuration: path, arguments: arguments)
    }
  }

  /// The configuration with `workers` workers, unless it says itself how many or on which cores, or records what one of
  /// them sees.
  static func with(workers: Int, _ text: String) -> String {
    if ["workers", "cores", "[recorder]"].contains(where: text.contains) { return text }
    if let engine = text.range(of: "[engine]\n") {
      return text.replacingCharacters(in: engine, with: "[engine]\nworkers = \(workers)\n")
    }
    return "[engine]\nworkers = \(workers)\n" + text
  }

  /// `SLUICE_TEST_WORKERS` gives every test's gateway so many workers.
  static let usualWorkers = ProcessInfo.processInfo.environment["SLUICE_TEST_WORKERS"].flatMap(Int.init) ?? 1

  private static func withUsualWorkers(_ text: String) -> String {
    usualWorkers == 1 ? text : with(workers: usualWorkers, text)
  }

  /// Writes the gateway's configuration, with as many workers as every test's has; the file's path.
  @discardableResult
  static func configure(_ network: LabNetwork, _ text: String) throws -> String {
    try network.write(withUsualWorkers(text), to: "sluice.toml")
  }

  /// The same for a gateway that runs: it is read at the next reload.
  func configure(_ text: String) throws { try Self.configure(network, text) }

  // MARK: - Traffic

  /// A shell pipeline that has to succeed in every part; what it printed, without the space around it.
  func shell(_ place: LabNetwork.Place, _ script: String, seconds: Double = 30) throws -> String {
    try network.demand(in: place, ["bash", "-c", "set -o pipefail; " + script], seconds: seconds)
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// The answer to an HTTP request.
  func fetch(_ place: LabNetwork.Place, _ address: String) throws -> String {
    try shell(place, "curl -sS --fail --max-time 10 http://\(address)")
  }

  /// SHA-256 of `count` bytes of the services' stream as `place` gets them from an address.
  func digest(_ place: LabNetwork.Place, _ address: String, bytes count: Int) throws -> String {
    try shell(place, "curl -sS --fail http://\(address)/bytes/\(count) | sha256sum", seconds: 120)
  }

  /// 200 connections at once, opened and closed, each with its own count of bytes.
  func expectManyConnections(to address: String = LabNetwork.gatewayOutside) throws {
    let urls = "http://\(address)/bytes/[100001-100200]"
    let report = try shell(
      .client,
      "curl -sS --fail --parallel --parallel-immediate --parallel-max 200 -o /dev/null "
        + "-w '%{http_code} %{size_download}\\n' '\(urls)' | sort")
    #expect(report == (100_001...100_200).map { "200 \($0)" }.joined(separator: "\n"))
  }

  /// SHA-256 of the same bytes without any network between.
  func truth(bytes count: Int) throws -> String {
    try digest(.server, "127.0.0.1:8080", bytes: count)
  }

  /// SHA-256 of `count` bytes that the client sent to the server through the forward of port 5201.
  func uploadDigest(to address: String = LabNetwork.gatewayOutside, bytes count: Int) throws -> String {
    let listen = address.hasPrefix("[") ? "TCP6-LISTEN" : "TCP-LISTEN"
    let sink = try network.start(in: .server, ["bash", "-c", "socat -u \(listen):5201 - | sha256sum"])
    try waitForListener(.server, port: 5201)
    let source = "curl -sS --fail http://127.0.0.1:8000/bytes/\(count)"
    _ = try shell(.client, "\(source) | socat -u - TCP:\(address):5201", seconds: 120)
    let outcome = try sink.wait(seconds: 60)
    try #require(outcome.succeeded, "\(outcome.complaint)")
    return outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Waits until something listens on a TCP port.
  func waitForListener(_ place: LabNetwork.Place, port: Int) throws {
    let filter = ["ss", "-Hltn", "sport = :\(port)"]
    let found = try Interruption.wait(seconds: 10) { try !network.demand(in: place, filter).isEmpty }
    try #require(found, "nothing listens on \(port)")
  }

  // MARK: - What the kernel counted

  /// A namespace's counters by name, such as `TcpInCsumErrors` (/proc/net/snmp) and `Udp6InCsumErrors` (/proc/net/snmp6).
  func counters(_ place: LabNetwork.Place) throws -> [String: Int] {
    let lines = try network.demand(in: place, ["cat", "/proc/net/snmp"]).split(separator: "\n")
    var counters: [String: Int] = [:]
    for line in try network.demand(in: place, ["cat", "/proc/net/snmp6"]).split(separator: "\n") {
      let words = line.split { $0 == " " || $0 == "\t" }
      if words.count == 2 { counters[String(words[0])] = Int(words[1]) }
    }
    for (names, values) in zip(lines, lines.dropFirst()) {
      let names = names.split(separator: " "), values = values.split(separator: " ")
      guard names.first == values.first, let group = names.first?.dropLast(), Int(values[1]) != nil else { continue }
      for (name, value) in zip(names, values).dropFirst() { counters["\(group)\(name)"] = Int(value) }
    }
    return counters
  }

  /// Wrong checksums that either end's stack has seen so far.
  func checksumErrors() throws -> Int {
    let names = [
      "TcpInCsumErrors", "UdpInCsumErrors", "IcmpInCsumErrors", "IpInHdrErrors", "Udp6InCsumErrors",
      "Icmp6InCsumErrors",
      "Ip6InHdrErrors",
    ]
    return try [LabNetwork.Place.client, .server].reduce(0) { total, place in
      let counters = try counters(place)
      return try names.reduce(total) { try $0 + #require(counters[$1]) }
    }
  }
}

/// The same forwards and masquerade as the lab's configuration, by the kernel (R3).
enum KernelNAT {
  static func start(in network: LabNetwork) throws {
    let rules = """
      table ip nat {
        chain prerouting {
          type nat hook prerouting priority dstnat;
          ip daddr 203.0.113.1 tcp dport 80 dnat to 192.168.1.10:8080
          ip daddr 203.0.113.1 tcp dport { 8820, 8840, 5201 } dnat to 192.168.1.10
          ip daddr 203.0.113.1 udp dport { 7007, 5201 } dnat to 192.168.1.10
          ip daddr 203.0.113.5 dnat to 192.168.1.20
        }
        chain postrouting {
          type nat hook postrouting priority srcnat;
          oifname "wan0" ip saddr 192.168.1.0/24 masquerade
        }
      }
      """
    let path = try network.write(rules, to: "kernel.nft")
    let script = """
      set -e
      ip address add 203.0.113.1/24 dev wan0
      ip address add 203.0.113.5/32 dev wan0
      ip address add 192.168.1.1/24 dev lan0
      echo 1 > /proc/sys/net/ipv4/ip_forward
      nft -f \(path)
      """
    try network.demand(in: .gateway, ["sh", "-c", script])
  }
}
