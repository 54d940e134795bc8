import Engine
import PacketTestKit
import Testing

/// FTP over IPv6 (RFC 2428), however inside hosts are known outside: what is announced is told by the address that the
/// other side knows, and let in from there alone. The firewall has to be opened even where nothing is translated.
@Suite struct FTPHelper6Tests {
  typealias Way = FTPTalk6.Way

  /// With filtering that lets nobody in by having been sent to.
  private func strict(_ way: Way) -> Plan { .ftp6(way) { $0.filtering = .addressAndPortDependent } }

  private func client(_ way: Way, _ plan: Plan? = nil) throws -> FTPTalk6 {
    let talk = FTPTalk6.inside(try TestGateway(plan ?? strict(way)), way)
    talk.open()
    talk.say(.server, "220 ready\r\n")
    return talk
  }

  private func server(_ way: Way, _ plan: Plan? = nil) throws -> FTPTalk6 {
    let talk = FTPTalk6.behind(try TestGateway(plan ?? strict(way)), way)
    talk.open()
    talk.say(.server, "220 ready\r\n")
    return talk
  }

  private func command(_ way: Way, _ port: UInt16) -> String { "EPRT |2|\(way.inside)|\(port)|\r\n" }
  private func told(_ way: Way, _ port: UInt16) -> String { "EPRT |2|\(way.outside)|\(port)|\r\n" }

  /// The datagram as it is seen inside.
  private func expectInside(
    _ outcome: TestGateway.Outcome, _ way: Way, _ port: UInt16, from peer: Host6 = FTPTalk6.peer,
    _ peerPort: UInt16 = 20, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    outcome.expectForward6(
      Datagram6.tcp(peer, peerPort, way.inside, port, .syn).hopped, on: "lan", to: way.inside,
      sourceLocation: sourceLocation)
  }

  // MARK: Client inside

  @Test(arguments: Way.allCases) func `A1 EPRT lets the server's connection in, once, and nobody else's`(way: Way)
    throws
  {
    let talk = try client(way)
    talk.connect(to: 51_210, way).expect(.drop)
    #expect(talk.say(.client, command(way, 51_210)) == told(way, 51_210))
    talk.chat(3)
    talk.connect(to: 51_210, way, from: "2001:db8:f::8").expect(.drop)
    talk.connect(to: 51_211, way).expect(.drop)
    talk.gateway.receive6(.udp(FTPTalk6.peer, 20, way.outside, 51_210), on: "wan", via: FTPTalk6.router).expect(.drop)
    talk.gateway.receive6(.tcp(FTPTalk6.peer, 20, way.outside, 51_210, .ack), on: "wan", via: FTPTalk6.router)
      .expect(.drop)
    expectInside(talk.connect(to: 51_210, way), way, 51_210)
    talk.gateway.receive6(
      .tcp(way.inside, 51_210, FTPTalk6.peer, 20, [.syn, .ack], acknowledgment: 1001), on: "lan"
    ).expectForward6(
      Datagram6.tcp(way.outside, 51_210, FTPTalk6.peer, 20, [.syn, .ack], acknowledgment: 1001).hopped, on: "wan",
      to: FTPTalk6.router)
    // The same segment again is of that connection; a second connection is none.
    expectInside(talk.connect(to: 51_210, way), way, 51_210)
    talk.connect(to: 51_210, way, from: FTPTalk6.peer, 1999).expect(.drop)
    #expect(talk.gateway.count(of: .helperOpened) == 1 && talk.gateway.count(of: .helperRefused) == 0)
    talk.chat(2)
  }

  @Test(arguments: Way.allCases) func `The server's own answers to EPSV are left alone`(way: Way) throws {
    let talk = try client(way)
    talk.say(.client, "EPSV\r\n")
    #expect(talk.say(.server, "229 Extended (|||51210|)\r\n") == "229 Extended (|||51210|)\r\n")
    #expect(talk.gateway.count(of: .helperOpened) == 0 && talk.gateway.count(of: .helperRefused) == 0)
    talk.connect(to: 51_210, way).expect(.drop)
  }

  @Test func `A port that a forward has becomes another one`() throws {
    let way = Way.masqueraded
    let talk = try client(
      way,
      .ftp6(way) { _ in
      } more: {
        $0.forward6("web", way, ports: 51_210, to: 80)
      })
    let said = try #require(talk.say(.client, command(way, 51_210)))
    let port = try #require(said.split(separator: "|").dropLast().last.flatMap { UInt16($0) })
    #expect(port != 51_210 && port >= 1024)
    #expect(said == told(way, port))
    talk.chat(2)
    expectInside(talk.connect(to: port, way), way, 51_210)
  }

  // MARK: Server inside

  @Test(arguments: Way.allCases) func `A1 229 opens its port for the client alone, without a word changed`(way: Way)
    throws
  {
    let talk = try server(way)
    talk.say(.client, "EPSV 2\r\n")
    #expect(talk.say(.server, "229 Extended (|||51210|)\r\n") == "229 Extended (|||51210|)\r\n")
    talk.connect(to: 51_210, way, from: "2001:db8:f::8", 40_001).expect(.drop)
    expectInside(talk.connect(to: 51_210, way, from: FTPTalk6.peer, 40_001), way, 51_210, from: FTPTalk6.peer, 40_001)
    talk.chat(2)
    talk.connect(to: 51_210, way, from: FTPTalk6.peer, 40_002).expect(.drop)
  }

  @Test(arguments: Way.allCases) func `The client's EPRT is left alone: its server reaches it as it is`(way: Way) throws
  {
    let talk = try server(way)
    let text = "EPRT |2|2001:db8:f::7|51210|\r\n"
    #expect(talk.say(.client, text) == text)
    #expect(talk.gateway.count(of: .helperOpened) == 0 && talk.gateway.count(of: .helperRefused) == 0)
    talk.gateway.receive6(.tcp(way.inside, 20, FTPTalk6.peer, 51_210, .syn), on: "lan").expectForward6(
      Datagram6.tcp(way.outside, 20, FTPTalk6.peer, 51_210, .syn).hopped, on: "wan", to: FTPTalk6.router)
  }

  @Test func `With the gateway as source, data connections come from where the control connection did`() throws {
    let way = Way.masqueraded
    let plan = Plan.ftp6(way) { _ in
    } more: {
      $0.forwards[0].source = .gateway
    }
    let talk = FTPTalk6.behind(try TestGateway(plan), way)
    talk[.server].peer.host = "2001:db8:2::1"
    talk.open()
    talk.say(.client, "EPSV\r\n")
    talk.say(.server, "229 Extended (|||51210|)\r\n")
    talk.connect(to: 51_210, way, from: FTPTalk6.peer, 40_001).expectForward6(
      Datagram6.tcp("2001:db8:2::1", 40_001, way.inside, 51_210, .syn).hopped, on: "lan", to: way.inside)
    talk.chat(1)
  }

  @Test func `Where a forward leads to the announced endpoint already, its port is told`() throws {
    for way in [Way.masqueraded, .routed] {
      let plan = Plan.ftp6(way) { _ in
      } more: {
        $0.forward6("data", way, ports: 3000, to: 51_210)
      }
      let talk = try server(way, plan)
      talk.say(.client, "EPSV\r\n")
      let port: UInt16 = way == .masqueraded ? 3000 : 51_210
      #expect(talk.say(.server, "229 Extended (|||51210|)\r\n") == "229 Extended (|||\(port)|)\r\n")
      talk.chat(1)
      // It is the forward's: for everybody.
      expectInside(talk.connect(to: port, way, from: "2001:db8:f::8"), way, 51_210, from: "2001:db8:f::8")
    }
  }

  @Test func `A client inside reaches a server inside by the outside address`() throws {
    let way = Way.masqueraded
    let other: Host6 = "2001:db8:2::11"
    let talk = FTPTalk6(
      try TestGateway(.ftp6(way)),
      client: .init(own: .init(other, 5000), peer: .init(way.outside, 21), interface: "lan", next: 1_000_000),
      server: .init(own: .init(way.inside, 21), peer: .init(way.outside, 5000), interface: "lan", next: 5_000_000))
    talk.open()
    talk.say(.client, "EPSV\r\n")
    #expect(talk.say(.server, "229 Extended (|||51210|)\r\n") == "229 Extended (|||51210|)\r\n")
    talk.gateway.receive6(.tcp(other, 5001, way.outside, 51_210, .syn), on: "lan").expectForward6(
      Datagram6.tcp(way.outside, 5001, way.inside, 51_210, .syn).hopped, on: "lan", to: way.inside)
    #expect(talk.say(.client, "EPRT |2|\(other)|51212|\r\n") == "EPRT |2|\(way.outside)|51212|\r\n")
    talk.chat(1)
    talk.gateway.receive6(.tcp(way.inside, 20, way.outside, 51_212, .syn), on: "lan").expectForward6(
      Datagram6.tcp(way.outside, 20, other, 51_212, .syn).hopped, on: "lan", to: other)
  }

  // MARK: Refused

  @Test(arguments: [
    "EPRT |2|2001:db8:2::11|51210|\r\n", "EPRT |2|2001:db8:f::9|51210|\r\n", "EPRT |2|2001:db8:2::10|1023|\r\n",
    "EPRT |2|2001:db8:2::10|0|\r\n", "EPRT |1|192.168.1.10|51210|\r\n", "PORT 192,168,1,10,200,10\r\n",
    "EPRT |2|::ffff:192.168.1.10|51210|\r\n", "EPRT |2|2001:db8:2::10%lan|51210|\r\n",
  ])
  func `A1 over IPv6 another's address, a port below 1024 and what is no command stay as they are`(_ text: String)
    throws
  {
    for way in [Way.routed, .masqueraded] {
      let talk = try client(way)
      #expect(talk.say(.client, text) == text)
      #expect(talk.gateway.count(of: .helperRefused) == 1 && talk.gateway.count(of: .helperOpened) == 0)
      talk.connect(to: 51_210, way).expect(.drop)
      talk.connect(to: 1023, way).expect(.drop)
      talk.chat(1)
    }
  }

  @Test(arguments: Way.allCases) func `A1 over IPv6 a server names an endpoint when it was asked for one, and once`(
    way: Way
  )
    throws
  {
    let talk = try server(way)
    let text = "229 Extended (|||51210|)\r\n"
    talk.say(.server, text)
    talk.connect(to: 51_210, way).expect(.drop)
    for question in ["PASV\r\n", "EPSV 1\r\n", "EPSV ALL\r\n"] {
      talk.say(.client, question)
      talk.say(.server, text)
      talk.connect(to: 51_210, way).expect(.drop)
    }
    #expect(talk.gateway.count(of: .helperOpened) == 0 && talk.gateway.count(of: .helperRefused) == 4)
    talk.say(.client, "EPSV\r\n")
    talk.say(.server, text)
    talk.say(.server, text)
    #expect(talk.gateway.count(of: .helperOpened) == 1 && talk.gateway.count(of: .helperRefused) == 5)
  }

  @Test(arguments: Way.allCases) func `A1 over IPv6 nothing is read but whole lines from the first byte on`(way: Way)
    throws
  {
    let talk = try client(way)
    for text in ["STOR ", command(way, 51_210), "EPRT |2|2001:", "db8:2::10|51210|\r\n"] {
      #expect(talk.say(.client, text) == text)
    }
    let gateway = talk.gateway
    // Picked up in the middle.
    let late = FTPTalk6.inside(gateway, way, port: 5001)
    late[.client].heard = 5_000_000
    late[.server].heard = 1_000_000
    #expect(late.say(.client, command(way, 51_210)) == command(way, 51_210))
    // Encrypted.
    talk.say(.client, "AUTH TLS\r\n")
    talk.say(.server, "234 go on\r\n")
    #expect(talk.say(.client, command(way, 51_210)) == command(way, 51_210))
    #expect(gateway.count(of: .helperOpened) == 0)
    talk.connect(to: 51_210, way).expect(.drop)
  }

  @Test(arguments: Way.allCases) func `U17 A1 over IPv6 without the helper payload is never touched`(way: Way) throws {
    let plan = Plan.ftp6(way) {
      $0.helper = nil
    } more: {
      $0.forwards[0].helper = nil
    }
    for talk in [try client(way, plan), try server(way, plan)] {
      #expect(talk.say(.client, command(way, 51_210)) == command(way, 51_210))
      talk.say(.client, "EPSV\r\n")
      #expect(talk.say(.server, "229 Extended (|||51210|)\r\n") == "229 Extended (|||51210|)\r\n")
      talk.connect(to: 51_210, way).expect(.drop)
    }
  }
}
