/// A position in the configuration file. Both numbers are 1-based; a column counts Unicode scalars.
public struct Place: Hashable, Comparable, Sendable {
  public var line: Int
  public var column: Int

  public init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }

  public static func < (left: Self, right: Self) -> Bool {
    (left.line, left.column) < (right.line, right.column)
  }
}

/// One thing that is wrong in a configuration, and what would be right.
public struct SettingsError: Error, Hashable, Sendable, CustomStringConvertible {
  public var file: String
  /// nil: the file as a whole (it cannot be read).
  public var place: Place?
  public var text: String

  public init(file: String, place: Place?, text: String) {
    self.file = file
    self.place = place
    // One error is one line, whatever names and keys it quotes.
    self.text = String(String.UnicodeScalarView(text.unicodeScalars.map { $0.isControl ? " " : $0 }))
  }

  /// `FILE:LINE:COLUMN: what is wrong, and what would be right`
  public var description: String {
    guard let place else { return "\(file): \(text)" }
    return "\(file):\(place.line):\(place.column): \(text)"
  }
}

/// Everything that is wrong in one configuration, in the order of the file; never empty.
public struct SettingsErrors: Error, Sendable, CustomStringConvertible {
  public var errors: [SettingsError]

  public init(_ errors: [SettingsError]) {
    self.errors = errors.enumerated().sorted { left, right in
      let (first, second) = (left.element.place, right.element.place)
      guard let first, let second, first != second else { return left.offset < right.offset }
      return first < second
    }.map(\.element)
  }

  /// One line for each error, without the program's name.
  public var messages: [String] { errors.map(\.description) }

  public var description: String { messages.joined(separator: "\n") }
}
