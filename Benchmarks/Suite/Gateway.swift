import Engine

/// An engine with one forward, TCP and UDP port 7000 to 192.168.1.10:8000, and a masquerade, to be given single frames.
final class Gateway {
  static let wan = End(address: 0xCB00_7101, port: 7000)
  static let server = End(address: 0xC0A8_010A, port: 8000)
  static let wanMAC: UInt64 = 0x0200_0000_0101
  static let lanMAC: UInt64 = 0x0200_0000_0201
  /// Sessions that a row is about.
  static let sessions = 1000

  var forwarder: Forwarder
  private(set) var time: UInt64 = 1_700_000_000_000_000_000

  init(forwards: Int = 1) {
    do {
      forwarder = try Forwarder(plan: Self.plan(forwards: forwards), links: [[0], [1]], seed: 1, clock: time)
    } catch {
      fatalError("\(error)")
    }
  }

  /// Lets every session run out.
  func settle() {
    time += 86_400_000_000_000
    forwarder.advance(to: time)
  }

  static func client(_ index: Int) -> End { End(address: 0x0800_0000 + UInt32(index), port: 40_000) }

  static func plan(forwards: Int) -> Plan {
    var plan = Plan()
    plan.sessions = 4 * sessions
    var wan = InterfacePlan(name: "wan", role: .outside, device: "wan")
    wan.addresses = [IPv4Prefix(IPv4Address(203, 0, 113, 1), length: 24)]
    wan.gateways = [IPv4Address(203, 0, 113, 254)]
    wan.mac = MACAddress(wanMAC)
    wan.mtu = 1500
    var lan = InterfacePlan(name: "lan", role: .inside, device: "lan")
    lan.addresses = [IPv4Prefix(IPv4Address(192, 168, 1, 1), length: 24)]
    lan.mac = MACAddress(lanMAC)
    lan.mtu = 1500
    plan.interfaces = [wan, lan]
    plan.neighbors = [
      NeighborPlan(address: wan.gateways[0], mac: MACAddress(0x0200_0000_0001), interface: 0),
      NeighborPlan(address: IPv4Address(192, 168, 1, 10), mac: MACAddress(0x0200_0000_0002), interface: 1),
    ]
    plan.forwards = (0..<forwards).map { index in
      ForwardPlan(
        name: "f\(index)", protocols: [.tcp, .udp], interface: 0, externals: [wan.addresses[0].address],
        isWholeHost: false,
        spans: [PortSpan(ports: PortRange(UInt16(7000 + index), UInt16(7000 + index)), target: 8000, isParallel: true)],
        target: IPv4Address(192, 168, 1, 10))
    }
    plan.masquerades = [MasqueradePlan(from: 1, to: 0)]
    return plan
  }
}

/// What passes through the gateway, a frame for each session.
enum Traffic {
  static func requests(options: [UInt8] = []) -> Frames {
    frames(from: 0) { Packet.udp(Gateway.client($0), Gateway.wan, options: options) }
  }

  static func nowhere() -> Frames {
    frames(from: 0) { Packet.udp(Gateway.client($0), End(address: Gateway.wan.address, port: 9)) }
  }

  static func errors() -> Frames {
    frames(from: 1) {
      Packet.unreachable(Gateway.server, Gateway.client($0), about: Packet.udp(Gateway.client($0), Gateway.server))
    }
  }

  /// SYN, SYN and ACK, ACK; FIN and ACK from both, and the last ACK.
  static func connection() -> [Frames] {
    let (syn, fin, ack): (UInt8, UInt8, UInt8) = (2, 1, 16)
    let steps: [(link: Int, flags: UInt8, own: UInt32, other: UInt32)] = [
      (0, syn, 1000, 0), (1, syn | ack, 5000, 1001), (0, ack, 1001, 5001), (0, fin | ack, 1001, 5001),
      (1, fin | ack, 5001, 1002), (0, ack, 1002, 5002),
    ]
    return steps.map { step in
      frames(from: step.link) {
        let client = Gateway.client($0)
        return step.link == 0
          ? Packet.tcp(client, Gateway.wan, flags: step.flags, sequence: step.own, acknowledgment: step.other)
          : Packet.tcp(Gateway.server, client, flags: step.flags, sequence: step.own, acknowledgment: step.other)
      }
    }
  }

  private static func frames(from link: Int, _ datagram: (Int) -> [UInt8]) -> Frames {
    let mac = link == 0 ? Gateway.wanMAC : Gateway.lanMAC
    return Frames((0..<Gateway.sessions).map { (Packet.frame(to: mac, datagram($0)), link) })
  }
}
