import Capture
import Engine
import PacketTestKit

@testable import Replay

/// How a public capture, taken somewhere in the middle of a conversation, is played through a gateway as if the gateway
/// had been there.
///
/// Who sent first in the first conversation of an address decides on which side of the gateway it lives: its frames come in
/// there, unedited. `--map` gives every address of the capture one of the test network's; `--mac` makes the frames ours.
/// One thing neither can say, because it holds for one direction only: behind the gateway, hosts are known by other
/// addresses. So the answers' capture is written with these before it is replayed.
///
///                     originators                  responders
///     inside role     lan, 10.203.x.x, seen from    wan side, 51.77.x.x
///                     wan as 51.78.0.1
///     outside role    wan side, 51.77.x.x          lan, 10.203.x.x, each with a forward of all ports and protocols
///                                                  from an address 51.78.x.x of its own
struct CorpusRole {
  enum Side: CaseIterable { case inside, outside }

  static let gateway: Host = "51.78.0.1"
  private static let lanStart: Host = "10.203.1.0"
  private static let peerStart: Host = "51.77.1.0"
  private static let externalStart: Host = "51.78.1.0"
  private static let nextHop: Host = "51.78.0.254"

  /// Where the capture's originators live.
  let side: Side
  private let sides: Sides

  init(_ side: Side, frames: [Decoded]) {
    self.side = side
    sides = Sides(frames)
  }

  private var originators: [Host] { sides.originators }
  private var responders: [Host] { sides.responders }

  /// True where the frame comes from the originators' side. What has no IPv4 source comes from there as well.
  func isForward(_ frame: Decoded) -> Bool { sides.isForward(frame) }

  /// The originators' interface, and the responders'.
  var interfaces: (forward: String, answer: String) { side == .inside ? ("lan", "wan") : ("wan", "lan") }

  private func numbered(_ hosts: [Host], from start: Host) -> [AddressRule] {
    hosts.enumerated().map { index, host in
      try! AddressRule("\(host)=\(start.advanced(by: index))")
    }
  }

  /// For `--map`: everybody as the originators' side sees them.
  var map: [AddressRule] {
    switch side {
    case .inside: numbered(originators, from: Self.lanStart) + numbered(responders, from: Self.peerStart)
    case .outside: numbered(originators, from: Self.peerStart) + numbered(responders, from: Self.externalStart)
    }
  }

  /// To be made in the answers before: who is known by another address on the responders' side.
  var answerMap: [AddressRule] {
    switch side {
    case .inside: originators.map { try! AddressRule("\($0)=\(Self.gateway)") }
    case .outside: numbered(responders, from: Self.lanStart)
    }
  }

  /// The capture's addresses that this test's network has itself; there must be none.
  var clashes: [Host] {
    (originators + responders).filter { [0x0ACB, 0x334D, 0x334E].contains($0.number >> 16) }
  }

  /// The gateway that plays it: masquerade for the inside role, a forward per responder for the outside role.
  var plan: Plan {
    var plan = Self.network
    plan.neighbor(Self.nextHop)
    let hosts = side == .inside ? originators : responders
    for index in hosts.indices { plan.neighbor(Self.lanStart.advanced(by: index)) }
    if side == .outside {
      for index in responders.indices {
        plan.forward(
          "host-\(index)", [.tcp, .udp, .echo], ports: "all", to: "\(Self.lanStart.advanced(by: index))",
          external: Self.externalStart.advanced(by: index))
      }
    } else {
      plan.masquerade()
    }
    return plan
  }

  /// Both interfaces, with an MTU that cuts nothing: whether a datagram fits is another test's question.
  static var network: Plan {
    var plan = Plan()
    plan.sessions = 16_384
    plan.interface("wan", .outside, "\(gateway)/16", mac: "02:00:00:00:01:01") {
      $0.gateways = [nextHop.planned]
      $0.mtu = 65_535
    }
    plan.interface("lan", .inside, "10.203.0.1/16", mac: "02:00:00:00:02:01") { $0.mtu = 65_535 }
    return plan
  }

  var invariants: Invariants {
    var own: Set<Host> = [Self.gateway, "10.203.0.1"]
    own.formUnion(responders.indices.map { Self.externalStart.advanced(by: $0) })
    return Invariants(ownAddresses: own, hidden: [Host("10.203.0.0")...Host("10.203.255.255")], outside: ["wan"])
  }
}

extension Decoded {
  /// A whole, unicast IPv4 datagram of TCP, UDP or echo with a right header checksum, sent to one station.
  var isWellFormedUnicast: Bool {
    guard let ip, problems.isEmpty || ip.fragmentOffset > 0, InternetChecksum.isValid(bytes[ipHeader]) else {
      return false
    }
    let isKnown = ip.ipProtocol == 6 || ip.ipProtocol == 17 || icmp.map { $0.type == 0 || $0.type == 8 } == true
    let isForOne = ethernet.map { $0.destination.bytes[0] & 1 == 0 } ?? true
    return isKnown && ip.source.isUnicast && ip.destination.isUnicast && isForOne
  }
}
