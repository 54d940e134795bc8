import CLinux
import Engine

/// The classic BPF program in front of a receive ring: lets in what could be ours and nothing else, before the kernel
/// copies it and before anything is counted.
///
/// On Ethernet that is: frames to one of the interfaces' MAC addresses, or to a group that neighbour discovery needs, and
/// ARP sent to a group. The kernel has taken
/// the outermost VLAN tag out of the bytes by then, so at most one tag stands before the EtherType.
enum Prefilter {
  /// A conditional jump reaches 255 instructions: with more addresses all is let in, and the engine tells them apart.
  private static let mostAddresses = 60

  /// - Parameter macs: addresses of the interfaces on the device and their groups; empty on a raw-IP link, where all is let
  ///   in.
  static func program(macs: [MACAddress]) -> [sock_filter] {
    guard !macs.isEmpty, macs.count <= mostAddresses else { return [accept] }
    // Conditional jumps are written with their targets as distances from the end: `pass` is the last instruction,
    // `refuse` the one before it.
    var code: [Step] = []
    for mac in macs {
      code.append(.load(word, at: 0))
      code.append(.test(jumpIfEqual, UInt32(truncatingIfNeeded: mac.value >> 16), then: .next, else: .skip(2)))
      code.append(.load(half, at: 4))
      code.append(.test(jumpIfEqual, UInt32(truncatingIfNeeded: mac.value & 0xFFFF), then: .pass, else: .next))
    }
    code += [
      .load(byte, at: 0), .test(jumpIfAnyBit, 1, then: .next, else: .refuse),
      .load(half, at: 12), .test(jumpIfEqual, 0x0806, then: .pass, else: .next),
      .test(jumpIfEqual, 0x8100, then: .next, else: .refuse),
      .load(half, at: 16), .test(jumpIfEqual, 0x0806, then: .pass, else: .refuse),
    ]
    let refuseAt = code.count
    return code.enumerated().map { index, step in step.instruction(distanceToRefuse: refuseAt - index - 1) }
      + [refuse, accept]
  }

  /// Lets nothing in.
  static var nothing: [sock_filter] { [refuse] }

  private static let word = UInt16(BPF_LD | BPF_W | BPF_ABS)
  private static let half = UInt16(BPF_LD | BPF_H | BPF_ABS)
  private static let byte = UInt16(BPF_LD | BPF_B | BPF_ABS)
  private static let jumpIfEqual = UInt16(BPF_JMP | BPF_JEQ | BPF_K)
  private static let jumpIfAnyBit = UInt16(BPF_JMP | BPF_JSET | BPF_K)
  private static let refuse = sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: 0)
  /// The whole frame, however long.
  private static let accept = sock_filter(code: UInt16(BPF_RET | BPF_K), jt: 0, jf: 0, k: .max)

  private enum Target {
    case next, pass, refuse
    case skip(UInt8)

    func distance(toRefuse distance: Int) -> UInt8 {
      switch self {
      case .next: 0
      case .skip(let count): count
      case .refuse: UInt8(distance)
      case .pass: UInt8(distance + 1)
      }
    }
  }

  private enum Step {
    case load(UInt16, at: UInt32)
    case test(UInt16, UInt32, then: Target, else: Target)

    func instruction(distanceToRefuse distance: Int) -> sock_filter {
      switch self {
      case .load(let code, let offset): sock_filter(code: code, jt: 0, jf: 0, k: offset)
      case .test(let code, let value, let then, let otherwise):
        sock_filter(
          code: code, jt: then.distance(toRefuse: distance), jf: otherwise.distance(toRefuse: distance), k: value)
      }
    }
  }
}
