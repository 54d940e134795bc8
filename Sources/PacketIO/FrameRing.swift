import CLinux
import Engine
import Glibc

/// Frames of one device, in a TPACKET_V2 ring that the kernel fills and we rewrite in place: a slot for each frame, visible
/// at once, for the shortest way through.
///
/// A slot collected stays ours, bytes and headroom, until it is released; slots are released in the order collected.
struct FrameRing: ~Copyable {
  private let ring: RingSocket
  private let end: UnsafeMutableRawPointer
  /// The next slot that the kernel fills.
  private var head: UnsafeMutableRawPointer
  /// The oldest slot that is ours.
  private var tail: UnsafeMutableRawPointer

  /// Opens a ring and starts to receive; see `RingSocket.open`.
  init(
    device: PacketDevice, macs: [MACAddress], steering: inout Steering?, geometry: RingGeometry
  ) throws(SystemError) {
    ring = try RingSocket.open(
      device: device, macs: macs, steering: &steering, version: TPACKET_V2, request: geometry.request,
      bytes: geometry.bytes)
    end = ring.base + geometry.bytes
    head = ring.base
    tail = ring.base
  }

  /// For `poll`: readable when a frame is waiting.
  var descriptor: Int32 { ring.socket.descriptor }

  /// Whether a frame is waiting.
  @inline(__always)
  var isReady: Bool { sluice_slot_status(head) & UInt32(TP_STATUS_USER) != 0 }

  /// Describes up to `limit` waiting frames in `slots` and returns how many.
  mutating func collect(
    into slots: UnsafeMutablePointer<FrameSlot>, limit: Int, link: UInt16, time: UInt64
  ) -> Int {
    var slot = head
    var count = 0
    while count < limit {
      let status = sluice_slot_status(slot)
      if status & UInt32(TP_STATUS_USER) == 0 { break }
      let header = slot.assumingMemoryBound(to: tpacket2_hdr.self)
      let offset = Int(header.pointee.tp_mac)
      slots[count].receive(
        slot + offset, length: header.pointee.tp_snaplen, headroom: offset &- RingGeometry.usedHeader, link: link,
        time: time, status: status, tagControl: header.pointee.tp_vlan_tci, tagProtocol: header.pointee.tp_vlan_tpid)
      count &+= 1
      slot += RingGeometry.slotBytes
      if slot == end { slot = ring.base }
      // More slots collected than the ring has would be slots collected twice.
      if slot == tail { break }
    }
    head = slot
    return count
  }

  /// Gives the `count` oldest collected slots back to the kernel.
  mutating func release(_ count: Int) {
    var slot = tail
    var left = count
    while left > 0 {
      sluice_slot_release(slot)
      slot += RingGeometry.slotBytes
      if slot == end { slot = ring.base }
      left &-= 1
    }
    tail = slot
  }
}
