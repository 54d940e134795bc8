import Foundation
import Lab
import PacketTestKit
import Testing

/// What came out of the gateway while something ran, with offloads on: every frame with its virtio header, as the
/// receiving host's packet sockets see it. There a frame may be longer than the MTU and its checksum unfinished, and
/// only its header tells which of both is meant.
struct RingAudit {
  /// A frame and the fields of `struct virtio_net_hdr` (linux/virtio_net.h).
  private struct Record {
    let flags: UInt8, segmentation: UInt8
    let headerLength: Int, segmentSize: Int, checksumStart: Int, checksumOffset: Int
    let frame: Decoded

    init(_ bytes: Data) {
      let words = (0..<4).map {
        Int(bytes[bytes.startIndex + 2 + 2 * $0]) | Int(bytes[bytes.startIndex + 3 + 2 * $0]) << 8
      }
      (flags, segmentation) = (bytes[bytes.startIndex], bytes[bytes.startIndex + 1])
      (headerLength, segmentSize, checksumStart, checksumOffset) = (words[0], words[1], words[2], words[3])
      frame = Decoded(Array(bytes.dropFirst(10)))
    }

    var isPartial: Bool { flags & 1 != 0 }
    var isSuperFrame: Bool { segmentation & 0x7F != 0 }
  }

  private let records: [Record]

  /// Captures what arrives at both ends from the gateway while `body` runs.
  init(_ rig: Rig, while body: () throws -> Void) throws {
    let places: [LabNetwork.Place] = [.client, .server]
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("ring-capture.py")
    let captures = try places.map { place in
      let path = "\(rig.network.folder)/\(place.rawValue).frames"
      return (path, try rig.network.start(in: place, ["python3", script.path, "eth0", path]))
    }
    for (_, capture) in captures {
      let started = try Interruption.wait(seconds: 10) { capture.output.contains("ready") || !capture.isRunning }
      try #require(started && capture.isRunning, "\(capture.errors)")
    }
    try body()
    records = try captures.flatMap { path, capture in
      let outcome = capture.stop(seconds: 20)
      try #require(outcome.succeeded, "frames were lost: \(outcome.complaint)")
      return try Self.read(path)
    }
  }

  private static func read(_ path: String) throws -> [Record] {
    let file = try Data(contentsOf: URL(fileURLWithPath: path))
    var records: [Record] = []
    var place = 0
    while place + 4 <= file.count {
      let length = file[place..<place + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
      records.append(Record(file[place + 4..<place + 4 + length]))
      place += 4 + length
    }
    return records
  }

  /// Frames whose checksum the receiver has to finish or take on trust.
  var partialFrames: Int { records.count { $0.isPartial } }
  /// Frames that stand for several.
  var superFrames: Int { records.count { $0.isSuperFrame } }

  /// Everything that is wrong, one line each (the first five).
  var problems: [String] {
    Array(
      records.enumerated().lazy.flatMap { number, record in
        Self.problems(record).map { "frame \(number + 1): \($0) in \(record.frame.fields.prefix(12))" }
      }.prefix(5))
  }

  private static func problems(_ record: Record) -> [String] {
    let frame = record.frame
    guard frame.ip != nil || frame.ip6 != nil else { return [] }
    var problems = frame.problems + frame.checksumProblems(isPartial: record.isPartial)
    if record.isPartial {
      if record.checksumStart != frame.body.lowerBound { problems.append("summing starts at \(record.checksumStart)") }
      let offset = frame.tcp != nil ? 16 : 6
      if record.checksumOffset != offset { problems.append("the sum goes to \(record.checksumOffset)") }
    }
    let payload = frame.payload.count
    let headers = frame.body.upperBound - payload
    if record.isSuperFrame {
      if record.segmentSize == 0 || headers + record.segmentSize > 1514 {
        problems.append("segments of \(record.segmentSize) bytes behind headers of \(headers) bytes")
      }
      if record.headerLength < headers { problems.append("a header length of \(record.headerLength), not \(headers)") }
    } else if headers + payload > 1514 {
      problems.append("\(headers + payload) bytes in one segment")
    }
    return problems
  }
}
