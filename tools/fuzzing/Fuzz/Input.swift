/// A fuzzer's bytes, taken from the front; what is not there is 0.
struct Input {
  private var rest: UnsafeRawBufferPointer

  init(_ start: UnsafePointer<UInt8>?, _ count: Int) { rest = UnsafeRawBufferPointer(start: start, count: count) }

  var isEmpty: Bool { rest.isEmpty }

  mutating func byte() -> UInt8 {
    guard let first = rest.first else { return 0 }
    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
    return first
  }

  mutating func number<T: FixedWidthInteger>(_: T.Type = T.self) -> T {
    (0..<T.bitWidth / 8).reduce(0) { number, _ in number << 8 | T(truncatingIfNeeded: byte()) }
  }

  /// The next bytes, as many of `count` as there are.
  mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer {
    let taken = UnsafeRawBufferPointer(rebasing: rest.prefix(count))
    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
    return taken
  }

  mutating func all() -> UnsafeRawBufferPointer { bytes(rest.count) }
}

/// Ends the run where `holds` is false: libFuzzer keeps the input.
func require(_ holds: Bool, _ text: @autoclosure () -> String) {
  if !holds { fatalError("broken: \(text())") }
}
