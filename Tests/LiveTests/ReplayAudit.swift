import Capture
import Foundation
import Lab
import PacketTestKit
import Testing

/// What both ends saw while something ran, held against a replay of what they sent: flow by flow, after normalising what a
/// replay may do otherwise, the choice of outside ports and so the transport checksum. Needs offloads off.
struct ReplayAudit {
  /// A frame that left the gateway, and the flow that it belongs to on the wire.
  private struct Left {
    var flow: String
    /// All of it but link header, chosen port and transport checksum.
    var frame: String
  }

  private let live: [[Left]]
  private let replayed: [[Left]]

  /// - Parameter configuration: of the gateway, with its MAC addresses and neighbours.
  init(_ client: String, _ server: String, configuration: String) throws {
    let directory = try TemporaryDirectory()
    let ends = [
      (interface: "wan", capture: client, own: LabNetwork.clientMAC, gateway: LabNetwork.wanMAC),
      (interface: "lan", capture: server, own: LabNetwork.serverMAC, gateway: LabNetwork.lanMAC),
    ]
    var arguments = [
      "replay", "-c", try directory.write(Array(configuration.utf8), as: "sluice.toml"), "--out", directory("out"),
    ]
    var live: [[Left]] = []
    for end in ends {
      let frames = try CapturedBytes.all(of: end.capture)
      let sent = frames.filter { "\(Decoded($0.bytes).ethernet!.source)" == end.own }
      let path = try directory.write(
        CaptureBytes.pcap(
          sent.map {
            CaptureBytes.Record($0.bytes, seconds: $0.time / 1_000_000_000, fraction: UInt32($0.time % 1_000_000_000))
          }
        ), as: "\(end.interface).in.pcap")
      arguments += ["--in", "\(end.interface)=\(path)"]
      live.append(Self.left(frames.filter { "\(Decoded($0.bytes).ethernet!.source)" == end.gateway }))
    }
    let ended = try SluiceProcess.run(arguments)
    try #require(ended.status == 0, "\(ended.errors)")
    self.live = live
    replayed = try ends.map { Self.left(try CapturedBytes.all(of: directory("out/\($0.interface).pcap"))) }
  }

  /// IP frames that left the gateway.
  var frames: Int { live.reduce(0) { $0 + $1.count } }
  /// Flows of them, each direction one.
  var flows: Int { live.reduce(0) { $0 + Set($1.map(\.flow)).count } }
  /// Flows that live and replay gave different outside ports.
  var portsChosenOtherwise: Int {
    zip(live, replayed).reduce(0) { $0 + Set($1.0.map(\.flow)).subtracting($1.1.map(\.flow)).count }
  }

  /// Flows of one that the other does not have, one line each (the first five).
  var differences: [String] {
    var lines: [String] = []
    for (side, pair) in zip(["wan", "lan"], zip(live, replayed)) {
      var balance: [[String]: Int] = [:]
      for flow in Self.flows(pair.0) { balance[flow, default: 0] += 1 }
      for flow in Self.flows(pair.1) { balance[flow, default: 0] -= 1 }
      for (flow, count) in balance where count != 0 {
        lines.append("\(side): a flow of \(flow.count) frames only \(count > 0 ? "live" : "replayed"): \(flow[0])")
      }
    }
    return Array(lines.sorted().prefix(5))
  }

  /// The frames of each flow. Their order is not compared: veth hands a sender's frames to the receive queue of whichever
  /// core it runs on just then.
  private static func flows(_ frames: [Left]) -> [[String]] {
    Dictionary(grouping: frames, by: \.flow).values.map { $0.map(\.frame).sorted() }
  }

  private static func left(_ frames: [CapturedBytes]) -> [Left] {
    frames.compactMap { captured in
      let frame = Decoded(captured.bytes)
      guard let ip = frame.ip else { return nil }
      let ports =
        frame.tcp.map { ($0.sourcePort, $0.destinationPort) } ?? frame.udp.map { ($0.sourcePort, $0.destinationPort) }
      let isOurs = ip.source == Host(LabNetwork.gatewayOutside)
      let fields = frame.fields.compactMap { name, value -> String? in
        switch name {
        case "ethernet destination", "ethernet source", "tcp checksum", "udp checksum": nil
        case "tcp ports", "udp ports": "\(isOurs ? "chosen" : "\(ports!.0)") > \(ports!.1)"
        default: value
        }
      }
      return Left(
        flow: "\(ip.ipProtocol) \(ip.source) > \(ip.destination) \(ports.map { "\($0)" } ?? "")",
        frame: fields.joined(separator: " ") + " \(frame.payload.hashValue)")
    }
  }
}
