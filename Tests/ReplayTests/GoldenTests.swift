import Foundation
import PacketTestKit
import Testing

@testable import Replay

/// R1: golden captures, compared byte for byte in both directions.
@Suite struct GoldenTests {
  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Golden")

  private func folder(_ golden: GoldenCase) -> URL { folder(golden.name) }
  private func folder(_ name: String) -> URL { Self.root.appendingPathComponent(name) }

  private func stored(_ golden: String, _ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: folder(golden).appendingPathComponent(name)))
  }

  @Test(arguments: GoldenCase.all)
  func `the files are what the generator makes, and nobody edited them`(golden: GoldenCase) throws {
    try compare(golden.name, golden.files)
  }

  @Test func `the trigger's files are what the generator makes, and nobody edited them`() throws {
    try compare(TriggerCase.name, TriggerCase.files.all)
  }

  @Test func `the FTP helper's files are what the generator makes, and nobody edited them`() throws {
    try compare(FTPCase.name, FTPCase.files.all)
  }

  private func compare(_ golden: String, _ files: [String: [UInt8]]) throws {
    if ProcessInfo.processInfo.environment["SLUICE_WRITE_GOLDEN"] != nil {
      try FileManager.default.createDirectory(at: folder(golden), withIntermediateDirectories: true)
      for (name, bytes) in files { try Data(bytes).write(to: folder(golden).appendingPathComponent(name)) }
    }
    let present = try FileManager.default.contentsOfDirectory(atPath: folder(golden).path).sorted()
    #expect(present == files.keys.sorted())
    for (name, bytes) in files { #expect(try stored(golden, name) == bytes, "\(golden)/\(name)") }
  }

  @Test(arguments: [1, 32]) func `every case gives the expected captures and counts, whatever the burst`(burst: Int) {
    let cases = ReplayCase.find(in: Self.root.path)
    #expect(cases.map(\.name) == (GoldenCase.all.map(\.name) + [TriggerCase.name, FTPCase.name]).sorted())
    for one in cases {
      let result = one.run { $0.burstFrames = burst }
      #expect(result.passed, "\(result)")
      #expect(result.frames > 8)
    }
  }

  /// What each case is about, written down once more: outside endpoint, target, client as the target sees it.
  private static let table: [String: (outside: Peer, target: Peer, seen: [GoldenCase.Mode: Peer])] = [
    "address": (
      "203.0.113.1:8080", "192.168.1.10:8080",
      [.preserve: "198.51.100.7:40000", .gateway: "192.168.1.1:40000", .hairpin: "203.0.113.1:5000"]
    ),
    "port": (
      "203.0.113.200:8080", "203.0.113.200:80",
      [.preserve: "198.51.100.7:40000", .gateway: "192.168.1.1:40000", .hairpin: "192.168.1.1:5000"]
    ),
    "both": (
      "203.0.113.1:8080", "192.168.1.10:80",
      [.preserve: "198.51.100.7:40000", .gateway: "192.168.1.1:40000", .hairpin: "203.0.113.1:5000"]
    ),
  ]

  @Test(arguments: GoldenCase.all)
  func `every expected frame has the right ends, and checksums that a full sum confirms`(golden: GoldenCase) throws {
    let row = try #require(Self.table[golden.differs.rawValue])
    let seen = try #require(row.seen[golden.mode])
    let client: Peer = golden.mode == .hairpin ? "192.168.1.11:5000" : "198.51.100.7:40000"
    var directions = [0, 0]
    for name in ["wan", "lan"] {
      for frame in try Played.frames(folder(golden).appendingPathComponent("expect-\(name).pcap").path, on: name) {
        let decoded = Decoded(frame.bytes)
        #expect(decoded.problems == [] && decoded.checksumProblems() == [] && decoded.trailer == 0, "\(decoded)")
        #expect(decoded.ip.map { $0.ttl == 63 || $0.ttl == 1 } == true)
        if let quote = decoded.quote {
          #expect(quote.source == client && quote.destination == row.outside, "\(decoded)")
          #expect(decoded.source?.host == row.outside.host && decoded.destination?.host == client.host)
          continue
        }
        let isInward = decoded.destination == row.target
        directions[isInward ? 0 : 1] += 1
        #expect(decoded.source == (isInward ? seen : row.outside), "\(decoded)")
        #expect(decoded.destination == (isInward ? row.target : client), "\(decoded)")
        #expect(decoded.ip?.ipProtocol == (golden.ipProtocol == .tcp ? 6 : 17))
        // Only a checksum that came in as "none" may leave as such.
        if decoded.udp?.checksum == 0 { #expect(decoded.text.contains("no")) }
      }
    }
    #expect(directions[0] >= 4 && directions[1] >= 4)
  }
}
