import PacketTestKit
import Testing

@testable import Engine

/// Generations of rules are 16 bits: what happens when they come round.
@Suite struct GenerationTests {
  @Test(arguments: [1 << 14, 1 << 15, 1 << 16])
  func `P8 generations come round: what is kept stays, and what was cut before does not come back`(
    turn: Int
  ) throws {
    let plan = Plan.home {
      $0.sessions = 16
      $0.forward("kept", .udp, ports: "8000", to: "192.168.1.10")
      $0.forward("cut", .udp, ports: "8001", to: "192.168.1.10")
    }
    var forwarder = try Forwarder(plan: plan, links: [[0], [1]], seed: 0, clock: 0)
    forwarder.core.pointee.generation = UInt16(turn - 2)
    let packets = [8000, 8001].map {
      TestGateway.frame(PacketTestKit.Packet.udp(client, Peer(wan, UInt16($0))), to: plan.interfaces[0])
    }
    for packet in packets { #expect(Self.verdict(packet, &forwarder) == .forward) }
    var less = plan
    less.forwards.removeLast()
    // Nobody looks at the sessions meanwhile.
    for next in [less, less, less, less, plan] { try forwarder.replace(Rules(next)).release() }
    #expect(forwarder.core.pointee.generation == UInt16(truncatingIfNeeded: turn + 3))
    let kept = forwarder.sessions(limit: 9)
    #expect(kept.map(\.original.destination.port) == [8000])
    #expect(Self.verdict(packets[0], &forwarder) == .forward)
    #expect(forwarder.sessions(limit: 9)[0].original.packets == 2)
  }

  private static func verdict(_ bytes: [UInt8], _ forwarder: inout Forwarder) -> Verdict {
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: Forwarder.headroom + bytes.count, alignment: 64)
    defer { buffer.deallocate() }
    (buffer + Forwarder.headroom).copyMemory(from: bytes, byteCount: bytes.count)
    var slot = FrameSlot(
      bytes: buffer + Forwarder.headroom, length: bytes.count, headroom: Forwarder.headroom, link: 0, time: 1)
    forwarder.process(&slot, count: 1)
    return slot.verdict
  }
}

extension TestGateway {
  fileprivate static func frame(_ packet: PacketTestKit.Packet, to interface: InterfacePlan) -> [UInt8] {
    packet.with {
      $0.ethernet.destination = interface.mac.map(Station.init(planned:))
      $0.ethernet.source = .of("203.0.113.254")
    }.bytes
  }
}
