import Engine

let engineMistakes: [Mistake] = [
  Mistake("empty file", says: "there is no interface; add [interface.NAME]", text: "▸"),
  .added("unknown section", says: "did you mean \"forward\"?", text: "[[▸forwards]]\nname = \"a\""),
  .added(
    "unknown key, nothing near",
    says: "known there: mode, workers, sessions, on-change, state, ring, spin-microseconds, cores, pick-up",
    text: "[engine]\n▸colour = 3"),
  .added("unknown ring", says: "did you mean \"throughput\"?", text: "[engine]\nring = ▸\"throughputs\""),
  .added("endless spin", says: "from 0 to 1000000", text: "[engine]\nspin-microseconds = ▸2_000_000"),
  .added("cores as a number", says: "like cores = [0, 1]", text: "[engine]\ncores = ▸2"),
  .added("a core that cannot be", says: "from 0 to 1023", text: "[engine]\nworkers = 2\ncores = [0, ▸-1]"),
  .added("a core twice", says: "core 3 is there already", text: "[engine]\nworkers = 2\ncores = [3, ▸3]"),
  .added("a core too few", says: "cores has 1 of 2 workers", text: "[engine]\nworkers = 2\ncores = ▸[0]"),
  .added("unknown key, something near", says: "did you mean \"workers\"?", text: "[engine]\n  ▸wrokers = 3"),
  .added("unknown mode", says: "did you mean \"alongside\"?", text: "[engine]\nmode = ▸\"alongsid\""),
  .added("mode of the wrong type", says: "mode is an integer", text: "[engine]\nmode = ▸1"),
  .added("workers as a string", says: "from 1 to 256", text: "[engine]\nworkers = ▸\"2\""),
  .added("no workers", says: "from 1 to 256", text: "[engine]\nworkers = ▸0"),
  .added("too many sessions", says: "from 1 to 1073741824", text: "[engine]\nsessions = ▸9_000_000_000"),
  .added("recorder without a unit", says: "like memory = \"16MiB\"", text: "[recorder]\nmemory = ▸\"16\""),
  .added("recorder too small", says: "from 4MiB to 16GiB", text: "[recorder]\nmemory = ▸\"512KiB\""),
  .added("recorder of no such frames", says: "did you mean \"headers\"?", text: "[recorder]\nframes = ▸\"header\""),
  .added("recorder's relative path", says: "no absolute path", text: "[recorder]\ndirectory = ▸\"flight\""),
  .added("trigger that is no reason", says: "no drop reason", text: "[recorder]\ntriggers = [\"no-port\", ▸\"none\"]"),
  .added("recorder of two workers", says: "set workers = 1", text: "[engine]\nworkers = 2\n▸[recorder]"),
  .added("recorder's unknown key", says: "did you mean \"memory\"?", text: "[recorder]\n▸memry = \"16MiB\""),
  .added("a host without sessions", says: "from 1 to", text: "[limits]\nsessions-per-host = ▸0"),
  .added("unknown limit", says: "did you mean \"ports-per-host\"?", text: "[limits]\n▸port-per-host = 9"),
  .added(
    "more half open than there are", says: "more than the 100 sessions",
    text: "[engine]\nsessions = 100\n[limits]\nhalf-open = ▸101"),
  .added("section as a value", says: "[timeouts] is a list", text: "▸[[timeouts]]\nudp = \"5m\""),
  .added("pick-up of the wrong type", says: "pick-up = true or", text: "[engine]\npick-up = ▸\"yes\""),
  .added("duration without a unit", says: "like \"90s\", \"5m\" or \"2h4m\"", text: "[timeouts]\nudp = ▸\"90\""),
  .added("duration as a number", says: "udp is an integer, not a string", text: "[timeouts]\nudp = ▸90"),
  .added("duration out of order", says: "is no duration", text: "[timeouts]\nicmp = ▸\"4m2h\""),
  .added("duration zero", says: "from \"1s\" to \"365d\"", text: "[timeouts]\ntcp-transitory = ▸\"0s\""),
  .added("duration too long", says: "from \"1s\" to \"365d\"", text: "[timeouts]\ntcp-established = ▸\"366d\""),
  .added("duration that overflows", says: "is no duration", text: "[timeouts]\nudp-dns = ▸\"9999999999999999999h\""),
]

private func interface(_ lines: String) -> String { twoInterfaces + "[interface.dmz]\nrole = \"inside\"\n" + lines }

let interfaceMistakes: [Mistake] = [
  Mistake("interface as a value", says: "write each interface as [interface.NAME]", text: "interface = ▸3"),
  Mistake(
    "interface as a list", says: "write each interface as [interface.NAME]", text: "▸[[interface]]\nrole = \"inside\""),
  .added("interface that is no table", says: "[interface.x] is an integer", text: "[interface]\nx = ▸3"),
  .added(
    "interface whose name is no file name", says: "cannot name an interface",
    text: "[interface.▸\"a/b\"]\nrole = \"inside\"\ndevice = \"e2\"\naddress = \"10.0.0.1/8\""),
  .added("no role", says: "has no role", text: "▸[interface.x]\ndevice = \"e2\"\naddress = \"10.0.0.1/8\""),
  .added(
    "unknown role", says: "did you mean \"outside\"?",
    text: "[interface.x]\nrole = ▸\"outsid\"\ndevice = \"e2\"\naddress = \"10.0.0.1/8\""),
  .added("no device", says: "has no device", text: "▸[interface.x]\nrole = \"inside\"\naddress = \"10.0.0.1/8\""),
  Mistake(
    "device name too long", says: "cannot be a device",
    text: interface("device = ▸\"averyveryverylong\"\naddress = \"10.0.0.1/8\"")),
  Mistake(
    "no address", says: "has no address", text: twoInterfaces + "▸[interface.x]\nrole = \"inside\"\ndevice = \"e2\""),
  Mistake("empty address", says: "address is empty", text: interface("device = \"e2\"\naddress = ▸[]")),
  Mistake(
    "same device", says: "is already interface lan (line 6)",
    text: interface("device = ▸\"eth1\"\naddress = \"10.0.0.1/8\"")),
  Mistake(
    "same device and vlan", says: "with vlan 7 is already interface x",
    text: interface("device = ▸\"e2\"\nvlan = 7\naddress = \"10.0.0.1/8\"").replacingFirst(
      "[interface.dmz]",
      "[interface.x]\nrole = \"inside\"\ndevice = \"e2\"\nvlan = 7\naddress = \"11.0.0.1/8\"\n[interface.dmz]")),
  Mistake("vlan 0", says: "1 to 4094", text: interface("device = \"e2\"\nvlan = ▸0\naddress = \"10.0.0.1/8\"")),
  Mistake("vlan 4095", says: "1 to 4094", text: interface("device = \"e2\"\nvlan = ▸4095\naddress = \"10.0.0.1/8\"")),
  Mistake(
    "inner vlan 4095", says: "outer and inner",
    text: interface("device = \"e2\"\nvlan = \"200.▸4095\"\naddress = \"10.0.0.1/8\"")),
  Mistake(
    "three vlans", says: "outer and inner",
    text: interface("device = \"e2\"\nvlan = ▸\"1.2.3\"\naddress = \"10.0.0.1/8\"")),
  Mistake(
    "vlan as a fraction", says: "vlan = \"200.100\"",
    text: interface("device = \"e2\"\nvlan = ▸200.100\naddress = \"10.0.0.1/8\"")),
  Mistake(
    "address without a length", says: "like \"10.0.0.1/24\"",
    text: interface("device = \"e2\"\naddress = [▸\"10.0.0.1\"]")),
  Mistake("address with length 33", says: "1 to 32", text: interface("device = \"e2\"\naddress = ▸\"10.0.0.1/33\"")),
  Mistake(
    "address that is none", says: "write it like",
    text: interface("device = \"e2\"\naddress = [\"10.0.0.1/8\", ▸\"ten\"]")),
  Mistake(
    "address of the wrong type", says: "address holds an integer",
    text: interface("device = \"e2\"\naddress = [\"10.0.0.1/8\", ▸4]")),
  Mistake(
    "bad IPv6 address", says: "no host's IPv6 address",
    text: interface("device = \"e2\"\naddress = [\"10.0.0.1/8\", ▸\"2001:db8:::1/64\"]")),
  Mistake(
    "network address", says: "10.0.0.1 to 10.255.255.254", text: interface("device = \"e2\"\naddress = ▸\"10.0.0.0/8\"")
  ),
  Mistake(
    "broadcast address", says: "is the broadcast address of 10.0.0.0/30",
    text: interface("device = \"e2\"\naddress = ▸\"10.0.0.3/30\"")),
  Mistake(
    "loopback address", says: "a loopback address", text: interface("device = \"e2\"\naddress = ▸\"127.0.0.1/8\"")),
  Mistake(
    "multicast address", says: "a multicast address", text: interface("device = \"e2\"\naddress = ▸\"224.0.0.1/24\"")),
  Mistake(
    "address twice", says: "is listed twice",
    text: interface("device = \"e2\"\naddress = [\"10.0.0.1/8\", ▸\"10.0.0.1/8\"]")),
  Mistake(
    "address of another interface", says: "is also interface lan's (line 6)",
    text: interface("device = \"e2\"\naddress = ▸\"192.168.1.1/32\"")),
  Mistake(
    "U18 overlapping prefixes", says: "192.168.0.0/16 overlaps 192.168.1.0/24",
    text: interface("device = \"e2\"\naddress = ▸\"192.168.7.1/16\"")),
  Mistake(
    "overlapping IPv6 prefixes", says: "overlaps a prefix of interface dmz",
    text: interface(
      "device = \"e2\"\naddress = \"2001:db8::1/48\"\n[interface.y]\nrole = \"inside\"\ndevice = \"e3\"\naddress = ▸\"2001:db8:0:1::1/64\""
    )),
  Mistake(
    "auto beside an address", says: "\"auto\" stands beside addresses",
    text: interface("device = \"e2\"\naddress = [\"10.0.0.1/8\", ▸\"auto\"]")),
  Mistake(
    "auto in replay", says: "replay has none", text: interface("device = \"e2\"\naddress = ▸\"auto\""), purpose: .replay
  ),
  Mistake(
    "gateway outside its prefix", says: "every prefix of interface dmz",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\ngateway = [▸\"192.168.1.9\"]")),
  Mistake(
    "gateway that is us", says: "is dmz's own address",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\ngateway = ▸\"10.0.0.1\"")),
  Mistake(
    "gateway with a length", says: "is no address",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\ngateway = ▸\"10.0.0.2/8\"")),
  Mistake(
    "IPv6 gateway without an IPv6 address", says: "has no IPv6 address",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\ngateway = ▸\"2001:db8::2\"")),
  Mistake(
    "mac with five pairs", says: "six pairs of hex digits",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\nmac = ▸\"02:00:00:00:01\"")),
  Mistake(
    "multicast mac", says: "a multicast address",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\nmac = ▸\"01:00:5e:00:00:01\"")),
  Mistake(
    "broadcast mac", says: "the broadcast address",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\nmac = ▸\"ff:ff:ff:ff:ff:ff\"")),
  Mistake(
    "mac of nobody", says: "no station's address",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\nmac = ▸\"00:00:00:00:00:00\"")),
  Mistake(
    "mtu too small", says: "from 68 to 65535", text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\nmtu = ▸67")),
  Mistake(
    "mtu too large", says: "from 68 to 65535",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\nmtu = ▸65536")),
  Mistake(
    "ping as a string", says: "write ping = true or ping = false",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\nping = ▸\"yes\"")),
  Mistake(
    "unknown unsolicited", says: "did you mean \"unreachable\"?",
    text: interface("device = \"e2\"\naddress = \"10.0.0.1/8\"\nunsolicited = ▸\"unreachabel\"")),
]

let routeMistakes: [Mistake] = [
  .added("route as a table", says: "below a header [[route]]", text: "▸[route]\ndestination = \"10.0.0.0/8\""),
  .added("route without via", says: "has no via", text: "▸[[route]]\ndestination = \"10.0.0.0/8\""),
  .added("route without destination", says: "has no destination", text: "▸[[route]]\nvia = \"192.168.1.254\""),
  .added(
    "destination that is none", says: "is no prefix",
    text: "[[route]]\ndestination = ▸\"10.0.0/8\"\nvia = \"192.168.1.254\""),
  .added(
    "destination with host bits", says: "write \"10.0.0.0/8\"",
    text: "[[route]]\ndestination = ▸\"10.0.0.1/8\"\nvia = \"192.168.1.254\""),
  .added(
    "via outside every interface", says: "203.0.113.0/24, 192.168.1.0/24",
    text: "[[route]]\ndestination = \"10.0.0.0/8\"\nvia = ▸\"10.0.0.1\""),
  .added(
    "via that is us", says: "is lan's own address",
    text: "[[route]]\ndestination = \"10.0.0.0/8\"\nvia = ▸\"192.168.1.1\""),
  .added(
    "via a broadcast address", says: "network or broadcast",
    text: "[[route]]\ndestination = \"10.0.0.0/8\"\nvia = ▸\"192.168.1.255\""),
  .added(
    "route twice", says: "already (line 10)",
    text:
      "[[route]]\ndestination = \"10.0.0.0/8\"\nvia = \"192.168.1.3\"\n[[route]]\ndestination = ▸\"10.0.0.0/8\"\nvia = \"192.168.1.2\""
  ),
  .added(
    "IPv6 route via nowhere", says: "outside every interface",
    text: "[[route]]\ndestination = \"2001:db8::/32\"\nvia = ▸\"2001:db8::1\""),
  .added(
    "neighbour outside every interface", says: "neighbor 10.0.0.1 is outside every interface",
    text: "[[neighbor]]\naddress = ▸\"10.0.0.1\"\nmac = \"02:00:00:00:00:10\""),
  .added(
    "neighbour that is us", says: "is wan's own address",
    text: "[[neighbor]]\naddress = ▸\"203.0.113.1\"\nmac = \"02:00:00:00:00:10\""),
  .added("neighbour without mac", says: "has no mac", text: "▸[[neighbor]]\naddress = \"192.168.1.9\""),
  .added(
    "neighbour twice", says: "has an entry already (line 10)",
    text:
      "[[neighbor]]\naddress = \"192.168.1.9\"\nmac = \"02:00:00:00:00:10\"\n[[neighbor]]\naddress = ▸\"192.168.1.9\"\nmac = \"02:00:00:00:00:11\""
  ),
]

extension String {
  /// This text with the first occurrence of `old` replaced.
  func replacingFirst(_ old: String, _ new: String) -> String {
    guard let range = firstRange(of: old) else { return self }
    return replacingCharacters(in: range, with: new)
  }

  private func firstRange(of old: String) -> Range<Index>? {
    indices.first { self[$0...].hasPrefix(old) }.map { $0..<index($0, offsetBy: old.count) }
  }

  private func replacingCharacters(in range: Range<Index>, with new: String) -> String {
    self[..<range.lowerBound] + new + self[range.upperBound...]
  }
}
