import Capture
import Foundation
import Lab
import PacketTestKit
import Testing

extension Live {
  /// The flight recorder: what it wrote down of real traffic, offloads on, is what a replay gives.
  @Suite struct RecorderTests {
    private static func configuration(_ frames: String, memory: String = "64MiB") -> String {
      LabNetwork.configuration + "\n[recorder]\nmemory = \"\(memory)\"\nframes = \"\(frames)\"\n"
    }

    @Test(
      "real traffic with offloads on: every answer of the replay is the recorded one", arguments: ["whole", "headers"])
    func replayed(frames: String) throws {
      try Rig.with("record", forwarder: .sluice(Self.configuration(frames))) { rig in
        let gateway = try #require(rig.gateway)
        let outside = LabNetwork.gatewayOutside
        try #expect(rig.digest(.client, outside, bytes: 3_000_000) == rig.truth(bytes: 3_000_000))
        _ = try rig.fetch(.server, "\(LabNetwork.client):8000/")
        _ = try rig.shell(.client, "echo one | socat -t 0.2 - UDP:\(outside):7007")
        _ = try rig.shell(.client, "echo two | socat -t 0.2 - UDP:\(outside):7008")
        _ = try rig.shell(.client, "ping -n -c 2 -i 0.2 \(LabNetwork.wholeHostOutside)")
        let directory = try TemporaryDirectory()
        let dumped = try gateway.ask(["record", "dump", directory("flight")])
        try #require(dumped.succeeded, "\(dumped.complaint)")
        let counts = try #require(dumped.output.firstMatch(of: /(\d+) entries; the last (\d+) can be replayed/))
        #expect(counts.1 == counts.2)
        #expect(
          try directory.list("flight")
            == ["engine.sluice", "frames.sluice", "lan.pcap", "sluice.toml", "state.json", "wan.pcap"])
        let ended = try SluiceProcess.run(["replay", "--state", directory("flight"), "--out", directory("out")])
        #expect(ended.status == 0 && ended.output.contains("every answer is the recorded one"), "\(ended)")
        // It has super-frames, and drops.
        let reader = try CaptureReader(path: directory("flight/lan.pcap"))
        var longest = 0
        while let frame = try reader.next() { longest = max(longest, frame.length) }
        #expect(frames == "headers" ? longest <= 1514 : longest > 1514)
        #expect(ended.output.contains(" dropped") && !ended.output.contains(", 0 dropped"))
        // A frame that was another one is told.
        var bytes = try directory.read("flight/frames.sluice")
        bytes[bytes.count / 2 & ~7 + 3] ^= 0x55
        bytes[100] ^= 0x55
        try directory.write(bytes, as: "flight/frames.sluice")
        #expect(try [1, 3].contains(SluiceProcess.run(["replay", "--state", directory("flight")]).status))
        // Never over something that is there.
        #expect(try gateway.ask(["record", "dump", directory("flight")]).errors.contains("is there already"))
      }
    }

    @Test("the beginning has given way, a session was killed, the rules are others: what came since is replayed")
    func later() throws {
      try Rig.with("later", forwarder: .sluice(Self.configuration("whole", memory: "4MiB"))) { rig in
        let gateway = try #require(rig.gateway)
        let directory = try TemporaryDirectory()
        let outside = LabNetwork.gatewayOutside
        func replayed(_ name: String) throws -> (earlier: Int, entries: Int) {
          let dumped = try gateway.ask(["record", "dump", directory(name)])
          let counts = try #require(dumped.output.firstMatch(of: /(\d+) entries; the last (\d+) can be replayed/))
          let ended = try SluiceProcess.run(["replay", "--state", directory(name)])
          #expect(ended.status == 0 && ended.output.contains("every answer is the recorded one"), "\(ended)")
          let (all, entries) = (try #require(Int(counts.1)), try #require(Int(counts.2)))
          return (all - entries, entries)
        }
        try #expect(rig.digest(.client, outside, bytes: 20_000_000) == rig.truth(bytes: 20_000_000))
        _ = try rig.shell(.client, "echo one | socat -t 0.2 - UDP:\(outside):7007")
        let first = try replayed("first")
        #expect(first.earlier > 0 && first.entries > 0)

        let flows = try gateway.ask(["flow", "list", "--json"]).output
        let identity = try #require(flows.firstMatch(of: /"id" : (\d+)/)?.1)
        _ = try gateway.ask(["flow", "kill", String(identity)])
        _ = try rig.shell(.client, "echo two | socat -t 0.2 - UDP:\(outside):7007")
        let second = try replayed("second")
        #expect(second.earlier > 0 && second.entries > 0)
        #expect(try gateway.ask(["reload"]).succeeded)
        try #expect(rig.digest(.client, outside, bytes: 100_000) == rig.truth(bytes: 100_000))
        let third = try replayed("third")
        #expect(third.earlier > 0 && third.entries > 0)
      }
    }

    @Test("a trigger that moves writes the recording down")
    func trigger() throws {
      let directory = try TemporaryDirectory()
      let text = Self.configuration("headers") + "directory = \"\(directory.path)\"\ntriggers = [\"no-forward\"]\n"
      try Rig.with("trigger", forwarder: .sluice(text)) { rig in
        // The first look only learns how things stand.
        try Interruption.sleep(seconds: 2.5)
        _ = try rig.shell(.client, "echo two | socat -t 0.2 - UDP:\(LabNetwork.gatewayOutside):7008")
        let isThere = try Interruption.wait(seconds: 10) {
          try directory.list().contains { $0.hasPrefix("no-forward-") && !$0.hasSuffix(".part") }
        }
        try #require(isThere)
        let name = try #require(directory.list().first)
        let ended = try SluiceProcess.run(["replay", "--state", directory(name)])
        #expect(ended.status == 0, "\(ended)")
      }
    }

    @Test("without a recorder the command says what is missing")
    func none() throws {
      try Rig.with("nothing") { rig in
        let gateway = try #require(rig.gateway)
        let ended = try gateway.ask(["record", "dump", "/tmp/nowhere"])
        #expect(ended.status == 1 && ended.errors.contains("[recorder]"))
      }
    }
  }
}
