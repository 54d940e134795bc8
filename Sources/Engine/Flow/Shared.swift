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
///             128  permit places
///             192  created sessions  UInt64
///             200  created mappings  UInt64
///             208  expired mappings  UInt64
///             256  sweep: last tick  UInt64  tick + 1, 0 before the first
///             264  sweep: session    UInt32  place to go on from
///             268  sweep: mapping    UInt32
///             272  full sweep        UInt64  tick + 1 of the last one
struct SharedWords {
  let start: UnsafeMutableRawPointer

  static let sessions = 0
  static let mappings = 64
  static let permits = 128

  var createdSessions: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 192) }
  var createdMappings: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 200) }
  var expiredMappings: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 208) }
  var sweptTick: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 256) }
  var sweepSession: UnsafeMutablePointer<Atomic<UInt32>> { shared32(start, 264) }
  var sweepMapping: UnsafeMutablePointer<Atomic<UInt32>> { shared32(start, 268) }
  var fullSweep: UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, 272) }
}

extension UnsafeMutablePointer where Pointee == Atomic<UInt8> {
  /// The word without any order: nothing else is concluded from it.
  @inline(__always)
  var plain: UInt8 {
    get { pointee.load(ordering: .relaxed) }
    nonmutating set { pointee.store(newValue, ordering: .relaxed) }
  }
}
