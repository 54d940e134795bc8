import Engine
import PacketTestKit
import Testing

/// IPv6 between inside interfaces, for ourselves, and what must go no further.
@Suite struct IPv6RoutingTests {
  private let host: Host6 = "2001:db8:2::10"
  private let peer: Host6 = "2001:db8:3::10"
  private let server: Host6 = "2001:db8:f::7"
  private let router: Host6 = "2001:db8:1::fe"

  private var datagrams: [Datagram6] {
    [
      .udp(host, 1000, peer, 2000), .tcp(host, 1000, peer, 80, .syn), .tcp(host, 1000, peer, 80, .ack),
      .ping(host, peer), Datagram6(host, peer, 50, [UInt8](repeating: 7, count: 33)),
      .udp(host, 1000, peer, 2000).with { $0.trafficClassAndLabel = 0x0B8_ABCDE },
      .udp(host, 1000, peer, 2000).with { $0.extensions = [(60, [0] + [UInt8](repeating: 0, count: 6))] },
      // Checksums of others are not ours to judge.
      .udp(host, 1000, peer, 2000).with { $0.payload[7] ^= 1 },
      Datagram6(host, peer, 17, [UInt8](repeating: 1, count: 16)).with {
        $0.extensions = [(44, [0, 0, 9, 0, 0, 0, 1])]
      },
    ]
  }

  @Test func `between inside interfaces everything is routed, its hop limit one less and nothing else changed`() throws
  {
    let gateway = try TestGateway(.home6())
    for datagram in datagrams {
      gateway.receive6(datagram, on: "lan").expectForward6(datagram.hopped, on: "dmz", to: peer)
    }
    #expect(gateway.live == 0)
  }

  @Test func `without an IPv6 address on its interface a frame is dropped as ipv6-off`() throws {
    let gateway = try TestGateway(.home())
    gateway.receive6(.udp(host, 1, peer, 2), on: "lan").expectDrop(.ipv6Off)
  }

  @Test func `an Ethernet trailer is left behind`() throws {
    let gateway = try TestGateway(.home6())
    let datagram = Datagram6.udp(host, 1, peer, 2)
    let frame = datagram.frame(from: .of6(host), to: "02:00:00:00:02:01") + [1, 2, 3]
    gateway.receive(bytes: frame, on: "lan").expectForward6(datagram.hopped, on: "dmz", to: peer)
  }

  // MARK: Headers

  @Test func `a header that contradicts itself or the frame is dropped`() throws {
    let gateway = try TestGateway(.home6())
    let good = Datagram6.udp(host, 1, peer, 2)
    gateway.receive6(good.with { $0.payloadLength = 100 }, on: "lan").expectDrop(.truncated)
    var frame = good.frame(from: .of6(host), to: "02:00:00:00:02:01")
    frame[14] = 0x40
    gateway.receive(bytes: frame, on: "lan").expectDrop(.malformedIPv6)
    for length in 14..<54 { gateway.receive(bytes: Array(frame[..<length]), on: "lan").expectDrop(.truncated) }
  }

  @Test func `martians are dropped`() throws {
    let gateway = try TestGateway(.home6())
    let odd: [Host6] = ["::", "::1", "ff02::7", "ff0e::1", "::ffff:192.0.2.1", "fe80::77"]
    for source in odd { gateway.receive6(.udp(source, 1, peer, 2), on: "lan").expectDrop(.martian) }
    for destination: Host6 in ["::", "::1", "::ffff:192.0.2.1", "fe80::77"] {
      gateway.receive6(.udp(host, 1, destination, 2), on: "lan").expectDrop(.martian)
    }
    // Land, our own address, another interface's hosts, inside hosts from outside.
    gateway.receive6(.udp(host, 1, host, 1), on: "lan").expectDrop(.martian)
    gateway.receive6(.udp("2001:db8:2::1", 1, peer, 2), on: "lan").expectDrop(.martian)
    gateway.receive6(.udp(peer, 1, "2001:db8:2::11", 2), on: "lan").expectDrop(.martian)
    gateway.receive6(.udp(host, 1, peer, 2), on: "wan").expectDrop(.martian)
    // A datagram for one host in a frame for many.
    gateway.receive6(.udp(host, 1, peer, 2), on: "lan", to: "33:33:00:00:00:01").expectDrop(.martian)
  }

  // MARK: Inside and outside

  @Test func `nothing comes in, or goes through, from outside`() throws {
    let gateway = try TestGateway(.home6())
    for packet in [Datagram6.udp(server, 1, host, 2), .tcp(server, 1, host, 80, .syn), .ping(server, host)] {
      gateway.receive6(packet, on: "wan", via: router).expectDrop(.noForward)
    }
    gateway.receive6(.udp(server, 1, "2001:db8:e::1", 2), on: "wan", via: router).expectDrop(.outsideToOutside)
    // A21: the other side's address.
    gateway.receive6(.ping(server, "2001:db8:2::1"), on: "wan", via: router).expectDrop(.insideFromOutside)
  }

  @Test func `V1 messages of a link never leave it, whatever their hop limit`() throws {
    let gateway = try TestGateway(.home6())
    for type: UInt8 in 133...137 {
      for hopLimit: UInt8 in [255, 64] {
        let message = Datagram6.icmp(host, peer, type: type, 0, [UInt8](repeating: 0, count: 32))
        gateway.receive6(message.with { $0.hopLimit = hopLimit }, on: "lan").expectDrop(.icmpUnsupported)
      }
    }
  }

  // MARK: For ourselves

  @Test func `echo to our addresses is answered as configured`() throws {
    let gateway = try TestGateway(.home6())
    for own: Host6 in ["2001:db8:2::1", "2001:db8:3::1"] {
      let outcome = gateway.receive6(.ping(host, own), on: "lan")
      outcome.expect(.consume)
      #expect(
        outcome.made.map(\.bytes) == [gateway.frame(.ping(own, host, isAnswer: true), on: "lan", to: host)])
    }
    gateway.receive6(.ping(server, "2001:db8:1::1"), on: "wan", via: router).expectDrop(.toUs)
    gateway.receive6(.ping(host, "2001:db8:2::1").with { $0.payload[9] ^= 1 }, on: "lan").expectDrop(.malformedICMP)
    gateway.receive6(.tcp(host, 1, "2001:db8:2::1", 22, .syn), on: "lan").expectDrop(.toUs)
    gateway.receive6(.ping(host, "ff02::1"), on: "lan").expectDrop(.toUs)
  }

  @Test func `link-local echo is answered on its link`() throws {
    let gateway = try TestGateway(.home6())
    let (near, own): (Host6, Host6) = ("fe80::aa", "fe80::ff:fe00:201")
    gateway.receive6(.solicitation(near, for: own, station: .of6(near)), on: "lan")
    let outcome = gateway.receive6(.ping(near, own), on: "lan")
    outcome.expect(.consume)
    #expect(outcome.made.map(\.bytes) == [gateway.frame(.ping(own, near, isAnswer: true), on: "lan", to: near)])
  }

  // MARK: Errors

  @Test func `a hop limit that runs out is told to the sender`() throws {
    let gateway = try TestGateway(.home6())
    for hopLimit: UInt8 in [0, 1] {
      let datagram = Datagram6.udp(host, 1, peer, 2).with { $0.hopLimit = hopLimit }
      let told = gateway.receive6(datagram, on: "lan").expectDropAnswered(.ttlExceeded)
      let expected = Datagram6.icmp("2001:db8:2::1", host, type: 3, code: 0, 0, datagram.bytes)
      #expect(told?.bytes == gateway.frame(expected, on: "lan", to: host))
    }
    let last = Datagram6.udp(host, 1, peer, 2).with { $0.hopLimit = 2 }
    gateway.receive6(last, on: "lan").expectForward6(last.hopped, on: "dmz", to: peer)
  }

  @Test(arguments: [1280, 1400, 1500])
  func `V2 what is larger than the next link is told with its MTU, quoted up to 1280 bytes`(mtu: Int) throws {
    let gateway = try TestGateway(
      .home6 {
        $0.change("lan") { $0.mtu = 9000 }
        $0.change("dmz") { $0.mtu = mtu }
      })
    let fitting = Datagram6.udp(host, 1, peer, 2, String(repeating: "x", count: mtu - 48))
    gateway.receive6(fitting, on: "lan").expectForward6(fitting.hopped, on: "dmz", to: peer)
    for size in [mtu + 1, 9000] {
      let large = Datagram6.udp(host, 1, peer, 2, String(repeating: "x", count: size - 48))
      let told = gateway.receive6(large, on: "lan").expectDropAnswered(.fragmentationNeeded)
      let quote = Array(large.bytes.prefix(1280 - 48))
      let expected = Datagram6.icmp("2001:db8:2::1", host, type: 2, code: 0, UInt32(mtu), quote)
      #expect(told?.bytes == gateway.frame(expected, on: "lan", to: host))
    }
  }

  @Test func `a super-frame is judged by its segments`() throws {
    let gateway = try TestGateway(.home6 { $0.change("dmz") { $0.mtu = 1300 } })
    let large = Datagram6.tcp(host, 1, peer, 80, .ack, String(repeating: "x", count: 5000))
    var offload = OffloadHeader()
    offload.flags = OffloadHeader.needsChecksum
    offload.checksumStart = 54
    offload.checksumOffset = 16
    offload.segmentation = OffloadHeader.segmentTCP6
    offload.segmentSize = 1240
    let outcome = gateway.receive6(large, on: "lan", offload: offload)
    outcome.expectForward6(large.hopped, on: "dmz", to: peer)
    #expect(outcome.forwarded?.offload == offload)
    offload.segmentSize = 1241
    gateway.receive6(large, on: "lan", offload: offload).expect(.drop)
    #expect(gateway.drops(.fragmentationNeeded) == 1)
  }

  @Test func `without a route an inside sender is told, an outside one is not`() throws {
    let gateway = try TestGateway(.home6 { $0.change("wan") { $0.gateways6 = [] } })
    let datagram = Datagram6.udp(host, 1, server, 2)
    let told = gateway.receive6(datagram, on: "lan").expectDropAnswered(.noRoute)
    let expected = Datagram6.icmp("2001:db8:2::1", host, type: 1, code: 0, 0, datagram.bytes)
    #expect(told?.bytes == gateway.frame(expected, on: "lan", to: host))
    gateway.receive6(.udp("2001:db8:1::9", 1, server, 2), on: "wan", via: router).expectDrop(.noRoute)
  }

  @Test func `no error is made about an error, nor to nobody`() throws {
    let gateway = try TestGateway(.home6())
    for type: UInt8 in [1, 2, 3, 4, 127] {
      let message = Datagram6.icmp(host, peer, type: type, 0, [UInt8](repeating: 0, count: 48))
      gateway.receive6(message.with { $0.hopLimit = 1 }, on: "lan").expectDrop(.ttlExceeded)
    }
    let echo = Datagram6.ping(host, peer).with { $0.hopLimit = 1 }
    _ = gateway.receive6(echo, on: "lan").expectDropAnswered(.ttlExceeded)
  }

  @Test func `errors are limited for each destination: 100 at once, 50 a second`() throws {
    let gateway = try TestGateway(.home6())
    let dying = Datagram6.udp(host, 1, peer, 2).with { $0.hopLimit = 1 }
    for _ in 0..<150 { gateway.receive6(dying, on: "lan") }
    #expect(gateway.count(of: .errorSent) == 100 && gateway.count(of: .errorLimited) == 50)
    let other = Datagram6.udp("2001:db8:2::11", 1, peer, 2).with { $0.hopLimit = 1 }
    _ = gateway.receive6(other, on: "lan").expectDropAnswered(.ttlExceeded)
    for _ in 0..<150 { gateway.receive6(dying, on: "lan", at: 1) }
    #expect(gateway.count(of: .errorSent) == 151)
  }
}
