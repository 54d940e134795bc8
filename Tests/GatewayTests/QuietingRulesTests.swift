import Engine
import Settings
import Testing

@testable import Gateway
@testable import PacketIO

@Suite struct QuietingRulesTests {
  /// The rules by device name. Devices are made up: nothing of this host matters.
  private func rules(_ text: String) throws -> [String: QuietingRules] {
    let plan = try SettingsFile(text: text, file: "test.toml", purpose: .check).plan
    var links = LinkTable()
    var numbers: [String: Int32] = [:]
    for interface in plan.interfaces {
      let number = numbers[interface.device] ?? Int32(numbers.count + 1)
      numbers[interface.device] = number
      let device = PacketDevice(
        name: interface.device, index: number, mtu: 1500, link: .ethernet, mac: MACAddress(0x0200_0000_0001), isUp: true
      )
      links.append(interfaceOn: device, mac: device.mac)
    }
    let rules = QuietingRules.rules(for: plan, links: links)
    return Dictionary(uniqueKeysWithValues: zip(links.links.map(\.device.name), rules))
  }

  private let alongside = """
    [engine]
    mode = "alongside"
    [interface.wan]
    role = "outside"
    device = "eth0"
    address = ["203.0.113.1/24"]
    [interface.lan]
    role = "inside"
    device = "eth1"
    vlan = 7
    address = ["192.168.1.1/24"]
    [[forward]]
    name = "web"
    protocol = "tcp"
    on = "wan"
    ports = "80, 8810-8812"
    to = "192.168.1.10"
    [[forward]]
    name = "gate"
    protocol = "udp"
    on = "wan"
    ports = "53"
    to = "192.168.1.11:5353"
    source = "gateway"
    [[masquerade]]
    from = "lan"
    to = "wan"
    ports = "20000-29999"

    """

  @Test func `alongside, what triggers open is hidden as well`() throws {
    let trigger = """
      [[trigger]]
      name = "game"
      from = "lan"
      protocol = "tcp+udp"
      when = "6112"
      open = "6112, 6881-6889"

      """
    let rules = try rules(alongside + trigger)
    for device in ["eth0", "eth1"] {
      let found = try #require(rules[device]).rules
      for ipProtocol in ["tcp", "udp"] {
        let rule = "ip daddr 203.0.113.1 \(ipProtocol) dport { 6112, 6881-6889 } drop"
        #expect(found.contains { $0.hasSuffix(rule) }, "\(found)")
      }
    }
  }

  @Test func `dedicated mode hides everything, but DHCP answers where addresses are automatic`() throws {
    let text = """
      [interface.wan]
      role = "outside"
      device = "eth0"
      address = "auto"
      [interface.lan]
      role = "inside"
      device = "eth1"
      address = ["192.168.1.1/24"]
      """
    let rules = try rules(text)
    #expect(rules["eth1"] == QuietingRules(policy: .drop, rules: []))
    #expect(rules["eth0"] == QuietingRules(policy: .drop, rules: ["meta protocol ip udp dport 68 accept"]))
  }

  @Test func `alongside mode hides forwarded ports and the pool, and leaves the rest`() throws {
    let outside = try #require(try rules(alongside)["eth0"])
    #expect(outside.policy == .accept)
    #expect(outside.rules.contains("ether type ip ip daddr { 203.0.113.1 } tcp dport { 80, 8810-8812 } drop"))
    #expect(outside.rules.contains("ether type ip ip daddr { 203.0.113.1 } udp dport { 53 } drop"))
    #expect(outside.rules.contains("ether type ip ip daddr 203.0.113.1 tcp dport { 20000-29999 } drop"))
    #expect(outside.rules.contains("ether type ip ip daddr 203.0.113.1 udp dport { 20000-29999 } drop"))
    #expect(!outside.rules.contains { $0.contains("meta l4proto") }, "what comes in outside is masqueraded by nobody")
  }

  @Test func `alongside mode hides what inside hosts send out, and the targets' answers`() throws {
    let inside = try #require(try rules(alongside)["eth1"])
    let scope = "vlan id 7 vlan type ip"
    let elsewhere = "ip daddr != { 192.168.1.0-192.168.1.255, 203.0.113.1, 224.0.0.0-239.255.255.255, 255.255.255.255 }"
    #expect(inside.rules.contains("\(scope) \(elsewhere) meta l4proto { icmp, tcp, udp } drop"))
    #expect(
      inside.rules.contains("\(scope) ip saddr 192.168.1.10 \(elsewhere) tcp sport { 80, 8810-8812 } drop"))
    // The target of a "gateway" forward answers to our own address.
    #expect(
      inside.rules.contains(
        "\(scope) ip saddr 192.168.1.11 ip daddr { 203.0.113.1, 192.168.1.1 } udp sport { 5353 } drop"))
    #expect(!inside.rules.contains { $0.contains("192.168.1.10 ip daddr { 203.0.113.1, 192.168.1.1 }") })
  }

  @Test func `alongside mode hides every address of a pool, other protocols where they go out, and no exception`()
    throws
  {
    let text = alongside.replacing(
      "ports = \"20000-29999\"",
      with: "ports = \"20000-29999\"\nother-protocols = true\nexcept = [\"10.8.0.0/16\"]\n"
        + "external = [\"203.0.113.1\", \"203.0.113.2\"]"
    ).replacing("\"203.0.113.1/24\"", with: "\"203.0.113.1/24\", \"203.0.113.2/24\"")
    let rules = try rules(text)
    let outside = try #require(rules["eth0"]).rules
    for address in ["203.0.113.1", "203.0.113.2"] {
      #expect(outside.contains("ether type ip ip daddr \(address) tcp dport { 20000-29999 } drop"))
    }
    let inside = try #require(rules["eth1"]).rules
    #expect(
      inside.contains {
        $0.contains("ip daddr != { 10.8.0.0-10.8.255.255, 192.168.1.0-192.168.1.255,") && !$0.contains("l4proto")
      })
  }

  @Test func `interfaces that share a device share a table, each with its own tag`() throws {
    let text = alongside.replacing("device = \"eth1\"", with: "device = \"eth0\"")
    let rules = try rules(text)
    #expect(rules.count == 1)
    let both = try #require(rules["eth0"]).rules
    #expect(both.contains { $0.hasPrefix("ether type ip ") })
    #expect(both.contains { $0.hasPrefix("vlan id 7 ") })
  }
}
