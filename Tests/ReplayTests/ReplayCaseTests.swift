import Foundation
import PacketTestKit
import Testing

@testable import Replay

/// `sluice replay --case`: what it finds, what it says, and what it leaves alone.
@Suite struct ReplayCaseTests {
  private let directory: TemporaryDirectory
  private let golden = GoldenCase.all[0]

  /// A tree with two good cases.
  init() throws {
    directory = try TemporaryDirectory()
    for name in ["tree/one", "tree/deep/two"] {
      try FileManager.default.createDirectory(atPath: directory(name), withIntermediateDirectories: true)
      for (file, bytes) in golden.files { try directory.write(bytes, as: "\(name)/\(file)") }
    }
  }

  private func run(_ arguments: String...) throws -> SluiceProcess.Ended {
    try SluiceProcess.run(["replay", "--case"] + arguments)
  }

  @Test func `a tree of cases, and one`() throws {
    let tree = try run(directory("tree"))
    #expect(tree.status == 0 && tree.errors.isEmpty)
    let lines = tree.output.split(separator: "\n")
    #expect(lines[0].hasPrefix("passed   deep/two (") && lines[1].hasPrefix("passed   one ("))
    #expect(lines[2].hasPrefix("2 cases in ") && lines[2].hasSuffix(": 2 passed, 0 differ, 0 failed"))
    let one = try run(directory("tree/one"), "--json")
    let results = try JSONDecoder().decode([ReplayCase.Result].self, from: Data(one.output.utf8))
    #expect(results.map(\.name) == ["one"] && results[0].passed && one.status == 0)
  }

  @Test func `a difference is told by frame, field, expected, actual, and in bytes`() throws {
    var bytes = try directory.read("tree/one/expect-lan.pcap")
    // The last byte of the first frame's destination address.
    let offset = 24 + 16 + 14 + 19
    bytes[offset] ^= 1
    try directory.write(bytes, as: "tree/one/expect-lan.pcap")
    let ended = try run(directory("tree"))
    #expect(ended.status == 3)
    #expect(ended.output.contains("differs  one ("))
    let path = directory("tree/one/expect-lan.pcap")
    #expect(ended.output.contains("\(path): frame 1: ipv4 destination: expected 192.168.1.11, actual 192.168.1.10\n"))
    #expect(ended.output.contains("expected bytes 02") && ended.output.contains("actual bytes   02"))
    #expect(ended.output.contains("2 cases") && ended.errors.contains("1 passed, 1 differ, 0 failed"))
  }

  @Test func `what leaves and is not expected differs, and so do counters`() throws {
    try FileManager.default.removeItem(atPath: directory("tree/one/expect-wan.pcap"))
    let json = String(decoding: try directory.read("tree/one/expect.json"), as: UTF8.self)
    try directory.write(
      Array(json.replacing("\"no-forward\" : 1", with: "\"filtered\" : 1").utf8), as: "tree/one/expect.json")
    let result = ReplayCase(name: "one", directory: directory("tree/one")).run()
    #expect(
      result.differences.map { "\($0.field) \($0.expected) \($0.actual)" }
        == ["frame none one", "drops.filtered 1 0", "drops.no-forward 0 1"])
    // Nothing said, nothing compared.
    try directory.write(Array("{}".utf8), as: "tree/one/expect.json")
    #expect(ReplayCase(name: "one", directory: directory("tree/one")).run().differences.count == 1)
  }

  @Test func `only regenerate writes, and what it writes passes`() throws {
    let before = try directory.read("tree/one/expect-lan.pcap")
    try directory.write(Array(before.dropLast(100)), as: "tree/one/expect-lan.pcap")
    #expect(try run(directory("tree/one")).status == 1, "a damaged expectation is no difference")
    try FileManager.default.removeItem(atPath: directory("tree/one/expect-lan.pcap"))
    #expect(try run(directory("tree/one")).status == 3)
    #expect(try directory.list("tree/one").contains("expect-lan.pcap") == false)
    let written = try run(directory("tree/one"), "--regenerate")
    #expect(written.status == 0 && written.output.hasPrefix("written  one"))
    #expect(try directory.read("tree/one/expect-lan.pcap") == before)
    #expect(try run(directory("tree/one")).status == 0)
  }

  @Test func `a case that cannot run has failed`() throws {
    try directory.write([], as: "tree/one/in-dmz.pcap")
    try directory.write(Array("[interface.wan".utf8), as: "tree/deep/two/sluice.toml")
    let ended = try run(directory("tree"))
    #expect(ended.status == 1)
    #expect(ended.output.contains("no interface \"dmz\"") && ended.output.contains("two/sluice.toml:1:"))
    #expect(ended.output.contains("0 passed, 0 differ, 2 failed"))
    #expect(try run(directory("nowhere")).status == 2)
    #expect(try run(directory("tree"), "-c", "x").status == 2)
  }
}
