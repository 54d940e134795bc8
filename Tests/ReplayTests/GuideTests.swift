import Foundation
import PacketTestKit
import Testing

/// DEBUGGING.md shows real output: its commands are run, and what they say is what stands there.
///
/// `SLUICE_WRITE_GUIDE=1 swift test --filter GuideTests` writes the output anew, and nothing else does.
@Suite struct GuideTests {
  private static let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("DEBUGGING.md")

  /// The capture that the page is about.
  private static let frames: [Packet] = [
    .tcp("198.51.100.7:40000", "203.0.113.1:80", .syn), .tcp("192.0.2.9:40001", "203.0.113.1:8080", .syn),
    .tcp("198.51.100.7:40002", "203.0.113.1:8080", .syn), .tcp("198.51.100.7:40002", "203.0.113.1:8080", .syn),
  ]

  @Test func `what the page shows is what the commands say`() throws {
    let directory = try TemporaryDirectory()
    let frames = Self.frames.enumerated().map { index, packet in
      CaptureBytes.Record(
        packet.with { $0.ethernet.destination = "02:00:00:00:01:01" }.bytes, seconds: 1_700_000_000 + UInt64(index))
    }
    try directory.write(CaptureBytes.pcap(frames), as: "wan.pcap")
    let page = try String(contentsOf: Self.page, encoding: .utf8)
    var written: [String] = []
    var commands = 0
    var block: String?
    var toml: [String] = []
    for line in page.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
      if line == "```", let kind = block {
        if kind == "toml" { try directory.write(Array((toml.joined(separator: "\n") + "\n").utf8), as: "gateway.toml") }
        block = nil
      } else if line.hasPrefix("```") {
        block = String(line.dropFirst(3))
      } else if block == "toml" {
        toml.append(line)
      } else if block == "console" {
        guard line.hasPrefix("$ ") else { continue }
        written.append(line)
        written += try run(String(line.dropFirst(2)), in: directory)
        commands += 1
        continue
      }
      written.append(line)
    }
    let text = written.joined(separator: "\n")
    if ProcessInfo.processInfo.environment["SLUICE_WRITE_GUIDE"] != nil {
      try Data(text.utf8).write(to: Self.page)
    } else {
      #expect(text == page)
    }
    #expect(commands >= 8)
  }

  /// What a command prints, line by line.
  private func run(_ command: String, in directory: TemporaryDirectory) throws -> [String] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["bash", "-c", "cd '\(directory.path)' && " + command]
    let folder = URL(fileURLWithPath: SluiceProcess.path).deletingLastPathComponent().path
    var environment = ProcessInfo.processInfo.environment
    environment["PATH"] = folder + ":" + (environment["PATH"] ?? "/usr/bin:/bin")
    environment["LC_ALL"] = "C.UTF-8"
    process.environment = environment
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    // Rates are the machine's.
    return text.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("frames a second") }
  }
}
