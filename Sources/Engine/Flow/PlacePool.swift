import Synchronization

/// Free places of one kind of record, shared by all workers: a stack of places given back, and behind it those that were
/// never used. Without locks: who loses a compare-and-swap tries again, and somebody has won.
///
///     offset  0  top    UInt64  first free place in the low half; changes in the high half
///             8  fresh  UInt64  places ever used
///            16  used   UInt64  places in use; those that wait for their grace period do not count
///
/// The number of changes keeps a slow worker from taking a place off that has been taken and given back in between. A
/// free place holds the next one's number in a word of its own.
struct PlacePool {
  let words: UnsafeMutableRawPointer
  /// First byte of place 0, which is never used.
  let base: UnsafeMutableRawPointer
  let placeBytes: Int
  /// Offset of the 32-bit link in a place.
  let linkOffset: Int
  let capacity: UInt32

  private var top: UnsafeMutablePointer<Atomic<UInt64>> { shared64(words, 0) }
  private var fresh: UnsafeMutablePointer<Atomic<UInt64>> { shared64(words, 8) }
  private var usedWord: UnsafeMutablePointer<Atomic<UInt64>> { shared64(words, 16) }

  func link(_ place: UInt32) -> UnsafeMutablePointer<Atomic<UInt32>> {
    shared32(base + Int(place) &* placeBytes, linkOffset)
  }

  /// First place never used yet.
  var highWater: UInt32 { UInt32(truncatingIfNeeded: fresh.pointee.load(ordering: .acquiring)) &+ 1 }

  var used: Int { Int(truncatingIfNeeded: usedWord.plain) }

  /// The place given back that is likely to be taken next: a guess; 0 for none.
  var next: UInt32 { UInt32(truncatingIfNeeded: top.plain) }

  /// Counts a place as in use; false, and not counted, where that would be more than there are.
  func reserve() -> Bool {
    if usedWord.pointee.wrappingAdd(1, ordering: .relaxed).newValue <= UInt64(capacity) { return true }
    unreserve()
    return false
  }

  func unreserve() { usedWord.pointee.wrappingSubtract(1, ordering: .relaxed) }

  /// Takes a place off; 0 where there is none, for all are in use or wait for their grace period.
  func take() -> UInt32 {
    var head = top.pointee.load(ordering: .acquiring)
    while UInt32(truncatingIfNeeded: head) != 0 {
      let place = UInt32(truncatingIfNeeded: head)
      let next = (head &>> 32 &+ 1) &<< 32 | UInt64(link(place).plain)
      let (isTaken, now) = top.pointee.compareExchange(
        expected: head, desired: next, ordering: .acquiringAndReleasing)
      if isTaken { return place }
      head = now
    }
    var count = fresh.plain
    while count < UInt64(capacity) {
      let (isTaken, now) = fresh.pointee.compareExchange(
        expected: count, desired: count &+ 1, ordering: .acquiringAndReleasing)
      if isTaken { return UInt32(truncatingIfNeeded: count) &+ 1 }
      count = now
    }
    return 0
  }

  /// Gives a place back that nobody can be reading any more.
  func give(_ place: UInt32) {
    var head = top.plain
    while true {
      link(place).plain = UInt32(truncatingIfNeeded: head)
      let (isGiven, now) = top.pointee.compareExchange(
        expected: head, desired: (head &>> 32 &+ 1) &<< 32 | UInt64(place), ordering: .acquiringAndReleasing)
      if isGiven { return }
      head = now
    }
  }
}

/// One worker's way to a pool: what it takes out of the table goes through here, and becomes free when every other
/// worker has passed a quiescent state since.
///
/// Three lists, linked through the places: those taken out since the last token, those that wait for that token, and
/// those that are free again. The last list is kept short, so that no worker sits on places that another lacks.
struct PlaceCache {
  private static let kept = 64
  private static let givenPerBurst = 64

  let pool: PlacePool
  private let quiescence: Quiescence
  private let worker: Int
  private var out: UInt32 = 0
  private var waiting: UInt32 = 0
  private var token: UInt64 = 0
  private var ready: UInt32 = 0
  private var readyCount = 0

  init(_ pool: PlacePool, _ quiescence: Quiescence, worker: Int) {
    self.pool = pool
    self.quiescence = quiescence
    self.worker = worker
  }

  /// Places that this worker has taken out wait for other workers.
  var isWaiting: Bool { out | waiting != 0 }

  /// The place given back that is likely to be taken next: a guess; 0 for none.
  var next: UInt32 { ready != 0 ? ready : pool.next }

  /// A place, counted as in use; nil where there is none.
  mutating func take() -> UInt32? {
    guard pool.reserve() else { return nil }
    if ready != 0 {
      let place = ready
      ready = pool.link(place).plain
      readyCount &-= 1
      return place
    }
    var place = pool.take()
    if place == 0, settle(), ready != 0 {
      place = ready
      ready = pool.link(place).plain
      readyCount &-= 1
    }
    if place == 0 {
      pool.unreserve()
      return nil
    }
    return place
  }

  /// Gives back a place that nobody else has ever seen.
  mutating func discard(_ place: UInt32) {
    pool.unreserve()
    pool.give(place)
  }

  /// Gives back a place that has just been taken out: others may be reading it still.
  mutating func retire(_ place: UInt32) {
    pool.unreserve()
    if quiescence.isAlone { return pool.give(place) }
    pool.link(place).plain = out
    out = place
  }

  /// Between two bursts: frees what has waited long enough, and gives the pool what is more than this worker keeps.
  mutating func passBurst() {
    if out | waiting != 0 { _ = settle() }
    var left = Self.givenPerBurst
    while readyCount > Self.kept, left > 0 {
      let place = ready
      ready = pool.link(place).plain
      readyCount &-= 1
      pool.give(place)
      left &-= 1
    }
  }

  /// Before a sleep: gives everything that is free to the pool. False while places still wait.
  mutating func giveAll() -> Bool {
    _ = settle()
    while ready != 0 {
      let place = ready
      ready = pool.link(place).plain
      pool.give(place)
    }
    readyCount = 0
    return out | waiting == 0
  }

  /// Moves the lists on as far as the grace period allows; true where places have become free.
  private mutating func settle() -> Bool {
    var isFreed = false
    // Twice: what waited is free, and what was taken out since may be so at once where everybody sleeps.
    for _ in 0..<2 {
      if waiting != 0 {
        guard quiescence.hasPassed(token, but: worker) else { return isFreed }
        free()
        isFreed = true
      }
      guard out != 0 else { return isFreed }
      waiting = out
      out = 0
      token = quiescence.draw()
    }
    return isFreed
  }

  private mutating func free() {
    var place = waiting
    while place != 0 {
      let next = pool.link(place).plain
      pool.link(place).plain = ready
      ready = place
      readyCount &+= 1
      place = next
    }
    waiting = 0
  }
}
