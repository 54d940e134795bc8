import Engine

extension Checker {
  private static let recorderKeys = ["memory", "state", "frames", "directory", "triggers"]

  /// What is kept of a frame.
  private enum Kept: String { case headers, whole }

  /// `[recorder]`: memory "16MiB", state "64MiB", frames "headers", no directory, and triggers that are never in order.
  mutating func readRecorder(_ node: Node?) {
    guard let node, let fields = fields(of: node, title: "[recorder]", keys: Self.recorderKeys, places: nil) else {
      return
    }
    var recorder = RecorderPlan()
    if let bytes = size(fields, "memory", like: "16MiB") { recorder.memory = bytes }
    if let bytes = size(fields, "state", like: "64MiB") { recorder.state = bytes }
    recorder.isWhole = choice(fields, "frames", of: [Kept.headers, .whole]) == .whole
    if let piece = string(fields, "directory", like: "\"/var/lib/sluice\"") {
      if piece.text.hasPrefix("/"), !piece.text.unicodeScalars.contains(where: \.isControl) {
        recorder.directory = String(piece.text)
      } else {
        fail(piece, "\(quoted(piece.text)) is no absolute path; write it like directory = \"/var/lib/sluice\"")
      }
    }
    if let names = strings(fields, "triggers", like: "[\"table-full\"]") {
      recorder.triggers = names.compactMap { piece in
        if let reason = DropReason.allCases.first(where: { $0 != .none && $0.name == piece.text }) { return reason }
        fail(piece, "\(quoted(piece.text)) is no drop reason; `sluice drops` and DROPS.md list them")
        return nil
      }
    }
    plan.recorder = recorder
    // It can be replayed because one worker has seen every frame.
    if plan.workers > 1 {
      fail(node, "the recorder keeps the frames of one worker, and there are \(plan.workers); set workers = 1 with it")
    }
  }

  private mutating func size(_ fields: Fields, _ key: String, like example: String) -> Int? {
    guard let piece = string(fields, key, like: "\"\(example)\"") else { return nil }
    if let bytes = SizeText.bytes(piece.text), (4 << 20...1 << 34).contains(bytes) { return bytes }
    fail(piece, "\(quoted(piece.text)) is no size from 4MiB to 16GiB; write it like \(key) = \"\(example)\"")
    return nil
  }
}

/// Sizes as the configuration writes them: `512KiB`, `64MiB`, `1GiB`.
public enum SizeText {
  private static let units: [(name: String, bytes: Int)] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]

  /// nil for anything but a whole number with one of the units.
  public static func bytes(_ text: some StringProtocol) -> Int? {
    for unit in units where text.hasSuffix(unit.name) {
      guard let number = decimal(text.dropLast(unit.name.count), upTo: 1 << 30) else { return nil }
      return number * unit.bytes
    }
    return nil
  }

  /// With the largest unit that leaves a whole number.
  public static func text(_ bytes: Int) -> String {
    let unit = units.first { bytes >= $0.bytes && bytes % $0.bytes == 0 } ?? ("KiB", 1 << 10)
    return "\(bytes / unit.bytes)\(unit.name)"
  }
}
