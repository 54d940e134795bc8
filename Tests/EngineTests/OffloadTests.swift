import Engine
import PacketTestKit
import Testing

/// C5, L3: unfinished checksums and super-frames, as a virtio header describes them.
@Suite struct OffloadTests {
  private func gateway(_ more: (inout Plan) -> Void = { _ in }) throws -> TestGateway {
    try TestGateway(
      .masqueraded(more: {
        $0.forward(.both, ports: "8080", to: "192.168.1.10:80")
        more(&$0)
      }))
  }

  private func partial(_ offset: UInt16, start: UInt16 = 34) -> OffloadHeader {
    var header = OffloadHeader()
    header.flags = OffloadHeader.needsChecksum
    header.checksumStart = start
    header.checksumOffset = offset
    return header
  }

  @Test func `C5 a partial sum is updated for addresses alone, and stays partial`() throws {
    let gateway = try gateway()
    let tcp = Packet.tcp(client, Peer(wan, 8080), .syn, "data") { $0.tcp.isPartial = true }
    let first = gateway.receive(tcp, on: "wan", offload: partial(16))
    first.expectForward(tcp.translated(to: "192.168.1.10:80"), on: "lan")
    #expect(first.forwarded?.offload == partial(16))
    // The second frame takes the fast path.
    gateway.receive(tcp, on: "wan", offload: partial(16)).expectForward(
      tcp.translated(to: "192.168.1.10:80"), on: "lan")

    let udp = Packet.udp("192.168.1.10:4000", client) { $0.udp.isPartial = true }
    for _ in 0..<2 {
      let outcome = gateway.receive(udp, on: "lan", offload: partial(6))
      outcome.expectForward(udp.translated(from: "203.0.113.1:4000"), on: "wan")
      #expect(outcome.forwarded?.offload == partial(6))
    }
  }

  @Test func `C5 a partial frame on a session of finished ones, and the other way round`() throws {
    let gateway = try gateway()
    let whole = Packet.tcp(client, Peer(wan, 8080), .syn)
    gateway.receive(whole, on: "wan").expectForward(whole.translated(to: "192.168.1.10:80"), on: "lan")
    let part = whole.with { $0.tcp.isPartial = true }
    gateway.receive(part, on: "wan", offload: partial(16)).expectForward(
      part.translated(to: "192.168.1.10:80"), on: "lan")
    gateway.receive(whole, on: "wan").expectForward(whole.translated(to: "192.168.1.10:80"), on: "lan")
  }

  @Test func `L2 C5 where link headers differ in length, the start of summing moves with them`() throws {
    let gateway = try gateway {
      $0.change("lan") { $0.tags = [VLANTag(protocolID: 0x8100, vlan: 7)] }
    }
    let tcp = Packet.tcp(client, Peer(wan, 8080), .syn) { $0.tcp.isPartial = true }
    var offload = partial(16)
    offload.headerLength = 54
    let outcome = gateway.receive(tcp, on: "wan", offload: offload)
    outcome.expectForward(tcp.translated(to: "192.168.1.10:80"), on: "lan")
    #expect(outcome.forwarded?.offload.checksumStart == 38 && outcome.forwarded?.offload.headerLength == 58)
    let back = Packet.tcp("192.168.1.10:80", client, [.syn, .ack]) { $0.tcp.isPartial = true }
    let returned = gateway.receive(back, on: "lan", offload: partial(16, start: 38))
    returned.expectForward(back.translated(from: Peer(wan, 8080)).with { $0.ethernet.tags = [] }, on: "wan")
    #expect(returned.forwarded?.offload.checksumStart == 34)
  }

  private func superFrame(_ bytes: Int, segment: UInt16) -> (Packet, OffloadHeader) {
    let packet = Packet.tcp("192.168.1.10:5000", client, .ack, String(repeating: "s", count: bytes)) {
      $0.tcp.isPartial = true
    }
    var header = partial(16)
    header.segmentation = OffloadHeader.segmentTCP4
    header.segmentSize = segment
    header.headerLength = 54
    return (packet, header)
  }

  @Test func `L3 a super-frame passes as it is, judged by headers and segment size`() throws {
    let gateway = try gateway()
    for size in [1461, 14600, 64000] {
      let (packet, header) = superFrame(size, segment: 1460)
      let outcome = gateway.receive(packet, on: "lan", offload: header)
      outcome.expectForward(packet.translated(from: "203.0.113.1:5000"), on: "wan")
      #expect(outcome.forwarded?.offload == header)
    }
    #expect(gateway.counts("lan").forwarded == 3)
  }

  @Test func `L3 F5 segments too big for the egress with DF are answered from the first segment's headers`() throws {
    let gateway = try gateway { $0.change("wan") { $0.mtu = 1400 } }
    let (packet, header) = superFrame(14600, segment: 1460)
    let error = gateway.receive(packet, on: "lan", offload: header).expectDropAnswered(.fragmentationNeeded)
    #expect(error?.decoded.icmp?.type == 3 && error?.decoded.icmp?.code == 4 && error?.decoded.icmp?.rest == 1400)
    #expect(error?.decoded.quote?.source == "192.168.1.10:5000" && error?.decoded.ip?.totalLength == 576)
    let (fits, small) = superFrame(14600, segment: 1360)
    gateway.receive(fits, on: "lan", offload: small).expectForward(fits.translated(from: "203.0.113.1:5000"), on: "wan")
  }

  @Test(arguments: [true, false])
  func `L3 F6 segments too big for the egress without DF are cut: segments first, then pieces`(isHeld: Bool) throws {
    let gateway = try gateway {
      $0.change("wan") { $0.mtu = 800 }
      if isHeld { $0.neighbors.removeAll { $0.address == Host("203.0.113.254").planned } }
    }
    let text = String((0..<4000).map { Character(UnicodeScalar(UInt8(97 + $0 % 26))) })
    let packet = Packet.tcp(
      "192.168.1.10:5000", client, [.ack, .psh, .fin, .cwr], sequence: 0xFFFF_FF00, acknowledgment: 7, text
    ) {
      $0.tcp.isPartial = true
      $0.ip.dontFragment = false
      $0.ip.identification = 40
    }
    var header = partial(16)
    header.segmentation = OffloadHeader.segmentTCP4
    header.segmentSize = 1460
    var emitted = gateway.burst([arrival(packet, header, gateway)]).emitted
    if isHeld {
      let router = Host("203.0.113.254")
      let answer = Packet.arp(
        operation: 2, sender: .of(router), router, target: Station(bytes: [2, 0, 0, 0, 1, 1]), wan)
      emitted = gateway.burst([(answer, on: "wan")]).emitted
    }
    let whole = packet.translated(from: "203.0.113.1:5000").with { $0.tcp.isPartial = false }
    var expected: [Packet] = []
    for (index, start) in stride(from: 0, to: 4000, by: 1460).enumerated() {
      let end = min(start + 1460, 4000)
      let segment = whole.with {
        $0.tcp.payload = Array(text.utf8)[start..<end].map { $0 }
        $0.tcp.sequence &+= UInt32(start)
        $0.tcp.flags = index == 0 ? [.ack, .cwr] : end == 4000 ? [.ack, .psh, .fin] : .ack
        $0.ip.identification = 40 + UInt16(index)
      }
      expected += segment.fragments(of: 776)
    }
    #expect(emitted.count == expected.count)
    for (frame, packet) in zip(emitted, expected) { frame.expect(packet, on: "wan", from: gateway) }
    #expect(gateway.counts("lan").forwarded == 1)
  }

  @Test func `L3 a UDP super-frame without DF becomes datagrams, each in pieces`() throws {
    let gateway = try gateway { $0.change("wan") { $0.mtu = 800 } }
    let packet = Packet.udp("192.168.1.10:5000", client, String(repeating: "u", count: 2500)) {
      $0.udp.isPartial = true
      $0.ip.dontFragment = false
    }
    var header = partial(6)
    header.segmentation = OffloadHeader.segmentUDPL4
    header.segmentSize = 1200
    let emitted = gateway.burst([arrival(packet, header, gateway)]).emitted
    let lengths = [1200, 1200, 100]
    let expected = lengths.enumerated().flatMap { index, count in
      let datagram = Packet.udp("203.0.113.1:5000", client, String(repeating: "u", count: count)) {
        $0.ip.dontFragment = false
        $0.ip.ttl -= 1
        $0.ip.identification = UInt16(index)
      }
      return count > 700 ? datagram.fragments(of: 776) : [datagram]
    }
    #expect(emitted.count == expected.count)
    for (frame, packet) in zip(emitted, expected) { frame.expect(packet, on: "wan", from: gateway) }
  }

  private func arrival(_ packet: Packet, _ offload: OffloadHeader, _ gateway: TestGateway) -> TestGateway.Arrival {
    var arrival = TestGateway.Arrival(gateway.addressed(packet, on: "lan").bytes, on: "lan")
    arrival.offload = offload
    return arrival
  }

  @Test func `L3 without offload header a frame over the MTU is judged as it stands`() throws {
    let gateway = try gateway()
    let large = Packet.tcp("192.168.1.10:5000", client, .ack, String(repeating: "s", count: 1461))
    let error = gateway.receive(large, on: "lan").expectDropAnswered(.fragmentationNeeded)
    #expect(error?.decoded.icmp?.rest == 1500)
  }

  @Test func `an error that quotes a partial frame is itself finished`() throws {
    let gateway = try gateway()
    let packet = Packet.tcp("192.168.1.10:5000", client, .syn) {
      $0.tcp.isPartial = true
      $0.ip.ttl = 1
    }
    let error = try #require(gateway.receive(packet, on: "lan", offload: partial(16)).expectDropAnswered(.ttlExceeded))
    #expect(error.offload == OffloadHeader())
    let quoted = error.decoded.quote
    #expect(quoted?.source == "192.168.1.10:5000")
    #expect(!error.decoded.checksumProblems().contains { !$0.contains("quoted TCP") })
  }

  @Test func `a held partial frame leaves with its offload header`() throws {
    let gateway = try gateway { $0.forward("unknown", .tcp, ports: "99", to: "192.168.1.77") }
    let packet = Packet.tcp(client, Peer(wan, 99), .syn) { $0.tcp.isPartial = true }
    gateway.receive(packet, on: "wan", offload: partial(16)).expect(.hold)
    let released = gateway.receive(
      .arp(operation: 2, sender: "02:77:00:00:00:01", "192.168.1.77", target: "02:00:00:00:02:01", "192.168.1.1"),
      on: "lan"
    ).made
    #expect(released.first?.offload == partial(16))
    #expect(
      released.first.map { Array($0.bytes.dropFirst(14)) } == packet.translated(to: "192.168.1.77:99").datagram)
  }
}
