import Engine
import PacketTestKit
import Testing

/// Numbers of an IPv6 connection in which a text has become longer or shorter.
@Suite struct SequenceShift6Tests {
  typealias Way = FTPTalk6.Way
  private static let ways: [Way] = [.prefix, .masqueraded]

  private func talk(_ way: Way, first: UInt32 = 1_000_000) throws -> FTPTalk6 {
    let talk = FTPTalk6.inside(try TestGateway(.ftp6(way)), way, first: first)
    talk.open()
    talk.say(.server, "220 ready\r\n")
    return talk
  }

  private func command(_ way: Way, _ port: UInt16 = 51_210) -> String { "EPRT |2|\(way.inside)|\(port)|\r\n" }
  private func changed(_ way: Way, _ port: UInt16 = 51_210) -> String { "EPRT |2|\(way.outside)|\(port)|\r\n" }
  private func growth(_ way: Way) -> Int { changed(way).utf8.count - command(way).utf8.count }

  @Test(arguments: ways) func `Changes add up over IPv6, around the end of the number space`(way: Way) throws {
    let talk = try talk(way, first: 0xFFFF_FF80)
    for round in 0..<40 {
      let port = UInt16(50_000 + round)
      #expect(talk.say(.client, command(way, port)) == changed(way, port))
      talk.chat(1)
    }
    let session = try #require(talk.gateway.sessions().first { $0.original.destination.port == 21 })
    #expect(session.helper == SessionReport.Helper(name: "ftp", originalShift: Int32(40 * growth(way)), replyShift: 0))
    #expect(growth(way) != 0 && session.state == "established")
  }

  @Test(arguments: ways) func `Whatever form an address is written in, it is told in the canonical one`(way: Way) throws
  {
    let talk = try talk(way)
    let words = (0..<8).map { String(format(way.inside.bytes[2 * $0], way.inside.bytes[2 * $0 + 1])) }
    let text = "eprt !2!\(words.joined(separator: ":").uppercased())!51210!\r\n"
    #expect(talk.say(.client, text) == "eprt !2!\(way.outside)!51210!\r\n")
    talk.chat(2)
  }

  private func format(_ high: UInt8, _ low: UInt8) -> String {
    let text = String(UInt16(high) << 8 | UInt16(low), radix: 16)
    return String(repeating: "0", count: 4 - text.count) + text
  }

  @Test(arguments: ways) func `A segment of IPv6 sent again is changed again, with the same numbers`(way: Way) throws {
    let talk = try talk(way)
    let segment = talk.segment(.client, [.ack, .psh], command(way))
    talk[.client].next &+= UInt32(command(way).utf8.count)
    let first = talk.offer(segment, from: .client)
    #expect(talk.take(first, from: .client) == changed(way))
    let before = try #require(first[0].decoded.tcp)
    for _ in 0..<2 {
      let again = talk.offer(segment, from: .client)
      #expect(again.count == 1 && again[0].decoded.text == changed(way))
      #expect(again[0].decoded.tcp?.sequence == before.sequence)
      talk.chat(1)
    }
    // No part of it goes out by itself.
    let part = talk.segment(.client, .ack, String(command(way).dropFirst(12)))
    var bytes = part.payload
    let number = segment.payload[4..<8].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } &+ 12
    bytes =
      Datagram6.tcp(
        talk[.client].own.host, talk[.client].own.port, talk[.client].peer.host, talk[.client].peer.port, .ack,
        sequence: number, acknowledgment: talk[.client].heard, String(command(way).dropFirst(12))
      ).payload
    #expect(talk.offer(part.with { $0.payload = bytes }, from: .client).isEmpty)
    #expect(talk.gateway.drops(.helperOrder) == 1)
    #expect(talk.gateway.count(of: .helperOpened) == 1)
    talk.chat(1)
  }

  @Test(arguments: ways) func `What comes before its turn, or with a wrong checksum, is not read over IPv6`(way: Way)
    throws
  {
    let talk = try talk(way)
    let own = talk[.client]
    let early = Datagram6.tcp(
      own.own.host, own.own.port, own.peer.host, own.peer.port, .ack, sequence: own.next &+ 6,
      acknowledgment: own.heard, command(way))
    #expect(talk.offer(early, from: .client).isEmpty && talk.gateway.drops(.helperOrder) == 1)
    let wrong = talk.segment(.client, .ack, command(way)).with { $0.payload[16] ^= 0x55 }
    let outcome = talk.gateway.receive6(wrong, on: "lan")
    #expect(outcome.forwarded?.decoded.text == command(way))
    #expect(outcome.forwarded?.decoded.checksumProblems().isEmpty == false)
    #expect(talk.gateway.count(of: .helperOpened) == 0)
    talk.say(.client, "NOOP\r\n")
    #expect(talk.say(.client, command(way)) == changed(way))
    talk.chat(1)
  }

  @Test(arguments: ways) func `An ICMPv6 error quotes the numbers that its receiver has sent`(way: Way) throws {
    let talk = try talk(way)
    talk.say(.client, command(way))
    talk.chat(1)
    let sent = talk.segment(.client, .ack, "NOOP\r\n")
    let left = try #require(talk.offer(sent, from: .client).last)
    func error(_ change: (inout [UInt8]) -> Void) -> Datagram6 {
      var quote = Array(left.bytes.dropFirst(14))
      change(&quote)
      return .icmp(FTPTalk6.router, way.outside, type: 2, 1400, quote)
    }
    let outcome = talk.gateway.receive6(error { _ in }, on: "wan")
    let told = try #require(outcome.forwarded?.decoded)
    #expect(told.problems.isEmpty && told.checksumProblems().isEmpty)
    // All that was sent, as it was sent, but for the hop limit.
    #expect(Array(told.bytes.dropFirst(14 + 40 + 8)) == sent.hopped.bytes)
    talk.gateway.receive6(error { $0[44] ^= 0x40 }, on: "wan").expectDrop(.icmpForged)
  }

  @Test(arguments: ways) func `An unfinished checksum and a super-frame of IPv6 have their new length`(way: Way) throws
  {
    var offload = OffloadHeader()
    offload.flags = OffloadHeader.needsChecksum
    offload.checksumStart = 54
    offload.checksumOffset = 16
    offload.headerLength = 74
    for segmentSize: UInt16 in [0, 1440] {
      let talk = try talk(way)
      let lines = String(repeating: "NOOP\r\n", count: segmentSize == 0 ? 1 : 500)
      var sized = offload
      if segmentSize > 0 {
        sized.segmentation = OffloadHeader.segmentTCP6
        sized.segmentSize = segmentSize
      }
      let whole = talk.segment(.client, [.ack, .psh], lines + command(way))
      let pseudo =
        whole.source.bytes + whole.destination.bytes
        + [0, 0, UInt8(whole.payload.count >> 8), UInt8(whole.payload.count & 0xFF), 0, 0, 0, 6]
      let sum = InternetChecksum.sum(pseudo)
      let segment = whole.with { $0.payload.replaceSubrange(16..<18, with: [UInt8(sum >> 8), UInt8(sum & 0xFF)]) }
      talk[.client].next &+= UInt32((lines + command(way)).utf8.count)
      let got = talk.offer(segment, from: .client, offload: sized)
      #expect(got.last?.offload == sized)
      #expect(talk.take(got, from: .client) == lines + changed(way))
      talk.chat(1)
    }
  }

  @Test(arguments: ways) func `A full segment of IPv6 without room for a longer text is left alone`(way: Way) throws {
    let talk = try talk(way)
    let text = String(repeating: "x", count: 1440 - command(way).utf8.count - 2) + "\r\n" + command(way)
    #expect(talk.say(.client, text) == text)
    #expect(talk.gateway.count(of: .helperRefused) == 1)
    talk.chat(1)
  }

  @Test(arguments: Way.allCases) func `A18 random segments of both ends harm nothing over IPv6`(way: Way) throws {
    let gateway = try TestGateway(.ftp6(way))
    var random = Seeded(18)
    let texts = [
      "EPRT |2|\(way.inside)|51210|\r\n", "EPSV\r\n", "229 (|||51210|)\r\n", "EPRT |2|", "\r\n", "NOOP\r\n",
      "EPRT |2|1:2:3:4:5:6:7:8:9|1|\r\n", String(repeating: "x", count: 600), "",
    ]
    for round in 0..<3000 {
      let (talk, base) = (
        round % 2 == 0 ? FTPTalk6.inside(gateway, way) : .behind(gateway, way), UInt32(truncatingIfNeeded: round / 200)
      )
      let end: FTPTalk6.End = random.next() % 2 == 0 ? .client : .server
      talk[end].next &+= base &* 1000 &+ UInt32(random.next() % 64)
      talk[end].heard = talk[end.other].next &+ UInt32(random.next() % 64)
      let flags: [TCPHeader.Flags] = [.syn, [.syn, .ack], .ack, [.ack, .psh], [.fin, .ack], .rst]
      let segment = talk.segment(
        end, flags[Int(random.next() % 6)], texts[Int(random.next() % UInt64(texts.count))])
      _ = talk.offer(segment, from: end)
    }
    gateway.advance(to: 100_000)
    #expect(gateway.live == 0)
  }
}
