// Ways in for the package in Benchmarks. Each loops in here: across a module's border nothing is inlined as it is in the
// engine, and a call for each packet would be measured with it.

extension Forwarder {
  /// The first stage alone; it changes no frame, so a burst can be parsed again and again.
  @_spi(Benchmark) @inline(never)
  public mutating func probeParse(_ slots: UnsafeMutablePointer<FrameSlot>, count: Int, times: Int) {
    for _ in 0..<times { parseStage(slots, count) }
  }

  /// The first two stages: from bytes to a candidate flow.
  @_spi(Benchmark) @inline(never)
  public mutating func probeMatch(_ slots: UnsafeMutablePointer<FrameSlot>, count: Int, times: Int) {
    for _ in 0..<times {
      parseStage(slots, count)
      matchStage(slots, count)
    }
  }
}

/// The checksums of `Wire/Checksum.swift`.
@_spi(Benchmark) public enum ChecksumProbe {
  /// Over all bytes.
  @inline(never)
  public static func full(_ bytes: UnsafeMutableRawPointer, count: Int, times: Int) -> UInt16 {
    var last: UInt16 = 0
    for _ in 0..<times {
      last &+= Checksum.fold(Checksum.sum(bytes, count: count))
      // A result in the bytes: else the sum is the same every time and computed once.
      bytes.storeBytes(of: last, as: UInt16.self)
    }
    return last
  }

  /// RFC 1624: one address replaced, the checksum adjusted.
  @inline(never)
  public static func delta(from old: UInt32, to new: UInt32, times: Int) -> UInt16 {
    var checksum: UInt16 = 0x1234
    var address = old
    for _ in 0..<times {
      checksum = Checksum.adjust(checksum, by: Checksum.delta(address, new))
      address = address &+ UInt32(checksum)
    }
    return checksum
  }
}
