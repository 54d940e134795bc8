import Engine
import Testing

@testable import Settings

/// A good configuration becomes the plan that it says.
@Suite struct LoadingTests {
  @Test func manualExampleBecomesItsPlan() throws {
    for purpose in [SettingsFile.Purpose.run, .check, .replay] {
      let plan = try load(manualExample, for: purpose).plan
      #expect(plan.mode == .dedicated)
      #expect(plan.sessions == 1_048_576)
      #expect(plan.interfaces.map(\.name) == ["wan", "lan"])
      let wan = plan.interfaces[0]
      #expect(wan.tags == [VLANTag(protocolID: 0x8100, vlan: 100)])
      #expect(wan.addresses == [IPv4Prefix("203.0.113.1/24")!])
      #expect(wan.addresses6 == [IPv6Prefix("2001:db8::1/64")!])
      #expect(wan.gateways == [IPv4Address(203, 0, 113, 254)])
      #expect(wan.mac == MACAddress(0x0200_0000_0101))
      #expect(wan.mtu == 1500)
      #expect(!wan.ping)
      #expect(plan.interfaces[1].ping)
      #expect(
        plan.routes == [
          RoutePlan(destination: IPv4Prefix("10.0.0.0/8")!, via: IPv4Address(192, 168, 1, 254), interface: 1)
        ])
      #expect(
        plan.neighbors == [
          NeighborPlan(address: IPv4Address(192, 168, 1, 10), mac: MACAddress(0x0200_0000_0010), interface: 1)
        ])
      #expect(plan.masquerades == [MasqueradePlan(from: 1, to: 0)])
      #expect(plan.timeouts == TimeoutPlan())
      let web = try #require(plan.forwards.first)
      #expect(web.name == "web" && web.line == 31)
      #expect(web.protocols == .tcp && web.isOnInterface && web.externals == [IPv4Address(203, 0, 113, 1)])
      #expect(web.spans.map(\.ports) == [PortRange(8840, 8840), PortRange(8820, 8820), PortRange(8810, 8815)])
      #expect(web.spans.map(\.target) == [8840, 8820, 8810])
      #expect(web.spans.map(\.isParallel) == [true, true, true])
    }
  }

  @Test func targetPortsAreCountedBeforeExcept() throws {
    let plan = try load(
      twoInterfaces + """
        [[forward]]
        name = "a"
        protocol = "tcp+udp"
        on = "wan"
        ports = "90, 100-109"
        except = "102-103, 109"
        to = "192.168.1.10:9000-9010"
        """
    ).plan
    #expect(plan.forwards[0].protocols == [.tcp, .udp])
    #expect(
      plan.forwards[0].spans == [
        PortSpan(ports: PortRange(90, 90), target: 9000, isParallel: true),
        PortSpan(ports: PortRange(100, 101), target: 9001, isParallel: true),
        PortSpan(ports: PortRange(104, 108), target: 9005, isParallel: true),
      ])
  }
}

private func forward(_ lines: String) throws -> ForwardPlan {
  let text = "[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\n" + (lines.contains("external") ? "" : "on = \"wan\"\n")
  return try #require(try load(twoInterfaces + text + lines).plan.forwards.first)
}

/// What the manual allows is accepted, and means what it says.
@Suite struct FormTests {
  @Test func interfaceForms() throws {
    let plan = try load(
      """
      [interface]
      wan = { role = "outside", device = "eth0", vlan = "200.100", address = "auto", ping = true }
      [interface.lan]
      role = "inside"
      device = "eth0"
      vlan = "7"
      address = ["192.168.1.1/24", "192.168.1.2/24", "10.0.0.0/31", "fe80::1/64"]
      ping = false
      unsolicited = "unreachable"
      gateway = ["192.168.1.254", "fe80::2"]
      [interface.tunnel]
      role = "inside"
      device = "wg0"
      address = ["10.1.1.1/32", "fe80::1/64"]
      """
    ).plan
    #expect(plan.interfaces.map(\.name) == ["wan", "lan", "tunnel"])
    #expect(
      plan.interfaces[0].tags == [VLANTag(protocolID: 0x88A8, vlan: 200), VLANTag(protocolID: 0x8100, vlan: 100)])
    #expect(plan.interfaces[0].isAutomatic && plan.interfaces[0].addresses.isEmpty)
    #expect(plan.interfaces.map(\.ping) == [true, false, true])
    #expect(plan.interfaces[1].tags == [VLANTag(protocolID: 0x8100, vlan: 7)])
    #expect(plan.interfaces[1].addresses.map(\.description) == ["192.168.1.1/24", "192.168.1.2/24", "10.0.0.0/31"])
    #expect(plan.interfaces[1].gateways6.map(\.description) == ["fe80::2"])
    #expect(plan.interfaces.map(\.unsolicited) == [.silent, .unreachable, .silent])
    #expect(plan.interfaces[2].mac == nil && plan.interfaces[2].mtu == nil)
  }

  @Test func ipv6RoutesAndNeighbours() throws {
    let text =
      twoInterfaces + """
        [interface.one]
        role = "inside"
        device = "e2"
        address = ["2001:db8:1::1/64", "fe80::1/64"]
        [interface.two]
        role = "outside"
        device = "e3"
        address = "2001:db8:2::1/127"
        gateway = "fe80::9"
        [[route]]
        destination = "2001:db8:a::/48"
        via = "2001:db8:1::2"
        [[route]]
        destination = "::/0"
        via = "fe80::7%one"
        [[neighbor]]
        address = "2001:db8:2::"
        mac = "02:00:00:00:00:10"
        [[neighbor]]
        address = "fe80::7%one"
        mac = "02:00:00:00:00:11"
        [[neighbor]]
        address = "fe80::7%two"
        mac = "02:00:00:00:00:12"
        """
    let first = try load(text)
    let (one, two) = (2, 3)
    for plan in [first.plan, try load(first.normalised).plan] {
      #expect(
        plan.routes6 == [
          RoutePlan6(destination: IPv6Prefix("2001:db8:a::/48")!, via: IPv6Address("2001:db8:1::2")!, interface: one),
          RoutePlan6(destination: IPv6Prefix("::/0")!, via: IPv6Address("fe80::7")!, interface: one),
        ])
      #expect(plan.neighbors6.map(\.address.description) == ["2001:db8:2::", "fe80::7", "fe80::7"])
      #expect(plan.neighbors6.map(\.interface) == [two, one, two] && plan.neighbors.isEmpty && plan.routes.isEmpty)
      #expect(plan.interfaces[two].gateways6 == [IPv6Address("fe80::9")!])
    }
  }

  @Test func targetForms() throws {
    func span(_ first: UInt16, _ last: UInt16, _ target: UInt16, _ isParallel: Bool) -> PortSpan {
      PortSpan(ports: PortRange(first, last), target: target, isParallel: isParallel)
    }
    let same = try forward("ports = \" 80 , 81 - 83\"\nto = \"192.168.1.10\"")
    #expect(same.spans == [span(80, 80, 80, true), span(81, 83, 81, true)])
    let one = try forward("ports = \"80-90\"\nto = \"192.168.1.10:9090\"")
    #expect(one.spans == [span(80, 90, 9090, false)])
    #expect(!one.isOneToOne)
    let range = try forward("ports = \"90, 80-81\"\nto = \"192.168.1.10:1-3\"")
    #expect(range.spans == [span(90, 90, 1, true), span(80, 81, 2, true)])
    #expect(range.isOneToOne)
    let dual = try forward("ports = \"80\"\nto = [\"192.168.1.10:8080\", \"[2001:db8::10]:8080\"]")
    #expect(dual.target == IPv4Address(192, 168, 1, 10) && dual.spans.map(\.target) == [8080])
    let last = try forward("ports = \"65535, 1\"\nto = \"192.168.1.10\"\nexcept = \"65534\"")
    #expect(last.spans.map(\.ports) == [PortRange(65535, 65535), PortRange(1, 1)])
  }

  @Test func wholeHostWithExceptions() throws {
    let text = "ports = \"all\"\nexcept = \"500-510, 22, 505-520, 65535, 1\"\nto = \"192.168.1.10\""
    let host = try forward(text.replacingFirst("ports", "external = \"203.0.113.77\"\nports"))
    #expect(host.isWholeHost && host.isOneToOne && !host.isOnInterface)
    #expect(host.externals == [IPv4Address(203, 0, 113, 77)])
    #expect(
      host.spans.map(\.ports) == [PortRange(2, 21), PortRange(23, 499), PortRange(521, 65534)])
    #expect(host.spans.map(\.target) == [2, 23, 521])
  }

  @Test func wholeHostToOnePort() throws {
    let host = try forward("ports = \"all\"\nexcept = \"22\"\nto = \"192.168.1.10:8080\"")
    #expect(host.isWholeHost && !host.isOneToOne)
    #expect(host.spans.map(\.ports) == [PortRange(1, 21), PortRange(23, 65535)])
    #expect(host.spans.map(\.target) == [8080, 8080] && host.spans.map(\.isParallel) == [false, false])
  }

  @Test func accessLists() throws {
    let lists = try forward(
      """
      ports = "80"
      to = "192.168.1.10"
      allow = ["198.51.100.7/24", "192.0.2.1", "2001:db8::/32"]
      deny = "198.51.100.128/25"
      hairpin = false
      enabled = false
      source = "gateway"
      """)
    #expect(lists.allow.map(\.description) == ["198.51.100.0/24", "192.0.2.1/32"])
    #expect(lists.deny.map(\.description) == ["198.51.100.128/25"])
    #expect(!lists.hairpin && !lists.isEnabled && lists.source == .gateway)
    let defaults = try forward("ports = \"80\"\nto = \"192.168.1.10\"")
    #expect(defaults.allow.map(\.description) == ["0.0.0.0/0"])
    #expect(defaults.deny.isEmpty && defaults.hairpin && defaults.isEnabled && defaults.source == .preserve)
  }

  /// A narrower forward wins over "all"; other addresses, other protocols and what is off do not overlap.
  @Test func forwardsThatOnlySeemToOverlap() throws {
    func entry(_ name: String, _ lines: String) -> String {
      "[[forward]]\nname = \"\(name)\"\nto = \"192.168.1.10\"\n\(lines)\n"
    }
    let plan = try load(
      twoInterfaces
        + entry("all", "protocol = \"any\"\non = \"wan\"\nports = \"all\"")
        + entry("tcp", "protocol = \"tcp\"\non = \"wan\"\nports = \"80, 82\"")
        + entry("udp", "protocol = \"udp\"\non = \"wan\"\nports = \"80\"")
        + entry("between", "protocol = \"tcp\"\non = \"wan\"\nports = \"79, 81, 83\"")
        + entry("off", "protocol = \"tcp\"\non = \"wan\"\nports = \"80\"\nenabled = false")
        + entry("elsewhere", "protocol = \"tcp\"\nexternal = \"203.0.113.9\"\nports = \"80\"")
        + entry("all there", "protocol = \"tcp\"\nexternal = \"203.0.113.9\"\nports = \"all\"")
    ).plan
    #expect(plan.forwards.map(\.isWholeHost) == [true, false, false, false, false, false, true])
    #expect(plan.forwards[0].protocols == [.tcp, .udp, .echo])
    #expect(plan.forwards.map(\.line) == [10, 16, 22, 28, 34, 41, 47])
  }

  @Test func waysToATarget() throws {
    let routed = """
      [[route]]
      destination = "10.0.0.0/8"
      via = "192.168.1.254"
      [[forward]]
      name = "a"
      protocol = "tcp"
      on = "wan"
      ports = "80"
      to = "10.2.3.4"
      """
    #expect(try load(twoInterfaces + routed).plan.routes.map(\.interface) == [1])
    // The longest prefix wins: the host route back out makes it the outside interface's own target.
    let narrower = routed.replacingFirst(
      "[[forward]]", "[[route]]\ndestination = \"10.2.3.4\"\nvia = \"203.0.113.9\"\n[[forward]]")
    #expect(messages(twoInterfaces + narrower).count == 1)
    #expect(messages(twoInterfaces + narrower + "\nsource = \"gateway\"") == [])
    let automatic = twoInterfaces.replacingFirst("[\"203.0.113.1/24\"]\ngateway = \"203.0.113.254\"", "\"auto\"")
    let plan = try load(automatic + "[[route]]\ndestination = \"10.0.0.0/8\"\nvia = \"198.51.100.1\"").plan
    #expect(plan.routes.map(\.interface) == [0])
  }

  @Test func masqueradesBesideTheHost() throws {
    let text = """
      [engine]
      mode = "alongside"
      [[masquerade]]
      from = "lan"
      to = "wan"
      ports = "61000-65535, 20000-29999"
      mapping = "address-and-port-dependent"
      filtering = "endpoint-independent"
      """
    for localPorts in [nil, PortRange(32768, 60999)] {
      let plan = try load(twoInterfaces + text, localPorts: localPorts).plan
      #expect(plan.mode == .alongside)
      #expect(plan.masquerades[0].pool == [PortRange(61000, 65535), PortRange(20000, 29999)])
      #expect(plan.masquerades[0].mapping == .addressAndPortDependent)
      #expect(plan.masquerades[0].filtering == .endpointIndependent)
    }
  }

  @Test func durations() {
    let good = ["90s": 90, "5m": 300, "2h4m": 7440, "1d": 86400, "1h0m1s": 3601, "0s": 0, "090s": 90]
    for (text, seconds) in good { #expect(DurationText.seconds(text) == seconds, "\(text)") }
    let bad = ["", "5", "m", "5m5", "5m5m", "5s5m", "-5m", "5 m", "1.5h", "5ms", "٥m", "99999999999999999d"]
    for text in bad { #expect(DurationText.seconds(text) == nil, "\(text)") }
    for seconds in [0, 1, 59, 60, 61, 3600, 7440, 86399, 86400, 90061, 365 * 86400] {
      #expect(DurationText.seconds(DurationText.text(seconds)) == seconds)
    }
    #expect(DurationText.text(7440) == "2h4m")
  }

  @Test func ipv6Notation() {
    let good = [
      "::": "::", "::1": "::1", "1::": "1::", "2001:DB8::1": "2001:db8::1", "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
      "::ffff:192.0.2.1": "::ffff:c000:201", "1:0:0:2:0:0:0:3": "1:0:0:2::3", "1:0:2:3:4:5:6:7": "1:0:2:3:4:5:6:7",
      "0:0:0:0:0:0:0:0": "::", "1:2:3:4:5:6:7::": "1:2:3:4:5:6:7:0",
    ]
    for (text, canonical) in good { #expect(IPv6Prefix(text)?.address.description == canonical, "\(text)") }
    let bad = [
      "", ":", ":::", "1", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", ":1::", "1:", "12345::", "g::",
      "::1/129", "::1/", "::1/+1", "::192.0.2", "::1%eth0", "1:2:3:4:5:6:7:8::", "+1::",
    ]
    for text in bad { #expect(IPv6Prefix(text) == nil, "\(text)") }
  }
}
