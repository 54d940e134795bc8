import Engine
import PacketTestKit
import Testing

/// Numbers of a connection in which a text has become longer or shorter (what Linux does in nf_conntrack_seqadj).
@Suite struct SequenceShiftTests {
  private let command = "PORT 192,168,1,10,200,10\r\n"
  private let changed = "PORT 203,0,113,1,200,10\r\n"
  /// One byte shorter.
  private let shift: UInt32 = 0 &- 1

  private func talk(_ plan: Plan = .ftp(), first: UInt32 = 1_000_000) throws -> FTPTalk {
    let talk = FTPTalk.inside(try TestGateway(plan), first: first)
    talk.open()
    talk.say(.server, "220 ready\r\n")
    return talk
  }

  @Test func `Many changes add up, both ways, around the end of the number space`() throws {
    let talk = try talk(first: 0xFFFF_FF80)
    for round in 0..<40 {
      let port = 50_000 + round
      #expect(
        talk.say(.client, "PORT 192,168,1,10,\(port / 256),\(port % 256)\r\n")
          == "PORT 203,0,113,1,\(port / 256),\(port % 256)\r\n")
      talk.chat(1)
    }
    let session = try #require(talk.gateway.sessions().first { $0.original.destination.port == 21 })
    #expect(session.helper == SessionReport.Helper(name: "ftp", originalShift: -40, replyShift: 0))
    #expect(session.state == "established")
  }

  @Test func `Both directions are shifted at once where both ends are inside`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk(
      gateway,
      client: FTPTalk.Stack(own: "192.168.1.11:5000", peer: Peer(wan, 21), interface: "lan", next: 1_000_000),
      server: FTPTalk.Stack(own: Peer(server, 21), peer: Peer(wan, 5000), interface: "lan", next: 5_000_000))
    talk.open()
    for port in 1..<6 {
      talk.say(.client, "PORT 192,168,1,11,200,\(port)\r\n")
      talk.say(.server, "200 ok\r\n")
      talk.say(.client, "PASV\r\n")
      talk.say(.server, "227 Entering Passive Mode (192,168,1,10,100,\(port)).\r\n")
      talk.chat(1)
    }
    let session = try #require(gateway.sessions().first { $0.original.destination.port == 21 })
    #expect(session.helper?.originalShift == -5 && session.helper?.replyShift == -5)
  }

  @Test func `A segment sent again is changed again, with the same numbers`() throws {
    let talk = try talk()
    let packet = talk.segment(.client, [.ack, .psh], command)
    talk[.client].next &+= UInt32(command.utf8.count)
    let first = talk.offer(packet, from: .client)
    #expect(talk.take(first, from: .client) == changed)
    let before = try #require(first[0].decoded.tcp)
    // At once, and when everything is acknowledged and more was said.
    for _ in 0..<2 {
      let again = talk.offer(packet, from: .client)
      #expect(again.count == 1 && again[0].decoded.text == changed)
      #expect(again[0].decoded.tcp?.sequence == before.sequence)
      talk.chat(1)
    }
    #expect(talk.gateway.count(of: .helperOpened) == 1)
  }

  @Test func `A retransmission with what was said before and after is changed in its middle`() throws {
    let talk = try talk()
    let start = talk[.client].next
    talk.say(.client, "NOOP\r\n")
    talk.say(.client, command)
    talk.say(.client, "NOOP\r\n")
    var packet = talk.segment(.client, [.ack, .psh], "NOOP\r\n" + command + "NOOP\r\n")
    packet.tcp.sequence = start
    let got = talk.offer(packet, from: .client)
    #expect(got.count == 1 && got[0].decoded.text == "NOOP\r\n" + changed + "NOOP\r\n")
    #expect(got[0].decoded.tcp?.sequence == start)
    // What lies behind the changed text alone goes by the new numbers.
    packet = talk.segment(.client, [.ack, .psh], "NOOP\r\n")
    packet.tcp.sequence = talk[.client].next &- 6
    #expect(talk.offer(packet, from: .client).last?.decoded.tcp?.sequence == talk[.server].heard &- 6)
  }

  @Test func `Of a changed text no part goes out by itself`() throws {
    let talk = try talk()
    let start = talk[.client].next
    talk.say(.client, command)
    for range in [0..<10, 10..<26, 8..<12] {
      let bytes = Array(command.utf8)[range]
      var packet = talk.segment(.client, .ack, String(decoding: bytes, as: UTF8.self))
      packet.tcp.sequence = start &+ UInt32(range.lowerBound)
      talk.gateway.receive(packet, on: "lan").expectDrop(.helperOrder)
    }
    talk.chat(1)
  }

  @Test func `What comes before its turn is sent again`() throws {
    let talk = try talk()
    let late = talk.segment(.client, [.ack, .psh], "NOOP\r\n")
    talk[.client].next &+= 6
    let early = talk.segment(.client, [.ack, .psh], command)
    talk.gateway.receive(early, on: "lan").expectDrop(.helperOrder)
    #expect(talk.take(talk.offer(late, from: .client), from: .client) == "NOOP\r\n")
    talk[.client].next &+= UInt32(command.utf8.count)
    #expect(talk.take(talk.offer(early, from: .client), from: .client) == changed)
    // Without a window's relation to it, it is none of this connection's business.
    var far = early
    far.tcp.sequence &+= 1 << 30
    #expect(talk.offer(far, from: .client).last?.decoded.text == command)
    talk.chat(1)
  }

  @Test func `What has a wrong checksum is not read, and stays wrong`() throws {
    let talk = try talk()
    let packet = talk.segment(.client, [.ack, .psh], command).with { $0.tcp.checksum = 0x1234 }
    let outcome = talk.gateway.receive(packet, on: "lan")
    #expect(outcome.forwarded?.decoded.text == command)
    #expect(outcome.forwarded?.decoded.checksumProblems(isPartial: false).isEmpty == false)
    #expect(talk.gateway.count(of: .helperOpened) == 0)
    #expect(talk.say(.client, command) == changed)
  }

  @Test func `SACK blocks are shifted like acknowledgements`() throws {
    let talk = try talk()
    talk.say(.client, command)
    talk.chat(1)
    let next = talk[.client].next
    let heard = talk[.server].heard
    for pad in [[1, 1], [1, 1, 1]] as [[UInt8]] {
      var packet = talk.segment(.server)
      packet.tcp.options = pad + [5, 18]
      for number in [heard &+ 10, heard &+ 20, heard &+ 30, heard &+ 40] {
        packet.tcp.options += (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * UInt32($0))) }
      }
      let got = try #require(talk.offer(packet, from: .server).last?.decoded.tcp)
      #expect(got.acknowledgment == next)
      let numbers = (0..<4).map { index in
        got.options[(pad.count + 2 + 4 * index)..<(pad.count + 6 + 4 * index)].reduce(UInt32(0)) {
          $0 << 8 | UInt32($1)
        }
      }
      #expect(numbers == [next &+ 10, next &+ 20, next &+ 30, next &+ 40])
    }
  }

  @Test func `A reset and the end are where the other side expects them`() throws {
    let talk = try talk()
    talk.say(.client, command)
    talk.chat(1)
    let fin = talk.offer(talk.segment(.client, [.fin, .ack]), from: .client)
    #expect(fin.last?.decoded.tcp?.sequence == talk[.server].heard)
    let reset = talk.offer(talk.segment(.client, [.rst, .ack]), from: .client)
    #expect(reset.last?.decoded.tcp?.sequence == talk[.server].heard)
    let state = talk.gateway.sessions().first { $0.original.destination.port == 21 }?.state
    #expect(state == "reset")
  }

  @Test func `An ICMP error quotes the numbers that its receiver has sent`() throws {
    let talk = try talk()
    talk.say(.client, command)
    talk.chat(1)
    let sent = talk.segment(.client, .ack, "NOOP\r\n")
    let seen = try #require(talk.offer(sent, from: .client).last?.decoded.tcp)
    func error(_ sequence: UInt32) -> Packet {
      let quoted = sent.translated(from: Peer(wan, 5000)).with {
        $0.tcp.sequence = sequence
        $0.tcp.acknowledgment = seen.acknowledgment
      }
      return .icmpError(
        type: 3, code: 4, rest: 1400, from: "203.0.113.254", to: wan, about: quoted, keeping: 26)
    }
    let outcome = talk.gateway.receive(error(seen.sequence), on: "wan")
    let told = try #require(outcome.forwarded?.decoded)
    #expect(told.problems.isEmpty && told.checksumProblems(isPartial: false).isEmpty)
    let inner = try #require(told.icmp?.payload)
    let numbers = [24, 28].map { at in inner[at..<at + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
    #expect(numbers == [sent.tcp.sequence, sent.tcp.acknowledgment])
    // One with a number that was never sent is forged, by the sender's numbers.
    talk.gateway.receive(error(seen.sequence ^ 0x4000_0000), on: "wan").expectDrop(.icmpForged)
  }

  // MARK: Offloads

  private func offload(_ segment: UInt16 = 0) -> OffloadHeader {
    var header = OffloadHeader()
    header.flags = OffloadHeader.needsChecksum
    header.checksumStart = 34
    header.checksumOffset = 16
    header.headerLength = 54
    if segment > 0 {
      header.segmentation = OffloadHeader.segmentTCP4
      header.segmentSize = segment
    }
    return header
  }

  @Test func `An unfinished checksum has the new length in it`() throws {
    let talk = try talk()
    let packet = talk.segment(.client, [.ack, .psh], command).with { $0.tcp.isPartial = true }
    talk[.client].next &+= UInt32(command.utf8.count)
    let got = talk.offer(packet, from: .client, offload: offload())
    #expect(got.last?.offload == offload())
    #expect(talk.take(got, from: .client) == changed)
    talk.chat(1)
  }

  @Test func `A super-frame keeps the size of its segments, and is none any more when it fits into one`() throws {
    let talk = try talk()
    let text = String(repeating: "NOOP\r\n", count: 500) + command
    let packet = talk.segment(.client, [.ack, .psh], text).with { $0.tcp.isPartial = true }
    talk[.client].next &+= UInt32(text.utf8.count)
    let got = talk.offer(packet, from: .client, offload: offload(1460))
    #expect(got.last?.offload == offload(1460))
    #expect(talk.take(got, from: .client) == String(repeating: "NOOP\r\n", count: 500) + changed)
    talk.say(.server, "200 ok\r\n")
    let small = talk.segment(.client, [.ack, .psh], command).with { $0.tcp.isPartial = true }
    talk[.client].next &+= UInt32(command.utf8.count)
    let whole = talk.offer(small, from: .client, offload: offload(UInt16(command.utf8.count - 1)))
    #expect(whole.last?.offload == offload())
    #expect(talk.take(whole, from: .client) == changed)
    talk.chat(1)
  }

  @Test func `A full segment without room for a longer text is left alone`() throws {
    let talk = try talk()
    let text = String(repeating: "x", count: 1460 - command.utf8.count - 2) + "\r\n" + command
    #expect(talk.say(.client, text) == text)
    #expect(talk.gateway.count(of: .helperRefused) == 1)
    talk.chat(1)
  }

  @Test func `A changed segment waits for its next hop like any other`() throws {
    let talk = try talk()
    talk.gateway.advance(to: 5)
    var plan = talk.gateway.plan
    plan.neighbors.removeAll { $0.address == IPv4Address(203, 0, 113, 254) }
    try talk.gateway.reload(plan)
    let packet = talk.segment(.client, [.ack, .psh], command)
    talk[.client].next &+= UInt32(command.utf8.count)
    talk.gateway.receive(packet, on: "lan").expect(.hold)
    let reply = Packet.arp(
      operation: 2, sender: Station.of("203.0.113.254"), "203.0.113.254", target: "02:00:00:00:01:01", wan)
    let released = talk.gateway.receive(reply, on: "wan").made
    #expect(talk.take(released, from: .client) == changed)
  }

  // MARK: Restart, reload, pieces

  @Test func `The shift survives a restart`() throws {
    let boot = BootIdentity(high: 1, low: 2)
    let talk = FTPTalk.inside(try TestGateway(.ftp(), boot: boot))
    talk.open()
    talk.say(.server, "220 ready\r\n")
    talk.say(.client, command)
    talk.say(.server, "200 ok\r\n")
    talk.say(.client, "EPRT |1|192.168.1.10|51299|\r\n")
    let (next, report) = try talk.gateway.restarted(.ftp(), boot: boot)
    #expect(report.sessions == 1 && report.refused == 0)
    talk.gateway = next
    talk.chat(2)
    // What was announced before is still waited for, and the next command is read.
    next.receive(.tcp("198.51.100.7:20", Peer(wan, 51_299), .syn), on: "wan").expect(.forward)
    #expect(talk.say(.client, command) == changed)
    talk.chat(1)
    // Rules without helpers have no room for what such a connection needs: it ends.
    #expect(next.sessions().map { $0.helper?.name } == ["ftp", nil])
    let (plain, refused) = try next.restarted(.masqueraded(), boot: boot)
    #expect(refused.refused == 1)
    #expect(plain.sessions().contains { $0.original.destination.port == 21 } == false)
  }

  @Test func `Rules without the helper read no more, and shift on`() throws {
    let talk = try talk()
    talk.say(.client, command)
    talk.chat(1)
    try talk.gateway.reload(.masqueraded())
    talk.chat(1)
    #expect(talk.say(.client, command) == command)
    talk.chat(1)
  }

  @Test func `What was announced is waited for under new rules too, if they have the port`() throws {
    let talk = try talk(.ftp { $0.filtering = .addressAndPortDependent })
    talk.say(.client, command)
    try talk.gateway.reload { $0.timeouts.udp = 77 }
    talk.chat(1)
    talk.gateway.receive(.tcp("198.51.100.7:20", Peer(wan, 51_210), .syn), on: "wan").expect(.forward)
    talk.say(.client, "EPRT |1|192.168.1.10|51299|\r\n")
    // Its port is a forward's now: the server's connection goes there.
    try talk.gateway.reload { $0.forward("late", ports: "51299", to: "192.168.1.11:80") }
    let syn = Packet.tcp("198.51.100.7:20", Peer(wan, 51_299), .syn)
    talk.gateway.receive(syn, on: "wan").expectForward(syn.translated(to: "192.168.1.11:80"), on: "lan")
  }

  @Test func `Pieces are shifted and not read`() throws {
    let talk = try talk()
    talk.say(.client, command)
    talk.chat(1)
    let whole = talk.segment(.client, .ack, "PORT 192,168,1,10,200,99\r\n" + String(repeating: "x", count: 50))
      .with { $0.ip.dontFragment = false }
    let pieces = whole.fragments(of: 64)
    let first = talk.offer(pieces[0], from: .client)
    #expect(first.last?.decoded.bytes[38..<42].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } == talk[.server].heard)
    #expect(talk.gateway.count(of: .helperOpened) == 1)
  }

  @Test func `A connection that begins anew begins with its own numbers`() throws {
    let talk = try talk()
    talk.say(.client, command)
    talk.chat(1)
    _ = talk.offer(talk.segment(.client, [.fin, .ack]), from: .client)
    _ = talk.offer(talk.segment(.server, [.fin, .ack]), from: .server)
    talk[.client].next = 77_000_000
    talk[.server].next = 99_000_000
    talk.open()
    #expect(talk.say(.client, command) == changed)
    talk.chat(2)
  }

  @Test func `A18 random segments of both ends harm nothing`() throws {
    let texts = [
      command, "EPRT |1|192.168.1.10|51210|\r\n", "PASV\r\n", "EPSV\r\n", "AUTH TLS\r\n", "PORT 192,168", "\r\n",
      "\n\n\n", "",
      "227 (198,51,100,7,4,1)\r\n", "229 (|||5000|)\r\n", String(repeating: "y", count: 1400),
    ]
    var random = SystemRandom(state: 29)
    for round in 0..<60 {
      let talk = round % 2 == 0 ? FTPTalk.inside(try TestGateway(.ftp())) : FTPTalk.behind(try TestGateway(.ftp()))
      talk.open()
      for _ in 0..<80 {
        let end: FTPTalk.End = random.next() % 2 == 0 ? .client : .server
        var text = Array(texts[Int(random.next() % UInt64(texts.count))].utf8)
        if random.next() % 3 == 0, !text.isEmpty {
          text[Int(random.next() % UInt64(text.count))] = UInt8(truncatingIfNeeded: random.next())
        }
        var packet = talk.segment(end)
        packet.tcp.payload = text
        switch random.next() % 8 {
        case 0: packet.tcp.sequence &-= UInt32(random.next() % 200)
        case 1: packet.tcp.sequence &+= UInt32(truncatingIfNeeded: random.next())
        case 2: packet.tcp.flags = TCPHeader.Flags(rawValue: UInt8(truncatingIfNeeded: random.next()))
        case 3: packet.tcp.acknowledgment = UInt32(truncatingIfNeeded: random.next())
        default: talk[end].next &+= UInt32(text.count)
        }
        if random.next() % 4 == 0 {
          packet.tcp.options = (0..<Int(random.next() % 40)).map { _ in UInt8(truncatingIfNeeded: random.next() % 12) }
        }
        // Laws of counting and valid checksums are looked after on the way.
        for frame in talk.offer(packet, from: end) where frame.decoded.tcp != nil { talk[end.other].heard = frame.next }
      }
    }
  }
}

private struct SystemRandom {
  var state: UInt64

  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state >> 33
  }
}

extension TestGateway.Emitted {
  /// Behind its payload.
  fileprivate var next: UInt32 { (decoded.tcp?.sequence ?? 0) &+ UInt32(decoded.tcp?.payload.count ?? 0) }
}
