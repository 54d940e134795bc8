import Engine

/// Frames of any bytes through a gateway, with whatever the kernel may say about them, in bursts and over time.
///
/// An input is a list of frames: a byte that says what comes, the frame's length, its bytes.
enum FrameTarget {
  private static let plan = Stage.plan()
  private static let longest = 1600

  static func play(_ input: Input) -> CInt {
    var input = input
    guard var forwarder = try? Forwarder(plan: plan, links: Stage.links, seed: 1, clock: Stage.epoch) else {
      fatalError("no forwarder")
    }
    var time = Stage.epoch
    var burst: [Arrival] = []
    while !input.isEmpty {
      let how = input.byte()
      burst.append(arrival(how, &input))
      guard how & 0x80 == 0 || input.isEmpty else { continue }
      judge(&forwarder, burst, at: time)
      burst = []
      time += [0, 1, 100, 10_000][Int(how >> 3 & 3)] * 10_000_000
      if how & 0x18 != 0 {
        forwarder.advance(to: time)
        for frame in forwarder.outbox { check(frame.bytes, frame.length, frame.egress) }
      }
    }
    end(&forwarder, time)
    return 0
  }

  /// Bits of `how`: 0-1 kind, 2 link, 3-4 time that passes, 5 what the kernel says of it, 6 the tag it took off, 7 more of
  /// this burst follows.
  private static func arrival(_ how: UInt8, _ input: inout Input) -> Arrival {
    let link = Int(how >> 2 & 1)
    var arrival = Arrival(bytes: [], link: link)
    if how & 0x20 != 0 {
      arrival.offload.flags = input.byte()
      arrival.offload.segmentation = input.byte()
      arrival.offload.headerLength = input.number()
      arrival.offload.segmentSize = input.number()
      arrival.offload.checksumStart = input.number()
      arrival.offload.checksumOffset = input.number()
    }
    if how & 0x40 != 0 { arrival.tag = input.number() }
    let count = Int(input.number(UInt16.self)) % (longest + 1)
    let bytes = Array(input.bytes(count))
    if how & 3 == 0 {
      arrival.bytes = bytes
      return arrival
    }
    // An IPv4 datagram for us, with its length (2, 3) and its checksums (3) put right: most bytes then matter deep inside.
    var datagram = Datagram(bytes: bytes)
    if how & 2 != 0, bytes.count >= 20 {
      datagram.bytes.replaceSubrange(2..<4, with: Datagram.two(bytes.count))
      datagram.seal(transport: how & 1 != 0)
    }
    arrival.bytes = datagram.frame(to: Stage.stations[link])
    return arrival
  }

  private static func judge(_ forwarder: inout Forwarder, _ burst: [Arrival], at time: UInt64) {
    forwarder.play(burst, at: time) { forwarder, slots in
      for (index, arrival) in burst.enumerated() {
        let slot = slots[index]
        require(slot.verdict != .none && slot.verdict != .pass, "no verdict")
        require((slot.verdict == .drop) == (slot.reason != .none), "\(slot.verdict) for \(slot.reason)")
        if slot.verdict == .forward {
          require(Int(slot.length) <= arrival.bytes.count + Forwarder.headroom, "it grew to \(slot.length) bytes")
          check(slot.bytes, slot.length, slot.egress, of: arrival)
        }
      }
      for frame in forwarder.outbox { check(frame.bytes, frame.length, frame.egress) }
    }
    for interface in 0..<forwarder.interfaceCount {
      let counts = forwarder.counts(interface: interface)
      require(
        counts.received == counts.forwarded + counts.dropped + counts.consumed + counts.passed + counts.held,
        "conservation: \(counts)")
    }
  }

  /// What leaves: by a link of ours, from the masquerade if it leaves outside (G3), and as right as it came in (G1).
  private static func check(
    _ start: UnsafeMutableRawPointer, _ length: UInt32, _ egress: UInt16, of arrival: Arrival? = nil
  ) {
    require(Int(egress) < Stage.links.count, "it leaves by link \(egress)")
    let bytes = Array(UnsafeRawBufferPointer(start: start, count: Int(length)))
    require(bytes.count >= 14 && bytes[6..<12].elementsEqual(Stage.stations[Int(egress)]), "its link header is wrong")
    guard bytes[12] == 8, bytes[13] == 0 else { return }
    let left = Datagram(bytes: Array(bytes[14...]))
    require(left.hasRightHeader, "its header is wrong: \(left.bytes)")
    require(Int(egress) == Stage.lan || left.bytes[12] != 192, "an inside address leaves: \(left.bytes)")
    guard let arrival, arrival.offload == OffloadHeader(), arrival.tag == 0, arrival.bytes[12] == 8 else { return }
    let came = Datagram(bytes: Array(arrival.bytes[14...]))
    require(!came.hasRightTransport || left.hasRightTransport, "right came in \(came.bytes), wrong left \(left.bytes)")
  }

  /// Everything ends: no session, nothing held (G7).
  private static func end(_ forwarder: inout Forwarder, _ time: UInt64) {
    forwarder.advance(to: time + 20_000 * Stage.second)
    require(forwarder.sessionCounts.live == 0, "\(forwarder.sessionCounts.live) sessions do not end")
    for interface in 0..<forwarder.interfaceCount {
      require(forwarder.counts(interface: interface).held == 0, "frames are held for ever")
    }
  }
}
