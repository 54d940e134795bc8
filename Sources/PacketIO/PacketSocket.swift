import CLinux
import Engine
import Glibc

/// An AF_PACKET socket that closes with its owner.
///
/// Born with protocol 0, it receives nothing until it is bound: everything is set up before the first frame can come.
struct PacketSocket: ~Copyable {
  let descriptor: Int32

  init() throws(SystemError) {
    let raw = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    descriptor = try checked(socket(AF_PACKET, raw, 0), "opening a packet socket")
  }

  deinit { close(descriptor) }

  /// Sets an integer option and reads it back: some of them are ignored rather than refused when they come too late.
  func set(_ option: Int32, level: Int32 = SOL_PACKET, to value: Int32, named name: String) throws(SystemError) {
    var wanted = value
    let size = socklen_t(MemoryLayout<Int32>.size)
    try checked(setsockopt(descriptor, level, option, &wanted, size), "setting \(name)")
    var found: Int32 = 0
    var foundSize = size
    try checked(getsockopt(descriptor, level, option, &found, &foundSize), "reading back \(name)")
    guard found == value else {
      throw SystemError("setting \(name) to \(value), the kernel says \(found)", code: EINVAL)
    }
  }

  /// Sets an option that has no reading counterpart.
  func set<Value: BitwiseCopyable>(structure value: Value, _ option: Int32, level: Int32, named name: String)
    throws(SystemError)
  {
    var value = value
    let size = socklen_t(MemoryLayout<Value>.size)
    try checked(setsockopt(descriptor, level, option, &value, size), "setting \(name)")
  }

  /// Asks for `bytes` of send buffer, beyond the system's limit where permitted. The kernel doubles the figure.
  func setSendBuffer(bytes: Int32) throws(SystemError) {
    try set(structure: bytes, SO_SNDBUFFORCE, level: SOL_SOCKET, named: "SO_SNDBUFFORCE")
    var found: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    try checked(getsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &found, &size), "reading back SO_SNDBUF")
    guard found >= bytes else {
      throw SystemError("setting SO_SNDBUFFORCE to \(bytes), the kernel says \(found)", code: EINVAL)
    }
  }

  /// Installs `program` in place of an earlier one.
  func attach(_ program: [sock_filter]) throws(SystemError) {
    var program = program
    let result = program.withUnsafeMutableBufferPointer { code in
      var filter = sock_fprog(len: UInt16(code.count), filter: code.baseAddress)
      return setsockopt(
        descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &filter, socklen_t(MemoryLayout<sock_fprog>.size))
    }
    try checked(result, "attaching the packet filter")
  }

  /// Makes the filter final.
  func lockFilter() throws(SystemError) {
    try set(SO_LOCK_FILTER, level: SOL_SOCKET, to: 1, named: "SO_LOCK_FILTER")
  }

  /// Makes `device` hand over frames to `mac`, a station's or a group's, too, or to everybody where it is nil, as long as
  /// this socket lives.
  func subscribe(to mac: MACAddress?, on device: PacketDevice) throws(SystemError) {
    var request = packet_mreq()
    request.mr_ifindex = device.index
    let isGroup = mac?.isGroup == true
    request.mr_type = UInt16(mac == nil ? PACKET_MR_PROMISC : isGroup ? PACKET_MR_MULTICAST : PACKET_MR_UNICAST)
    request.mr_alen = 6
    withUnsafeMutableBytes(of: &request.mr_address) { bytes in
      let value = mac?.value ?? 0
      for index in 0..<6 { bytes[index] = UInt8(truncatingIfNeeded: value >> UInt64(40 - 8 * index)) }
    }
    try set(structure: request, PACKET_ADD_MEMBERSHIP, level: SOL_PACKET, named: "PACKET_ADD_MEMBERSHIP")
  }

  /// Clears and returns the error that a device leaves on its socket when it goes down or away: 0 for none.
  static func takeError(_ descriptor: Int32) -> Int32 {
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : errno
  }

  /// Starts to receive every frame that comes in on `device`.
  func bind(to device: PacketDevice) throws(SystemError) {
    var address = linkAddress(of: device, etherType: UInt16(ETH_P_ALL))
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
      }
    }
    try checked(result, "binding to device \(device.name)")
  }
}

/// The address by which a packet socket knows `device`.
func linkAddress(of device: PacketDevice, etherType: UInt16) -> sockaddr_ll {
  var address = sockaddr_ll()
  address.sll_family = UInt16(AF_PACKET)
  address.sll_protocol = etherType.bigEndian
  address.sll_ifindex = device.index
  return address
}
