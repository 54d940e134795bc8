import Engine

/// Warns when the session table fills up: once, and again only after it was clearly emptier.
struct FillWatch {
  /// Per cent of the places from which on it warns, and below which it may warn again.
  static let warning = 80
  private static let relief = 70

  private var hasWarned = false

  /// What to say now, if anything.
  mutating func look(_ use: TableUse) -> String? { look(fill: use.fill) { Self.text(use) } }

  mutating func look(fill: Int, _ text: () -> String) -> String? {
    if fill < Self.relief { hasWarned = false }
    guard fill >= Self.warning, !hasWarned else { return nil }
    hasWarned = true
    return text()
  }

  static func text(_ use: TableUse) -> String {
    """
    the session table is \(use.fill) % full: \(use.sessions) sessions, \(use.halfOpen) of them half open, and \
    \(use.mappings) mappings, in room for \(use.capacity) of each; raise sessions in [engine], or see [limits]
    """
  }
}
