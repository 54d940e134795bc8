import CLinux
import Engine
import Glibc

/// A packet socket with its receive ring mapped; both go with their owner.
struct RingSocket: ~Copyable {
  let socket: PacketSocket
  /// First byte of the ring.
  let base: UnsafeMutableRawPointer
  private let bytes: Int

  private init(socket: consuming PacketSocket, base: UnsafeMutableRawPointer, bytes: Int) {
    self.socket = socket
    self.base = base
    self.bytes = bytes
  }

  /// Opens a ring and starts to receive.
  ///
  /// PACKET_VNET_HDR always: virtual devices hand over unfinished checksums and super-frames, which nothing else tells
  /// apart from finished ones.
  ///
  /// - Parameters:
  ///   - version: TPACKET_V2 or TPACKET_V3.
  ///   - request: `tpacket_req` or `tpacket_req3`.
  ///   - bytes: of the whole ring.
  ///   - macs: the MAC addresses of the interfaces on the device; empty on a raw-IP device, or to get what is for others too.
  ///   - steering: the sockets to share the device's frames with; nil for all frames.
  static func open(
    device: PacketDevice, macs: [MACAddress], steering: inout Steering?, version: tpacket_versions,
    request: some BitwiseCopyable, bytes: Int
  ) throws(SystemError) -> RingSocket {
    let socket = try PacketSocket()
    try socket.set(PACKET_VERSION, to: Int32(version.rawValue), named: "PACKET_VERSION")
    try socket.set(PACKET_VNET_HDR, to: 1, named: "PACKET_VNET_HDR")
    try socket.set(PACKET_RESERVE, to: Int32(RingGeometry.reserve), named: "PACKET_RESERVE")
    try socket.set(PACKET_IGNORE_OUTGOING, to: 1, named: "PACKET_IGNORE_OUTGOING")
    let prefilter = Prefilter.program(macs: macs)
    // A socket bound and not yet in its group would get every frame a second time.
    try socket.attach(steering == nil ? prefilter : Prefilter.nothing)
    try socket.set(structure: request, PACKET_RX_RING, level: SOL_PACKET, named: "PACKET_RX_RING")
    let mapped = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket.descriptor, 0)
    guard let mapped, mapped != MAP_FAILED else { throw SystemError("mapping the ring of device \(device.name)") }
    let ring = RingSocket(socket: socket, base: mapped, bytes: bytes)
    // A device filters by its own address; others must be asked for.
    for mac in macs where mac != device.mac { try ring.socket.subscribe(to: mac, on: device) }
    if macs.isEmpty && device.link == .ethernet { try ring.socket.subscribe(to: nil, on: device) }
    try ring.socket.bind(to: device)
    if steering != nil {
      try steering?.admit(ring.socket)
      try ring.socket.attach(prefilter)
    } else {
      // The program of a group cannot be changed by a socket whose filter is final.
      try ring.socket.lockFilter()
    }
    return ring
  }

  deinit { munmap(base, bytes) }
}

extension FrameSlot {
  /// Describes a received frame to the engine.
  ///
  /// - Parameters:
  ///   - frame: its first byte; the ten bytes before it are its virtio header.
  ///   - headroom: bytes before it that the engine may overwrite.
  ///   - status: the kernel's TP_STATUS_*, which say whether it took out a VLAN tag.
  @inline(__always)
  mutating func receive(
    _ frame: UnsafeMutableRawPointer, length: UInt32, headroom: Int, link: UInt16, time: UInt64, status: UInt32,
    tagControl: UInt16, tagProtocol: UInt16
  ) {
    bytes = frame
    self.time = time
    self.length = length
    self.headroom = UInt16(truncatingIfNeeded: headroom)
    self.link = link
    let hasType = status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
    let type = hasType ? UInt32(tagProtocol) : UInt32(ETH_P_8021Q)
    tag = status & UInt32(TP_STATUS_VLAN_VALID) == 0 ? 0 : type &<< 16 | UInt32(tagControl)
    offload = (frame - MemoryLayout<virtio_net_hdr>.size).loadUnaligned(as: OffloadHeader.self)
    // The kernel also tells of a sum that a device has verified, which is of no use to whom the frame goes next.
    offload.flags &= OffloadHeader.needsChecksum
    verdict = .none
    reason = .none
  }
}
