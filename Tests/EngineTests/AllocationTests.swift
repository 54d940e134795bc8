import CAllocationCount
import Engine
import PacketTestKit
import Testing

/// A packet of an established session allocates nothing (DESIGN section 2): counted, not believed.
@Suite(.enabled(if: sluice_counts_allocations(), "a sanitizer has its own allocator"))
struct AllocationTests {
  /// Frames of established sessions that lie ready for the engine again and again.
  ///
  /// No class, array or closure is touched in `run`, so what is counted there is the engine's.
  private struct Rig: ~Copyable {
    static let burst = 32
    static let stride = 256
    var forwarder: Forwarder
    let slots = UnsafeMutablePointer<FrameSlot>.allocate(capacity: burst)
    let ring = UnsafeMutableRawPointer.allocate(byteCount: burst * stride, alignment: 64)
    let templates = UnsafeMutableRawPointer.allocate(byteCount: burst * stride, alignment: 64)
    var time = TestGateway.epoch

    init(_ forwarder: consuming Forwarder, frames: [(bytes: [UInt8], link: Int)]) {
      self.forwarder = forwarder
      load(frames)
    }

    /// Puts 32 frames in, with the link that each comes in by.
    func load(_ frames: [(bytes: [UInt8], link: Int)]) {
      for (index, frame) in frames.enumerated() {
        (templates + index * Self.stride + 64).copyMemory(from: frame.bytes, byteCount: frame.bytes.count)
        (slots + index).initialize(
          to: FrameSlot(
            bytes: ring + index * Self.stride + 64, length: frame.bytes.count, headroom: Forwarder.headroom,
            link: frame.link, time: time))
      }
    }

    deinit {
      slots.deallocate()
      ring.deallocate()
      templates.deallocate()
    }

    /// Sends the 32 frames `rounds` times.
    ///
    /// - Returns: how many were forwarded.
    mutating func run(rounds: Int) -> Int {
      var forwarded = 0
      var round = 0
      while round < rounds {
        ring.copyMemory(from: templates, byteCount: Self.burst * Self.stride)
        time &+= 100_000
        var index = 0
        while index < Self.burst {
          slots[index].bytes = ring + (index &* Self.stride &+ 64)
          slots[index].time = time
          slots[index].verdict = .none
          index &+= 1
        }
        forwarder.process(slots, count: Self.burst)
        index = 0
        while index < Self.burst {
          if slots[index].verdict == .forward { forwarded &+= 1 }
          index &+= 1
        }
        round &+= 1
      }
      return forwarded
    }
  }

  /// Sixteen clients of one forward, each with a frame in either direction: the SYNs of a connection, or its data.
  private func frames(udp: Bool, opening: Bool) throws -> [(bytes: [UInt8], link: Int)] {
    let gateway = try TestGateway(Self.plan)
    return (0..<16).flatMap { index -> [(bytes: [UInt8], link: Int)] in
      let peer = Peer("198.51.100.7", UInt16(40000 + index))
      let outside = Peer(wan, 8080)
      let inside: Peer = "192.168.1.10:80"
      let (inward, outward): (Packet, Packet) =
        switch (udp, opening) {
        case (true, _): (.udp(peer, outside), .udp(inside, peer))
        case (false, true):
          (
            .tcp(peer, outside, .syn, sequence: 1000),
            .tcp(inside, peer, [.syn, .ack], sequence: 5000, acknowledgment: 1001)
          )
        case (false, false):
          (
            .tcp(peer, outside, .ack, sequence: 1001, acknowledgment: 5001, "data"),
            .tcp(inside, peer, .ack, sequence: 5001, acknowledgment: 1001, "data")
          )
        }
      return [(gateway.addressed(inward, on: "wan").bytes, 0), (gateway.addressed(outward, on: "lan").bytes, 1)]
    }
  }

  private static let plan = Plan.home { $0.forward(.both, ports: "8080", to: "192.168.1.10:80") }

  @Test(arguments: [true, false])
  func `a million packets of established sessions make no allocation`(udp: Bool) throws {
    let forwarder = try Forwarder(plan: Self.plan, links: [[0], [1]], seed: 0, clock: TestGateway.epoch)
    var rig = Rig(forwarder, frames: try frames(udp: udp, opening: true))
    try #require(rig.run(rounds: 1) == 32)
    rig.load(try frames(udp: udp, opening: false))
    try #require(rig.run(rounds: 2) == 64)
    let before = sluice_allocation_count()
    let forwarded = rig.run(rounds: 31_250)
    let allocations = sluice_allocation_count() - before
    #expect(forwarded == 1_000_000)
    #expect(allocations == 0)
  }

  @Test func `the counter sees one allocation when there is one, and the frees of others not at all`() {
    let before = sluice_allocation_count()
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 48, alignment: 16)
    let after = sluice_allocation_count()
    memory.deallocate()
    #expect(after == before + 1)
    #expect(sluice_allocation_count() >= after)
    let beforeArray = sluice_allocation_count()
    let array = [UInt8](repeating: 1, count: Int(before & 1) + 4096)
    #expect(sluice_allocation_count() > beforeArray && array.count >= 4096)
  }
}
