import Engine
import Testing

@testable import Settings

/// Pools, exceptions, idle times and switches of translation become the plan that they say.
@Suite struct TranslationLoadingTests {
  private let masquerade = twoInterfaces + "[[masquerade]]\nfrom = \"lan\"\nto = \"wan\"\n"

  @Test func poolOfAddressesRangesAndPrefixes() throws {
    let text =
      masquerade
        + """
        external = ["203.0.113.5", "203.0.113.16-203.0.113.19", "203.0.113.32/29", "203.0.113.1"]
        except = ["10.8.0.1/16", "198.51.100.0/24"]
        inbound-refresh = false
        other-protocols = true
        """
    let file = try load(text)
    let plan = try #require(file.plan.masquerades.first)
    #expect(plan.externals.map { $0.value & 0xFF } == [5, 16, 17, 18, 19, 32, 33, 34, 35, 36, 37, 38, 39, 1])
    #expect(plan.except.map(\.description) == ["10.8.0.0/16", "198.51.100.0/24"])
    #expect(!plan.inboundRefresh && plan.otherProtocols)
    #expect(
      file.normalised.contains(
        "external = [\"203.0.113.5\", \"203.0.113.16-203.0.113.19\", \"203.0.113.32-203.0.113.39\", \"203.0.113.1\"]"))
    #expect(try load(file.normalised).plan.masquerades == file.plan.masquerades)
  }

  @Test func prefixTranslations() throws {
    let text =
      twoInterfaces + """
        [interface.uplink]
        role = "outside"
        device = "e5"
        address = "2001:db8:9::1/64"
        [[prefix-translation]]
        on = "uplink"
        inside = "fd01:203:405::/48"
        outside = "2001:db8:b::/48"
        [[prefix-translation]]
        on = "uplink"
        inside = "fd01:203:406:10::/60"
        outside = "2001:db8:c:f0::/60"
        """
    let file = try load(text)
    let expected = [("fd01:203:405::/48", "2001:db8:b::/48"), ("fd01:203:406:10::/60", "2001:db8:c:f0::/60")].map {
      PrefixPlan(interface: 2, inside: IPv6Prefix($0)!, outside: IPv6Prefix($1)!)
    }
    #expect(file.plan.prefixes == expected)
    #expect(try load(file.normalised).plan.prefixes == expected)
    #expect(file.location(of: .key(of: .prefix(1), "outside")) == Place(line: 21, column: 11))
  }

  @Test func translationOfIPv6Ports() throws {
    let text =
      twoInterfaces + """
        [interface.uplink]
        role = "outside"
        device = "e5"
        address = "2001:db8:9::1/64"
        [interface.dmz]
        role = "inside"
        device = "e6"
        address = "fd01:203:405:1::1/64"
        [[forward]]
        name = "six"
        protocol = "tcp+udp"
        external = "2001:db8:9::1"
        ports = "80, 8000-8009"
        except = "8005"
        to = "[fd01:203:405:1::5]:9000-9010"
        [[masquerade]]
        from = "dmz"
        to = "uplink"
        external = "2001:db8:9::1"
        """
    let file = try load(text)
    let pinhole = try #require(file.plan.forwards.first?.pinhole)
    #expect(pinhole.external == IPv6Address("2001:db8:9::1") && file.plan.forwards[0].protocols.isEmpty)
    #expect(
      pinhole.spans == [
        PortSpan(ports: PortRange(80, 80), target: 9000, isParallel: true),
        PortSpan(ports: PortRange(8000, 8004), target: 9001, isParallel: true),
        PortSpan(ports: PortRange(8006, 8009), target: 9007, isParallel: true),
      ])
    #expect(file.plan.masquerades[0].external6 == pinhole.external && file.plan.masquerades[0].externals.isEmpty)
    let again = try load(file.normalised).plan
    #expect(again.forwards[0].pinhole == pinhole && again.masquerades == file.plan.masquerades)
  }

  @Test func `an IPv6 target by its suffix is behind the inside interface's prefix, and stays one in the file`() throws
  {
    let text = """
      [interface.wan]
      role = "outside"
      device = "e0"
      address = ["203.0.113.1/24", "2001:db8:1::1/64"]
      [interface.lan]
      role = "inside"
      device = "e1"
      address = ["192.168.1.1/24", "fe80::1/64", "2001:db8:2:3::1/56", "fd00::1/64"]
      [interface.dmz]
      role = "inside"
      device = "e2"
      address = "fd00:0:0:7::1/64"
      [[forward]]
      name = "both"
      protocol = "tcp"
      on = "wan"
      ports = "80"
      to = ["192.168.1.10", "[::10%lan/-64]:8080"]
      [[forward]]
      name = "short"
      protocol = "udp"
      external = "2001:db8:1::1"
      ports = "81"
      to = "::3:0:0:0:10/-60"
      """
    let file = try load(text)
    #expect(file.plan.forwards[0].target == IPv4Address("192.168.1.10"))
    #expect(
      file.plan.forwards.map(\.pinhole?.target) == [IPv6Address("2001:db8:2:3::10"), IPv6Address("2001:db8:2:3::10")])
    #expect(file.plan.forwards[0].pinhole?.ports == [PortRange(8080, 8080)])
    // What is written is the suffix again: with another prefix it is another address.
    let again = try load(file.normalised)
    #expect(again.plan.forwards.map(\.pinhole) == file.plan.forwards.map(\.pinhole))
    let moved = try load(file.normalised.replacing("2001:db8:2:3::1/56", with: "2001:db8:ff00:5::1/56"))
    #expect(moved.plan.forwards[0].pinhole?.target == IPv6Address("2001:db8:ff00:5::10"))
  }

  @Test func triggers() throws {
    let text =
      masquerade + """
        [[trigger]]
        name = "game"
        from = "lan"
        protocol = "udp"
        when = "6112"
        open = "6112, 6881-6889, 6885-6890"
        [[trigger]]
        name = "chat"
        from = "lan"
        protocol = "tcp"
        when = "6112"
        open = "6112"
        for = "90s"
        conflict = "steal"
        """
    let file = try load(text)
    var game = TriggerPlan(
      name: "game", from: 1, protocols: .udp, when: [PortRange(6112, 6112)],
      open: [PortRange(6112, 6112), PortRange(6881, 6890)])
    game.line = 13
    #expect(file.plan.triggers.first == game && game.seconds == 600 && game.conflict == .refuse)
    let chat = try #require(file.plan.triggers.last)
    #expect(chat.seconds == 90 && chat.conflict == .steal)
    #expect(file.location(of: .key(of: .trigger(1), "when")).line == 23)
    #expect(
      file.normalised.contains(
        """
        [[trigger]]
        name = "game"
        from = "lan"
        protocol = "udp"
        when = "6112"
        open = "6112, 6881-6890"
        for = "10m"
        conflict = "refuse"
        """))
    // What a forward that is switched off has, or one at another address, does not matter.
    let more = """

      [[forward]]
      name = "off"
      protocol = "udp"
      on = "wan"
      ports = "6112"
      to = "192.168.1.10"
      enabled = false
      [[forward]]
      name = "elsewhere"
      protocol = "udp"
      external = "203.0.113.9"
      ports = "6112"
      to = "192.168.1.10"
      """
    #expect(try load(text + more).plan.triggers.count == 2)
  }

  @Test func helpers() throws {
    let forward = """

      [[forward]]
      name = "ftp"
      protocol = "tcp"
      on = "wan"
      ports = "21, 2121"
      to = "192.168.1.10"
      helper = "ftp"

      """
    let file = try load(masquerade + "helper = \"ftp\"\n" + forward)
    #expect(file.plan.masquerades[0].helper == .ftp && file.plan.forwards[0].helper == .ftp && file.plan.hasHelpers)
    let again = try load(file.normalised).plan
    #expect(again.masquerades == file.plan.masquerades && again.forwards.map(\.helper) == [.ftp])
    let plain = try load(masquerade + forward.replacingFirst("helper = \"ftp\"", ""))
    #expect(!plain.plan.hasHelpers && plain.normalised.contains("# helper: none"))
  }

  @Test func helpersOverIPv6() throws {
    let six = "[interface.six]\nrole = \"outside\"\ndevice = \"e2\"\naddress = \"2001:db8::1/64\"\n"
    let forward = "name = \"ftp\"\nprotocol = \"tcp\"\non = \"six\"\nports = \"21\"\nto = \"2001:db8:2::10\"\n"
    // Nothing of it is masqueraded: it is there for the helper alone.
    let plan = try load(
      twoInterfaces + six + "[[forward]]\n\(forward)helper = \"ftp\"\n"
        + "[[masquerade]]\nfrom = \"lan\"\nto = \"six\"\nhelper = \"ftp\"\n"
    ).plan
    #expect(plan.forwards[0].helper == .ftp && plan.masquerades[0].helper == .ftp && plan.hasHelpers)
    #expect(plan.forwards[0].pinhole?.external == nil && plan.masquerades[0].external6 == nil)
  }

  @Test func masqueradeDefaults() throws {
    let plan = try #require(try load(masquerade).plan.masquerades.first)
    #expect(plan == MasqueradePlan(from: plan.from, to: plan.to))
    #expect(plan.externals.isEmpty && plan.except.isEmpty && plan.inboundRefresh && !plan.otherProtocols)
  }

  @Test func everyIdleTime() throws {
    let text =
      twoInterfaces
        + """
        [timeouts]
        udp = "6m"
        udp-dns = "11s"
        tcp-closing = "1m"
        tcp-established = "3h"
        tcp-transitory = "5m"
        icmp = "61s"
        other = "9m"
        unsolicited = "7s"
        quarantine = "3m"
        fragment = "20s"
        identification = "4m"
        """
    let file = try load(text)
    var expected = TimeoutPlan()
    (expected.udp, expected.udpDNS, expected.tcpEstablished, expected.icmp) = (360, 11, 10800, 61)
    (expected.tcpOpening, expected.tcpClosing, expected.tcpReset) = (300, 60, 300)
    (expected.other, expected.unsolicited, expected.quarantine) = (540, 7, 180)
    (expected.fragment, expected.identification) = (20, 240)
    #expect(file.plan.timeouts == expected && file.warnings.isEmpty)
    #expect(try load(file.normalised).plan.timeouts == expected)
  }

  @Test func aForwardsOwnIdleTimesStandOverTheCommonOnes() throws {
    let text =
      twoInterfaces
        + """
        [[forward]]
        name = "game"
        protocol = "all"
        external = "203.0.113.5"
        ports = "all"
        to = "192.168.1.10"
        timeouts = { udp = "10m", tcp-reset = "2m" }
        [timeouts]
        udp = "6m"
        icmp = "2m"
        """
    let file = try load(text)
    let forward = try #require(file.plan.forwards.first)
    #expect(forward.protocols == [.tcp, .udp, .echo, .other])
    #expect(forward.timeouts?.udp == 600 && forward.timeouts?.tcpReset == 120 && forward.timeouts?.icmp == 120)
    #expect(forward.timeouts?.tcpOpening == 240)
    #expect(try load(file.normalised).plan.forwards.first?.timeouts == forward.timeouts)
    #expect(file.normalisedJSON.contains("\"tcp-reset\": \"2m\""))
  }

  @Test func belowWhatAnRFCDemandsAWarningSaysSo() throws {
    let (text, places) = unmark(
      twoInterfaces
        + """
        [timeouts]
        udp = ▸"119s"
        udp-dns = "1s"
        tcp-established = ▸"2h"
        tcp-transitory = "10s"
        icmp = ▸"59s"
        """)
    let file = try load(text)
    #expect(file.plan.timeouts.udp == 119 && file.plan.timeouts.tcpEstablished == 7200)
    #expect(file.warnings.map(\.place) == places)
    let words = [
      "below the 2m of RFC 4787 REQ-5", "below the 2h4m of RFC 5382 REQ-5", "below the 1m of RFC 5508 REQ-2",
    ]
    for (warning, words) in zip(file.warnings, words) {
      #expect(warning.description.contains(": warning: ") && warning.text.contains(words))
    }
  }

  @Test func clampAndPickUp() throws {
    for (value, clamp) in [("\"mtu\"", InterfacePlan.ClampMSS.mtu), ("1452", .bytes(1452)), ("536", .bytes(536))] {
      let text = twoInterfaces.replacingFirst("role = \"outside\"", "role = \"outside\"\nclamp-mss = \(value)")
      let file = try load(text + "[engine]\npick-up = false")
      #expect(file.plan.interfaces[0].clampMSS == clamp && file.plan.interfaces[1].clampMSS == nil)
      #expect(!file.plan.picksUpTCP)
      let again = try load(file.normalised).plan
      #expect(again.interfaces == file.plan.interfaces && !again.picksUpTCP)
    }
    for value in ["535", "65496", "\"auto\"", "true"] {
      let text = twoInterfaces.replacingFirst("role = \"outside\"", "role = \"outside\"\nclamp-mss = \(value)")
      let found = messages(text)
      #expect(found.count == 1 && found.first?.contains("clamp-mss") == true && found.first?.contains("; ") == true)
    }
    #expect(try load(twoInterfaces).plan.picksUpTCP)
  }

  @Test func aTargetBehindAnotherOutsideInterfaceNeedsTheGatewayAsSource() throws {
    let text =
      twoInterfaces
        + """
        [interface.backup]
        role = "outside"
        device = "eth2"
        address = "198.51.100.1/24"
        [[forward]]
        name = "far"
        protocol = "tcp"
        on = "wan"
        ports = "80"
        to = "▸198.51.100.9"

        """
    let (good, places) = unmark(text)
    let found = messages(good)
    #expect(found.count == 1 && found[0].hasPrefix("test.toml:\(places[0].line):\(places[0].column): "))
    #expect(found[0].contains("through the outside interface backup; write source = \"gateway\""))
    #expect(try load(good + "source = \"gateway\"").plan.forwards.count == 1)
  }
}
