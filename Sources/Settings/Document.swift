/// A value to be written out as TOML or as JSON.
indirect enum Document {
  case text(String)
  case number(Int)
  case flag(Bool)
  case list([Document])
  /// In the order to be written.
  case table([(key: String, value: Document)])
  /// A key without a value of its own, and why: a comment in TOML, null in JSON.
  case absent(String)

  // MARK: TOML

  /// A root table as TOML.
  var toml: String {
    guard case .table(let sections) = self else { return "" }
    var blocks: [String] = []
    for (key, value) in sections { value.appendBlocks(to: &blocks, path: Self.bareOrQuoted(key)) }
    return blocks.joined(separator: "\n")
  }

  private func appendBlocks(to blocks: inout [String], path: String) {
    switch self {
    case .table(let rows) where rows.contains(where: { $0.value.isTable }):
      for (key, value) in rows { value.appendBlocks(to: &blocks, path: "\(path).\(Self.bareOrQuoted(key))") }
    case .table(let rows):
      if !rows.isEmpty { blocks.append("[\(path)]\n" + Self.lines(rows)) }
    case .list(let elements):
      for case .table(let rows) in elements { blocks.append("[[\(path)]]\n" + Self.lines(rows)) }
    default: break
    }
  }

  private var isTable: Bool {
    if case .table = self { true } else { false }
  }

  private static func lines(_ rows: [(key: String, value: Document)]) -> String {
    rows.map { key, value in
      if case .absent(let why) = value { "# \(key): \(why)\n" } else { "\(bareOrQuoted(key)) = \(value.inlineTOML)\n" }
    }.joined()
  }

  private var inlineTOML: String {
    switch self {
    case .text(let text): Self.quotedTOML(text)
    case .number(let number): "\(number)"
    case .flag(let flag): "\(flag)"
    case .list(let elements): "[" + elements.map(\.inlineTOML).joined(separator: ", ") + "]"
    case .table(let rows):
      "{ "
        + rows.map { "\(Self.bareOrQuoted($0.key)) = \($0.value.inlineTOML)" }.joined(separator: ", ") + " }"
    case .absent: "{}"
    }
  }

  private static func bareOrQuoted(_ key: String) -> String {
    let isBare = key.utf8.allSatisfy {
      (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45 || $0 == 95
    }
    return isBare && !key.isEmpty ? key : quotedTOML(key)
  }

  private static func quotedTOML(_ text: String) -> String { escaped(text) { $0.value == 0x7F } }

  // MARK: JSON

  /// JSON, indented by two spaces.
  var json: String { json(indent: "") + "\n" }

  private func json(indent: String) -> String {
    switch self {
    case .text(let text): return Self.escaped(text) { _ in false }
    case .number(let number): return "\(number)"
    case .flag(let flag): return "\(flag)"
    case .absent: return "null"
    case .list(let elements) where !elements.contains(where: \.isTable):
      return "[" + elements.map { $0.json(indent: indent) }.joined(separator: ", ") + "]"
    case .list(let elements):
      let inner = indent + "  "
      return "[\n" + elements.map { inner + $0.json(indent: inner) }.joined(separator: ",\n") + "\n\(indent)]"
    case .table(let rows):
      if rows.isEmpty { return "{}" }
      let inner = indent + "  "
      let lines = rows.map { key, value in "\(inner)\(Self.escaped(key) { _ in false }): \(value.json(indent: inner))" }
      return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
    }
  }

  /// A string literal: the escapes that TOML and JSON share, with `\uXXXX` for control characters.
  private static func escaped(_ text: String, alsoEscaping extra: (Unicode.Scalar) -> Bool) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      if scalar == "\"" || scalar == "\\" {
        result += "\\\(scalar)"
      } else if scalar.value < 0x20 || extra(scalar) {
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
