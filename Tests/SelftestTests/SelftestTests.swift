import Engine
import Foundation
import PacketTestKit
import Settings
import Testing

@testable import Selftest

/// `sluice selftest`: what it finds is what the configuration says, and what is wrong is noticed.
@Suite struct SelftestTests {
  private func report(_ change: (inout Plan) -> Void = { _ in }) throws -> SelftestReport {
    try Selftest(
      .home {
        $0.masquerade()
        change(&$0)
      }
    ).run()
  }

  @Test(arguments: EndpointRule.allCases, EndpointRule.allCases)
  func `mapping and filtering are observed as they are configured, and so is the NAT type of a console`(
    mapping: EndpointRule, filtering: EndpointRule
  ) throws {
    let found = try report {
      $0.masquerades[0].mapping = mapping
      $0.masquerades[0].filtering = filtering
    }.masquerades[0]
    #expect(found.mapping == mapping.rawValue && found.filtering == filtering.rawValue)
    let type: NATType =
      mapping != .endpointIndependent ? .strict : filtering == .endpointIndependent ? .open : .moderate
    #expect(found.consoleType == type)
  }

  @Test func `with the defaults everything is met`() throws {
    let found = try report {
      $0.forward("web", [.tcp, .udp], ports: "8000-8003", to: "192.168.1.10:80")
    }
    for check in found.masquerades[0].checks { #expect(check.finding == .met, "\(check.ids) \(check.title)") }
    #expect(found.forwards.map(\.result) == [.met])
    #expect(found.masquerades[0].checks.count == Check.all.count)
  }

  @Test func `what is configured below the RFCs is not met, and the report says what was seen`() throws {
    let found = try report {
      $0.masquerades[0].mapping = .addressAndPortDependent
      $0.timeouts.udp = 30
      $0.timeouts.tcpEstablished = 600
    }
    let unmet = found.masquerades[0].checks.filter { $0.finding.word == "not met" }
    #expect(unmet.map(\.ids) == ["U1 T1", "U7", "T5"])
    #expect(unmet[0].finding.detail == "mapping is address-and-port-dependent")
    #expect(found.text.contains("udp is 30 s, RFC 4787 REQ-5 wants 120 s"))
  }

  @Test func `a forward that leads nowhere is noticed, and a refused client is looked for elsewhere`() throws {
    let found = try report {
      $0.forward("narrow", .tcp, ports: "80", to: "192.168.1.10") { $0.allow = [IPv4Prefix("192.0.2.0/24")!] }
      $0.forward("lost", .tcp, ports: "81", to: "10.99.0.1")
      $0.forward("host", [.tcp, .udp], ports: "all", to: "192.168.1.11", external: "203.0.113.5")
      $0.interfaces[0].gateways = [IPv4Address(203, 0, 113, 254)]
    }
    #expect(found.forwards[0].result == .met)
    #expect(found.forwards[1].result.word == "not met")
    #expect(found.forwards[2].result == .met && found.forwards[2].consoleType == .open)
  }

  @Test func `a configuration without a masquerade, or with one that cannot be played, is reported as such`() throws {
    let none = try Selftest(.home { $0.forward(ports: "80", to: "192.168.1.10") }).run()
    #expect(none.masquerades.isEmpty && none.forwards.map(\.result) == [.met])
    let full = try report { $0.change("lan") { $0.addresses = [IPv4Prefix("192.168.1.1/32")!] } }
    #expect(full.masquerades[0].obstacle == "no free address behind lan" && full.masquerades[0].checks.isEmpty)
  }

  @Test func `interfaces that get their address, MAC and MTU from the device can be played`() throws {
    let text = """
      [interface.wan]
      role = "outside"
      device = "eth0"
      address = "auto"
      [interface.lan]
      role = "inside"
      device = "eth1"
      vlan = 7
      address = ["192.168.1.1/24"]
      [[forward]]
      name = "web"
      protocol = "tcp"
      on = "wan"
      ports = "80"
      to = "192.168.1.10"
      [[masquerade]]
      from = "lan"
      to = "wan"
      """
    let plan = try SettingsFile(text: text, file: "auto.toml", purpose: .check).plan
    let found = try Selftest(plan).run()
    #expect(found.masquerades[0].consoleType == .moderate && found.forwards.map(\.result) == [.met])
    #expect(found.masquerades[0].checks.allSatisfy { $0.finding.word != "not met" }, "\(found.text)")
  }

  // MARK: As a command

  private func run(_ arguments: [String]) throws -> SluiceProcess.Ended {
    try SluiceProcess.run(["selftest"] + arguments)
  }

  @Test func `the command prints text or JSON and ends with 0; a bad configuration is 2`() throws {
    let directory = try TemporaryDirectory()
    let good = try directory.write(
      Array(
        """
        [interface.wan]
        role = "outside"
        device = "eth0"
        address = ["203.0.113.1/24"]
        gateway = ["203.0.113.254"]
        [interface.lan]
        role = "inside"
        device = "eth1"
        address = ["192.168.1.1/24"]
        [[masquerade]]
        from = "lan"
        to = "wan"

        """.utf8), as: "good.toml")
    let text = try run(["-c", good])
    #expect(text.status == 0 && text.output.contains("a game console reports: moderate"), "\(text)")
    let json = try run(["-c", good, "--json"])
    let value = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
    let masquerade = try #require((value["masquerades"] as? [[String: Any]])?.first)
    #expect(masquerade["console_type"] as? String == "moderate")
    #expect(masquerade["mapping"] as? String == "endpoint-independent")
    let checks = try #require(masquerade["checks"] as? [[String: Any]])
    #expect(checks.count == Check.all.count && checks.allSatisfy { $0["ids"] is [String] && $0["result"] is String })

    let bad = try directory.write(Array("[interface.wan]\nrole = 1\n".utf8), as: "bad.toml")
    let refused = try run(["-c", bad])
    #expect(refused.status == 2 && refused.output.isEmpty && refused.errors.hasPrefix("sluice: \(bad):"))
    #expect(try run([]).status == 2)
  }
}
