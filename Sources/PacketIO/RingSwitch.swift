import CLinux
import Engine
import Glibc
import Synchronization

/// How a worker that receives by `ring = "auto"` and the control thread agree on which of its two rings gets the frames.
///
/// The worker wants, the control thread has the kernel steer (which waits for milliseconds, too long for a worker), and
/// says so. Both hold this handle; the memory behind it lives until `deallocate`.
public struct RingSwitch: @unchecked Sendable {
  private let wantsBlocks: UnsafeMutablePointer<Atomic<Bool>>
  private let steersBlocks: UnsafeMutablePointer<Atomic<Bool>>
  private let wakeUp: Int32

  /// - Parameter wakeUp: an eventfd, readable for the control thread when a worker wants the other ring.
  init(wakeUp: Int32) {
    self.wakeUp = wakeUp
    wantsBlocks = .allocate(capacity: 1)
    wantsBlocks.initialize(to: Atomic(false))
    steersBlocks = .allocate(capacity: 1)
    steersBlocks.initialize(to: Atomic(false))
  }

  func deallocate() {
    wantsBlocks.deinitialize(count: 1).deallocate()
    steersBlocks.deinitialize(count: 1).deallocate()
  }

  // MARK: The worker's side.

  func want(blocks: Bool) {
    wantsBlocks.pointee.store(blocks, ordering: .releasing)
    var one: UInt64 = 1
    _ = write(wakeUp, &one, MemoryLayout<UInt64>.size)
  }

  /// Whether frames go to the blocks now, and no more to the slots; false: the other way round.
  @inline(__always)
  var hasBlocks: Bool { steersBlocks.pointee.load(ordering: .acquiring) }

  // MARK: The control thread's side.

  var isBlocksWanted: Bool { wantsBlocks.pointee.load(ordering: .acquiring) }

  func settle(blocks: Bool) { steersBlocks.pointee.store(blocks, ordering: .releasing) }
}
