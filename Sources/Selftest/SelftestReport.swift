import Engine
import Foundation

/// What a game console says about a NAT, from how it maps and filters.
public enum NATType: String, Sendable, Codable {
  /// Anybody can send to the endpoint that anybody knows.
  case open
  /// The endpoint is the same for everybody, but only who was sent to may answer.
  case moderate
  /// Each peer sees another endpoint: nobody can be told where to send.
  case strict

  init?(_ mapping: EndpointRule?, _ filtering: EndpointRule?) {
    guard let mapping, let filtering else { return nil }
    switch (mapping, filtering) {
    case (.endpointIndependent, .endpointIndependent): self = .open
    case (.endpointIndependent, _): self = .moderate
    default: self = .strict
    }
  }
}

/// The selftest's findings, for people (`text`) and programs (`json`).
public struct SelftestReport: Sendable, Encodable {
  public struct Check: Sendable {
    /// As in COMPLIANCE.md.
    public let ids: String
    public let title: String
    public let finding: Finding

    init(ids: String, title: String, _ finding: Finding) {
      self.ids = ids
      self.title = title
      self.finding = finding
    }
  }

  public struct Masquerade: Sendable, Encodable {
    public let from: String
    public let to: String
    /// As observed, in the words of RFC 4787; nil where nothing came back.
    public internal(set) var mapping: String?
    public internal(set) var filtering: String?
    public internal(set) var consoleType: NATType?
    /// Why it could not be played.
    public internal(set) var obstacle: String?
    public internal(set) var checks: [Check] = []
  }

  public struct Forward: Sendable, Encodable {
    public let name: String
    public let to: String
    public internal(set) var result = Finding.met
    /// For a host that a whole outside address leads to.
    public internal(set) var consoleType: NATType?
  }

  public let masquerades: [Masquerade]
  public let forwards: [Forward]

  public var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    guard let data = try? encoder.encode(self) else { preconditionFailure("plain values") }
    return String(decoding: data, as: UTF8.self) + "\n"
  }

  public var text: String {
    var lines: [String] = []
    for masquerade in masquerades {
      lines.append("masquerade \(masquerade.from) to \(masquerade.to)")
      if let obstacle = masquerade.obstacle {
        lines.append("  not played: \(obstacle)")
        continue
      }
      lines.append("  mapping: \(masquerade.mapping ?? "none")")
      lines.append("  filtering: \(masquerade.filtering ?? "none")")
      lines.append("  a game console reports: \(masquerade.consoleType?.rawValue ?? "no NAT that answers")")
      for check in masquerade.checks {
        lines.append("  \(check.finding.word.padded(9))\(check.ids.padded(9))\(check.title)\(check.finding.remark)")
      }
    }
    for forward in forwards {
      lines.append("forward \(forward.name) to \(forward.to): \(forward.result.word)\(forward.result.remark)")
      if let type = forward.consoleType { lines.append("  a game console there reports: \(type.rawValue)") }
    }
    let all = masquerades.flatMap(\.checks).map(\.finding) + forwards.map(\.result)
    let met = all.count { $0 == .met }
    let skipped = all.count { $0.word == "skipped" }
    lines.append("\(met) met, \(all.count - met - skipped) not met, \(skipped) skipped")
    return lines.joined(separator: "\n") + "\n"
  }
}

extension Finding {
  var word: String {
    switch self {
    case .met: "met"
    case .notMet: "not met"
    case .skipped: "skipped"
    }
  }

  var detail: String? {
    switch self {
    case .met: nil
    case .notMet(let text), .skipped(let text): text
    }
  }

  var remark: String { detail.map { ": \($0)" } ?? "" }
}

extension Finding: Encodable {
  private enum Keys: String, CodingKey { case result, detail }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(word, forKey: .result)
    try container.encodeIfPresent(detail, forKey: .detail)
  }
}

extension SelftestReport.Check: Encodable {
  private enum Keys: String, CodingKey { case ids, title, result, detail }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(ids.split(separator: " ").map(String.init), forKey: .ids)
    try container.encode(title, forKey: .title)
    try container.encode(finding.word, forKey: .result)
    try container.encodeIfPresent(finding.detail, forKey: .detail)
  }
}

extension String {
  fileprivate func padded(_ width: Int) -> String {
    self + String(repeating: " ", count: Swift.max(1, width - count))
  }
}
