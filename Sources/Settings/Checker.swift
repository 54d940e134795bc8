import Engine

/// A string of the file or a part of one, which still knows where it stands.
struct Piece {
  var text: Substring
  var literal: Node
  /// True for the string as a whole: its place is where the literal begins, not what stands behind the quote.
  var isWhole: Bool

  init(_ text: String, of literal: Node) {
    self.text = text[...]
    self.literal = literal
    isWhole = true
  }

  /// A part of this piece: its text must be a slice of this one's.
  func part(_ text: Substring) -> Piece {
    var piece = self
    piece.text = text
    piece.isWhole = false
    return piece
  }

  /// The parts between separators, without the blanks around them.
  func split(by separator: Character) -> [Piece] {
    text.split(separator: separator, omittingEmptySubsequences: false).map { part($0).trimmed }
  }

  var trimmed: Piece { part(Self.trim(text)) }

  /// A text without blanks around it.
  static func trim(_ text: Substring) -> Substring {
    var text = text
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}

/// The keys of one table that has been compared with what may stand in it.
struct Fields {
  /// The table as a user writes it: `[interface.wan]`.
  var title: String
  /// The table's header.
  var place: Place
  private var nodes: [String: Entry] = [:]

  init(title: String, place: Place, entries: [Entry]) {
    self.title = title
    self.place = place
    for entry in entries { nodes[entry.key] = entry }
  }

  subscript(key: String) -> Node? { nodes[key]?.node }

  /// Where the value of each key stands.
  var valuePlaces: [String: Place] { nodes.mapValues(\.node.place) }
}

/// Makes a plan of a tree, and collects everything that is wrong with it.
///
/// What is wrong once is said once: a part that could not be read is known to be unknown (`Notes`), and nothing that
/// depends on it is complained about.
struct Checker {
  /// What the plan itself does not hold.
  struct InterfaceNotes {
    var header: Place
    /// nil: missing or wrong.
    var role: InterfacePlan.Role?
    /// False where addresses are automatic or could not be read.
    var areAddressesKnown = true
    var addresses: [Piece] = []
    var addresses6: [Piece] = []
    var gateways: [Piece] = []
    var gateways6: [Piece] = []
  }

  let source: Source
  let purpose: SettingsFile.Purpose
  /// The host's ip_local_port_range; nil: not known, not compared.
  let localPorts: PortRange?

  var plan = Plan()
  var errors: [SettingsError] = []
  /// What is accepted, and better not done.
  var warnings: [SettingsError] = []
  var places: [SettingsFile.Part: Place] = [:]
  var notes: [InterfaceNotes] = []
  /// False if a gateway or a route could not be read.
  var areRoutesKnown = true
  /// False if an end of a masquerade could not be read.
  var areMasqueradesKnown = true
  var drafts: [ForwardDraft] = []

  init(source: Source, purpose: SettingsFile.Purpose, localPorts: PortRange?) {
    self.source = source
    self.purpose = purpose
    self.localPorts = localPorts
  }

  /// Reads the whole file. The plan is good if `errors` is empty then.
  mutating func check(_ root: Node) {
    let sections = [
      "engine", "interface", "route", "neighbor", "forward", "masquerade", "prefix-translation", "trigger", "timeouts",
      "limits", "recorder",
    ]
    guard let fields = fields(of: root, title: "the configuration", keys: sections, places: nil) else { return }
    readEngine(fields["engine"])
    readInterfaces(fields["interface"])
    readRoutes(fields["route"])
    readNeighbors(fields["neighbor"])
    readTimeouts(fields["timeouts"])
    readLimits(fields["limits"])
    readForwards(fields["forward"])
    readMasquerades(fields["masquerade"])
    readPrefixes(fields["prefix-translation"])
    readTriggers(fields["trigger"])
    readRecorder(fields["recorder"])
  }

  // MARK: Errors

  /// After so many it is no configuration; a file of a million commas should not take an hour to say so.
  private static let errorLimit = 1000

  mutating func fail(_ place: Place, _ text: String) {
    guard errors.count <= Self.errorLimit else { return }
    let isLast = errors.count == Self.errorLimit
    errors.append(
      SettingsError(
        file: source.file, place: place,
        text: isLast ? "more than \(Self.errorLimit) mistakes; mend those before and try again" : text))
  }

  mutating func fail(_ node: Node, _ text: String) { fail(node.place, text) }

  mutating func fail(_ piece: Piece, _ text: String) {
    // Finding the place takes a walk through the line.
    if errors.count <= Self.errorLimit { fail(place(of: piece), text) }
  }

  mutating func warn(_ piece: Piece, _ text: String) {
    warnings.append(SettingsError(file: source.file, place: place(of: piece), text: "warning: \(text)"))
  }

  func place(of piece: Piece) -> Place {
    if piece.isWhole { return piece.literal.place }
    let value = piece.text.base
    let offset = value.unicodeScalars.distance(from: value.startIndex, to: piece.text.startIndex)
    return source.place(offset, inside: value, at: piece.literal.place)
  }

  // MARK: Tables

  /// A table's keys, nil if it is no table; keys not in `keys` are errors. Remembers where each stands if `places` names the part.
  mutating func fields(of node: Node, title: String, keys: [String], places part: SettingsFile.Part?) -> Fields? {
    guard case .table(let entries) = node.value else {
      if !node.isInvalid { fail(node, "\(title) is \(node.kind); write it as a table, with a header of its own") }
      return nil
    }
    for entry in entries where !keys.contains(entry.key) {
      let hint = nearest(to: entry.key, among: keys).map { "did you mean \"\($0)\"?" }
      let known = hint ?? "known there: \(keys.joined(separator: ", "))"
      fail(entry.keyPlace, "unknown key \(quoted(entry.key)) in \(title); \(known)")
    }
    let fields = Fields(title: title, place: node.place, entries: entries)
    if let part {
      places[part] = node.place
      for (key, place) in fields.valuePlaces { places[part.key(key)] = place }
    }
    return fields
  }

  /// The tables of `[[name]]`.
  mutating func elements(of node: Node?, name: String) -> [Node] {
    guard let node, !node.isInvalid else { return [] }
    if case .array(let elements) = node.value { return elements }
    fail(node, "\(name) is \(node.kind); write each \(name) below a header [[\(name)]] of its own")
    return []
  }

  /// True if the key is there; complains otherwise.
  mutating func require(_ key: String, in fields: Fields, _ example: String) -> Bool {
    if fields[key] != nil { return true }
    fail(fields.place, "\(fields.title) has no \(key); add \(example)")
    return false
  }

  // MARK: Values. Each getter gives nil where the key is missing, or where it complains.

  mutating func string(_ fields: Fields, _ key: String, like example: String) -> Piece? {
    guard let node = fields[key] else { return nil }
    return string(node, key, like: example)
  }

  mutating func string(_ node: Node, _ key: String, like example: String) -> Piece? {
    switch node.value {
    case .string(let text): return Piece(text, of: node)
    case .invalid: return nil
    default:
      fail(node, "\(key) is \(node.kind), not a string; write it like \(key) = \(example)")
      return nil
    }
  }

  /// A list of strings, or one string alone.
  mutating func strings(_ fields: Fields, _ key: String, like example: String) -> [Piece]? {
    guard let node = fields[key] else { return nil }
    guard case .array(let elements) = node.value else { return string(node, key, like: example).map { [$0] } }
    var pieces: [Piece] = []
    for element in elements {
      guard case .string(let text) = element.value else {
        fail(element, "\(key) holds \(element.kind), not a string; write it like \(key) = \(example)")
        continue
      }
      pieces.append(Piece(text, of: element))
    }
    return pieces.count == elements.count ? pieces : nil
  }

  mutating func integer(_ fields: Fields, _ key: String, in range: ClosedRange<Int>) -> Int? {
    guard let node = fields[key] else { return nil }
    guard case .integer(let number) = node.value else {
      if !node.isInvalid {
        fail(
          node, "\(key) is \(node.kind), not an integer; write a number from \(range.lowerBound) to \(range.upperBound)"
        )
      }
      return nil
    }
    guard let number = Int(exactly: number), range.contains(number) else {
      fail(node, "\(key) = \(number) is out of range; write a number from \(range.lowerBound) to \(range.upperBound)")
      return nil
    }
    return number
  }

  mutating func boolean(_ fields: Fields, _ key: String) -> Bool? {
    guard let node = fields[key] else { return nil }
    if case .boolean(let value) = node.value { return value }
    if !node.isInvalid { fail(node, "\(key) is \(node.kind); write \(key) = true or \(key) = false") }
    return nil
  }

  /// One of a few words.
  mutating func choice<T: RawRepresentable<String>>(_ fields: Fields, _ key: String, of all: [T]) -> T? {
    let words = all.map(\.rawValue)
    guard let piece = string(fields, key, like: quoted(words[0])) else { return nil }
    if let value = T(rawValue: String(piece.text)) { return value }
    fail(piece, unknown(piece, key, words))
    return nil
  }

  /// The message for a word that is none of `words`.
  func unknown(_ piece: Piece, _ key: String, _ words: [String]) -> String {
    let near = nearest(to: String(piece.text), among: words).map { "did you mean \(quoted($0))?" }
    let list = words.map { quoted($0) }.joined(separator: " or ")
    return "\(quoted(piece.text)) is no \(key); " + (near ?? "write \(list)")
  }
}
