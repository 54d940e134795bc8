import Engine

extension Checker {
  /// `[interface.NAME]`, one for each.
  mutating func readInterfaces(_ node: Node?) {
    let form = "[interface.NAME] with a role, a device and an address"
    guard let node, !node.isInvalid else {
      if node == nil { fail(Place(line: 1, column: 1), "there is no interface; add \(form)") }
      return
    }
    guard case .table(let entries) = node.value else {
      fail(node, "interface is \(node.kind); write each interface as \(form)")
      return
    }
    for entry in entries {
      checkName(entry)
      readInterface(entry.key, entry.node)
    }
    checkDevices(entries)
    checkPrefixes()
    checkGateways()
  }

  /// The name becomes a file name (`IF.pcap`) and stands before `=` on the command line.
  private mutating func checkName(_ entry: Entry) {
    let isFit = entry.key.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    if isFit, (1...64).contains(entry.key.count), !entry.key.hasPrefix(".") { return }
    let form = "1 to 64 letters, digits, \"-\", \"_\" or \".\" (not first)"
    fail(entry.keyPlace, "\(quoted(entry.key)) cannot name an interface; use \(form)")
  }

  private mutating func readInterface(_ name: String, _ node: Node) {
    let keys = ["role", "device", "vlan", "address", "gateway", "mac", "mtu", "ping", "unsolicited", "clamp-mss"]
    let part = SettingsFile.Part.interface(plan.interfaces.count)
    var note = InterfaceNotes(header: node.place)
    guard let fields = fields(of: node, title: "[interface.\(name)]", keys: keys, places: part) else {
      note.areAddressesKnown = false
      plan.interfaces.append(InterfacePlan(name: name, role: .inside, device: ""))
      notes.append(note)
      return
    }
    if require("role", in: fields, "role = \"inside\" or role = \"outside\"") {
      note.role = choice(fields, "role", of: [.inside, .outside])
    }
    var interface = InterfacePlan(name: name, role: note.role ?? .inside, device: "")
    interface.device = device(fields, name: name)
    interface.tags = tags(fields)
    interface.mac = mac(fields, "mac")
    // RFC 791: every link carries 68 bytes; an IPv4 datagram has 65535 at most.
    interface.mtu = integer(fields, "mtu", in: 68...65535)
    interface.ping = boolean(fields, "ping") ?? interface.ping
    interface.unsolicited = choice(fields, "unsolicited", of: [.silent, .unreachable]) ?? .silent
    interface.clampMSS = clampMSS(fields)
    // Answers to echo are on by default inside, off outside: `InterfacePlan.init` follows the role.
    note.areAddressesKnown = readAddresses(fields, into: &interface, &note)
    readGateways(fields, into: &interface, &note)
    checkMTU6(interface, fields)
    plan.interfaces.append(interface)
    notes.append(note)
  }

  /// `device`: required, except in replay, which opens none.
  private mutating func device(_ fields: Fields, name: String) -> String {
    guard fields["device"] != nil || purpose != .replay else { return name }
    guard require("device", in: fields, "device = \"eth0\", the name that `ip link` shows"),
      let piece = string(fields, "device", like: "\"eth0\"")
    else { return "" }
    // The kernel's dev_valid_name, IFNAMSIZ - 1 bytes.
    let isFit = piece.text.utf8.allSatisfy {
      $0 > 32 && $0 != 127 && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":")
    }
    guard isFit, !piece.text.unicodeScalars.contains(where: \.isControl), (1...15).contains(piece.text.utf8.count),
      piece.text != ".", piece.text != ".."
    else {
      fail(piece, "\(quoted(piece.text)) cannot be a device; write the name that `ip link` shows, 1 to 15 characters")
      return ""
    }
    return String(piece.text)
  }

  /// `vlan`: no tag by default; a number, or "OUTER.INNER" for 802.1ad around 802.1Q.
  private mutating func tags(_ fields: Fields) -> [VLANTag] {
    guard let node = fields["vlan"] else { return [] }
    let form = "write vlan = 100 (1 to 4094), or vlan = \"200.100\" for outer and inner"
    switch node.value {
    case .integer(let number):
      guard (1...4094).contains(number) else {
        fail(node, "vlan = \(number) is out of range; \(form)")
        return []
      }
      return [VLANTag(protocolID: 0x8100, vlan: UInt16(number))]
    case .string(let text):
      let parts = Piece(text, of: node).split(by: ".")
      let numbers = parts.map { decimal($0.text, upTo: 4094) ?? 0 }
      guard parts.count <= 2 else {
        fail(node, "\(quoted(text)) is no vlan; \(form)")
        return []
      }
      guard let bad = numbers.firstIndex(of: 0) else {
        let outermost: [UInt16] = numbers.count == 2 ? [0x88A8, 0x8100] : [0x8100]
        return zip(outermost, numbers).map { VLANTag(protocolID: $0, vlan: UInt16($1)) }
      }
      fail(parts[bad], "\(quoted(parts[bad].text)) is no vlan; \(form)")
    case .invalid: break
    default: fail(node, "vlan is \(node.kind); \(form)")
    }
    return []
  }

  /// `clamp-mss`: not at all by default; "mtu", or bytes.
  private mutating func clampMSS(_ fields: Fields) -> InterfacePlan.ClampMSS? {
    guard let node = fields["clamp-mss"] else { return nil }
    if case .string(let text) = node.value {
      if text == "mtu" { return .mtu }
      fail(node, "\(quoted(text)) is no clamp-mss; write clamp-mss = \"mtu\", or bytes like clamp-mss = 1452")
      return nil
    }
    // RFC 9293 section 3.7.1: what a host without the option counts with; a datagram of 65535 bytes less its headers.
    return integer(fields, "clamp-mss", in: 536...65495).map { .bytes($0) }
  }

  /// A station's MAC address.
  mutating func mac(_ fields: Fields, _ key: String) -> MACAddress? {
    guard let piece = string(fields, key, like: "\"02:00:00:00:01:01\"") else { return nil }
    guard let mac = MACAddress(piece.text) else {
      fail(piece, "\(quoted(piece.text)) is no MAC address; write six pairs of hex digits, like \"02:00:00:00:01:01\"")
      return nil
    }
    guard !mac.isGroup, mac.value != 0 else {
      let what =
        mac == .broadcast ? "the broadcast address" : mac.isGroup ? "a multicast address" : "no station's address"
      fail(piece, "\(mac) is \(what); write one station's MAC address, with an even first byte")
      return nil
    }
    return mac
  }

  /// Two interfaces on one device with the same tags could not be told apart.
  private mutating func checkDevices(_ entries: [Entry]) {
    var first: [String: Int] = [:]
    for (index, interface) in plan.interfaces.enumerated() where !interface.device.isEmpty {
      // A tag that could not be read is not "no tag".
      if entries[index].node.holds("vlan") && interface.tags.isEmpty { continue }
      let tags = interface.tags.map { String($0.vlan) }.joined(separator: ".")
      let key = "\(interface.device) \(tags)"
      guard let other = first[key] else {
        first[key] = index
        continue
      }
      let what = tags.isEmpty ? "without a vlan" : "with vlan \(tags)"
      let place = places[.interface(index).key("device")] ?? notes[index].header
      let earlier = "interface \(plan.interfaces[other].name) (line \(notes[other].header.line))"
      fail(
        place,
        "device \(quoted(interface.device)) \(what) is already \(earlier); give each interface its own device or vlan")
    }
  }
}

extension Node {
  /// True for a table that has this key.
  func holds(_ key: String) -> Bool {
    guard case .table(let entries) = value else { return false }
    return entries.contains { $0.key == key }
  }
}
