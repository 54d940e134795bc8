import Engine
import PacketTestKit
import Testing

/// F13, A8, A21: addresses that cannot be where they are (RFC 1812 5.3.7, RFC 6890; CONTRACT "Martian").
@Suite struct MartianTests {
  private func gateway() throws -> TestGateway {
    try TestGateway(
      .masqueraded(more: {
        $0.interface("dmz", .inside, "10.1.0.1/16", mac: "02:00:00:00:04:01")
        $0.forward(.both, ports: "80", to: "192.168.1.10")
      }))
  }

  private static let never: [Host] = [
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.1.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255",
  ]

  @Test(arguments: never)
  func `F13 sources that are never forwarded, from either side`(source: Host) throws {
    let gateway = try gateway()
    gateway.receive(.udp(Peer(source, 4000), Peer(wan, 80)) { $0.ethernet.source = "02:0a:00:00:00:01" }, on: "wan")
      .expectDrop(.martian)
    gateway.receive(.udp(Peer(source, 4000), client) { $0.ethernet.source = "02:0a:00:00:00:01" }, on: "lan")
      .expectDrop(.martian)
  }

  @Test(arguments: ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "240.0.0.1"] as [Host])
  func `F13 destinations that are never forwarded`(destination: Host) throws {
    try gateway().receive(.udp("192.168.1.10:4000", Peer(destination, 80)), on: "lan").expectDrop(.martian)
  }

  @Test func `F13 broadcast and multicast destinations do not leave`() throws {
    let gateway = try gateway()
    for destination: Host in ["255.255.255.255", "224.0.0.251", "239.1.1.1"] {
      gateway.receive(.udp("192.168.1.10:4000", Peer(destination, 80)), on: "lan").expect(.drop)
    }
    #expect(gateway.live == 0)
  }

  @Test(arguments: ["203.0.113.1", "192.168.1.1"] as [Host])
  func `F13 our own address as a source`(own: Host) throws {
    let gateway = try gateway()
    gateway.receive(.udp(Peer(own, 4000), Peer(wan, 80)), on: "wan").expectDrop(.martian)
    gateway.receive(.udp(Peer(own, 4000), client) { $0.ethernet.source = .of(server) }, on: "lan").expectDrop(.martian)
  }

  @Test func `A8 land: source and destination are one`() throws {
    let gateway = try gateway()
    gateway.receive(.tcp("203.0.113.1:80", "203.0.113.1:80", .syn), on: "wan").expectDrop(.martian)
    gateway.receive(.tcp("198.51.100.7:80", "198.51.100.7:80", .syn) { $0.ethernet.source = .of(server) }, on: "lan")
      .expectDrop(.martian)
    gateway.receive(.tcp("192.168.1.10:80", "192.168.1.10:80", .syn), on: "lan").expectDrop(.martian)
  }

  @Test func `a source whose route leads to another role`() throws {
    let gateway = try gateway()
    gateway.receive(.tcp("192.168.1.50:1000", Peer(wan, 80), .syn), on: "wan").expectDrop(.martian)
    gateway.receive(.tcp("10.1.2.3:1000", Peer(wan, 80), .syn), on: "wan").expectDrop(.martian)
    gateway.receive(.udp("198.51.100.50:1000", client) { $0.ethernet.source = .of(server) }, on: "lan")
      .expectDrop(.martian)
  }

  @Test func `from inside, a source whose route leads to another interface`() throws {
    let gateway = try gateway()
    gateway.receive(.udp("10.1.2.3:1000", client) { $0.ethernet.source = .of(server) }, on: "lan").expectDrop(.martian)
    gateway.receive(.udp("192.168.1.10:1000", client), on: "dmz").expectDrop(.martian)
  }

  @Test func `a martian on a live session's five-tuple is still one`() throws {
    let gateway = try gateway()
    let out = Packet.udp("192.168.1.10:4000", client)
    gateway.receive(out, on: "lan").expect(.forward)
    gateway.receive(out, on: "dmz").expectDrop(.martian)
  }

  @Test func `a source behind a static route is no martian`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.route("10.9.0.0/16", via: "192.168.1.12") }))
    let out = Packet.udp("10.9.1.1:4000", client)
    gateway.receive(out, on: "lan").expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
    let back = Packet.udp(client, "203.0.113.1:4000")
    gateway.receive(back, on: "wan").expectForward(back.translated(to: "10.9.1.1:4000"), on: "lan")
  }
}
