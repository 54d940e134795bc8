extension ExplanationReport {
  /// Lines for people: headers, ladder, session, changes, next hop, verdict, and what would help.
  public var text: String {
    let clock = "\(time / 1_000_000_000).\(String(String(time % 1_000_000_000 + 1_000_000_000).dropFirst()))"
    var lines = ["frame \(frame): \(length) bytes\(interface.isEmpty ? "" : " in by \(interface)") at \(clock)"]
    lines += headerLines
    lines += table(steps.map { ["  " + $0.stage, $0.outcome == "stopped" ? "STOP" : "ok", $0.text, $0.place ?? ""] })
    lines += sessionLines
    if !changes.isEmpty {
      lines.append("changed")
      lines += table(changes.map { ["  " + $0.field, $0.before, "->", $0.after] })
    }
    if let hop = nextHop {
      lines.append(
        "next hop \(hop.address) on \(hop.interface), \(hop.mac ?? "no link address"), \(hop.state)\(place(hop.place))")
    }
    for frame in made { lines.append("made: \(frame.text), out by \(frame.interface)") }
    lines.append("verdict \(verdict): \(cause)")
    lines.append(conclusion)
    if !remedies.isEmpty { lines.append("what would help:") }
    lines += remedies.map { "  - \($0.text)\(place($0.place))" }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The fields of one header in one line each: "ipv4: source 192.0.2.1, ...".
  private var headerLines: [String] {
    var groups: [(name: String, fields: [String])] = []
    for field in headers {
      let words = field.name.split(separator: " ", maxSplits: field.name.hasPrefix("quoted") ? 2 : 1)
      let group = words.dropLast().joined(separator: " ")
      let text = "\(words.last ?? "") \(field.value)"
      if groups.last?.name == group {
        groups[groups.count - 1].fields.append(text)
      } else {
        groups.append((group, [text]))
      }
    }
    return groups.map { "  \($0.name): \($0.fields.joined(separator: ", "))" }
  }

  private var sessionLines: [String] {
    guard let session else { return [] }
    func line(_ word: String, _ direction: Session.Direction) -> String {
      "  \(word) \(direction.interface) \(direction.source) > \(direction.destination), \(direction.packets) packets"
    }
    return [
      "session \(session.identity)\(session.isNew ? " (new)" : ""), \(session.state), by \(session.rule)\(place(session.place))",
      line("original", session.original), line("reply   ", session.reply),
      "  ends in \(Int(session.remainingSeconds)) s if no packet follows",
    ]
  }

  private func place(_ place: String?) -> String { place.map { " (\($0))" } ?? "" }

  /// Columns as wide as their longest entry.
  private func table(_ rows: [[String]]) -> [String] {
    let widths = (0..<(rows.first?.count ?? 0)).map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        line += cell
        if column + 1 < row.count { line += String(repeating: " ", count: widths[column] - cell.count + 2) }
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }
}
