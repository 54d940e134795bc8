import Engine
import Foundation
import PacketTestKit

@testable import Replay

/// R1: one capture per interface in, a plan, captures and counters out.
struct Rig {
  let directory: TemporaryDirectory
  var plan: Plan
  private var received: [(interface: String, records: [CaptureBytes.Record])] = []

  init(_ plan: Plan = .home()) throws {
    directory = try TemporaryDirectory()
    self.plan = plan
  }

  /// Second 0 of the rig's clock in its captures.
  static let start: UInt64 = 1_700_000_000

  /// A frame sent to the interface at so many seconds.
  mutating func receive(_ packet: Packet, on interface: String, at seconds: Double) {
    let home = plan.interfaces[plan.index(of: interface)]
    let addressed = packet.with {
      $0.hasEthernet = home.link == .ethernet
      $0.ethernet.destination = $0.ethernet.destination ?? home.mac.map(Station.init(planned:))
    }
    receive(addressed.bytes, on: interface, at: seconds)
  }

  mutating func receive(_ bytes: [UInt8], on interface: String, at seconds: Double) {
    let whole = UInt64(seconds)
    let fraction = UInt32(((seconds - Double(whole)) * 1e9).rounded())
    let record = CaptureBytes.Record(bytes, seconds: Self.start + whole, fraction: fraction)
    if let index = received.firstIndex(where: { $0.interface == interface }) {
      received[index].records.append(record)
    } else {
      received.append((interface, [record]))
    }
  }

  /// The rig's captures, written where a replay finds them.
  func inputs() throws -> [ReplayInput] {
    try received.map { interface, records in
      let index = plan.index(of: interface)
      let type: UInt32 = plan.interfaces[index].link == .ethernet ? 1 : 101
      let path = try directory.write(CaptureBytes.pcap(records, linkType: type), as: "\(interface).in.pcap")
      return ReplayInput(interface: index, path: path)
    }
  }

  /// A frame that left.
  struct Emitted: Equatable {
    var interface: String
    var seconds: Double
    var frame: [UInt8]
    var decoded: Decoded { Decoded(frame) }
  }

  /// Replays everything received.
  func replay(_ change: (inout ReplayRun) -> Void = { _ in }) throws -> (result: ReplayResult, emitted: [Emitted]) {
    var run = ReplayRun(plan: plan, inputs: try inputs(), outputDirectory: nil)
    change(&run)
    let played = try Played(run, in: directory)
    let emitted = played.outputs.map {
      Emitted(
        interface: $0.interface, seconds: Double(Int64($0.time) - Int64(Self.start * 1_000_000_000)) / 1e9,
        frame: $0.bytes)
    }
    return (played.result, emitted)
  }

  /// The frame that must leave by `interface`, written with its link header.
  func departing(_ packet: Packet, on interface: String, to station: Station) -> [UInt8] {
    let home = plan.interfaces[plan.index(of: interface)]
    return packet.with {
      $0.hasEthernet = home.link == .ethernet
      $0.ethernet.source = home.mac.map(Station.init(planned:))
      $0.ethernet.destination = station
    }.bytes
  }
}
