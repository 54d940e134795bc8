import Engine
import PacketTestKit
import Testing

/// CONTRACT, "[[forward]]", "Ports of a forward" and "Which traffic may pass".
@Suite struct ForwardTests {
  /// Client to `wan:port`, expected at `target`, and the answer back to the client.
  private func roundTrip(
    _ gateway: TestGateway, port: UInt16, to target: Peer, seenAs source: Peer = client, udp: Bool = false,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let there: Packet = udp ? .udp(client, Peer(wan, port)) : .tcp(client, Peer(wan, port), .syn)
    let here = there.translated(from: source, to: target)
    gateway.receive(there, on: "wan", sourceLocation: sourceLocation)
      .expectForward(here, on: "lan", sourceLocation: sourceLocation)
    let answer: Packet = udp ? .udp(target, source) : .tcp(target, source, [.syn, .ack], acknowledgment: 1001)
    gateway.receive(answer, on: "lan", sourceLocation: sourceLocation)
      .expectForward(
        answer.translated(from: Peer(wan, port), to: client), on: "wan", sourceLocation: sourceLocation)
  }

  @Test(arguments: [false, true])
  func `one port, TCP and UDP, there and back, byte for byte`(udp: Bool) throws {
    let gateway = try TestGateway(.home { $0.forward(.both, ports: "8080", to: "192.168.1.10:80") })
    roundTrip(gateway, port: 8080, to: "192.168.1.10:80", udp: udp)
    #expect(gateway.live == 1)
  }

  @Test func `a list with ranges goes to the same ports, its neighbours nowhere`() throws {
    let gateway = try TestGateway(.home { $0.forward(ports: "8840, 8820, 8810-8815", to: "192.168.1.10") })
    for port in [8840, 8820] + Array(8810...8815) {
      roundTrip(gateway, port: UInt16(port), to: Peer(server, UInt16(port)))
    }
    for port: UInt16 in [8839, 8841, 8819, 8821, 8809, 8816, 1, 65535] {
      gateway.receive(.tcp(client, Peer(wan, port), .syn), on: "wan").expectDrop(.noForward)
    }
  }

  @Test func `the k-th port as written goes to the k-th target port`() throws {
    let gateway = try TestGateway(
      .home { $0.forward(ports: "8840, 8820, 8810-8815", to: "192.168.1.10:9810-9817") })
    for (index, port) in ([8840, 8820] + Array(8810...8815)).enumerated() {
      roundTrip(gateway, port: UInt16(port), to: Peer(server, UInt16(9810 + index)))
    }
  }

  @Test func `many ports to one: a taken reply tuple costs the client's port, which is counted`() throws {
    let gateway = try TestGateway(.home { $0.forward(ports: "8000-8003", to: "192.168.1.10:9090") })
    roundTrip(gateway, port: 8000, to: "192.168.1.10:9090")
    #expect(gateway.count(of: .portChanged) == 0)

    let second = Packet.tcp(client, Peer(wan, 8001), .syn)
    let outcome = gateway.receive(second, on: "wan")
    let changed = try #require(outcome.forwarded?.decoded.source)
    #expect(changed.host == client.host && changed.port != client.port && changed.port >= 1024)
    outcome.expectForward(second.translated(from: changed, to: "192.168.1.10:9090"), on: "lan")
    #expect(gateway.count(of: .portChanged) == 1)

    let answer = Packet.tcp("192.168.1.10:9090", changed, [.syn, .ack])
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 8001), to: client), on: "wan")
  }

  @Test func `a whole host but its exceptions, and a narrower forward wins`() throws {
    let gateway = try TestGateway(
      .home {
        $0.forward("host", .any, ports: "all", except: "22, 500-510", to: "192.168.1.10")
        $0.forward("web", .tcp, ports: "80", to: "192.168.1.11:8080")
      })
    for port: UInt16 in [1, 21, 23, 499, 511, 443, 65535] { roundTrip(gateway, port: port, to: Peer(server, port)) }
    roundTrip(gateway, port: 80, to: "192.168.1.11:8080")
    roundTrip(gateway, port: 80, to: "192.168.1.10:80", udp: true)
    for port: UInt16 in [22, 500, 505, 510] {
      gateway.receive(.tcp(client, Peer(wan, port), .syn), on: "wan").expectDrop(.noForward)
    }
  }

  @Test func `a whole host with protocol any takes echo too`() throws {
    let gateway = try TestGateway(.home { $0.forward(.any, ports: "all", to: "192.168.1.10") })
    let ping = Packet.ping(client, wan)
    gateway.receive(ping, on: "wan").expectForward(ping.translated(to: "192.168.1.10"), on: "lan")
    let pong = Packet.pong(server, client)
    let back = pong.with {
      $0.ip.ttl -= 1
      $0.ip.source = wan
    }
    gateway.receive(pong, on: "lan").expectForward(back, on: "wan")
  }

  @Test func `external names one address of the prefix and ARP is answered for it`() throws {
    let gateway = try TestGateway(
      .home { $0.forward(ports: "80", to: "192.168.1.10", external: "203.0.113.5") })
    let there = Packet.tcp(client, "203.0.113.5:80", .syn)
    gateway.receive(there, on: "wan").expectForward(there.translated(to: "192.168.1.10:80"), on: "lan")
    gateway.receive(.tcp(client, Peer(wan, 80), .syn), on: "wan").expectDrop(.noForward)

    let router: Host = "203.0.113.254"
    let asked = gateway.receive(.arp(operation: 1, sender: .of(router), router, "203.0.113.5"), on: "wan")
    asked.expect(.consume)
    #expect(asked.made.first?.decoded.arp?.senderHost == "203.0.113.5")
  }

  @Test func `on takes every address of its interface`() throws {
    let gateway = try TestGateway(
      .home {
        $0.change("wan") { $0.addresses.append(IPv4Prefix("203.0.113.2/24")!) }
        $0.forward(ports: "80", to: "192.168.1.10")
      })
    for address: Peer in ["203.0.113.1:80", "203.0.113.2:80"] {
      let there = Packet.tcp(client, address, .syn) { $0.tcp.sourcePort = address.host == wan ? 1111 : 2222 }
      gateway.receive(there, on: "wan").expectForward(there.translated(to: "192.168.1.10:80"), on: "lan")
      let answer = Packet.tcp("192.168.1.10:80", Peer(client.host, there.tcp.sourcePort), [.syn, .ack])
      gateway.receive(answer, on: "lan").expectForward(answer.translated(from: address), on: "wan")
    }
  }

  @Test func `protocols are apart: TCP opens nothing for UDP`() throws {
    let gateway = try TestGateway(.home { $0.forward(.tcp, ports: "80", to: "192.168.1.10") })
    gateway.receive(.udp(client, Peer(wan, 80)), on: "wan").expectDrop(.noForward)
    roundTrip(gateway, port: 80, to: "192.168.1.10:80")
    gateway.receive(.udp(client, Peer(wan, 80)), on: "wan").expectDrop(.noForward)
  }

  @Test func `a disabled forward is none`() throws {
    let gateway = try TestGateway(.home { $0.forward(ports: "80", to: "192.168.1.10") { $0.isEnabled = false } })
    gateway.receive(.tcp(client, Peer(wan, 80), .syn), on: "wan").expectDrop(.noForward)
  }

  @Test func `allow admits, deny wins over it, and both see the client before translation`() throws {
    let gateway = try TestGateway(
      .home {
        $0.forward(ports: "80", to: "192.168.1.10") {
          $0.source = .gateway
          $0.allow = [IPv4Prefix("198.51.100.0/24")!, IPv4Prefix("192.0.2.8/32")!]
          $0.deny = [IPv4Prefix("198.51.100.96/28")!]
        }
      })
    gateway.receive(.tcp("198.51.100.7:1000", Peer(wan, 80), .syn), on: "wan").expect(.forward)
    gateway.receive(.tcp("192.0.2.8:1000", Peer(wan, 80), .syn), on: "wan").expect(.forward)
    gateway.receive(.tcp("192.0.2.9:1000", Peer(wan, 80), .syn), on: "wan").expectDrop(.notAllowed)
    gateway.receive(.tcp("198.51.100.99:1000", Peer(wan, 80), .syn), on: "wan").expectDrop(.notAllowed)
    #expect(gateway.live == 2)
  }

  @Test(arguments: [false, true])
  func `source gateway: the target sees the gateway's inside address`(udp: Bool) throws {
    let gateway = try TestGateway(
      .home { $0.forward(.both, ports: "8080", to: "192.168.1.10:80") { $0.source = .gateway } })
    roundTrip(gateway, port: 8080, to: "192.168.1.10:80", seenAs: "192.168.1.1:40000", udp: udp)
  }

  @Test func `source gateway: a second client with the same port gets another one`() throws {
    let gateway = try TestGateway(
      .home { $0.forward(ports: "8080", to: "192.168.1.10:80") { $0.source = .gateway } })
    roundTrip(gateway, port: 8080, to: "192.168.1.10:80", seenAs: "192.168.1.1:40000")
    let there = Packet.tcp("198.51.100.8:40000", Peer(wan, 8080), .syn)
    let outcome = gateway.receive(there, on: "wan")
    let seen = try #require(outcome.forwarded?.decoded.source)
    #expect(seen.host == "192.168.1.1" && seen.port != 40000 && seen.port >= 1024)
    outcome.expectForward(there.translated(from: seen, to: "192.168.1.10:80"), on: "lan")
    let answer = Packet.tcp("192.168.1.10:80", seen, [.syn, .ack])
    gateway.receive(answer, on: "lan")
      .expectForward(answer.translated(from: Peer(wan, 8080), to: "198.51.100.8:40000"), on: "wan")
  }

  @Test func `a target on the outside interface itself is reached with source gateway`() throws {
    let gateway = try TestGateway(
      .home { $0.forward(ports: "80", to: "203.0.113.9") { $0.source = .gateway } })
    let there = Packet.tcp(client, Peer(wan, 80), .syn)
    gateway.receive(there, on: "wan")
      .expectForward(there.translated(from: Peer(wan, client.port), to: "203.0.113.9:80"), on: "wan")
    let answer = Packet.tcp("203.0.113.9:80", Peer(wan, client.port), [.syn, .ack])
    gateway.receive(answer, on: "wan").expectForward(answer.translated(from: Peer(wan, 80), to: client), on: "wan")
  }

  @Test func `source gateway outside: a mapping that has ended holds its port no longer, swept or not`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: { $0.forward(.udp, ports: "80", to: "203.0.113.9") { $0.source = .gateway } }))
    let there = Packet.udp("198.51.100.99:4003", Peer(wan, 80))
    gateway.receive(.udp("192.168.1.10:4003", "198.51.100.7:53"), on: "lan").expect(.forward)
    gateway.receive(there, on: "wan", at: 10)
      .expectForward(there.translated(from: Peer(wan, 4003), to: "203.0.113.9:80"), on: "wan")
    gateway.receive(.udp("192.168.1.10:4004", "198.51.100.7:53"), on: "lan", at: 11).expect(.forward)
    let other = Packet.udp("198.51.100.99:4004", Peer(wan, 80))
    let outcome = gateway.receive(other, on: "wan", at: 20)
    let seen = try #require(outcome.forwarded?.decoded.source)
    #expect(seen.port != 4004)
    outcome.expectForward(other.translated(from: seen, to: "203.0.113.9:80"), on: "wan")
  }

  @Test func `an outside address is reached by any outside interface, and replies leave by the arrival interface`()
    throws
  {
    let gateway = try TestGateway(
      .home {
        $0.interface("wan2", .outside, "192.0.2.1/24", mac: "02:00:00:00:03:01") {
          $0.gateways = [IPv4Address(192, 0, 2, 254)]
        }
        $0.neighbor("192.0.2.254")
        $0.forward(ports: "80", to: "192.168.1.10")
      })
    let there = Packet.tcp(client, Peer(wan, 80), .syn)
    gateway.receive(there, on: "wan2").expectForward(there.translated(to: "192.168.1.10:80"), on: "lan")
    let answer = Packet.tcp("192.168.1.10:80", client, [.syn, .ack])
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 80)), on: "wan2")
  }

  @Test func `a target with the outside address itself: only the port changes, and only inside may send from it`()
    throws
  {
    let gateway = try TestGateway(
      .home {
        $0.route("203.0.113.200/32", via: "192.168.1.12")
        $0.forward(ports: "8080", to: "203.0.113.200:80", external: "203.0.113.200")
      })
    let there = Packet.tcp(client, "203.0.113.200:8080", .syn)
    gateway.receive(there, on: "wan").expectForward(there.translated(to: "203.0.113.200:80"), on: "lan")
    let answer = Packet.tcp("203.0.113.200:80", client, [.syn, .ack])
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: "203.0.113.200:8080"), on: "wan")
    gateway.receive(.tcp("203.0.113.200:80", Peer(wan, 80), .syn), on: "wan").expectDrop(.martian)
    // An outside address of ours that is nobody's own stays ours alone.
    gateway.receive(.tcp("203.0.113.1:80", client, .syn), on: "lan").expectDrop(.martian)
  }

  @Test func `what no forward names: the rest of the table of "Which traffic may pass"`() throws {
    let gateway = try TestGateway(
      .home {
        $0.interface("dmz", .inside, "10.1.0.1/16", mac: "02:00:00:00:04:01")
        $0.neighbor("10.1.0.5")
      })
    gateway.receive(.tcp(client, "192.168.1.10:80", .syn), on: "wan").expectDrop(.insideFromOutside)
    gateway.receive(.tcp(client, "203.0.113.9:80", .syn), on: "wan").expectDrop(.outsideToOutside)
    gateway.receive(.tcp("192.168.1.10:5000", client, .syn), on: "lan").expect(.drop)
    #expect(gateway.drops(.noMasquerade) == 1)
    gateway.receive(.tcp("192.168.1.10:5000", "192.168.1.1:22", .syn), on: "lan").expectDrop(.toUs)
    // Between inside interfaces: routed, no translation, no session.
    let routed = Packet.udp("192.168.1.10:5000", "10.1.0.5:53")
    gateway.receive(routed, on: "lan").expectForward(routed.translated(), on: "dmz")
    #expect(gateway.live == 0)
  }
}

extension ForwardPlan.Protocols {
  static let both: Self = [.tcp, .udp]
  static let any: Self = [.tcp, .udp, .echo]
}

extension Plan {
  /// A forward called "web".
  mutating func forward(
    _ protocols: ForwardPlan.Protocols, ports: String, to target: String, external: Host? = nil,
    _ change: (inout ForwardPlan) -> Void = { _ in }
  ) {
    forward("web", protocols, ports: ports, to: target, external: external, change)
  }
}
