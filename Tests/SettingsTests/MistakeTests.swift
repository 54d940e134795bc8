import Engine
import Testing

@testable import Settings

/// One mistake in an otherwise good file. In `text` a ▸ stands before each place that must be named.
struct Mistake: Sendable, CustomTestStringConvertible {
  var name: String
  /// What the message must hold, in order of the marks.
  var words: [String]
  var text: String
  var purpose = SettingsFile.Purpose.check
  var localPorts: PortRange?

  init(
    _ name: String, says words: String..., text: String, purpose: SettingsFile.Purpose = .check,
    localPorts: PortRange? = nil
  ) {
    self.name = name
    self.words = words
    self.text = text
    self.purpose = purpose
    self.localPorts = localPorts
  }

  /// With what a file needs besides.
  static func added(
    _ name: String, says words: String..., text: String, purpose: SettingsFile.Purpose = .check,
    localPorts: PortRange? = nil
  ) -> Mistake {
    var mistake = Mistake(name, text: twoInterfaces + text, purpose: purpose, localPorts: localPorts)
    mistake.words = words
    return mistake
  }

  /// A forward with these lines instead of, or besides, the good ones.
  static func forward(_ name: String, says words: String..., lines: String) -> Mistake {
    let good = [
      ("name", "\"web\""), ("protocol", "\"tcp\""), ("on", "\"wan\""), ("ports", "\"80\""), ("to", "\"192.168.1.10\""),
    ]
    func key(_ line: Substring) -> Substring { line.drop { $0 == "▸" || $0 == " " }.prefix { $0.isLetter } }
    let given = lines.split(separator: "\n").prefix { !$0.hasPrefix("[[") }.map(key)
    var text = twoInterfaces + "[[forward]]\n"
    for (key, value) in good where !given.contains(key[...]) && !(key == "on" && given.contains("external")) {
      text += "\(key) = \(value)\n"
    }
    var mistake = Mistake(name, text: text + lines)
    mistake.words = words
    return mistake
  }

  var testDescription: String { name }

  /// The text without marks, and the places of the marks.
  var unmarked: (text: String, places: [Place]) { unmark(text) }
}

func unmark(_ text: String) -> (text: String, places: [Place]) {
  var result = String.UnicodeScalarView()
  var places: [Place] = []
  var place = Place(line: 1, column: 1)
  for scalar in text.unicodeScalars {
    if scalar == "▸" {
      places.append(place)
      continue
    }
    result.append(scalar)
    place = scalar == "\n" ? Place(line: place.line + 1, column: 1) : Place(line: place.line, column: place.column + 1)
  }
  return (String(result), places)
}

/// Every kind of mistake is found where it is, alone, and with what would be right.
@Suite struct MistakeTests {
  @Test(
    arguments: engineMistakes + interfaceMistakes + routeMistakes + ipv6Mistakes + prefixMistakes + translation6Mistakes
  )
  func gatewayMistake(_ mistake: Mistake) { check(mistake) }

  @Test(arguments: forwardMistakes + masqueradeMistakes + triggerMistakes)
  func translationMistake(_ mistake: Mistake) { check(mistake) }

  @Test(arguments: syntaxMistakes)
  func syntaxMistake(_ mistake: Mistake) { check(mistake) }

  private func check(_ mistake: Mistake) {
    let (text, places) = mistake.unmarked
    let found = messages(text, for: mistake.purpose, localPorts: mistake.localPorts)
    #expect(places.count == mistake.words.count && !places.isEmpty, "the test is wrong itself")
    #expect(found.count == places.count, "\(found)")
    for ((place, words), message) in zip(zip(places, mistake.words), found) {
      #expect(message.hasPrefix("test.toml:\(place.line):\(place.column): "), "\(message)")
      #expect(message.contains(words), "\(message)")
      // What is wrong; what would be right.
      #expect(message.contains("; "), "\(message)")
    }
  }
}
