/// The virtio-net header that AF_PACKET puts before a frame (PACKET_VNET_HDR): ten bytes, machine order.
/// All zero means: checksums are finished, one segment. Layout of `struct virtio_net_hdr` in linux/virtio_net.h.
public struct OffloadHeader: BitwiseCopyable, Sendable, Equatable {
  /// VIRTIO_NET_HDR_F_*.
  public var flags: UInt8 = 0
  /// VIRTIO_NET_HDR_GSO_*.
  public var segmentation: UInt8 = 0
  /// Bytes of all headers, a hint.
  public var headerLength: UInt16 = 0
  /// Payload bytes of each segment, where `segmentation` is not none.
  public var segmentSize: UInt16 = 0
  /// Where summing starts, from the first byte of the frame.
  public var checksumStart: UInt16 = 0
  /// Where the sum goes, from `checksumStart`.
  public var checksumOffset: UInt16 = 0

  public init() {}

  /// VIRTIO_NET_HDR_F_NEEDS_CSUM: the transport checksum field holds the pseudo-header sum, not complemented.
  public static let needsChecksum: UInt8 = 1
  /// VIRTIO_NET_HDR_GSO_TCPV4, _UDP (UFO), _TCPV6, _UDP_L4; the ECN bit 0x80 may be added.
  public static let segmentTCP4: UInt8 = 1
  public static let segmentUDP: UInt8 = 3
  public static let segmentTCP6: UInt8 = 4
  public static let segmentUDPL4: UInt8 = 5
}

/// One received frame on its way through the engine, 64 bytes: the caller fills the first half, the engine the second.
///
/// The frame's bytes stay the caller's. On `.forward` the engine has rewritten them in place, and `bytes`, `length` and
/// `offload` describe the frame to send on interface `egress`: its first byte may lie before or behind the first
/// byte received, never outside the `headroom`.
public struct FrameSlot {
  /// First byte of the link header (of the IP header on raw-IP links).
  public var bytes: UnsafeMutableRawPointer
  /// Nanoseconds; the engine's clock never runs back, an older frame is judged at the clock, and `time` is then the clock.
  public var time: UInt64
  /// Bytes of the frame, as captured.
  public var length: UInt32
  /// Writable bytes right before `bytes`: at least 32 for links of equal kind, see `Forwarder.headroom`.
  public var headroom: UInt16
  /// Ingress link: index into the `links` that the forwarder was made with (a device live, an interface in replay).
  public var link: UInt16
  /// A tag that the kernel stripped into the ring's metadata: TPID << 16 | TCI; 0 for none.
  public var tag: UInt32
  public var offload: OffloadHeader

  // Written by the engine.
  public var verdict: Verdict = .none
  public var reason: DropReason = .none
  /// The interface that the frame leaves by, where `verdict` is `.forward`.
  public var egress: UInt16 = 0
  /// The interface that the frame came in by.
  public var ingress: UInt16 = 0

  // Between the stages of one burst.
  /// What the parse stage has found; `notFast` too where the tag match found no flow.
  var shape: Shape = .notFast
  /// Byte offset of the IP header, where the shape is fast.
  var network: UInt8 = 0
  /// Of the key's hash, as it stands in the index.
  var tag16: UInt16 = 0
  /// The key's first bucket; from the tag match on the candidate flow's line, in lines from the first session's.
  var place: UInt32 = 0
  /// The caller's own number for the frame, 0 for none: what leaves later, because the frame had to wait, bears it too.
  public var ticket: UInt32 = 0
  /// The key's second word.
  var rest: UInt64 = 0

  /// Frames that the burst loop takes one way or another.
  enum Shape: UInt8 {
    case notFast
    /// Behind 14 bytes of Ethernet, with a finished checksum, one segment, and no echo.
    case usualIPv4
    case usualIPv6
    case ipv4
    case ipv6
  }

  /// From the tag match on, in the place of `tag16`: the candidate flow's.
  @inline(__always)
  var direction: UInt16 {
    get { tag16 }
    set { tag16 = newValue }
  }

  /// The key is one of TCP: a look at one byte of `rest`, which the compiler does not make of a comparison of the word.
  @inline(__always)
  static func isTCP(_ slot: UnsafeMutablePointer<FrameSlot>) -> Bool {
    UnsafeRawPointer(slot).load(fromByteOffset: protocolOffset, as: UInt8.self) == IPProtocol.tcp
  }
  static let protocolOffset = 62

  /// `tag16` in the lower half, and what is behind it: loaded as the tag match takes it.
  @inline(__always)
  static func tagWord(_ slot: UnsafeMutablePointer<FrameSlot>) -> UInt32 {
    UInt32(littleEndian: UnsafeRawPointer(slot).loadUnaligned(fromByteOffset: tag16Offset, as: UInt32.self))
  }
  static let tag16Offset = 46

  /// No tag in the metadata, a finished checksum, one segment: nothing in the eight bytes from `tag` on.
  @inline(__always)
  static func isBare(_ slot: UnsafeMutablePointer<FrameSlot>) -> Bool {
    UnsafeRawPointer(slot).load(fromByteOffset: tagOffset, as: UInt64.self) == 0
  }
  static let tagOffset = 24

  /// The checksum is finished, and it is one segment.
  @inline(__always)
  var isFinished: Bool { offload.flags | offload.segmentation == 0 }

  public init(bytes: UnsafeMutableRawPointer, length: Int, headroom: Int, link: Int, time: UInt64) {
    self.bytes = bytes
    self.time = time
    self.length = UInt32(truncatingIfNeeded: length)
    self.headroom = UInt16(truncatingIfNeeded: min(headroom, 0xFFFF))
    self.link = UInt16(truncatingIfNeeded: link)
    tag = 0
    offload = OffloadHeader()
  }
}

/// A frame that the engine made or released: ARP, ICMP errors and echo replies, frames that waited for a neighbour, fragments.
///
/// The bytes belong to the engine and stay valid until its next call.
public struct OutboxFrame {
  public var bytes: UnsafeMutableRawPointer
  public var length: UInt32
  /// The interface that the frame leaves by.
  public var egress: UInt16
  /// Goes out before the frame at this place of the burst.
  public var position: UInt16
  /// When it was caused: the frame's time, or the timer's due time.
  public var time: UInt64
  public var offload: OffloadHeader
  /// Of the frame that this is, or is a piece of; 0 for what the engine made.
  public var ticket: UInt32
}
