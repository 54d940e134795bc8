import CRteHash
import Foundation

// One thread and two on one table, at nine percent writes.

/// Nanoseconds by one of the kernel's clocks.
func nanoseconds(_ clock: clockid_t) -> Double {
  var time = timespec()
  clock_gettime(clock, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

/// Processor time that the calling thread takes for it, nanoseconds.
func timed(_ action: () -> Void) -> Double {
  let start = nanoseconds(CLOCK_THREAD_CPUTIME_ID)
  action()
  return nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// What one thread does: of 110 operations 100 are lookups, five keys of its own go out and the same come in again.
private func mixed(_ table: some Table, _ work: Work, thread: Int, threads: Int, turns: Int) {
  let own = work.keys / threads
  var key = thread * own
  var place = thread * Work.lookups / threads / 100 * 100
  for _ in 0..<turns {
    _ = table.find(work.asked + place * 2, count: 100)
    place = place + 200 > Work.lookups ? 0 : place + 100
    table.remove(work.words, key..<key + 5)
    _ = table.insert(work.words, key..<key + 5)
    key = key + 10 > (thread + 1) * own ? thread * own : key + 5
  }
}

/// One thread's pace and that of two together, right behind one another.
struct TeamRound {
  /// Operations a second, by the clock on the wall.
  let alone: Double
  let together: Double
  /// Every thread had a processor to itself for nearly all of the time.
  let isQuiet: Bool

  var gain: Double { together / alone }

  init(_ table: some Table, _ work: Work) {
    let one = Self.pace(table, work, threads: 1)
    let two = Self.pace(table, work, threads: 2)
    alone = one.pace
    together = two.pace
    isQuiet = min(one.presence, two.presence) > 0.96
  }

  /// Turns of each thread: 15 to 50 ms, which is short enough to lie between the bursts of a busy neighbour.
  private static let turns = 5000

  /// Operations a second of so many threads together, and the least share of the time that one of them was running.
  private static func pace(_ table: some Table, _ work: Work, threads: Int) -> (pace: Double, presence: Double) {
    let results = Results(threads)
    let group = DispatchGroup()
    for thread in 0..<threads {
      let worker = Thread {
        _ = rte_hash_enter()
        // Until all are there; a warm-up, too.
        results.arrive()
        while !results.areAllThere { mixed(table, work, thread: thread, threads: threads, turns: 1) }
        let start = nanoseconds(CLOCK_MONOTONIC)
        let busy = timed { mixed(table, work, thread: thread, threads: threads, turns: turns) }
        let end = nanoseconds(CLOCK_MONOTONIC)
        results.end(thread, .init(start: start, end: end, busy: busy))
        rte_hash_leave()
        group.leave()
      }
      group.enter()
      worker.start()
    }
    group.wait()
    let all = results.all
    let begin = all.map(\.start).min()!, end = all.map(\.end).max()!
    return (Double(turns * 110 * threads) * 1e9 / (end - begin), all.map { $0.busy / (end - begin) }.min()!)
  }
}

/// What the threads of one round report.
private final class Results: @unchecked Sendable {
  struct Part {
    var start = 0.0
    var end = 0.0
    var busy = 0.0
  }

  private let lock = NSLock()
  private var parts: [Part]
  private var missing: Int

  init(_ threads: Int) {
    parts = Array(repeating: Part(), count: threads)
    missing = threads
  }

  func arrive() { lock.withLock { missing -= 1 } }
  var areAllThere: Bool { lock.withLock { missing == 0 } }
  func end(_ thread: Int, _ part: Part) { lock.withLock { parts[thread] = part } }
  var all: [Part] { lock.withLock { parts } }
}
