import Engine

/// Frames of one device for one worker, in memory that the kernel fills and we rewrite in place.
///
/// A frame collected stays ours, bytes and headroom, until it is released; frames are released in the order collected.
public struct ReceiveRing: ~Copyable {
  // Behind pointers, since what is optional cannot be borrowed when it cannot be copied. One of them is there.
  private let frames: UnsafeMutablePointer<FrameRing>?
  private let blocks: UnsafeMutablePointer<BlockRing>?
  /// For `poll`: readable when a frame is waiting.
  public let descriptor: Int32

  /// Opens a ring and starts to receive.
  ///
  /// - Parameters:
  ///   - device: where frames come from.
  ///   - macs: the MAC addresses of the interfaces on it; empty on a raw-IP device, or to get what is for others too.
  public init(
    device: PacketDevice, macs: [MACAddress], kind: Plan.Ring, geometry: RingGeometry = RingGeometry()
  ) throws(SystemError) {
    switch kind {
    case .latency:
      let ring = try FrameRing(device: device, macs: macs, geometry: geometry)
      descriptor = ring.descriptor
      frames = .allocate(capacity: 1)
      frames?.initialize(to: ring)
      blocks = nil
    case .throughput:
      let ring = try BlockRing(device: device, macs: macs, bytes: geometry.bytes)
      descriptor = ring.descriptor
      blocks = .allocate(capacity: 1)
      blocks?.initialize(to: ring)
      frames = nil
    }
  }

  deinit {
    frames?.deinitialize(count: 1).deallocate()
    blocks?.deinitialize(count: 1).deallocate()
  }

  /// Whether a frame is waiting.
  @inline(__always)
  public var isReady: Bool { frames?.pointee.isReady ?? blocks?.pointee.isReady ?? false }

  /// Describes up to `limit` waiting frames in `slots` and returns how many.
  ///
  /// - Parameters:
  ///   - link: the number that the engine knows the device by.
  ///   - time: when the burst was taken up, in nanoseconds.
  public mutating func collect(
    into slots: UnsafeMutablePointer<FrameSlot>, limit: Int, link: UInt16, time: UInt64
  ) -> Int {
    frames?.pointee.collect(into: slots, limit: limit, link: link, time: time)
      ?? blocks?.pointee.collect(into: slots, limit: limit, link: link, time: time) ?? 0
  }

  /// Gives the `count` oldest collected frames back to the kernel.
  public mutating func release(_ count: Int) {
    frames?.pointee.release(count)
    blocks?.pointee.release(count)
  }

  /// Clears and returns the error that a device leaves on its socket when it goes down or away: 0 for none.
  public func takeError() -> Int32 { PacketSocket.takeError(descriptor) }
}
