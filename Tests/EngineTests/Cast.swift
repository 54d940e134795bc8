import Engine
import PacketTestKit

// Who plays in the engine's tests; the stage is `Plan.home`.

/// A host on the Internet, behind the provider's router, and another one.
let client: Peer = "198.51.100.7:40000"
let stranger: Peer = "198.51.100.99:41000"
/// The gateway's outside address.
let wan: Host = "203.0.113.1"
/// Inside hosts.
let server: Host = "192.168.1.10"
let neighbor: Host = "192.168.1.11"

extension Plan {
  /// `home` with a masquerade from lan to wan.
  static func masqueraded(_ change: (inout MasqueradePlan) -> Void = { _ in }, more: (inout Plan) -> Void = { _ in })
    -> Plan
  {
    home {
      $0.masquerade(from: "lan", to: "wan", change)
      more(&$0)
    }
  }
}

/// Minutes and hours in seconds, for timers.
let minute = 60.0
let hour = 3600.0
