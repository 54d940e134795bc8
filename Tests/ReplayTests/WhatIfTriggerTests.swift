import Engine
import PacketTestKit
import Testing

@testable import Replay

/// What triggers of a new configuration would change on a capture, in the capture's own time.
@Suite struct WhatIfTriggerTests {
  private static let lobby: Peer = "198.51.100.7:6112"
  private static let wan: Host = "203.0.113.1"

  /// Two hosts ask, and peers knock: between their asking, and 60 s and 700 s after.
  private static func rig() throws -> Rig {
    var rig = try Rig(plan())
    rig.receive(.udp("192.168.1.10:5000", lobby), on: "lan", at: 10)
    rig.receive(.udp("192.168.1.11:5001", lobby), on: "lan", at: 20)
    for (number, second) in [(1, 15.0), (2, 80), (3, 720)] {
      rig.receive(.udp(Peer("198.51.100.99", UInt16(number)), Peer(wan, 6881)), on: "wan", at: second)
    }
    return rig
  }

  private static func plan(_ change: ((inout TriggerPlan) -> Void)? = nil) -> Plan {
    .home {
      $0.masquerade()
      if let change { $0.trigger(when: "6112", open: "6881-6889", change) }
    }
  }

  private func changes(_ old: Plan, _ new: Plan) throws -> [String] {
    // Its captures are gone with it.
    let rig = try Self.rig()
    let inputs = try rig.inputs()
    let found = try withExtendedLifetime(rig) {
      try WhatIf(
        old: ReplayRun(plan: old, inputs: inputs, outputDirectory: nil),
        new: ReplayRun(plan: new, inputs: inputs, outputDirectory: nil))
    }
    #expect(found.counts.values.reduce(0, +) == 5)
    return found.changed.map { "\($0.flow) \($0.change.rawValue)" }.sorted()
  }

  private func knock(_ number: Int, _ change: WhatIf.Change) -> String {
    "wan udp 198.51.100.99:\(number) > 203.0.113.1:6881 \(change.rawValue)"
  }

  @Test func `a new trigger lets in what comes in its time, and the hosts that ask are as before`() throws {
    #expect(try changes(Self.plan(), Self.plan { _ in }) == [knock(1, .forwarded), knock(2, .forwarded)])
    #expect(try changes(Self.plan { _ in }, Self.plan()) == [knock(1, .dropped), knock(2, .dropped)])
  }

  @Test func `a shorter time drops what comes late, a longer one lets it in`() throws {
    #expect(try changes(Self.plan { _ in }, Self.plan { $0.seconds = 30 }) == [knock(2, .dropped)])
    #expect(try changes(Self.plan { _ in }, Self.plan { $0.seconds = 1200 }) == [knock(3, .forwarded)])
  }

  @Test func `who steals it has what comes after`() throws {
    #expect(try changes(Self.plan { _ in }, Self.plan { $0.conflict = .steal }) == [knock(2, .retargeted)])
  }

  @Test func `other ports, or a trigger that is the same, change what they say`() throws {
    #expect(try changes(Self.plan { _ in }, Self.plan { $0.name = "other" }) == [])
    #expect(
      try changes(Self.plan { _ in }, Self.plan { $0.open = [PortRange(6882, 6882)] })
        == [knock(1, .dropped), knock(2, .dropped)])
  }
}
