import Capture

/// What a capture says about traffic: which flow comes when, which way, and how long its frames are.
///
/// The frames that the bench sends are its own, with addresses, numbers and checksums that its plan knows: so that any
/// capture can be used, however it was cut, and can be repeated for as long as it takes.
public struct CaptureMix: Sendable {
  /// One frame of TCP or UDP over IPv4.
  public struct Frame: Sendable, Equatable {
    public var flow: Int
    /// Sent by the other side than the one seen first.
    public var isAnswer: Bool
    /// Bytes, link header included; as long as a frame of the bench may be.
    public var bytes: Int
  }

  public private(set) var frames: [Frame] = []
  public private(set) var flows = 0
  /// Flows from 0 up to this are UDP, the others TCP.
  public private(set) var udpFlows = 0
  /// Frames of other kinds, which have no place in the mix.
  public private(set) var skipped = 0

  /// Bytes of a frame, on average.
  public var meanBytes: Int { (frames.reduce(0) { $0 + $1.bytes } + frames.count / 2) / frames.count }

  /// More would take more memory than the tables that they measure.
  private static let mostFrames = 1 << 24

  /// Reads the whole capture.
  public init(path: String) throws(CaptureError) {
    let reader = try CaptureReader(path: path)
    var known: [Conversation: Int] = [:]
    var isUDP: [Bool] = []
    while frames.count < Self.mostFrames, let captured = try reader.next() {
      guard let (conversation, total) = Conversation.read(captured, reader.link) else {
        skipped += 1
        continue
      }
      let bytes = min(
        max(total + 14, EngineBenchOptions.frameSizes.lowerBound), EngineBenchOptions.frameSizes.upperBound)
      if let flow = known[conversation] {
        frames.append(Frame(flow: flow, isAnswer: false, bytes: bytes))
      } else if let flow = known[conversation.reversed] {
        frames.append(Frame(flow: flow, isAnswer: true, bytes: bytes))
      } else {
        frames.append(Frame(flow: isUDP.count, isAnswer: false, bytes: bytes))
        known[conversation] = isUDP.count
        isUDP.append(conversation.ipProtocol == 17)
      }
    }
    guard !frames.isEmpty else {
      throw CaptureError(
        path: path, offset: nil, message: "no frame of TCP or UDP over IPv4; a capture with some would do")
    }
    sortFlows(isUDP)
  }

  /// UDP first: a flow's protocol follows from its number.
  private mutating func sortFlows(_ isUDP: [Bool]) {
    flows = isUDP.count
    udpFlows = isUDP.count { $0 }
    var next = (udp: 0, tcp: udpFlows)
    let places = isUDP.map { isUDP in
      defer { if isUDP { next.udp += 1 } else { next.tcp += 1 } }
      return isUDP ? next.udp : next.tcp
    }
    for index in frames.indices { frames[index].flow = places[frames[index].flow] }
  }

  /// Both ends and the protocol, as one frame has them.
  private struct Conversation: Hashable {
    var ipProtocol: UInt8
    var source: UInt64
    var destination: UInt64

    var reversed: Conversation { Conversation(ipProtocol: ipProtocol, source: destination, destination: source) }

    /// Of a whole datagram or its first fragment, behind any VLAN tags; and the datagram's length.
    static func read(_ frame: CapturedFrame, _ link: CaptureLink) -> (Conversation, total: Int)? {
      let bytes = UnsafeRawBufferPointer(start: frame.bytes, count: frame.length)
      func big16(_ offset: Int) -> Int { Int(bytes[offset]) << 8 | Int(bytes[offset + 1]) }
      func big32(_ offset: Int) -> UInt64 { UInt64(big16(offset)) << 16 | UInt64(big16(offset + 2)) }
      var ip = 0
      if link == .ethernet {
        ip = 14
        while bytes.count >= ip + 4, [0x8100, 0x88A8].contains(big16(ip - 2)) { ip += 4 }
        guard bytes.count >= ip, big16(ip - 2) == 0x0800 else { return nil }
      }
      guard bytes.count >= ip + 20, bytes[ip] >> 4 == 4 else { return nil }
      let ports = ip + Int(bytes[ip] & 15) * 4
      let ipProtocol = bytes[ip + 9]
      guard ports >= ip + 20, bytes.count >= ports + 4, big16(ip + 6) & 0x1FFF == 0, [6, 17].contains(ipProtocol)
      else { return nil }
      let conversation = Conversation(
        ipProtocol: ipProtocol, source: big32(ip + 12) << 16 | UInt64(big16(ports)),
        destination: big32(ip + 16) << 16 | UInt64(big16(ports + 2)))
      return (conversation, big16(ip + 2))
    }
  }
}
