import Foundation
import PacketTestKit
import Testing

@testable import Replay

/// One golden case of IPv6: what comes, and what must leave, all built from scratch here; see `GoldenCase`.
struct GoldenIPv6Case: CustomTestStringConvertible, Sendable {
  typealias Frame = (bytes: [UInt8], interface: String)

  let name: String
  /// Behind the configuration that all cases have.
  var rules = ""
  /// In order; every frame with what leaves because of it.
  let steps: [(frame: Frame, leaves: [Frame])]

  var testDescription: String { name }

  static let configuration = """
    [interface.wan]
    role = "outside"
    address = ["203.0.113.1/24", "2001:db8:1::1/64"]
    gateway = ["203.0.113.254", "fe80::fe"]
    mac = "02:00:00:00:01:01"

    [interface.lan]
    role = "inside"
    address = "2001:db8:2::1/64"
    mac = "02:00:00:00:02:01"

    [interface.dmz]
    role = "inside"
    address = ["2001:db8:3::1/64", "fe80::3:1/64"]
    mac = "02:00:00:00:03:01"
    mtu = 1280

    [[route]]
    destination = "2001:db8:a::/48"
    via = "2001:db8:3::10"

    [[neighbor]]
    address = "fe80::fe%wan"
    mac = "\(Station.of6("fe80::fe"))"

    [[neighbor]]
    address = "2001:db8:2::10"
    mac = "\(Station.of6("2001:db8:2::10"))"

    [[neighbor]]
    address = "2001:db8:3::10"
    mac = "\(Station.of6("2001:db8:3::10"))"

    [[forward]]
    name = "web"
    protocol = "tcp+udp"
    on = "wan"
    ports = "80, 8000-8010"
    except = "8005"
    to = "2001:db8:2::10"
    deny = "2001:db8:bad::/48"

    """

  // MARK: Ends

  private static let host: Host6 = "2001:db8:2::10"
  private static let peer: Host6 = "2001:db8:3::10"
  private static let far: Host6 = "2001:db8:a::5"
  private static let stranger: Host6 = "2001:db8:2::77"
  private static let server: Host6 = "2001:db8:f::7"
  private static let router: Host6 = "fe80::fe"
  private static let own: [String: Host6] = [
    "wan": "2001:db8:1::1", "lan": "2001:db8:2::1", "dmz": "2001:db8:3::1",
  ]
  private static let macs: [String: Station] = [
    "wan": "02:00:00:00:01:01", "lan": "02:00:00:00:02:01", "dmz": "02:00:00:00:03:01",
  ]
  private static let neighbors: [String: Host6] = ["wan": router, "lan": host, "dmz": peer]

  private static func comes(_ datagram: Datagram6, _ interface: String, from sender: Host6? = nil) -> Frame {
    let isGroup = datagram.destination.bytes[0] == 0xFF
    let receiver = isGroup ? datagram.destination.groupStation : macs[interface]!
    return (datagram.frame(from: .of6(sender ?? neighbors[interface]!), to: receiver), interface)
  }

  private static func leaves(_ datagram: Datagram6, _ interface: String, to neighbor: Host6? = nil) -> Frame {
    let isGroup = datagram.destination.bytes[0] == 0xFF
    let receiver = isGroup ? datagram.destination.groupStation : .of6(neighbor ?? neighbors[interface]!)
    return (datagram.frame(from: macs[interface]!, to: receiver), interface)
  }

  private static func passes(_ datagram: Datagram6, _ from: String, _ to: String) -> (Frame, [Frame]) {
    (comes(datagram, from), [leaves(datagram.hopped, to)])
  }

  private static func stays(_ datagram: Datagram6, _ on: String, told: Datagram6? = nil) -> (Frame, [Frame]) {
    (comes(datagram, on), told.map { [leaves($0, on)] } ?? [])
  }

  // MARK: Cases

  static let all = [discovery, routing, firewall, prefix, ports]

  /// Forwards to a target by its suffix, and a masquerade whose mapping is endpoint-independent.
  private static let ports: GoldenIPv6Case = {
    let (wan, second): (Host6, Host6) = (own["wan"]!, "2001:db8:f::8")
    func out(_ came: Datagram6, _ left: Datagram6) -> (Frame, [Frame]) {
      (comes(came, "lan"), [leaves(left.hopped, "wan")])
    }
    func into(_ came: Datagram6, _ left: Datagram6) -> (Frame, [Frame]) {
      (comes(came, "wan"), [leaves(left.hopped, "lan")])
    }
    return GoldenIPv6Case(
      name: "ports",
      rules: """
        [[forward]]
        name = "pinhole"
        protocol = "tcp"
        on = "wan"
        ports = "4443"
        to = "::10%lan/-64"

        [[forward]]
        name = "at the gateway"
        protocol = "tcp"
        external = "2001:db8:1::1"
        ports = "8080"
        to = "[::10%lan/-64]:9090"

        [[masquerade]]
        from = "lan"
        to = "wan"
        external = "2001:db8:1::1"

        """,
      steps: [
        out(.udp(host, 4000, server, 1), .udp(wan, 4000, server, 1)),
        out(.udp(host, 4000, server, 2), .udp(wan, 4000, server, 2)),
        out(.udp(host, 4000, second, 3), .udp(wan, 4000, second, 3)),
        into(.udp(server, 1, wan, 4000), .udp(server, 1, host, 4000)),
        into(.udp(server, 9, wan, 4000), .udp(server, 9, host, 4000)),
        out(.udp(host, 4000, server, 9), .udp(wan, 4000, server, 9)),
        stays(.udp("2001:db8:f::9", 1, wan, 4000), "wan"),
        stays(.udp(server, 1, wan, 4001), "wan"),
        into(.tcp(second, 5000, host, 4443, .syn), .tcp(second, 5000, host, 4443, .syn)),
        into(.tcp(second, 5000, wan, 8080, .syn), .tcp(second, 5000, host, 9090, .syn)),
        out(
          .tcp(host, 9090, second, 5000, [.syn, .ack], acknowledgment: 1001),
          .tcp(wan, 8080, second, 5000, [.syn, .ack], acknowledgment: 1001)),
        out(.tcp(host, 9090, server, 7, .syn), .tcp(wan, 8080, server, 7, .syn)),
        stays(.tcp(second, 5000, wan, 9090, .syn), "wan"),
      ])
  }()

  private static let discovery: GoldenIPv6Case = {
    let lan = own["lan"]!
    let waiting = (0..<2).map { Datagram6.udp(peer, 1000, stranger, 2000, "number \($0)") }
    let question = leaves(.solicitation(lan, for: stranger, station: macs["lan"]), "lan")
    let answer = Datagram6.advertisement(stranger, flags: 0x60, station: .of6(stranger), to: lan)
    let near: Host6 = "fe80::77"
    return GoldenIPv6Case(
      name: "discovery",
      steps: [
        (
          comes(.solicitation(host, for: lan, station: .of6(host)), "lan"),
          [leaves(.advertisement(lan, flags: 0xE0, station: macs["lan"], to: host), "lan")]
        ),
        (
          comes(.solicitation("::", for: lan, station: nil), "lan"),
          [leaves(.advertisement(lan, flags: 0xA0, station: macs["lan"], to: "ff02::1"), "lan")]
        ),
        (
          comes(.solicitation(near, for: "fe80::3:1", station: .of6(near)), "dmz", from: near),
          [leaves(.advertisement("fe80::3:1", flags: 0xE0, station: macs["dmz"], to: near), "dmz", to: near)]
        ),
        (
          comes(.ping(near, "fe80::3:1"), "dmz", from: near),
          [leaves(.ping("fe80::3:1", near, isAnswer: true), "dmz", to: near)]
        ),
        (comes(waiting[0], "dmz"), [question]),
        (comes(waiting[1], "dmz"), []),
        (comes(answer, "lan", from: stranger), waiting.map { leaves($0.hopped, "lan", to: stranger) }),
        (comes(.solicitation(host, for: lan, station: .of6(host)).with { $0.hopLimit = 64 }, "lan"), []),
      ])
  }()

  private static let routing: GoldenIPv6Case = {
    let large = Datagram6.udp(host, 1, peer, 2, String(repeating: "x", count: 1300))
    let dying = Datagram6.udp(host, 1, peer, 2).with { $0.hopLimit = 1 }
    return GoldenIPv6Case(
      name: "routing",
      steps: [
        passes(.udp(host, 1, peer, 2), "lan", "dmz"), passes(.udp(host, 1, far, 2), "lan", "dmz"),
        passes(.ping(peer, host), "dmz", "lan"), passes(.tcp(far, 1, host, 2, .syn), "dmz", "lan"),
        passes(Datagram6(host, far, 50, [1, 2, 3, 4]).with { $0.trafficClassAndLabel = 0xB8_12345 }, "lan", "dmz"),
        stays(large, "lan", told: .icmp(own["lan"]!, host, type: 2, code: 0, 1280, Array(large.bytes.prefix(1232)))),
        stays(dying, "lan", told: .icmp(own["lan"]!, host, type: 3, code: 0, 0, dying.bytes)),
        stays(.ping(host, own["lan"]!), "lan", told: .ping(own["lan"]!, host, isAnswer: true)),
        stays(.ping(server, own["wan"]!), "wan"), stays(.udp("fe80::9", 1, peer, 2), "lan"),
        stays(.udp(peer, 1, host, 2), "lan"),
        stays(.udp(host, 1, peer, 2).with { $0.extensions = [(43, [0, 0, 1, 0, 0, 0, 0])] }, "lan"),
      ])
  }()

  private static let firewall: GoldenIPv6Case = {
    let sent = Datagram6.udp(host, 1000, server, 2000, "question")
    let tooBig = Datagram6.icmp("2001:db8:e::1", host, type: 2, code: 0, 1400, sent.hopped.bytes)
    return GoldenIPv6Case(
      name: "firewall",
      steps: [
        stays(.udp(server, 2000, host, 1000), "wan"), passes(sent, "lan", "wan"),
        passes(.udp(server, 2000, host, 1000, "answer"), "wan", "lan"), passes(tooBig, "wan", "lan"),
        stays(.udp(server, 2001, host, 1000), "wan"), passes(.ping(host, server), "lan", "wan"),
        passes(.ping(server, host, isAnswer: true), "wan", "lan"), stays(.ping(server, host), "wan"),
        passes(.tcp(server, 1000, host, 80, .syn), "wan", "lan"),
        passes(.tcp(host, 80, server, 1000, [.syn, .ack], sequence: 9, acknowledgment: 1001), "lan", "wan"),
        passes(.tcp(server, 1000, host, 80, .ack, sequence: 1001, acknowledgment: 10), "wan", "lan"),
        passes(.tcp(server, 1000, host, 80, .ack, sequence: 1001, acknowledgment: 10, "text"), "wan", "lan"),
        passes(.udp(server, 1000, host, 8010), "wan", "lan"), stays(.udp(server, 1000, host, 8005), "wan"),
        stays(.tcp("2001:db8:bad::1", 1000, host, 80, .syn), "wan"), stays(.tcp(server, 1, peer, 80, .syn), "wan"),
      ])
  }()

  /// The example of RFC 6296 section 3.6, in the addresses of this rig.
  private static let prefix: GoldenIPv6Case = {
    let inside: Host6 = "fd01:203:405:1::1234"
    let outside: Host6 = "2001:db8:b:d546::1234"
    func changed(_ came: Datagram6, _ from: String, _ left: Datagram6, _ to: String) -> (Frame, [Frame]) {
      (comes(came, from), [leaves(left.hopped, to)])
    }
    let refused = Datagram6.udp("fd01:203:405:ffff::1", 1, server, 2)
    let sent = Datagram6.udp(outside, 1000, server, 2000).hopped
    return GoldenIPv6Case(
      name: "prefix",
      rules: """
        [[prefix-translation]]
        on = "wan"
        inside = "fd01:203:405::/48"
        outside = "2001:db8:b::/48"

        [[route]]
        destination = "fd01:203:405::/48"
        via = "2001:db8:2::10"

        [[forward]]
        name = "inside-web"
        protocol = "tcp"
        on = "wan"
        ports = "80"
        to = "fd01:203:405:1::1234"

        """,
      steps: [
        changed(.udp(inside, 1000, server, 2000), "lan", .udp(outside, 1000, server, 2000), "wan"),
        changed(.udp(server, 2000, outside, 1000), "wan", .udp(server, 2000, inside, 1000), "lan"),
        changed(
          .icmp("2001:db8:e::1", outside, type: 2, 1400, sent.bytes), "wan",
          .icmp("2001:db8:e::1", inside, type: 2, 1400, Datagram6.udp(inside, 1000, server, 2000).hopped.bytes), "lan"),
        stays(.udp(server, 2001, outside, 1000), "wan"), stays(.udp(server, 2000, inside, 1000), "wan"),
        changed(.ping(inside, server), "lan", .ping(outside, server), "wan"),
        changed(.ping(server, outside, isAnswer: true), "wan", .ping(server, inside, isAnswer: true), "lan"),
        changed(.tcp(server, 1000, outside, 80, .syn), "wan", .tcp(server, 1000, inside, 80, .syn), "lan"),
        changed(
          .tcp(inside, 80, server, 1000, [.syn, .ack], sequence: 9, acknowledgment: 1001), "lan",
          .tcp(outside, 80, server, 1000, [.syn, .ack], sequence: 9, acknowledgment: 1001), "wan"),
        stays(.tcp(server, 1000, outside, 81, .syn), "wan"),
        stays(refused, "lan", told: .icmp(own["lan"]!, "fd01:203:405:ffff::1", type: 1, code: 5, 0, refused.bytes)),
        changed(.udp(host, 1000, outside, 53), "lan", .udp(host, 1000, inside, 53), "lan"),
      ])
  }()

  // MARK: Files

  var files: [String: [UInt8]] {
    var files = ["sluice.toml": Array((Self.configuration + rules).utf8)]
    for interface in ["wan", "lan", "dmz"] {
      let numbered = steps.enumerated()
      let came = numbered.filter { $1.frame.interface == interface }.map { record($1.frame.bytes, $0) }
      let left = numbered.flatMap { index, step in
        step.leaves.filter { $0.interface == interface }.map { record($0.bytes, index) }
      }
      if !came.isEmpty { files["in-\(interface).pcap"] = CaptureBytes.pcap(came) }
      files["expect-\(interface).pcap"] = CaptureBytes.pcap(left)
    }
    return files
  }

  /// A tenth of a second and a nanosecond apart.
  private func record(_ frame: [UInt8], _ index: Int) -> CaptureBytes.Record {
    CaptureBytes.Record(
      frame, seconds: 1_700_000_000 + UInt64(index / 10), fraction: UInt32(index % 10 * 100_000_000 + index))
  }
}

/// R1: golden captures of IPv6, compared byte for byte.
@Suite struct GoldenIPv6Tests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("GoldenIPv6")

  @Test(arguments: GoldenIPv6Case.all)
  func `the files are what the generator makes, and nobody edited them`(golden: GoldenIPv6Case) throws {
    let folder = Self.root.appendingPathComponent(golden.name)
    let files = golden.files
    if ProcessInfo.processInfo.environment["SLUICE_WRITE_GOLDEN"] != nil {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      for (name, bytes) in files { try Data(bytes).write(to: folder.appendingPathComponent(name)) }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == files.keys.sorted())
    for (name, bytes) in files {
      #expect(try [UInt8](Data(contentsOf: folder.appendingPathComponent(name))) == bytes, "\(golden.name)/\(name)")
    }
  }

  @Test(arguments: [1, 32]) func `every case gives the expected captures, whatever the burst`(burst: Int) {
    let cases = ReplayCase.find(in: Self.root.path)
    #expect(cases.map(\.name) == GoldenIPv6Case.all.map(\.name).sorted())
    for one in cases {
      let result = one.run { $0.burstFrames = burst }
      #expect(result.passed, "\(result)")
      #expect(result.frames >= 8)
    }
  }
}
