/// Numbers by address (raw), or by another key of up to 64 bits: what the rules look up for each new session.
///
/// Made once and only read, in memory of its own: a lookup counts no references. Open addressing, at most half full. The
/// keys are the configuration's, so the hash needs no secret: nobody outside can make them collide.
struct AddressTable {
  private struct Entry {
    var key: UInt64
    /// Negative: an empty place.
    var value: Int
  }

  private let entries: UnsafeBufferPointer<Entry>
  private let shift: UInt64
  let count: Int

  init(_ values: [UInt64: Int]) {
    var bits: UInt64 = 1
    while 1 &<< bits < 2 * values.count { bits += 1 }
    let places = UnsafeMutableBufferPointer<Entry>.allocate(capacity: 1 &<< Int(bits))
    places.initialize(repeating: Entry(key: 0, value: -1))
    entries = UnsafeBufferPointer(places)
    shift = 64 - bits
    count = values.count
    for (key, value) in values {
      var place = home(key)
      while places[place].value >= 0 { place = next(place) }
      places[place] = Entry(key: key, value: value)
    }
  }

  init(_ values: [UInt32: Int]) { self.init([UInt64: Int](uniqueKeysWithValues: values.map { (UInt64($0), $1) })) }

  func release() { entries.deallocate() }

  /// Fibonacci hashing: the product's upper bits depend on every bit of the key.
  private func home(_ key: UInt64) -> Int { Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) &>> shift) }
  private func next(_ place: Int) -> Int { (place &+ 1) & (entries.count &- 1) }

  subscript(_ key: UInt64) -> Int? {
    var place = home(key)
    while entries[place].value >= 0 {
      if entries[place].key == key { return entries[place].value }
      place = next(place)
    }
    return nil
  }

  subscript(_ address: UInt32) -> Int? { self[UInt64(address)] }

  func contains(_ address: UInt32) -> Bool { self[address] != nil }

  var addresses: [UInt32] { entries.filter { $0.value >= 0 }.map { UInt32(truncatingIfNeeded: $0.key) } }
}

extension UnsafeBufferPointer {
  /// A table that is made once and only read. Whoever makes it deallocates it.
  init(copying elements: [Element]) {
    let copy = UnsafeMutableBufferPointer<Element>.allocate(capacity: elements.count)
    _ = copy.initialize(from: elements)
    self.init(copy)
  }
}
