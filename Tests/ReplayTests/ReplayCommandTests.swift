import Foundation
import PacketTestKit
import Testing

@testable import Replay

/// `sluice replay` as users run it: options, exit statuses, messages.
@Suite struct ReplayCommandTests {
  private let directory: TemporaryDirectory
  private let config: String
  private let capture: String

  private static let text =
    twoInterfaces + """

      [[neighbor]]
      address = "192.168.1.10"
      mac = "02:00:00:00:00:10"

      [[forward]]
      name = "dns"
      protocol = "udp"
      on = "wan"
      ports = "8853"
      to = "192.168.1.10:53"
      """

  init() throws {
    directory = try TemporaryDirectory()
    config = try directory.write(Array(Self.text.utf8), as: "sluice.toml")
    let frames = (0..<3).map { index in
      Packet.udp(Peer("198.51.100.7", 4000 + UInt16(index)), "203.0.113.1:8853", "question \(index)") {
        $0.ethernet.destination = "02:00:00:00:01:01"
      }
    }
    capture = try directory.write(
      CaptureBytes.pcap(frames.enumerated().map { .init($1.bytes, seconds: UInt64($0)) }), as: "in.pcap")
  }

  private func replay(_ arguments: String...) throws -> SluiceProcess.Ended {
    try SluiceProcess.run(["replay", "-c", config] + arguments)
  }

  private func report(_ text: String) throws -> ReplayReport {
    try JSONDecoder().decode(ReplayReport.self, from: Data(text.utf8))
  }

  @Test func `output, report and summary`() throws {
    let plain = try replay("--in", "wan=\(capture)", "--out", directory("out"))
    #expect(plain.status == 0 && plain.errors.isEmpty)
    #expect(plain.output.contains("wan: 3 received = 3 forwarded"))
    #expect(try directory.list("out") == ["lan.pcap", "wan.pcap"])

    let json = try replay("--in", "wan=\(capture)", "--json")
    #expect(try report(json.output).frames.forwarded == 3)
    let dash = try replay("--in", "wan=\(capture)", "--report", "-")
    #expect(try report(dash.output).sessions.created == 3)
    let file = try replay("--in", "wan=\(capture)", "--report", directory("report.json"))
    #expect(file.output.isEmpty)
    let written = String(decoding: try directory.read("report.json"), as: UTF8.self)
    #expect(try report(written).interfaces.keys.sorted() == ["lan", "wan"])
    for key in ["\"elapsed_seconds\"", "\"packets_per_second\"", "\"drops\"", "\"events\"", "\"held\""] {
      #expect(written.contains(key))
    }
  }

  @Test func `a comparison without difference, and with one`() throws {
    #expect(
      try replay("--in", "wan=\(capture)", "--out", directory("old"), "--report", directory("old/report.json")).status
        == 0)
    let same = try replay("--in", "wan=\(capture)", "--expect", directory("old"))
    #expect(same.status == 0 && same.errors.isEmpty)
    let kept = try replay("--in", "wan=\(capture)", "--expect", directory("old"), "--out", directory("new"))
    #expect(kept.status == 0)
    #expect(try directory.read("new/lan.pcap") == directory.read("old/lan.pcap"))

    let mapped = try replay(
      "--in", "wan=\(capture)", "--expect", directory("old"), "--map", "198.51.100.7=198.51.100.9")
    #expect(mapped.status == 3)
    #expect(mapped.errors.hasPrefix("sluice: \(directory("old/lan.pcap")): frame 1: ipv4 header checksum: expected 0x"))

    let report = String(decoding: try directory.read("old/report.json"), as: UTF8.self)
    let changed = report.replacing("\"created\" : 3", with: "\"created\" : 4")
    #expect(changed != report)
    try directory.write(Array(changed.utf8), as: "old/report.json")
    let counted = try replay("--in", "wan=\(capture)", "--expect", directory("old"))
    #expect(counted.status == 3)
    #expect(counted.errors == "sluice: \(directory("old/report.json")): sessions.created: expected 4, actual 3\n")

    try FileManager.default.removeItem(atPath: directory("old/wan.pcap"))
    let missing = try replay("--in", "wan=\(capture)", "--expect", directory("old"))
    #expect(missing.status == 3 && missing.errors.contains("wan.pcap: file: expected a capture, actual none"))
  }

  @Test func `damage is exit status 1, after the report`() throws {
    let cut = Array(try directory.read("in.pcap").dropLast(1))
    let path = try directory.write(cut, as: "cut.pcap")
    let ended = try replay("--in", "wan=\(path)", "--out", directory("out"), "--report", "-")
    #expect(ended.status == 1)
    #expect(try report(ended.output).frames.received == 2)
    let record = 24 + 2 * (16 + 14 + 20 + 8 + 10)
    #expect(ended.errors.hasPrefix("sluice: \(path): byte \(record): truncated"))
    #expect(try directory.list("out") == ["lan.pcap", "wan.pcap"])
    let missing = try replay("--in", "wan=\(directory("none"))", "--json")
    #expect(missing.status == 1 && missing.errors.contains("none: No such file"))
    #expect(try report(missing.output).frames.received == 0)
  }

  @Test(
    arguments: [
      ([], "--in"), (["--in", "wan"], "IF=PCAP"), (["--in", "wan="], "IF=PCAP"),
      (["--in", "dmz=x"], "no interface \"dmz\""), (["--in", "wan=a", "--in", "wan=b"], "has a capture already"),
      (["--in", "wan=a", "--map", "x"], "OLD=NEW"), (["--in", "wan=a", "--until", "soon"], "not a duration"),
      (["--in", "wan=a", "--until", "99999999999999999d"], "not a duration"),
      (["--in", "wan=a", "--seed", "x"], "seed"), (["--in", "wan=a", "--expect", "/nonexistent"], "no directory"),
      (["--in", "wan=a", "--expect", "/", "--out", "/."], "same directory"),
      (["--in", "wan=a", "--loop", "0"], "1 to 1000000"), (["--in", "wan=a", "--speed", "fast"], "max, real"),
      (["--in", "wan=a", "--filter", "host"], "no libpcap filter"), (["--in", "wan=a", "--regenerate"], "--case DIR"),
      (["--case", "/"], "leave out -c"), (["--state", "/"], "leave out -c"),
    ] as [([String], String)])
  func `bad usage is exit status 2, and says what would be right`(arguments: [String], text: String) throws {
    let ended = try SluiceProcess.run(["replay", "-c", config] + arguments)
    #expect(ended.status == 2)
    #expect(ended.errors.hasPrefix("sluice: ") && ended.errors.contains(text), "\(ended.errors)")
    #expect(ended.output.isEmpty)
  }

  @Test func `a configuration without mac is located`() throws {
    let bare = Self.text.replacing("mac = \"02:00:00:00:01:01\"\n", with: "")
    let path = try directory.write(Array(bare.utf8), as: "bare.toml")
    let ended = try SluiceProcess.run(["replay", "-c", path, "--in", "wan=\(capture)"])
    #expect(ended.status == 2)
    #expect(ended.errors.hasPrefix("sluice: \(path):1:1: "))
    #expect(ended.errors.contains("mac = "))
  }
}
