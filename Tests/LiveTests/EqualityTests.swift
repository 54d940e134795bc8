import Capture
import Foundation
import Lab
import PacketTestKit
import Testing

extension Live {
  /// A live run and its replay are the same, byte for byte: offloads off, `run --seed`, one worker, static neighbours,
  /// one frame in flight at a time.
  @Suite struct EqualityTests {
    private static let seed = "20261123"

    private static var configuration: String {
      var text = LabNetwork.configuration
      for (device, mac) in [("wan0", LabNetwork.wanMAC), ("lan0", LabNetwork.lanMAC)] {
        text = text.replacingOccurrences(
          of: "device  = \"\(device)\"", with: "device  = \"\(device)\"\nmac = \"\(mac)\"")
      }
      for (address, mac) in [
        (LabNetwork.client, LabNetwork.clientMAC), (LabNetwork.server, LabNetwork.serverMAC),
        (LabNetwork.wholeHost, LabNetwork.serverMAC), ("192.168.1.30", LabNetwork.serverMAC),
      ] {
        text += "\n[[neighbor]]\naddress = \"\(address)\"\nmac = \"\(mac)\"\n"
      }
      return text
    }

    @Test("every frame that leaves is the replay's, and no other does")
    func equality() throws {
      var shape = LabNetwork.Shape()
      shape.offloads = false
      let forwarder = Rig.Forwarder.sluice(Self.configuration, arguments: ["--seed", Self.seed])
      try Rig.with("equal", shape, forwarder: forwarder) { rig in
        // Nobody but the script shall answer anything.
        for place in [LabNetwork.Place.client, .server] {
          try rig.network.demand(in: place, ["ip", "address", "flush", "dev", "eth0"])
        }
        let directory = try TemporaryDirectory()
        let replayed = try replay(Self.traffic, in: directory)
        let script = zip(Self.traffic, replayed.arrivals).map { step, arrivals in
          "\(step.side) \(hexadecimal(step.frame)) \(arrivals.client) \(arrivals.server)\n"
        }.joined()
        let steps = try directory.write(Array(script.utf8), as: "steps")
        let tool = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
          "one-in-flight.py")
        try Lab.demand(
          [
            "python3", tool.path, steps, directory("arrived"), rig.network.namespace(.client),
            rig.network.namespace(.server),
          ], seconds: 60)
        let arrived = String(decoding: try directory.read("arrived"), as: UTF8.self).split(separator: "\n")
        for side in ["client", "server"] {
          let live = arrived.filter { $0.hasPrefix(side) }.map { String($0.dropFirst(side.count + 1)) }
          let expected = (side == "client" ? replayed.client : replayed.server).map { hexadecimal($0.bytes) }
          #expect(live.count == expected.count, "\(side)")
          for (number, pair) in zip(live, expected).enumerated() {
            #expect(pair.0 == pair.1, "frame \(number + 1) at the \(side)")
          }
        }
        // The seed's choices are among those bytes.
        #expect(try replay(Self.traffic, seed: "1", in: directory).client.map(\.bytes) != replayed.client.map(\.bytes))
        #expect(replayed.client.count > 30 && replayed.server.count > 15)
      }
    }

    @Test("with many frames in flight, flow by flow: the same but for chosen ports and what they are summed into")
    func flowByFlow() throws {
      var shape = LabNetwork.Shape()
      shape.offloads = false
      try Rig.with("flows", shape, forwarder: .sluice(Self.configuration, arguments: ["--seed", Self.seed])) { rig in
        // A second inside host, whose ports are the first one's.
        try rig.network.demand(in: .server, ["ip", "address", "add", "192.168.1.30/24", "dev", "eth0"])
        let sink = try rig.network.start(in: .client, ["socat", "-u", "UDP-RECV:9999", "OPEN:/dev/null"])
        defer { _ = sink.stop() }
        let audit = try CaptureAudit(rig) {
          _ = try rig.shell(
            .client,
            "curl -sS --fail --parallel --parallel-max 40 --limit-rate 200k -o /dev/null "
              + "'http://\(LabNetwork.gatewayOutside)/bytes/[20001-20040]'")
          _ = try rig.fetch(.server, "\(LabNetwork.client):8000/")
          _ = try rig.shell(.client, "echo one | socat -t 0.2 - UDP:\(LabNetwork.gatewayOutside):7007")
          _ = try rig.shell(.client, "ping -n -c 3 -i 0.1 \(LabNetwork.wholeHostOutside)")
          _ = try rig.shell(.server, "ping -n -c 3 -i 0.1 \(LabNetwork.client)")
          _ = try rig.iperf("-u -b 2M -l 1200 -t 1")
          for port in 6000..<6010 {
            for host in [LabNetwork.server, "192.168.1.30"] {
              _ = try rig.shell(.server, "echo \(port) | socat -u - UDP:\(LabNetwork.client):9999,bind=\(host):\(port)")
            }
          }
        }
        let replay = try ReplayAudit(audit.files[0], audit.files[1], configuration: Self.configuration)
        #expect(replay.differences.isEmpty, "\(replay.differences)")
        #expect(replay.frames > 1000 && replay.flows > 100)
        // Another seed: what had to give way got other ports.
        #expect(replay.portsChosenOtherwise > 0)
      }
    }

    // MARK: The replay

    private struct Replayed {
      var client: [CapturedBytes]
      var server: [CapturedBytes]
      /// How many frames each step brings about at either end.
      var arrivals: [(client: Int, server: Int)]
    }

    private func replay(
      _ traffic: [Step], seed: String = EqualityTests.seed, in directory: TemporaryDirectory
    ) throws -> Replayed {
      let config = try directory.write(Array(Self.configuration.utf8), as: "sluice.toml")
      var arguments = ["replay", "-c", config, "--seed", seed, "--out", directory("out")]
      for (interface, side) in [("wan", "client"), ("lan", "server")] {
        let records = traffic.enumerated().filter { $1.side == side }.map { index, step in
          CaptureBytes.Record(step.frame, seconds: Self.second(index), fraction: Self.fraction(index))
        }
        let path = try directory.write(CaptureBytes.pcap(records), as: "\(interface).in.pcap")
        arguments += ["--in", "\(interface)=\(path)"]
      }
      let ended = try SluiceProcess.run(arguments)
      try #require(ended.status == 0, "\(ended.errors)")
      let (client, server) = (
        try CapturedBytes.all(of: directory("out/wan.pcap"), named: "client"),
        try CapturedBytes.all(of: directory("out/lan.pcap"), named: "server")
      )
      let arrivals = traffic.indices.map { index in
        let time = Self.second(index) * 1_000_000_000 + UInt64(Self.fraction(index))
        return (client.count { $0.time == time }, server.count { $0.time == time })
      }
      // Whoever brings nothing about is followed by one that does, through the same ring.
      for index in arrivals.indices where arrivals[index] == (0, 0) {
        try #require(index + 1 < traffic.count)
        try #require(traffic[index + 1].side == traffic[index].side && arrivals[index + 1] != (0, 0), "step \(index)")
      }
      return Replayed(client: client, server: server, arrivals: arrivals)
    }

    private static func second(_ index: Int) -> UInt64 { 1_700_000_000 + UInt64(index / 50) }
    private static func fraction(_ index: Int) -> UInt32 { UInt32(index % 50) * 20_000_000 }

    // MARK: The traffic

    private struct Step {
      var side: String
      var frame: [UInt8]
    }

    private static let client = Host(LabNetwork.client)
    private static let outside = Host(LabNetwork.gatewayOutside)
    private static let server = Host(LabNetwork.server)
    private static let wholeHost = Host(LabNetwork.wholeHost)
    /// An inside host that no forward names, behind the same station.
    private static let neighbor = Host("192.168.1.30")

    private static func from(_ side: String, _ packet: Packet) -> Step {
      let isClient = side == "client"
      return Step(
        side: side,
        frame: packet.with {
          $0.ethernet.source = Station(stringLiteral: isClient ? LabNetwork.clientMAC : LabNetwork.serverMAC)
          if $0.otherPayload == nil {
            $0.ethernet.destination = Station(stringLiteral: isClient ? LabNetwork.wanMAC : LabNetwork.lanMAC)
          }
        }.bytes)
    }

    /// A frame that brings nothing about, and a question for our address behind it: the answer says that it is over.
    private static func dropped(_ side: String, _ packet: Packet) -> [Step] {
      let isClient = side == "client"
      let station = Station(stringLiteral: isClient ? LabNetwork.clientMAC : LabNetwork.serverMAC)
      let host = isClient ? client : server
      let asked = isClient ? outside : Host(LabNetwork.gatewayInside)
      let step = from(side, packet)
      return [step, from(side, .arp(operation: 1, sender: station, host, asked))]
    }

    private static let traffic: [Step] = datagrams + connection + masqueraded + errors + hairpin

    private static var datagrams: [Step] {
      let (near, far) = (Peer(client, 4000), Peer(outside, 7007))
      let target = Peer(server, 7007)
      return [
        from("client", .udp(near, far, "question")),
        from("server", .udp(target, near, "answer")),
        from("client", .udp(near, far, "odd")),
        from("client", .udp(near, far, "no checksum") { $0.udp.checksum = 0 }),
        from("client", .udp(near, far, "last hop but one") { $0.ip.ttl = 2 }),
        from("server", .udp(target, near, String(repeating: "long ", count: 250))),
        from("client", .ping(Peer(client, 77), Host(LabNetwork.wholeHostOutside))),
        from("server", .pong(wholeHost, Peer(client, 77))),
        from("server", .ping(Peer(server, 78), Host(LabNetwork.gatewayInside))),
      ]
    }

    private static var connection: [Step] {
      let (near, far, target) = (Peer(client, 40_000), Peer(outside, 80), Peer(server, 8080))
      let (mine, yours): (UInt32, UInt32) = (0xFFFF_FFF0, 7_000_000)
      func send(_ flags: TCPHeader.Flags, _ sent: UInt32, _ got: UInt32, _ text: String = "") -> Step {
        from("client", .tcp(near, far, flags, sequence: mine &+ sent, acknowledgment: yours &+ got, text))
      }
      func answer(_ flags: TCPHeader.Flags, _ sent: UInt32, _ got: UInt32, _ text: String = "") -> Step {
        from("server", .tcp(target, near, flags, sequence: yours &+ sent, acknowledgment: mine &+ got, text))
      }
      return [
        from("client", .tcp(near, far, .syn, sequence: mine)), answer([.syn, .ack], 0, 1), send(.ack, 1, 1),
        send([.ack, .psh], 1, 1, "GET / HTTP/1.0\r\n\r\n"), answer(.ack, 1, 19), answer([.ack, .psh], 1, 19, "odd"),
        answer([.ack, .fin], 4, 19), send(.ack, 19, 5), send([.ack, .fin], 19, 5), answer(.ack, 5, 20),
      ]
    }

    /// Two inside hosts from the same ports: the second of each gets a port that the seed settles.
    private static var masqueraded: [Step] {
      var steps: [Step] = []
      for index: UInt16 in 0..<12 {
        for host in [server, neighbor] {
          steps.append(from("server", .udp(Peer(host, 5000 + index), Peer(client, 9), "number \(index)")))
        }
      }
      for index: UInt16 in 0..<4 {
        for host in [server, neighbor] {
          steps.append(from("server", .tcp(Peer(host, 6000 + index), Peer(client, 22), .syn)))
        }
      }
      let answer = Packet.udp(Peer(client, 9), Peer(outside, 5003), "to the first, who kept its port")
      return steps + [from("client", answer)]
    }

    private static var errors: [Step] {
      let (near, far) = (Peer(client, 4100), Peer(outside, 7007))
      let sent = Packet.udp(near, Peer(server, 7007), "refused")
      var steps = [
        from("client", .udp(near, far, "refused")),
        from("server", .icmpError(type: 3, code: 3, from: server, to: client, about: sent)),
        from("client", .udp(near, far, "too many hops") { $0.ip.ttl = 1 }),
        from("server", .udp(Peer(server, 4200), Peer(client, 9), "too many hops") { $0.ip.ttl = 1 }),
        from("server", .udp(Peer(server, 4200), Peer("198.51.100.7", 9), "no way there")),
      ]
      steps += dropped("client", .udp(near, Peer(outside, 9999), "no forward"))
      steps += dropped("client", .tcp(near, Peer(outside, 80), .rst))
      steps += dropped("client", .udp(Peer(server, 1), far, "not from outside"))
      steps += dropped("client", .udp(near, far, "wrong checksum") { $0.ip.checksum = 0x1234 })
      steps += dropped("server", .udp(Peer(server, 1), Peer(Host(LabNetwork.gatewayInside), 53), "nobody listens"))
      return steps
    }

    private static var hairpin: [Step] {
      [
        from("server", .udp(Peer(neighbor, 4300), Peer(outside, 7007), "round the corner")),
        from("server", .udp(Peer(server, 7007), Peer(outside, 4300), "and back")),
      ]
    }
  }
}

private func hexadecimal(_ bytes: [UInt8]) -> String { bytes.map { hex($0, digits: 2) }.joined() }
