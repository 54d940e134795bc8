import CLinux
import Glibc

/// What the process may do.
enum Privileges {
  /// CAP_NET_ADMIN (12) and CAP_NET_RAW (13).
  private static let needed: UInt64 = 1 << 12 | 1 << 13

  static func require() throws(GatewayError) {
    guard sluice_has_capabilities(needed) == 0 else { return }
    throw .notPermitted("not permitted: CAP_NET_RAW and CAP_NET_ADMIN are needed; run it as root")
  }

  /// Gives up every capability for ever, in this thread and those it starts: what is open stays open, and nothing that
  /// happens while frames are handled needs a privilege.
  static func drop() throws(GatewayError) {
    let code = sluice_drop_privileges()
    guard code == 0 else { throw .failed("giving up privileges: \(String(cString: strerror(code)))") }
  }
}
