import Capture
import Engine

/// A flow as it comes in: one direction of a conversation, by the names of the capture.
public struct FlowName: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
  // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
  public var interface: String
  /// "tcp", "udp", "icmp", "icmpv6", or a number.
  public var ipProtocol: String
  public var source: String
  public var destination: String

  enum CodingKeys: String, CodingKey {
    case interface, source, destination
    case ipProtocol = "protocol"
  }

  /// `wan tcp 198.51.100.7:4000 > 203.0.113.1:80`.
  public var description: String { "\(interface) \(ipProtocol) \(source) > \(destination)" }

  public static func < (left: Self, right: Self) -> Bool { left.description < right.description }

  /// nil for what is no IP.
  init?(_ bytes: UnsafeMutableRawPointer, length: Int, interface: String, isEthernet: Bool) {
    guard let layout = FrameLayout(bytes, length: length, isEthernet: isEthernet) else { return nil }
    let name =
      switch layout.etherType {
      case 0x0800: Self(ipv4: bytes, at: layout.network, end: length, interface: interface)
      case 0x86DD: Self(ipv6: bytes, at: layout.network, end: length, interface: interface)
      default: nil as Self?
      }
    guard let name else { return nil }
    self = name
  }

  private init?(ipv4 bytes: UnsafeMutableRawPointer, at start: Int, end: Int, interface: String) {
    guard let ip = IPv4Layout(bytes, at: start, end: end) else { return nil }
    self.interface = interface
    let addresses = [12, 16].map { "\(IPv4Address(wire: bytes.wire32(ip.start + $0)))" }
    var ports: (UInt16, UInt16)?
    switch ip.ipProtocol {
    case 1:
      ipProtocol = "icmp"
      if ip.isFirst, ip.transport + 8 <= ip.end {
        // Echo by identifier, everything else by type.
        let type = bytes.byte(ip.transport)
        let number = type == 0 || type == 8 ? bytes.number16(ip.transport + 4) : UInt16(type)
        ports = type == 0 ? (0, number) : (number, 0)
      }
    case 6, 17:
      ipProtocol = ip.ipProtocol == 6 ? "tcp" : "udp"
      if ip.isFirst, ip.transport + 4 <= ip.end {
        ports = (bytes.number16(ip.transport), bytes.number16(ip.transport + 2))
      }
    default: ipProtocol = "\(ip.ipProtocol)"
    }
    source = addresses[0] + (ports.map { ":\($0.0)" } ?? "")
    destination = addresses[1] + (ports.map { ":\($0.1)" } ?? "")
  }
}

extension FlowName {
  /// Ports, or an identifier, where they are right behind the header.
  private init?(ipv6 bytes: UnsafeMutableRawPointer, at start: Int, end: Int, interface: String) {
    guard start + 40 <= end, bytes.byte(start) >> 4 == 6 else { return nil }
    self.interface = interface
    func address(_ offset: Int) -> String {
      let word = { (at: Int) in (0..<8).reduce(UInt64(0)) { $0 << 8 | UInt64(bytes.byte(start + at + $1)) } }
      return "\(IPv6Address(high: word(offset), low: word(offset + 8)))"
    }
    let transport = start + 40
    var ports: (UInt16, UInt16)?
    let number = bytes.byte(start + 6)
    switch number {
    case 58:
      ipProtocol = "icmpv6"
      if transport + 8 <= end {
        let type = bytes.byte(transport)
        let number = type == 128 || type == 129 ? bytes.number16(transport + 4) : UInt16(type)
        ports = type == 129 ? (0, number) : (number, 0)
      }
    case 6, 17:
      ipProtocol = number == 6 ? "tcp" : "udp"
      if transport + 4 <= end { ports = (bytes.number16(transport), bytes.number16(transport + 2)) }
    default: ipProtocol = "\(number)"
    }
    source = ports.map { "[\(address(8))]:\($0.0)" } ?? address(8)
    destination = ports.map { "[\(address(24))]:\($0.1)" } ?? address(24)
  }
}

/// What became of a flow under one configuration.
public struct FlowOutcome: Hashable, Sendable, Codable {
  // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
  public var frames = 0
  public var forwarded = 0
  /// Of the first forwarded frame.
  public var egress: String?
  public var source: String?
  public var destination: String?
  /// Dropped frames by reason, and the others that did not leave by verdict.
  public var stopped: [String: Int] = [:]

  /// Some of it left, or would have, had its next hop answered.
  var isLetThrough: Bool { forwarded > 0 || stopped[Verdict.hold.name] != nil }

  /// `-> lan 198.51.100.7:4000 > 192.168.1.10:80`, or why not.
  public var text: String {
    if let egress, let source, let destination { return "-> \(egress) \(source) > \(destination)" }
    if frames == 0 { return "-" }
    return stopped.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key).joined(separator: ", ")
  }
}

/// Counts what becomes of every flow of a replay.
final class FlowTally: ReplayObserver {
  private let plan: Plan
  private(set) var flows: [FlowName: FlowOutcome] = [:]
  var isDone: Bool { false }

  init(_ plan: Plan) { self.plan = plan }

  func judge(_ slot: UnsafeMutablePointer<FrameSlot>, number: Int, with forwarder: inout Forwarder) {
    let name = name(slot, on: Int(slot.pointee.link))
    forwarder.process(slot, count: 1)
    guard let name else { return }
    flows[name, default: FlowOutcome()].add(slot.pointee) {
      self.name(slot, on: Int(slot.pointee.egress))
    }
  }

  func timersFired(_ forwarder: borrowing Forwarder) {}

  private func name(_ slot: UnsafeMutablePointer<FrameSlot>, on interface: Int) -> FlowName? {
    let interface = plan.interfaces[interface]
    return FlowName(
      slot.pointee.bytes, length: Int(slot.pointee.length), interface: interface.name,
      isEthernet: interface.link == .ethernet)
  }
}

extension FlowOutcome {
  /// - Parameter leaving: the frame's flow as it leaves.
  fileprivate mutating func add(_ slot: FrameSlot, leaving: () -> FlowName?) {
    frames += 1
    switch slot.verdict {
    case .forward:
      forwarded += 1
      if egress == nil, let name = leaving() {
        egress = name.interface
        source = name.source
        destination = name.destination
      }
    case .drop: stopped[slot.reason.name, default: 0] += 1
    default: stopped[slot.verdict.name, default: 0] += 1
    }
  }
}
