import Engine

/// One item of a port list as written.
struct PortItem {
  var ports: PortRange
  var piece: Piece
}

extension Checker {
  /// A list like "8840, 8820, 8810-8815", in its order; nil if anything in it is wrong. Port 0 is no port (RFC 6335).
  ///
  /// - Parameter isSet: true where an item that is covered twice does no harm.
  mutating func portList(_ list: Piece, isSet: Bool = false) -> [PortItem]? {
    var items: [PortItem] = []
    var isGood = true
    for piece in list.split(by: ",") {
      if let ports = portRange(piece) {
        items.append(PortItem(ports: ports, piece: piece))
      } else {
        isGood = false
      }
    }
    if !isSet { isGood = rejectRepeats(items) && isGood }
    return isGood ? items : nil
  }

  /// "80" or "80-90".
  mutating func portRange(_ piece: Piece) -> PortRange? {
    guard !piece.text.isEmpty else {
      fail(piece, "a port is missing; write ports with commas between, like \"80, 8810-8815\"")
      return nil
    }
    let ends = piece.split(by: "-")
    guard ends.count <= 2 else {
      fail(piece, "\(quoted(piece.text)) is no range; write FIRST-LAST, like \"8810-8815\"")
      return nil
    }
    let numbers = ends.map { port($0) }
    guard let first = numbers.first ?? nil, let last = numbers.last ?? nil else { return nil }
    guard first <= last else {
      fail(piece, "range \(first)-\(last) is reversed; write \(last)-\(first)")
      return nil
    }
    return PortRange(first, last)
  }

  mutating func port(_ piece: Piece) -> UInt16? {
    guard !piece.text.isEmpty, piece.text.utf8.allSatisfy({ (48...57).contains($0) }) else {
      fail(piece, "\(quoted(piece.text)) is no port; write a number from 1 to 65535")
      return nil
    }
    guard let number = decimal(piece.text, upTo: 65535), number > 0 else {
      fail(piece, "port \(piece.text.prefix(20)) is out of range; write a number from 1 to 65535")
      return nil
    }
    return UInt16(number)
  }

  /// One forward would send the same port to two places, or count it twice.
  private mutating func rejectRepeats(_ items: [PortItem]) -> Bool {
    var isGood = true
    // By first port, then as written: the one that stands later in the text is the one to take out.
    let order = items.indices.sorted { (items[$0].ports.first, $0) < (items[$1].ports.first, $1) }
    guard var widest = order.first else { return true }
    for index in order.dropFirst() {
      if items[index].ports.first <= items[widest].ports.last {
        isGood = false
        let (earlier, later) = index < widest ? (index, widest) : (widest, index)
        let both = "\(quoted(items[later].piece.text)) repeats ports of \(quoted(items[earlier].piece.text))"
        fail(items[later].piece, "\(both); list each port once")
      }
      if items[index].ports.last > items[widest].ports.last { widest = index }
    }
    return isGood
  }
}

extension PortRange {
  /// "80" or "80-90".
  var text: String { first == last ? "\(first)" : "\(first)-\(last)" }

  static let all = PortRange(1, 65535)

  /// The ranges in ascending order, without overlaps or seams.
  static func merged(_ ranges: [PortRange]) -> [PortRange] {
    var result: [PortRange] = []
    for range in ranges.sorted(by: { $0.first < $1.first }) {
      if let last = result.last, Int(range.first) <= Int(last.last) + 1 {
        result[result.count - 1].last = max(last.last, range.last)
      } else {
        result.append(range)
      }
    }
    return result
  }

  /// What is left of this range without `holes`, which are ascending and disjoint.
  func without(_ holes: [PortRange]) -> [PortRange] {
    var result: [PortRange] = []
    var next = Int(first)
    // The first hole that ends inside or after this range.
    var (low, high) = (0, holes.count)
    while low < high {
      let middle = (low + high) / 2
      if holes[middle].last < first { low = middle + 1 } else { high = middle }
    }
    for hole in holes[low...] {
      if hole.first > last { break }
      if Int(hole.first) > next { result.append(PortRange(UInt16(next), hole.first - 1)) }
      next = Int(hole.last) + 1
    }
    if next <= Int(last) { result.append(PortRange(UInt16(next), last)) }
    return result
  }
}
