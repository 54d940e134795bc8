import Engine

/// Durations as the configuration writes them: `90s`, `5m`, `2h4m`.
public enum DurationText {
  private static let units: [(letter: Character, seconds: Int)] = [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)]

  /// Whole seconds; nil for anything but numbers with units `d`, `h`, `m`, `s`, largest first and each at most once.
  public static func seconds(_ text: some StringProtocol) -> Int? {
    var total = 0
    var rest = text[...]
    var allowed = units[...]
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isASCII && $0.isNumber }
      let unit = rest.dropFirst(digits.count).first
      guard let number = Int(digits), let index = allowed.firstIndex(where: { $0.letter == unit }) else { return nil }
      let (product, overflow) = number.multipliedReportingOverflow(by: allowed[index].seconds)
      let (sum, carry) = total.addingReportingOverflow(product)
      guard !overflow && !carry else { return nil }
      total = sum
      allowed = allowed[(index + 1)...]
      rest = rest.dropFirst(digits.count + 1)
    }
    return total
  }

  /// The shortest text with the same seconds.
  public static func text(_ seconds: Int) -> String {
    var (text, rest) = ("", seconds)
    for unit in units where rest >= unit.seconds {
      text += "\(rest / unit.seconds)\(unit.letter)"
      rest %= unit.seconds
    }
    return text.isEmpty ? "0s" : text
  }
}

/// The number of a run of decimal digits, 0...`limit`; nil for anything else.
func decimal(_ text: some StringProtocol, upTo limit: Int) -> Int? {
  guard !text.isEmpty, text.utf8.count <= 9, text.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(text)
  else { return nil }
  return number <= limit ? number : nil
}

extension Unicode.Scalar {
  /// What a terminal or a log would take for more than text: C0, DEL and C1 (ECMA-48; ESC and CSI among them), and what
  /// breaks a line or turns its direction (Unicode TR 9).
  var isControl: Bool {
    value < 0x20 || (0x7F...0x9F).contains(value) || (0x2028...0x202E).contains(value)
      || (0x2066...0x2069).contains(value)
  }
}

/// A user's text in quotes for a message: control characters escaped, long texts cut.
func quoted(_ text: some StringProtocol) -> String {
  var result = "\""
  for (count, scalar) in text.unicodeScalars.enumerated() {
    if count == 60 { return result + "...\"" }
    if scalar.isControl {
      result += "\\u{\(String(scalar.value, radix: 16))}"
    } else {
      result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}

/// The candidate that `text` was probably meant to be: the nearest within a third of its length, two edits at most.
func nearest(to text: String, among candidates: [String]) -> String? {
  guard text.utf8.count <= 64 else { return nil }
  let limit = min(2, max(1, text.count / 3))
  let near = candidates.map { ($0, edits(from: text.lowercased(), to: $0)) }.filter { $0.1 <= limit }
  return near.min { $0.1 < $1.1 }?.0
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one word to the other.
private func edits(from first: String, to second: String) -> Int {
  let (a, b) = (Array(first.utf8), Array(second.utf8))
  var beforeLast: [Int] = []
  var last = Array(0...b.count)
  for i in a.indices {
    var row = [i + 1]
    for j in b.indices {
      var best = min(row[j] + 1, last[j + 1] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, beforeLast[j - 1] + 1) }
      row.append(best)
    }
    (beforeLast, last) = (last, row)
  }
  return last[b.count]
}
