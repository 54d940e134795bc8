/// What the timers of the slow path are about.
enum TimerKind: UInt8 {
  /// `index` is an adjacency that is being asked for.
  case neighbor
  /// `index` is a place in the list of unsolicited SYNs.
  case unsolicited
  /// The oldest datagram whose pieces wait for the first one.
  case fragment
  /// `index` is a place of `Openings`, which may be over.
  case trigger
}

struct Timer {
  /// Nanoseconds, a multiple of a tick.
  var due: UInt64
  /// Order of creation.
  var sequence: UInt64
  var kind: TimerKind
  var index: UInt32
}

/// Timers in order of due time, then of creation: a binary heap of fixed size.
///
/// Only what must happen *at* a time stands here (asking a neighbour, giving up); sessions expire when looked at.
struct TimerQueue {
  private let heap: UnsafeMutableBufferPointer<Timer>
  private(set) var count = 0
  private var sequence: UInt64 = 0

  init(capacity: Int) { heap = .allocate(capacity: capacity) }

  func release() { heap.deallocate() }

  mutating func pass(_ state: inout StatePass) {
    state.word(&sequence)
    state.word(&count)
    // What an image says of it is looked at before it is believed.
    count = min(max(count, 0), heap.count)
    state.memory(heap.baseAddress!, count)
  }

  /// `UInt64.max` where none is set.
  @inline(__always)
  var nextDue: UInt64 { count == 0 ? .max : heap[0].due }

  /// `at` is rounded up to a tick. False where there is no room.
  mutating func add(at time: UInt64, _ kind: TimerKind, _ index: UInt32) -> Bool {
    guard count < heap.count else { return false }
    sequence &+= 1
    (heap.baseAddress! + count).initialize(
      to: Timer(due: Clock.roundUp(time), sequence: sequence, kind: kind, index: index))
    count &+= 1
    var child = count &- 1
    while child > 0 {
      let parent = (child &- 1) / 2
      guard precedes(child, parent) else { break }
      heap.swapAt(child, parent)
      child = parent
    }
    return true
  }

  /// Takes the first timer if it is due at or before `time`.
  mutating func take(dueBy time: UInt64) -> Timer? {
    guard count > 0, heap[0].due <= time else { return nil }
    let first = heap[0]
    count &-= 1
    heap.swapAt(0, count)
    var parent = 0
    while true {
      var least = parent
      for child in [2 &* parent &+ 1, 2 &* parent &+ 2] where child < count && precedes(child, least) { least = child }
      guard least != parent else { return first }
      heap.swapAt(parent, least)
      parent = least
    }
  }

  private func precedes(_ a: Int, _ b: Int) -> Bool {
    heap[a].due != heap[b].due ? heap[a].due < heap[b].due : heap[a].sequence < heap[b].sequence
  }
}
