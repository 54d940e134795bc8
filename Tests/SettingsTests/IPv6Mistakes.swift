private func interface(_ lines: String) -> String {
  twoInterfaces + "[interface.dmz]\nrole = \"inside\"\ndevice = \"e2\"\n" + lines + "\n"
}

private let six = interface("address = \"2001:db8:9::1/64\"")
private func route(_ destination: String, via: String) -> String {
  "[[route]]\ndestination = \(destination)\nvia = \(via)\n"
}
private func neighbor(_ address: String) -> String {
  "[[neighbor]]\naddress = \(address)\nmac = \"02:00:00:00:00:10\"\n"
}

let ipv6Mistakes: [Mistake] = [
  Mistake(
    "address of all routers", says: "address of all routers in 2001:db8:9::/64",
    text: interface("address = ▸\"2001:db8:9::/64\"")),
  Mistake(
    "IPv6 address twice", says: "is listed twice",
    text: interface("address = [\"2001:db8:9::1/64\", ▸\"2001:db8:9::1/64\"]")),
  Mistake(
    "IPv6 multicast address", says: "no host's IPv6 address", text: interface("address = ▸\"ff02::1/64\"")),
  Mistake("IPv6 loopback address", says: "no host's IPv6 address", text: interface("address = ▸\"::1/128\"")),
  Mistake(
    "IPv6 on a link too small for it", says: "less than IPv6 needs",
    text: interface("address = \"2001:db8:9::1/64\"\nmtu = ▸1279")),
  Mistake(
    "IPv6 gateway that is ourselves", says: "dmz's own address",
    text: interface("address = \"2001:db8:9::1/64\"\ngateway = ▸\"2001:db8:9::1\"")),
  Mistake(
    "IPv6 gateway outside its prefix", says: "write an address inside 2001:db8:9::/64",
    text: interface("address = \"2001:db8:9::1/64\"\ngateway = ▸\"2001:db8:a::1\"")),
  Mistake(
    "link-local gateway without IPv6", says: "needs IPv6 on its link",
    text: interface("address = \"10.0.0.1/8\"\ngateway = ▸\"fe80::1\"")),
  Mistake(
    "IPv6 route with host bits", says: "write \"2001:db8:a::/48\"",
    text: six + route("▸\"2001:db8:a::1/48\"", via: "\"2001:db8:9::2\"")),
  Mistake(
    "IPv6 route with an IPv4 destination", says: "is no IPv6 prefix, as via is",
    text: six + route("▸\"10.0.0.0/8\"", via: "\"2001:db8:9::2\"")),
  Mistake(
    "IPv6 route twice", says: "already (line",
    text: six + route("\"2001:db8:a::/48\"", via: "\"2001:db8:9::2\"")
      + route("▸\"2001:db8:a::/48\"", via: "\"2001:db8:9::3\"")),
  Mistake(
    "link-local neighbour on any of two links", says: "like \"fe80::5%dmz\"",
    text: six + "[interface.six]\nrole = \"inside\"\ndevice = \"e3\"\naddress = \"2001:db8:a::1/64\"\n"
      + neighbor("▸\"fe80::5\"")),
  Mistake(
    "link-local neighbour on no interface", says: "\"nowhere\" is no interface",
    text: six + neighbor("\"fe80::5%▸nowhere\"")),
  Mistake(
    "IPv6 neighbour twice", says: "has an entry already",
    text: six + neighbor("\"2001:db8:9::5\"") + neighbor("▸\"2001:db8:9::5\"")),
  Mistake("neighbour that is a group", says: "no host's IPv6 address", text: six + neighbor("▸\"ff02::5\"")),
]
