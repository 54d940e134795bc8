import Engine

extension Checker {
  /// One run of outside ports of one forward, for one protocol and address.
  private struct Claim {
    /// Protocol and outside address (or the interface, where its addresses are automatic).
    var key: UInt64
    var ports: PortRange
    var draft: Int
    var span: Int
  }

  /// What two forwards both match cannot go to both; a narrower forward wins over "all", any other overlap is an error.
  /// Forwards that are switched off match nothing.
  mutating func checkOverlaps() {
    var (wide, narrow): ([Claim], [Claim]) = ([], [])
    for (index, draft) in drafts.enumerated() where draft.isGood && draft.plan.isEnabled {
      for key in keys(draft.plan) {
        if draft.plan.isWholeHost {
          // Echo has no ports: the whole host is one claim, whatever is excepted.
          wide.append(Claim(key: key, ports: .all, draft: index, span: 0))
        } else {
          for (span, run) in draft.plan.spans.enumerated() {
            narrow.append(Claim(key: key, ports: run.ports, draft: index, span: span))
          }
        }
      }
    }
    var seen: Set<SIMD3<Int>> = []
    for claims in [wide, narrow] {
      // In order of ports; the claim that reaches farthest meets everything that overlaps anything.
      let order = claims.sorted { ($0.key, $0.ports.first, $0.draft) < ($1.key, $1.ports.first, $1.draft) }
      var farthest: Claim?
      for claim in order {
        guard let other = farthest, other.key == claim.key else {
          farthest = claim
          continue
        }
        if claim.ports.first <= other.ports.last, claim.draft != other.draft {
          let (earlier, later) = claim.draft < other.draft ? (claim, other) : (other, claim)
          if seen.insert(SIMD3(earlier.draft, later.draft, later.span)).inserted { reject(later, earlier) }
        }
        if claim.ports.last > other.ports.last { farthest = claim }
      }
    }
  }

  /// One key for each protocol and outside address that the forward matches.
  private func keys(_ forward: ForwardPlan) -> [UInt64] {
    let protocols: [ForwardPlan.Protocols] = [.tcp, .udp, .echo, .other]
    let isAutomatic = forward.externals.isEmpty
    let places = isAutomatic ? [1 << 32 | UInt64(forward.interface)] : forward.externals.map { UInt64($0.value) }
    return protocols.filter { forward.protocols.contains($0) }.flatMap { one in
      places.map { UInt64(one.rawValue) << 40 | $0 }
    }
  }

  private mutating func reject(_ later: Claim, _ earlier: Claim) {
    let first = drafts[earlier.draft].plan
    let second = drafts[later.draft].plan
    let which = "forward \(quoted(first.name)) (line \(first.line))"
    let piece = drafts[later.draft].spanPieces[later.span]
    if second.isWholeHost {
      fail(
        piece, "\(which) has all ports of the same address already; leave one of the two, or give them other addresses")
      return
    }
    let shared = PortRange(max(later.ports.first, earlier.ports.first), min(later.ports.last, earlier.ports.last))
    let names: [(ForwardPlan.Protocols, String)] = [(.tcp, "tcp"), (.udp, "udp")]
    let both = first.protocols.intersection(second.protocols)
    let protocols = names.filter { both.contains($0.0) }.map(\.1).joined(separator: "+")
    let noun = shared.count == 1 ? "port" : "ports"
    fail(piece, "\(protocols) \(noun) \(shared.text) belong to \(which) already; take them out of one of the two")
  }
}
