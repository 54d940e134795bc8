import Capture
import Engine
import Foundation
import PacketTestKit
import Settings
import Testing

@testable import Replay

/// `--annotate`: what tshark reads out of it is what was decided.
@Suite struct AnnotationTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Fields of every frame as tshark (Debian's) sees them; what it complains about is an issue.
  private func tshark(_ path: String, _ fields: [String]) throws -> [[String]] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["tshark", "-n", "-r", path, "-T", "fields"] + fields.flatMap { ["-e", $0] }
    let (output, errors) = (Pipe(), try directory.write([], as: "tshark.errors"))
    process.standardOutput = output
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: errors))
    try process.run()
    let text = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    let complaints = String(decoding: try directory.read("tshark.errors"), as: UTF8.self).split(separator: "\n")
      .filter { !$0.hasPrefix("Running as user") }
    #expect(process.terminationStatus == 0 && complaints.isEmpty, "\(path): \(complaints)")
    return String(decoding: text, as: UTF8.self).split(separator: "\n").map {
      $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    }
  }

  private static let configuration = Situation.configuration

  @Test func `inside and outside, in and out tied together, each with decision and verdict`() throws {
    let config = try directory.write(Array(Self.configuration.utf8), as: "sluice.toml")
    let settings = try SettingsFile.load(path: config, purpose: .replay)
    var rig = try Rig(settings.plan)
    rig.receive(.tcp("198.51.100.7:4000", "203.0.113.1:8080", .syn), on: "wan", at: 0)
    rig.receive(.tcp("192.168.1.10:80", "198.51.100.7:4000", [.syn, .ack]), on: "lan", at: 0.5)
    rig.receive(.udp("198.51.100.7:4000", "203.0.113.1:99"), on: "wan", at: 1)
    rig.receive(.udp("198.51.100.7:4000", "203.0.113.5:99"), on: "wan", at: 2)
    let asked: PacketTestKit.Host = "192.168.1.20"
    rig.receive(
      .arp(operation: 2, sender: .of(asked), asked, target: "02:00:00:00:02:01", "192.168.1.1"), on: "lan", at: 2.5)
    let run = ReplayRun(plan: settings.plan, inputs: try rig.inputs(), outputDirectory: nil)
    let result = try run.run(annotating: directory("story.pcapng"), settings: settings)
    #expect(result.failure == nil)
    let rows = try tshark(
      directory("story.pcapng"),
      [
        "frame.interface_name", "frame.packet_id", "frame.verdict.ebpf_tc", "frame.packet_flags_direction", "ip.dst",
        "frame.comment", "frame.time_epoch",
      ])
    // SYN in and out, its answer in and out, a drop, a frame that is held, the question for its next hop, the answer, and
    // the frame that was held.
    #expect(rows.map { $0[0] } == ["wan", "lan", "lan", "wan", "wan", "wan", "lan", "lan", "lan"])
    #expect(
      rows.map { $0[1] }.map { Int($0.replacing("0x", with: ""), radix: $0.hasPrefix("0x") ? 16 : 10) } == [
        1, 1, 2, 2, 3, 4, 5, 6, 4,
      ])
    #expect(rows.map { $0[2] } == ["7", "7", "7", "7", "2", "5", "", "4", ""])
    #expect(rows[0][4] == "203.0.113.1" && rows[1][4] == "192.168.1.10" && rows[3][4] == "198.51.100.7")
    #expect(rows[0][5].contains("new session") && rows[0][5].contains("by web (\(config):25)"), "\(rows[0][5])")
    #expect(rows[1][5].contains("ipv4 destination 203.0.113.1 -> 192.168.1.10"))
    #expect(rows[4][5].contains("no-forward") && rows[4][5].contains("would help"))
    #expect(rows[6][5].contains("made because of frame 3 of wan"))
    #expect(
      rows[8][5].contains("frame 3 of wan, as it leaves, because of frame 2 of lan") && rows[8][4] == "192.168.1.20")
    #expect(rows[1][6].hasPrefix("1700000000.0") && rows[2][6].hasPrefix("1700000000.5"))
  }

  @Test(.enabled(if: Corpus.shared != nil, "no ../shared/corpus"))
  func `every file of the corpus, annotated, is read by tshark without complaint`() throws {
    let corpus = try #require(Corpus.shared)
    let config = try directory.write(Array(ExplainTests.corpusConfiguration.utf8), as: "sluice.toml")
    let settings = try SettingsFile.load(path: config, purpose: .replay)
    var names: [String] = []
    var frames = 0
    for (number, file) in corpus.files.enumerated() {
      let path = try corpus.open(file, into: directory)
      guard let link = try? CaptureReader(path: path).link else { continue }
      var run = ReplayRun(
        plan: settings.plan, inputs: [.init(interface: settings.plan.index(of: "lan"), path: path)],
        outputDirectory: nil)
      run.takesEveryFrame = true
      run.map = [try AddressRule("0.0.0.0/1=10.203.2.2"), try AddressRule("128.0.0.0/1=51.77.2.2")]
      let name = directory("\(number).pcapng")
      let result = try run.run(annotating: name, settings: settings)
      // Our own reader takes files of one link type alone, as libpcap does.
      if link == .ethernet {
        var count: UInt64 = 0
        let reader = try CaptureReader(path: name)
        while try reader.next() != nil { count += 1 }
        #expect(count >= result.report.frames.received, "\(file)")
      }
      frames += Int(result.report.frames.received)
      names.append(name)
    }
    #expect(names.count > 200 && frames > 5000)
    // One run of tshark for many files takes seconds in place of minutes: concatenated sections are one pcapng.
    for start in stride(from: 0, to: names.count, by: 50) {
      let joined = try names[start..<min(start + 50, names.count)].reduce(into: Data()) {
        $0 += try Data(contentsOf: URL(fileURLWithPath: $1))
      }
      try joined.write(to: URL(fileURLWithPath: directory("joined.pcapng")))
      let rows = try tshark(directory("joined.pcapng"), ["frame.comment"])
      #expect(!rows.isEmpty)
    }
  }
}
