import CLinux
import Engine
import Glibc

/// The sockets that share one device's frames (PACKET_FANOUT), and the program by which the kernel gives each frame to one.
///
/// Steered by what NAT leaves alone, the *outside peer's* address and port, so that both directions of a session meet the
/// same worker; fragments, which carry no ports, and everything else by the address. Where they do not meet, the shared
/// table makes it harmless. What is no IP goes to the first worker.
public struct Steering: Sendable {
  /// Where the outside peer stands in a frame that comes in.
  public enum Peer: Sendable {
    /// On a device of outside interfaces.
    case source
    /// On a device of inside interfaces.
    case destination
    /// On a device of both.
    case either
  }

  private let peer: Peer
  private var group: Int32 = 0
  /// The first member, by which the program is changed.
  private var first: Int32 = -1
  private var members = 0

  public init(peer: Peer) { self.peer = peer }

  /// Makes a bound socket the next member. Until `steer` all frames go to the first one.
  ///
  /// PACKET_IGNORE_OUTGOING has no effect on members; the group's flag has.
  mutating func admit(_ socket: borrowing PacketSocket) throws(SystemError) {
    let type = PACKET_FANOUT_CBPF | SLUICE_PACKET_FANOUT_FLAG_IGNORE_OUTGOING
    if members == 0 {
      let flags = type | PACKET_FANOUT_FLAG_UNIQUEID
      try socket.set(structure: UInt32(flags) << 16, PACKET_FANOUT, level: SOL_PACKET, named: "PACKET_FANOUT")
      var found: Int32 = 0
      var size = socklen_t(MemoryLayout<Int32>.size)
      try checked(getsockopt(socket.descriptor, SOL_PACKET, PACKET_FANOUT, &found, &size), "reading PACKET_FANOUT")
      group = found & 0xFFFF
      first = socket.descriptor
    } else {
      let value = UInt32(type) << 16 | UInt32(group)
      try socket.set(structure: value, PACKET_FANOUT, level: SOL_PACKET, named: "PACKET_FANOUT")
    }
    members += 1
  }

  /// Gives each worker's frames to one of the members, from the call's return on: the kernel has let every frame that
  /// was under way under the earlier program arrive by then (fanout_set_data waits for an RCU grace period).
  ///
  /// - Parameter targets: for each worker, the number of its member, in the order of admission.
  public func steer(to targets: [Int]) throws(SystemError) {
    guard members > 0 else { return }
    var program = Self.program(peer: peer, targets: targets)
    let result = program.withUnsafeMutableBufferPointer { code in
      var filter = sock_fprog(len: UInt16(code.count), filter: code.baseAddress)
      return setsockopt(first, SOL_PACKET, PACKET_FANOUT_DATA, &filter, socklen_t(MemoryLayout<sock_fprog>.size))
    }
    try checked(result, "setting PACKET_FANOUT_DATA")
  }
}

extension Steering {
  /// Classic BPF that returns a member's number. In a fanout group the program sees a frame from its network header on:
  /// from the IP header, or from the TCI of a tag that the kernel has not taken out.
  static func program(peer: Peer, targets: [Int]) -> [sock_filter] {
    if targets.count == 1 { return [sock_filter(code: ret, jt: 0, jf: 0, k: UInt32(targets[0]))] }
    let plain = byVersion(peer: peer, header: 0, targets: targets)
    let tagged = byVersion(peer: peer, header: 4, targets: targets)
    let etherType = UInt32(bitPattern: SKF_AD_OFF + SKF_AD_PROTOCOL)
    return [
      sock_filter(code: loadWord, jt: 0, jf: 0, k: etherType),
      sock_filter(code: jumpIfEqual, jt: 0, jf: 2, k: UInt32(ETH_P_8021Q)),
      sock_filter(code: loadHalf, jt: 0, jf: 0, k: 2),
      sock_filter(code: jump, jt: 0, jf: 0, k: UInt32(plain.count)),
    ] + plain + tagged
  }

  /// The part behind the EtherType, which has been loaded, for an IP header at byte `header`.
  private static func byVersion(peer: Peer, header: UInt32, targets: [Int]) -> [sock_filter] {
    let six = steps6(peer: peer, header: header, targets: targets)
    return [
      sock_filter(code: jumpIfEqual, jt: 0, jf: 1, k: UInt32(ETH_P_IP)),
      sock_filter(code: jump, jt: 0, jf: 0, k: UInt32(six.count + 2)),
      sock_filter(code: jumpIfEqual, jt: 1, jf: 0, k: UInt32(ETH_P_IPV6)),
      sock_filter(code: ret, jt: 0, jf: 0, k: UInt32(targets[0])),
    ] + six + steps4(peer: peer, header: header, targets: targets)
  }

  /// The words at these offsets, folded into one and stored.
  private static func fold(_ offsets: some Sequence<UInt32>) -> [sock_filter] {
    var code: [sock_filter] = []
    for offset in offsets {
      if !code.isEmpty { code.append(sock_filter(code: toX, jt: 0, jf: 0, k: 0)) }
      let isFirst = code.isEmpty
      code.append(sock_filter(code: loadWord, jt: 0, jf: 0, k: offset))
      if !isFirst { code.append(sock_filter(code: xorX, jt: 0, jf: 0, k: 0)) }
    }
    return code + [sock_filter(code: store, jt: 0, jf: 0, k: 0)]
  }

  /// Adds the port that has just been loaded to what is stored.
  private static let addPort = [
    sock_filter(code: multiply, jt: 0, jf: 0, k: 0x85EB_CA6B),
    sock_filter(code: loadX, jt: 0, jf: 0, k: 0),
    sock_filter(code: addX, jt: 0, jf: 0, k: 0),
    sock_filter(code: store, jt: 0, jf: 0, k: 0),
  ]

  /// Of IPv6 only what has its ports right behind the header is steered by them too: pieces and what has other headers
  /// go by the address.
  private static func steps6(peer: Peer, header: UInt32, targets: [Int]) -> [sock_filter] {
    let (source, destination) = (header + 8, header + 24)
    let words: [UInt32] = [0, 4, 8, 12]
    let offsets: [UInt32] =
      switch peer {
      case .source: words.map { source + $0 }
      case .destination: words.map { destination + $0 }
      case .either: words.flatMap { [source + $0, destination + $0] }
      }
    let ports: [sock_filter] =
      peer == .either
      ? []
      : [
        sock_filter(code: loadByte, jt: 0, jf: 0, k: header + 6),
        sock_filter(code: jumpIfEqual, jt: 1, jf: 0, k: UInt32(IPPROTO_TCP)),
        sock_filter(code: jumpIfEqual, jt: 0, jf: UInt8(1 + addPort.count), k: UInt32(IPPROTO_UDP)),
        sock_filter(code: loadHalf, jt: 0, jf: 0, k: header + 40 + (peer == .source ? 0 : 2)),
      ] + addPort
    return fold(offsets) + ports + choice(targets)
  }

  private static func steps4(peer: Peer, header: UInt32, targets: [Int]) -> [sock_filter] {
    let offsets: [UInt32] =
      switch peer {
      case .source: [header + 12]
      case .destination: [header + 16]
      case .either: [header + 12, header + 16]
      }
    let portOffset: UInt32 = peer == .source ? 0 : 2
    let ports: [sock_filter] =
      peer == .either
      ? []
      : [
        sock_filter(code: loadHalf, jt: 0, jf: 0, k: header + 6),
        sock_filter(code: jumpIfAnyBit, jt: 9, jf: 0, k: 0x3FFF),
        sock_filter(code: loadByte, jt: 0, jf: 0, k: header + 9),
        sock_filter(code: jumpIfEqual, jt: 1, jf: 0, k: UInt32(IPPROTO_TCP)),
        sock_filter(code: jumpIfEqual, jt: 0, jf: 6, k: UInt32(IPPROTO_UDP)),
        sock_filter(code: headerLengthToX, jt: 0, jf: 0, k: header),
        sock_filter(code: loadHalfBehindX, jt: 0, jf: 0, k: header + portOffset),
      ] + addPort
    return fold(offsets) + ports + choice(targets)
  }

  /// The member of what is stored.
  private static func choice(_ targets: [Int]) -> [sock_filter] {
    let choice: [sock_filter] = [
      sock_filter(code: loadStored, jt: 0, jf: 0, k: 0),
      // Fibonacci hashing: the product's upper half depends on every bit.
      sock_filter(code: multiply, jt: 0, jf: 0, k: 0x9E37_79B1),
      sock_filter(code: shiftRight, jt: 0, jf: 0, k: 16),
      sock_filter(code: modulo, jt: 0, jf: 0, k: UInt32(targets.count)),
    ]
    let answers = targets.enumerated().flatMap { worker, target in
      [
        sock_filter(code: jumpIfEqual, jt: 0, jf: 1, k: UInt32(worker)),
        sock_filter(code: ret, jt: 0, jf: 0, k: UInt32(target)),
      ]
    }
    let end = sock_filter(code: ret, jt: 0, jf: 0, k: UInt32(targets[0]))
    return choice + answers + [end]
  }

  private static let loadWord = UInt16(BPF_LD | BPF_W | BPF_ABS)
  private static let loadHalf = UInt16(BPF_LD | BPF_H | BPF_ABS)
  private static let loadByte = UInt16(BPF_LD | BPF_B | BPF_ABS)
  private static let loadHalfBehindX = UInt16(BPF_LD | BPF_H | BPF_IND)
  private static let headerLengthToX = UInt16(BPF_LDX | BPF_B | BPF_MSH)
  private static let loadStored = UInt16(BPF_LD | BPF_MEM)
  private static let loadX = UInt16(BPF_LDX | BPF_MEM)
  private static let store = UInt16(BPF_ST)
  private static let toX = UInt16(BPF_MISC | BPF_TAX)
  private static let xorX = UInt16(BPF_ALU | BPF_XOR | BPF_X)
  private static let addX = UInt16(BPF_ALU | BPF_ADD | BPF_X)
  private static let multiply = UInt16(BPF_ALU | BPF_MUL | BPF_K)
  private static let shiftRight = UInt16(BPF_ALU | BPF_RSH | BPF_K)
  private static let modulo = UInt16(BPF_ALU | BPF_MOD | BPF_K)
  private static let jump = UInt16(BPF_JMP | BPF_JA)
  private static let jumpIfEqual = UInt16(BPF_JMP | BPF_JEQ | BPF_K)
  private static let jumpIfAnyBit = UInt16(BPF_JMP | BPF_JSET | BPF_K)
  private static let ret = UInt16(BPF_RET | BPF_K)
}
