import CLinux
import Glibc

/// What the kernel counted at a ring: frames that passed the prefilter, and those among them that found no free slot.
public struct RingStatistics: Sendable, Equatable {
  public var frames: UInt64 = 0
  public var drops: UInt64 = 0

  public init() {}

  /// Adds what was counted since the last call at a link's sockets: reading clears the kernel's figures.
  public mutating func update(descriptors: [Int32]) {
    for descriptor in descriptors {
      var counted = tpacket_stats()
      var size = socklen_t(MemoryLayout<tpacket_stats>.size)
      guard getsockopt(descriptor, SOL_PACKET, PACKET_STATISTICS, &counted, &size) == 0 else { continue }
      frames += UInt64(counted.tp_packets)
      drops += UInt64(counted.tp_drops)
    }
  }
}
