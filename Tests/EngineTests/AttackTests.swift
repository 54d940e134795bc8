import Engine
import PacketTestKit
import Testing

/// Attacks that need several steps (REQUIREMENTS section 4).
@Suite struct AttackTests {
  @Test func `A4 a neighbour does not get a port by resetting its owner's connection`() throws {
    let gateway = try TestGateway(.masqueraded())
    let talk = TCPTalk.outward(gateway)
    talk.open()
    let thief = Packet.tcp("192.168.1.11:5000", talk.outside, .syn)
    // Before, right after a RST that fits, at the end of the time that the session stays, and after what follows it.
    for time in [0.0, 1, 200, 239] {
      if time == 1 { talk.send(.outside, .rst, at: 1) }
      let outcome = gateway.receive(thief, on: "lan", at: time)
      #expect(outcome.forwarded?.decoded.source?.port != 5000, "at \(time) s")
    }
    talk.send(.outside, .ack, "still for the owner", at: 239)
    talk.send(.inside, .ack, "who answers", at: 240)
    #expect(gateway.receive(thief, on: "lan", at: 5000).forwarded?.decoded.source?.port != 5000)
  }

  @Test func `A12 what an inside host sends to an outside address without a mapping does not come back to us`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.udp, ports: "8080", to: "192.168.1.10:80") }))
    gateway.receive(.udp("192.168.1.10:4000", Peer(wan, 9999)), on: "lan").expectDrop(.toUs)
    gateway.receive(.tcp("192.168.1.10:4000", Peer(wan, 9999), .syn), on: "lan").expectDrop(.toUs)
    // A host that is its own forward's target: each pass costs a hop, so nothing turns for ever.
    var packet = Packet.udp("192.168.1.10:80", Peer(wan, 8080)) { $0.ip.ttl = 3 }
    for left in [2, 1] as [UInt8] {
      let outcome = gateway.receive(packet, on: "lan")
      #expect(outcome.forwarded?.decoded.ip?.ttl == left && outcome.made.isEmpty)
      packet.ip.ttl = left
    }
    gateway.receive(packet, on: "lan").expect(.drop)
  }
}
