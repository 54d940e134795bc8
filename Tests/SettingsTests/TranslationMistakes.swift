import Engine

private let second = """
  [[forward]]
  name = "second"
  protocol = "tcp"
  on = "wan"
  to = "192.168.1.11"

  """

let forwardMistakes: [Mistake] = [
  .added("forward as a table", says: "below a header [[forward]]", text: "▸[forward]\nname = \"web\""),
  .added(
    "everything missing", says: "has no name", "has no protocol", "has neither on nor external", "has no ports",
    "has no to", text: "▸▸▸▸▸[[forward]]"),
  .forward("unknown key", says: "did you mean \"ports\"?", lines: "▸port = \"80\""),
  .forward("unknown helper", says: "\"sip\" is no helper; write \"ftp\"", lines: "helper = ▸\"sip\""),
  .forward("helper without TCP", says: "reads TCP", lines: "protocol = \"udp\"\nhelper = ▸\"ftp\""),
  .forward("helper for a whole host", says: "the ports that are FTP's", lines: "ports = \"all\"\nhelper = ▸\"ftp\""),
  .forward("name that is none", says: "1 to 64 characters", lines: "name = ▸\"\""),
  .forward(
    "name twice", says: "already (line 10)", lines: second.replacingFirst("\"second\"", "▸\"web\"") + "ports = \"81\""),
  .forward("unknown protocol", says: "did you mean \"tcp+udp\"?", lines: "protocol = ▸\"tcp/udp\""),
  .forward("any with ports", says: "write ports = \"all\"", lines: "protocol = ▸\"any\""),
  .forward("on names nothing", says: "did you mean \"wan\"?", lines: "on = ▸\"wam\""),
  .forward("on names nothing near", says: "write \"wan\"", lines: "on = ▸\"internet\""),
  .forward("on an inside interface", says: "is an inside interface; write \"wan\"", lines: "on = ▸\"lan\""),
  .forward("on and external", says: "exclude each other", lines: "on = \"wan\"\nexternal = ▸\"203.0.113.1\""),
  .forward("external elsewhere", says: "write one of 203.0.113.1/24", lines: "external = ▸\"198.51.100.1\""),
  .forward("external inside", says: "neither an address of an outside interface", lines: "external = ▸\"192.168.1.1\""),
  .forward("external broadcast", says: "network or broadcast", lines: "external = ▸\"203.0.113.255\""),
  .forward("external is the gateway's", says: "the address of the gateway", lines: "external = ▸\"203.0.113.254\""),
  .forward("external that is none", says: "is no IPv4 address", lines: "external = ▸\"203.0.113\""),
  .forward("port 0", says: "from 1 to 65535", lines: "ports = \"▸0\""),
  .forward("port 65536", says: "from 1 to 65535", lines: "ports = \"80, ▸65536\""),
  .forward("port that is none", says: "\"http\" is no port", lines: "ports = \"443, ▸http\""),
  .forward("reversed third range", says: "write 85-90", lines: "ports = \"80, 8810-8815, ▸90-85\""),
  .forward(
    "all that is wrong in a list", says: "out of range", "reversed", "is missing",
    lines: "ports = \"▸0, 80, ▸9-8, ▸, 7\""),
  .forward("range of three", says: "FIRST-LAST", lines: "ports = \"▸1-2-3\""),
  .forward("port twice", says: "repeats ports of \"80-90\"", lines: "ports = \"80-90, 100, ▸85\""),
  .forward("ports as a number", says: "ports is an integer, not a string", lines: "ports = ▸80"),
  .forward("behind an escape the literal is named", says: "reversed", lines: "ports = ▸\"80,\\u0020 9-8\""),
  .forward("on several lines the literal is named", says: "reversed", lines: "ports = ▸\"\"\"80,\n9-8\"\"\""),
  .forward("in single quotes", says: "reversed", lines: "ports = '80, ▸9-8'"),
  .forward("in three quotes on one line", says: "reversed", lines: "ports = \"\"\"80, ▸9-8\"\"\""),
  .forward("columns count characters", says: "reversed", lines: "name = \"büro\" # ä\nports = \"80, ▸9-8\""),
  .forward("except wrong", says: "reversed", lines: "except = \"▸9-8\""),
  .forward("except everything", says: "leaves no port", lines: "except = ▸\"1-100\""),
  .forward("to that is none", says: "is no address", lines: "to = \"▸192.168.1\""),
  .forward("to with port 0", says: "from 1 to 65535", lines: "to = \"192.168.1.10:▸0\""),
  .forward("to with a reversed range", says: "reversed", lines: "to = \"192.168.1.10:▸9-8\""),
  .forward(
    "to with too few ports", says: "write 192.168.1.10:9810-9815",
    lines: "ports = \"8810-8815\"\nto = \"192.168.1.10:▸9810-9814\""),
  .forward(
    "counts compared before except", says: "6 outside ports do not match 5",
    lines: "ports = \"8810-8815\"\nexcept = \"8811\"\nto = \"192.168.1.10:▸9810-9814\""),
  .forward(
    "to beyond the last port", says: "begin the range at 65436",
    lines: "ports = \"1-100\"\nto = \"192.168.1.10:▸65530-65535\""),
  .forward(
    "all to some ports", says: "write to = \"192.168.1.10\"", lines: "ports = \"all\"\nto = \"192.168.1.10:▸80-90\""),
  .forward("two targets", says: "more than one target", lines: "to = ▸[\"192.168.1.10\", \"192.168.1.11\"]"),
  .forward(
    "only an IPv6 target on an IPv4 address", says: "external is an IPv4 address",
    lines: "external = ▸\"203.0.113.1\"\nto = \"2001:db8::10\""),
  .forward("two IPv6 targets", says: "two IPv6 targets", lines: "to = ▸[\"2001:db8::10\", \"2001:db8::11\"]"),
  .forward(
    "IPv6 target ports that do not match", says: "1 outside ports do not match 2",
    lines: "to = ▸\"[2001:db8::10]:80-81\""),
  .forward("bad IPv6 target", says: "is no IPv6 target", lines: "to = [\"192.168.1.10\", ▸\"[2001:db8::10\"]"),
  .forward("target is us", says: "is interface lan's own address", lines: "to = \"▸192.168.1.1\""),
  .forward("target is a broadcast address", says: "network or broadcast", lines: "to = \"▸192.168.1.255\""),
  .forward("target is multicast", says: "a multicast address", lines: "to = \"▸224.0.0.1\""),
  .forward("target beyond the gateway", says: "write source = \"gateway\"", lines: "to = \"▸198.51.100.1\""),
  .forward("target on the outside link", says: "reached through wan itself", lines: "to = \"▸203.0.113.9:80\""),
  .forward(
    "idle times of its own", says: "unknown key \"tcp\"", "is no duration", "\"fragment\" in timeouts",
    lines: "timeouts = { ▸tcp = \"5m\", udp = ▸\"soon\", ▸fragment = \"5s\" }"),
  .forward("idle times that are no table", says: "write it as a table", lines: "timeouts = ▸\"5m\""),
  .forward("all protocols with ports", says: "protocol \"all\" has no ports", lines: "protocol = ▸\"all\""),
  .forward("unknown source", says: "did you mean \"preserve\"?", lines: "source = ▸\"perserve\""),
  .forward("allow that is no prefix", says: "is no prefix", lines: "allow = [\"0.0.0.0/0\", ▸\"10.0.0.0/40\"]"),
  .forward("allow nobody", says: "nobody may use this forward", lines: "allow = ▸[]"),
  .forward("deny of the wrong type", says: "deny is true or false", lines: "deny = ▸true"),
  .forward("hairpin of the wrong type", says: "hairpin = true or hairpin = false", lines: "hairpin = ▸1"),
  .forward("enabled of the wrong type", says: "enabled = true or enabled = false", lines: "enabled = ▸\"on\""),
  .forward("overlap", says: "tcp port 80 belong to forward \"web\" (line 10)", lines: second + "ports = \"79, ▸80\""),
  .forward(
    "overlap in one protocol of two", says: "udp ports 500-510 belong",
    lines: "protocol = \"udp\"\nports = \"500-510\"\n" + second.replacingFirst("\"tcp\"", "\"tcp+udp\"")
      + "ports = \"▸400-600\""),
  .forward(
    "overlap of address and interface", says: "belong to forward \"web\"",
    lines: "external = \"203.0.113.1\"\n" + second + "ports = \"▸1-80\""),
  .forward(
    "two whole hosts", says: "has all ports of the same address",
    lines: "ports = \"all\"\n" + second.replacingFirst("\"tcp\"", "\"any\"") + "ports = ▸\"all\""),
  Mistake(
    "target without a route", says: "outside every interface and route",
    text: twoInterfaces.replacingFirst("gateway = \"203.0.113.254\"\n", "")
      + "[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\non = \"wan\"\nports = \"80\"\nto = \"▸10.0.0.1\""),
]

private func masquerade(_ lines: String, mode: String = "dedicated") -> String {
  twoInterfaces + "[engine]\nmode = \"\(mode)\"\n[[masquerade]]\n" + lines
}

private let lanToWan = "from = \"lan\"\nto = \"wan\"\n"

let masqueradeMistakes: [Mistake] = [
  .added("masquerade without ends", says: "has no from", "has no to", text: "▸▸[[masquerade]]"),
  Mistake(
    "from an outside interface", says: "is an outside interface; write \"lan\"",
    text: masquerade("from = ▸\"wan\"\nto = \"wan\"")),
  Mistake(
    "to an inside interface", says: "is an inside interface; write \"wan\"",
    text: masquerade("from = \"lan\"\nto = ▸\"lan\"")),
  Mistake("to nowhere", says: "which is no interface", text: masquerade("from = \"lan\"\nto = ▸\"internet\"")),
  Mistake("pair twice", says: "already (line 12)", text: masquerade(lanToWan + "▸[[masquerade]]\n" + lanToWan)),
  Mistake("pool wrong", says: "reversed", text: masquerade(lanToWan + "ports = \"1-2, ▸9-8\"")),
  Mistake("pool with repeats", says: "repeats ports", text: masquerade(lanToWan + "ports = \"1-20, ▸9-10\"")),
  Mistake(
    "unknown mapping", says: "did you mean \"address-dependent\"?",
    text: masquerade(lanToWan + "mapping = ▸\"adress-dependent\"")),
  Mistake(
    "unknown filtering", says: "write \"endpoint-independent\" or", text: masquerade(lanToWan + "filtering = ▸\"none\"")
  ),
  Mistake(
    "no pool beside the host", says: "outside the host's own ports (32768-60999); add ports = \"61000-65535\"",
    text: masquerade(lanToWan, mode: "alongside").replacingFirst("[[masquerade]]", "▸[[masquerade]]"),
    localPorts: PortRange(32768, 60999)),
  Mistake(
    "pool among the host's ports", says: "60000-62000 overlaps the host's ip_local_port_range 32768-60999",
    text: masquerade(lanToWan + "ports = \"20000-21000, ▸60000-62000\"", mode: "alongside"),
    localPorts: PortRange(32768, 60999)),
  Mistake(
    "pool that is none", says: "is neither address nor range nor prefix", "reversed; write 203.0.113.5-203.0.113.6",
    "is neither",
    text: masquerade(lanToWan + "external = [▸\"203.0.113\", ▸\"203.0.113.6-203.0.113.5\", ▸\"1-2-3\"]")),
  Mistake(
    "pool of others' addresses", says: "outside every prefix of wan", "network or broadcast", "another station's",
    text: masquerade(
      lanToWan + "external = [▸\"198.51.100.1\", ▸\"203.0.113.255\", ▸\"203.0.113.253-203.0.113.254\"]")),
  Mistake(
    "pool with an address twice", says: "203.0.113.6 is listed twice",
    text: masquerade(lanToWan + "external = [\"203.0.113.5-203.0.113.7\", ▸\"203.0.113.6\"]")),
  Mistake("pool without addresses", says: "external is empty", text: masquerade(lanToWan + "external = ▸[]")),
  Mistake(
    "pool too large", says: "more than 1024 addresses", text: masquerade(lanToWan + "external = ▸\"10.0.0.0/8\"")),
  Mistake(
    "pool that the host does not answer for", says: "the host answers ARP",
    text: masquerade(lanToWan + "ports = \"61000-65535\"\nexternal = ▸\"203.0.113.5\"", mode: "alongside")),
  Mistake("exception that is none", says: "is no prefix", text: masquerade(lanToWan + "except = ▸\"10.0.0/8\"")),
  Mistake(
    "switches of the wrong type", says: "inbound-refresh = true or", "other-protocols = true or",
    text: masquerade(lanToWan + "inbound-refresh = ▸\"no\"\nother-protocols = ▸1")),
  Mistake(
    "masquerade as nobody", says: "has no IPv4 address to masquerade as",
    text: twoInterfaces + "[interface.six]\nrole = \"outside\"\ndevice = \"e2\"\naddress = \"2001:db8::1/64\"\n"
      + "[[masquerade]]\nfrom = \"lan\"\nto = ▸\"six\""),
]

let syntaxMistakes: [Mistake] = [
  .added("value without quotes", says: "write udp = \"5m\"", text: "[timeouts]\nudp = ▸5m"),
  .added(
    "range without quotes", says: "write ports = \"80-90\"",
    text: "[[masquerade]]\nfrom = \"lan\"\nto = \"wan\"\nports = ▸80-90"),
  .added(
    "yes for true", says: "write hairpin = true",
    text:
      "[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\non = \"wan\"\nports = \"80\"\nto = \"192.168.1.10\"\nhairpin = ▸yes"
  ),
  .added("no value", says: "has no value", text: "[timeouts]\n  ▸udp ="),
  .added("no equals sign", says: "write KEY = VALUE", text: "[timeouts]\nudp ▸\"5m\""),
  .added("key twice", says: "workers is there already", text: "[engine]\nworkers = 1\n ▸workers = 2"),
  .added("interface twice", says: "[interface.lan] is there already", text: "▸[interface.lan]\nrole = \"outside\""),
  .added(
    "table among tables", says: "write [[forward]] above each",
    text:
      "[[route]]\ndestination = \"10.0.0.0/8\"\nvia = \"192.168.1.9\"\n[[forward]]\nname = \"a\"\nprotocol = \"tcp\"\non = \"wan\"\nports = \"80\"\nto = \"192.168.1.10\"\n▸[forward]\nname = \"b\""
  ),
  .added("string left open", says: "close the string", text: "[timeouts]\nudp = \"5m▸\nicmp = \"7s\""),
  .added("header left open", says: "write a header like [interface.wan]", text: "[timeouts▸\nudp = \"5m\""),
  .added("header without a key", says: "like KEY = VALUE or [engine]", text: "[▸=a]\nudp = \"5m\""),
  .added("list left open", says: "a bracket at the end", text: "[[masquerade]]\nfrom = [\"lan\"\n▸to = \"wan\""),
  .added(
    "several at once", says: "has no value", "write udp = \"5m\"", "is no duration",
    text: "[timeouts]\n▸icmp =\nudp = ▸5m\ntcp-transitory = ▸\"x\""),
  .added(
    "keys too deep", says: "in one chain",
    text: "[" + String(repeating: "a.", count: 255) + "a▸." + String(repeating: "a.", count: 100_000) + "a]"),
  .added(
    "lists too deep", says: "nested value depth",
    text: "[timeouts]\nudp = " + String(repeating: "[", count: 256) + "▸" + String(repeating: "[", count: 100_000)),
]
