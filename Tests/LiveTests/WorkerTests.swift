import Foundation
import Lab
import Testing

extension Live {
  /// Two workers, each with rings of its own, on one table.
  @Suite struct WorkerTests {
    @Test(
      "two workers: 200 connections at once, bulk both ways, and every frame accounted for", arguments: Way.allCases)
    func twoWorkers(way: Way) throws {
      try way.with("workers", workers: 2) { rig in
        try rig.expectManyConnections(to: way.web)
        let count = way.bulk(100_000_000)
        let truth = try rig.truth(bytes: count)
        try #expect(rig.digest(.client, way.web, bytes: count) == truth)
        try #expect(rig.uploadDigest(to: Way.host(way.outside), bytes: count) == truth)
        try #expect(rig.checksumErrors() == 0)

        // The main thread and two workers.
        let gateway = try #require(rig.gateway)
        let threads = try rig.shell(.gateway, "ls /proc/\(gateway.process.pid)/task | wc -l")
        #expect(try #require(Int(threads)) >= 3)
        let status = try gateway.ask(["status", "--json"]).output
        let json = try #require(JSONSerialization.jsonObject(with: Data(status.utf8)) as? [String: Any])
        let frames = try #require(json["frames"] as? [String: Int])
        let settled = ["forwarded", "dropped", "consumed", "passed", "held"].reduce(0) { $0 + (frames[$1] ?? 0) }
        #expect(frames["received"] == settled && settled > 1000)
      }
    }
  }
}
