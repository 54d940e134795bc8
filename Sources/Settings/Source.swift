import Glibc

/// A configuration's text, with its lines at hand to find places inside strings.
struct Source: Sendable {
  /// A configuration larger than this is a mistake, not a configuration.
  static let byteLimit = 16 << 20

  var file: String
  /// Without a byte order mark, which toml++ does not count as a column either.
  var bytes: [UInt8]
  /// Offset of each line's first byte.
  private var lineStarts: [Int]

  init(file: String, bytes: [UInt8]) {
    self.file = file
    self.bytes = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
    lineStarts = [0]
    for (offset, byte) in self.bytes.enumerated() where byte == UInt8(ascii: "\n") { lineStarts.append(offset + 1) }
  }

  /// Reads a file to its end.
  init(path: String) throws(SettingsErrors) {
    let (bytes, failure) = Self.read(path)
    if let failure { throw SettingsErrors([SettingsError(file: path, place: nil, text: failure)]) }
    self.init(file: path, bytes: bytes)
  }

  private static func read(_ path: String) -> (bytes: [UInt8], failure: String?) {
    func failed() -> ([UInt8], String?) {
      ([], "cannot be read: \(String(cString: strerror(errno))); give a readable file in TOML")
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return failed() }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { return failed() }
      if count == 0 { return (bytes, nil) }
      bytes += chunk[0..<count]
      guard bytes.count <= byteLimit else {
        return ([], "is larger than \(byteLimit >> 20) MiB; give a configuration in TOML")
      }
    }
  }

  /// The text of a 1-based line without its end.
  func line(_ number: Int) -> String {
    guard lineStarts.indices.contains(number - 1) else { return "" }
    let start = lineStarts[number - 1]
    var end = number < lineStarts.count ? lineStarts[number] - 1 : bytes.count
    if end > start && bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    return String(decoding: bytes[start..<end], as: UTF8.self)
  }

  /// Replaces a line's text; the places of everything else stay.
  mutating func replaceLine(_ number: Int, by text: String) {
    guard lineStarts.indices.contains(number - 1) else { return }
    let end = number < lineStarts.count ? lineStarts[number] - 1 : bytes.count
    bytes.replaceSubrange(lineStarts[number - 1]..<end, with: Array(text.utf8))
    self = Source(file: file, bytes: bytes)
  }

  /// Where the part of a string's value that begins at `offset` (in scalars) stands in the file, if its literal is on
  /// one line and has no escapes; else where the literal begins.
  func place(_ offset: Int, inside value: String, at literal: Place) -> Place {
    let scalars = Array(line(literal.line).unicodeScalars)
    let start = literal.column - 1
    guard scalars.indices.contains(start), scalars[start] == "\"" || scalars[start] == "'" else { return literal }
    let quote = scalars[start]
    let isTriple = scalars.count >= start + 6 && scalars[start + 1] == quote && scalars[start + 2] == quote
    let width = isTriple ? 3 : 1
    let inner = Array(value.unicodeScalars)
    let end = start + width + inner.count
    // A literal whose text is its value has no escapes and ends on its line.
    guard end + width <= scalars.count, scalars[(start + width)..<end].elementsEqual(inner),
      scalars[end..<(end + width)].allSatisfy({ $0 == quote }), !inner.contains("\\") || quote == "'"
    else { return literal }
    return Place(line: literal.line, column: literal.column + width + offset)
  }
}
