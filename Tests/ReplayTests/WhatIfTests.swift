import Foundation
import PacketTestKit
import Testing

@testable import Replay

/// `sluice whatif`: every kind of change, and the exit status that a configuration's tests rely on.
@Suite struct WhatIfTests {
  private let directory: TemporaryDirectory

  /// Two clients of the web forward, one of a port that nothing forwards, an inside host that goes out.
  init() throws {
    directory = try TemporaryDirectory()
    let wan: [Packet] = [
      .tcp("198.51.100.7:4000", "203.0.113.1:8080", .syn), .tcp("198.51.100.8:4000", "203.0.113.1:8080", .syn),
      .udp("198.51.100.7:4000", "203.0.113.1:99"),
    ]
    let lan: [Packet] = [.udp("192.168.1.10:5000", "198.51.100.7:9")]
    for (name, mac, packets) in [("wan", "02:00:00:00:01:01", wan), ("lan", "02:00:00:00:02:01", lan)] {
      let frames = packets.map { $0.with { $0.ethernet.destination = Station(stringLiteral: mac) }.bytes }
      try directory.write(
        CaptureBytes.pcap(frames.enumerated().map { .init($1, seconds: UInt64($0)) }), as: "\(name).pcap")
    }
    try directory.write(Array(Situation.configuration.utf8), as: "old.toml")
  }

  private func whatIf(_ edits: [(String, String)], _ more: String...) throws -> SluiceProcess.Ended {
    let text = edits.reduce(Situation.configuration) { $0.replacing($1.0, with: $1.1) }
    #expect(edits.isEmpty || text != Situation.configuration)
    let new = try directory.write(Array(text.utf8), as: "new.toml")
    return try SluiceProcess.run(
      [
        "whatif", "-c", new, "--against", directory("old.toml"), "--in", "wan=\(directory("wan.pcap"))", "--in",
        "lan=\(directory("lan.pcap"))",
      ] + more)
  }

  private func changes(_ edits: [(String, String)]) throws -> [String] {
    let ended = try whatIf(edits, "--json")
    #expect(ended.status == 3 && ended.errors.contains("unchanged"))
    let found = try JSONDecoder().decode(WhatIf.self, from: Data(ended.output.utf8))
    #expect(found.counts.values.reduce(0, +) == 4)
    return found.changed.map { "\($0.flow): \($0.change.rawValue)" }
  }

  @Test func `nothing changes`() throws {
    let ended = try whatIf([])
    #expect(ended.status == 0 && ended.errors.isEmpty)
    #expect(ended.output == "0 newly forwarded, 0 newly dropped, 0 retargeted, 0 re-sourced, 4 unchanged\n")
  }

  @Test func `every kind of change, flow by flow`() throws {
    let web = "wan tcp 198.51.100.7:4000 > 203.0.113.1:8080"
    let other = "wan tcp 198.51.100.8:4000 > 203.0.113.1:8080"
    #expect(
      try changes([("deny = [\"198.51.100.66\"]", "deny = [\"198.51.100.8\"]")]) == ["\(other): newly dropped"])
    #expect(
      try changes([("ports = \"5353\"", "ports = \"5353, 99\"")])
        == ["wan udp 198.51.100.7:4000 > 203.0.113.1:99: newly forwarded"])
    #expect(
      try changes([("to = \"192.168.1.10:80\"", "to = \"192.168.1.10:81\"")])
        == ["\(web): retargeted", "\(other): retargeted"])
    #expect(
      try changes([("allow = [\"198.51.100.0/24\"]", "source = \"gateway\"")])
        == ["\(web): re-sourced", "\(other): re-sourced"])
    #expect(
      try changes([("[[masquerade]]\nfrom = \"lan\"\nto = \"wan\"", "")])
        == ["lan udp 192.168.1.10:5000 > 198.51.100.7:9: newly dropped"])
  }

  @Test func `flows of IPv6 too: a target by its suffix that becomes another`() throws {
    let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("GoldenIPv6/ports").path
    let old = try String(contentsOfFile: golden + "/sluice.toml", encoding: .utf8)
    // The target is known, or it would be asked for, and nothing to be seen of it.
    let neighbor = "[[neighbor]]\naddress = \"2001:db8:2::20\"\nmac = \"02:00:00:00:00:20\"\n"
    let text = old.replacing("to = \"[::10%lan/-64]:9090\"", with: "to = \"[::20%lan/-64]:9090\"") + neighbor
    let new = try directory.write(Array(text.utf8), as: "six.toml")
    let ended = try SluiceProcess.run([
      "whatif", "-c", new, "--against", golden + "/sluice.toml", "--in", "wan=\(golden)/in-wan.pcap", "--in",
      "lan=\(golden)/in-lan.pcap", "--json",
    ])
    let found = try JSONDecoder().decode(WhatIf.self, from: Data(ended.output.utf8))
    #expect(ended.status == 3)
    #expect(
      found.changed.contains {
        "\($0.flow)" == "wan tcp [2001:db8:f::8]:5000 > [2001:db8:1::1]:8080" && $0.change.rawValue == "retargeted"
      }, "\(ended.output)")
  }

  @Test func `a table for people`() throws {
    let ended = try whatIf([("to = \"192.168.1.10:80\"", "to = \"192.168.1.10:81\"")])
    let lines = ended.output.split(separator: "\n")
    #expect(lines.count == 4 && lines[0].hasPrefix("change      flow"))
    #expect(lines[1].contains("-> lan 198.51.100.7:4000 > 192.168.1.10:80"))
    #expect(lines[1].contains("-> lan 198.51.100.7:4000 > 192.168.1.10:81"))
    #expect(lines[3] == "0 newly forwarded, 0 newly dropped, 2 retargeted, 0 re-sourced, 2 unchanged")
  }

  @Test func `mistakes are told as everywhere`() throws {
    #expect(try whatIf([("role = \"outside\"", "role = \"outsider\"")]).status == 2)
    #expect(try whatIf([("interface.wan", "interface.dsl"), ("\"wan\"", "\"dsl\"")]).status == 2)
    try directory.write(Array(try directory.read("wan.pcap").dropLast()), as: "wan.pcap")
    #expect(try whatIf([]).status == 1)
  }
}
