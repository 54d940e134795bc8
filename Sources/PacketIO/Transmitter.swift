import CLinux
import Engine
import Glibc

/// Sends frames on any device, straight from where they lie, many with one system call.
///
/// Small frames gather up to `smallBatch`; a frame above `bigFrameBytes` costs so much more to send that it goes in groups of
/// `bigBatch` only, for the sake of those behind it. A frame never overtakes another (G6). A frame's bytes must stay
/// untouched until `flush` has returned.
public struct Transmitter: ~Copyable {
  public static let smallBatch = 64
  public static let bigBatch = 4
  public static let bigFrameBytes = 4096
  /// How often a frame is offered to a device that has no room.
  static let tries = 3

  /// A frame that could not be sent.
  public struct Failure {
    /// What `append` was told: the frame's ingress interface, or -1.
    public var owner: Int32
    public var reason: DropReason
  }

  private let socket: PacketSocket
  private let destinations: UnsafeMutablePointer<sockaddr_ll>
  private let destinationCount: Int
  private let messages: UnsafeMutablePointer<sluice_message>
  /// Two per message: the virtio header and the frame, or one run of both.
  private let vectors: UnsafeMutablePointer<iovec>
  private let headers: UnsafeMutablePointer<OffloadHeader>
  private let owners: UnsafeMutablePointer<Int32>
  private let failures: UnsafeMutablePointer<Failure>
  private var pending = 0
  private var isPendingBig = false
  /// System calls made and frames sent, for statistics.
  public private(set) var calls: UInt64 = 0
  public private(set) var frames: UInt64 = 0

  /// - Parameter devices: the egress device of each number that `append` is given.
  public static func open(devices: [PacketDevice]) throws(SystemError) -> Transmitter {
    let socket = try PacketSocket()
    try socket.set(PACKET_VNET_HDR, to: 1, named: "PACKET_VNET_HDR")
    try socket.set(PACKET_QDISC_BYPASS, to: 1, named: "PACKET_QDISC_BYPASS")
    try socket.setSendBuffer(bytes: 8 << 20)
    return Transmitter(socket: socket, devices: devices)
  }

  private init(socket: consuming PacketSocket, devices: [PacketDevice]) {
    self.socket = socket
    destinationCount = devices.count
    destinations = .allocate(capacity: max(1, devices.count))
    for (number, device) in devices.enumerated() {
      // On Ethernet the kernel reads the EtherType from the frame; a raw-IP device has none to read.
      let etherType = device.link == .ethernet ? 0 : UInt16(ETH_P_IP)
      destinations[number] = linkAddress(of: device, etherType: etherType)
    }
    messages = .allocate(capacity: Self.smallBatch)
    messages.initialize(repeating: sluice_message(), count: Self.smallBatch)
    vectors = .allocate(capacity: 2 * Self.smallBatch)
    vectors.initialize(repeating: iovec(), count: 2 * Self.smallBatch)
    headers = .allocate(capacity: Self.smallBatch)
    headers.initialize(repeating: OffloadHeader(), count: Self.smallBatch)
    owners = .allocate(capacity: Self.smallBatch)
    failures = .allocate(capacity: Self.smallBatch)
    for index in 0..<Self.smallBatch {
      messages[index].header.msg_namelen = socklen_t(MemoryLayout<sockaddr_ll>.size)
      messages[index].header.msg_iov = vectors + 2 * index
    }
  }

  deinit {
    destinations.deallocate()
    messages.deallocate()
    vectors.deallocate()
    headers.deallocate()
    owners.deallocate()
    failures.deallocate()
  }

  public var isEmpty: Bool { pending == 0 }

  /// Whether `flush` must come before a frame of `length` bytes is appended.
  @inline(__always)
  public func mustFlush(before length: UInt32) -> Bool {
    let isBig = length > UInt32(Self.bigFrameBytes)
    return pending != 0 && (isBig != isPendingBig || pending == (isBig ? Self.bigBatch : Self.smallBatch))
  }

  /// Appends the rewritten frame of `slot`. The ten bytes before it are overwritten by its virtio header, so that both
  /// are one run.
  public mutating func append(_ slot: UnsafePointer<FrameSlot>) {
    let header = slot.pointee.bytes - MemoryLayout<OffloadHeader>.size
    header.storeBytes(of: slot.pointee.offload, as: OffloadHeader.self)
    let vector = vectors + 2 &* pending
    vector.pointee.iov_base = header
    vector.pointee.iov_len = Int(slot.pointee.length) &+ MemoryLayout<OffloadHeader>.size
    messages[pending].header.msg_iovlen = 1
    finish(
      destination: slot.pointee.egress, owner: Int32(slot.pointee.ingress), length: slot.pointee.length)
  }

  /// Appends a frame that the engine made or released, whose surroundings are not ours to write.
  public mutating func append(_ frame: OutboxFrame) {
    headers[pending] = frame.offload
    let vector = vectors + 2 &* pending
    vector[0].iov_base = UnsafeMutableRawPointer(headers + pending)
    vector[0].iov_len = MemoryLayout<OffloadHeader>.size
    vector[1].iov_base = frame.bytes
    vector[1].iov_len = Int(frame.length)
    messages[pending].header.msg_iovlen = 2
    finish(destination: frame.egress, owner: -1, length: frame.length)
  }

  @inline(__always)
  private mutating func finish(destination: UInt16, owner: Int32, length: UInt32) {
    precondition(Int(destination) < destinationCount && pending < Self.smallBatch)
    messages[pending].header.msg_name = UnsafeMutableRawPointer(destinations + Int(destination))
    owners[pending] = owner
    isPendingBig = length > UInt32(Self.bigFrameBytes)
    pending &+= 1
  }

  /// Sends everything appended and returns how many frames failed; `failure(_:)` tells which, until the next call.
  public mutating func flush() -> Int {
    var done = 0
    var failed = 0
    var tries = 0
    while done < pending {
      let sent = Int(sluice_send_messages(socket.descriptor, messages + done, UInt32(pending &- done)))
      calls &+= 1
      if sent > 0 {
        done &+= sent
        frames &+= UInt64(truncatingIfNeeded: sent)
        tries = 0
        continue
      }
      let code = errno
      if code == EINTR { continue }
      // ENOBUFS: the device has no room; EAGAIN: what we sent before still fills the send buffer.
      let isFull = code == ENOBUFS || code == EAGAIN
      tries &+= 1
      if isFull && tries < Self.tries { continue }
      failures[failed] = Failure(owner: owners[done], reason: isFull ? .egressFull : .egressError)
      failed &+= 1
      done &+= 1
      tries = 0
    }
    pending = 0
    return failed
  }

  public func failure(_ index: Int) -> Failure { failures[index] }
}
