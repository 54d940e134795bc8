import Engine

private let rules = """
  [[forward]]
  name = "web"
  protocol = "tcp+udp"
  on = "wan"
  ports = "80, 8810-8815"
  to = "192.168.1.10"

  [[masquerade]]
  from = "lan"
  to = "wan"

  """

extension Mistake {
  /// A trigger with these lines instead of, or besides, the good ones; a forward and a masquerade before it.
  fileprivate static func trigger(_ name: String, says words: String..., lines: String, rules text: String = rules)
    -> Mistake
  {
    let good = [
      ("name", "\"game\""), ("from", "\"lan\""), ("protocol", "\"udp\""), ("when", "\"6112\""),
      ("open", "\"6112, 6881-6889\""),
    ]
    func key(_ line: Substring) -> Substring { line.drop { $0 == "▸" || $0 == " " }.prefix { $0.isLetter } }
    let given = lines.split(separator: "\n").prefix { !$0.hasPrefix("[[") }.map(key)
    var all = text + "[[trigger]]\n"
    for (key, value) in good where !given.contains(key[...]) { all += "\(key) = \(value)\n" }
    var mistake = Mistake.added(name, text: all + lines)
    mistake.words = words
    return mistake
  }
}

private let second = """

  [[trigger]]
  name = "second"
  from = "lan"
  when = "1"

  """

let triggerMistakes: [Mistake] = [
  .added("a trigger as a table", says: "below a header [[trigger]]", text: rules + "▸[trigger]\nname = \"game\""),
  .added(
    "nothing in a trigger", says: "has no name", "has no from", "has no protocol", "has no when", "has no open",
    text: rules + "▸▸▸▸▸[[trigger]]"),
  .trigger("an unknown key of a trigger", says: "did you mean \"when\"?", lines: "▸whem = \"80\""),
  .trigger("a trigger's name that is none", says: "cannot name a trigger", lines: "name = ▸\"\""),
  .trigger(
    "a trigger's name twice", says: "already (line 20)",
    lines: second.replacingFirst("\"second\"", "▸\"game\"") + "protocol = \"tcp\"\nopen = \"81\""),
  .trigger("a trigger with a forward's name", says: "forward named \"web\" already", lines: "name = ▸\"web\""),
  .trigger("from names nothing", says: "did you mean \"lan\"?", lines: "from = ▸\"lam\""),
  .trigger("from an outside interface", says: "is an outside interface; write \"lan\"", lines: "from = ▸\"wan\""),
  .trigger("a trigger for any protocol", says: "write \"tcp\" or \"udp\"", lines: "protocol = ▸\"any\""),
  .trigger("when with port 0", says: "from 1 to 65535", lines: "when = \"6112, ▸0\""),
  .trigger("when with a reversed range", says: "write 85-90", lines: "when = \"80, ▸90-85\""),
  .trigger("open that is none", says: "\"game\" is no port", lines: "open = \"▸game\""),
  .trigger("open with nothing between", says: "is missing", lines: "open = \"6112, ▸, 6113\""),
  .trigger("open as a number", says: "open is an integer, not a string", lines: "open = ▸6112"),
  .trigger("for without a unit", says: "is no duration", lines: "for = ▸\"600\""),
  .trigger("for no time", says: "from \"1s\" to \"365d\"", lines: "for = ▸\"0s\""),
  .trigger("conflict that is none", says: "write \"refuse\" or \"steal\"", lines: "conflict = ▸\"share\""),
  .trigger(
    "open has a forward's port", says: "8812-8813 belongs to forward \"web\" (line 10)",
    lines: "open = \"6112, ▸8812-8813\""),
  .trigger(
    "two triggers open a port", says: "shares ports with trigger \"game\" (line 20)",
    lines: second + "protocol = \"tcp+udp\"\nopen = \"7000, ▸6889-6890\""),
  .trigger(
    "a trigger without a masquerade", says: "add [[masquerade]] from \"lan\"", lines: "from = ▸\"lan\"",
    rules: "[[forward]]\nname = \"w\"\nprotocol = \"tcp\"\non = \"wan\"\nports = \"80\"\nto = \"192.168.1.10\"\n"),
  .trigger(
    "a trigger that takes every port", says: "leaves no port", lines: "open = \"▸1-79, 81-8809, 8816-65535\"",
    rules: rules.replacingFirst("to = \"wan\"", "to = \"wan\"\nports = \"1000-2000\"")),
  Mistake(
    "a trigger alongside on the host's ports", says: "overlaps the host's ip_local_port_range 32768-60999",
    text: "[engine]\nmode = \"alongside\"\n" + twoInterfaces + """
      [[masquerade]]
      from = "lan"
      to = "wan"
      ports = "20000-29999"
      [[trigger]]
      name = "game"
      from = "lan"
      protocol = "udp"
      when = "6112"
      open = "6112, ▸40000"
      """, localPorts: PortRange(32768, 60999)),
]
