import CLinux

/// How a receive ring is cut: blocks that the kernel allocates, slots of one size that frames land in.
///
/// A slot holds the largest super-frame (64 KiB and its headers). Its size is no multiple of 4 KiB: at one, the status
/// words and headers of all slots would share few L1 sets (measured: 19.9 against 4.2 ns a frame). A page holds no
/// whole number of slots then, so slots share blocks: 64 slots of 68 KiB + 192 B are exactly 1,091 pages, hence blocks
/// without a gap, and the ring as mapped is one array of slots.
public struct RingGeometry: Sendable, Equatable {
  /// Bytes from one slot to the next.
  public static let slotBytes = 68 * 1024 + 192
  /// Slots of one block.
  public static let slotsPerBlock = 64

  /// Slots in all.
  public let slots: Int

  /// At least `slots` slots, rounded up to whole blocks.
  public init(slots: Int = 512) {
    self.slots = max(1, (slots + Self.slotsPerBlock - 1) / Self.slotsPerBlock) * Self.slotsPerBlock
  }

  public var blockBytes: Int { Self.slotBytes * Self.slotsPerBlock }
  public var bytes: Int { Self.slotBytes * slots }

  /// Kernel headroom (PACKET_RESERVE) that puts the IP header of an untagged Ethernet frame on a 16-byte boundary:
  /// 80 bytes of slot header + 70 + 10 of virtio header = 160. What the engine may overwrite starts behind the
  /// `sockaddr_ll`: see `usedHeader`.
  static let reserve = 70
  /// Bytes at the front of a slot that frames never grow into: the slot header and the kernel's `sockaddr_ll`.
  static let usedHeader = 52

  var request: tpacket_req {
    tpacket_req(
      tp_block_size: UInt32(blockBytes), tp_block_nr: UInt32(slots / Self.slotsPerBlock),
      tp_frame_size: UInt32(Self.slotBytes), tp_frame_nr: UInt32(slots))
  }
}
