import Foundation
import Lab
import Testing

extension Live {
  /// What a running gateway may do, and what it tells of what it sees.
  @Suite struct PrivilegeTests {
    @Test("A24 once it forwards, no thread of the gateway has any capability, and none can get one")
    func capabilities() throws {
      try Rig.with("privileges") { rig in
        _ = try rig.fetch(.client, "\(LabNetwork.gatewayOutside)/")
        let process = try #require(rig.gateway?.process)
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.pid)/task")
        #expect(threads.count >= 2, "the main thread, and a worker")
        for thread in threads {
          let text = try String(contentsOfFile: "/proc/\(process.pid)/task/\(thread)/status", encoding: .utf8)
          var status: [Substring: String] = [:]
          for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            status[line[..<colon]] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
          }
          for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            #expect(status[set[...]].flatMap { UInt64($0, radix: 16) } == 0, "thread \(thread): \(set)")
          }
          #expect(status["NoNewPrivs"] == "1", "thread \(thread)")
          #expect(status["Seccomp"] == "2", "thread \(thread)")
        }
      }
    }

    @Test(
      "P10 P2 a flood of strangers leaves one warning in the log and nothing of them, and every frame in the counters")
    func log() throws {
      // As small as a table can sensibly be, so that everything that can be refused is.
      let small = "[engine]\nsessions = 64\n\n" + LabNetwork.configuration
      try Rig.with("log-flood", forwarder: .sluice(small)) { rig in
        let gateway = try #require(rig.gateway)
        let outside = LabNetwork.gatewayOutside
        // The neighbour is known before anything is counted.
        _ = try rig.shell(.client, "ping -n -c 1 \(LabNetwork.wholeHostOutside)")
        _ = try rig.shell(.client, "python3 \(Self.flood) \(outside) 6000", seconds: 60)
        struct Status: Decodable {
          struct Frames: Decodable { var received: Int }
          var interfaces: [String: Frames]
          var drops: [String: Int]
        }
        // Some may be lost before the ring, which the kernel counts; nearly all arrive.
        let hasCome = try Interruption.wait(seconds: 20) {
          let text = try gateway.ask(["status", "--json"]).output
          let status = try JSONDecoder().decode(Status.self, from: Data(text.utf8))
          let dropped = status.drops.values.reduce(0, +)
          return (status.interfaces["wan"]?.received ?? 0) > 3000 && dropped > 2000
        }
        let status = try gateway.ask(["status"]).output
        #expect(hasCome, "\(status)")
        let warning = "the session table is"
        let hasWarned = try Interruption.wait(seconds: 20) { gateway.process.errors.contains(warning) }
        #expect(hasWarned && status.contains("warning: \(warning)"), "\(status)")
        let said = gateway.process.errors
        #expect(said.components(separatedBy: warning).count == 2, "\(said)")
        // Ready, the devices, the mode and a few warnings: never a line for a packet.
        #expect(said.split(separator: "\n").count < 30, "\(said)")
        #expect(!said.contains("198.18.") && !said.contains(LabNetwork.client), "\(said)")
        let ended = gateway.process.stop()
        #expect(ended.succeeded && ended.errors.split(separator: "\n").count < 32, "\(ended.complaint)")
        #expect(!ended.errors.contains("198.18."))
        try gateway.start()  // the rig expects its gateway to run until the end
      }
    }

    private static var flood: String {
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("flood.py").path
    }
  }
}
