import Capture
import Engine

/// Memory of one burst: slots, and an arena in which frames lie as the engine wants them, with room around each.
struct ReplayBurst {
  let slots: UnsafeMutablePointer<FrameSlot>
  private let arena: UnsafeMutableRawPointer

  /// Room for a burst of common frames, or some of the longest; a burst ends early where it is used up.
  private static let arenaBytes = 1 << 20
  private static let tailBytes = 64
  private static let mostBytes = alignedUp(Forwarder.headroom + CaptureReader.longestFrame + tailBytes)

  init(frames: Int) {
    slots = .allocate(capacity: frames)
    arena = .allocate(byteCount: Self.arenaBytes, alignment: 64)
    slots.initialize(repeating: FrameSlot(bytes: arena, length: 0, headroom: 0, link: 0, time: 0), count: frames)
  }

  func deallocate() {
    slots.deallocate()
    arena.deallocate()
  }

  /// True while the longest frame fits behind `used` bytes.
  func hasRoom(behind used: Int) -> Bool { Self.arenaBytes - used >= Self.mostBytes }

  /// A slot with a copy of the frame; moves `used` behind it.
  func copy(_ frame: CapturedFrame, interface: Int, behind used: inout Int) -> FrameSlot {
    let bytes = arena + used + Forwarder.headroom
    bytes.copyMemory(from: frame.bytes, byteCount: frame.length)
    used += Self.alignedUp(Forwarder.headroom + frame.length + Self.tailBytes)
    return FrameSlot(
      bytes: bytes, length: frame.length, headroom: Forwarder.headroom, link: interface, time: frame.time)
  }

  private static func alignedUp(_ count: Int) -> Int { (count + 63) & ~63 }
}
