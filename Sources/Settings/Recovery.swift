/// toml++ stops at its first error. To report all of them, and what else is wrong, a line that is bad by itself is
/// mended and the text parsed again; what stood on it is never complained about a second time.
struct Recovery {
  private let source: Source
  private var mended: Source
  private var errors: [SettingsError] = []
  /// Lines whose value stands in for one that could not be read.
  private var invalidLines: Set<Int> = []
  /// Lines with the header of a table that is there already: their tables are left out.
  private var leftOutLines: Set<Int> = []
  /// A header could not be read, so that keys would be looked for in the wrong tables.
  private var isLost = false

  /// After so many syntax errors it is no configuration.
  private static let errorLimit = 100

  init(_ source: Source) {
    self.source = source
    // What goes wrong on the last line goes wrong in the same way as on any other.
    mended = Source(file: source.file, bytes: source.bytes + [UInt8(ascii: "\n")])
  }

  /// The tree, unless nothing sensible can be said about it, and the syntax errors.
  mutating func parse() -> (root: Node?, errors: [SettingsError]) {
    while errors.count < Self.errorLimit {
      do {
        let root = try Node.parse(mended.bytes)
        return (isLost ? nil : cleaned(root), errors)
      } catch {
        guard let (place, text, line) = judge(error) else {
          report(error.place, Self.words(error.text))
          return (nil, errors)
        }
        report(place, text)
        mended.replaceLine(error.place.line, by: line)
      }
    }
    return (nil, errors)
  }

  private mutating func report(_ place: Place, _ text: String) {
    errors.append(SettingsError(file: source.file, place: place, text: text))
  }

  /// What to say about an error and what to put in its line's place; nil if the line cannot be blamed alone.
  private mutating func judge(_ error: SyntaxError) -> (place: Place, text: String, line: String)? {
    let number = error.place.line
    let line = mended.line(number)
    guard !invalidLines.contains(number), !leftOutLines.contains(number) else { return nil }
    let start = line.prefix { $0 == " " || $0 == "\t" }
    let first = Place(line: number, column: start.unicodeScalars.count + 1)
    let isHeader = line.dropFirst(start.count).first == "["
    if error.text.contains("cannot redefine existing") {
      return isHeader ? repeatedHeader(line, first, error) : repeatedKey(line, first)
    }
    // Bad by itself, in the same way: not the innocent end of a list or a string that began above.
    guard let alone = Self.failure(of: line), alone.text == error.text, alone.place.column == error.place.column else {
      return nil
    }
    if isHeader {
      isLost = true
      return (error.place, Self.words(error.text), "")
    }
    guard let key = Self.key(of: line) else {
      isLost = true
      return (error.place, Self.words(error.text), "")
    }
    invalidLines.insert(number)
    let (place, text) = value(of: line, first, error)
    return (place, text, "\(key) = 0")
  }

  private mutating func repeatedHeader(
    _ line: String, _ first: Place, _ error: SyntaxError
  ) -> (place: Place, text: String, line: String)? {
    let header = line.split(separator: "#", maxSplits: 1).first.map { Piece.trim($0) } ?? ""
    let rest = header.drop { $0 == "[" }.prefix { $0 != "]" }
    let hint =
      error.text.contains("array")
      ? "write [[\(rest)]] above each of them" : "put all its keys below one header, or give it another name"
    leftOutLines.insert(first.line)
    return (first, "\(header) is there already; \(hint)", "[\"(line \(first.line))\"]")
  }

  private func repeatedKey(_ line: String, _ first: Place) -> (place: Place, text: String, line: String)? {
    // A value that goes on below cannot be taken out by its first line.
    guard Self.failure(of: line) == nil, let key = Self.key(of: line) else { return nil }
    return (first, "\(key) is there already in this table; write it once", "")
  }

  /// Points at a value without quotes as a whole, and says how to write it.
  private func value(of line: String, _ first: Place, _ error: SyntaxError) -> (Place, String) {
    guard let equals = line.firstIndex(of: "="), let key = Self.key(of: line) else {
      return (error.place, Self.words(error.text))
    }
    let rest = line[line.index(after: equals)...]
    let value = Piece.trim(rest.prefix { $0 != "#" })
    guard !value.isEmpty else { return (first, "\(key) has no value; write one behind the equals sign") }
    guard !value.contains(where: { "\"'[]{}".contains($0) }) else { return (error.place, Self.words(error.text)) }
    let column = line.unicodeScalars.distance(from: line.startIndex, to: value.startIndex) + 1
    let better =
      switch value.lowercased() {
      case "yes", "on", "true": "true"
      case "no", "off", "false": "false"
      default: "\"\(value)\""
      }
    return (Place(line: first.line, column: column), "\(quoted(value)) is no TOML value; write \(key) = \(better)")
  }

  /// The error of a line taken by itself.
  private static func failure(of line: String) -> SyntaxError? {
    do {
      _ = try Node.parse(Array((line + "\n").utf8))
      return nil
    } catch {
      return error
    }
  }

  /// The key that a line begins with: bare words with dots between.
  private static func key(of line: String) -> String? {
    let word = Piece.trim(line[...]).prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    return failure(of: "\(word) = 0") == nil ? String(word) : nil
  }

  /// The tree without the tables left out, and with stand-ins marked as what they are.
  private func cleaned(_ root: Node) -> Node {
    guard case .table(let entries) = root.value, !(invalidLines.isEmpty && leftOutLines.isEmpty) else { return root }
    let kept = entries.filter { !leftOutLines.contains($0.keyPlace.line) }
    return marked(Node(value: .table(kept), place: root.place))
  }

  private func marked(_ node: Node) -> Node {
    var node = node
    switch node.value {
    case .table(let entries):
      node.value = .table(
        entries.map { Entry(key: $0.key, keyPlace: $0.keyPlace, node: marked($0.node)) })
    case .array(let elements): node.value = .array(elements.map(marked))
    default: if invalidLines.contains(node.place.line) { node.value = .invalid }
    }
    return node
  }

  /// What toml++ says, with what would be right.
  private static func words(_ text: String) -> String {
    var what = text[...]
    let lead = "Error while parsing "
    if what.hasPrefix(lead) { what = what.dropFirst(lead.count) }
    let hints: [(String, String)] = [
      ("table header", "write a header like [interface.wan] or [[forward]]"),
      ("bare key", "write a word, like KEY = VALUE or [engine]"),
      ("string", "close the string on its line with the quote that opened it"),
      ("escape", "write a backslash as two, or use single quotes"),
      ("unicode scalar", "write \\uXXXX with four hex digits"),
      ("array", "write [\"A\", \"B\"]: strings in quotes, commas between, a bracket at the end"),
      ("inline table", "use a header of its own, like [interface.wan]"),
      ("'='", "write KEY = VALUE"),
      ("comment or whitespace", "write one KEY = VALUE a line"),
      ("could not determine", "write strings in quotes"),
      ("utf-8", "save the file as UTF-8"),
      ("in one chain", "use the tables of the manual"),
      ("nested value depth", "use the tables of the manual"),
      ("root table", "write KEY = VALUE, a header like [engine], or a comment with #"),
    ]
    let hint = hints.first { what.contains($0.0) }?.1 ?? "write strings in quotes, and numbers in plain digits"
    return "no TOML: \(what); \(hint)"
  }
}
