import Engine
import PacketTestKit
import Testing

/// ICMP errors that the gateway makes itself (RFC 792, RFC 1122 3.2.2, RFC 1191, RFC 1812 4.3.2; CONTRACT "As a router").
@Suite struct MadeErrorTests {
  /// Every made error: from `source` to `destination` over `interface`, right in every field that the contract names.
  private func check(
    _ frame: TestGateway.Emitted?, type: UInt8, code: UInt8, from source: Host, to destination: Host,
    on interface: String,
    about packet: Packet, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let frame = try #require(frame, sourceLocation: sourceLocation)
    let ip = try #require(frame.decoded.ip, sourceLocation: sourceLocation)
    let icmp = try #require(frame.decoded.icmp, sourceLocation: sourceLocation)
    #expect(frame.interface == interface, sourceLocation: sourceLocation)
    #expect(icmp.type == type && icmp.code == code, "\(frame.decoded)", sourceLocation: sourceLocation)
    #expect(ip.source == source && ip.destination == destination, "\(frame.decoded)", sourceLocation: sourceLocation)
    #expect(ip.ttl == 64 && ip.typeOfService == 0 && !ip.dontFragment, sourceLocation: sourceLocation)
    #expect(ip.totalLength <= 576 && frame.decoded.trailer == 0, sourceLocation: sourceLocation)
    #expect(frame.decoded.checksumProblems() == [], sourceLocation: sourceLocation)
    // The quote is the datagram as it came in, as much of it as fits into 576 bytes.
    let whole = packet.datagram
    #expect(icmp.payload == Array(whole.prefix(576 - 28)), sourceLocation: sourceLocation)
  }

  @Test(arguments: [0, 1] as [UInt8])
  func `F10 TTL 0 or 1 on arrival: time exceeded to the sender, from both sides, and no session`(ttl: UInt8) throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.both, ports: "80", to: "192.168.1.10") }))
    let inward = Packet.tcp(client, Peer(wan, 80), .syn) { $0.ip.ttl = ttl }
    let outside = gateway.receive(inward, on: "wan").expectDropAnswered(.ttlExceeded)
    try check(outside, type: 11, code: 0, from: wan, to: client.host, on: "wan", about: inward)
    #expect(outside?.decoded.ethernet?.destination == .of("203.0.113.254"))
    let outward = Packet.udp("192.168.1.10:4000", client) { $0.ip.ttl = ttl }
    let inside = gateway.receive(outward, on: "lan").expectDropAnswered(.ttlExceeded)
    try check(inside, type: 11, code: 0, from: "192.168.1.1", to: server, on: "lan", about: outward)
    #expect(gateway.sessionCounts.created == 0 && gateway.count(of: .errorSent) == 2)
  }

  @Test(arguments: [2, 64, 255] as [UInt8])
  func `F10 TTL goes down by one`(ttl: UInt8) throws {
    let gateway = try TestGateway(.masqueraded())
    let out = Packet.udp("192.168.1.10:4000", client) { $0.ip.ttl = ttl }
    gateway.receive(out, on: "lan").expectForward(out.translated(from: "203.0.113.1:4000"), on: "wan")
  }

  @Test func `F10 time runs out on a live session too`() throws {
    let gateway = try TestGateway(.masqueraded())
    let out = Packet.udp("192.168.1.10:4000", client, String(repeating: "x", count: 900))
    gateway.receive(out, on: "lan").expect(.forward)
    let dying = out.with { $0.ip.ttl = 1 }
    let error = gateway.receive(dying, on: "lan").expectDropAnswered(.ttlExceeded)
    try check(error, type: 11, code: 0, from: "192.168.1.1", to: server, on: "lan", about: dying)
    #expect(error?.decoded.ip?.totalLength == 576)
  }

  @Test func `F5 too big with DF: fragmentation needed, quoting what was sent and saying the MTU`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.change("wan") { $0.mtu = 1280 }
        $0.forward(.both, ports: "80", to: "192.168.1.10")
      }))
    for payload in [1253, 1400] {
      let out = Packet.udp("192.168.1.10:4000", client, String(repeating: "x", count: payload))
      let error = gateway.receive(out, on: "lan").expectDropAnswered(.fragmentationNeeded)
      try check(error, type: 3, code: 4, from: "192.168.1.1", to: server, on: "lan", about: out)
      #expect(error?.decoded.icmp?.rest == 1280)
    }
    #expect(gateway.sessionCounts.created == 0)
    let fits = Packet.udp("192.168.1.10:4000", client, String(repeating: "x", count: 1252))
    gateway.receive(fits, on: "lan").expectForward(fits.translated(from: "203.0.113.1:4000"), on: "wan")
    // And on the session that lives now.
    let large = Packet.udp("192.168.1.10:4000", client, String(repeating: "x", count: 1253))
    let error = gateway.receive(large, on: "lan").expectDropAnswered(.fragmentationNeeded)
    try check(error, type: 3, code: 4, from: "192.168.1.1", to: server, on: "lan", about: large)
  }

  @Test func `F6 too big without DF: fragments, in order, that make the translated datagram again`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.change("wan") { $0.mtu = 576 } }))
    let out = Packet.udp("192.168.1.10:4000", client, (0..<1400).map { "\($0 % 10)" }.joined()) {
      $0.ip.dontFragment = false
      $0.ip.identification = 0x4242
    }
    let outcome = gateway.receive(out, on: "lan")
    outcome.expect(.split)
    let expected = out.translated(from: "203.0.113.1:4000")
    var body: [UInt8] = []
    for (index, frame) in outcome.made.enumerated() {
      let ip = try #require(frame.decoded.ip)
      #expect(frame.interface == "wan" && ip.totalLength <= 576 && frame.decoded.checksumProblems().isEmpty)
      #expect(Int(ip.fragmentOffset) * 8 == body.count && ip.moreFragments == (index < outcome.made.count - 1))
      #expect(ip.source == wan && ip.destination == client.host && ip.ttl == 63 && ip.identification == 0x4242)
      body += frame.bytes[frame.decoded.body]
    }
    #expect(body == Array(expected.datagram.dropFirst(20)))
    #expect(gateway.counts("lan").forwarded == 1 && gateway.counts("lan").received == 1)
  }

  @Test func `A11 errors are limited to 50 a second and a burst of 100 for each destination`() throws {
    let gateway = try TestGateway(.masqueraded())
    func errors(_ count: Int, from host: Host, at time: Double) -> Int {
      (0..<count).reduce(0) { sum, _ in
        let dying = Packet.udp(Peer(host, 4000), client) { $0.ip.ttl = 1 }
        return sum + gateway.receive(dying, on: "lan", at: time).made.count
      }
    }
    #expect(errors(150, from: server, at: 0) == 100)
    #expect(gateway.count(of: .errorLimited) == 50)
    #expect(errors(5, from: neighbor, at: 0) == 5, "another destination has its own allowance")
    #expect(errors(80, from: server, at: 1) == 50)
    #expect(errors(300, from: server, at: 10) == 100)
  }

  @Test func `no route: 3/0 to inside senders`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.change("wan") { $0.gateways = [] } }))
    let out = Packet.udp("192.168.1.10:4000", client)
    let error = gateway.receive(out, on: "lan").expectDropAnswered(.noRoute)
    try check(error, type: 3, code: 0, from: "192.168.1.1", to: server, on: "lan", about: out)
  }

  @Test func `I12 no error about an error, a later fragment, or a group address`() throws {
    let gateway = try TestGateway(.masqueraded())
    let out = Packet.udp("192.168.1.10:4000", client)
    gateway.receive(out, on: "lan").expect(.forward)
    let error = Packet.icmpError(
      type: 3, code: 3, from: client.host, to: wan, about: out.translated(from: "203.0.113.1:4000")
    ) { $0.ip.ttl = 1 }
    let probes: [(Packet, String)] = [
      (error, "wan"),
      (
        out.with {
          $0.ip.ttl = 1; $0.ip.dontFragment = false; $0.ip.fragmentOffset = 100
        }, "lan"
      ),
      (.udp("192.168.1.10:4000", "224.0.0.251:5353") { $0.ip.ttl = 1 }, "lan"),
      (
        .udp("192.168.1.10:4000", "255.255.255.255:67") {
          $0.ip.ttl = 1; $0.ethernet.destination = .broadcast
        }, "lan"
      ),
      (
        .udp("0.0.0.0:68", client) {
          $0.ip.ttl = 1; $0.ethernet.source = .of(server)
        }, "lan"
      ),
      (
        out.with {
          $0.ip.ttl = 1; $0.ethernet.destination = .broadcast
        }, "lan"
      ),
    ]
    for (packet, interface) in probes {
      let outcome = gateway.receive(packet, on: interface)
      outcome.expect(.drop)
      #expect(outcome.made.isEmpty, "\(packet.ip)")
    }
  }

  @Test func `A13 what has no forward is answered with nothing`() throws {
    let gateway = try TestGateway(.masqueraded())
    gateway.receive(.tcp(client, Peer(wan, 80), .syn), on: "wan").expectDrop(.noForward)
    gateway.receive(.udp(client, Peer(wan, 80)), on: "wan").expectDrop(.noForward)
    gateway.advance(to: 60)
    #expect(gateway.totals.generated == 0)
  }
}
