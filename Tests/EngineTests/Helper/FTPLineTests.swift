import PacketTestKit
import Testing

@testable import Engine

/// What an FTP helper takes for an endpoint, and what it does not (RFC 959, RFC 2428; REQUIREMENTS A1, A18).
@Suite struct FTPLineTests {
  private func read(_ text: String, isReply: Bool = false, isIPv6: Bool = false) -> FTPLine {
    read(Array(text.utf8), isReply, isIPv6)
  }

  private func read(_ bytes: [UInt8], _ isReply: Bool, _ isIPv6: Bool = false) -> FTPLine {
    // Of the very size, so that a byte too far is seen by the address sanitizer.
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, bytes.count), alignment: 1)
    defer { memory.deallocate() }
    memory.copyMemory(from: bytes, byteCount: bytes.count)
    return FTPLine(memory, count: bytes.count, isReply: isReply, isIPv6: isIPv6)
  }

  private func endpoint(_ line: FTPLine) -> (address: IPAddress?, port: UInt16, text: Range<Int>)? {
    guard case .names(let endpoint) = line else { return nil }
    return (endpoint.address, endpoint.port, endpoint.offset..<endpoint.offset + endpoint.length)
  }

  @Test func `PORT and EPRT name the client's endpoint`() throws {
    for text in ["PORT 192,168,1,10,4,1", "port 192,168,1,10,4,1", "PoRt 192,168,001,010,4,1"] {
      let found = try #require(endpoint(read(text)))
      #expect(found.address == .v4(IPv4Address(192, 168, 1, 10)) && found.port == 1025)
      #expect(found.text == 5..<text.utf8.count)
    }
    for delimiter in ["|", "!", "~"] {
      let text = "EPRT |1|192.168.1.10|50000|".replacing("|", with: delimiter)
      let found = try #require(endpoint(read(text)))
      #expect(found.address == .v4(IPv4Address(192, 168, 1, 10)) && found.port == 50_000 && found.text == 8..<26)
    }
  }

  @Test func `227 and 229 name the server's endpoint`() throws {
    for text in [
      "227 Entering Passive Mode (192,168,1,10,4,1).", "227 Entering Passive Mode. 192,168,1,10,4,1",
      "227 =192,168,1,10,4,1",
    ] {
      let found = try #require(endpoint(read(text, isReply: true)))
      #expect(found.address == .v4(IPv4Address(192, 168, 1, 10)) && found.port == 1025)
      #expect(found.text.count == "192,168,1,10,4,1".count)
    }
    let found = try #require(endpoint(read("229 Entering Extended Passive Mode (|||65535|)", isReply: true)))
    #expect(found.address == nil && found.port == 65_535 && found.text.count == 5)
  }

  @Test func `Requests for an endpoint, and for encryption, are known`() {
    #expect(read("PASV") == .asks(.passive) && read("epsv") == .asks(.extendedPassive))
    #expect(read("EPSV 1") == .asks(.extendedPassive))
    #expect(read("EPSV ALL") == .other && read("EPSV 2") == .other && read("PASV 1") == .other)
    #expect(read("AUTH TLS") == .securing && read("234 go", isReply: true) == .secured)
  }

  @Test(arguments: [
    "PORT 192,168,1,10,4", "PORT 192,168,1,10,4,1,1", "PORT 192,168,1,10,4,256", "PORT 192,168,1,10,4,1 ",
    "PORT  1,2,3,4,5,6",
    "PORT 192.168.1.10,4,1", "PORT 0192,168,1,10,4,1", "PORT -1,2,3,4,5,6", "PORT ", "PORT 1", "PORT 1,",
    "PORT ,1,2,3,4,5",
    "EPRT |2|2001:db8::10|1025|", "EPRT |1|192.168.1.10|1025", "EPRT |1|192.168.1.10|65536|",
    "EPRT |1|192.168.1.10|99999999|",
    "EPRT |1|192.168.01.10|1025|", "EPRT |1|192.168.1|1025|", "EPRT |1|192.168.1.10|1025|x",
    "EPRT |1!192.168.1.10|1025|",
    "EPRT 1111192.168.1.1011025", "EPRT |", "EPRT .1.192.168.1.10.1025.", "EPRT |1|192.168.1.10||",
  ])
  func `A18 commands that are not to the letter name nothing`(_ text: String) {
    #expect(read(text) == .malformed)
  }

  @Test(arguments: [
    "227 Entering Passive Mode", "227 (192,168,1,10,4)", "227 (192,168,1,10,4,1,1)", "227 (192,168,1,10,4,1000)",
    "227 (1,2,3,4,5,",
    "229 Entering (|||65536|)", "229 Entering |||1025|", "229 (||1025|)", "229 (|||1025)", "229 (|||", "229 (",
    "229 (!|!1025!)",
    "229 (||||)",
  ])
  func `A18 replies that are not to the letter name nothing`(_ text: String) {
    #expect(read(text, isReply: true) == .malformed)
  }

  @Test(arguments: [
    "", "P", "POR", "PORT", "XPORT 1,2,3,4,5,6", " PORT 1,2,3,4,5,6", "PORT\t1,2,3,4,5,6", "PORTX 1,2,3,4,5,6",
    "227 (1,2,3,4,5,6)",
    "POST /PORT 1,2,3,4,5,6", "REGISTER sip:a", "EPRTX|1|1.2.3.4|1025|",
  ])
  func `A1 nothing but a whole command at the beginning of a line is one`(_ text: String) {
    #expect(read(text) == .other)
  }

  @Test func `A reply is none of the client's, nor one that goes on`() {
    #expect(read("227-Entering Passive Mode (1,2,3,4,5,6)", isReply: true) == .other)
    #expect(read("PORT 1,2,3,4,5,6", isReply: true) == .other)
    #expect(read(" 227 (1,2,3,4,5,6)", isReply: true) == .other)
  }

  @Test func `A18 a line longer than 512 bytes is none`() {
    let text = "227 " + String(repeating: "x", count: 490) + "1,2,3,4,5,6"
    #expect(endpoint(read(text, isReply: true)) != nil)
    #expect(read("227 " + String(repeating: "x", count: 500) + "1,2,3,4,5,6", isReply: true) == .other)
  }

  // MARK: IPv6

  @Test(arguments: [
    ("2001:db8:2::10", "2001:db8:2::10"), ("2001:DB8:2:0:0:0:0:10", "2001:db8:2::10"), ("::1", "::1"), ("1::", "1::"),
    ("::", "::"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("fe80:0000:0000:0000:0001:0002:0003:0004", "fe80::1:2:3:4"),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
  ])
  func `EPRT names the client's IPv6 endpoint`(_ written: String, _ canonical: String) throws {
    for delimiter in ["|", "!", "~"] {
      let text = "EPRT |2|\(written)|50000|".replacing("|", with: delimiter)
      let found = try #require(endpoint(read(text, isIPv6: true)))
      #expect(found.address.map { "\($0)" } == canonical && found.port == 50_000)
      #expect(found.address == IPv6Address(written).map(IPAddress.v6))
      #expect(found.text == 8..<text.utf8.count - 1)
      #expect(read(text) == .malformed)
    }
  }

  @Test(arguments: [
    "EPRT |2|2001:db8::10|65536|", "EPRT |2|2001:db8::10|01025|", "EPRT |2|2001:db8::10|1025",
    "EPRT |2|2001:db8:|1025|",
    "EPRT |2|:1:2:3:4:5:6:7:8|1025|", "EPRT |2|1:2:3:4:5:6:7|1025|", "EPRT |2|1:2:3:4:5:6:7:8:9|1025|",
    "EPRT |2|1:2:3:4:5:6:7:8::|1025|", "EPRT |2|1::2::3|1025|", "EPRT |2|:::|1025|", "EPRT |2|12345::|1025|",
    "EPRT |2|::ffff:192.168.1.10|1025|", "EPRT |2|2001:db8::g|1025|", "EPRT |2|2001:db8::10%eth0|1025|",
    "EPRT |2|[2001:db8::10]|1025|", "EPRT |2||1025|", "EPRT |2|2001:db8::10||", "EPRT :2:2001:db8::10:1025:",
    "EPRT a2a2001:db8::10a1025a", "EPRT |1|192.168.1.10|1025|", "EPRT |3|2001:db8::10|1025|",
    "EPRT |2|2001:db8::10|1025|x", "PORT 192,168,1,10,4,1", "EPRT |2|1:2:3:4:5:6:7:8:|1025|",
  ])
  func `A18 commands over IPv6 that are not to the letter name nothing`(_ text: String) {
    #expect(read(text, isIPv6: true) == .malformed)
  }

  @Test func `Over IPv6 EPSV alone asks, and 229 alone answers`() throws {
    #expect(
      read("EPSV", isIPv6: true) == .asks(.extendedPassive) && read("EPSV 2", isIPv6: true) == .asks(.extendedPassive))
    #expect(read("EPSV 1", isIPv6: true) == .other && read("EPSV ALL", isIPv6: true) == .other)
    #expect(read("227 Entering Passive Mode (192,168,1,10,4,1).", isReply: true, isIPv6: true) == .malformed)
    let found = try #require(endpoint(read("229 Extended (|||65535|)", isReply: true, isIPv6: true)))
    #expect(found.address == nil && found.port == 65_535 && found.text.count == 5)
  }

  @Test func `What is written of IPv6 is what was read`() throws {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: FTPEndpoint.longest, alignment: 1)
    defer { memory.deallocate() }
    var random = SplitMix64(state: 6)
    for _ in 0..<2000 {
      // With runs of zeros at all places.
      func half() -> UInt64 {
        (0..<4).reduce(0) { value, _ in value << 16 | (random.next() % 2 == 0 ? 0 : random.next() & 0xFFFF) }
      }
      let address = IPv6Address(high: half(), low: half())
      let count = FTPEndpoint.write(.extendedPort, .v6(address), 65_535, UInt8(ascii: "|"), to: memory)
      #expect(count <= FTPEndpoint.longest)
      let text = String(decoding: UnsafeRawBufferPointer(start: memory, count: count), as: UTF8.self)
      #expect(text == "\(address)|65535" && IPv6Address(String(text.dropLast(6))) == address)
      let found = try #require(endpoint(read("EPRT |2|\(text)|", isIPv6: true)))
      #expect(found.address == .v6(address) && found.text.count == count)
    }
  }

  @Test func `What is written is what was read`() throws {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: FTPEndpoint.longest, alignment: 1)
    defer { memory.deallocate() }
    for (address, port) in [
      (IPv4Address(255, 255, 255, 255), 65_535), (IPv4Address(0, 0, 0, 0), 0), (IPv4Address(203, 0, 113, 1), 1024),
      (IPv4Address(10, 100, 9, 99), 50_000),
    ] {
      for (form, head, tail) in [
        (FTPForm.port, "PORT ", ""), (.extendedPort, "EPRT |1|", "|"), (.passive, "227 (", ")"),
        (.extendedPassive, "229 (|||", "|)"),
      ] {
        let count = FTPEndpoint.write(form, .v4(address), UInt16(port), UInt8(ascii: "|"), to: memory)
        #expect(count <= FTPEndpoint.longestIPv4)
        let text = String(decoding: UnsafeRawBufferPointer(start: memory, count: count), as: UTF8.self)
        let isReply = form == .passive || form == .extendedPassive
        let found = try #require(endpoint(read(head + text + tail, isReply: isReply)))
        #expect(found.port == port && found.address == (form == .extendedPassive ? nil : .v4(address)))
        #expect(found.text.count == count)
      }
    }
  }

  @Test func `A18 any bytes are read without harm`() {
    var random = SplitMix64(state: 18)
    let seeds = [
      "PORT 192,168,1,10,4,1", "EPRT |1|192.168.1.10|1025|", "227 Entering Passive Mode (192,168,1,10,4,1).",
      "229 Entering Extended Passive Mode (|||1025|)", "EPRT |2|2001:db8:0:1::10|1025|", "EPRT |2|1:2:3:4:5:6:7:8|1|",
    ].map { Array($0.utf8) }
    for _ in 0..<40_000 {
      var bytes = seeds[Int(random.next() % 6)]
      for _ in 0..<(random.next() % 4) {
        switch random.next() % 3 {
        case 0: bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: Int(random.next() % UInt64(bytes.count)))
        default: if bytes.count > 1 { bytes.removeLast(Int(random.next() % UInt64(bytes.count))) }
        }
      }
      for (isReply, isIPv6) in [(false, false), (true, false), (false, true), (true, true)] {
        guard case .names(let found) = read(bytes, isReply, isIPv6) else { continue }
        #expect(found.offset >= 5 && found.length > 0 && found.length <= FTPEndpoint.longest)
        #expect(found.offset + found.length <= bytes.count)
      }
    }
  }
}
