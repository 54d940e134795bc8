import Engine
import PacketTestKit
import Testing

/// What a running engine cannot change, and what order of interfaces it knows.
@Suite struct PlanChangeTests {
  @Test func `only what an interface is needs a restart, not its addresses and switches`() {
    let old = Plan.masqueraded()
    #expect(old.fixedChanges(from: old).isEmpty)
    var free = old
    free.change("wan") {
      $0.addresses = []
      $0.gateways = []
      $0.ping = true
      $0.unsolicited = .unreachable
    }
    free.timeouts.udp = 9
    free.masquerades = []
    free.onChange = .cut
    #expect(free.fixedChanges(from: old).isEmpty)
    var fixed = old
    fixed.mode = .alongside
    fixed.workers = 2
    fixed.sessions = 1
    fixed.change("lan") {
      $0.role = .outside
      $0.device = "eth7"
      $0.tags = [VLANTag(protocolID: 0x8100, vlan: 7)]
      $0.mac = nil
      $0.mtu = 1400
    }
    let lan = fixed.index(of: "lan")
    #expect(
      Set(fixed.fixedChanges(from: old))
        == [
          .engine("mode"), .engine("workers"), .engine("sessions"), .interface(lan, "role"), .interface(lan, "device"),
          .interface(lan, "vlan"), .interface(lan, "mac"), .interface(lan, "mtu"),
        ])
    var helped = old
    helped.masquerades[0].helper = .ftp
    #expect(helped.fixedChanges(from: old) == [.masquerade(0, "helper")])
    helped.forward("ftp", ports: "21", to: "192.168.1.10") { $0.helper = .ftp }
    #expect(helped.fixedChanges(from: old) == [.forward(helped.forwards.count - 1, "helper")])
    #expect(old.fixedChanges(from: helped).isEmpty)
    var renamed = old
    renamed.change("lan") { $0.name = "home" }
    #expect(renamed.fixedChanges(from: old) == [.newInterface(1), .missingInterface("lan")])
  }

  @Test func `interfaces in another order mean the same`() throws {
    let old = Plan.masqueraded(more: {
      $0.forward(ports: "80", to: "192.168.1.10")
      $0.route("10.0.0.0/8", via: "192.168.1.12")
    })
    var other = old
    other.interfaces.reverse()
    for index in other.routes.indices { other.routes[index].interface = 1 - other.routes[index].interface }
    for index in other.neighbors.indices { other.neighbors[index].interface = 1 - other.neighbors[index].interface }
    for index in other.forwards.indices { other.forwards[index].interface = 1 - other.forwards[index].interface }
    (other.masquerades[0].from, other.masquerades[0].to) = (other.masquerades[0].to, other.masquerades[0].from)
    #expect(other != old && other.arranged(like: old) == old)
  }
}
