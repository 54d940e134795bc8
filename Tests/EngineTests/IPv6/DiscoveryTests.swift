import Engine
import PacketTestKit
import Testing

/// Neighbour discovery asked, answered, aged and held for like ARP (RFC 4861; CONTRACT "As a router").
@Suite struct DiscoveryTests {
  private let own: Host6 = "2001:db8:2::1"
  /// By the MAC 02:00:00:00:02:01 (RFC 4291 appendix A).
  private let linkLocal: Host6 = "fe80::ff:fe00:201"
  private let host: Host6 = "2001:db8:2::77"
  private let known: Host6 = "2001:db8:3::10"
  private let station: Station = "02:77:00:00:00:01"
  private let home: Station = "02:00:00:00:02:01"

  private func datagram(_ index: Int = 0) -> Datagram6 {
    .udp(known, 1000, host, UInt16(80 + index), "number \(index)")
  }
  private func answer(_ flags: UInt8 = 0x60, _ station: Station? = "02:77:00:00:00:01") -> Datagram6 {
    .advertisement(host, flags: flags, station: station, to: own)
  }

  /// The gateway's question for `host`.
  private var question: [UInt8] {
    Datagram6.solicitation(own, for: host, station: home).frame(from: home, to: "33:33:ff:00:00:77")
  }

  // MARK: Answered

  @Test func `a question for our address is answered to who asks`() throws {
    let gateway = try TestGateway(.home6())
    for target in [own, linkLocal] {
      let outcome = gateway.receive6(.solicitation(host, for: target, station: station), on: "lan", via: host)
      outcome.expect(.consume)
      let answer = try #require(outcome.made.first)
      let expected = Datagram6.advertisement(target, flags: 0xE0, station: home, to: host)
      #expect(outcome.made.count == 1 && answer.interface == "lan")
      #expect(answer.bytes == expected.frame(from: home, to: station))
    }
  }

  @Test func `a probe for our address is answered to all nodes`() throws {
    let gateway = try TestGateway(.home6())
    let outcome = gateway.receive6(.solicitation("::", for: own, station: nil), on: "lan", via: host)
    outcome.expect(.consume)
    let expected = Datagram6.advertisement(own, flags: 0xA0, station: home, to: "ff02::1")
    #expect(outcome.made.map(\.bytes) == [expected.frame(from: home, to: "33:33:00:00:00:01")])
  }

  @Test func `nobody answers for other addresses, nor for ours on another link`() throws {
    let gateway = try TestGateway(.home6())
    for target: Host6 in ["2001:db8:2::301", "2001:db8:3::1"] {
      let outcome = gateway.receive6(
        .solicitation(host, for: target, station: station), on: "lan", via: host, to: "33:33:ff:00:00:01")
      outcome.expect(.consume)
      #expect(outcome.made.isEmpty)
    }
    gateway.receive6(.solicitation(host, for: "2001:db8:2::99", station: station), on: "lan").expectDrop(.notOurMAC)
  }

  @Test func `what does not come from the link itself, or contradicts itself, changes nothing`() throws {
    let gateway = try TestGateway(.home6())
    let good = Datagram6.solicitation(host, for: own, station: station)
    let spoiled: [Datagram6] = [
      good.with { $0.hopLimit = 254 },
      good.with { $0.payload[3] ^= 1 },
      good.with { $0.payload[1] = 1 },
      // An option without length, one that runs out of the message, a group as station, a group as target.
      .icmp(host, own.group, type: 135, 0, own.bytes + [1, 0] + station.bytes).with { $0.hopLimit = 255 },
      .icmp(host, own.group, type: 135, 0, own.bytes + [1, 2] + station.bytes).with { $0.hopLimit = 255 },
      .solicitation(host, for: own, station: "33:33:00:00:00:01"),
      .solicitation(host, for: "ff02::1:ff00:1", station: station, to: own.group),
      // Probes name nobody, and go to the group.
      .solicitation("::", for: own, station: station), .solicitation("::", for: own, station: nil, to: own),
    ]
    for datagram in spoiled { gateway.receive6(datagram, on: "lan", via: host).expectDrop(.malformedICMP) }
    for length in 0..<32 {
      let cut = good.with { $0.payload.removeLast(32 - length) }
      let outcome = gateway.receive6(cut, on: "lan", via: host)
      outcome.expect(.drop)
      #expect(outcome.made.isEmpty)
    }
    gateway.receive6(datagram(), on: "dmz").expect(.hold)
  }

  // MARK: Asked and held for

  @Test func `the first datagram for an unknown neighbour is held, and its group is asked`() throws {
    let gateway = try TestGateway(.home6())
    let outcome = gateway.receive6(datagram(), on: "dmz")
    outcome.expect(.hold)
    #expect(outcome.made.map(\.bytes) == [question] && outcome.made.first?.interface == "lan")
    #expect(gateway.counts("dmz").held == 1 && gateway.counts("lan").generated == 1)
  }

  @Test func `an answer lets go what was held, in order`() throws {
    let gateway = try TestGateway(.home6())
    for index in 0..<3 { gateway.receive6(datagram(index), on: "dmz").expect(.hold) }
    let outcome = gateway.receive6(answer(), on: "lan", via: host, at: 0.5)
    outcome.expect(.consume)
    #expect(outcome.made.map(\.bytes) == (0..<3).map { datagram($0).hopped.frame(from: home, to: station) })
    #expect(gateway.totals.held == 0 && gateway.count(of: .neighborResolved) == 1)
    gateway.receive6(datagram(3), on: "dmz").expect(.forward)
  }

  @Test func `64 wait for a neighbour, and the oldest gives way`() throws {
    let gateway = try TestGateway(.home6())
    for index in 0..<70 { gateway.receive6(datagram(index), on: "dmz").expect(.hold) }
    #expect(gateway.drops(.neighborQueueFull) == 6)
    let released = gateway.receive6(answer(), on: "lan", via: host)
    #expect(released.made.map(\.bytes) == (6..<70).map { datagram($0).hopped.frame(from: home, to: station) })
  }

  @Test func `it is asked for at 0, 1 and 2 s, and given up at 3 s with an answer to inside senders`() throws {
    let gateway = try TestGateway(.home6())
    gateway.receive6(datagram(), on: "dmz").expect(.hold)
    let later = gateway.advance(to: 2.5)
    #expect(later.map(\.bytes) == [question, question] && later.map(\.time) == [1, 2])
    let end = gateway.advance(to: 4)
    #expect(end.count == 1 && end.first?.time == 3)
    let quoted = datagram()
    let expected = Datagram6.icmp("2001:db8:3::1", known, type: 1, code: 3, 0, quoted.bytes)
    #expect(end.first?.bytes == gateway.frame(expected, on: "dmz", to: known))
    #expect(gateway.drops(.noNeighbor) == 1 && gateway.totals.held == 0)
  }

  @Test func `an address is good for 60 s, then asked for while it is used`() throws {
    let gateway = try TestGateway(.home6())
    gateway.receive6(datagram(), on: "dmz")
    gateway.receive6(answer(), on: "lan", via: host, at: 0.5)
    let fresh = gateway.receive6(datagram(), on: "dmz", at: 60.4)
    fresh.expect(.forward)
    #expect(fresh.made.isEmpty)
    let old = gateway.receive6(datagram(), on: "dmz", at: 60.6)
    old.expect(.forward)
    #expect(old.made.map(\.bytes) == [question])
    gateway.receive6(answer(), on: "lan", via: host, at: 60.7)
    #expect(gateway.receive6(datagram(), on: "dmz", at: 61).made.isEmpty)
  }

  // MARK: Learnt

  @Test func `who asks for our address is known`() throws {
    let gateway = try TestGateway(.home6())
    gateway.receive6(.solicitation(host, for: own, station: station), on: "lan", via: host)
    let outcome = gateway.receive6(datagram(), on: "dmz")
    #expect(outcome.forwarded?.bytes == datagram().hopped.frame(from: home, to: station))
  }

  @Test func `what nobody asked for is not learnt, and only an override changes an address`() throws {
    let gateway = try TestGateway(.home6())
    gateway.receive6(answer(0x20), on: "lan", via: host).expect(.consume)
    gateway.receive6(datagram(), on: "dmz").expect(.hold)
    gateway.receive6(answer(), on: "lan", via: host)
    let other: Station = "02:78:00:00:00:01"
    gateway.receive6(answer(0x40, other), on: "lan", via: host)
    #expect(gateway.receive6(datagram(), on: "dmz").forwarded?.decoded.ethernet?.destination == station)
    // Told to everybody, as after a failover.
    let told = Datagram6.advertisement(host, flags: 0x20, station: other, to: "ff02::1")
    gateway.receive6(told, on: "lan", via: host).expect(.consume)
    #expect(gateway.receive6(datagram(), on: "dmz").forwarded?.decoded.ethernet?.destination == other)
  }

  @Test func `a static neighbour and our own addresses are nobody's to take`() throws {
    let gateway = try TestGateway(.home6())
    let taken: Host6 = "2001:db8:2::10"
    for flags: UInt8 in [0x20, 0x60] {
      gateway.receive6(.advertisement(taken, flags: flags, station: station, to: own), on: "lan", via: host)
    }
    gateway.receive6(.udp(known, 1, taken, 2), on: "dmz")
      .expectForward6(.udp(known, 1, taken, 2).hopped, on: "lan", to: taken)
    gateway.receive6(.advertisement(own, flags: 0x20, station: station, to: "ff02::1"), on: "lan", via: host)
    gateway.receive6(.ping(taken, own), on: "lan").expect(.consume)
  }

  @Test func `routers and redirects of the link are not followed`() throws {
    let gateway = try TestGateway(.home6())
    for type: UInt8 in [133, 134, 137] {
      let message = Datagram6.icmp("fe80::9", "ff02::1", type: type, 0, [UInt8](repeating: 0, count: 32))
        .with { $0.hopLimit = 255 }
      let outcome = gateway.receive6(message, on: "lan")
      outcome.expect(.consume)
      #expect(outcome.made.isEmpty)
    }
  }
}
