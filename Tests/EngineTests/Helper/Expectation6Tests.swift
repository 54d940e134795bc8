import Engine
import PacketTestKit
import Testing

/// One data connection at a time for each control connection, as long as that lives, and a minute at most.
@Suite struct Expectation6Tests {
  typealias Way = FTPTalk6.Way

  private static let boot = BootIdentity(high: 1, low: 2)

  private func client(_ way: Way, _ plan: Plan? = nil, port: UInt16 = 5000) throws -> FTPTalk6 {
    let talk = FTPTalk6.inside(try TestGateway(plan ?? .ftp6(way), boot: Self.boot), way, port: port)
    talk.open()
    talk.say(.server, "220 ready\r\n")
    return talk
  }

  private func command(_ way: Way, _ port: UInt16) -> String { "EPRT |2|\(way.inside)|\(port)|\r\n" }

  @Test(arguments: Way.allCases) func `A1 over IPv6 the next announcement closes the one before at once`(way: Way)
    throws
  {
    let talk = try client(way)
    for port: UInt16 in 51_000..<51_020 {
      talk.say(.client, command(way, port))
      talk.say(.server, "200 ok\r\n")
      // The one before, and any before that.
      for old in 51_000..<port { talk.connect(to: old, way).expect(.drop) }
    }
    // One of another connection of the same host goes on beside it.
    let second = FTPTalk6.inside(talk.gateway, way, port: 5001)
    second.open()
    second.say(.client, command(way, 52_000))
    talk.connect(to: 51_019, way).expect(.forward)
    talk.connect(to: 52_000, way).expect(.forward)
    for port: UInt16 in 51_000..<51_019 { talk.connect(to: port, way).expect(.drop) }
  }

  @Test(arguments: Way.allCases) func `Nobody comes for a minute, and nobody may any more`(way: Way) throws {
    let talk = try client(way)
    talk.say(.client, command(way, 51_210))
    talk.connect(to: 51_210, way, at: 59).expect(.forward)
    talk.say(.client, command(way, 51_211), at: 60)
    talk.connect(to: 51_211, way, at: 121).expect(.drop)
    #expect(talk.gateway.live == 2)
  }

  @Test(arguments: Way.allCases) func `With its control connection an expectation is over`(way: Way) throws {
    let talk = try client(way)
    talk.say(.client, command(way, 51_210))
    let control = try #require(talk.gateway.sessions().first { $0.helper != nil })
    #expect(talk.gateway.cut(identity: control.identity))
    talk.connect(to: 51_210, way).expect(.drop)
    // Another connection in its place has not announced it.
    let next = FTPTalk6.inside(talk.gateway, way)
    next.open()
    talk.connect(to: 51_210, way).expect(.drop)
  }

  @Test(arguments: Way.allCases) func `A1 over IPv6 a restart keeps numbers and what is announced, and one at a time`(
    way: Way
  ) throws {
    let talk = try client(way)
    talk.say(.client, command(way, 51_210))
    talk.say(.server, "200 ok\r\n")
    talk.say(.client, command(way, 51_211))
    talk.say(.server, "200 ok\r\n")
    let (next, report) = try talk.gateway.restarted(.ftp6(way), boot: Self.boot)
    #expect(report.sessions == 1 && report.refused == 0 && report.damaged == 0)
    talk.gateway = next
    talk.chat(2)
    talk.connect(to: 51_210, way).expect(.drop)
    talk.connect(to: 51_211, way).expect(.forward)
    talk.say(.client, command(way, 51_212))
    talk.say(.server, "200 ok\r\n")
    // Once more, and then the announcement from before it makes way for one behind it.
    let (last, again) = try next.restarted(.ftp6(way), boot: Self.boot)
    #expect(again.sessions == 2 && again.refused == 0 && again.damaged == 0)
    talk.gateway = last
    talk.say(.client, command(way, 51_213))
    talk.connect(to: 51_212, way).expect(.drop)
    talk.connect(to: 51_213, way).expect(.forward)
    talk.chat(1)
  }

  @Test(arguments: Way.allCases)
  func `New rules that have the helper change nothing; without it a firewall is closed again`(
    way: Way
  )
    throws
  {
    let talk = try client(way)
    talk.say(.client, command(way, 51_210))
    talk.say(.server, "200 ok\r\n")
    talk.connect(to: 51_210, way).expect(.forward)
    talk.say(.client, command(way, 51_211))
    try talk.gateway.reload { $0.timeouts.udp = 77 }
    talk.chat(1)
    talk.connect(to: 51_211, way).expect(.forward)
    talk.connect(to: 51_210, way).expect(.forward)
    #expect(talk.gateway.live == 3)
    talk.say(.client, command(way, 51_212))
    // Nothing is read any more, but numbers go on.
    try talk.gateway.reload {
      $0.masquerades[0].helper = nil
      $0.forwards[0].helper = nil
    }
    // A mapping goes on as any other, and whom it waits for.
    talk.connect(to: 51_212, way).expect(way == .masqueraded ? .forward : .drop)
    #expect(talk.gateway.live == (way == .masqueraded ? 4 : 1))
    #expect(talk.say(.client, command(way, 51_213)) == command(way, 51_213))
    talk.chat(1)
  }

  @Test func `Its port is a forward's by now: the server's connection goes there`() throws {
    let way = Way.masqueraded
    let talk = try client(way)
    talk.say(.client, command(way, 51_210))
    try talk.gateway.reload { $0.forward6("late", way, ports: 51_210, to: 80) }
    talk.connect(to: 51_210, way).expectForward6(
      Datagram6.tcp(FTPTalk6.peer, 20, way.inside, 80, .syn).hopped, on: "lan", to: way.inside)
  }

  @Test(arguments: Way.allCases) func `A connection that finds no room may come again`(way: Way) throws {
    let talk = try client(way, .ftp6(way, more: { $0.sessions = 3 }))
    // Two of one mapping: there is one left.
    for port: UInt16 in 1...2 {
      talk.gateway.receive6(.udp(way.inside, 3000, FTPTalk6.peer, port), on: "lan").expect(.forward)
    }
    talk.say(.client, command(way, 51_210))
    for _ in 0..<2 { talk.connect(to: 51_210, way).expectDrop(.tableFull) }
    let datagram = try #require(talk.gateway.sessions().first { $0.ipProtocol == 17 })
    #expect(talk.gateway.cut(identity: datagram.identity))
    talk.connect(to: 51_210, way).expect(.forward)
  }

  @Test func `thousands of control connections have an expectation each, and no more room than there is`() throws {
    let way = Way.routed
    let gateway = try TestGateway(.ftp6(way))
    var open: [UInt16] = []
    for index in 0..<1500 {
      let talk = FTPTalk6.inside(gateway, way, port: UInt16(2000 + index))
      talk.open()
      let before = gateway.count(of: .helperOpened)
      talk.say(.client, command(way, UInt16(20_000 + index)))
      if gateway.count(of: .helperOpened) > before { open.append(UInt16(20_000 + index)) }
    }
    // Each has the choice of 16 places among 4096.
    #expect(open.count > 1450 && gateway.count(of: .helperRefused) == 1500 - open.count)
    let talk = FTPTalk6.inside(gateway, way)
    for port in open { talk.connect(to: port, way).expect(.forward) }
  }
}
