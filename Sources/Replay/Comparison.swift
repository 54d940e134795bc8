import Capture
import Explain
import Foundation

/// A place where a replay is not what it was expected to be.
public struct Difference: Equatable, Sendable, Codable, CustomStringConvertible {
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
  /// Both frames in hexadecimal, where frames differ.
  public var bytes: Bytes?

  /// Two frames in hexadecimal.
  public struct Bytes: Equatable, Sendable, Codable {
    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public var expected, actual: String
  }

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
    return try ExpectedReport(path: path).differences(from: report, path: path).first
  }

  // MARK: Captures

  /// The first difference between two captures.
  public static func captures(expected: String, actual: String) throws(CaptureError) -> Difference? {
    try differences(expected: expected, actual: actual, limit: 1).first
  }

  /// The first differences between two captures: every field in which the first frames that differ do.
  public static func differences(
    expected: String, actual: String, limit: Int
  ) throws(CaptureError) -> [Difference] {
    let (before, now) = (try CaptureReader(path: expected), try CaptureReader(path: actual))
    func difference(_ frame: Int?, _ field: String, _ expected: String, _ actual: String) -> Difference {
      Difference(path: before.path, frame: frame, field: field, expected: expected, actual: actual)
    }
    guard before.link == now.link else {
      return [difference(nil, "link type", before.link.rawValue, now.link.rawValue)]
    }
    var list: [Difference] = []
    var number = 0
    while list.count < limit {
      number += 1
      let (wanted, found) = (try before.next(), try now.next())
      guard let wanted, let found else {
        guard wanted != nil || found != nil else { break }
        list.append(difference(number, "frame", wanted == nil ? "none" : "one", found == nil ? "none" : "one"))
        break
      }
      if wanted.time != found.time { list.append(difference(number, "time", clock(wanted.time), clock(found.time))) }
      if wanted.length == found.length, memcmp(wanted.bytes, found.bytes, wanted.length) == 0 { continue }
      let (left, right) = (wanted.array, found.array)
      let bytes = Difference.Bytes(
        expected: FrameField.hexadecimal(left[...]), actual: FrameField.hexadecimal(right[...]))
      var fields = FrameField.differences(left, right, link: before.link).map {
        difference(number, $0.name, $0.text(in: left), $0.text(in: right))
      }
      if fields.isEmpty { fields = [difference(number, "length", "\(wanted.length)", "\(found.length)")] }
      for index in fields.indices { fields[index].bytes = bytes }
      list += fields
    }
    return Array(list.prefix(limit))
  }

  /// Seconds since 1970 with all nine decimals.
  static func clock(_ nanoseconds: UInt64) -> String {
    let fraction = String(nanoseconds % 1_000_000_000)
    return "\(nanoseconds / 1_000_000_000)." + String(repeating: "0", count: 9 - fraction.count) + fraction
  }
}

extension CapturedFrame {
  /// A copy of the bytes.
  var array: [UInt8] { Array(UnsafeRawBufferPointer(start: bytes, count: length)) }
}
