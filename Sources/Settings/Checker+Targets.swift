import Engine

/// `to` of a forward.
struct ForwardTarget {
  var address: IPv4Address
  var ports: ForwardDraft.TargetPorts
  var addressPiece: Piece
  var portsPiece: Piece?
}

/// The one or two targets of a forward, of which at least one is there.
struct ForwardTargets {
  var four: ForwardTarget?
  var six: ForwardTarget6?
}

extension Checker {
  /// `to`: required; "192.168.1.10", "192.168.1.10:9090" or "192.168.1.10:9810-9817", an IPv6 target, or a list of both.
  mutating func forwardTargets(_ fields: Fields) -> ForwardTargets? {
    let example = "\"192.168.1.10\""
    guard require("to", in: fields, "to = \(example)"), let pieces = strings(fields, "to", like: example),
      let node = fields["to"]
    else { return nil }
    var targets: [ForwardTarget] = []
    var targets6: [ForwardTarget6] = []
    var isGood = true
    for piece in pieces {
      if piece.text.contains("[") || piece.text.filter({ $0 == ":" }).count > 1 {
        if let target = target6(piece) { targets6.append(target) } else { isGood = false }
      } else if let target = target(piece) {
        targets.append(target)
      } else {
        isGood = false
      }
    }
    guard isGood else { return nil }
    guard targets.count <= 1, targets6.count <= 1, targets.count + targets6.count > 0 else {
      let what = targets.count > 1 ? "more than one target" : targets6.count > 1 ? "two IPv6 targets" : "no target"
      fail(node, "to has \(what); write one, like to = \(example), and one IPv6 target beside it at most")
      return nil
    }
    return ForwardTargets(four: targets.first, six: targets6.first)
  }

  /// "ADDRESS", "ADDRESS:PORT" or "ADDRESS:FIRST-LAST".
  private mutating func target(_ piece: Piece) -> ForwardTarget? {
    let parts = piece.split(by: ":")
    guard let address = IPv4Address(parts[0].text) else {
      let form = "\"192.168.1.10\", \"192.168.1.10:9090\" or \"192.168.1.10:9810-9817\""
      fail(parts[0], "\(quoted(parts[0].text)) is no address; write to = \(form)")
      return nil
    }
    var target = ForwardTarget(address: address, ports: .same, addressPiece: parts[0])
    if parts.count == 2 {
      guard let range = portRange(parts[1]) else { return nil }
      target.ports = parts[1].text.contains("-") ? .range(range) : .one(range.first)
      target.portsPiece = parts[1]
    }
    return checkTarget(target) ? target : nil
  }

  /// The target is a host, and not ourselves.
  private mutating func checkTarget(_ target: ForwardTarget) -> Bool {
    let (address, piece) = (target.address, target.addressPiece)
    if let what = unusable(address) {
      fail(piece, "\(address) is \(what); write the address of the host that serves this forward")
      return false
    }
    if let own = owner(of: address) {
      let name = plan.interfaces[own].name
      fail(
        piece, "\(address) is interface \(name)'s own address; write the address of the host that serves this forward")
      return false
    }
    for prefix in plan.interfaces.flatMap(\.addresses)
    where prefix.length <= 30 && (address == prefix.network || address == prefix.last) {
      fail(piece, "\(address) is the network or broadcast address of \(prefix.networkPrefix); write a host's")
      return false
    }
    return true
  }

  /// As many target ports as outside ports, counted before `except`.
  mutating func checkCounts(_ draft: ForwardDraft, _ target: ForwardTarget) {
    guard case .range(let range) = target.ports, let piece = target.portsPiece else { return }
    let count = draft.plan.isWholeHost ? PortRange.all.count : draft.items.reduce(0) { $0 + $1.ports.count }
    guard count != range.count else { return }
    let last = Int(range.first) + count - 1
    let hint =
      draft.plan.isWholeHost
      ? "write to = \"\(target.address)\", which keeps every port"
      : last <= 65535
        ? "write \(target.address):\(range.first)-\(last)" : "begin the range at \(65536 - count) or below"
    fail(piece, "\(count) outside ports do not match \(range.count) target ports (\(range.text)); \(hint)")
  }

  /// The target is reached, and its answers come back to us.
  mutating func checkWay(to target: ForwardTarget, from outside: Int?, _ forward: ForwardPlan) {
    let (address, piece) = (target.address, target.addressPiece)
    switch egress(to: address) {
    case .unknown: break
    case .none:
      fail(piece, "target \(address) is outside every interface and route; add a [[route]] to it or a gateway")
    case .interface(let index):
      guard forward.source == .preserve, notes[index].role == .outside else { break }
      let name = plan.interfaces[index].name
      // Its answers would go straight to the client, who never spoke with it; or by another way than the client came.
      let what = index == outside ? "\(name) itself" : "the outside interface \(name)"
      fail(piece, "target \(address) is reached through \(what); write source = \"gateway\", or a target inside")
    }
  }
}

extension ForwardDraft.TargetPorts {
  /// The first target port; nil where ports are kept.
  var first: UInt16? {
    switch self {
    case .same: nil
    case .one(let port): port
    case .range(let range): range.first
    }
  }
}
