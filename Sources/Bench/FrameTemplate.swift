import Engine
import Glibc

/// The first 64 bytes of a frame, whole but for what differs from flow to flow, and its length.
struct FrameTemplate {
  /// Inside endpoints of masqueraded sessions: each keeps its port outside, so that answers know where to go. Sessions
  /// beyond that share mappings.
  static let insideEndpoints: UInt32 = 60_000

  /// 64 bytes.
  let line: UnsafeMutableRawPointer
  private let slot: FrameSlot
  private let isUDP: Bool
  private let isIPv6: Bool
  private let isMasquerade: Bool
  /// Where the flow's own address and port go.
  private let addressOffset: Int
  private let portOffset: Int
  private let transportChecksumOffset: Int
  /// Sums of everything else that the two checksums cover, lengths aside; host order.
  private let headerSum: UInt32
  private let transportSum: UInt32

  /// Bytes before the transport header.
  private let headers: Int

  init(_ step: Generator.Step, _ kind: EngineBenchOptions.Kind, _ options: EngineBenchOptions) {
    isUDP = kind == .udp
    isIPv6 = options.family == .ipv6 && isUDP
    isMasquerade = options.origin == .masquerade
    let isFromClient = step.isFromClient
    let isFromOutside = isFromClient != isMasquerade
    var frame: [UInt8] = []
    func put(_ value: UInt64, _ bytes: Int) {
      for shift in (0..<bytes).reversed() { frame.append(UInt8(truncatingIfNeeded: value >> UInt64(shift * 8))) }
    }
    put((isFromOutside ? BenchPlan.wanStation : BenchPlan.lanStation).value, 6)
    put(0x0200_0000_00FF, 6)
    // A forward's sessions differ in the client, at whose end the gateway changes nothing; masqueraded ones in the remote
    // address and the client's port.
    if isIPv6 {
      Self.appendIPv6(isFromOutside: isFromOutside, put)
    } else {
      put(0x0800, 2)
      put(0x4500_0000, 4)
      put(0x0000_4000, 4)
      put(64 << 8 | (isUDP ? 17 : 6), 2)
      put(0, 2)
      put(isFromOutside ? 0 : UInt64(BenchPlan.server.value), 4)
      put(isFromOutside ? UInt64(BenchPlan.wan.value) : 0, 4)
    }
    headers = frame.count
    put(isFromClient ? 0 : UInt64(isMasquerade ? BenchPlan.remotePort : BenchPlan.targetPort), 2)
    put(isFromClient ? UInt64(isMasquerade ? BenchPlan.remotePort : BenchPlan.port) : 0, 2)
    Self.appendTransport(step, isUDP: isUDP, put)
    // The last four bytes of an address.
    addressOffset = isIPv6 ? (isFromOutside ? 34 : 50) : isFromOutside ? 26 : 30
    portOffset = isFromClient ? headers : headers + 2
    transportChecksumOffset = headers + (isUDP ? 6 : 16)

    func sum(_ range: Range<Int>) -> UInt32 {
      stride(from: range.lowerBound, to: range.upperBound, by: 2).reduce(0) {
        $0 + UInt32(frame[$1]) << 8 + UInt32(frame[$1 + 1])
      }
    }
    headerSum = sum(14..<34)
    // Addresses and protocol of the pseudo-header; the payload is zero.
    transportSum = sum((isIPv6 ? 22 : 26)..<frame.count) + UInt32(isUDP ? 17 : 6)
    line = .allocate(byteCount: 64, alignment: 64)
    memset(line, 0, 64)
    line.copyMemory(from: frame, byteCount: frame.count)
    slot = FrameSlot(bytes: line, length: 0, headroom: Forwarder.headroom, link: isFromOutside ? 0 : 1, time: 0)
  }

  private static func appendIPv6(isFromOutside: Bool, _ put: (UInt64, Int) -> Void) {
    put(0x86DD, 2)
    put(0x6000_0000, 4)
    put(17 << 8 | 64, 4)
    let client = IPv6Address("2001:db8:f::")!
    for address in isFromOutside ? [client, BenchPlan.wan6] : [BenchPlan.server6, client] {
      put(address.high, 8)
      put(address.low, 8)
    }
  }

  /// What follows the ports. TCP numbers are those of a connection in which both sides have sent a SYN only, so that
  /// every later segment is in the window, however often it is repeated.
  private static func appendTransport(_ step: Generator.Step, isUDP: Bool, _ put: (UInt64, Int) -> Void) {
    guard !isUDP else {
      put(0, 4)
      return
    }
    let isSYN = step == .open || step == .accept
    let (own, other): (UInt64, UInt64) = step.isFromClient ? (1_000_000, 5_000_000) : (5_000_000, 1_000_000)
    put(isSYN ? own : own + 1, 4)
    put(step == .open ? 0 : other + 1, 4)
    put(0x5000 | (isSYN ? 0x02 : 0) | (step == .open ? 0 : 0x10), 2)
    put(65535, 2)
    put(0, 4)
  }

  /// The frame of `flow` at `bytes`, and the slot that presents it to the engine.
  @inline(__always)
  func write(
    flow: UInt32, length: UInt32, to bytes: UnsafeMutableRawPointer, slot place: UnsafeMutablePointer<FrameSlot>,
    time: UInt64
  ) {
    memcpy(bytes, line, 64)
    let address = 0x0800_0000 &+ (isMasquerade ? flow / Self.insideEndpoints : flow & 0xF_FFFF)
    let port = 1024 &+ (isMasquerade ? flow % Self.insideEndpoints : flow &>> 20)
    let words = (address &>> 16) &+ (address & 0xFFFF)
    // The shortest frames of IPv4 have no room for the headers of IPv6.
    let length = isIPv6 ? max(length, 62) : length
    let datagram = length &- 14
    let transport = length &- UInt32(truncatingIfNeeded: headers)
    bytes.storeBytes(of: address.bigEndian, toByteOffset: addressOffset, as: UInt32.self)
    bytes.storeBytes(of: UInt16(truncatingIfNeeded: port).bigEndian, toByteOffset: portOffset, as: UInt16.self)
    if isIPv6 {
      bytes.storeBytes(of: UInt16(truncatingIfNeeded: transport).bigEndian, toByteOffset: 18, as: UInt16.self)
    } else {
      bytes.storeBytes(of: UInt16(truncatingIfNeeded: datagram).bigEndian, toByteOffset: 16, as: UInt16.self)
      bytes.storeBytes(of: Self.complement(headerSum &+ datagram &+ words).bigEndian, toByteOffset: 24, as: UInt16.self)
    }
    // The length of the pseudo-header, and for UDP that of its own header.
    var sum = transportSum &+ words &+ port &+ transport
    if isUDP {
      bytes.storeBytes(
        of: UInt16(truncatingIfNeeded: transport).bigEndian, toByteOffset: headers &+ 4, as: UInt16.self)
      sum &+= transport
    }
    var checksum = Self.complement(sum)
    // RFC 768: a computed zero is sent as all ones.
    if checksum == 0, isUDP { checksum = 0xFFFF }
    bytes.storeBytes(of: checksum.bigEndian, toByteOffset: transportChecksumOffset, as: UInt16.self)
    place.pointee = slot
    place.pointee.bytes = bytes
    place.pointee.length = length
    place.pointee.time = time
  }

  @inline(__always)
  private static func complement(_ sum: UInt32) -> UInt16 {
    let once = (sum & 0xFFFF) &+ (sum &>> 16)
    return ~UInt16(truncatingIfNeeded: once &+ (once &>> 16))
  }
}
