import Glibc
import Synchronization

/// Somebody asked this process to stop (Ctrl-C, SIGTERM, a closed terminal): thrown out of every wait, so that clean-up runs.
package struct Interruption: Error, CustomStringConvertible {
  package var description: String { "interrupted" }

  private static let requested = Atomic<Bool>(false)

  static var isRequested: Bool { requested.load(ordering: .relaxed) }

  /// From now on these signals end no process at once; the next wait throws instead.
  ///
  /// Children live in groups of their own, so that a terminal's Ctrl-C reaches us alone and we decide what ends when.
  package static func catchSignals() {
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { _ in Interruption.requested.store(true, ordering: .relaxed) }
    }
  }

  /// Sleeps, but not through an interruption.
  package static func sleep(seconds: Double) throws(Interruption) {
    let deadline = Clock.now + seconds
    while true {
      if isRequested { throw Interruption() }
      let left = deadline - Clock.now
      if left <= 0 { return }
      usleep(UInt32(min(left, 0.1) * 1_000_000) + 1)
    }
  }

  /// Waits until `condition` holds, at most `seconds`; tells whether it does.
  package static func wait(seconds: Double, until condition: () throws -> Bool) throws -> Bool {
    let deadline = Clock.now + seconds
    while try !condition() {
      if Clock.now >= deadline { return false }
      try sleep(seconds: 0.02)
    }
    return true
  }
}
