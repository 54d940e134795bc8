import Engine

extension Checker {
  /// `[limits]`: by default an inside host may have any number of sessions and ports, and half of all sessions may be half
  /// open.
  mutating func readLimits(_ node: Node?) {
    let keys = ["sessions-per-host", "ports-per-host", "half-open"]
    guard let node, let fields = fields(of: node, title: "[limits]", keys: keys, places: .limits) else { return }
    plan.limits.sessionsPerHost = integer(fields, "sessions-per-host", in: 1...(1 << 30))
    // As many as all outside addresses together may have of TCP, UDP and echo.
    plan.limits.portsPerHost = integer(fields, "ports-per-host", in: 1...(1 << 30))
    plan.limits.halfOpen = integer(fields, "half-open", in: 1...(1 << 30))
    guard let node = fields["half-open"], let halfOpen = plan.limits.halfOpen, halfOpen > plan.sessions else { return }
    fail(node, "half-open = \(halfOpen) is more than the \(plan.sessions) sessions there are; write at most that")
  }
}
