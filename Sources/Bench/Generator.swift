import Engine
import Glibc

/// Writes frames into a ring, as a device would: the first cache line of each anew every time.
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

    var isFromClient: Bool { self == .open || self == .confirm || self == .request }
  }

  let slots: UnsafeMutablePointer<FrameSlot>
  let traffic: Traffic
  private let ring: UnsafeMutableRawPointer
  private let stride: Int
  private var place = 0
  private var time = start
  /// For UDP, then for TCP, one for each step.
  private let templates: UnsafeMutablePointer<FrameTemplate>
  private var next = 0
  /// Added to the number of each flow.
  private let first: UInt32

  init(options: EngineBenchOptions, flows: Int, first: Int, seed: UInt64) {
    self.first = UInt32(truncatingIfNeeded: first)
    traffic = Traffic(options: options, flows: flows, seed: seed)
    // An odd number of cache lines: at a power of two every frame's header would fall into the same few sets of the
    // first-level cache.
    let lines = (Int(traffic.lengths.max() ?? 0) + Forwarder.headroom + 63) / 64
    stride = (lines | 1) * 64
    ring = .allocate(byteCount: stride * Self.ringFrames, alignment: 64)
    memset(ring, 0, stride * Self.ringFrames)
    slots = .allocate(capacity: Self.burst)
    slots.initialize(
      repeating: FrameSlot(bytes: ring, length: 0, headroom: Forwarder.headroom, link: 0, time: 0), count: Self.burst)
    templates = .allocate(capacity: 2 * Step.allCases.count)
    for (index, kind) in [EngineBenchOptions.Kind.udp, .tcp].enumerated() {
      for step in Step.allCases {
        (templates + index * Step.allCases.count + step.rawValue).initialize(
          to: FrameTemplate(step, kind, options))
      }
    }
  }

  deinit {
    ring.deallocate()
    slots.deallocate()
    for index in 0..<2 * Step.allCases.count { templates[index].line.deallocate() }
    templates.deallocate()
  }

  /// The next burst of the mix.
  mutating func fillNext() {
    let (place, time) = advance()
    let bytes = ring + place &* stride + Forwarder.headroom
    let order = traffic.order.baseAddress! + next
    let lengths = traffic.lengths.baseAddress! + next
    let udpFlows = UInt32(truncatingIfNeeded: traffic.udpFlows)
    var index = 0
    while index < Self.burst {
      let flow = order[index] &>> 1
      let step = order[index] & 1 == 0 ? Step.request : Step.answer
      let template = templates + (flow < udpFlows ? 0 : Step.allCases.count) + step.rawValue
      template.pointee.write(
        flow: first &+ flow, length: UInt32(lengths[index]), to: bytes + index &* stride, slot: slots + index,
        time: time)
      index &+= 1
    }
    next &+= Self.burst
    if next == traffic.order.count { next = 0 }
  }

  /// One short frame each of the flows `flow..<flow + count`.
  mutating func fill(_ step: Step, from flow: Int, count: Int) {
    let (place, time) = advance()
    let bytes = ring + place &* stride + Forwarder.headroom
    let length = UInt32(EngineBenchOptions.frameSizes.lowerBound)
    for index in 0..<count {
      let template = templates + (flow &+ index < traffic.udpFlows ? 0 : Step.allCases.count) + step.rawValue
      template.pointee.write(
        flow: first &+ UInt32(truncatingIfNeeded: flow &+ index), length: length, to: bytes + index &* stride,
        slot: slots + index, time: time)
    }
  }

  /// The ring goes on, and the engine's clock with it: 100 ns a frame.
  private mutating func advance() -> (place: Int, time: UInt64) {
    let begin = place
    place = place &+ Self.burst == Self.ringFrames ? 0 : place &+ Self.burst
    time &+= UInt64(Self.burst) &* 100
    return (begin, time)
  }
}
