import Engine

/// A forward as the file has it, with the places of its parts.
struct ForwardDraft {
  /// Where the ports go, as written after the target's address.
  enum TargetPorts: Equatable {
    case same
    /// Every port to this one.
    case one(UInt16)
    case range(PortRange)
  }

  var plan: ForwardPlan
  /// As written, before `except` was taken out; empty for "all".
  var items: [PortItem] = []
  /// Ascending and disjoint.
  var except: [PortRange] = []
  var targetPorts = TargetPorts.same
  /// IPv6 parts as written.
  var target6: String?
  var target6Piece: Piece?
  var allow6: [String] = []
  var deny6: [String] = []
  /// For each of `plan.spans`, where it stands in the file.
  var spanPieces: [Piece] = []
  var header: Place
  /// Nothing in it is wrong.
  var isGood = false

  /// Cuts `except` out of the ports, and gives each run that is left its target: the k-th port as written goes to the
  /// k-th target port, counted before `except`.
  mutating func cut(all: Piece) {
    for run in runs(to: targetPorts, all: all) {
      plan.spans.append(run.span)
      spanPieces.append(run.piece)
    }
  }

  /// The runs that are left of the ports, with where they lead to and where they stand in the file.
  func runs(to targetPorts: TargetPorts, all: Piece) -> [(span: PortSpan, piece: Piece)] {
    var runs: [(PortSpan, Piece)] = []
    var offset = 0
    let whole = plan.isWholeHost ? [PortItem(ports: .all, piece: all)] : items
    for item in whole {
      for run in item.ports.without(except) {
        let skipped = offset + Int(run.first) - Int(item.ports.first)
        let span =
          switch targetPorts {
          case .same: PortSpan(ports: run, target: run.first, isParallel: true)
          case .one(let port): PortSpan(ports: run, target: port, isParallel: false)
          case .range(let range):
            PortSpan(ports: run, target: UInt16(Int(range.first) + skipped), isParallel: true)
          }
        runs.append((span, item.piece))
      }
      offset += item.ports.count
    }
    return runs
  }
}
