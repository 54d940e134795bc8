import Synchronization

// Words of the region that several workers use. They are atomic, and reached through the memory's address: the region
// is mapped memory, so there is no variable to declare them as.

@inline(__always)
func shared64(_ line: UnsafeMutableRawPointer, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
  (line + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
}

@inline(__always)
func shared32(_ line: UnsafeMutableRawPointer, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
  (line + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
}

@inline(__always)
func shared16(_ line: UnsafeMutableRawPointer, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt16>> {
  (line + offset).assumingMemoryBound(to: Atomic<UInt16>.self)
}

@inline(__always)
func shared8(_ line: UnsafeMutableRawPointer, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt8>> {
  (line + offset).assumingMemoryBound(to: Atomic<UInt8>.self)
}

extension UnsafeMutablePointer where Pointee == Atomic<UInt64> {
  /// The word without any order: nothing else is concluded from it.
  @inline(__always)
  var plain: UInt64 {
    get { pointee.load(ordering: .relaxed) }
    nonmutating set { pointee.store(newValue, ordering: .relaxed) }
  }
}

extension UnsafeMutablePointer where Pointee == Atomic<UInt32> {
  /// The word without any order: nothing else is concluded from it.
  @inline(__always)
  var plain: UInt32 {
    get { pointee.load(ordering: .relaxed) }
    nonmutating set { pointee.store(newValue, ordering: .relaxed) }
  }
}

extension UnsafeMutablePointer where Pointee == Atomic<UInt16> {
  /// The word without any order: nothing else is concluded from it.
  @inline(__always)
  var plain: UInt16 {
    get { pointee.load(ordering: .relaxed) }
    nonmutating set { pointee.store(newValue, ordering: .relaxed) }
  }
}

/// The region's second page: what the workers count and hand out together, each kind in a cache line of its own.
///
///     offset    0  session places    see `PlacePool`
///              64  mapping places
///             128  permits           UInt64  mapping places that are permits
///             192  created sessions  UInt64
///             200  created mappings  UInt64
///             208  expired mappings  UInt64
///             216  evicted sessions  UInt64  that gave way where room was short
///             256  sweep: last tick  UInt64  tick + 1, 0 before the first
///             264  sweep: session    UInt32  place to go on from
///             268  sweep: mapping    UInt32
///             272  full sweep        UInt64  tick + 1 of the last one
///             280  hand              UInt32  place that was last looked at for one that gives way
///             320  half-open         UInt64  TCP sessions that both sides have not acknowledged yet
///             328  transitory        UInt64  those, and the ones that are over but for their timers: they give way
struct SharedWords {
  let start: UnsafeMutableRawPointer

  static let sessions = 0
  static let mappings = 64

  var permits: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 128) }
  var createdSessions: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 192) }
  var createdMappings: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 200) }
  var expiredMappings: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 208) }
  var sweptTick: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 256) }
  var sweepSession: UnsafeMutablePointer<Atomic<UInt32>> { shared32(start, 264) }
  var sweepMapping: UnsafeMutablePointer<Atomic<UInt32>> { shared32(start, 268) }
  var fullSweep: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 272) }
  var evictedSessions: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 216) }
  var hand: UnsafeMutablePointer<Atomic<UInt32>> { shared32(start, 280) }
  var halfOpen: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 320) }
  var transitory: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 328) }

  /// Counts that a session has gone from one state into another; for the one worker that has brought it there. For a
  /// moment, while another one goes on from there, a count may be less than nothing.
  func countChange(from old: UInt8, to new: UInt8) {
    Self.count(halfOpen, old == SessionState.opening, new == SessionState.opening)
    Self.count(transitory, SessionState.givesWay(old), SessionState.givesWay(new))
  }

  private static func count(_ word: UnsafeMutablePointer<Atomic<UInt64>>, _ was: Bool, _ isNow: Bool) {
    if was == isNow { return }
    if isNow {
      word.pointee.wrappingAdd(1, ordering: .relaxed)
    } else {
      word.pointee.wrappingSubtract(1, ordering: .relaxed)
    }
  }
}

extension UnsafeMutablePointer where Pointee == Atomic<UInt8> {
  /// The word without any order: nothing else is concluded from it.
  @inline(__always)
  var plain: UInt8 {
    get { pointee.load(ordering: .relaxed) }
    nonmutating set { pointee.store(newValue, ordering: .relaxed) }
  }
}
