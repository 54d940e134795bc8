import Foundation
import Lab
import Testing

extension Live {
  /// Who attacks the gateway takes nothing from those who use it.
  @Suite struct FloodTests {
    /// What the gateway has counted so far.
    private struct Counts: Decodable {
      struct Frames: Decodable {
        var received: Int, forwarded: Int, dropped: Int, consumed: Int, passed: Int, held: Int
      }
      struct Ring: Decodable { var drops: Int }
      var frames: Frames
      var drops: [String: Int]
      var rings: [String: Ring]

      init(_ rig: Rig) throws {
        let answer = try #require(rig.gateway).ask(["status", "--json"])
        self = try JSONDecoder().decode(Self.self, from: Data(answer.output.utf8))
      }

      /// Pieces that gave way, and pieces that waited in vain.
      var givenUp: Int { drops["fragment-limit", default: 0] + drops["fragment-timeout", default: 0] }
      var lostInRings: Int { rings.values.reduce(0) { $0 + $1.drops } }
    }

    /// Room for datagrams without a first piece, and for pieces of them, which each worker has: `FragmentTable`, `HoldPool`.
    private static let rooms = (2048 + 32) * Rig.usualWorkers

    @Test("F3 A7 a flood of pieces from outside: bulk both ways, streams, whole and cut datagrams all arrive")
    func pieces() throws {
      let configuration = LabNetwork.configuration + "[timeouts]\nfragment = \"2s\"\n"
      try Rig.with("piece-flood", forwarder: .sluice(configuration)) { rig in
        let outside = LabNetwork.gatewayOutside
        let size = 100_000_000
        let truth = try rig.truth(bytes: size)
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
          .appendingPathComponent("fragment-flood.py").path
        let flood = try rig.network.start(
          in: .client, ["python3", script, "eth0", LabNetwork.wanMAC, outside, "10000"])
        // From the first one that had to give way, every piece takes another's room.
        let isFull = try Interruption.wait(seconds: 30) { try Counts(rig).drops["fragment-limit"] != nil }
        try #require(isFull, "\(flood.errors)")

        let before = try Counts(rig)
        try #expect(rig.digest(.client, outside, bytes: size) == truth)
        try #expect(rig.uploadDigest(bytes: size) == truth)
        let streams = try rig.iperf("-n 80M -P 4")
        let received = try #require(streams["sum_received"] as? [String: Any])
        #expect(try #require(received["bytes"] as? Double) > 40_000_000)
        // A datagram may be lost on a busy machine; one in ten gets through in any case.
        for size in [100, 4000] {
          let sent = "head -c \(size) /dev/zero | tr '\\0' 'x'"
          let echo = "for n in {1..10}; do \(sent) | socat -b 65000 -t 1 - UDP:\(outside):7007 | grep . && break; done"
          #expect(try rig.shell(.client, echo) == String(repeating: "x", count: size))
        }
        #expect(flood.isRunning, "\(flood.errors)")
        let after = try Counts(rig)
        #expect(after.givenUp > before.givenUp)
        #expect(after.frames.held <= Self.rooms, "\(after.frames.held) pieces wait")
        try #expect(rig.checksumErrors() == 0)
        try checkAccount(rig, flood)
      }
    }

    /// In the end every piece is accounted for, and no room is taken any more.
    private func checkAccount(_ rig: Rig, _ flood: Child) throws {
      let said = flood.stop()
      let sent = try #require(said.output.split(separator: "\n").last.flatMap { Int($0) }, "\(said.complaint)")
      let isEmpty = try Interruption.wait(seconds: 30) { try Counts(rig).frames.held == 0 }
      #expect(isEmpty)
      let end = try Counts(rig)
      let frames = end.frames
      #expect(frames.received == frames.forwarded + frames.dropped + frames.consumed + frames.passed + frames.held)
      #expect(end.givenUp <= sent && end.givenUp >= sent - end.lostInRings, "\(sent) sent: \(end)")
    }
  }
}
