import PacketTestKit
import Testing

/// One golden case: a forward, traffic through it both ways, and what must leave, all built from scratch here.
///
/// The engine has no part in what is expected. `Tests/Golden` holds the same as files, so that a change of any byte is
/// seen in review; `SLUICE_WRITE_GOLDEN=1 swift test --filter GoldenTests` writes them anew, and nothing else does.
struct GoldenCase: CustomTestStringConvertible, Sendable {
  /// In what the target differs from the outside endpoint.
  enum Differs: String, CaseIterable { case address, port, both }
  enum IPProtocol: String, CaseIterable { case tcp, udp }
  /// Who the target sees: the client, the gateway, or, from inside, the outside address.
  enum Mode: String, CaseIterable { case preserve, gateway, hairpin }

  var differs: Differs
  var ipProtocol: IPProtocol
  var mode: Mode

  static let all = Differs.allCases.flatMap { differs in
    IPProtocol.allCases.flatMap { ipProtocol in
      Mode.allCases.map { GoldenCase(differs: differs, ipProtocol: ipProtocol, mode: $0) }
    }
  }

  var name: String { "\(differs)-\(ipProtocol)-\(mode)" }
  var testDescription: String { name }

  // MARK: Endpoints

  /// Where the client sends to.
  var outside: Peer { Peer(differs == .port ? "203.0.113.200" : "203.0.113.1", 8080) }

  /// Where it arrives. A target that differs by its port alone has a public address and is routed to, behind
  /// 192.168.1.12.
  var target: Peer {
    switch differs {
    case .address: "192.168.1.10:8080"
    case .port: "203.0.113.200:80"
    case .both: "192.168.1.10:80"
    }
  }

  var client: Peer { mode == .hairpin ? "192.168.1.11:5000" : "198.51.100.7:40000" }

  /// A target with the outside address of its own would see itself as the client in hairpin; such a one needs
  /// `source = "gateway"`.
  var usesGateway: Bool { mode == .gateway || mode == .hairpin && differs == .port }

  /// The client as the target sees it.
  var seen: Peer {
    if usesGateway { return Peer("192.168.1.1", client.port) }
    return mode == .hairpin ? Peer(outside.host, client.port) : client
  }

  private var clientSide: String { mode == .hairpin ? "lan" : "wan" }

  // MARK: Configuration

  var configuration: String {
    var text = "# \(name): written by GoldenCase.swift.\n\n" + twoInterfaces + "\n"
    for host: Host in ["203.0.113.254", "192.168.1.10", "192.168.1.11", "192.168.1.12"] {
      text += "[[neighbor]]\naddress = \"\(host)\"\nmac = \"\(Station.of(host))\"\n\n"
    }
    if differs == .port {
      text += "[[route]]\ndestination = \"203.0.113.200/32\"\nvia = \"192.168.1.12\"\n\n"
    }
    text += "[[forward]]\nname = \"golden\"\nprotocol = \"\(ipProtocol)\"\n"
    text += differs == .port ? "external = \"\(outside.host)\"\n" : "on = \"wan\"\n"
    text += "ports = \"\(outside.port)\"\n"
    text += "to = \"\(outside.port == target.port ? "\(target.host)" : "\(target)")\"\n"
    text += "source = \"\(usesGateway ? "gateway" : "preserve")\"\n"
    if mode == .hairpin { text += "\n[[masquerade]]\nfrom = \"lan\"\nto = \"wan\"\n" }
    return text
  }

  // MARK: Traffic

  private typealias Step = GoldenFiles.Step

  private var steps: [Step] { (ipProtocol == .udp ? datagrams : connection) + mistakes }

  private var datagrams: [Step] {
    [
      inward(.udp(client, outside, "question")),
      outward(.udp(target, seen, "answer")),
      inward(.udp(client, outside, "odd")),
      inward(.udp(client, outside, "no checksum") { $0.udp.checksum = 0 }),
      outward(.udp(target, seen, "none here either") { $0.udp.checksum = 0 }),
      inward(
        .udp(client, outside, "marked, may be cut") {
          $0.ip.typeOfService = 0xB8
          $0.ip.dontFragment = false
          $0.ip.identification = 0xBEEF
          $0.ip.ttl = 2
        }),
      inward(.udp(client, outside, "alert") { $0.ip.options = [148, 4, 0, 0] }),
      outward(.udp(target, seen, "padded") { $0.trailer = [UInt8](repeating: 0, count: 12) }),
      outward(.udp(target, seen, String(repeating: "long ", count: 200))),
    ]
  }

  /// A connection from SYN to the last ACK.
  private var connection: [Step] {
    let (mine, yours): (UInt32, UInt32) = (0xFFFF_FFF8, 5_000_000)
    func client(_ flags: TCPHeader.Flags, _ sent: UInt32, _ got: UInt32, _ text: String = "") -> Step {
      inward(.tcp(self.client, outside, flags, sequence: mine &+ sent, acknowledgment: yours &+ got, text))
    }
    func server(_ flags: TCPHeader.Flags, _ sent: UInt32, _ got: UInt32, _ text: String = "") -> Step {
      outward(.tcp(target, seen, flags, sequence: yours &+ sent, acknowledgment: mine &+ got, text))
    }
    let options: [UInt8] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]
    return [
      inward(.tcp(self.client, outside, .syn, sequence: mine) { $0.tcp.options = options }),
      outward(
        .tcp(target, seen, [.syn, .ack], sequence: yours, acknowledgment: mine &+ 1) { $0.tcp.options = options }),
      client(.ack, 1, 1),
      client([.ack, .psh], 1, 1, "GET / HTTP/1.0\r\n\r\n"),
      server(.ack, 1, 19),
      server([.ack, .psh], 1, 19, "an odd number of bytes."),
      server([.ack, .fin], 24, 19),
      client(.ack, 19, 25),
      client([.ack, .fin], 19, 25),
      server(.ack, 25, 20),
    ]
  }

  /// An error about the first frame, back to the client; and a port that is not forwarded.
  private var mistakes: [Step] {
    let sent: Packet =
      ipProtocol == .udp ? .udp(client, outside, "question") : .tcp(client, outside, .syn, sequence: 0xFFFF_FFF8)
    let arrived = sent.translated(from: seen, to: target)
    let error = Packet.icmpError(type: 3, code: 1, from: target.host, to: seen.host, about: arrived)
    let told = Packet.icmpError(
      type: 3, code: 1, from: outside.host, to: client.host, about: sent.with { $0.ip.ttl -= 1 }
    ) { $0.ip.ttl -= 1 }
    var list = [GoldenFiles.step(error, "lan", from: via(target.host), told, clientSide, to: via(client.host))]
    let other: Packet =
      ipProtocol == .udp ? .udp(client, Peer(outside.host, 8079)) : .tcp(client, Peer(outside.host, 8079), .syn)
    if mode != .hairpin { list.append(GoldenFiles.step(other, clientSide, from: via(client.host))) }
    return list
  }

  private func inward(_ packet: Packet) -> Step {
    GoldenFiles.step(
      packet, clientSide, from: via(client.host), packet.translated(from: seen, to: target), "lan", to: via(target.host)
    )
  }

  private func outward(_ packet: Packet) -> Step {
    GoldenFiles.step(
      packet, "lan", from: via(target.host), packet.translated(from: outside, to: client), clientSide,
      to: via(client.host))
  }

  /// The neighbour that a host is reached by.
  private func via(_ host: Host) -> Station {
    switch host {
    case "198.51.100.7": .of("203.0.113.254")
    case "203.0.113.200": .of("192.168.1.12")
    default: .of(host)
    }
  }

  /// Every file of the case by its name.
  var files: [String: [UInt8]] { GoldenFiles(configuration: configuration, steps: steps).all }
}
