import Capture
import Foundation
import Lab
import PacketTestKit
import Testing

/// Every frame that both ends saw while something ran, taken apart and compared: needs offloads off, so that the frames
/// are those of the wire with finished checksums.
struct CaptureAudit {
  /// What the client's end and the server's end saw, as captures.
  let files: [String]
  private let client: [Decoded]
  private let server: [Decoded]

  /// Captures at both ends while `body` runs.
  init(_ rig: Rig, while body: () throws -> Void) throws {
    let places: [LabNetwork.Place] = [.client, .server]
    let files = places.map { "\(rig.network.folder)/\($0.rawValue).pcap" }
    let captures = try zip(places, files).map { place, file in
      try rig.network.start(
        in: place, ["tcpdump", "--immediate-mode", "-i", "eth0", "-B", "65536", "-U", "-Z", "root", "-w", file])
    }
    for capture in captures {
      let started = try Interruption.wait(seconds: 10) { capture.errors.contains("listening on") }
      try #require(started, "\(capture.errors)")
    }
    try body()
    // What is on its way still arrives, and tcpdump reads the rest of its ring before it ends.
    try Interruption.sleep(seconds: 0.5)
    for capture in captures {
      let outcome = capture.stop(signal: SIGINT)
      try #require(outcome.errors.contains("\n0 packets dropped by kernel"), "\(outcome.complaint)")
    }
    self.files = files
    client = try CapturedBytes.all(of: files[0]).map { Decoded($0.bytes) }
    server = try CapturedBytes.all(of: files[1]).map { Decoded($0.bytes) }
  }

  /// IP frames that crossed the gateway, as the receiving end saw them.
  var forwardedFrames: Int { sent(by: .server).received.count + sent(by: .client).received.count }

  /// Everything that is wrong, one line each (the first five): checksums summed from scratch, resets, frames that were
  /// doubled or changed between the ends, and lost ones.
  ///
  /// Order is not compared: veth hands a sender's frames to the receive queue of whichever core it runs on just then.
  /// - Parameter allowsLoss: TCP at full speed overruns queues by design; what arrives must be right all the same.
  func problems(allowsLoss: Bool = false) -> [String] {
    var problems: [String] = []
    for (place, frames) in [("client", client), ("server", server)] {
      for (number, frame) in frames.enumerated() {
        problems += (frame.problems + frame.checksumProblems()).map { "\(place) frame \(number + 1): \($0)" }
        if frame.tcp?.flags.contains(.rst) == true { problems.append("\(place) frame \(number + 1): a reset") }
      }
    }
    for place in [LabNetwork.Place.client, .server] {
      var balance: [String: Int] = [:]
      let (sent, received) = sent(by: place)
      for frame in sent { balance[frame, default: 0] += 1 }
      for frame in received { balance[frame, default: 0] -= 1 }
      for (frame, count) in balance where count < 0 || (count > 0 && !allowsLoss) {
        problems.append("\(count > 0 ? "lost" : "doubled or changed") on the way from the \(place.rawValue): \(frame)")
      }
    }
    return Array(problems.prefix(5))
  }

  /// How many frames one end saw that hold these bytes anywhere.
  func frames(at place: LabNetwork.Place, holding bytes: [UInt8]) -> Int {
    (place == .client ? client : server).count { $0.bytes.contains(bytes) }
  }

  /// How many ICMPv6 messages of a type one end saw that hold these bytes anywhere.
  func errors(at place: LabNetwork.Place, ofType type: UInt8, holding bytes: [UInt8] = []) -> Int {
    (place == .client ? client : server).count { $0.icmpType6 == type && $0.bytes.contains(bytes) }
  }

  /// What a port forward must not change, of each frame that one end sent and the other received.
  private func sent(by place: LabNetwork.Place) -> (sent: [String], received: [String]) {
    let (from, to) = place == .client ? (client, server) : (server, client)
    let mac = place == .client ? LabNetwork.clientMAC : LabNetwork.serverMAC
    let gateway = place == .client ? LabNetwork.lanMAC : LabNetwork.wanMAC
    return (
      from.filter { $0.isForwardable && $0.ethernet.map { "\($0.source)" } == mac }.map { Self.kept($0, ttl: 64) },
      to.filter { $0.isForwardable && $0.ethernet.map { "\($0.source)" } == gateway }.map { Self.kept($0, ttl: 63) }
    )
  }

  private static func kept(_ frame: Decoded, ttl: UInt8) -> String {
    var text = ""
    if let ip = frame.ip {
      text = "id \(ip.identification) protocol \(ip.ipProtocol) length \(ip.totalLength) tos \(ip.typeOfService)"
      text += " df \(ip.dontFragment) hops \(Int(ttl) - Int(ip.ttl))"
    } else if let ip = frame.ip6 {
      text = "label \(ip.trafficClassAndLabel) protocol \(ip.ipProtocol) length \(ip.totalLength)"
      text += " hops \(Int(ttl) - Int(ip.hopLimit))"
    }
    if let tcp = frame.tcp {
      text += " seq \(tcp.sequence) ack \(tcp.acknowledgment) \(tcp.flags) window \(tcp.window) options \(tcp.options)"
    }
    return text + " payload \(frame.payload.hashValue)"
  }
}

extension CapturedBytes {
  /// Every frame of a capture, as of an interface of this name.
  static func all(of path: String, named interface: String = "") throws -> [CapturedBytes] {
    let reader = try CaptureReader(path: path)
    var frames: [CapturedBytes] = []
    while let frame = try reader.next() {
      let bytes = Array(UnsafeRawBufferPointer(start: frame.bytes, count: frame.length))
      frames.append(CapturedBytes(bytes, time: frame.time, interface: interface))
    }
    return frames
  }
}

extension Decoded {
  /// A datagram that a router passes on: what neighbours (RFC 4861) and listeners (RFC 2710, 3810) say stays on its link.
  fileprivate var isForwardable: Bool {
    ip != nil || ip6 != nil && icmpType6.map { (130...137).contains($0) || $0 == 143 } != true
  }

  fileprivate var icmpType6: UInt8? { ip6?.ipProtocol == 58 ? bytes[body].first : nil }
}
