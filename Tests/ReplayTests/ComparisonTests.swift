import Capture
import Engine
import Explain
import PacketTestKit
import Testing

@testable import Replay

@Suite struct ComparisonTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func write(_ records: [CaptureBytes.Record], _ file: String, linkType: UInt32 = 1) throws -> String {
    try directory.write(CaptureBytes.pcap(records, linkType: linkType), as: file)
  }

  private func difference(_ expected: [UInt8], _ actual: [UInt8], linkType: UInt32 = 1) throws -> String? {
    let paths = (
      try write([.init([1]), .init(expected)], "expected.pcap", linkType: linkType),
      try write([.init([1]), .init(actual)], "actual.pcap", linkType: linkType)
    )
    let found = try Comparison.captures(expected: paths.0, actual: paths.1)
    if let found {
      #expect(found.frame == 2)
      #expect(found.path == paths.0)
    }
    return found.map { "\($0.field): \($0.expected), \($0.actual)" }
  }

  private static let udp = Packet.udp("192.0.2.1:1000", "192.0.2.2:53", "payload")
  private static let tcp = Packet.tcp("192.0.2.1:1000", "192.0.2.2:80", [.ack, .psh], "payload")
  private static let ping = Packet.ping("192.0.2.1:9", "192.0.2.2")

  /// Changed fields come first in the frame and checksums, which change with them, behind: the first one is named.
  private static let changes: [(String, Packet, Packet)] = [
    (
      "ethernet source: 02:00:00:00:ee:ee, 02:00:00:00:00:09", udp,
      udp.with { $0.ethernet.source = "02:00:00:00:00:09" }
    ),
    (
      "ethernet destination: ff:ff:ff:ff:ff:ff, 02:00:00:00:00:09", udp,
      udp.with { $0.ethernet.destination = "02:00:00:00:00:09" }
    ),
    ("ethernet type: 0x0800, 0x86dd", udp, udp.with { $0.ethernet.etherType = 0x86DD }),
    ("ethernet type: 0x0800, 0x8100", udp, udp.with { $0.ethernet.tags = [.init(5)] }),
    (
      "vlan tag: 0x0005, 0x0006", udp.with { $0.ethernet.tags = [.init(5)] },
      udp.with { $0.ethernet.tags = [.init(6)] }
    ),
    ("ipv4 time to live: 64, 63", udp, udp.with { $0.ip.ttl = 63 }),
    ("ipv4 total length: 35, 36", udp, udp.with { $0.udp.payload.append(1) }),
    ("ipv4 header checksum: 0xb6c1, 0x0001", udp.with { $0.ip.checksum = 0xB6C1 }, udp.with { $0.ip.checksum = 1 }),
    (
      "ipv4 destination: 192.0.2.2, 192.0.2.3", udp.with { $0.ip.checksum = 0 },
      udp.with {
        $0.ip.destination = "192.0.2.3"
        $0.ip.checksum = 0
      }
    ),
    ("udp source port: 1000, 1001", udp, udp.with { $0.udp.sourcePort = 1001 }),
    ("udp checksum: 0x0001, 0x0000", udp.with { $0.udp.checksum = 1 }, udp.with { $0.udp.checksum = 0 }),
    (
      "payload byte 0: 0x70, 0x50", udp.with { $0.udp.checksum = 1 },
      udp.with {
        $0.udp.checksum = 1
        $0.udp.payload[0] = 0x50
      }
    ),
    ("tcp destination port: 80, 81", tcp, tcp.with { $0.tcp.destinationPort = 81 }),
    ("tcp sequence number: 1000, 7", tcp, tcp.with { $0.tcp.sequence = 7 }),
    ("tcp flags: 0x18, 0x10", tcp, tcp.with { $0.tcp.flags = .ack }),
    ("icmp type: 8, 0", ping, ping.with { $0.icmp.type = 0 }),
    (
      "icmp identifier: 9, 10", ping.with { $0.icmp.checksum = 5 },
      Packet.ping("192.0.2.1:10", "192.0.2.2") { $0.icmp.checksum = 5 }
    ),
    (
      "quoted udp source port: 1000, 1001", error(udp.with { $0.udp.checksum = 5 }),
      error(
        udp.with {
          $0.udp.sourcePort = 1001
          $0.udp.checksum = 5
        })
    ),
    ("ethernet trailer byte 1: 0x02, 0x09", udp.with { $0.trailer = [1, 2, 3] }, udp.with { $0.trailer = [1, 9, 3] }),
    ("length: 52, 49", udp.with { $0.trailer = [1, 2, 3] }, udp),
  ]

  private static func error(_ about: Packet) -> Packet {
    .icmpError(type: 3, code: 3, from: "192.0.2.9", to: "192.0.2.1", about: about) { $0.icmp.checksum = 5 }
  }

  @Test(arguments: Self.changes.indices) func `the first different field is named with both values`(index: Int) throws {
    let (text, expected, actual) = Self.changes[index]
    #expect(try difference(expected.bytes, actual.bytes) == text)
    #expect(try difference(expected.bytes, expected.bytes) == nil)
  }

  @Test func `ARP, raw IP, fragments and nonsense have fields too`() throws {
    let request = Packet.arp(operation: 1, sender: "02:00:00:00:00:01", "192.0.2.1", "192.0.2.2").bytes
    let other = Packet.arp(operation: 1, sender: "02:00:00:00:00:01", "192.0.2.1", "192.0.2.3").bytes
    #expect(try difference(request, other) == "arp target address: 192.0.2.2, 192.0.2.3")
    let raw = (
      Self.udp.with { $0.hasEthernet = false },
      Self.udp.with {
        $0.hasEthernet = false; $0.ip.ttl = 9
      }
    )
    #expect(try difference(raw.0.bytes, raw.1.bytes, linkType: 101) == "ipv4 time to live: 64, 9")
    let fragments = Self.tcp.fragments(of: 24).map(\.bytes)
    var damaged = fragments[1]
    damaged[34] ^= 1
    #expect(try difference(fragments[1], damaged)?.hasPrefix("payload byte 0:") == true)
    #expect(try difference([1, 2, 3], [1, 2, 4]) == "ethernet destination: 0x010203, 0x010204")
    #expect(try difference([1, 2, 3], []) == "length: 3, 0")
  }

  /// Every byte of every kind of frame, cut anywhere, belongs to a field.
  @Test func `no difference is without a field`() {
    for packet in [Self.udp, Self.tcp, Self.ping, Self.error(Self.tcp)] {
      let whole = packet.bytes
      for cut in 1...whole.count {
        let frame = Array(whole.prefix(cut))
        for index in frame.indices {
          var changed = frame
          changed[index] ^= 0x5A
          #expect(FrameField.differences(frame, changed, link: .ethernet).first?.range.contains(index) == true)
          #expect(FrameField.differences(frame, changed, link: .rawIP).first?.range.contains(index) == true)
        }
      }
    }
  }

  @Test func `times, counts and link types`() throws {
    let early = try write([.init([1], seconds: 5, fraction: 1)], "a")
    let late = try write([.init([1], seconds: 5, fraction: 2)], "b")
    let both = try write([.init([1], seconds: 5, fraction: 1), .init([2])], "c")
    let raw = try write([], "d", linkType: 101)
    func text(_ expected: String, _ actual: String) throws -> String? {
      try Comparison.captures(expected: expected, actual: actual)?.description
    }
    #expect(try text(early, early) == nil)
    #expect(try text(early, late) == "\(early): frame 1: time: expected 5.000000001, actual 5.000000002")
    #expect(try text(early, both) == "\(early): frame 2: frame: expected none, actual one")
    #expect(try text(both, early) == "\(both): frame 2: frame: expected one, actual none")
    #expect(try text(early, raw) == "\(early): link type: expected ethernet, actual rawIP")
    #expect(throws: CaptureError.self) { try text(early, directory("missing")) }
  }
}
