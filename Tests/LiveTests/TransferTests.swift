import Foundation
import Lab
import Testing

extension Live {
  /// Bulk traffic through `sluice run`: what arrives is what was sent, and no stack ever saw a wrong checksum.
  @Suite struct TransferTests {
    @Test("1 GB by HTTP through a forwarded port, and back by an upload", arguments: Way.allCases, [true, false])
    func gigabyte(way: Way, offloads: Bool) throws {
      var shape = LabNetwork.Shape()
      shape.offloads = offloads
      try way.with("transfer", shape) { rig in
        // Without offloads every frame is 1500 bytes: a tenth of the data makes as many frames.
        let count = way.bulk(offloads ? 1_000_000_000 : 100_000_000)
        let truth = try rig.truth(bytes: count)
        try #expect(rig.digest(.client, way.web, bytes: count) == truth)
        try #expect(rig.uploadDigest(to: Way.host(way.outside), bytes: count) == truth)
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("200 connections at once, opened and closed, each with its own bytes", arguments: Way.allCases)
    func manyConnections(way: Way) throws {
      try way.with("parallel") { rig in
        try rig.expectManyConnections(to: way.web)
        // The reference for one of them, so that equal lengths are not all that is compared.
        try #expect(rig.digest(.client, way.web, bytes: 100_200) == rig.truth(bytes: 100_200))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("iperf3 with 1 and with 16 streams, and by UDP, to the server and from it", arguments: Way.allCases)
    func streams(way: Way) throws {
      try way.with("iperf") { rig in
        for direction in ["", "-R"] {
          for count in [1, 16] {
            let report = try rig.iperf("-P \(count) -n \(way.bulk(200))M \(direction)", to: way.outside)
            let received = try #require(report["sum_received"] as? [String: Any])
            #expect(try #require(received["bytes"] as? Double) > 1_000_000)
            #expect((report["streams"] as? [Any])?.count == count)
          }
          let report = try rig.iperf("-u -b 20M -l 1200 -n 2M \(direction)", to: way.outside)
          let sum = try #require(report["sum"] as? [String: Any])
          let packets = try #require(sum["packets"] as? Int), lost = try #require(sum["lost_packets"] as? Int)
          #expect(packets > 100)
          // 20 Mbit/s leaves queues empty; a few per cent are the price of a busy machine.
          #expect(lost * 20 <= packets, "\(lost) of \(packets) lost")
        }
        try #expect(rig.checksumErrors() == 0)
      }
    }
  }
}

extension Rig {
  /// One run of iperf3 through the forward of port 5201; the `end` of its report.
  func iperf(_ options: String, to address: String = LabNetwork.gatewayOutside) throws -> [String: Any] {
    let listener = try network.start(in: .server, ["iperf3", "-s", "-1", "-p", "5201"])
    defer { listener.kill() }
    try waitForListener(.server, port: 5201)
    let text = try shell(.client, "iperf3 -J -c \(address) -p 5201 \(options)", seconds: 120)
    let report = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
    return try #require(report?["end"] as? [String: Any])
  }
}
