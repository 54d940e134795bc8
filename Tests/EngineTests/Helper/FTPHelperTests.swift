import Engine
import PacketTestKit
import Testing

/// FTP through translation: what is announced is changed, opened for the peer alone, and every number behind it is shifted.
@Suite struct FTPHelperTests {
  /// The port in a text like "203,0,113,1,4,1" or "|1025|".
  private func namedPort(in text: String?) -> UInt16? {
    guard let text else { return nil }
    let numbers = text.split { !$0.isNumber }.compactMap { Int($0) }
    if text.contains("|") { return numbers.last.map { UInt16($0) } }
    return numbers.count >= 6 ? UInt16(numbers[numbers.count - 2] * 256 + numbers[numbers.count - 1]) : nil
  }

  private let data: Peer = "198.51.100.7:20"

  // MARK: Client inside

  @Test func `PORT names the outside endpoint, and the server's connection comes in`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.inside(gateway)
    talk.open()
    talk.say(.server, "220 ready\r\n")
    #expect(talk.say(.client, "PORT 192,168,1,10,200,10\r\n") == "PORT 203,0,113,1,200,10\r\n")
    talk.chat(3)
    let syn = Packet.tcp(data, Peer(wan, 51_210), .syn)
    gateway.receive(syn, on: "wan").expectForward(syn.translated(to: "192.168.1.10:51210"), on: "lan")
    let answer = Packet.tcp("192.168.1.10:51210", data, [.syn, .ack])
    gateway.receive(answer, on: "lan").expectForward(answer.translated(from: Peer(wan, 51_210)), on: "wan")
    #expect(gateway.count(of: .helperOpened) == 1 && gateway.count(of: .helperRefused) == 0)
    // It was for one connection.
    gateway.receive(.tcp("198.51.100.7:22222", Peer(wan, 51_210), .syn), on: "wan").expect(.forward)
    #expect(gateway.sessions().count == 3)
  }

  @Test func `With strict filtering one connection is let in, and from the server alone`() throws {
    let gateway = try TestGateway(.ftp { $0.filtering = .addressAndPortDependent })
    let talk = FTPTalk.inside(gateway)
    talk.open()
    #expect(talk.say(.client, "PORT 192,168,1,10,200,10\r\n") == "PORT 203,0,113,1,200,10\r\n")
    let target = Peer(wan, 51_210)
    gateway.receive(.tcp(stranger, target, .syn), on: "wan").expect(.drop)
    gateway.receive(.udp(data, target), on: "wan").expect(.drop)
    gateway.receive(.tcp(data, target, .ack), on: "wan").expect(.drop)
    gateway.receive(.tcp(data, target, .syn), on: "wan").expect(.forward)
    gateway.receive(.tcp("198.51.100.7:1999", target, .syn), on: "wan").expectDrop(.filtered)
    // The same segment again belongs to the session.
    gateway.receive(.tcp(data, target, .syn), on: "wan").expect(.forward)
  }

  @Test(arguments: ["|", "!"]) func `EPRT names the outside endpoint with its own delimiter`(_ delimiter: String) throws
  {
    let talk = FTPTalk.inside(try TestGateway(.ftp()))
    talk.open()
    let text = "EPRT |1|192.168.1.10|51210|\r\n".replacing("|", with: delimiter)
    #expect(talk.say(.client, text) == "EPRT |1|203.0.113.1|51210|\r\n".replacing("|", with: delimiter))
    talk.chat(2)
    talk.gateway.receive(.tcp(data, Peer(wan, 51_210), .syn), on: "wan").expect(.forward)
  }

  @Test func `A port that somebody has becomes another one`() throws {
    let gateway = try TestGateway(.ftp())
    gateway.receive(.tcp("192.168.1.11:51210", stranger, .syn), on: "lan").expect(.forward)
    let talk = FTPTalk.inside(gateway)
    talk.open()
    let said = talk.say(.client, "PORT 192,168,1,10,200,10\r\n")
    let port = try #require(namedPort(in: said))
    #expect(port != 51_210 && port >= 1024)
    talk.chat(2)
    let syn = Packet.tcp(data, Peer(wan, port), .syn)
    gateway.receive(syn, on: "wan").expectForward(syn.translated(to: "192.168.1.10:51210"), on: "lan")
  }

  @Test func `The server's own answers to PASV are left alone`() throws {
    let talk = FTPTalk.inside(try TestGateway(.ftp()))
    talk.open()
    talk.say(.client, "PASV\r\n")
    let answer = "227 Entering Passive Mode (198,51,100,7,200,10).\r\n"
    #expect(talk.say(.server, answer) == answer)
    #expect(talk.gateway.count(of: .helperOpened) == 0 && talk.gateway.count(of: .helperRefused) == 0)
  }

  // MARK: Server inside

  @Test func `227 names the outside endpoint, and the client's connection comes in`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.behind(gateway)
    talk.open()
    talk.say(.client, "PASV\r\n")
    let said = talk.say(.server, "227 Entering Passive Mode (192,168,1,10,200,10).\r\n")
    #expect(said == "227 Entering Passive Mode (203,0,113,1,200,10).\r\n")
    talk.chat(3)
    gateway.receive(.tcp(stranger, Peer(wan, 51_210), .syn), on: "wan").expect(.drop)
    let syn = Packet.tcp("198.51.100.7:40001", Peer(wan, 51_210), .syn)
    gateway.receive(syn, on: "wan").expectForward(syn.translated(to: "192.168.1.10:51210"), on: "lan")
  }

  @Test func `229 stays as it is where its port is free outside, and opens it`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.behind(gateway)
    talk.open()
    talk.say(.client, "EPSV\r\n")
    #expect(talk.say(.server, "229 Extended (|||51210|)\r\n") == "229 Extended (|||51210|)\r\n")
    gateway.receive(.tcp("198.51.100.7:40001", Peer(wan, 51_210), .syn), on: "wan").expect(.forward)
    // Somebody else has the next one.
    gateway.receive(.tcp("192.168.1.11:60000", stranger, .syn), on: "lan").expect(.forward)
    talk.say(.client, "EPSV\r\n")
    let port = try #require(namedPort(in: talk.say(.server, "229 Extended (|||60000|)\r\n")))
    #expect(port != 60_000)
    talk.chat(2)
    let syn = Packet.tcp("198.51.100.7:40002", Peer(wan, port), .syn)
    gateway.receive(syn, on: "wan").expectForward(syn.translated(to: "192.168.1.10:60000"), on: "lan")
  }

  @Test func `Without a masquerade, and with the gateway as source, a forward alone will do`() throws {
    let plan = Plan.home {
      $0.forward("ftp", ports: "2121", to: "192.168.1.10:21") {
        $0.helper = .ftp
        $0.source = .gateway
      }
    }
    let gateway = try TestGateway(plan)
    let talk = FTPTalk.behind(gateway, source: "192.168.1.1:40000")
    talk[.client].peer.port = 2121
    talk.open()
    talk.say(.client, "PASV\r\n")
    let said = talk.say(.server, "227 Entering Passive Mode (192,168,1,10,200,10).\r\n")
    #expect(said == "227 Entering Passive Mode (203,0,113,1,200,10).\r\n")
    let syn = Packet.tcp("198.51.100.7:40001", Peer(wan, 51_210), .syn)
    // The server takes data connections from the control connection's end alone.
    gateway.receive(syn, on: "wan").expectForward(
      syn.translated(from: "192.168.1.1:40001", to: "192.168.1.10:51210"), on: "lan")
    talk.chat(2)
  }

  @Test func `Where a forward leads to the announced endpoint already, its port is named`() throws {
    let gateway = try TestGateway(
      .ftp(more: { $0.forward("data", ports: "3000-3009", to: "192.168.1.10:51210-51219") }))
    let talk = FTPTalk.behind(gateway)
    talk.open()
    talk.say(.client, "PASV\r\n")
    let said = talk.say(.server, "227 Entering Passive Mode (192,168,1,10,200,11).\r\n")
    #expect(said == "227 Entering Passive Mode (203,0,113,1,11,185).\r\n")
    talk.chat(1)
  }

  @Test func `A client inside reaches a server inside by the outside address`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk(
      gateway,
      client: FTPTalk.Stack(own: "192.168.1.11:5000", peer: Peer(wan, 21), interface: "lan", next: 1_000_000),
      server: FTPTalk.Stack(own: Peer(server, 21), peer: Peer(wan, 5000), interface: "lan", next: 5_000_000))
    talk.open()
    talk.say(.client, "PASV\r\n")
    let said = talk.say(.server, "227 Entering Passive Mode (192,168,1,10,200,10).\r\n")
    #expect(said == "227 Entering Passive Mode (203,0,113,1,200,10).\r\n")
    let syn = Packet.tcp("192.168.1.11:5001", Peer(wan, 51_210), .syn)
    gateway.receive(syn, on: "lan").expectForward(
      syn.translated(from: Peer(wan, 5001), to: "192.168.1.10:51210"), on: "lan")
    #expect(talk.say(.client, "PORT 192,168,1,11,200,12\r\n") == "PORT 203,0,113,1,200,12\r\n")
    talk.chat(1)
    let back = Packet.tcp("192.168.1.10:20", Peer(wan, 51_212), .syn)
    gateway.receive(back, on: "lan").expectForward(
      back.translated(from: Peer(wan, 20), to: "192.168.1.11:51212"), on: "lan")
  }

  // MARK: Life of an expectation

  @Test func `Nobody comes for a minute, and the port is nobody's again`() throws {
    let gateway = try TestGateway(.ftp { $0.filtering = .addressAndPortDependent })
    let talk = FTPTalk.inside(gateway)
    talk.open()
    talk.say(.client, "PORT 192,168,1,10,200,10\r\n")
    gateway.receive(.tcp(data, Peer(wan, 51_210), .syn), on: "wan", at: 59).expect(.forward)
    talk.say(.client, "PORT 192,168,1,10,200,11\r\n", at: 60)
    gateway.receive(.tcp(data, Peer(wan, 51_211), .syn), on: "wan", at: 121).expectDrop(.noForward)
    gateway.advance(to: 1000)
    #expect(gateway.use.mappings == 1)
  }

  @Test func `One at a time: the next announcement closes the one before`() throws {
    let gateway = try TestGateway(.ftp { $0.filtering = .addressAndPortDependent })
    let talk = FTPTalk.inside(gateway)
    talk.open()
    talk.say(.client, "PORT 192,168,1,10,200,10\r\n")
    talk.say(.server, "200 ok\r\n")
    talk.say(.client, "PORT 192,168,1,10,200,11\r\n")
    gateway.receive(.tcp(data, Peer(wan, 51_210), .syn), on: "wan").expectDrop(.noForward)
    gateway.receive(.tcp(data, Peer(wan, 51_211), .syn), on: "wan").expect(.forward)
  }

  @Test func `A1 there are never two: each announcement has closed all before it, after a restart too`() throws {
    let boot = BootIdentity(high: 1, low: 2)
    let strict = Plan.ftp { $0.filtering = .addressAndPortDependent }
    for isServerInside in [false, true] {
      let gateway = try TestGateway(strict, boot: boot)
      let talk = isServerInside ? FTPTalk.behind(gateway) : .inside(gateway)
      talk.open()
      var last: UInt16 = 0
      for port: UInt16 in 51_200..<51_220 {
        if isServerInside { talk.say(.client, port % 2 == 0 ? "PASV\r\n" : "EPSV\r\n") }
        let (high, low) = (port / 256, port % 256)
        switch (isServerInside, port % 2) {
        case (false, 0): talk.say(.client, "PORT 192,168,1,10,\(high),\(low)\r\n")
        case (false, _): talk.say(.client, "EPRT |1|192.168.1.10|\(port)|\r\n")
        case (true, 0): talk.say(.server, "227 Entering Passive Mode (192,168,1,10,\(high),\(low)).\r\n")
        case (true, _): talk.say(.server, "229 Extended (|||\(port)|)\r\n")
        }
        // The other end acknowledges what was changed.
        talk.chat(1)
        for old in 51_200..<port {
          talk.gateway.receive(.tcp(data, Peer(wan, old), .syn), on: "wan").expectDrop(.noForward)
        }
        if port % 5 == 0 { talk.gateway = try talk.gateway.restarted(strict, boot: boot).0 }
        last = port
      }
      #expect(talk.gateway.count(of: .helperRefused) == 0)
      talk.gateway.receive(.tcp(data, Peer(wan, last), .syn), on: "wan").expect(.forward)
      talk.gateway.receive(.tcp("198.51.100.7:1999", Peer(wan, last), .syn), on: "wan").expectDrop(.filtered)
    }
  }

  @Test func `A second one before the first is acknowledged is left alone`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.inside(gateway)
    talk.open()
    let said = talk.say(.client, "PORT 192,168,1,10,200,10\r\nPORT 192,168,1,10,200,11\r\n")
    #expect(said == "PORT 203,0,113,1,200,10\r\nPORT 192,168,1,10,200,11\r\n")
    #expect(gateway.count(of: .helperRefused) == 1)
    talk.chat(1)
  }

  // MARK: Refused

  @Test(arguments: [
    "PORT 192,168,1,11,200,10\r\n", "PORT 8,8,8,8,200,10\r\n", "EPRT |1|192.168.1.11|51210|\r\n",
    "PORT 192,168,1,10,3,255\r\n", "PORT 192,168,1,10,0,0\r\n", "EPRT |1|192.168.1.10|22|\r\n",
    "EPRT |2|2001:db8::10|51210|\r\n", "PORT 192,168,1,10,200\r\n",
  ])
  func `A1 another's address, a port below 1024 and what is no command stay as they are`(_ text: String) throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.inside(gateway)
    talk.open()
    #expect(talk.say(.client, text) == text)
    #expect(gateway.count(of: .helperRefused) == 1 && gateway.count(of: .helperOpened) == 0)
    #expect(gateway.use.mappings == 1)
    talk.chat(1)
  }

  @Test func `A1 a server names an endpoint when it was asked for one, and once`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.behind(gateway)
    talk.open()
    let text = "227 Entering Passive Mode (192,168,1,10,200,10).\r\n"
    #expect(talk.say(.server, text) == text)
    talk.say(.client, "EPSV\r\n")
    #expect(talk.say(.server, text) == text)
    talk.say(.client, "PASV\r\n")
    #expect(talk.say(.server, text) != text)
    #expect(talk.say(.server, text) == text)
    #expect(gateway.count(of: .helperOpened) == 1 && gateway.count(of: .helperRefused) == 3)
  }

  @Test func `A1 what does not begin with the stream is not read`() throws {
    // Picked up in the middle.
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.inside(gateway)
    talk[.client].heard = 5_000_000
    talk[.server].heard = 1_000_000
    let text = "PORT 192,168,1,10,200,10\r\n"
    #expect(talk.say(.client, text) == text)
    #expect(talk.say(.server, "200 ok\r\n") == "200 ok\r\n")
    #expect(talk.say(.client, text) == text)
    // Data in the SYN.
    let other = FTPTalk.inside(gateway, from: "192.168.1.10:5001")
    _ = other.offer(other.segment(.client, .syn, "USER a\r\n"), from: .client)
    other[.client].next &+= 9
    other[.server].heard = other[.client].next
    _ = other.offer(other.segment(.server, [.syn, .ack]), from: .server)
    other[.server].next &+= 1
    other[.client].heard = other[.server].next
    #expect(other.say(.client, text) == text)
    #expect(gateway.count(of: .helperOpened) == 0)
  }

  @Test func `A1 a command in the middle of a line, or cut in two, is none`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.inside(gateway)
    talk.open()
    for text in [
      "STOR ", "PORT 192,168,1,10,200,10\r\n", "PORT 192,168,1,", "10,200,10\r\n", "X\nEPRT",
      " |1|192.168.1.10|51210|\r\n",
    ] {
      #expect(talk.say(.client, text) == text)
    }
    #expect(gateway.count(of: .helperOpened) == 0)
    #expect(talk.say(.client, "PORT 192,168,1,10,200,10\r\n") == "PORT 203,0,113,1,200,10\r\n")
  }

  @Test func `What is encrypted is not read`() throws {
    let gateway = try TestGateway(.ftp())
    let talk = FTPTalk.inside(gateway)
    talk.open()
    talk.say(.client, "AUTH TLS\r\n")
    talk.say(.server, "234 go on\r\n")
    let text = "PORT 192,168,1,10,200,10\r\n"
    #expect(talk.say(.client, text) == text)
    #expect(gateway.count(of: .helperOpened) == 0)
  }

  @Test func `U17 A1 without the helper, and at other ports, payload is never touched`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward("ftp", ports: "21", to: "192.168.1.10") }))
    let helped = try TestGateway(.ftp())
    let talks = [
      FTPTalk.inside(gateway), FTPTalk.behind(gateway), FTPTalk.inside(helped, to: "198.51.100.7:2121"),
    ]
    for talk in talks {
      talk.open()
      let command = talk[.client].interface == "lan" ? "PORT 192,168,1,10,200,10\r\n" : "PASV\r\n"
      #expect(talk.say(.client, command) == command)
      let reply = "227 Entering Passive Mode (192,168,1,10,200,10).\r\n"
      #expect(talk.say(.server, reply) == reply)
    }
    #expect(gateway.use.mappings == 1 && helped.use.mappings == 1)
  }
}
