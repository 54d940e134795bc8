import Engine
import PacketTestKit
import Testing

/// Mappings, filtering and ports of source NAT (RFC 4787 sections 4 and 5, RFC 5382, CONTRACT "Masquerade ports").
@Suite struct MasqueradeTests {
  /// The outside endpoint that `source` got for a datagram to `destination`; nil where it was not forwarded.
  private func mapped(
    _ gateway: TestGateway, _ source: Peer, to destination: Peer = client, udp: Bool = true,
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> Peer? {
    let packet: Packet = udp ? .udp(source, destination) : .tcp(source, destination, .syn)
    let outcome = gateway.receive(packet, on: "lan", sourceLocation: sourceLocation)
    guard let seen = outcome.forwarded?.decoded.source else { return nil }
    outcome.expectForward(packet.translated(from: seen), on: "wan", sourceLocation: sourceLocation)
    return seen
  }

  /// Dropped for want of a port, and the sender is told 3/13 (RFC 5508 REQ-8) where its station is known.
  private func refused(_ outcome: TestGateway.Outcome, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(outcome.verdict == .drop && outcome.reason == .noPort, sourceLocation: sourceLocation)
    let told = outcome.made.first?.decoded
    let isError = told?.icmp?.type == 3 && told?.icmp?.code == 13
    #expect(outcome.made.count == 1 && (isError || told?.arp?.operation == 1), sourceLocation: sourceLocation)
  }

  @Test(arguments: [true, false])
  func `U1 T1 one inside endpoint keeps one outside endpoint to any destination`(udp: Bool) throws {
    let gateway = try TestGateway(.masqueraded())
    // A second host holds port 4000 already, so the mapping is not simply the preserved port.
    #expect(mapped(gateway, "192.168.1.11:4000", udp: udp) == "203.0.113.1:4000")
    let first = try #require(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.7:1", udp: udp))
    #expect(first.host == wan && first.port != 4000)
    #expect(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.7:2", udp: udp) == first)
    #expect(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.99:1", udp: udp) == first)
    #expect(gateway.count(of: .mappingCreated) == 2)
  }

  @Test func `mapping by address, and by address and port, when asked for`() throws {
    for (rule, samePort, sameHost) in [
      (EndpointRule.addressDependent, true, true), (.addressAndPortDependent, false, true),
    ] {
      let gateway = try TestGateway(.masqueraded { $0.mapping = rule })
      let first = try #require(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.7:1"))
      let otherPort = try #require(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.7:2"))
      let otherHost = try #require(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.99:1"))
      #expect(first.host == wan && otherHost.host == wan, "\(rule) \(sameHost)")
      if samePort { #expect(otherPort == first, "\(rule)") }
      // The same destination keeps its mapping in any case.
      #expect(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.7:1") == first)
      #expect(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.7:2") == otherPort)
      for (peer, seen): (Peer, Peer) in [("198.51.100.7:2", otherPort), ("198.51.100.99:1", otherHost)] {
        let answer = Packet.udp(peer, seen)
        gateway.receive(answer, on: "wan").expectForward(answer.translated(to: "192.168.1.10:4000"), on: "lan")
      }
    }
  }

  @Test(arguments: EndpointRule.allCases)
  func `U2 filtering: who may use a mapping from outside`(rule: EndpointRule) throws {
    let gateway = try TestGateway(.masqueraded { $0.filtering = rule })
    #expect(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.7:1") == "203.0.113.1:4000")
    let probes: [(Peer, Bool)] = [
      ("198.51.100.7:1", true),
      ("198.51.100.7:2", rule != .addressAndPortDependent),
      ("198.51.100.99:1", rule == .endpointIndependent),
    ]
    for (peer, passes) in probes {
      let probe = Packet.udp(peer, "203.0.113.1:4000")
      let outcome = gateway.receive(probe, on: "wan")
      if passes {
        outcome.expectForward(probe.translated(to: "192.168.1.10:4000"), on: "lan")
      } else {
        outcome.expectDrop(.filtered)
      }
    }
    gateway.receive(.udp("198.51.100.7:1", "203.0.113.1:4001"), on: "wan").expectDrop(.noForward)
  }

  @Test(arguments: EndpointRule.allCases)
  func `U2 filtering is the same with a table that is 95 percent full, and after collisions`(rule: EndpointRule) throws
  {
    let gateway = try TestGateway(.masqueraded({ $0.filtering = rule }, more: { $0.sessions = 1000 }))
    let seen = try #require(mapped(gateway, "192.168.1.10:4000", to: "198.51.100.7:1"))
    for index in 1..<950 {
      // Every other one wants a port that is taken.
      let inside = Peer(Host("192.168.1.20").advanced(by: index % 200), UInt16(4000 + index / 400))
      _ = mapped(gateway, inside, to: Peer("198.51.100.50", UInt16(index)))
    }
    #expect(gateway.live == 950)
    for (peer, passes): (Peer, Bool) in [
      ("198.51.100.7:1", true), ("198.51.100.7:2", rule != .addressAndPortDependent),
      ("198.51.100.99:1", rule == .endpointIndependent),
    ] {
      let probe = Packet.udp(peer, seen)
      let outcome = gateway.receive(probe, on: "wan")
      if passes {
        outcome.expectForward(probe.translated(to: "192.168.1.10:4000"), on: "lan")
      } else {
        outcome.expectDrop(.filtered)
      }
    }
  }

  @Test func `U16 a UDP mapping opens nothing for TCP`() throws {
    let gateway = try TestGateway(.masqueraded { $0.filtering = .endpointIndependent })
    #expect(mapped(gateway, "192.168.1.10:4000") != nil)
    gateway.receive(.tcp(client, "203.0.113.1:4000", .syn), on: "wan").expectDrop(.noForward)
  }

  @Test(arguments: [true, false])
  func `U3 T13 sixty-four hosts with one source port share no outside port`(udp: Bool) throws {
    let gateway = try TestGateway(.masqueraded())
    var seen: [Peer: Peer] = [:]
    for index in 0..<64 {
      let inside = Peer(Host("192.168.1.100").advanced(by: index), 4000)
      seen[try #require(mapped(gateway, inside, udp: udp))] = inside
    }
    #expect(seen.count == 64)
  }

  @Test func `U4 the range is kept: below 1024 stays below`() throws {
    let gateway = try TestGateway(.masqueraded())
    for index in 0..<32 {
      let host = Host("192.168.1.100").advanced(by: index)
      #expect(try #require(mapped(gateway, Peer(host, 500))).port < 1024)
      #expect(try #require(mapped(gateway, Peer(host, 5000))).port >= 1024)
    }
  }

  @Test func `U5 parity is kept under collision`() throws {
    let gateway = try TestGateway(.masqueraded())
    for index in 0..<32 {
      let host = Host("192.168.1.100").advanced(by: index)
      #expect(try #require(mapped(gateway, Peer(host, 6000))).port % 2 == 0)
      #expect(try #require(mapped(gateway, Peer(host, 6001))).port % 2 == 1)
    }
  }

  @Test func `U6 P9 ports made under collision are spread and not in sequence`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.interface("campus", .inside, "10.1.0.1/16", mac: "02:00:00:00:04:01")
        $0.masquerade(from: "campus", to: "wan")
      }))
    var ports: [Int] = []
    for index in 0..<1001 {
      let inside = Host("10.1.4.0").advanced(by: index)
      let outcome = gateway.receive(.udp(Peer(inside, 4000), client), on: "campus")
      ports.append(Int(try #require(outcome.forwarded?.decoded.source?.port)))
    }
    #expect(ports.removeFirst() == 4000)
    #expect(Set(ports).count == 1000)
    // Sixteen equal classes over 1024...65535: chi-square with 15 degrees of freedom, 44.3 is p = 0.0001.
    var classes = [Int](repeating: 0, count: 16)
    for port in ports { classes[(port - 1024) * 16 / 64512] += 1 }
    let chiSquare = classes.reduce(0.0) { $0 + (Double($1) - 62.5) * (Double($1) - 62.5) / 62.5 }
    #expect(chiSquare < 44.3, "\(classes)")
    // Serial test: neighbours in time are no neighbours in number, and rise as often as they fall.
    let steps = zip(ports, ports.dropFirst()).map { $1 - $0 }
    #expect(steps.filter { abs($0) <= 4 }.count < 5)
    #expect((400...600).contains(steps.filter { $0 > 0 }.count))
  }

  @Test func `U6 a free port is kept as it is, and seeds change the made ones`() throws {
    var made: Set<UInt16> = []
    for seed: UInt64 in 1...4 {
      let gateway = try TestGateway(.masqueraded(), seed: seed)
      #expect(mapped(gateway, "192.168.1.10:4000") == "203.0.113.1:4000")
      made.insert(try #require(mapped(gateway, "192.168.1.11:4000")).port)
    }
    #expect(made.count > 1)
  }

  @Test func `P6 edge ports are usable and zero never is`() throws {
    let gateway = try TestGateway(.masqueraded())
    for port: UInt16 in [1, 1023, 1024, 65534, 65535] {
      #expect(mapped(gateway, Peer(server, port)) == Peer(wan, port))
      #expect(try #require(mapped(gateway, Peer(neighbor, port))).port != 0)
    }
    if let zero = gateway.receive(.udp("192.168.1.10:0", client), on: "lan").forwarded {
      #expect(zero.decoded.source?.port != 0)
    }
  }

  @Test func `the pool bounds every choice, and an empty pool is no-port`() throws {
    let gateway = try TestGateway(.masqueraded { $0.pool = [PortRange(2000, 2003)] })
    var ports: Set<UInt16> = []
    for index in 0..<4 {
      let inside = Peer(Host("192.168.1.100").advanced(by: index), 4000)
      ports.insert(try #require(mapped(gateway, inside)).port)
    }
    #expect(ports == [2000, 2001, 2002, 2003])
    refused(gateway.receive(.udp("192.168.1.200:4000", client), on: "lan"))
    // TCP has its own ports.
    #expect(mapped(gateway, "192.168.1.200:4000", udp: false) != nil)
  }

  @Test func `P7 A2 forwarded ports are given to nobody, kept or made`() throws {
    let gateway = try TestGateway(
      .masqueraded(
        { $0.pool = [PortRange(2000, 2003)] },
        more: { $0.forward(.tcp, ports: "2000, 2002-2003", to: "192.168.1.12") }))
    #expect(mapped(gateway, "192.168.1.11:2000", udp: false) == "203.0.113.1:2001")
    refused(gateway.receive(.tcp("192.168.1.11:2002", client, .syn), on: "lan"))
    // The forwards reserve TCP only.
    #expect(mapped(gateway, "192.168.1.11:2000") == "203.0.113.1:2000")
    // And the service is still reached.
    let there = Packet.tcp(stranger, Peer(wan, 2000), .syn)
    gateway.receive(there, on: "wan").expectForward(there.translated(to: "192.168.1.12:2000"), on: "lan")
  }

  @Test func `the target of a one-to-one forward sends from the forward's outside endpoint`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: { $0.forward(.tcp, ports: "8080-8081", to: "192.168.1.10:80-81") }))
    #expect(mapped(gateway, "192.168.1.10:80", to: "198.51.100.7:1", udp: false) == "203.0.113.1:8080")
    #expect(mapped(gateway, "192.168.1.10:80", to: "198.51.100.99:2", udp: false) == "203.0.113.1:8080")
    #expect(mapped(gateway, "192.168.1.10:81", to: "198.51.100.7:1", udp: false) == "203.0.113.1:8081")
    // Another protocol, another port, another host: the pool as ever.
    #expect(mapped(gateway, "192.168.1.10:80") == "203.0.113.1:80")
    #expect(mapped(gateway, "192.168.1.10:82", udp: false) == "203.0.113.1:82")
    #expect(mapped(gateway, "192.168.1.11:80", udp: false) == "203.0.113.1:80")
  }

  @Test func `of several one-to-one forwards the first sends, and many-to-one is none`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.forward("narrow", ports: "9000-9001", to: "192.168.1.10:70")
        $0.forward("first", ports: "8080", to: "192.168.1.10:80")
        $0.forward("second", ports: "8081", to: "192.168.1.10:80")
      }))
    #expect(mapped(gateway, "192.168.1.10:80", udp: false) == "203.0.113.1:8080")
    #expect(mapped(gateway, "192.168.1.10:70", udp: false) == "203.0.113.1:70")
  }

  @Test func `a whole host sends from its own ports on the outside address`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.forward(.both, ports: "all", to: "192.168.1.10") }))
    for port: UInt16 in [80, 4000, 65535] { #expect(mapped(gateway, Peer(server, port)) == Peer(wan, port)) }
    // Every port belongs to the forward: nothing is left for others.
    refused(gateway.receive(.udp("192.168.1.11:4000", client), on: "lan"))
  }

  @Test func `A2 P7 a whole host does not send from a port that a narrower forward has taken from it`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.forward("host", [.tcp, .udp], ports: "all", except: "22", to: "192.168.1.10")
        $0.forward("web", .tcp, ports: "80", to: "192.168.1.11:8080")
      }))
    #expect(mapped(gateway, "192.168.1.10:443", udp: false) == "203.0.113.1:443")
    // 22 is nobody's, so it is what the pool has left.
    #expect(mapped(gateway, "192.168.1.10:80", udp: false) == "203.0.113.1:22")
    #expect(mapped(gateway, "192.168.1.10:80") == "203.0.113.1:80")
    #expect(mapped(gateway, "192.168.1.11:8080", udp: false) == "203.0.113.1:80")
  }

  /// Found by the reference model.
  @Test func `A2 P7 where a narrower forward has the port and the same target, the target sends from that`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.forward("host", .udp, ports: "all", to: "192.168.1.10")
        $0.forward("one", .udp, ports: "80, 81", to: "192.168.1.10")
        $0.forward("other", .udp, ports: "82", to: "192.168.1.11:80")
        $0.forward("third", .udp, ports: "83", to: "192.168.1.10:82")
      }))
    #expect(mapped(gateway, "192.168.1.10:81") == "203.0.113.1:81")
    #expect(mapped(gateway, "192.168.1.10:82") == "203.0.113.1:83")
    #expect(mapped(gateway, "192.168.1.10:84") == "203.0.113.1:84")
  }

  @Test func `A2 filtering endpoint-independent: a freed port waits 120 s for its former owner`() throws {
    let gateway = try TestGateway(
      .masqueraded {
        $0.filtering = .endpointIndependent
        $0.pool = [PortRange(2000, 2000)]
      })
    #expect(mapped(gateway, "192.168.1.10:4000") == "203.0.113.1:2000")
    gateway.advance(to: 301)
    refused(gateway.receive(.udp("192.168.1.11:4000", client), on: "lan"))
    #expect(mapped(gateway, "192.168.1.10:4000") == "203.0.113.1:2000")
    // Its last packet was at 301, so it was freed at 601.
    gateway.advance(to: 720.9)
    refused(gateway.receive(.udp("192.168.1.11:4000", client), on: "lan"))
    gateway.advance(to: 721.1)
    #expect(mapped(gateway, "192.168.1.11:4000") == "203.0.113.1:2000")
  }

  @Test func `a port freed under address-dependent filtering is free at once`() throws {
    let gateway = try TestGateway(.masqueraded { $0.pool = [PortRange(2000, 2000)] })
    #expect(mapped(gateway, "192.168.1.10:4000") == "203.0.113.1:2000")
    gateway.advance(to: 301)
    #expect(mapped(gateway, "192.168.1.11:4000") == "203.0.113.1:2000")
  }

  @Test func `a full table is a counted answer, and live sessions stay (I11, P2)`() throws {
    let gateway = try TestGateway(.masqueraded(more: { $0.sessions = 64 }))
    var passed = 0
    var refused = 0
    for index in 0..<200 {
      let outcome = gateway.receive(.udp(Peer(server, UInt16(3000 + index)), client), on: "lan", at: Double(index) / 10)
      if outcome.verdict == .forward {
        passed += 1
      } else {
        #expect(outcome.reason == .tableFull)
        refused += 1
        let answer = outcome.made.first?.decoded
        #expect(answer == nil || (answer?.icmp?.type == 3 && answer?.icmp?.code == 13))
        #expect(answer != nil || gateway.count(of: .errorLimited) > 0)
      }
    }
    #expect(passed == 64 && refused == 200 - passed)
    let early = Packet.udp(client, Peer(wan, 3000))
    gateway.receive(early, on: "wan").expectForward(early.translated(to: Peer(server, 3000)), on: "lan")
  }
}
