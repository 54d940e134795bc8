import Engine
import PacketIO

/// Notices once a second what has become of the devices since the start.
struct DeviceWatch: Sendable {
  private var known: [(device: PacketDevice, isThere: Bool)]

  init(_ complete: CompletePlan) {
    known = complete.links.links.map { ($0.device, true) }
  }

  /// One sentence for each thing that has changed.
  mutating func changes() -> [String] {
    var changes: [String] = []
    for index in known.indices {
      let old = known[index].device
      guard let new = try? PacketDevice(named: old.name), new.index == old.index else {
        if known[index].isThere {
          changes.append("device \(old.name) is gone; restart sluice when it is back")
          known[index].isThere = false
        }
        continue
      }
      if new.isUp != old.isUp { changes.append("device \(old.name) is \(new.isUp ? "up" : "down")") }
      if new.mtu != old.mtu {
        changes.append("device \(old.name) has mtu \(new.mtu) now; \(old.mtu) stays in use until sluice is restarted")
      }
      if new.mac != old.mac {
        changes.append("device \(old.name) has another MAC address now; restart sluice to use it")
      }
      known[index].device = new
    }
    return changes
  }
}
