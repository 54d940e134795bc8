/// (Address, protocol, port) -> (rule, port), in the same few loads however many ports a rule has.
///
/// An address with a protocol has a directory of 256 entries, one for each page of 256 ports: nothing, one rule for the
/// whole page with ports kept, or a page of its own. Made once and only read.
struct PortTable {
  struct Entry: Equatable {
    /// Index of the rule.
    var rule: Int
    /// In host order.
    var port: UInt16
  }

  fileprivate static let uniform: UInt32 = 1 &<< 31

  /// Directories by address (raw) in the upper and port class in the lower half.
  fileprivate let directories: AddressTable
  /// 256 entries each: 0 = nothing, `uniform | rule`, or the number of a page + 1.
  fileprivate let directory: UnsafeBufferPointer<UInt32>
  /// 256 entries each: (rule + 1) << 16 | port; 0 = nothing.
  fileprivate let pages: UnsafeBufferPointer<UInt32>

  func release() {
    directories.release()
    directory.deallocate()
    pages.deallocate()
  }

  func find(_ address: UInt32, _ portClass: Int, _ port: UInt16) -> Entry? {
    guard let base = directories[Self.key(address, portClass)] else { return nil }
    let slot = directory[base &+ Int(port &>> 8)]
    if slot == 0 { return nil }
    if slot & Self.uniform != 0 { return Entry(rule: Int(slot & ~Self.uniform), port: port) }
    let entry = pages[(Int(slot) &- 1) &* 256 &+ Int(port & 255)]
    return entry == 0 ? nil : Entry(rule: Int(entry &>> 16) &- 1, port: UInt16(truncatingIfNeeded: entry))
  }

  fileprivate static func key(_ address: UInt32, _ portClass: Int) -> UInt64 {
    UInt64(address) &<< 32 | UInt64(truncatingIfNeeded: portClass)
  }
}

/// What a `PortTable` is made with.
struct PortTableMaker {
  private var directories: [UInt64: Int] = [:]
  private var directory: [UInt32] = []
  private var pages: [UInt32] = []

  func table() -> PortTable {
    PortTable(
      directories: AddressTable(directories), directory: UnsafeBufferPointer(copying: directory),
      pages: UnsafeBufferPointer(copying: pages))
  }

  /// `replacing`: false keeps what stands there already.
  mutating func insert(
    _ address: UInt32, _ portClass: Int, ports: PortRange, rule: Int, target: UInt16, isParallel: Bool, replacing: Bool
  ) {
    let base = directoryBase(address, portClass)
    var port = Int(ports.first)
    while port <= Int(ports.last) {
      let page = port / 256
      let isWhole = port % 256 == 0 && port + 255 <= Int(ports.last)
      let keepsPorts = isParallel && target == ports.first
      if isWhole, keepsPorts, directory[base + page] == 0 || replacing {
        directory[base + page] = PortTable.uniform | UInt32(rule)
        port += 256
        continue
      }
      let start = pageStart(base + page, firstPort: page * 256)
      while port <= Int(ports.last), port / 256 == page {
        if replacing || pages[start + port % 256] == 0 {
          let mapped = isParallel ? target &+ UInt16(truncatingIfNeeded: port - Int(ports.first)) : target
          pages[start + port % 256] = UInt32(rule + 1) << 16 | UInt32(mapped)
        }
        port += 1
      }
    }
  }

  private mutating func directoryBase(_ address: UInt32, _ portClass: Int) -> Int {
    let key = PortTable.key(address, portClass)
    if let base = directories[key] { return base }
    let base = directory.count
    directory.append(contentsOf: repeatElement(0, count: 256))
    directories[key] = base
    return base
  }

  /// The page behind a directory entry, made or spelt out where it is not one yet.
  private mutating func pageStart(_ slot: Int, firstPort: Int) -> Int {
    let old = directory[slot]
    if old != 0, old & PortTable.uniform == 0 { return (Int(old) - 1) * 256 }
    let start = pages.count
    pages.append(contentsOf: repeatElement(0, count: 256))
    if old != 0 {
      let rule = old & ~PortTable.uniform
      for index in 0..<256 { pages[start + index] = (rule + 1) << 16 | UInt32(firstPort + index) }
    }
    directory[slot] = UInt32(start / 256 + 1)
    return start
  }
}
