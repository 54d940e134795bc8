private func translation(_ on: String, _ inside: String, _ outside: String) -> String {
  "[[prefix-translation]]\non = \(on)\ninside = \(inside)\noutside = \(outside)\n"
}

private let six =
  twoInterfaces + """
    [interface.uplink]
    role = "outside"
    device = "e5"
    address = "2001:db8:9::1/64"
    [interface.dmz]
    role = "inside"
    device = "e6"
    address = "fd01:203:405:1::1/64"

    """
private let good = translation("\"uplink\"", "\"fd01:203:405::/48\"", "\"2001:db8:b::/48\"")

private func forward(external: String, to: String) -> String {
  "[[forward]]\nname = \"six\"\nprotocol = \"tcp\"\nexternal = \(external)\nports = \"80\"\nto = \(to)\n"
}

private func pinhole(_ to: String) -> String {
  "[[forward]]\nname = \"six\"\nprotocol = \"tcp\"\non = \"uplink\"\nports = \"80\"\nto = \(to)\n"
}

let translation6Mistakes: [Mistake] = [
  Mistake(
    "IPv6 forward at an address of nobody", says: "write 2001:db8:9::1",
    text: six + forward(external: "▸\"2001:db8:9::2\"", to: "\"fd01:203:405:1::5\"")),
  Mistake(
    "IPv6 forward to an IPv4 target", says: "external is an IPv6 address, and to has an IPv4 address; write",
    text: six + forward(external: "▸\"2001:db8:9::1\"", to: "\"192.168.1.10\"")),
  Mistake(
    "IPv6 forward to both families", says: "and to has an address of each family",
    text: six + forward(external: "▸\"2001:db8:9::1\"", to: "[\"192.168.1.10\", \"fd01:203:405:1::5\"]")),
  Mistake(
    "IPv4 forward to an IPv6 target", says: "external is an IPv4 address, and to has an IPv6 address; write",
    text: six + forward(external: "▸\"203.0.113.1\"", to: "\"fd01:203:405:1::5\"")),
  Mistake(
    "two IPv6 forwards of one port", says: "port 80 of 2001:db8:9::1 belongs to forward \"six\" (line",
    text: six + forward(external: "\"2001:db8:9::1\"", to: "\"fd01:203:405:1::5\"")
      + forward(external: "\"2001:db8:9::1\"", to: "▸\"[fd01:203:405:1::5]:81\"").replacing(
        "\"six\"", with: "\"seven\"")),
  Mistake(
    "IPv6 masquerade at another interface's address", says: "no IPv6 address of an outside interface; add one",
    text: six + "[[masquerade]]\nfrom = \"lan\"\nto = \"wan\"\nexternal = ▸\"2001:db8:9::1\"\n"),
  Mistake(
    "suffix without its minus", says: "neither an address nor a suffix; write a suffix like \"::10/-64\"",
    text: six + pinhole("▸\"::10/64\"")),
  Mistake(
    "suffix of no bits", says: "neither an address nor a suffix", text: six + pinhole("▸\"::10/-128\"")),
  Mistake(
    "suffix with bits of the prefix", says: "has some of its first 64 bits, which are the interface's",
    text: six + pinhole("\"▸2001:db8::10/-64\"")),
  Mistake(
    "suffix behind any of two interfaces",
    says: "may be behind dmz or six; write its interface behind it, like "
      + "\"::10%dmz/-64\"",
    text: six + "[interface.six]\nrole = \"inside\"\ndevice = \"e7\"\naddress = \"2001:db8:a::1/64\"\n"
      + pinhole("▸\"::10/-64\"")),
  Mistake(
    "suffix behind no interface of that name", says: "\"uplink\" is no inside interface; write \"lan\" or \"dmz\"",
    text: six + pinhole("\"[::10%▸uplink/-64]:80\"")),
  Mistake(
    "suffix shorter than the interface leaves",
    says: "an IPv6 address with a prefix of 56 bits",
    text: six + pinhole("▸\"::10/-56\"")),
  Mistake(
    "suffix behind an interface without IPv6", says: "interface lan has no IPv6 address with a prefix of 64 bits",
    text: six + pinhole("▸\"::10%lan/-64\"")),
  Mistake(
    "suffix behind an interface that follows its device",
    says: "interface lan follows its device's IPv4 addresses and so has no IPv6 prefix; write out its addresses",
    text: twoInterfaces.replacing("\"192.168.1.1/24\"", with: "\"auto\"")
      + pinhole("▸\"::10/-64\"").replacing("uplink", with: "wan")),
  Mistake(
    "suffix that is the gateway itself", says: "is interface dmz's own address", text: six + pinhole("▸\"::1/-64\"")),
  Mistake(
    "two IPv6 addresses to masquerade as", says: "has an IPv6 address already; list one",
    text: six + "[[masquerade]]\nfrom = \"lan\"\nto = \"uplink\"\n"
      + "external = [\"2001:db8:9::1\", ▸\"2001:db8:9::1\"]\n"),
]

let prefixMistakes: [Mistake] = [
  Mistake(
    "prefix translation without its prefixes", says: "has no inside; add inside = \"fd01:203:405::/48\"",
    text: six + "▸[[prefix-translation]]\non = \"uplink\"\noutside = \"2001:db8:b::/48\"\n"),
  Mistake(
    "prefix translation at an inside interface", says: "is an inside interface",
    text: six + translation("▸\"dmz\"", "\"fd01:203:405::/48\"", "\"2001:db8:b::/48\"")),
  Mistake(
    "prefix translation without IPv6", says: "wan has no IPv6 address",
    text: six + translation("▸\"wan\"", "\"fd01:203:405::/48\"", "\"2001:db8:b::/48\"")),
  Mistake(
    "prefix of a host", says: "no IPv6 prefix of at most 64 bits",
    text: six + translation("\"uplink\"", "▸\"fd01:203:405::1\"", "\"2001:db8:b::/48\"")),
  Mistake(
    "prefix that leaves no identifier", says: "no IPv6 prefix of at most 64 bits",
    text: six + translation("\"uplink\"", "▸\"fd01:203:405::/65\"", "\"2001:db8:b::/48\"")),
  Mistake(
    "prefix with host bits", says: "write \"2001:db8:b::/48\"",
    text: six + translation("\"uplink\"", "\"fd01:203:405::/48\"", "▸\"2001:db8:b:1::/48\"")),
  Mistake(
    "prefixes of two lengths", says: "is not as long as fd01:203:405::/48",
    text: six + translation("\"uplink\"", "\"fd01:203:405::/48\"", "▸\"2001:db8:b::/56\"")),
  Mistake(
    "prefix translated to itself", says: "overlaps inside = fd01:203:405::/48",
    text: six + translation("\"uplink\"", "\"fd01:203:405::/48\"", "▸\"fd01:203:405::/48\"")),
  Mistake(
    "outside prefix on a link", says: "write a prefix that is routed to this gateway",
    text: six + translation("\"uplink\"", "\"fd01:203:405::/48\"", "▸\"2001:db8:9::/48\"")),
  Mistake(
    "inside prefix on an outside link", says: "of interface uplink, which is outside",
    text: six + translation("\"uplink\"", "▸\"2001:db8:9::/48\"", "\"2001:db8:b::/48\"")),
  Mistake(
    "inside prefix twice", says: "is translated already (line",
    text: six + good + translation("\"uplink\"", "▸\"fd01:203:405:1::/64\"", "\"2001:db8:c:1::/64\"")),
  Mistake(
    "outside prefix twice", says: "stands for another prefix (line",
    text: six + good + translation("\"uplink\"", "\"fd01:203:406::/48\"", "▸\"2001:db8:b::/48\"")),
  Mistake(
    "inside of one, outside of another", says: "what is inside here is outside in line",
    text: six + good + translation("\"uplink\"", "▸\"2001:db8:b::/48\"", "\"2001:db8:c::/48\"")),
]
