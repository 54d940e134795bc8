import Engine

/// The gateway that is measured: one forward or one masquerade, static neighbours, timers that do not run out meanwhile.
enum BenchPlan {
  static let wan = IPv4Address(203, 0, 113, 1)
  static let server = IPv4Address(192, 168, 1, 10)
  static let port: UInt16 = 7000
  static let targetPort: UInt16 = 8000
  /// What masqueraded sessions lead to.
  static let remotePort: UInt16 = 443
  static let wan6 = IPv6Address("2001:db8:1::1")!
  static let server6 = IPv6Address("2001:db8:2::10")!
  static let wanStation = MACAddress(0x0200_0000_0101)
  static let lanStation = MACAddress(0x0200_0000_0201)

  static func make(flows: Int, _ options: EngineBenchOptions) -> Plan {
    var plan = Plan()
    // Some room: several workers keep a few free places each.
    plan.sessions = flows + 64 * options.workers
    var wan = InterfacePlan(name: "wan", role: .outside, device: "wan")
    wan.addresses = [IPv4Prefix(Self.wan, length: 24)]
    wan.gateways = [IPv4Address(203, 0, 113, 254)]
    wan.mac = wanStation
    wan.mtu = 1500
    var lan = InterfacePlan(name: "lan", role: .inside, device: "lan")
    lan.addresses = [IPv4Prefix(IPv4Address(192, 168, 1, 1), length: 24)]
    lan.mac = lanStation
    lan.mtu = 1500
    plan.interfaces = [wan, lan]
    plan.neighbors = [
      NeighborPlan(address: wan.gateways[0], mac: MACAddress(0x0200_0000_0001), interface: 0),
      NeighborPlan(address: server, mac: MACAddress(0x0200_0000_0002), interface: 1),
    ]
    if options.family == .ipv6 { addIPv6(&plan) }
    switch options.origin {
    case .forward:
      plan.forwards += [ForwardPlan.Protocols.udp, .tcp].map { protocols in
        ForwardPlan(
          name: "bench", protocols: protocols, interface: 0, externals: [Self.wan], isWholeHost: false,
          spans: [PortSpan(ports: PortRange(port, port), target: targetPort, isParallel: true)], target: server)
      }
    case .masquerade: plan.masquerades = [MasqueradePlan(from: 1, to: 0)]
    }
    plan.timeouts.udp = 86_400
    plan.timeouts.tcpEstablished = 86_400
    // All of them are made before the first is acknowledged.
    plan.limits.halfOpen = plan.sessions
    plan.timeouts.tcpOpening = 86_400
    return plan
  }

  /// The same forward, for UDP, at an IPv6 address.
  private static func addIPv6(_ plan: inout Plan) {
    plan.interfaces[0].addresses6 = [IPv6Prefix(wan6, length: 64)]
    plan.interfaces[1].addresses6 = [IPv6Prefix(IPv6Address("2001:db8:2::1")!, length: 64)]
    let router = IPv6Address("2001:db8:1::fe")!
    plan.interfaces[0].gateways6 = [router]
    plan.neighbors6 = [
      NeighborPlan6(address: router, mac: MACAddress(0x0200_0000_0001), interface: 0),
      NeighborPlan6(address: server6, mac: MACAddress(0x0200_0000_0002), interface: 1),
    ]
    var forward = ForwardPlan(
      name: "bench6", protocols: [], interface: 0, externals: [], isOnInterface: false, isWholeHost: false, spans: [],
      target: IPv4Address(0))
    forward.pinhole = PinholePlan(target: server6, protocols: .udp, ports: [])
    forward.pinhole?.external = wan6
    forward.pinhole?.spans = [PortSpan(ports: PortRange(port, port), target: targetPort, isParallel: true)]
    plan.forwards = [forward]
  }
}
