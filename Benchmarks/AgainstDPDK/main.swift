// The session index beside DPDK's rte_hash, with the same keys and no less memory for rte_hash, in turns, in one process.
// Without libdpdk-dev only our own is measured.
//
//     swift run -c release AgainstDPDK [--keys N[,N...]] [--rounds N]
import CRteHash
@_spi(Benchmark) import Engine
import Foundation

/// Either table, by what is asked of both.
protocol Table: Sendable {
  func insert(_ words: UnsafePointer<UInt64>, _ range: Range<Int>) -> Int
  func remove(_ words: UnsafePointer<UInt64>, _ range: Range<Int>)
  /// The sum of the places of the keys that are found, counted from 1: nobody has it without having read each value.
  func find(_ keys: UnsafePointer<UInt64>, count: Int) -> UInt64
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
  func find(_ keys: UnsafePointer<UInt64>, count: Int) -> UInt64 { rte_hash_find(hash, keys, count) }
}

/// Keys as flows have them, and copies of some in random order, which is what is looked up: as packets lie in a ring.
struct Work: @unchecked Sendable {
  let keys: Int
  let words: UnsafeMutablePointer<UInt64>
  let asked: UnsafeMutablePointer<UInt64>
  /// What all of them found come to.
  let sum: UInt64
  /// Lookups of one round.
  static let lookups = 1 << 20

  init(keys: Int) {
    self.keys = keys
    words = .allocate(capacity: keys * 2)
    asked = .allocate(capacity: Self.lookups * 2)
    for index in 0..<keys {
      words[index * 2] = 0x0A01_A8C0_0800_0000 + UInt64(index & 0xF_FFFF)
      words[index * 2 + 1] = UInt64(1024 + index >> 20) | 0x0011_0000_1F40_0000
    }
    var random = SystemRandomNumberGenerator()
    var sum: UInt64 = 0
    for index in 0..<Self.lookups {
      let place = Int.random(in: 0..<keys, using: &random)
      asked[index * 2] = words[place * 2]
      asked[index * 2 + 1] = words[place * 2 + 1]
      sum += UInt64(place) + 1
    }
    self.sum = sum
  }

  func release() {
    words.deallocate()
    asked.deallocate()
  }
}

/// Everything in; nanoseconds a key.
func fill(_ table: some Table, _ work: Work) -> Double {
  var inserted = 0
  let time = timed { inserted = table.insert(work.words, 0..<work.keys) }
  guard inserted == work.keys else { fatalError("\(inserted) of \(work.keys) keys were inserted") }
  return time / Double(work.keys)
}

func lookUp(_ table: some Table, _ work: Work) -> Double {
  var sum: UInt64 = 0
  let time = timed { sum = table.find(work.asked, count: Work.lookups) }
  guard sum == work.sum else { fatalError("keys that are there were not found, or others in their place") }
  return time / Double(Work.lookups)
}

/// Takes a slice of the keys out and puts it in again: nanoseconds for each that was put in.
func reinsert(_ table: some Table, _ work: Work, round: Int) -> Double {
  let slice = min(work.keys / 4, 100_000)
  let begin = round % 4 * slice
  table.remove(work.words, begin..<begin + slice)
  return timed { _ = table.insert(work.words, begin..<begin + slice) } / Double(slice)
}

/// What was measured of one table, a value for each round.
struct Figures {
  var fill = 0.0
  var insert: [Double] = []
  var find: [Double] = []
  var teams: [TeamRound] = []

  mutating func add(_ table: some Table, _ work: Work, round: Int) {
    insert.append(reinsert(table, work, round: round))
    find.append(lookUp(table, work))
    teams.append(TeamRound(table, work))
  }

  /// Rounds in which nobody else had the processors; all, where there are hardly any.
  var undisturbed: [TeamRound] {
    let quiet = teams.filter(\.isQuiet)
    return quiet.count < 3 ? teams : quiet
  }

  func line(_ keys: Int, _ name: String) -> String {
    let rounds = undisturbed
    let quiet = teams.count(where: \.isQuiet)
    return String(
      format: "%10d  %-8@  %8.1f  %9.1f  %8.1f  %11.2f  %11.2f  %7.2f  %5d of %d", keys, name as NSString, fill,
      median(insert), median(find), median(rounds.map(\.alone)) / 1e6, median(rounds.map(\.together)) / 1e6,
      median(rounds.map(\.gain)), quiet, teams.count)
  }
}

func compare(keys: Int, rounds: Int) throws {
  let work = Work(keys: keys)
  defer { work.release() }
  let probe = try TableProbe(keys: keys, seed: 1)
  var ours = Figures()
  var theirs = Figures()
  ours.fill = fill(probe, work)
  // Buckets of eight entries and 64 bytes, a power of two of them: at least as many bytes of buckets as ours.
  let entries = probe.indexBytes / 8
  let other = rte_hash_is_there() != 0 ? RteHash(entries: entries) : nil
  if let other { theirs.fill = fill(other, work) }
  for round in 0..<rounds {
    ours.add(probe, work, round: round)
    if let other { theirs.add(other, work, round: round) }
  }
  print(ours.line(keys, "sluice"))
  guard let other else { return }
  print(theirs.line(keys, "rte_hash"))
  rte_hash_end(other.hash)
  // One round's figures stand side by side in time, so their ratio is what a busy neighbour disturbs least.
  print(
    String(
      format: "%10d  %-8@  %8.2f  %9.2f  %8.2f   sluice / rte_hash, medians of the rounds' ratios", keys,
      "ratio" as NSString, ours.fill / theirs.fill, median(zip(ours.insert, theirs.insert).map { $0 / $1 }),
      median(zip(ours.find, theirs.find).map { $0 / $1 })))
  // A key slot of rte_hash has 32 bytes, one for every entry; a record of ours has 64, and a third of the session's common
  // line.
  let power = 1 << (Int.bitWidth - (entries - 1).leadingZeroBitCount)
  print(
    String(
      format: "%10d  %-8@  buckets and records: %d + %d of sluice, %d + %d of rte_hash", keys, "MiB" as NSString,
      probe.indexBytes >> 20, probe.recordBytes >> 20, (power * 8) >> 20, (power * 32) >> 20))
}

func argument(_ name: String) -> String? {
  let words = CommandLine.arguments
  return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
}

let counts = (argument("--keys") ?? "100000,1000000,10000000").split(separator: ",").map { Int($0) ?? 0 }
let rounds = argument("--rounds").map { Int($0) ?? 0 } ?? 15
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
print("      keys  table      fill ns  insert ns   find ns  Mops, 1 thr  Mops, 2 thr    2 / 1  quiet rounds")
for keys in counts { try compare(keys: keys, rounds: rounds) }
