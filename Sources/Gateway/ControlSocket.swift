import CLinux
import Glibc
import PacketIO

/// Where a gateway listens for its clients: a Unix stream socket that only its owner may open.
public enum ControlSocket {
  /// The path for this network namespace, so that gateways in several namespaces do not meet.
  public static var defaultPath: String { "\(directory)/\(HostFacts.namespaceNumber).sock" }

  private static let directory = "/run/sluice"

  static func listen(at path: String) throws(GatewayError) -> Int32 {
    if path == defaultPath { mkdir(directory, 0o755) }
    var failure = SystemError("", code: 0)
    // Once more after a dead gateway's socket was taken away.
    for _ in 0..<2 {
      let descriptor = try make()
      let old = umask(0o177)
      let bound = withAddress(path) { Glibc.bind(descriptor, $0, $1) }
      failure = SystemError("listening at \(path)")
      umask(old)
      if bound == 0 && Glibc.listen(descriptor, 16) == 0 { return descriptor }
      close(descriptor)
      guard failure.code == EADDRINUSE else { break }
      if let other = try? connect(to: path) {
        close(other)
        throw .failed("another sluice answers at \(path); give this one a path of its own with --control")
      }
      unlink(path)
    }
    throw GatewayError(failure)
  }

  static func connect(to path: String) throws(GatewayError) -> Int32 {
    let descriptor = try make()
    guard withAddress(path, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
      let error = SystemError("no sluice answers at \(path)")
      close(descriptor)
      throw GatewayError(error)
    }
    return descriptor
  }

  private static func make() throws(GatewayError) -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw GatewayError(SystemError("making a control socket")) }
    return descriptor
  }

  private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = UInt16(AF_UNIX)
    let bytes = Array(path.utf8) + [0]
    let fits = withUnsafeMutableBytes(of: &address.sun_path) { target in
      guard bytes.count <= target.count else { return false }
      target.copyBytes(from: bytes)
      return true
    }
    guard fits else {
      errno = ENAMETOOLONG
      return -1
    }
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }
}
