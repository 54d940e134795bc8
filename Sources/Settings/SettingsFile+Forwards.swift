import Engine

/// A change of one forward, as `sluice forward` makes it in a running gateway.
public struct ForwardEdit: Codable, Sendable, Equatable {
  public enum Kind: String, Codable, Sendable { case add, set, remove }

  public var kind: Kind
  public var name: String
  /// Keys of `[[forward]]` that are to be written, with strings as values.
  public var texts: [String: String] = [:]
  /// `allow` and `deny`.
  public var lists: [String: [String]] = [:]
  /// `hairpin` and `enabled`.
  public var flags: [String: Bool] = [:]

  public init(_ kind: Kind, name: String) {
    self.kind = kind
    self.name = name
  }
}

extension SettingsFile {
  /// This configuration as if the change had been written into it: checked like a file, all of it.
  ///
  /// - Throws: what is wrong with the change; the places in the file mean nothing here and are left out.
  public func applying(_ edit: ForwardEdit) throws(SettingsErrors) -> SettingsFile {
    let whom = "forward \(edit.name)"
    var rows = drafts.map { $0.plan.name }.enumerated().map { ($0.element, forwardRows($0.offset)) }
    let index = rows.firstIndex { $0.0 == edit.name }
    switch (edit.kind, index) {
    case (.add, nil): rows.append((edit.name, edit.written(over: [("name", .text(edit.name))])))
    case (.set, let index?): rows[index].1 = edit.written(over: rows[index].1)
    case (.remove, let index?): rows.remove(at: index)
    case (.add, .some):
      throw SettingsErrors([
        SettingsError(file: whom, place: nil, text: "there is one of this name already; use `forward set`")
      ])
    case (.set, nil), (.remove, nil):
      throw SettingsErrors([
        SettingsError(file: whom, place: nil, text: "there is no such forward; `forward list` tells the names")
      ])
    }
    let text = document(forwards: .list(rows.map { .table($0.1) })).toml
    do {
      return try SettingsFile(text: text, file: path, purpose: .run, localPorts: localPorts)
    } catch {
      throw SettingsErrors(error.errors.map { SettingsError(file: whom, place: nil, text: $0.text) })
    }
  }

  /// The forwards as they are written, for people and tools.
  public var forwardReports: [ForwardReport] {
    drafts.indices.map { index in
      let rows = Dictionary(forwardRows(index).map { ($0.key, $0.value) }) { $1 }
      func texts(_ key: String) -> [String] {
        switch rows[key] {
        case .text(let text): [text]
        case .list(let elements): elements.compactMap { if case .text(let text) = $0 { text } else { nil } }
        default: []
        }
      }
      func text(_ key: String) -> String? { texts(key).first }
      let forward = drafts[index].plan
      return ForwardReport(
        name: forward.name, ipProtocol: text("protocol") ?? "", on: text("on"), external: text("external"),
        ports: text("ports") ?? "", except: text("except"), to: texts("to").joined(separator: ", "),
        source: forward.source.rawValue, allow: texts("allow"), deny: texts("deny"), hairpin: forward.hairpin,
        enabled: forward.isEnabled)
    }
  }
}

/// One forward, with the keys that it has in TOML.
public struct ForwardReport: Codable, Sendable, Equatable {
  public var name: String
  public var ipProtocol: String
  /// One of `on` and `external` is there.
  public var on: String?
  public var external: String?
  public var ports: String
  public var except: String?
  public var to: String
  public var source: String
  public var allow: [String]
  public var deny: [String]
  public var hairpin: Bool
  public var enabled: Bool

  enum CodingKeys: String, CodingKey {
    case name, on, external, ports, except, to, source, allow, deny, hairpin, enabled
    case ipProtocol = "protocol"
  }
}

extension ForwardEdit {
  /// The keys that the change names take the place of the old ones; `on` and `external` that of each other.
  fileprivate func written(over rows: [(key: String, value: Document)]) -> [(key: String, value: Document)] {
    var new: [(key: String, value: Document)] = texts.map { ($0.key, .text($0.value)) }
    new += lists.map { ($0.key, .list($0.value.map { .text($0) })) }
    new += flags.map { ($0.key, .flag($0.value)) }
    var replaced = Set(new.map(\.key))
    if replaced.contains("on") || replaced.contains("external") { replaced.formUnion(["on", "external"]) }
    return rows.filter { !replaced.contains($0.key) } + new.sorted { $0.key < $1.key }
  }
}
