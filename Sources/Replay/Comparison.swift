import Capture
import Foundation

/// The first place where a replay is not what it was expected to be.
public struct Difference: Equatable, Sendable, CustomStringConvertible {
  /// The file of the earlier output that is not met.
  public var path: String
  /// Number of the frame, from 1; nil for the file as a whole and for reports.
  public var frame: Int?
  /// What differs: a field of the frame, or a counter of the report.
  public var field: String
  /// Its value in the earlier output.
  public var expected: String
  /// Its value now.
  public var actual: String

  /// `FILE: frame N: FIELD: expected X, actual Y`.
  public var description: String {
    "\(path): \(frame.map { "frame \($0): " } ?? "")\(field): expected \(expected), actual \(actual)"
  }
}

/// Holds a replay's output against an earlier one.
public enum Comparison {
  /// The first difference between two directories with `IF.pcap` of the same interfaces, and between `report` and the
  /// `report.json` of the earlier one if it has one; nil where there is none.
  ///
  /// - Throws: `CaptureError` for a file that cannot be read.
  public static func firstDifference(
    interfaces: [String], expected: String, actual: String, report: ReplayReport
  ) throws -> Difference? {
    for name in interfaces {
      let paths = (
        expected: ReplayOutput.path(of: name, in: expected), actual: ReplayOutput.path(of: name, in: actual)
      )
      guard FileManager.default.fileExists(atPath: paths.expected) else {
        return Difference(path: paths.expected, field: "file", expected: "a capture", actual: "none")
      }
      if let difference = try captures(expected: paths.expected, actual: paths.actual) { return difference }
    }
    let path = "\(expected)/report.json"
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    return try reports(path: path, actual: report)
  }

  // MARK: Captures

  /// The first difference between two captures.
  public static func captures(expected: String, actual: String) throws(CaptureError) -> Difference? {
    let (before, now) = (try CaptureReader(path: expected), try CaptureReader(path: actual))
    func difference(_ frame: Int?, _ field: String, _ expected: String, _ actual: String) -> Difference {
      Difference(path: before.path, frame: frame, field: field, expected: expected, actual: actual)
    }
    guard before.link == now.link else {
      return difference(nil, "link type", before.link.rawValue, now.link.rawValue)
    }
    var number = 0
    while true {
      number += 1
      let (wanted, found) = (try before.next(), try now.next())
      guard let wanted, let found else {
        guard wanted != nil || found != nil else { return nil }
        return difference(number, "frame", wanted == nil ? "none" : "one", found == nil ? "none" : "one")
      }
      if wanted.time != found.time { return difference(number, "time", clock(wanted.time), clock(found.time)) }
      if wanted.length == found.length, memcmp(wanted.bytes, found.bytes, wanted.length) == 0 { continue }
      let (left, right) = (wanted.array, found.array)
      guard let field = FrameField.firstDifference(left, right, link: before.link) else {
        return difference(number, "length", "\(wanted.length)", "\(found.length)")
      }
      return difference(number, field.name, field.text(in: left), field.text(in: right))
    }
  }

  /// Seconds since 1970 with all nine decimals.
  private static func clock(_ nanoseconds: UInt64) -> String {
    let fraction = String(nanoseconds % 1_000_000_000)
    return "\(nanoseconds / 1_000_000_000)." + String(repeating: "0", count: 9 - fraction.count) + fraction
  }

  // MARK: Reports

  private static func reports(path: String, actual: ReplayReport) throws(CaptureError) -> Difference? {
    guard let data = FileManager.default.contents(atPath: path),
      let expected = try? JSONDecoder().decode(ReplayReport.self, from: data)
    else { throw CaptureError(path: path, offset: nil, message: "not a report of sluice replay") }
    let (wanted, found) = (expected.counters, actual.counters)
    for name in Set(wanted.keys).union(found.keys).sorted() where wanted[name] != found[name] {
      return Difference(
        path: path, field: name, expected: "\(wanted[name] ?? 0)", actual: "\(found[name] ?? 0)")
    }
    return nil
  }
}

extension CapturedFrame {
  fileprivate var array: [UInt8] { Array(UnsafeRawBufferPointer(start: bytes, count: length)) }
}

extension ReplayReport {
  /// Every counter by its path in the JSON text; what depends on the machine is left out.
  fileprivate var counters: [String: UInt64] {
    var list: [String: UInt64] = [
      "sessions.created": sessions.created, "sessions.expired": sessions.expired, "sessions.live": sessions.live,
    ]
    for (name, count) in drops { list["drops.\(name)"] = count }
    for (name, count) in events { list["events.\(name)"] = count }
    for (name, frames) in [("frames", frames)] + interfaces.map({ ("interfaces.\($0)", $1) }) {
      list["\(name).received"] = frames.received
      list["\(name).forwarded"] = frames.forwarded
      list["\(name).dropped"] = frames.dropped
      list["\(name).consumed"] = frames.consumed
      list["\(name).passed"] = frames.passed
      list["\(name).held"] = frames.held
      list["\(name).generated"] = frames.generated
    }
    return list
  }
}
