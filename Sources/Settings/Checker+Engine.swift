import Engine

extension Checker {
  /// `[engine]`: the defaults are mode "dedicated", 1 worker, 1048576 sessions, ring "latency", on-change "keep" and pick-up
  /// true.
  mutating func readEngine(_ node: Node?) {
    let keys = ["mode", "workers", "sessions", "on-change", "state", "ring", "spin-microseconds", "cores", "pick-up"]
    guard let node, let fields = fields(of: node, title: "[engine]", keys: keys, places: .engine) else { return }
    plan.mode = choice(fields, "mode", of: [.dedicated, .alongside]) ?? plan.mode
    plan.workers = integer(fields, "workers", in: 1...256) ?? plan.workers
    // A session's index and its direction share 32 bits with room to spare.
    plan.sessions = integer(fields, "sessions", in: 1...(1 << 30)) ?? plan.sessions
    plan.onChange = choice(fields, "on-change", of: [.keep, .cut]) ?? plan.onChange
    plan.state = state(fields)
    plan.ring = choice(fields, "ring", of: [.latency, .throughput, .auto]) ?? plan.ring
    plan.spinMicroseconds = integer(fields, "spin-microseconds", in: 0...1_000_000)
    plan.cores = cores(fields)
    plan.picksUpTCP = boolean(fields, "pick-up") ?? plan.picksUpTCP
  }

  /// `state`: a file of the gateway's own by default.
  private mutating func state(_ fields: Fields) -> String? {
    let example = "\"/dev/shm/sluice/main.state\""
    guard let piece = string(fields, "state", like: example) else { return nil }
    let isPath = piece.text.hasPrefix("/") && piece.text.utf8.count < 1024 && !piece.text.hasSuffix("/")
    if piece.text == "off" || (isPath && !piece.text.unicodeScalars.contains(where: \.isControl)) {
      return String(piece.text)
    }
    fail(piece, "\(quoted(piece.text)) is no path from the root; write state = \(example), or state = \"off\"")
    return nil
  }

  /// `cores`: one for each worker, none of them twice, so that no worker waits for another.
  private mutating func cores(_ fields: Fields) -> [Int] {
    guard let node = fields["cores"] else { return [] }
    let form = "write one core for each worker, like cores = [0, 1]"
    guard case .array(let elements) = node.value else {
      if !node.isInvalid { fail(node, "cores is \(node.kind), not a list; \(form)") }
      return []
    }
    var cores: [Int] = []
    for element in elements {
      guard case .integer(let number) = element.value, (0...1023).contains(number) else {
        if !element.isInvalid { fail(element, "cores holds what is no number from 0 to 1023; \(form)") }
        return []
      }
      if cores.contains(Int(number)) { fail(element, "core \(number) is there already; \(form)") }
      cores.append(Int(number))
    }
    if cores.count != plan.workers { fail(node, "cores has \(cores.count) of \(plan.workers) workers; \(form)") }
    return cores
  }
}
