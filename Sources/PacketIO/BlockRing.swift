import CLinux
import Engine
import Glibc

/// Frames of one device, in a TPACKET_V3 ring: packed into blocks, which the kernel hands over when they are full or
/// `retireMilliseconds` old. Less work a frame than slots, and up to that much more time on the way.
///
/// A frame collected stays ours until it is released, in the order collected; a block goes back with its last frame.
struct BlockRing: ~Copyable {
  /// Bytes of a block: several super-frames, or more small frames than a burst, and few enough to stay in the cache.
  static let blockBytes = 256 * 1024
  /// The kernel's shortest.
  static let retireMilliseconds: UInt32 = 1
  /// Bytes before a frame that it never grows into: its header and the kernel's `sockaddr_ll`.
  private static let usedHeader = MemoryLayout<tpacket3_hdr>.size + MemoryLayout<sockaddr_ll>.size

  private let ring: RingSocket
  private let blocks: Int
  /// The block that frames are collected from, how many of its frames are left, and the next one; 0 left: the block has
  /// not been opened.
  private var head = 0
  private var left: UInt32 = 0
  private var next: UnsafeMutableRawPointer
  /// The oldest block that is ours, and how many of its frames are released.
  private var tail = 0
  private var released: UInt32 = 0
  /// Frames collected and not released.
  private var held = 0

  /// Opens a ring and starts to receive; see `RingSocket.open`.
  ///
  /// - Parameter bytes: of the ring, rounded up to whole blocks.
  init(
    device: PacketDevice, macs: [MACAddress], steering: inout Steering?, bytes: Int
  ) throws(SystemError) {
    blocks = max(2, (bytes + Self.blockBytes - 1) / Self.blockBytes)
    var request = tpacket_req3()
    request.tp_block_size = UInt32(Self.blockBytes)
    request.tp_block_nr = UInt32(blocks)
    // Frames are packed, whatever size is named here; the kernel only checks that it divides the block.
    request.tp_frame_size = 4096
    request.tp_frame_nr = UInt32(blocks * Self.blockBytes / 4096)
    request.tp_retire_blk_tov = Self.retireMilliseconds
    ring = try RingSocket.open(
      device: device, macs: macs, steering: &steering, version: TPACKET_V3, request: request,
      bytes: blocks * Self.blockBytes)
    next = ring.base
  }

  /// For `poll`: readable when a block is waiting.
  var descriptor: Int32 { ring.socket.descriptor }

  @inline(__always)
  private func block(_ index: Int) -> UnsafeMutableRawPointer { ring.base + index &* Self.blockBytes }

  /// Whether a frame is waiting.
  @inline(__always)
  var isReady: Bool { left != 0 || sluice_block_status(block(head)) & UInt32(TP_STATUS_USER) != 0 }

  /// Whether the block that the kernel fills has frames in it. True also where it is an old block not begun anew.
  var mayBeFilling: Bool {
    block(head).assumingMemoryBound(to: tpacket_block_desc.self).pointee.hdr.bh1.num_pkts != 0
  }

  /// Describes up to `limit` waiting frames in `slots` and returns how many.
  mutating func collect(
    into slots: UnsafeMutablePointer<FrameSlot>, limit: Int, link: UInt16, time: UInt64
  ) -> Int {
    var count = 0
    while count < limit {
      if left == 0 && !open() { break }
      let header = next.assumingMemoryBound(to: tpacket3_hdr.self)
      let offset = Int(header.pointee.tp_mac)
      slots[count].receive(
        next + offset, length: header.pointee.tp_snaplen, headroom: offset &- Self.usedHeader, link: link, time: time,
        status: header.pointee.tp_status, tagControl: UInt16(truncatingIfNeeded: header.pointee.hv1.tp_vlan_tci),
        tagProtocol: header.pointee.hv1.tp_vlan_tpid)
      count &+= 1
      held &+= 1
      next += Int(header.pointee.tp_next_offset)
      left &-= 1
      if left == 0 { head = head &+ 1 == blocks ? 0 : head &+ 1 }
    }
    return count
  }

  /// Opens the block at `head`; false where the kernel still has it, or it is still ours from the last time round.
  private mutating func open() -> Bool {
    let start = block(head)
    if head == tail && held != 0 || sluice_block_status(start) & UInt32(TP_STATUS_USER) == 0 { return false }
    let header = start.assumingMemoryBound(to: tpacket_block_desc.self)
    left = header.pointee.hdr.bh1.num_pkts
    next = start + Int(header.pointee.hdr.bh1.offset_to_first_pkt)
    return left != 0
  }

  /// Gives the `count` oldest collected frames back to the kernel.
  mutating func release(_ count: Int) {
    held &-= count
    released &+= UInt32(truncatingIfNeeded: count)
    while released != 0 {
      let start = block(tail)
      let frames = start.assumingMemoryBound(to: tpacket_block_desc.self).pointee.hdr.bh1.num_pkts
      if released < frames { return }
      released &-= frames
      sluice_block_release(start)
      tail = tail &+ 1 == blocks ? 0 : tail &+ 1
    }
  }
}
