import CLinux
import Engine
import Glibc

/// Frames of one device, in a TPACKET_V2 ring that the kernel fills and we rewrite in place.
///
/// V2 rather than V3 because a frame is visible at once, not with its block; PACKET_VNET_HDR because virtual devices hand
/// over unfinished checksums and super-frames, which nothing else tells apart from finished ones.
/// A slot collected stays ours, bytes and headroom, until it is released; slots are released in the order collected.
public struct ReceiveRing: ~Copyable {
  public let geometry: RingGeometry
  let socket: PacketSocket
  private let base: UnsafeMutableRawPointer
  private let end: UnsafeMutableRawPointer
  /// The next slot that the kernel fills.
  private var head: UnsafeMutableRawPointer
  /// The oldest slot that is ours.
  private var tail: UnsafeMutableRawPointer

  private init(socket: consuming PacketSocket, base: UnsafeMutableRawPointer, geometry: RingGeometry) {
    self.socket = socket
    self.base = base
    self.geometry = geometry
    end = base + geometry.bytes
    head = base
    tail = base
  }

  /// Opens a ring and starts to receive.
  ///
  /// - Parameters:
  ///   - device: where frames come from.
  ///   - macs: the MAC addresses of the interfaces on it; empty on a raw-IP device, or to get what is for others too.
  public static func open(
    device: PacketDevice, macs: [MACAddress], geometry: RingGeometry = RingGeometry()
  ) throws(SystemError) -> ReceiveRing {
    let socket = try PacketSocket()
    try socket.set(PACKET_VERSION, to: Int32(TPACKET_V2.rawValue), named: "PACKET_VERSION")
    try socket.set(PACKET_VNET_HDR, to: 1, named: "PACKET_VNET_HDR")
    try socket.set(PACKET_RESERVE, to: Int32(RingGeometry.reserve), named: "PACKET_RESERVE")
    try socket.set(PACKET_IGNORE_OUTGOING, to: 1, named: "PACKET_IGNORE_OUTGOING")
    try socket.attach(Prefilter.program(macs: macs))
    try socket.set(structure: geometry.request, PACKET_RX_RING, level: SOL_PACKET, named: "PACKET_RX_RING")
    let mapped = mmap(
      nil, geometry.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket.descriptor, 0)
    guard let mapped, mapped != MAP_FAILED else { throw SystemError("mapping the ring of device \(device.name)") }
    let ring = ReceiveRing(socket: socket, base: mapped, geometry: geometry)
    // A device filters by its own address; others must be asked for.
    for mac in macs where mac != device.mac { try ring.socket.subscribe(to: mac, on: device) }
    if macs.isEmpty && device.link == .ethernet { try ring.socket.subscribe(to: nil, on: device) }
    try ring.socket.bind(to: device)
    return ring
  }

  deinit { munmap(base, geometry.bytes) }

  /// For `poll`: readable when a frame is waiting.
  public var descriptor: Int32 { socket.descriptor }

  /// Whether a frame is waiting.
  @inline(__always)
  public var isReady: Bool { sluice_slot_status(head) & UInt32(TP_STATUS_USER) != 0 }

  /// Describes up to `limit` waiting frames in `slots` and returns how many.
  ///
  /// - Parameters:
  ///   - link: the number that the engine knows the device by.
  ///   - time: when the burst was taken up, in nanoseconds.
  public mutating func collect(
    into slots: UnsafeMutablePointer<FrameSlot>, limit: Int, link: UInt16, time: UInt64
  ) -> Int {
    var slot = head
    var count = 0
    while count < limit {
      let status = sluice_slot_status(slot)
      if status & UInt32(TP_STATUS_USER) == 0 { break }
      let header = slot.assumingMemoryBound(to: tpacket2_hdr.self)
      let frameOffset = Int(header.pointee.tp_mac)
      let bytes = slot + frameOffset
      let target = slots + count
      target.pointee.bytes = bytes
      target.pointee.time = time
      target.pointee.length = header.pointee.tp_snaplen
      target.pointee.headroom = UInt16(truncatingIfNeeded: frameOffset &- RingGeometry.usedHeader)
      target.pointee.link = link
      target.pointee.tag = Self.tag(of: header, status: status)
      target.pointee.offload = (bytes - MemoryLayout<virtio_net_hdr>.size).loadUnaligned(as: OffloadHeader.self)
      target.pointee.verdict = .none
      target.pointee.reason = .none
      count &+= 1
      slot += RingGeometry.slotBytes
      if slot == end { slot = base }
      // More slots collected than the ring has would be slots collected twice.
      if slot == tail { break }
    }
    head = slot
    return count
  }

  /// Gives the `count` oldest collected slots back to the kernel.
  public mutating func release(_ count: Int) {
    var slot = tail
    var left = count
    while left > 0 {
      sluice_slot_release(slot)
      slot += RingGeometry.slotBytes
      if slot == end { slot = base }
      left &-= 1
    }
    tail = slot
  }

  /// The VLAN tag that the kernel took out of the frame: TPID << 16 | TCI, or 0.
  @inline(__always)
  private static func tag(of header: UnsafePointer<tpacket2_hdr>, status: UInt32) -> UInt32 {
    if status & UInt32(TP_STATUS_VLAN_VALID) == 0 { return 0 }
    let hasType = status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
    let type = hasType ? UInt32(header.pointee.tp_vlan_tpid) : UInt32(ETH_P_8021Q)
    return type &<< 16 | UInt32(header.pointee.tp_vlan_tci)
  }

  /// Clears and returns the error that a device leaves on its socket when it goes down or away: 0 for none.
  public func takeError() -> Int32 {
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno
  }
}

/// What the kernel counted at a ring: frames that passed the prefilter, and those among them that found no free slot.
public struct RingStatistics: Sendable, Equatable {
  public var frames: UInt64 = 0
  public var drops: UInt64 = 0

  public init() {}

  /// Adds what was counted since the last call: reading clears the kernel's figures.
  public mutating func update(descriptor: Int32) {
    var counted = tpacket_stats()
    var size = socklen_t(MemoryLayout<tpacket_stats>.size)
    guard getsockopt(descriptor, SOL_PACKET, PACKET_STATISTICS, &counted, &size) == 0 else { return }
    frames += UInt64(counted.tp_packets)
    drops += UInt64(counted.tp_drops)
  }
}
