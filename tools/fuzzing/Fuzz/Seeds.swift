import Glibc

/// Inputs to begin with, so that no time goes into finding out what a frame or a configuration looks like.
enum Seeds {
  /// Writes a target's seeds into a folder.
  static func write(_ target: String, to folder: String) {
    for (index, seed) in (all[target] ?? []).enumerated() {
      guard let file = fopen("\(folder)/seed-\(index)", "w") else { fatalError("no file in \(folder)") }
      fwrite(seed, 1, seed.count, file)
      fclose(file)
    }
  }

  private static var all: [String: [[UInt8]]] {
    [
      "loader": [[0], [1], [2], [3], [4, 5, 0, 0, 4, 0, 1], [4, 3, 1, 0, 9]],
      "frames": [exchange, connection, pieces, errors, neighbor, offloads],
      "configuration": [Array(Stage.text.utf8)],
      "capture": [capture],
    ]
  }

  // MARK: Frames

  private static let second: UInt32 = 0xCB00_7105

  /// One frame as `FrameTarget` reads it: a datagram for us, checksums put right.
  private static func record(_ datagram: Datagram, on link: Int, more: UInt8 = 0) -> [UInt8] {
    [3 | UInt8(link) << 2 | more] + Datagram.two(datagram.bytes.count) + datagram.bytes
  }

  private static var exchange: [UInt8] {
    record(.udp(from: Stage.host(10), 4000, to: Stage.client, 53), on: Stage.lan)
      + record(.udp(from: Stage.client, 53, to: Stage.outside, 4000), on: Stage.wan)
      + record(.udp(from: Stage.client, 5, to: Stage.outside, 8001), on: Stage.wan, more: 0x80)
      + record(.udp(from: Stage.host(11), 6, to: Stage.outside, 4000), on: Stage.lan)
      + record(.ping(from: Stage.client, 7, to: second), on: Stage.wan)
      + record(.ping(from: Stage.client, 8, to: Stage.outside), on: Stage.wan)
  }

  private static var connection: [UInt8] {
    func there(_ flags: UInt8, _ sequence: UInt32, _ acknowledgment: UInt32) -> [UInt8] {
      record(
        .tcp(
          from: Stage.client, 40_000, to: Stage.outside, 8000, flags: flags, sequence: sequence,
          acknowledgment: acknowledgment), on: Stage.wan)
    }
    func back(_ flags: UInt8, _ sequence: UInt32, _ acknowledgment: UInt32) -> [UInt8] {
      record(
        .tcp(
          from: Stage.host(10), 9000, to: Stage.client, 40_000, flags: flags, sequence: sequence,
          acknowledgment: acknowledgment), on: Stage.lan)
    }
    return there(2, 1, 0) + back(18, 9, 2) + there(16, 2, 10) + there(17, 2, 10) + back(17, 10, 3) + there(4, 3, 11)
  }

  /// The later piece before the first one, and a datagram that has to be cut.
  private static var pieces: [UInt8] {
    let whole = Datagram.udp(from: Stage.client, 5, to: Stage.outside, 8001).bytes
    var (first, later) = (whole + [UInt8](repeating: 7, count: 16), whole)
    first.replaceSubrange(6..<8, with: [0x20, 0])
    later.replaceSubrange(6..<8, with: [0, 3])
    return record(Datagram(bytes: later), on: Stage.wan) + record(Datagram(bytes: first), on: Stage.wan)
      + record(
        Datagram(
          17, from: Stage.host(10), to: Stage.client, [0, 9, 0, 9, 4, 8, 0, 0] + [UInt8](repeating: 1, count: 1024)
        )
        .with { $0[6] = 0 }, on: Stage.lan)
  }

  private static var errors: [UInt8] {
    let out = Datagram.udp(from: Stage.host(10), 4000, to: Stage.client, 53)
    let left = Datagram.udp(from: Stage.outside, 4000, to: Stage.client, 53)
    return record(out, on: Stage.lan)
      + record(
        Datagram(1, from: Stage.client, to: Stage.outside, [3, 3, 0, 0, 0, 0, 0, 0] + left.bytes), on: Stage.wan)
      + record(out.with { $0[8] = 1 }, on: Stage.lan)
      + record(.udp(from: Stage.client, 1, to: Stage.outside, 99), on: Stage.wan)
      + record(.tcp(from: Stage.client, 1, to: Stage.outside, 99, flags: 2, sequence: 1), on: Stage.wan, more: 0x18)
  }

  /// Frames that wait for a neighbour, and its answer.
  private static var neighbor: [UInt8] {
    let answer: [UInt8] =
      Stage.stations[Stage.lan] + [2, 0, 0, 0, 2, 12, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 2, 12]
      + Datagram.four(Stage.host(12)) + Stage.stations[Stage.lan] + Datagram.four(Stage.host(1))
    return record(.udp(from: Stage.client, 5, to: Stage.outside, 8100), on: Stage.wan)
      + [4] + Datagram.two(answer.count) + answer
  }

  /// An unfinished checksum, a super-frame, a tag that the kernel took off.
  private static var offloads: [UInt8] {
    let udp = Datagram.udp(from: Stage.client, 5, to: Stage.outside, 8001).bytes
    let tcp = Datagram(
      6, from: Stage.client, to: Stage.outside,
      [0, 1, 31, 64, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 16, 1, 1, 0, 0, 0, 0] + [UInt8](repeating: 5, count: 1200)
    ).bytes
    return [0x23, 1, 0, 0, 42, 0, 0, 0, 34, 0, 6] + Datagram.two(udp.count) + udp
      + [0x23, 1, 1, 0, 54, 2, 0, 0, 34, 0, 16] + Datagram.two(tcp.count) + tcp
      + [0x43, 0x81, 0, 0, 0] + Datagram.two(udp.count) + udp
  }

  // MARK: Captures

  private static var capture: [UInt8] {
    let frame = Datagram.udp(from: Stage.client, 5, to: Stage.outside, 8001).frame(to: Stage.stations[0])
    let header: [UInt8] = [0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 1, 0, 0, 0]
    let count = [UInt8(frame.count), 0, 0, 0]
    return header + [1, 0, 0, 0, 2, 0, 0, 0] + count + count + frame
  }
}

extension Datagram {
  fileprivate func with(_ change: (inout [UInt8]) -> Void) -> Datagram {
    var copy = self
    change(&copy.bytes)
    return copy
  }
}
