import Capture
import Engine
import Foundation
import Lab
import PacketTestKit
import struct PacketTestKit.Host
import Testing

@testable import Replay

extension Live {
  /// R3 over public captures: each frame into the kernel's NAT and into the engine, with the same rules, and every byte of
  /// what leaves compared, from the IP header on.
  ///
  /// A capture's originators are clients outside, its responders inside hosts, each with an outside address of its own for
  /// all ports and protocols. A part of the captures, with SLUICE_LONG all of them.
  @Suite(.enabled(if: Corpus.shared != nil, "no ../shared/corpus")) struct KernelCorpusTests {
    /// Responders that are told apart; the last one is for markers.
    private static let hosts = 64
    private static func inside(_ index: Int) -> Host { Host("192.168.1.128").advanced(by: index) }
    private static func outside(_ index: Int) -> Host { Host("203.0.113.128").advanced(by: index) }
    private static let clients: Host = "10.0.0.1"
    private static let second = 1.0 / 1000

    private struct Step {
      var file: Corpus.File
      var isForward: Bool
      var frame: [UInt8]
      /// The datagram that leaves the engine; nil for none.
      var left: [UInt8]?
    }

    // No ids in its name: COMPLIANCE.md is the same where there is no corpus.
    @Test("R3 the kernel's NAT makes the same of public captures: ends, checksums, quotes")
    func sameBytes() throws {
      let corpus = try #require(Corpus.shared)
      let directory = try TemporaryDirectory()
      let gateway = try TestGateway(Self.plan)
      var steps: [Step] = []
      var script = Self.markers
      for (index, file) in corpus.files.enumerated() where isLong || index % 4 == 0 {
        let played = try play(file, corpus, directory, gateway)
        guard !played.isEmpty else { continue }
        script += "flush\n" + played.map(Self.line).joined()
        steps += played
      }
      var shape = LabNetwork.Shape()
      shape.offloads = false
      try Rig.with("kernel-corpus", shape, forwarder: .nothing) { rig in
        try setUp(rig.network)
        let path = try directory.write(Array(script.utf8), as: "steps")
        let tool = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("in-turn.py").path
        let names = [LabNetwork.Place.client, .server, .gateway].map { rig.network.namespace($0) }
        try Lab.demand(["python3", tool, path, directory("arrived")] + names, seconds: 120)
      }
      let arrived = String(decoding: try directory.read("arrived"), as: UTF8.self)
        .split(separator: "\n", omittingEmptySubsequences: false)
      try #require(arrived.count == steps.count + 1)
      compare(steps, arrived.map { $0.split(separator: " ").map { bytes(hexadecimal: $0) } })
    }

    private func compare(_ steps: [Step], _ arrived: [[[UInt8]]]) {
      var (same, byNone, byOne) = (0, 0, 0)
      for (step, frames) in zip(steps, arrived) {
        // What only one of them lets through is a question of tracking, and not defined by both.
        guard let left = step.left, frames.count == 1 else {
          if step.left == nil && frames.isEmpty { byNone += 1 } else { byOne += 1 }
          continue
        }
        let kernel = Array(frames[0][14...])
        if kernel == left {
          same += 1
        } else {
          let differences = Decoded.differences(
            expected: Decoded(kernel, isRawIP: true), actual: Decoded(left, isRawIP: true))
          Issue.record("\(step.file): kernel and engine differ: \(differences)\n\(Decoded(step.frame))")
        }
      }
      let text = "\(same) of \(steps.count) the same, \(byNone) let through by neither, \(byOne) by one alone"
      #expect(same > 1000 && byOne * 100 <= same && byNone * 5 <= same, "\(text)")
      print("R3: \(text)")
    }

    // MARK: The frames

    /// What both define, in the order of the capture, and what the engine makes of it.
    private func play(
      _ file: Corpus.File, _ corpus: Corpus, _ directory: TemporaryDirectory, _ gateway: TestGateway
    ) throws -> [Step] {
      guard let reader = try? CaptureReader(path: corpus.open(file, into: directory)) else { return [] }
      var frames: [Decoded] = []
      while let frame = try? reader.next() {
        let bytes = Array(UnsafeRawBufferPointer(start: frame.bytes, count: frame.length))
        frames.append(Decoded(bytes, isRawIP: reader.link == .rawIP))
      }
      let sides = Sides(frames)
      let (there, back) = try Self.maps(sides)
      gateway.advance(to: gateway.now + 100_000)
      return frames.filter(\.isDefinedByBoth).map { frame in
        let isForward = sides.isForward(frame)
        let bytes = Self.readdressed(frame, isForward ? there : back, isForward: isForward)
        let arrival = TestGateway.Arrival(bytes, on: isForward ? "wan" : "lan", at: gateway.now + Self.second)
        let left = gateway.burst([arrival]).outcomes[0].forwarded
        return Step(file: file, isForward: isForward, frame: bytes, left: left.map { Array($0.bytes[14...]) })
      }
    }

    /// How addresses become those of the stage, for frames from outside and from inside.
    private static func maps(_ sides: Sides) throws -> (AddressMap, AddressMap) {
      let originators = try sides.originators.enumerated().map { index, host in
        try AddressRule("\(host)=\(clients.advanced(by: index))")
      }
      func responders(_ place: (Int) -> Host) throws -> [AddressRule] {
        try sides.responders.enumerated().map { try AddressRule("\($1)=\(place($0 % (hosts - 1)))") }
      }
      return (AddressMap(originators + (try responders(outside))), AddressMap(originators + (try responders(inside))))
    }

    /// The datagram alone, between other ends, its checksums as right or wrong as they were.
    private static func readdressed(_ frame: Decoded, _ map: AddressMap, isForward: Bool) -> [UInt8] {
      let macs =
        isForward ? [LabNetwork.wanMAC, LabNetwork.clientMAC] : [LabNetwork.lanMAC, LabNetwork.serverMAC]
      var bytes =
        macs.flatMap { Station(stringLiteral: $0).bytes } + [8, 0]
        + frame.bytes[frame.ipHeader.lowerBound..<frame.body.upperBound]
      bytes.withUnsafeMutableBytes {
        var slot = FrameSlot(bytes: $0.baseAddress!, length: $0.count, headroom: 0, link: 0, time: 0)
        InputEdit(map: map, isEthernet: true).apply(to: &slot)
      }
      return bytes
    }

    private static func line(_ step: Step) -> String {
      "\(step.isForward ? "client" : "server") \(hexadecimal(step.frame))\n"
    }

    /// One from each end to the last inside host, which no capture uses.
    private static var markers: String {
      let (client, last) = (Peer(Host(LabNetwork.client), 9), hosts - 1)
      let packets = [
        ("client", Packet.udp(client, Peer(outside(last), 9), "marker"), LabNetwork.wanMAC, LabNetwork.clientMAC),
        ("server", Packet.udp(Peer(inside(last), 9), client, "marker"), LabNetwork.lanMAC, LabNetwork.serverMAC),
      ]
      return packets.map { side, packet, destination, source in
        let frame = packet.with {
          $0.ethernet.destination = Station(stringLiteral: destination)
          $0.ethernet.source = Station(stringLiteral: source)
        }
        return "marker \(side) \(hexadecimal(frame.bytes))\n"
      }.joined()
    }

    // MARK: The rules

    private static var plan: Plan {
      var plan = Plan()
      plan.sessions = 16_384
      plan.interface("wan", .outside, "203.0.113.1/24", mac: Station(stringLiteral: LabNetwork.wanMAC)) {
        $0.gateways = [Host(LabNetwork.client).planned]
      }
      plan.interface("lan", .inside, "192.168.1.1/24", mac: Station(stringLiteral: LabNetwork.lanMAC))
      plan.neighbor(Host(LabNetwork.client))
      for index in 0..<hosts {
        plan.neighbor(inside(index))
        plan.forward(
          "host-\(index)", [.tcp, .udp, .echo], ports: "all", to: "\(inside(index))", external: outside(index))
      }
      plan.masquerade { $0.filtering = .addressAndPortDependent }
      return plan
    }

    /// The same by the kernel. It shall not judge checksums or windows: what a capture shows has passed once.
    private func setUp(_ network: LabNetwork) throws {
      for place in [LabNetwork.Place.client, .server] {
        try network.demand(in: place, ["ip", "address", "flush", "dev", "eth0"])
      }
      func elements(_ from: (Int) -> Host, _ to: (Int) -> Host) -> String {
        (0..<Self.hosts).map { "\(from($0)) : \(to($0))" }.joined(separator: ", ")
      }
      let rules = """
        table ip filter {
          chain invalid { type filter hook prerouting priority mangle; ct state invalid drop; }
        }
        table ip nat {
          map inside { type ipv4_addr : ipv4_addr; elements = { \(elements(Self.outside, Self.inside)) }; }
          map outside { type ipv4_addr : ipv4_addr; elements = { \(elements(Self.inside, Self.outside)) }; }
          chain prerouting { type nat hook prerouting priority dstnat; dnat to ip daddr map @inside; }
          chain postrouting { type nat hook postrouting priority srcnat; snat to ip saddr map @outside; }
        }
        """
      let path = try network.write(rules, to: "kernel.nft")
      let script = """
        set -e
        ip address add 203.0.113.1/24 dev wan0
        ip address add 192.168.1.1/24 dev lan0
        ip neighbor replace \(LabNetwork.client) lladdr \(LabNetwork.clientMAC) dev wan0 nud permanent
        ip neighbor replace \(LabNetwork.server) lladdr \(LabNetwork.serverMAC) dev lan0 nud permanent
        ip route add default via \(LabNetwork.client)
        ip route add 192.168.1.128/26 via \(LabNetwork.server)
        echo 1 > /proc/sys/net/ipv4/ip_forward
        nft -f \(path)
        echo 0 > /proc/sys/net/netfilter/nf_conntrack_checksum
        echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal
        """
      try network.demand(in: .gateway, ["sh", "-c", script])
    }
  }
}

extension Decoded {
  /// A whole datagram of TCP, UDP, echo or an ICMP error between two hosts, that any router sends on as it is: the
  /// kernel puts pieces together first, and writes addresses and times into options that ask for them.
  fileprivate var isDefinedByBoth: Bool {
    guard let ip, problems.isEmpty, InternetChecksum.isValid(bytes[ipHeader]), !ip.isFragment, ip.ttl > 1,
      ip.totalLength <= 1500, ip.source.isUnicast,
      ip.destination.isUnicast, ip.options.allSatisfy({ $0 <= 1 })
    else { return false }
    return tcp != nil || udp != nil || icmp.map { [0, 3, 8, 11, 12].contains($0.type) } == true
  }
}

private func hexadecimal(_ bytes: [UInt8]) -> String { bytes.map { hex($0, digits: 2) }.joined() }

private func bytes(hexadecimal text: Substring) -> [UInt8] {
  let digits = Array(text.utf8).map { UInt8(Character(UnicodeScalar($0)).hexDigitValue!) }
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}
