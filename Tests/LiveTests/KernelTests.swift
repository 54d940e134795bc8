import Engine
import Foundation
import Lab
import PacketTestKit
import Testing

extension Live {
  /// R3: the kernel's NAT with the same rules, the same frames into both, and every frame that leaves compared.
  ///
  /// Only what both define: its mappings are not endpoint-independent, and its own ICMP errors look otherwise.
  @Suite struct KernelTests {
    private struct Step {
      var side: String
      var packet: Packet
    }

    @Test(
      "R3 U10 U11 I6 I7 F6 the kernel's NAT sends the same bytes: ends, checksums, quotes, fragments",
      arguments: [datagrams, connection, echo, masqueraded, errors, fragments])
    func sameBytes(steps: [Int]) throws {
      var shape = LabNetwork.Shape()
      shape.offloads = false
      shape.lanMTU = 1280
      try Rig.with("kernel", shape, forwarder: .kernel) { rig in
        try quieten(rig.network)
        let directory = try TemporaryDirectory()
        let (script, expected) = try played(steps.map { Self.all[$0] })
        let path = try directory.write(Array(script.utf8), as: "steps")
        let tool = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
          .appendingPathComponent("one-in-flight.py")
        let names = [LabNetwork.Place.client, .server].map { rig.network.namespace($0) }
        try Lab.demand(["python3", tool.path, path, directory("arrived")] + names, seconds: 60)
        let arrived = String(decoding: try directory.read("arrived"), as: UTF8.self).split(separator: "\n")
        #expect(arrived.count == expected.count)
        for (kernel, engine) in zip(arrived, expected) {
          guard kernel != engine else { continue }
          let lines = Decoded.differences(expected: decoded(kernel), actual: decoded(Substring(engine)))
          Issue.record("kernel and engine differ: \(lines.joined(separator: "\n"))\n\(decoded(kernel))")
        }
      }
    }

    /// Hosts that answer nothing by themselves, and a gateway that knows their stations.
    private func quieten(_ network: LabNetwork) throws {
      for place in [LabNetwork.Place.client, .server] {
        try network.demand(in: place, ["ip", "address", "flush", "dev", "eth0"])
      }
      for (device, address, mac) in [
        ("wan0", LabNetwork.client, LabNetwork.clientMAC), ("wan0", "203.0.113.77", LabNetwork.clientMAC),
        ("lan0", LabNetwork.server, LabNetwork.serverMAC), ("lan0", LabNetwork.wholeHost, LabNetwork.serverMAC),
      ] {
        let words = "neighbor replace \(address) lladdr \(mac) dev \(device) nud permanent"
        try network.demand(in: .gateway, ["ip"] + words.split(separator: " ").map(String.init))
      }
    }

    /// The steps as `one-in-flight.py` reads them, and what the engine says arrives.
    private func played(_ steps: [Step]) throws -> (script: String, arrived: [String]) {
      let gateway = try TestGateway(Self.plan)
      var script = ""
      var arrived: [String] = []
      for (number, step) in steps.enumerated() {
        let isClient = step.side == "client"
        let frame = step.packet.with {
          $0.ethernet.source = Station(stringLiteral: isClient ? LabNetwork.clientMAC : LabNetwork.serverMAC)
          $0.ethernet.destination = Station(stringLiteral: isClient ? LabNetwork.wanMAC : LabNetwork.lanMAC)
        }.bytes
        let left = gateway.burst([.init(frame, on: isClient ? "wan" : "lan", at: Double(number))]).emitted
        try #require(!left.isEmpty, "step \(number) brings nothing about")
        let counts = ["wan", "lan"].map { name in left.count { $0.interface == name } }
        script += "\(step.side) \(hexadecimal(frame)) \(counts[0]) \(counts[1])\n"
        arrived += left.map { "\($0.interface == "wan" ? "client" : "server") \(hexadecimal($0.bytes))" }
      }
      return (script, arrived)
    }

    private func decoded(_ line: Substring) -> Decoded {
      let digits = Array(line.split(separator: " ")[1])
      return Decoded(stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16)! })
    }

    /// The rules of `KernelNAT`.
    private static var plan: Plan {
      var plan = Plan()
      plan.sessions = 1024
      plan.interface("wan", .outside, "203.0.113.1/24", mac: Station(stringLiteral: LabNetwork.wanMAC))
      plan.interface("lan", .inside, "192.168.1.1/24", mac: Station(stringLiteral: LabNetwork.lanMAC)) { $0.mtu = 1280 }
      plan.forward("site", .tcp, ports: "80", to: "192.168.1.10:8080")
      plan.forward("echo", .udp, ports: "7007", to: "192.168.1.10")
      plan.forward("host", [.tcp, .udp, .echo], ports: "all", to: "192.168.1.20", external: "203.0.113.5")
      plan.masquerade { $0.filtering = .addressAndPortDependent }
      for (index, address, mac) in [
        (0, LabNetwork.client, LabNetwork.clientMAC), (0, "203.0.113.77", LabNetwork.clientMAC),
        (1, LabNetwork.server, LabNetwork.serverMAC), (1, LabNetwork.wholeHost, LabNetwork.serverMAC),
      ] {
        let station = Station(stringLiteral: mac)
        plan.neighbors.append(NeighborPlan(address: Host(address).planned, mac: station.planned, interface: index))
      }
      return plan
    }

    // MARK: The traffic

    private static let client = Host(LabNetwork.client)
    private static let outside = Host(LabNetwork.gatewayOutside)
    private static let server = Host(LabNetwork.server)
    private static let wholeHost = Host(LabNetwork.wholeHost)

    private static func there(_ packet: Packet) -> Step { Step(side: "client", packet: packet) }
    private static func back(_ packet: Packet) -> Step { Step(side: "server", packet: packet) }

    /// Test arguments are indexes, so that their names stay short.
    private static let all = groups.flatMap { $0 }
    private static let groups = [
      datagramSteps, connectionSteps, echoSteps, masqueradedSteps, errorSteps, fragmentSteps,
    ]
    private static func indexes(_ group: Int) -> [Int] {
      let start = groups[..<group].reduce(0) { $0 + $1.count }
      return Array(start..<start + groups[group].count)
    }
    private static let datagrams = indexes(0)
    private static let connection = indexes(1)
    private static let echo = indexes(2)
    private static let masqueraded = indexes(3)
    private static let errors = indexes(4)
    private static let fragments = indexes(5)

    private static var datagramSteps: [Step] {
      let (near, far, target) = (Peer(client, 4000), Peer(outside, 7007), Peer(server, 7007))
      // Every sum of a payload word, so that the checksum passes through zero on the way.
      let words = stride(from: 0, through: 0xFFFF, by: 0x0F0F).map { word in
        there(.udp(near, far) { $0.udp.payload = [UInt8(word >> 8), UInt8(word & 255), 7] })
      }
      let zero = Packet.udp(near, target) { $0.udp.payload = [0, 0] }
      let rest = Decoded(zero.with { $0.hasEthernet = false }.bytes, isRawIP: true).udp!.checksum
      return words + [
        there(.udp(near, far) { $0.udp.payload = [UInt8(rest >> 8), UInt8(rest & 255)] }),
        there(.udp(near, far, "no checksum") { $0.udp.checksum = 0 }),
        back(.udp(target, near, "none here either") { $0.udp.checksum = 0 }),
        back(.udp(target, near, String(repeating: "long ", count: 240))),
        there(
          .udp(near, far, "marked") {
            $0.ip.typeOfService = 0xB8
            $0.ip.dontFragment = false
            $0.ip.identification = 0xBEEF
            $0.ip.ttl = 2
          }),
        there(.udp(near, far, "alert") { $0.ip.options = [148, 4, 0, 0] }),
        there(.udp(near, far, "padded") { $0.trailer = [UInt8](repeating: 0, count: 9) }),
      ]
    }

    private static var connectionSteps: [Step] {
      let (near, far, target) = (Peer(client, 40_000), Peer(outside, 80), Peer(server, 8080))
      let (mine, yours): (UInt32, UInt32) = (0xFFFF_FFF0, 7_000_000)
      let options: [UInt8] = [2, 4, 4, 176, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7]
      func send(_ flags: TCPHeader.Flags, _ sent: UInt32, _ got: UInt32, _ text: String = "") -> Step {
        there(.tcp(near, far, flags, sequence: mine &+ sent, acknowledgment: yours &+ got, text))
      }
      func answer(_ flags: TCPHeader.Flags, _ sent: UInt32, _ got: UInt32, _ text: String = "") -> Step {
        back(.tcp(target, near, flags, sequence: yours &+ sent, acknowledgment: mine &+ got, text))
      }
      return [
        there(.tcp(near, far, .syn, sequence: mine) { $0.tcp.options = options }),
        back(
          .tcp(target, near, [.syn, .ack], sequence: yours, acknowledgment: mine &+ 1) { $0.tcp.options = options }),
        send(.ack, 1, 1), send([.ack, .psh], 1, 1, "GET / HTTP/1.0\r\n\r\n"), answer(.ack, 1, 19),
        answer([.ack, .psh], 1, 19, "odd"), send([.ack, .urg], 19, 4, "!"), answer(.ack, 4, 20),
        answer([.ack, .fin], 4, 20), send(.ack, 20, 5), send([.ack, .fin], 20, 5), answer(.ack, 5, 21),
      ]
    }

    private static var echoSteps: [Step] {
      let whole = Host(LabNetwork.wholeHostOutside)
      return [
        there(.ping(Peer(client, 77), whole)), back(.pong(wholeHost, Peer(client, 77))),
        back(.ping(Peer(server, 78), client)), there(.pong(client, Peer(outside, 78))),
        there(.udp(Peer(client, 5), Peer(whole, 6), "any port")),
        back(.udp(Peer(wholeHost, 6), Peer(client, 5), "back")),
      ]
    }

    private static var masqueradedSteps: [Step] {
      let ports: [UInt16] = [1, 1023, 1024, 5000, 65535]
      return ports.flatMap { port in
        [
          back(.udp(Peer(server, port), Peer(client, 9), "number \(port)")),
          there(.udp(Peer(client, 9), Peer(outside, port), "to \(port)")),
          back(.tcp(Peer(server, port), Peer(client, 22), .syn)),
          there(.tcp(Peer(client, 22), Peer(outside, port), [.syn, .ack], sequence: 5, acknowledgment: 1001)),
        ]
      }
    }

    /// Errors from both ends and from a router in between, about sessions of both kinds, with short and long quotes.
    private static var errorSteps: [Step] {
      let router = Host("203.0.113.77")
      let kinds: [(UInt8, UInt8, UInt32)] = [(3, 1, 0), (3, 3, 0), (3, 4, 1200), (11, 0, 0), (12, 0, 20 << 24)]
      let inner = Packet.udp(Peer(server, 5100), Peer(client, 9), "masqueraded, with a text to quote")
      let seen = inner.translated(from: Peer(outside, 5100))
      let near = Packet.udp(Peer(client, 5200), Peer(outside, 7007), "forwarded, with a text to quote")
      let arrived = near.translated(to: Peer(server, 7007))
      let opening = Packet.tcp(Peer(server, 5300), Peer(client, 22), .syn)
      var steps = [back(inner), there(near), back(opening)]
      for (type, code, rest) in kinds {
        for (sender, keeping) in [(client, 8), (router, 8), (router, 60)] {
          for about in [seen, opening.translated(from: Peer(outside, 5300))] {
            steps.append(
              there(
                .icmpError(
                  type: type, code: code, rest: rest, from: sender, to: outside, about: about, keeping: keeping)))
          }
        }
        for keeping in [8, 60] {
          steps.append(
            back(
              .icmpError(type: type, code: code, rest: rest, from: server, to: client, about: arrived, keeping: keeping)
            ))
        }
      }
      return steps
    }

    /// Too big for the inside link, and allowed to be cut.
    private static var fragmentSteps: [Step] {
      [1260, 1300, 1472].map { size in
        there(
          .udp(Peer(client, 4000), Peer(outside, 7007)) {
            $0.udp.payload = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
            $0.ip.dontFragment = false
            $0.ip.identification = UInt16(size)
          })
      }
    }
  }
}

private func hexadecimal(_ bytes: [UInt8]) -> String { bytes.map { hex($0, digits: 2) }.joined() }
