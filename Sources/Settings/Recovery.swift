extension Source {
  /// The tree, and what toml++ says against the text.
  func parse() -> (root: Node?, errors: [SettingsError]) {
    do {
      return (try Node.parse(bytes), [])
    } catch {
      return (nil, [SettingsError(file: file, place: error.place, text: error.text)])
    }
  }
}
