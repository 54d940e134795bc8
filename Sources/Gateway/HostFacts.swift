import Glibc

/// What the gateway wants to know of the host it runs on.
enum HostFacts {
  /// Number of the network namespace that this process is in.
  static var namespaceNumber: UInt64 { inode("/proc/self/ns/net") ?? 0 }

  /// Whether this is the namespace that the host's first process is in; where /proc does not tell, it is taken to be.
  static var isMainNamespace: Bool {
    guard let first = inode("/proc/1/ns/net") else { return true }
    return first == inode("/proc/self/ns/net")
  }

  /// Devices that carry an IPv4 default route.
  static var defaultRouteDevices: Set<String> {
    // Iface Destination Gateway Flags RefCnt Use Metric Mask ...: a default route has destination and mask zero.
    let lines = contents(of: "/proc/net/route").split(separator: "\n").dropFirst()
    let fields = lines.map { $0.split(whereSeparator: { $0 == "\t" || $0 == " " }) }
    return Set(
      fields.filter { $0.count > 7 && $0[1] == "00000000" && $0[7] == "00000000" }.map { String($0[0]) })
  }

  private static func inode(_ path: String) -> UInt64? {
    var facts = stat()
    return stat(path, &facts) == 0 ? UInt64(facts.st_ino) : nil
  }

  /// The text of a file; empty where it cannot be read.
  static func contents(of path: String) -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while case let count = read(file, &chunk, chunk.count), count > 0 { bytes += chunk[..<count] }
    return String(decoding: bytes, as: UTF8.self)
  }
}
