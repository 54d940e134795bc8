import Foundation
import Lab
import Testing

extension Live {
  /// What programs that look for NATs find: STUN behaviour discovery (RFC 5780), ICE peers, a port scan.
  @Suite struct DiscoveryTests {
    /// A gateway with one masquerade and nothing else.
    private static func configuration(_ rules: String, outside: String = LabNetwork.gatewayOutside) -> String {
      """
      [interface.wan]
      role    = "outside"
      device  = "wan0"
      address = ["\(outside)/24"]

      [interface.lan]
      role    = "inside"
      device  = "lan0"
      address = ["192.168.1.1/24"]

      [[masquerade]]
      from = "lan"
      to   = "wan"
      \(rules)

      """
    }

    /// A STUN server with two addresses and two ports each, as RFC 5780 wants it.
    private static func startSTUN(_ network: LabNetwork, on device: String = "eth0") throws -> Child {
      try network.demand(in: .client, ["ip", "address", "add", "203.0.113.11/24", "dev", device])
      let server = try network.start(
        in: .client,
        [
          "turnserver", "-n", "--no-auth", "--no-tls", "--no-dtls", "--no-tcp", "--no-cli", "--log-file", "stdout",
          "--pidfile", "\(network.folder)/turnserver.pid", "--userdb", "\(network.folder)/turnserver.db",
          "--listening-ip", LabNetwork.client, "--listening-ip", "203.0.113.11",
        ])
      let ports = ["ss", "-Hlun", "sport = :3479"]
      let found = try Interruption.wait(seconds: 10) {
        try network.demand(in: .client, ports).contains("203.0.113.11:3479")
      }
      try #require(found, "the STUN server does not listen: \(server.output)\(server.errors)")
      return server
    }

    @Test(
      "U1 U2 STUN behaviour discovery finds endpoint-independent mapping, and the filtering that is configured",
      arguments: [
        ("endpoint-independent", "Endpoint Independent"), ("address-dependent", "Address Dependent"),
        ("address-and-port-dependent", "Address and Port Dependent"),
      ])
    func discovery(filtering: String, called: String) throws {
      let configuration = Self.configuration("filtering = \"\(filtering)\"")
      try Rig.with("stun", forwarder: .sluice(configuration)) { rig in
        let server = try Self.startSTUN(rig.network)
        defer { server.stop() }
        let found = try rig.network.demand(
          in: .server, ["turnutils_natdiscovery", "-m", "-f", LabNetwork.client], seconds: 60)
        #expect(found.contains("NAT with Endpoint Independent Mapping!"), "\(found)")
        #expect(found.contains("NAT with \(called) Filtering!"), "\(found)")
      }
    }

    @Test("U1 T9 two ICE peers behind two gateways connect by hole punching, with no relay")
    func punching() throws {
      LabNetwork.removeLeftovers()
      let (near, far) = (LabNetwork(ownedFor: "ice-near"), LabNetwork(ownedFor: "ice-far"))
      defer {
        near.down()
        far.down()
      }
      try near.up()
      try far.up()
      try joinOutside(near, far)
      let gateways = try [(near, LabNetwork.gatewayOutside), (far, "203.0.113.2")].map { network, outside in
        // The strictest filtering that ICE can pass, and ports that are drawn.
        let rules = "filtering = \"address-and-port-dependent\"\nports = \"20000-30000\""
        let path = try network.write(Self.configuration(rules, outside: outside), to: "sluice.toml")
        return try LabGateway(network: network, executable: Rig.executable, configuration: path)
      }
      let server = try Self.startSTUN(near, on: "outside")
      defer { server.stop() }
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("ice-peer.py")
        .path
      let peers = try [(near, "offer"), (far, "answer")].map { network, role in
        // Debian's interpreter has Debian's aioice.
        try network.start(in: .server, ["/usr/bin/python3", script, role, near.folder, LabNetwork.client])
      }
      let outcomes = try peers.map { try $0.wait(seconds: 60) }
      for (outcome, text) in zip(outcomes, ["hello from answer by 203.0.113.2", "hello from offer by 203.0.113.1"]) {
        #expect(outcome.succeeded && outcome.output.hasPrefix(text), "\(outcome.complaint)\(outcome.output)")
      }
      for gateway in gateways { #expect(gateway.process.stop().succeeded) }
    }

    /// One outside network for both gateways: a bridge in the first client's namespace.
    private func joinOutside(_ near: LabNetwork, _ far: LabNetwork) throws {
      let (client, gateway) = (near.namespace(.client), far.namespace(.gateway))
      for line in [
        "ip -n \(gateway) link delete wan0",
        "ip link add name wan0 netns \(gateway) type veth peer name eth1 netns \(client)",
        "ip -n \(gateway) link set wan0 up",
        "ip -n \(client) address flush dev eth0",
        "ip -n \(client) link add name outside type bridge",
        "ip -n \(client) link set eth0 master outside",
        "ip -n \(client) link set eth1 master outside",
        "ip -n \(client) link set eth1 up",
        "ip -n \(client) link set outside up",
        "ip -n \(client) address add \(LabNetwork.client)/24 dev outside",
      ] { try Lab.demand(line.split(separator: " ").map(String.init)) }
    }

    @Test("A21 a port scan from outside finds the configured forwards and nothing else", arguments: Way.allCases)
    func scan(way: Way) throws {
      try way.with("scan") { rig in
        let wanted = [way.isTranslated ? 80 : 8080, 5201, 8820, 8840] + Array(way.range...way.range + 3)
        let listen = way == .ipv4 ? "TCP-LISTEN" : "TCP6-LISTEN"
        let sink = try rig.network.start(in: .server, ["socat", "-u", "\(listen):5201,fork", "-"])
        defer { sink.stop() }
        try rig.waitForListener(.server, port: 5201)
        // Over IPv6, where nobody has much time, what lies around the forwards.
        let ports = way == .ipv4 || isLong ? "-" : "1-1100,5000-5400,8000-9200"
        let found = try rig.network.demand(
          in: .client,
          [
            "nmap", way == .ipv4 ? "-4" : "-6", "-sS", "-Pn", "-n", "-p", ports,
            "-T5",
            "--min-rate", "8000", "--max-retries", "2", "-oG", "-", way.outside,
          ], seconds: 120)
        let open = found.matches(of: /(\d+)\/open\//).compactMap { Int($0.1) }.sorted()
        #expect(open == wanted.sorted(), "\(found)")
        #expect(!found.contains("/closed/"), "something was refused, so something answers: \(found)")
      }
    }
  }
}
