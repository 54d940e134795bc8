import Capture
import Foundation

/// What a report must say: any parts of it. What is left out may be anything; times and rates are never compared.
public struct ExpectedReport: Codable, Equatable, Sendable {
  // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
  public var frames: ReplayReport.Frames?
  /// Each interface that is named must be as it says.
  public var interfaces: [String: ReplayReport.Frames]?
  /// All drops there may be: a reason that is not named must not occur.
  public var drops: [String: UInt64]?
  /// All events there may be.
  public var events: [String: UInt64]?
  // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
  public var sessions: ReplayReport.Sessions?

  /// Everything that a report says and that can be compared.
  public init(_ report: ReplayReport) {
    frames = report.frames
    interfaces = report.interfaces
    drops = report.drops
    events = report.events
    sessions = report.sessions
  }

  /// Reads it from a file; a whole report will do.
  public init(path: String) throws(CaptureError) {
    guard let data = FileManager.default.contents(atPath: path),
      let read = try? JSONDecoder().decode(Self.self, from: data)
    else { throw CaptureError(path: path, offset: nil, message: "not a report of sluice replay") }
    self = read
  }

  /// Every counter that is not as it must be, by its path in the JSON text.
  func differences(from report: ReplayReport, path: String) -> [Difference] {
    let wanted = counters
    var found = ExpectedReport(report).counters
    found = found.filter { name, _ in
      if name.hasPrefix("frames.") { return frames != nil }
      if name.hasPrefix("drops.") { return drops != nil }
      if name.hasPrefix("events.") { return events != nil }
      if name.hasPrefix("sessions.") { return sessions != nil }
      return wanted[name] != nil
    }
    return Set(wanted.keys).union(found.keys).sorted().filter { wanted[$0] ?? 0 != found[$0] ?? 0 }.map {
      Difference(path: path, field: $0, expected: "\(wanted[$0] ?? 0)", actual: "\(found[$0] ?? 0)")
    }
  }

  private var counters: [String: UInt64] {
    var list: [String: UInt64] = [:]
    if let sessions {
      list["sessions.created"] = sessions.created
      list["sessions.expired"] = sessions.expired
      list["sessions.live"] = sessions.live
    }
    for (name, count) in drops ?? [:] { list["drops.\(name)"] = count }
    for (name, count) in events ?? [:] { list["events.\(name)"] = count }
    var groups = (interfaces ?? [:]).map { ("interfaces.\($0)", $1) }
    if let frames { groups.append(("frames", frames)) }
    for (name, frames) in groups {
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
