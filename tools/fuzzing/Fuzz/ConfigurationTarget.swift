import Settings

@testable import Engine

/// Any text as a configuration: every mistake has its place, and what is accepted means the same when written out.
enum ConfigurationTarget {
  static func play(_ input: Input) -> CInt {
    var input = input
    let text = String(decoding: input.all(), as: UTF8.self)
    do throws(SettingsErrors) {
      let file = try SettingsFile(text: text, file: "fuzz.toml", purpose: .check)
      let written = try SettingsFile(text: file.normalised, file: "normalised.toml", purpose: .check)
      require(written.normalised == file.normalised, "written out:\n\(file.normalised)\nagain:\n\(written.normalised)")
      require(
        withoutLines(written.plan) == withoutLines(file.plan), "written out it is another plan:\n\(file.normalised)")
      try? Rules(file.plan).release()
    } catch {
      require(!error.errors.isEmpty, "refused for nothing")
      // toml++ ends lines as TOML does, Swift's characters at more places: bytes are what both count alike.
      let lines = text.utf8.count { $0 == 10 } + 1
      for mistake in error.errors {
        require(mistake.file == "fuzz.toml", "not accepted when written out: \(mistake)")
        guard let place = mistake.place else { continue }
        require((1...lines).contains(place.line) && place.column >= 1, "no such place: \(mistake)")
      }
    }
    return 0
  }

  /// Where something stands is not what it means.
  private static func withoutLines(_ plan: Plan) -> Plan {
    var plan = plan
    for index in plan.forwards.indices { plan.forwards[index].line = 0 }
    return plan
  }
}
