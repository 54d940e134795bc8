import PacketTestKit
import Testing

@testable import Engine

/// Where the peers of a mapping are counted: see `Permits.swift`. That filtering lets in the right ones is in
/// `MasqueradeTests`, that several workers count rightly in `StressTests`.
@Suite struct PermitTests {
  private typealias Packet = PacketTestKit.Packet

  private let inside: Peer = "192.168.1.10:4000"

  private func send(_ gateway: TestGateway, to peer: Peer, at time: Double? = nil) {
    gateway.receive(.udp(inside, peer), on: "lan", at: time).expect(.forward)
  }

  private func expect(_ gateway: TestGateway, _ peer: Peer, passes: Bool, at time: Double? = nil) {
    let outcome = gateway.receive(.udp(peer, Peer(wan, inside.port)), on: "wan", at: time)
    if passes { outcome.expect(.forward) } else { outcome.expectDrop(.filtered) }
  }

  @Test func `U2 a mapping's first peer takes no place of its own, each further one takes one`() throws {
    let gateway = try TestGateway(.masqueraded())
    for (peer, permits): (Peer, Int) in [
      ("198.51.100.7:1", 0), ("198.51.100.7:2", 0), ("198.51.100.8:1", 1), ("198.51.100.8:2", 1),
      ("198.51.100.9:1", 2),
    ] {
      send(gateway, to: peer)
      #expect(gateway.use.mappings == 1 && gateway.use.permits == permits)
    }
    for peer: Peer in ["198.51.100.7:9", "198.51.100.8:9", "198.51.100.9:9"] { expect(gateway, peer, passes: true) }
    expect(gateway, "198.51.100.10:9", passes: false)
    gateway.advance(to: 100_000)
    #expect(gateway.use.sessions == 0 && gateway.use.mappings == 0 && gateway.use.permits == 0)
  }

  @Test func `U2 a first peer that is gone is let in no more, the others are, a new one takes its room`() throws {
    let gateway = try TestGateway(.masqueraded())
    send(gateway, to: "198.51.100.7:1", at: 0)
    send(gateway, to: "198.51.100.8:1", at: 0)
    var time = 0.0
    // One of both goes on beyond every timeout.
    while time < 1000 {
      time += 20
      send(gateway, to: "198.51.100.8:1", at: time)
    }
    expect(gateway, "198.51.100.7:9", passes: false)
    #expect(gateway.use.mappings == 1 && gateway.use.permits == 1)
    send(gateway, to: "198.51.100.9:1")
    #expect(gateway.use.permits == 1)
    send(gateway, to: "198.51.100.7:1")
    #expect(gateway.use.permits == 2)
    for peer: Peer in ["198.51.100.7:9", "198.51.100.8:99", "198.51.100.9:9"] { expect(gateway, peer, passes: true) }
  }

  @Test func `P2 a full table: every session may have a peer of its own, or a mapping of its own`() throws {
    for sharesMapping in [true, false] {
      let gateway = try TestGateway(.masqueraded(more: { $0.sessions = 200 }))
      func packet(_ number: Int, _ port: Int) -> Packet {
        .udp(
          Peer("192.168.1.10", UInt16(sharesMapping ? 4000 : port + number)),
          Peer(Host("198.18.0.1").advanced(by: port + number), 53))
      }
      for number in 0..<200 { gateway.receive(packet(number, 4000), on: "lan", at: 0).expect(.forward) }
      #expect(gateway.use.sessions == 200 && gateway.use.mappings + gateway.use.permits == 200)
      #expect(gateway.use.mappings == (sharesMapping ? 1 : 200) && gateway.use.fill == 100)
      gateway.receive(packet(200, 4000), on: "lan", at: 1)
      #expect(gateway.drops(.tableFull) == 1)
      // When they are over, however long nobody has swept, there is room for as many others.
      for number in 0..<200 { gateway.receive(packet(number, 9000), on: "lan", at: 5000).expect(.forward) }
    }
  }
}
