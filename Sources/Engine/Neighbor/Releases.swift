/// Next hops whose waiting frames stand in this worker's outbox: known to all only when that has been sent.
struct Releases {
  private static let capacity = 8

  /// A few at once are enough: more than these are known at once.
  private var places: (UInt16, UInt16, UInt16, UInt16, UInt16, UInt16, UInt16, UInt16) = (0, 0, 0, 0, 0, 0, 0, 0)
  private(set) var count = 0

  private subscript(index: Int) -> UInt16 {
    get { withUnsafeBytes(of: places) { $0.load(fromByteOffset: index &* 2, as: UInt16.self) } }
    set {
      withUnsafeMutableBytes(of: &places) { $0.storeBytes(of: newValue, toByteOffset: index &* 2, as: UInt16.self) }
    }
  }

  func contains(_ place: UInt16) -> Bool {
    var index = 0
    while index < count {
      if self[index] == place { return true }
      index &+= 1
    }
    return false
  }

  /// False where there is no room.
  mutating func add(_ place: UInt16) -> Bool {
    if contains(place) { return true }
    guard count < Self.capacity else { return false }
    self[count] = place
    count &+= 1
    return true
  }

  mutating func remove(_ place: UInt16) {
    var index = 0
    while index < count, self[index] != place { index &+= 1 }
    guard index < count else { return }
    count &-= 1
    while index < count {
      self[index] = self[index &+ 1]
      index &+= 1
    }
  }

  var first: UInt16? { next(after: 0) }

  /// The next larger place; places are visited in ascending order, whatever was removed on the way.
  func next(after place: UInt16) -> UInt16? {
    var best: UInt16?
    var index = 0
    while index < count {
      if self[index] > place, best.map({ self[index] < $0 }) ?? true { best = self[index] }
      index &+= 1
    }
    return best
  }
}
