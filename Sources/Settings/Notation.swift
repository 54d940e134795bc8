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

extension IPv6Prefix {
  /// `ADDRESS` or `ADDRESS/LENGTH` in the notation of RFC 4291 section 2.2, without a zone; nil for anything else.
  init?(parsing text: some StringProtocol) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let words = Self.words(parts[0]) else { return nil }
    var length = 128
    if parts.count == 2 {
      guard let number = decimal(parts[1], upTo: 128) else { return nil }
      length = number
    }
    let halves = [words[0..<4], words[4..<8]].map { $0.reduce(UInt64(0)) { $0 << 16 | UInt64($1) } }
    self.init(high: halves[0], low: halves[1], length: UInt8(length))
  }

  /// The eight words of an address.
  private static func words(_ text: some StringProtocol) -> [UInt16]? {
    guard text.utf8.count <= 45, !text.hasPrefix(":") || text.hasPrefix("::") else { return nil }
    guard !text.hasSuffix(":") || text.hasSuffix("::") else { return nil }
    var groups: [[UInt16]] = [[]]
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count >= 3 else { return nil }
    // The empty part before or after a leading or trailing "::" is no gap of its own.
    for (index, part) in parts.enumerated() {
      if part.isEmpty {
        if index == 0 || index == parts.count - 1 { continue }
        groups.append([])
      } else if index == parts.count - 1, part.contains(".") {
        guard let tail = IPv4Address(part) else { return nil }
        groups[groups.count - 1] += [UInt16(tail.value >> 16), UInt16(tail.value & 0xFFFF)]
      } else {
        guard part.utf8.count <= 4, part.utf8.allSatisfy({ isHexadecimal($0) }), let word = UInt16(part, radix: 16)
        else { return nil }
        groups[groups.count - 1].append(word)
      }
    }
    let count = groups.reduce(0) { $0 + $1.count }
    if groups.count == 1 { return count == 8 ? groups[0] : nil }
    guard groups.count == 2, count <= 7 else { return nil }
    return groups[0] + Array(repeating: 0, count: 8 - count) + groups[1]
  }

  private static func isHexadecimal(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...70).contains(byte) || (97...102).contains(byte)
  }

  /// fe80::/10, which is on every link at once.
  var isLinkLocal: Bool { high >> 54 == 0xFE80 >> 6 }

  /// True if the first `length` bits of both are the same.
  func contains(_ other: IPv6Prefix) -> Bool {
    let (highMask, lowMask) = masks
    return (high ^ other.high) & highMask == 0 && (low ^ other.low) & lowMask == 0
  }

  /// True if one of the two holds the other.
  func overlaps(_ other: IPv6Prefix) -> Bool { length <= other.length ? contains(other) : other.contains(self) }

  private var masks: (UInt64, UInt64) {
    let bits = UInt64(length)
    return (bits == 0 ? 0 : ~0 << (64 - min(bits, 64)), bits <= 64 ? 0 : ~0 << (128 - bits))
  }

  /// The address in the canonical form of RFC 5952, without the length.
  var addressText: String {
    let words = (0..<8).map { index in UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> (48 - 16 * (index % 4))) }
    var best = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8 && words[end] == 0 { end += 1 }
      if end - start > max(best.count, 1) { best = start..<end }
      start = max(end, start + 1)
    }
    let texts = words.map { String($0, radix: 16) }
    guard !best.isEmpty else { return texts.joined(separator: ":") }
    return texts[..<best.lowerBound].joined(separator: ":") + "::" + texts[best.upperBound...].joined(separator: ":")
  }
}

/// The number of a run of decimal digits, 0...`limit`; nil for anything else.
func decimal(_ text: some StringProtocol, upTo limit: Int) -> Int? {
  guard !text.isEmpty, text.utf8.count <= 9, text.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(text)
  else { return nil }
  return number <= limit ? number : nil
}

/// A user's text in quotes for a message: control characters escaped, long texts cut.
func quoted(_ text: some StringProtocol) -> String {
  var result = "\""
  for (count, scalar) in text.unicodeScalars.enumerated() {
    if count == 60 { return result + "...\"" }
    if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) {
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
