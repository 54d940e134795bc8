import PacketIO
import Settings

/// Why the gateway could not start, or stopped; each kind has an exit status of its own.
public enum GatewayError: Error, CustomStringConvertible {
  /// The configuration does not fit this host.
  case configuration(SettingsError)
  /// A configuration that a running gateway was to take over is wrong, or would need a restart: all of it.
  case mistakes([String])
  /// Privileges are missing.
  case notPermitted(String)
  /// Anything else.
  case failed(String)

  init(_ error: SystemError) {
    self = error.isPermission ? .notPermitted("\(error)") : .failed("\(error)")
  }

  public var description: String {
    switch self {
    case .configuration(let error): "\(error)"
    case .mistakes(let lines): lines.joined(separator: "\n")
    case .notPermitted(let text), .failed(let text): text
    }
  }
}
