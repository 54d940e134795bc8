import Engine

/// Frames of one device for one worker, in memory that the kernel fills and we rewrite in place: by slots, by blocks, or
/// by both and switched by load (`Plan.Ring`).
///
/// A frame collected stays ours, bytes and headroom, until it is released; frames are released in the order collected.
///
/// With both, the device's frames go to one ring at a time. The worker keeps reading the old one until the control thread
/// says that the kernel puts frames only into the new one, then until it is empty, and only then the new one: nothing is
/// lost, doubled or overtaken.
public struct ReceiveRing: ~Copyable {
  // Behind pointers, since what is optional cannot be borrowed when it cannot be copied.
  private let slots: UnsafeMutablePointer<FrameRing>?
  private let blocks: UnsafeMutablePointer<BlockRing>?
  /// For `poll`: readable when a frame is waiting.
  public let descriptors: [Int32]

  /// The ring that is read.
  private var readsBlocks: Bool
  /// With both.
  private let both: RingSwitch?
  private var pressure: RingPressure
  private var wantsBlocks = false
  /// When the frames were found to go to the other ring, in nanoseconds.
  private var steeredAt: UInt64 = 0

  /// Opens the ring or rings and starts to receive.
  ///
  /// - Parameters:
  ///   - device: where frames come from.
  ///   - macs: the MAC addresses of the interfaces on it; empty on a raw-IP device, or to get what is for others too.
  ///   - both: what to switch by where `kind` is `auto`, which needs `steering`.
  ///   - rates: when to.
  ///   - steering: the sockets to share the device's frames with; nil for all frames.
  init(
    device: PacketDevice, macs: [MACAddress], kind: Plan.Ring, both: RingSwitch, rates: RingRates,
    steering: inout Steering?, geometry: RingGeometry
  ) throws(SystemError) {
    let slots =
      try kind == .throughput
      ? nil : placed(FrameRing(device: device, macs: macs, steering: &steering, geometry: geometry))
    do {
      blocks =
        try kind == .latency
        ? nil : placed(BlockRing(device: device, macs: macs, steering: &steering, bytes: geometry.bytes))
    } catch {
      slots?.deinitialize(count: 1).deallocate()
      throw error
    }
    self.slots = slots
    descriptors = [slots?.pointee.descriptor, blocks?.pointee.descriptor].compactMap { $0 }
    self.both = kind == .auto ? both : nil
    pressure = RingPressure(rates: rates)
    readsBlocks = kind == .throughput
  }

  deinit {
    slots?.deinitialize(count: 1).deallocate()
    blocks?.deinitialize(count: 1).deallocate()
  }

  /// Whether a frame is waiting in the ring that is read.
  @inline(__always)
  private var hasFrames: Bool { (readsBlocks ? blocks?.pointee.isReady : slots?.pointee.isReady) ?? false }

  /// Whether a frame is waiting.
  public mutating func isReady(at time: UInt64) -> Bool {
    if hasFrames { return true }
    return both != nil && wantsBlocks != readsBlocks && changesOver(at: time) && hasFrames
  }

  /// Describes up to `limit` waiting frames in `frames` and returns how many.
  ///
  /// - Parameters:
  ///   - link: the number that the engine knows the device by.
  ///   - time: when the burst was taken up, in nanoseconds.
  public mutating func collect(
    into frames: UnsafeMutablePointer<FrameSlot>, limit: Int, link: UInt16, time: UInt64
  ) -> Int {
    let count =
      (readsBlocks
        ? blocks?.pointee.collect(into: frames, limit: limit, link: link, time: time)
        : slots?.pointee.collect(into: frames, limit: limit, link: link, time: time)) ?? 0
    if let both, let suited = pressure.count(count, at: time), suited != wantsBlocks, wantsBlocks == readsBlocks {
      wantsBlocks = suited
      steeredAt = 0
      both.want(blocks: suited)
    }
    return count
  }

  /// Gives the `count` oldest collected frames back to the kernel.
  public mutating func release(_ count: Int) {
    if readsBlocks { blocks?.pointee.release(count) } else { slots?.pointee.release(count) }
  }

  /// Clears and returns the error that a device leaves on its socket when it goes down or away: 0 for none.
  public func takeError() -> Int32 { descriptors.reduce(0) { max($0, PacketSocket.takeError($1)) } }
}

extension ReceiveRing {
  /// Nanoseconds after which the kernel has surely handed over a block that was begun: its timer runs in jiffies.
  private static let blockTimeout: UInt64 = 12_000_000

  /// The ring that is read is empty, and the other one is wanted: reads that one if the frames go there and none is under
  /// way in this one.
  private mutating func changesOver(at time: UInt64) -> Bool {
    guard let both, both.hasBlocks == wantsBlocks else { return false }
    // A last frame may have come between the look into the ring and the steering's end: look once more.
    if steeredAt == 0 {
      steeredAt = max(time, 1)
      return false
    }
    if readsBlocks, blocks?.pointee.mayBeFilling ?? false, time &- steeredAt < Self.blockTimeout { return false }
    readsBlocks = wantsBlocks
    return true
  }
}

/// `ring`, at a place of its own.
private func placed<Ring: ~Copyable>(_ ring: consuming Ring) -> UnsafeMutablePointer<Ring> {
  let place = UnsafeMutablePointer<Ring>.allocate(capacity: 1)
  place.initialize(to: ring)
  return place
}
