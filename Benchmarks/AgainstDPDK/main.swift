// The session index beside DPDK's rte_hash, with the same keys and as many buckets of eight entries and 64 bytes, in turns,
// in one process. Without libdpdk-dev only our own is measured.
//
//     swift run -c release AgainstDPDK [--keys N[,N...]] [--rounds N]
import CRteHash
@_spi(Benchmark) import Engine
import Foundation

/// Either table, by what is asked of both.
protocol Table: Sendable {
  func insert(_ words: UnsafePointer<UInt64>, _ range: Range<Int>) -> Int
  func remove(_ words: UnsafePointer<UInt64>, _ range: Range<Int>)
  func find(_ words: UnsafePointer<UInt64>, _ order: UnsafePointer<UInt32>, count: Int) -> Int
}

extension TableProbe: Table {}

struct RteHash: Table, @unchecked Sendable {
  let hash: OpaquePointer

  init?(entries: Int) {
    guard let hash = rte_hash_make(UInt32(entries)) else { return nil }
    self.hash = hash
  }

  func insert(_ words: UnsafePointer<UInt64>, _ range: Range<Int>) -> Int {
    rte_hash_insert(hash, words, range.lowerBound, range.upperBound)
  }
  func remove(_ words: UnsafePointer<UInt64>, _ range: Range<Int>) {
    rte_hash_remove(hash, words, range.lowerBound, range.upperBound)
  }
  func find(_ words: UnsafePointer<UInt64>, _ order: UnsafePointer<UInt32>, count: Int) -> Int {
    rte_hash_find(hash, words, order, count)
  }
}

/// Keys as flows have them, and the order in which they are looked up.
struct Work: @unchecked Sendable {
  let keys: Int
  let words: UnsafeMutablePointer<UInt64>
  let order: UnsafeMutablePointer<UInt32>
  /// Lookups of one round.
  let lookups = 1 << 20

  init(keys: Int) {
    self.keys = keys
    words = .allocate(capacity: keys * 2)
    order = .allocate(capacity: lookups)
    for index in 0..<keys {
      words[index * 2] = 0x0A01_A8C0_0800_0000 + UInt64(index & 0xF_FFFF)
      words[index * 2 + 1] = UInt64(1024 + index >> 20) | 0x0011_0000_1F40_0000
    }
    var random = SystemRandomNumberGenerator()
    for index in 0..<lookups { order[index] = UInt32.random(in: 0..<UInt32(keys), using: &random) }
  }

  func release() {
    words.deallocate()
    order.deallocate()
  }
}

/// Processor time of the calling thread, nanoseconds.
func threadNanoseconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

func timed(_ action: () -> Void) -> Double {
  let start = threadNanoseconds()
  action()
  return threadNanoseconds() - start
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// Everything in; nanoseconds a key.
func fill(_ table: some Table, _ work: Work) -> Double {
  var inserted = 0
  let time = timed { inserted = table.insert(work.words, 0..<work.keys) }
  guard inserted >= work.keys - work.keys / 1000 else { fatalError("\(inserted) of \(work.keys) keys were inserted") }
  return time / Double(work.keys)
}

func lookUp(_ table: some Table, _ work: Work) -> Double {
  var found = 0
  let time = timed { found = table.find(work.words, work.order, count: work.lookups) }
  guard found >= work.lookups - work.lookups / 500 else { fatalError("\(found) of \(work.lookups) keys were found") }
  return time / Double(work.lookups)
}

/// Takes a slice of the keys out and puts it in again: nanoseconds for each that was put in.
func reinsert(_ table: some Table, _ work: Work, round: Int) -> Double {
  let slice = min(work.keys / 4, 100_000)
  let begin = round % 4 * slice
  table.remove(work.words, begin..<begin + slice)
  return timed { _ = table.insert(work.words, begin..<begin + slice) } / Double(slice)
}

/// What one thread does: of 110 operations 100 are lookups, five keys of its own go out and the same come in again.
func mixed(_ table: some Table, _ work: Work, thread: Int, threads: Int, turns: Int) {
  let own = work.keys / threads
  var key = thread * own
  var place = thread * work.lookups / threads / 100 * 100
  for _ in 0..<turns {
    _ = table.find(work.words, work.order + place, count: 100)
    place = place + 200 > work.lookups ? 0 : place + 100
    table.remove(work.words, key..<key + 5)
    _ = table.insert(work.words, key..<key + 5)
    key = key + 10 > (thread + 1) * own ? thread * own : key + 5
  }
}

/// Operations a second of so many threads together, by the clock on the wall.
func together(_ table: some Table, _ work: Work, threads: Int) -> Double {
  let turns = 20_000
  let start = Date()
  let group = DispatchGroup()
  for thread in 0..<threads {
    let worker = Thread {
      _ = rte_hash_enter()
      mixed(table, work, thread: thread, threads: threads, turns: turns)
      group.leave()
    }
    group.enter()
    worker.start()
  }
  group.wait()
  return Double(turns * 110 * threads) / Date().timeIntervalSince(start)
}

struct Figures {
  var fill = 0.0
  var insert: [Double] = []
  var find: [Double] = []
  var one: [Double] = []
  var two: [Double] = []

  mutating func add(_ table: some Table, _ work: Work, round: Int) {
    insert.append(reinsert(table, work, round: round))
    find.append(lookUp(table, work))
    one.append(together(table, work, threads: 1))
    two.append(together(table, work, threads: 2))
  }

  func line(_ keys: Int, _ name: String) -> String {
    String(
      format: "%10d  %-8@  %8.1f  %8.1f  %8.1f  %10.2f  %10.2f  %8.2f", keys, name as NSString, fill, median(insert),
      median(find), median(one) / 1e6, median(two) / 1e6, median(two) / median(one))
  }
}

func compare(keys: Int, rounds: Int) throws {
  let work = Work(keys: keys)
  defer { work.release() }
  let probe = try TableProbe(keys: keys, seed: 1)
  var ours = Figures()
  var theirs = Figures()
  ours.fill = fill(probe, work)
  // As many lanes: the buckets of both are then the same bytes.
  let other = rte_hash_is_there() != 0 ? RteHash(entries: probe.lanes) : nil
  if let other { theirs.fill = fill(other, work) }
  for round in 0..<rounds {
    ours.add(probe, work, round: round)
    if let other { theirs.add(other, work, round: round) }
  }
  print(ours.line(keys, "sluice"))
  guard let other else { return }
  print(theirs.line(keys, "rte_hash"))
  rte_hash_end(other.hash)
  // A key slot of rte_hash has 32 bytes, for every lane; a record of ours has 64, and a third of the session's common line.
  print(
    String(
      format:
        "%10d  %-8@  %8.2f  %8.2f  %8.2f   (sluice / rte_hash; load %.2f; MiB of buckets %d each, of records %d / %d)",
      keys, "ratio" as NSString, ours.fill / theirs.fill, median(ours.insert) / median(theirs.insert),
      median(ours.find) / median(theirs.find), Double(keys) / Double(probe.lanes), probe.indexBytes >> 20,
      probe.recordBytes >> 20, (probe.lanes * 32) >> 20))
}

func argument(_ name: String) -> String? {
  let words = CommandLine.arguments
  return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
}

let counts = (argument("--keys") ?? "100000,1000000,10000000").split(separator: ",").map { Int($0) ?? 0 }
let rounds = argument("--rounds").map { Int($0) ?? 0 } ?? 7
guard counts.allSatisfy({ (1000...20_000_000).contains($0) }), rounds > 0 else {
  FileHandle.standardError.write(
    Data("usage: AgainstDPDK [--keys N[,N...]] [--rounds N]: 1000 to 20000000 keys\n".utf8))
  exit(2)
}
if rte_hash_is_there() == 0 {
  print("rte_hash is left out: built without libdpdk-dev (install it and build again)")
} else if let why = rte_hash_begin(UInt32(256 + (counts.max() ?? 0) / 1000 * 320 / 1000)) {
  print("rte_hash is left out: \(String(cString: why))")
  exit(1)
}
print("      keys  table      fill ns  insert ns  find ns  Mops, 1 thr  Mops, 2 thr    2 / 1")
for keys in counts { try compare(keys: keys, rounds: rounds) }
