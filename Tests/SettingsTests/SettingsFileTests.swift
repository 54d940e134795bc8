import Engine
import Testing

@testable import Settings

@Suite struct SettingsFileTests {
  private static let unusual = """
    [engine]
    mode = "alongside"
    workers = 4
    ring = "auto"
    spin-microseconds = 0
    cores = [3, 2, 1, 0]
    [interface."a.b"]
    role = "outside"
    device = "eth0"
    vlan = "200.100"
    address = ["203.0.113.1/24", "2001:db8::1/64"]
    gateway = ["203.0.113.254", "2001:db8::fe"]
    [interface.lan]
    role = "inside"
    device = "eth1"
    vlan = 5
    address = "192.168.1.1/24"
    unsolicited = "unreachable"
    [interface.tunnel]
    role = "inside"
    device = "wg0"
    address = "auto"
    mtu = 1420
    [[route]]
    destination = "2001:db8:5::/48"
    via = "2001:db8::9"
    [[neighbor]]
    address = "2001:db8::9"
    mac = "02:00:00:00:00:09"
    [[forward]]
    name = "quote \\" and \\\\ and ä"
    protocol = "tcp+udp"
    on = "a.b"
    ports = "90, 100-109"
    except = "103, 102"
    to = ["192.168.1.10:9000-9010", "[2001:db8::10]:9000-9010"]
    allow = ["10.1.2.3/8", "2001:db8::/32"]
    [[forward]]
    name = "host"
    protocol = "any"
    external = "203.0.113.5"
    ports = "all"
    except = "22"
    to = "192.168.1.11"
    enabled = false
    [[forward]]
    name = "gather"
    protocol = "udp"
    on = "a.b"
    ports = "5000-5010"
    to = "192.168.1.12:53"
    source = "gateway"
    [[masquerade]]
    from = "lan"
    to = "a.b"
    ports = "61000-62000, 63000"
    filtering = "endpoint-independent"
    [[trigger]]
    name = "game"
    from = "lan"
    protocol = "tcp+udp"
    when = "6112, 6113-6114"
    open = "6112, 6881-6889"
    [[trigger]]
    name = "one"
    from = "lan"
    protocol = "udp"
    when = "1"
    open = "2"
    for = "1h30s"
    conflict = "steal"
    [timeouts]
    udp = "1h1m1s"
    """

  @Test(arguments: [manualExample, twoInterfaces, unusual])
  func normalisedTextMeansTheSame(_ text: String) throws {
    let first = try load(text)
    let second = try load(first.normalised)
    var (plan, again) = (first.plan, second.plan)
    // Only the lines differ.
    for index in plan.forwards.indices { plan.forwards[index].line = 0 }
    for index in again.forwards.indices { again.forwards[index].line = 0 }
    for index in plan.triggers.indices { plan.triggers[index].line = 0 }
    for index in again.triggers.indices { again.triggers[index].line = 0 }
    #expect(plan == again)
    #expect(second.normalised == first.normalised)
    #expect(second.normalisedJSON == first.normalisedJSON)
  }

  @Test func normalisedTextHasEveryKey() throws {
    let text = try load(manualExample + "\n[interface.x]\nrole = \"inside\"\ndevice = \"x\"\naddress = \"auto\"")
      .normalised
    let keys = [
      "mode", "workers", "sessions", "ring", "# spin-microseconds", "# cores", "role", "device", "vlan", "address",
      "gateway", "mac", "mtu", "ping",
      "unsolicited", "destination", "via", "name", "protocol", "on", "ports", "# except", "to", "source", "allow",
      "deny",
      "hairpin", "enabled", "from", "mapping", "filtering", "udp", "udp-dns", "tcp-established", "tcp-transitory",
      "icmp",
      "# mac", "# mtu", "# vlan", "# clamp-mss", "pick-up", "# external", "inbound-refresh", "other-protocols",
      "# timeouts", "tcp-opening", "tcp-closing", "tcp-reset", "other", "unsolicited", "quarantine", "fragment",
      "identification",
    ]
    for key in keys { #expect(text.contains("\n\(key) =") || text.contains("\n\(key):"), "\(key)") }
    #expect(text.contains("tcp-established = \"2h4m\""))
  }

  @Test func replayNeedsMACsOfEthernetOnly() throws {
    let file = try load(twoInterfaces.replacingFirst("device = \"eth1\"\n", ""), for: .replay)
    try file.requireMACs(links: [.rawIP, .rawIP])
    let error = #expect(throws: SettingsErrors.self) { try file.requireMACs(links: [.rawIP, .ethernet]) }
    #expect(error?.messages == ["test.toml:6:1: [interface.lan] has no mac; add mac = \"02:00:00:00:00:01\""])
    try load(manualExample, for: .replay).requireMACs(links: [.ethernet, .ethernet])
  }

  @Test func partsKnowWhereTheyStand() throws {
    let file = try load(manualExample)
    #expect(file.location(of: .interface(0)) == Place(line: 6, column: 1))
    #expect(file.location(of: .key(of: .interface(1), "device")) == Place(line: 19, column: 11))
    #expect(file.location(of: .key(of: .interface(1), "mtu")) == Place(line: 17, column: 1))
    #expect(file.location(of: .route(0)) == Place(line: 23, column: 1))
    #expect(file.location(of: .neighbor(0)) == Place(line: 27, column: 1))
    #expect(file.location(of: .forward(0)) == Place(line: 31, column: 1))
    #expect(file.location(of: .key(of: .masquerade(0), "ports")).line == 45)
    #expect(file.location(of: .timeouts) == Place(line: 49, column: 1))
    #expect(file.location(of: .masquerade(7)) == Place(line: 1, column: 1))
    #expect(file.error(at: .interface(0), "no; yes").description == "test.toml:6:1: no; yes")
  }

  @Test func unreadableFilesAreOneClearError() {
    for (path, words) in [("/nonexistent/sluice.toml", "No such file"), ("/", "Is a directory")] {
      let error = #expect(throws: SettingsErrors.self) { try SettingsFile.load(path: path, purpose: .check) }
      #expect(error?.messages.count == 1)
      #expect(error?.messages.first?.hasPrefix("\(path): cannot be read: \(words)") == true)
    }
  }

  @Test func byteOrderMarkAndLineEndsMoveNothing() {
    let text = "\u{FEFF}[engine]\r\n\tmode = \"x\"\r\n[[forward]]\r\nname = \"ä\" # ä\r\nports = \"ä, 9-8\"\r\n"
    let found = messages(text + twoInterfaces.replacingFirst("\n", "\r\n"))
    #expect(found.first?.hasPrefix("test.toml:2:9: ") == true)
    #expect(found.contains { $0.hasPrefix("test.toml:5:10: ") } && found.contains { $0.hasPrefix("test.toml:5:13: ") })
  }

  /// Thousands of ports and forwards are nothing special, and what is wrong with one of them is found.
  @Test func manyPortsAndForwards() throws {
    let ports = stride(from: 1, through: 65535, by: 2).map(String.init).joined(separator: ", ")
    var text = twoInterfaces + "[[forward]]\nname = \"odd\"\nprotocol = \"tcp\"\non = \"wan\"\n"
    text += "ports = \"\(ports)\"\nto = \"192.168.1.10\"\n"
    for port in stride(from: 2, through: 4000, by: 2) {
      text += "[[forward]]\nname = \"even \(port)\"\nprotocol = \"tcp\"\non = \"wan\"\nports = \"\(port)\"\n"
      text += "to = \"192.168.1.11:7\"\n"
    }
    #expect(try load(text).plan.forwards.count == 2001)
    let found = messages(text.replacingFirst("ports = \"200\"", "ports = \"201\""))
    #expect(found.count == 1 && found[0].contains("tcp port 201 belong to forward \"odd\""))
  }
}
