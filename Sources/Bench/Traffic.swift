import Glibc

/// Which flow comes when, which way and how long: settled beforehand and read in order, so that neither random numbers nor
/// a second table of flows stand between the engine and its caches.
struct Traffic: ~Copyable {
  let flows: Int
  /// Flows from 0 up to this are UDP, the others TCP.
  let udpFlows: Int
  /// `flow << 1 | isAnswer` for each frame to come, over and over; a whole number of bursts.
  let order: UnsafeMutableBufferPointer<UInt32>
  /// Bytes of each frame.
  let lengths: UnsafeMutableBufferPointer<UInt16>

  init(options: EngineBenchOptions, flows: Int, seed: UInt64) {
    if let capture = options.capture {
      self.init(capture)
    } else {
      self.init(options: options, generated: flows, seed: seed)
    }
  }

  deinit {
    order.deallocate()
    lengths.deallocate()
  }

  private init(_ capture: CaptureMix) {
    flows = capture.flows
    udpFlows = capture.udpFlows
    // Repeated until whole bursts come out.
    var count = capture.frames.count
    while count % Generator.burst != 0 { count += capture.frames.count }
    order = .allocate(capacity: count)
    lengths = .allocate(capacity: count)
    for index in 0..<count {
      let frame = capture.frames[index % capture.frames.count]
      order.initializeElement(at: index, to: UInt32(frame.flow << 1 | (frame.isAnswer ? 1 : 0)))
      lengths.initializeElement(at: index, to: UInt16(frame.bytes))
    }
  }

  /// Four frames a flow where that is affordable, so that the caches see the mix and not a short loop.
  private init(options: EngineBenchOptions, generated flows: Int, seed: UInt64) {
    self.flows = flows
    udpFlows = options.kind == .udp ? flows : 0
    var count = 1 << 20
    while count < flows * 4, count < 1 << 24 { count *= 2 }
    order = .allocate(capacity: count)
    lengths = .allocate(capacity: count)
    lengths.initialize(repeating: UInt16(options.frameBytes))
    var random = SplitMix(state: seed)
    let logarithm = log(Double(flows) + 1)
    for index in 0..<count {
      let draw = random.next()
      let flow: Int
      switch options.mix {
      case .uniform: flow = Int(truncatingIfNeeded: draw.multipliedFullWidth(by: UInt64(flows)).high)
      case .zipf:
        // Rank k with probability ln(1 + 1/k) / ln(n + 1), which is Zipf's 1/k. The prime spreads the ranks over the
        // order in which the sessions were made.
        let rank = min(flows - 1, Int(exp(Double(draw >> 11) / Double(1 << 53) * logarithm)) - 1)
        flow = rank * 2_654_435_761 % flows
      }
      order.initializeElement(at: index, to: UInt32(truncatingIfNeeded: flow << 1 | index & 1))
    }
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
