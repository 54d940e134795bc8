import PacketTestKit
import Testing

@testable import Engine

/// A restart without loss: another engine takes over what one has left in its region, at whatever moment it ended.
@Suite struct AdoptionTests {
  private static let boot = BootIdentity(high: 1, low: 2)

  private static func plan(_ change: (inout Plan) -> Void = { _ in }) -> Plan {
    .masqueraded(more: {
      $0.sessions = 256
      $0.forward("web", .both, ports: "8000", to: "192.168.1.10:9090")
      $0.forward("other", .both, ports: "8001", to: "192.168.1.11")
      change(&$0)
    })
  }

  /// An engine on a region of its own making, with a connection, a stream, a ping and a hairpin session.
  private static func busy() throws -> (TestGateway, TCPTalk) {
    let gateway = try TestGateway(plan(), boot: boot)
    let talk = TCPTalk(
      gateway, inside: "192.168.1.10:9090", seeing: client, outside: client, seeing: Peer(wan, 8000))
    talk.open(from: .outside)
    gateway.receive(.udp("192.168.1.12:5000", client), on: "lan").expect(.forward)
    gateway.receive(.udp("192.168.1.11:5000", client), on: "lan").expect(.forward)
    gateway.receive(.ping("192.168.1.12:77", client.host), on: "lan").expect(.forward)
    gateway.receive(.udp("192.168.1.11:6000", Peer(wan, 5000)), on: "lan").expect(.forward)
    return (gateway, talk)
  }

  @Test func `connections, streams, pings and mappings go on under the same outside endpoints`() throws {
    let (first, talk) = try Self.busy()
    let before = first.sessions()
    let mapped = try #require(before.first { $0.original.source.address == .v4(IPv4Address(192, 168, 1, 11)) })
    let outside = mapped.reply.destination
    first.advance(to: 30)
    let (gateway, report) = try first.restarted(Self.plan(), boot: Self.boot)
    #expect(report.sessions == 5 && report.refused == 0 && report.damaged == 0 && report.expired == 0)
    let after = gateway.sessions()
    #expect(Set(after.map(\.identity)) == Set(before.map(\.identity)))
    #expect(after.first { $0.ipProtocol == 6 }?.state == "established")
    // The connection, both ways.
    let next = TCPTalk(
      gateway, inside: talk.inside, seeing: client, outside: client, seeing: Peer(wan, 8000),
      insideFirst: talk.insideNext, outsideFirst: talk.outsideNext)
    next.send(.outside, .ack, "request")
    next.send(.inside, .ack, "answer")
    // A mapping keeps its port, for a new peer too, and nobody else gets it.
    let packet = PacketTestKit.Packet.udp("192.168.1.11:5000", stranger)
    gateway.receive(packet, on: "lan")
      .expectForward(packet.translated(from: Peer(wan, outside.port)), on: "wan")
    let answer = PacketTestKit.Packet.udp(client, Peer(wan, outside.port))
    gateway.receive(answer, on: "wan").expectForward(answer.translated(to: "192.168.1.11:5000"), on: "lan")
    let rival = gateway.receive(.udp(Peer("192.168.1.10", outside.port), client), on: "lan").forwarded?.decoded
    #expect(rival?.source != Peer(wan, outside.port))
    let pong = PacketTestKit.Packet.pong(client.host, Peer(wan, 77))
    gateway.receive(pong, on: "wan").expectForward(pong.translated(to: "192.168.1.12:77"), on: "lan")
  }

  @Test func `time goes on across the restart: idle times count, and what is over stays over`() throws {
    let (first, _) = try Self.busy()
    first.advance(to: 59)
    let (early, all) = try first.restarted(Self.plan(), boot: Self.boot)
    #expect(all.sessions == 5 && all.expired == 0)
    early.advance(to: 62)
    #expect(early.sessions().allSatisfy { $0.ipProtocol != 1 } && early.live == 4)
    early.advance(to: 299)
    #expect(early.live == 4)
    let (late, rest) = try early.restarted(Self.plan(), boot: Self.boot, downFor: 10)
    #expect(rest.sessions == 1 && rest.expired == 3 && late.sessions()[0].ipProtocol == 6)
  }

  @Test func `a changed configuration is no reason to start empty: what it would make the same goes on`() throws {
    let (first, _) = try Self.busy()
    let other = Self.plan {
      $0.forwards.removeFirst()
      // Interfaces are known by their names.
      let old = $0
      $0.interfaces.swapAt(0, 1)
      $0 = $0.arrangedAnew(from: old)
    }
    let (gateway, report) = try first.restarted(other, boot: Self.boot)
    #expect(report.sessions == 4 && report.refused == 1)
    #expect(!gateway.sessions().contains { $0.original.destination.port == 8000 })
    let (smaller, left) = try first.restarted(Self.plan { $0.sessions = 3 }, boot: Self.boot)
    #expect(left.sessions == 3 && smaller.live == 3)
    let (_, none) = try first.restarted(Self.plan { $0.change("lan") { $0.name = "home" } }, boot: Self.boot)
    #expect(none.sessions == 0 && none.mappings == 0)
  }

  @Test func `a port in quarantine stays its former owner's`() throws {
    let eif = Self.plan { $0.masquerades[0].filtering = .endpointIndependent }
    let first = try TestGateway(eif, boot: Self.boot)
    first.receive(.udp("192.168.1.12:5000", client), on: "lan").expect(.forward)
    first.advance(to: 330)
    let (gateway, report) = try first.restarted(eif, boot: Self.boot)
    #expect(report.mappings == 1 && report.sessions == 0)
    let rival = gateway.receive(.udp("192.168.1.11:5000", client), on: "lan").forwarded?.decoded
    #expect(rival?.source?.port != 5000)
    let owner = gateway.receive(.udp("192.168.1.12:5000", client), on: "lan").forwarded?.decoded
    #expect(owner?.source == Peer(wan, 5000))
  }

  @Test func `A25 a state file of another boot, another version or other bytes is refused, and why`() throws {
    let (first, _) = try Self.busy()
    func refusal(_ change: (UnsafeMutableRawBufferPointer) -> Void, _ boot: BootIdentity = AdoptionTests.boot)
      -> SavedRegion.Refusal?
    {
      let copy = first.regionCopy
      defer { copy.deallocate() }
      change(copy)
      do throws(SavedRegion.Refusal) { _ = try SavedRegion(copy, boot: boot) } catch { return error }
      return nil
    }
    #expect(refusal { _ in } == nil)
    #expect(refusal({ _ in }, BootIdentity(high: 1, low: 3)) == .otherBoot)
    #expect(refusal { $0[0] ^= 1 } == .foreign)
    #expect(refusal { $0[8] ^= 1 } == .version)
    for byte in 16..<300 where !(128..<136).contains(byte) {
      #expect(refusal { $0[byte] ^= 0x10 } == .damaged, "byte \(byte)")
    }
    let copy = first.regionCopy
    defer { copy.deallocate() }
    for count in [0, 1, 4096, 8192, copy.count - 4096] {
      #expect(throws: SavedRegion.Refusal.self) {
        try SavedRegion(UnsafeMutableRawBufferPointer(rebasing: copy[..<count]), boot: Self.boot)
      }
    }
  }

  @Test(arguments: 0..<60)
  func `A25 damage anywhere in a state file's records is never believed, and never fatal`(seed: UInt64) throws {
    var random = SplitMix64(state: seed)
    let (first, _) = try Self.busy()
    let copy = first.regionCopy
    defer { copy.deallocate() }
    // Behind the header page: few changes of single bits, bytes and words, or many.
    let records = first.usedRecords
    for _ in 0..<(1 + random.next() % (seed % 3 == 0 ? 400 : 6)) {
      let range = records[Int(random.next() % UInt64(records.count))]
      let offset = range.lowerBound + Int(random.next() % UInt64(range.count))
      switch random.next() % 4 {
      case 0: copy[offset] ^= 1 &<< UInt8(random.next() % 8)
      case 1: copy[offset] = UInt8(truncatingIfNeeded: random.next())
      case 2: copy.storeBytes(of: random.next(), toByteOffset: offset & ~7, as: UInt64.self)
      default: copy.storeBytes(of: UInt32(random.next() % 8), toByteOffset: offset & ~3, as: UInt32.self)
      }
    }
    let saved = try SavedRegion(copy, boot: Self.boot)
    let gateway = try TestGateway(Self.plan(), boot: Self.boot)
    let report = gateway.adopt(saved)
    #expect(report.sessions == gateway.live && report.sessions <= 6)
    // No two sessions answer to one tuple, no two mappings have one port, and every session is one of the rules.
    let sessions = gateway.sessions()
    #expect(Set(sessions.map(\.reply.source)).count <= sessions.count)
    for session in sessions {
      let isOurs = [session.original, session.reply].contains {
        $0.destination.address == .v4(IPv4Address(203, 0, 113, 1))
      }
      #expect(isOurs)
    }
    // It works as if nothing had been there, and everything ends.
    gateway.receive(.tcp("198.51.100.200:1", Peer(wan, 8001), .syn), on: "wan").expect(.forward)
    gateway.receive(.udp("192.168.1.12:5000", stranger), on: "lan").expect(.forward)
    gateway.advance(to: 100_000)
    #expect(gateway.live == 0)
    for host in 0..<20 {
      let packet = PacketTestKit.Packet.udp(Peer(Host("192.168.1.100").advanced(by: host), 5000), client)
      gateway.receive(packet, on: "lan").expect(.forward)
    }
    #expect(gateway.live == 20)
  }
}

extension Plan {
  /// References follow interfaces that were exchanged.
  fileprivate func arrangedAnew(from old: Plan) -> Plan {
    var plan = self
    func number(_ index: Int) -> Int { plan.interfaces.firstIndex { $0.name == old.interfaces[index].name }! }
    for index in plan.neighbors.indices { plan.neighbors[index].interface = number(plan.neighbors[index].interface) }
    for index in plan.forwards.indices { plan.forwards[index].interface = number(plan.forwards[index].interface) }
    for index in plan.masquerades.indices {
      plan.masquerades[index].from = number(plan.masquerades[index].from)
      plan.masquerades[index].to = number(plan.masquerades[index].to)
    }
    return plan
  }
}

extension TestGateway {
  /// Where records stand that are in use, and what counts them: of a plan for 256 sessions with one outside address.
  fileprivate var usedRecords: [Range<Int>] {
    let layout = RegionLayout(capacity: 256, pools: 1 + PortPools.spare)
    return [
      layout.sessionsOffset + SessionTable.placeBytes..<layout.sessionsOffset + 8 * SessionTable.placeBytes,
      layout.mappingsOffset + MappingLine.bytes..<layout.mappingsOffset + 5 * MappingLine.bytes,
      layout.wordsOffset..<layout.wordsOffset + 320, layout.sessionIndexOffset..<layout.bytes,
    ]
  }
}
