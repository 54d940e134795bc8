import Synchronization

/// When may memory that was taken out of the tables be used again? When every worker has once been without any
/// reference to it: between two bursts, or asleep (the scheme of DPDK's rte_rcu_qsbr).
///
/// Each worker announces the newest token before each burst and 0 before it sleeps. Who takes something out draws a
/// token, and waits until nobody's announcement is older. Nobody ever blocks on another: what waits is the memory.
public struct Quiescence: @unchecked Sendable {
  private static let lineBytes = 64

  /// Line 0 is the token, the others are the workers' announcements.
  private let lines: UnsafeMutableRawPointer
  let workers: Int
  /// With one worker there is nobody to wait for.
  @inline(__always)
  var isAlone: Bool { workers == 1 }

  init(workers: Int) {
    self.workers = workers
    lines = .allocate(byteCount: (workers + 1) * Self.lineBytes, alignment: Self.lineBytes)
    lines.initializeMemory(as: UInt64.self, repeating: 0, count: (workers + 1) * Self.lineBytes / 8)
    token.plain = 1
  }

  func release() { lines.deallocate() }

  @inline(__always)
  private var token: UnsafeMutablePointer<Atomic<UInt64>> { shared64(lines, 0) }
  @inline(__always)
  private func announced(_ worker: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    shared64(lines, (worker &+ 1) &* Self.lineBytes)
  }

  /// The worker holds no reference into the tables now, and will take new ones.
  @inline(__always)
  func announce(_ worker: Int) {
    if isAlone { return }
    let word = announced(worker)
    if word.plain == 0 { return online(worker) }
    word.pointee.store(token.pointee.load(ordering: .acquiring), ordering: .releasing)
  }

  /// The worker wakes. A full fence: nothing it reads from now on may be older than its announcement.
  private func online(_ worker: Int) {
    let newest = token.pointee.load(ordering: .acquiring)
    announced(worker).pointee.store(newest, ordering: .sequentiallyConsistent)
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  /// The worker goes to sleep and holds no reference.
  func offline(_ worker: Int) {
    if !isAlone { announced(worker).pointee.store(0, ordering: .releasing) }
  }

  /// A token for what has been taken out before. A full fence: no announcement that is read later may be older.
  func draw() -> UInt64 {
    let drawn = token.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    return drawn
  }

  /// Every worker but `worker`, which asks, has announced `drawn` or a later token, or sleeps.
  func hasPassed(_ drawn: UInt64, but worker: Int) -> Bool {
    for other in 0..<workers where other != worker {
      let seen = announced(other).pointee.load(ordering: .acquiring)
      if seen != 0, seen < drawn { return false }
    }
    return true
  }
}
