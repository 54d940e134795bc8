import Engine
import Glibc

/// A configuration that has been read and found good.
public struct SettingsFile: Sendable {
  /// What a configuration is read for.
  public enum Purpose: Sendable {
    /// Real interfaces.
    case run
    /// Only to see whether it is good for `run`.
    case check
    /// Captures: no device, no automatic addresses, nothing of this host matters.
    case replay
  }

  /// A part of the plan, to ask where it stands in the file. Numbers are indexes into the plan's arrays.
  public indirect enum Part: Hashable, Sendable {
    case engine
    case interface(Int)
    case route(Int)
    /// A `[[route]]` of IPv6, which are counted by themselves.
    case route6(Int)
    case neighbor(Int)
    case forward(Int)
    case masquerade(Int)
    case prefix(Int)
    case trigger(Int)
    case timeouts
    case limits
    /// A key of a part, like `.key(of: .interface(0), "device")`.
    case key(of: Part, String)

    func key(_ name: String) -> Part { .key(of: self, name) }
  }

  /// The file's name as given.
  public let path: String
  public let plan: Plan
  /// What is accepted, and better not done; in the order of the file.
  public let warnings: [SettingsError]
  let drafts: [ForwardDraft]
  private let places: [Part: Place]
  /// What it was compared with: see `init(text:)`.
  let localPorts: PortRange?

  /// Reads a file and checks it.
  ///
  /// - Throws: everything that is wrong with it, at once.
  public static func load(path: String, purpose: Purpose) throws(SettingsErrors) -> SettingsFile {
    let localPorts = purpose == .replay ? nil : hostLocalPorts()
    return try SettingsFile(source: Source(path: path), purpose: purpose, localPorts: localPorts)
  }

  /// Checks a text.
  ///
  /// - Parameters:
  ///   - file: the name that errors begin with.
  ///   - localPorts: the host's ip_local_port_range; nil to compare with none.
  public init(text: String, file: String, purpose: Purpose, localPorts: PortRange? = nil) throws(SettingsErrors) {
    try self.init(source: Source(file: file, bytes: Array(text.utf8)), purpose: purpose, localPorts: localPorts)
  }

  init(source: Source, purpose: Purpose, localPorts: PortRange?) throws(SettingsErrors) {
    var checker = Checker(source: source, purpose: purpose, localPorts: localPorts)
    var recovery = Recovery(source)
    let (root, errors) = recovery.parse()
    checker.errors = errors
    if let root { checker.check(root) }
    guard checker.errors.isEmpty else { throw SettingsErrors(checker.errors) }
    path = source.file
    plan = checker.plan
    warnings = SettingsErrors(checker.warnings).errors
    drafts = checker.drafts
    places = checker.places
    self.localPorts = localPorts
  }

  /// Where a part stands: a key's value if it is written, else its part's header, else the file's beginning.
  public func location(of part: Part) -> Place {
    if let place = places[part] { return place }
    if case .key(let whole, _) = part { return location(of: whole) }
    return Place(line: 1, column: 1)
  }

  /// An error about a part that shows only later, such as a device that does not exist.
  ///
  /// - Parameter text: what is wrong, and what would be right.
  public func error(at part: Part, _ text: String) -> SettingsError {
    SettingsError(file: path, place: location(of: part), text: text)
  }

  /// Every Ethernet interface needs a MAC address in replay, where no device has one.
  ///
  /// - Parameter links: for each interface of the plan, what its captures hold.
  /// - Throws: one error for each interface without `mac`, at its header.
  public func requireMACs(links: [InterfacePlan.Link]) throws(SettingsErrors) {
    let missing = zip(plan.interfaces.indices, links).filter { $1 == .ethernet && plan.interfaces[$0].mac == nil }
    guard !missing.isEmpty else { return }
    throw SettingsErrors(
      missing.map { index, _ in
        let name = plan.interfaces[index].name
        return error(at: .interface(index), "[interface.\(name)] has no mac; add mac = \"02:00:00:00:00:01\"")
      })
  }

  /// Ports that this host opens its own connections from; nil if /proc does not say.
  static func hostLocalPorts() -> PortRange? {
    guard let source = try? Source(path: "/proc/sys/net/ipv4/ip_local_port_range") else { return nil }
    let numbers = String(decoding: source.bytes, as: UTF8.self).split { $0 == "\t" || $0 == "\n" || $0 == " " }
    guard numbers.count == 2, let first = UInt16(numbers[0]), let last = UInt16(numbers[1]), first <= last else {
      return nil
    }
    return PortRange(first, last)
  }
}
