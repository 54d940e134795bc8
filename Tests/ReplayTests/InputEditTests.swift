import Engine
import PacketTestKit
import Testing

@testable import Replay

/// A packet that the kit builds with the new addresses is what an edited one must be, byte for byte: its checksums are
/// summed from scratch, the edit's are not.
@Suite struct InputEditTests {
  private static let rules = ["10.1.0.0/16=192.168.0.0/16", "198.51.100.7=203.0.113.77"]
  private let map = try! AddressMap(Self.rules.map { try AddressRule($0) })
  private let old: (client: Host, server: Host) = ("198.51.100.7", "10.1.2.3")
  private let new: (client: Host, server: Host) = ("203.0.113.77", "192.168.2.3")

  private func edited(_ bytes: [UInt8], _ edit: InputEdit) -> (bytes: [UInt8], offload: OffloadHeader) {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, bytes.count), alignment: 1)
    defer { memory.deallocate() }
    memory.copyBytes(from: bytes)
    var slot = FrameSlot(bytes: memory.baseAddress!, length: bytes.count, headroom: 0, link: 0, time: 0)
    edit.apply(to: &slot)
    return (Array(memory.prefix(bytes.count)), slot.offload)
  }

  private func mapped(_ bytes: [UInt8], isEthernet: Bool = true) -> [UInt8] {
    edited(bytes, InputEdit(map: map, isEthernet: isEthernet)).bytes
  }

  // MARK: --map

  private typealias Make = @Sendable (Host, Host) -> Packet
  private static let makers: [(String, Make)] = [
    ("udp", { .udp(Peer($0, 4000), Peer($1, 53)) }),
    ("udp, odd length", { .udp(Peer($0, 4000), Peer($1, 53), "odd") }),
    ("udp without checksum", { .udp(Peer($0, 4000), Peer($1, 53)) { $0.udp.checksum = 0 } }),
    ("tcp", { .tcp(Peer($0, 4000), Peer($1, 80), [.ack, .psh], "GET /") }),
    ("tcp, ip options", { .tcp(Peer($0, 4000), Peer($1, 80), .syn) { $0.ip.options = [7, 7, 4, 0, 0, 0, 0, 0] } }),
    ("tcp, trailer", { .tcp(Peer($0, 4000), Peer($1, 80), .syn) { $0.trailer = [1, 2, 3, 4, 5, 6] } }),
    ("tcp, tagged", { .tcp(Peer($0, 4000), Peer($1, 80), .syn) { $0.ethernet.tags = [.init(7), .init(8)] } }),
    ("ping", { .ping(Peer($0, 9), $1) }),
    ("gre", { .other(protocol: 47, $0, $1, [0, 0, 8, 0, 69, 1, 2, 3]) }),
    ("icmp error, 8 bytes", { .icmpError(type: 3, code: 3, from: $1, to: $0, about: .udp(Peer($0, 1), Peer($1, 2))) }),
    (
      "icmp error, whole tcp",
      { .icmpError(type: 11, code: 0, from: $1, to: $0, about: .tcp(Peer($0, 1), Peer($1, 2), .syn), keeping: 99) }
    ),
    (
      "icmp error, udp without checksum",
      {
        .icmpError(type: 3, code: 4, from: $1, to: $0, about: .udp(Peer($0, 1), Peer($1, 2)) { $0.udp.checksum = 0 })
      }
    ),
    (
      "icmp error behind another router",
      { .icmpError(type: 11, code: 0, from: "192.0.2.9", to: $0, about: .ping(Peer($0, 1), $1)) }
    ),
    ("arp", { .arp(operation: 1, sender: "02:00:00:00:00:01", $0, $1) }),
  ]

  @Test(arguments: Self.makers.map(\.0)) func `a mapped packet is the packet of the new hosts`(name: String) {
    let make = Self.makers.first { $0.0 == name }!.1
    #expect(mapped(make(old.client, old.server).bytes) == make(new.client, new.server).bytes)
    #expect(mapped(make(old.server, old.client).bytes) == make(new.server, new.client).bytes)
    let raw = make(old.client, old.server).with { $0.hasEthernet = false }
    if raw.otherPayload == nil {
      #expect(
        mapped(raw.bytes, isEthernet: false) == make(new.client, new.server).with { $0.hasEthernet = false }.bytes)
    }
    let stranger = make("192.0.2.1", "192.0.2.2").bytes
    #expect(mapped(stranger) == stranger)
  }

  @Test func `fragments are mapped, the checksum where it lies`() {
    func pieces(_ ends: (client: Host, server: Host)) -> [[UInt8]] {
      Packet.tcp(Peer(ends.client, 4000), Peer(ends.server, 80), .ack, String(repeating: "x", count: 50))
        .fragments(of: 24).map(\.bytes)
    }
    #expect(pieces(old).map { mapped($0) } == pieces(new))
  }

  @Test func `a wrong checksum stays wrong by the same difference`() throws {
    for sum: UInt16 in [0x0000, 0x1234, 0xFFFE, 0xFFFF] {
      let make: Make = { client, server in
        .tcp(Peer(client, 4000), Peer(server, 80), .ack, "data") {
          $0.tcp.checksum = sum
          $0.ip.checksum = 0x4321
        }
      }
      let before = make(old.client, old.server).bytes
      let (from, to) = (Decoded(before), Decoded(mapped(before)))
      #expect(to.ip?.source == new.client && to.ip?.destination == new.server)
      #expect(error(from.bytes, 14..<34) == error(to.bytes, 14..<34))
      #expect(error(from.bytes, transportWords(from)) == error(to.bytes, transportWords(to)))
    }
  }

  /// What a checksum is off by: the one's complement sum of everything it covers, zero in one form.
  private func error(_ frame: [UInt8], _ range: Range<Int>) -> UInt16 { error(Array(frame[range])) }
  private func error(_ frame: [UInt8], _ words: [UInt8]) -> UInt16 { error(words) }
  private func error(_ words: [UInt8]) -> UInt16 {
    let sum = InternetChecksum.sum(words)
    return sum == 0xFFFF ? 0 : sum
  }
  private func transportWords(_ frame: Decoded) -> [UInt8] {
    InternetChecksum.pseudoHeader(
      from: frame.ip!.source, to: frame.ip!.destination, protocol: 6, length: frame.body.count)
      + frame.bytes[frame.body]
  }

  @Test func `a computed zero is a UDP checksum of all ones`() throws {
    // Some payload whose checksum comes out as zero for the new addresses.
    let make: (Host, Host, UInt16) -> Packet = { client, server, filler in
      .udp(Peer(client, 1), Peer(server, 2)) { $0.udp.payload = [UInt8(filler >> 8), UInt8(filler & 255)] }
    }
    let zero = Decoded(make(new.client, new.server, 0).bytes).udp!.checksum
    let packet = make(new.client, new.server, zero)
    #expect(Decoded(packet.bytes).udp?.checksum == 0xFFFF)
    #expect(mapped(make(old.client, old.server, zero).bytes) == packet.bytes)
  }

  @Test func `no bytes are too strange to be mapped`() {
    var random = SystemRandomNumberGenerator()
    var edit = InputEdit(station: MACAddress(0x0200_0000_0001), map: map, offloadMTU: 68, isEthernet: true)
    for (_, make) in Self.makers {
      let whole = make(old.client, old.server).bytes
      for cut in 0...whole.count {
        for isEthernet in [true, false] {
          edit.isEthernet = isEthernet
          _ = edited(Array(whole.prefix(cut)), edit)
          var damaged = whole
          for _ in 0..<4 { damaged[Int.random(in: 12..<whole.count, using: &random)] = .random(in: 0...255) }
          _ = edited(damaged, edit)
        }
      }
    }
    let tags = [UInt8](repeating: 0, count: 12) + (0..<65_000).flatMap { _ in [0x81, 0x00, 0, 1] as [UInt8] }
    #expect(mapped(tags) == tags)
  }

  // MARK: --mac

  private let station: Station = "02:00:00:00:02:01"

  private func taken(_ packet: Packet) -> Station {
    let edit = InputEdit(station: station.planned, isEthernet: true)
    let before = packet.bytes
    let after = edited(before, edit).bytes
    #expect(after.dropFirst(6) == before.dropFirst(6))
    return Station(bytes: Array(after.prefix(6)))
  }

  @Test func `every frame for one host is sent to us, groups stay groups`() {
    let stranger: Station = "00:11:22:33:44:55"
    let group: Station = "01:00:5e:00:00:01"
    func udp(_ destination: Host, _ station: Station) -> Packet {
      .udp("10.1.2.3:1", Peer(destination, 2)) { $0.ethernet.destination = station }
    }
    #expect(taken(udp("192.0.2.1", stranger)) == station)
    #expect(taken(udp("192.0.2.1", .broadcast)) == station)
    #expect(taken(udp("192.0.2.1", stranger).with { $0.ethernet.tags = [.init(5)] }) == station)
    #expect(taken(udp("192.0.2.1", .broadcast).with { $0.ethernet.tags = [.init(5)] }) == station)
    #expect(taken(udp("224.0.0.1", group)) == group)
    #expect(taken(udp("239.255.255.255", group)) == group)
    #expect(taken(udp("255.255.255.255", .broadcast)) == .broadcast)
    let request = Packet.arp(operation: 1, sender: stranger, "10.1.2.3", "10.1.2.4")
    #expect(taken(request) == .broadcast)
    #expect(taken(Packet.arp(operation: 2, sender: stranger, "10.1.2.3", target: stranger, "10.1.2.4")) == station)
    #expect(taken(udp("192.0.2.1", group).with { $0.ethernet.etherType = 0x86DD }) == group)
  }

  @Test func `raw IP has no station`() {
    let packet = Packet.udp("10.1.2.3:1", "192.0.2.1:2") { $0.hasEthernet = false }
    let edit = InputEdit(station: station.planned, isEthernet: false)
    #expect(edited(packet.bytes, edit).bytes == packet.bytes)
  }

  // MARK: --offloads

  private func offload(_ packet: Packet, mtu: Int = 1500, isEthernet: Bool = true) -> OffloadHeader {
    edited(packet.bytes, InputEdit(offloadMTU: mtu, isEthernet: isEthernet)).offload
  }

  @Test func `an unfinished sum is told by the pseudo-header's, and stays one when mapped`() {
    for isTCP in [true, false] {
      let make: Make = { client, server in
        isTCP
          ? .tcp(Peer(client, 1), Peer(server, 2), .ack, "odd") { $0.tcp.isPartial = true }
          : .udp(Peer(client, 1), Peer(server, 2), "even") { $0.udp.isPartial = true }
      }
      let packet = make(old.client, old.server)
      var expected = OffloadHeader()
      expected.flags = OffloadHeader.needsChecksum
      expected.checksumStart = 34
      expected.checksumOffset = isTCP ? 16 : 6
      #expect(offload(packet) == expected)
      expected.checksumStart = 38
      #expect(offload(packet.with { $0.ethernet.tags = [.init(5)] }) == expected)
      let both = edited(packet.bytes, InputEdit(map: map, offloadMTU: 1500, isEthernet: true))
      #expect(both.bytes == make(new.client, new.server).bytes)
      #expect(mapped(packet.bytes) != make(new.client, new.server).bytes, "without --offloads it is a finished one")
    }
  }

  @Test func `finished and wrong sums are no offloads`() {
    #expect(offload(.tcp("10.1.2.3:1", "192.0.2.1:2", .ack, "data")) == OffloadHeader())
    #expect(offload(.tcp("10.1.2.3:1", "192.0.2.1:2", .ack, "data") { $0.tcp.checksum = 77 }) == OffloadHeader())
    #expect(offload(.udp("10.1.2.3:1", "192.0.2.1:2") { $0.udp.checksum = 0 }) == OffloadHeader())
    #expect(offload(.ping("10.1.2.3:1", "192.0.2.1")) == OffloadHeader())
    let fragment = Packet.tcp("10.1.2.3:1", "192.0.2.1:2", .ack, "longer data") { $0.tcp.isPartial = true }.fragments(
      of: 24)
    #expect(offload(fragment[0]) == OffloadHeader())
  }

  @Test func `a sum that is right and looks unfinished is right`() throws {
    // The payload makes the finished checksum equal to the pseudo-header's sum.
    let make: (UInt16) -> Packet = { filler in
      .udp("10.1.2.3:1", "192.0.2.1:2") { $0.udp.payload = [UInt8(filler >> 8), UInt8(filler & 255)] }
    }
    let filler = try #require(
      (0...UInt16.max).first { filler in
        let frame = Decoded(make(filler).bytes)
        let pseudo = InternetChecksum.pseudoHeader(
          from: frame.ip!.source, to: frame.ip!.destination, protocol: 17, length: frame.body.count)
        return frame.udp?.checksum == InternetChecksum.sum(pseudo)
      })
    #expect(offload(make(filler)) == OffloadHeader())
  }

  @Test func `TCP over the MTU is a super-frame, other datagrams are not`() {
    let text = String(repeating: "x", count: 4000)
    let packet = Packet.tcp("10.1.2.3:1", "192.0.2.1:2", .ack, text) {
      $0.tcp.options = [UInt8](repeating: 1, count: 12)
      $0.tcp.isPartial = true
    }
    let header = offload(packet)
    #expect(header.segmentation == OffloadHeader.segmentTCP4)
    #expect(header.segmentSize == 1448)
    #expect(header.headerLength == 14 + 20 + 32)
    #expect(header.flags == OffloadHeader.needsChecksum)
    #expect(offload(packet, mtu: 9000).segmentation == 0)
    #expect(offload(.tcp("10.1.2.3:1", "192.0.2.1:2", .ack, text)).flags == 0)
    #expect(offload(.udp("10.1.2.3:1", "192.0.2.1:2", text)).segmentation == 0)
    let raw = offload(packet.with { $0.hasEthernet = false }, isEthernet: false)
    #expect(raw.headerLength == 52 && raw.checksumStart == 20)
  }
}
