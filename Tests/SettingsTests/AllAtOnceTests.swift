import Testing

@testable import Settings

/// One file with one of everything. A ▸ stands before each place that must be named.
private let everything = """
  ▸colour = "blue"
  [engine]
  mode = ▸"dedicatd"
  workers = ▸four
  sessions = ▸0

  [interface.wan]
  role = "outside"
  device = "eth0"
  address = ["203.0.113.1/24", ▸"198.51.100.0/24"]
  gateway = ▸"192.0.2.1"
  mac = ▸"01:00:5e:00:00:01"
  mtu = ▸60
  vlan = "200.▸5000"
  unsolicited = ▸"quiet"

  ▸[interface.lan]
  device = "eth1"
  address = "192.168.1.1/24"
  ping = ▸"no"

  [interface.guest]
  role = "inside"
  device = "eth2"
  address = "10.9.0.1/16"
  ▸device = "eth3"

  [interface.branch]
  role = "inside"
  device = ▸"eth2"
  address = ▸"10.9.7.1/24"

  ▸[interface.guest]
  role = "inside"

  [[route]]
  destination = ▸"10.0.0.1/8"
  via = ▸"172.16.0.1"

  [[neighbor]]
  address = ▸"10.9.0.1"
  mac = ▸"02:00:00:00:00"

  [[forward]]
  name = "web"
  protocol = "tcp"
  on = "wan"
  ports = "8840, ▸8815-8810, ▸0, ▸70000, ▸http"
  to = "▸10.9.0.300"
  hairpin = ▸1

  [[forward]]
  name = ▸"web"
  protocol = ▸"tpc"
  on = ▸"wna"
  ports = "80, 81, ▸80"
  to = "10.9.0.10:▸0"
  source = ▸"gatway"

  [[forward]]
  name = "range"
  protocol = "udp"
  on = "guest"
  ports = "1000-1009"
  to = "10.9.0.10:▸2000-2008"
  allow = [▸"10.0.0.0/33"]
  ▸extern = "203.0.113.5"

  [[forward]]
  name = "first"
  protocol = "udp"
  external = "203.0.113.1"
  ports = "5000-5010"
  to = "10.9.0.10"

  [[forward]]
  name = "clash"
  protocol = "tcp+udp"
  external = "203.0.113.1"
  ports = "80, ▸5010"
  to = "10.9.0.11"

  [[forward]]
  name = "far"
  protocol = ▸"any"
  external = ▸"192.0.2.77"
  ports = "22"
  to = "▸10.9.255.255"

  [[masquerade]]
  from = ▸"wan"
  to = ▸"guest"
  ports = "1024-65535, ▸2000"
  mapping = ▸"symmetric"
  filtering = ▸3

  [timeouts]
  udp = ▸5m
  icmp = ▸"sixty"
  tcp-established = ▸"0s"
  ▸tcp-transitry = "4m"
  """

@Suite struct AllAtOnceTests {
  /// Nothing is left out, nothing is said twice, and everything stands in the order of the file.
  @Test func everyMistakeOfAFileIsReportedInOneRun() {
    // "on" the inside interface guest is marked here, so that the list above stays readable.
    let (text, places) = unmark(everything.replacingFirst("on = \"guest\"", "on = ▸\"guest\""))
    let found = messages(text)
    let expected = places.map { "test.toml:\($0.line):\($0.column):" }
    #expect(expected.count == 49)
    #expect(found.map { String($0.prefix { $0 != " " }) } == expected, "\(found.joined(separator: "\n"))")
    #expect(found.allSatisfy { $0.contains("; ") })
  }

  /// What cannot be read is not complained about again by what depends on it.
  @Test func oneMistakeIsSaidOnce() {
    let text = """
      [interface.wan]
      role = outside
      device = "eth0"
      address = ["203.0.113.1/24"]
      [interface.lan]
      role = "inside"
      device = "eth1"
      address = ["192.168.1/24"]
      [[neighbor]]
      address = "192.168.1.7"
      mac = "02:00:00:00:00:07"
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
    let found = messages(text)
    #expect(found.map { String($0.prefix { $0 != " " }) } == ["test.toml:2:8:", "test.toml:8:12:"], "\(found)")
  }
}
