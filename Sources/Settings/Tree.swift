import CToml

/// A TOML value with its place in the file.
struct Node: Sendable {
  enum Value: Sendable {
    /// In the order of the file.
    case table([Entry])
    case array([Node])
    case string(String)
    case integer(Int64)
    case float(Double)
    case boolean(Bool)
    case date
    /// Stands on a line with a syntax error that has been reported: never complained about again.
    case invalid
  }

  var value: Value
  /// Where the value begins; for a table with a header, where the header begins.
  var place: Place

  /// The kind in words, with its article.
  var kind: String {
    switch value {
    case .table: "a table"
    case .array: "a list"
    case .string: "a string"
    case .integer: "an integer"
    case .float: "a fraction"
    case .boolean: "true or false"
    case .date: "a date"
    case .invalid: "invalid"
    }
  }

  var isInvalid: Bool {
    if case .invalid = value { true } else { false }
  }
}

/// A key of a table with its value.
struct Entry: Sendable {
  var key: String
  var keyPlace: Place
  var node: Node
}

/// What toml++ has to say against a text.
struct SyntaxError: Error {
  var place: Place
  var text: String
}

extension Node {
  /// Keys of a chain like `a.b.c`. toml++ bounds values inside values (256), but not dotted keys: a hundred thousand
  /// of them overflow the stack when its tree is freed.
  static let keyDepthLimit = 256

  /// The root table of a TOML text.
  static func parse(_ bytes: [UInt8]) throws(SyntaxError) -> Node {
    if let place = tooDeep(bytes) {
      throw SyntaxError(place: place, text: "more than \(keyDepthLimit) keys in one chain")
    }
    let builder = TreeBuilder()
    var error = ctoml_error()
    let isGood = bytes.withUnsafeBytes { raw in
      let start = raw.baseAddress?.assumingMemoryBound(to: CChar.self)
      return ctoml_parse(start, raw.count, visit, Unmanaged.passUnretained(builder).toOpaque(), &error)
    }
    guard isGood == 1, let root = builder.root else {
      let text = withUnsafeBytes(of: &error.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      throw SyntaxError(place: Place(line: Int(error.line), column: Int(error.column)), text: text)
    }
    return root
  }

  /// Where a chain of more than `keyDepthLimit` keys ends, if there is one. Counts dots between what may be key text,
  /// wherever it stands; an address list has commas and quotes between its dots, so that it is no chain.
  private static func tooDeep(_ bytes: [UInt8]) -> Place? {
    var place = Place(line: 1, column: 1)
    var (dots, hasKey, isComment) = (0, false, false)
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "\n"):
        (dots, hasKey, isComment) = (0, false, false)
        place = Place(line: place.line + 1, column: 0)
      case _ where isComment: break
      case UInt8(ascii: "#"): (dots, hasKey, isComment) = (0, false, true)
      case UInt8(ascii: "."):
        dots = hasKey ? dots + 1 : 0
        hasKey = false
        if dots >= keyDepthLimit { return place }
      case UInt8(ascii: " "), UInt8(ascii: "\t"): break
      case UInt8(ascii: ","), UInt8(ascii: "="), UInt8(ascii: "/"), UInt8(ascii: ":"): (dots, hasKey) = (0, false)
      default: hasKey = true
      }
      if byte & 0xC0 != 0x80 { place.column += 1 }
    }
    return nil
  }
}

/// Builds the tree from the visits of `ctoml_parse`.
private final class TreeBuilder {
  struct Frame {
    var key: String?
    var keyPlace: Place
    var place: Place
    var isTable: Bool
    var entries: [Entry] = []
    var elements: [Node] = []
  }

  var root: Node?
  private var open: [Frame] = []

  func add(_ value: ctoml_value) {
    let key = value.key.map { text($0, value.key_length) }
    let keyPlace = Place(line: Int(value.key_line), column: Int(value.key_column))
    let place = Place(line: Int(value.line), column: Int(value.column))
    switch UInt32(bitPattern: value.kind) {
    case ctoml_table.rawValue: open.append(Frame(key: key, keyPlace: keyPlace, place: place, isTable: true))
    case ctoml_array.rawValue: open.append(Frame(key: key, keyPlace: keyPlace, place: place, isTable: false))
    case ctoml_string.rawValue:
      attach(.string(value.text.map { text($0, value.text_length) } ?? ""), place, key, keyPlace)
    case ctoml_integer.rawValue: attach(.integer(value.integer), place, key, keyPlace)
    case ctoml_float.rawValue: attach(.float(value.real), place, key, keyPlace)
    case ctoml_boolean.rawValue: attach(.boolean(value.integer != 0), place, key, keyPlace)
    default: attach(.date, place, key, keyPlace)
    }
  }

  func close() {
    guard let frame = open.popLast() else { return }
    // toml++ keeps its tables sorted by key.
    let value =
      frame.isTable
      ? Node.Value.table(frame.entries.sorted { $0.keyPlace < $1.keyPlace }) : .array(frame.elements)
    attach(value, frame.place, frame.key, frame.keyPlace)
  }

  private func attach(_ value: Node.Value, _ place: Place, _ key: String?, _ keyPlace: Place) {
    let node = Node(value: value, place: place)
    guard let last = open.indices.last else {
      root = node
      return
    }
    if let key {
      open[last].entries.append(Entry(key: key, keyPlace: keyPlace, node: node))
    } else {
      open[last].elements.append(node)
    }
  }

  private func text(_ start: UnsafePointer<CChar>, _ count: Int) -> String {
    String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
  }
}

private func visit(_ context: UnsafeMutableRawPointer?, _ value: UnsafePointer<ctoml_value>?) {
  guard let context else { return }
  let builder = Unmanaged<TreeBuilder>.fromOpaque(context).takeUnretainedValue()
  if let value { builder.add(value.pointee) } else { builder.close() }
}
