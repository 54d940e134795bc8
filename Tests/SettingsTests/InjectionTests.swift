import Engine
import Testing

@testable import Settings

/// What a configuration holds comes to stand in logs, lists and metrics: nothing in it may be more than text (REQUIREMENTS
/// A25).
@Suite struct InjectionTests {
  /// A line of its own, a terminal's commands in both spellings, a tab, deletion, and text that runs backwards.
  private static let hostile = [
    "\\n", "\\r\\n", "\\u001B[2J", "\\u009B2J", "\\t", "\\u0000", "\\u007F", "\\u2028", "\\u202E",
  ]

  private static func hasControls(_ text: some StringProtocol) -> Bool {
    text.unicodeScalars.contains {
      switch $0.properties.generalCategory {
      case .control, .lineSeparator, .paragraphSeparator: true
      default: (0x202A...0x202E).contains($0.value) || (0x2066...0x2069).contains($0.value)
      }
    }
  }

  /// Every text of a plan that is told to somebody.
  private static func told(_ file: SettingsFile) -> [String] {
    let plan = file.plan
    return plan.interfaces.flatMap { [$0.name, $0.device] } + plan.forwards.map(\.name)
      + [plan.state].compactMap(\.self)
      + [plan.recorder?.directory].compactMap(\.self)
  }

  @Test(arguments: hostile)
  func `A25 no key takes a text that would be more than text, and no complaint repeats it`(text: String) {
    let whole = manualExample + "\n[recorder]\ndirectory = \"/var/lib/sluice\"\n"
    let example = whole.replacingFirst("sessions =", "state = \"/dev/shm/sluice.state\"\nsessions =")
    let lines = example.split(separator: "\n", omittingEmptySubsequences: false)
    var complaints = 0
    for (number, line) in lines.enumerated() {
      // In the middle of every string of the line, and in every table's name.
      let quotes = line.indices.filter { line[$0] == "\"" }
      for place in stride(from: 0, to: quotes.count - 1, by: 2) {
        var changed = lines.map(String.init)
        let from = line.index(after: quotes[place])
        let middle = line.index(from, offsetBy: line.distance(from: from, to: quotes[place + 1]) / 2)
        changed[number] = line[..<middle] + text + line[middle...]
        complaints += judge(changed.joined(separator: "\n"))
      }
      guard line.hasPrefix("[interface.") else { continue }
      var changed = lines.map(String.init)
      changed[number] = "[interface.\"x\(text)y\"]"
      complaints += judge(changed.joined(separator: "\n"))
    }
    #expect(complaints > 20)
  }

  /// How many messages there are.
  private func judge(_ text: String) -> Int {
    do {
      let file = try SettingsFile(text: text, file: "test.toml", purpose: .check)
      #expect(Self.told(file).allSatisfy { !Self.hasControls($0) }, "\(text)")
      #expect(file.warnings.allSatisfy { !Self.hasControls($0.description) })
      // Written out again it is a configuration, and nothing else.
      let again = file.normalised.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(again.allSatisfy { !Self.hasControls($0) })
      return file.warnings.count
    } catch {
      #expect(error.messages.allSatisfy { !Self.hasControls($0) }, "\(error.messages)")
      return error.messages.count
    }
  }
}
