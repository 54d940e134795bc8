import Foundation
import Lab
import Testing

extension Live {
  /// Bulk traffic through `sluice run`: what arrives is what was sent, and no stack ever saw a wrong checksum.
  @Suite struct TransferTests {
    @Test("1 GB by HTTP through a forwarded port, and back by an upload", arguments: [true, false])
    func gigabyte(offloads: Bool) throws {
      var shape = LabNetwork.Shape()
      shape.offloads = offloads
      try Rig.with("transfer", shape) { rig in
        // Without offloads every frame is 1500 bytes: a tenth of the data makes as many frames.
        let count = offloads ? 1_000_000_000 : 100_000_000
        let truth = try rig.truth(bytes: count)
        try #expect(rig.digest(.client, LabNetwork.gatewayOutside, bytes: count) == truth)
        try #expect(rig.uploadDigest(bytes: count) == truth)
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("200 connections at once, opened and closed, each with its own bytes")
    func manyConnections() throws {
      try Rig.with("parallel") { rig in
        try rig.expectManyConnections()
        // The reference for one of them, so that equal lengths are not all that is compared.
        try #expect(
          rig.digest(.client, LabNetwork.gatewayOutside, bytes: 100_200) == rig.truth(bytes: 100_200))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("iperf3 with 1 and with 16 streams, to the server and from it", arguments: [1, 16])
    func streams(count: Int) throws {
      try Rig.with("iperf") { rig in
        for direction in ["", "-R"] {
          let report = try rig.iperf("-P \(count) -t 2 \(direction)")
          let received = try #require(report["sum_received"] as? [String: Any])
          #expect(try #require(received["bytes"] as? Double) > 1_000_000)
          #expect((report["streams"] as? [Any])?.count == count)
        }
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("iperf3 by UDP, to the server and from it")
    func datagrams() throws {
      try Rig.with("iperf-udp") { rig in
        for direction in ["", "-R"] {
          let report = try rig.iperf("-u -b 20M -l 1200 -t 2 \(direction)")
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
  func iperf(_ options: String) throws -> [String: Any] {
    let listener = try network.start(in: .server, ["iperf3", "-s", "-1", "-p", "5201"])
    defer { listener.kill() }
    try waitForListener(.server, port: 5201)
    let text = try shell(.client, "iperf3 -J -c \(LabNetwork.gatewayOutside) -p 5201 \(options)", seconds: 120)
    let report = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
    return try #require(report?["end"] as? [String: Any])
  }
}
