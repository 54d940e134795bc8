import Engine
import Glibc

/// Writes frames into a ring, as a device would: the first cache line of each anew every time.
///
/// Which flow comes when is settled beforehand (a list of four bytes a frame, read in order), so that neither random
/// numbers nor a second table of flows stand between the engine and its caches.
struct Generator: ~Copyable {
  /// Frames the engine gets at once.
  static let burst = 32
  /// The engine's first instant, nanoseconds.
  static let start: UInt64 = 1_700_000_000_000_000_000
  /// Frames in the ring: as many as a device's ring has by default.
  private static let ringFrames = 512

  /// What a frame is in its session's life.
  enum Step: Int, CaseIterable {
    /// Client to server: data, or SYN.
    case open
    /// Server to client: SYN and ACK; nothing special for UDP.
    case accept
    /// Client to server: the handshake's end.
    case confirm
    /// Client to server and back, in an established session.
    case request, answer

    var isInward: Bool { self == .open || self == .confirm || self == .request }
  }

  let slots: UnsafeMutablePointer<FrameSlot>
  private let ring: UnsafeMutableRawPointer
  private let stride: Int
  private var place = 0
  private var time = start
  private let templates: UnsafeMutablePointer<FrameTemplate>
  /// `flow << 1 | isAnswer` for each frame to come, over and over.
  private let order: UnsafeMutableBufferPointer<UInt32>
  private var next = 0

  init(options: EngineBenchOptions, flows: Int, seed: UInt64) {
    // An odd number of cache lines: at a power of two every frame's header would fall into the same few sets of the
    // first-level cache.
    let lines = (options.frameBytes + Forwarder.headroom + 63) / 64
    stride = (lines | 1) * 64
    ring = .allocate(byteCount: stride * Self.ringFrames, alignment: 64)
    memset(ring, 0, stride * Self.ringFrames)
    slots = .allocate(capacity: Self.burst)
    slots.initialize(
      repeating: FrameSlot(bytes: ring, length: options.frameBytes, headroom: Forwarder.headroom, link: 0, time: 0),
      count: Self.burst)
    templates = .allocate(capacity: Step.allCases.count)
    for step in Step.allCases {
      (templates + step.rawValue).initialize(to: FrameTemplate(step, options))
    }
    order = Self.order(options.mix, flows: flows, seed: seed)
  }

  deinit {
    ring.deallocate()
    slots.deallocate()
    for step in Step.allCases { templates[step.rawValue].line.deallocate() }
    templates.deallocate()
    order.deallocate()
  }

  /// Four frames a flow where that is affordable, so that the caches see the mix and not a short loop.
  private static func order(
    _ mix: EngineBenchOptions.Mix, flows: Int, seed: UInt64
  ) -> UnsafeMutableBufferPointer<UInt32> {
    var count = 1 << 20
    while count < flows * 4, count < 1 << 24 { count *= 2 }
    let order = UnsafeMutableBufferPointer<UInt32>.allocate(capacity: count)
    var random = SplitMix(state: seed)
    let logarithm = log(Double(flows) + 1)
    for index in 0..<count {
      let draw = random.next()
      let flow: Int
      switch mix {
      case .uniform: flow = Int(truncatingIfNeeded: draw.multipliedFullWidth(by: UInt64(flows)).high)
      case .zipf:
        // Rank k with probability ln(1 + 1/k) / ln(n + 1), which is Zipf's 1/k. The prime spreads the ranks over the
        // order in which the sessions were made.
        let rank = min(flows - 1, Int(exp(Double(draw >> 11) / Double(1 << 53) * logarithm)) - 1)
        flow = rank * 2_654_435_761 % flows
      }
      order[index] = UInt32(truncatingIfNeeded: flow << 1 | index & 1)
    }
    return order
  }

  /// The next burst of the mix.
  mutating func fillNext() {
    let (first, time) = advance()
    let bytes = ring + first &* stride + Forwarder.headroom
    let inward = templates[Step.request.rawValue]
    let outward = templates[Step.answer.rawValue]
    let order = self.order.baseAddress! + next
    var index = 0
    while index < Self.burst {
      let entry = order[index]
      let template = entry & 1 == 0 ? inward : outward
      template.write(flow: entry &>> 1, to: bytes + index &* stride, slot: slots + index, time: time)
      index &+= 1
    }
    next &+= Self.burst
    if next == self.order.count { next = 0 }
  }

  /// One frame each of the flows `flow..<flow + count`.
  mutating func fill(_ step: Step, from flow: Int, count: Int) {
    let (first, time) = advance()
    let bytes = ring + first &* stride + Forwarder.headroom
    let template = templates[step.rawValue]
    for index in 0..<count {
      template.write(
        flow: UInt32(truncatingIfNeeded: flow &+ index), to: bytes + index &* stride, slot: slots + index, time: time)
    }
  }

  /// The ring goes on, and the engine's clock with it: 100 ns a frame.
  private mutating func advance() -> (first: Int, time: UInt64) {
    let first = place
    place = place &+ Self.burst == Self.ringFrames ? 0 : place &+ Self.burst
    time &+= UInt64(Self.burst) &* 100
    return (first, time)
  }
}

/// The first 64 bytes of a frame, whole but for what differs from flow to flow.
struct FrameTemplate {
  /// 64 bytes.
  let line: UnsafeMutableRawPointer
  private let slot: FrameSlot
  private let isUDP: Bool
  /// Where the client's address and port go.
  private let addressOffset: Int
  private let portOffset: Int
  private let transportChecksumOffset: Int
  /// Sums of everything else that the two checksums cover, host order.
  private let headerSum: UInt32
  private let transportSum: UInt32

  init(_ step: Generator.Step, _ options: EngineBenchOptions) {
    let inward = step.isInward
    isUDP = options.kind == .udp
    let datagram = options.frameBytes - 14
    var frame: [UInt8] = []
    func put(_ value: UInt64, _ bytes: Int) {
      for shift in (0..<bytes).reversed() { frame.append(UInt8(truncatingIfNeeded: value >> UInt64(shift * 8))) }
    }
    put((inward ? BenchPlan.wanStation : BenchPlan.lanStation).value, 6)
    put(0x0200_0000_00FF, 6)
    put(0x0800, 2)
    put(0x4500, 2)
    put(UInt64(datagram), 2)
    put(0x0000_4000, 4)
    put(64 << 8 | (isUDP ? 17 : 6), 2)
    put(0, 2)
    put(inward ? 0 : UInt64(BenchPlan.server.value), 4)
    put(inward ? UInt64(BenchPlan.wan.value) : 0, 4)
    put(inward ? 0 : UInt64(BenchPlan.targetPort), 2)
    put(inward ? UInt64(BenchPlan.port) : 0, 2)
    Self.appendTransport(step, isUDP: isUDP, length: datagram - 20, put)
    addressOffset = inward ? 26 : 30
    portOffset = inward ? 34 : 36
    transportChecksumOffset = isUDP ? 40 : 50

    func sum(_ range: Range<Int>) -> UInt32 {
      stride(from: range.lowerBound, to: range.upperBound, by: 2).reduce(0) {
        $0 + UInt32(frame[$1]) << 8 + UInt32(frame[$1 + 1])
      }
    }
    headerSum = sum(14..<34)
    // Addresses, protocol and length of the pseudo-header; the payload is zero.
    transportSum = sum(26..<frame.count) + UInt32(isUDP ? 17 : 6) + UInt32(datagram - 20)
    line = .allocate(byteCount: 64, alignment: 64)
    memset(line, 0, 64)
    line.copyMemory(from: frame, byteCount: frame.count)
    slot = FrameSlot(
      bytes: line, length: options.frameBytes, headroom: Forwarder.headroom, link: inward ? 0 : 1, time: 0)
  }

  /// What follows the ports. TCP numbers are those of a connection in which both sides have sent a SYN only, so that
  /// every later segment is in the window, however often it is repeated.
  private static func appendTransport(
    _ step: Generator.Step, isUDP: Bool, length: Int, _ put: (UInt64, Int) -> Void
  ) {
    guard !isUDP else {
      put(UInt64(length), 2)
      put(0, 2)
      return
    }
    let isSYN = step == .open || step == .accept
    let (own, other): (UInt64, UInt64) = step.isInward ? (1_000_000, 5_000_000) : (5_000_000, 1_000_000)
    put(isSYN ? own : own + 1, 4)
    put(step == .open ? 0 : other + 1, 4)
    put(0x5000 | (isSYN ? 0x02 : 0) | (step == .open ? 0 : 0x10), 2)
    put(65535, 2)
    put(0, 4)
  }

  /// The frame of `flow` at `bytes`, and the slot that presents it to the engine.
  @inline(__always)
  func write(flow: UInt32, to bytes: UnsafeMutableRawPointer, slot place: UnsafeMutablePointer<FrameSlot>, time: UInt64)
  {
    memcpy(bytes, line, 64)
    let address = 0x0800_0000 &+ (flow & 0xF_FFFF)
    let port = 1024 &+ (flow &>> 20)
    let words = (address &>> 16) &+ (address & 0xFFFF)
    bytes.storeBytes(of: address.bigEndian, toByteOffset: addressOffset, as: UInt32.self)
    bytes.storeBytes(of: UInt16(truncatingIfNeeded: port).bigEndian, toByteOffset: portOffset, as: UInt16.self)
    bytes.storeBytes(of: Self.complement(headerSum &+ words).bigEndian, toByteOffset: 24, as: UInt16.self)
    var checksum = Self.complement(transportSum &+ words &+ port)
    // RFC 768: a computed zero is sent as all ones.
    if checksum == 0, isUDP { checksum = 0xFFFF }
    bytes.storeBytes(of: checksum.bigEndian, toByteOffset: transportChecksumOffset, as: UInt16.self)
    place.pointee = slot
    place.pointee.bytes = bytes
    place.pointee.time = time
  }

  @inline(__always)
  private static func complement(_ sum: UInt32) -> UInt16 {
    let once = (sum & 0xFFFF) &+ (sum &>> 16)
    return ~UInt16(truncatingIfNeeded: once &+ (once &>> 16))
  }
}

/// Sebastiano Vigna's SplitMix64: enough for a traffic mix.
struct SplitMix {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed &>> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed &>> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed &>> 31)
  }
}
