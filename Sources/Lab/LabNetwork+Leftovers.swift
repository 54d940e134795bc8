import Glibc

/// This process may not make network namespaces.
package struct NotPermitted: Error, CustomStringConvertible {
  package var description: String {
    "a lab makes network namespaces, which needs CAP_SYS_ADMIN and CAP_NET_ADMIN: run it as root"
  }
}

extension LabNetwork {
  /// Whether this process may make network namespaces: CAP_SYS_ADMIN (21) and CAP_NET_ADMIN (12), capabilities(7).
  package static var isPermitted: Bool {
    let status = contents(ofFile: "/proc/self/status")
    guard
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
      let effective = UInt64(String(line.dropFirst(7)).trimmed, radix: 16)
    else { return false }
    let needed: UInt64 = 1 << 21 | 1 << 12
    return effective & needed == needed
  }

  static func demandPrivileges() throws {
    guard isPermitted else { throw NotPermitted() }
  }

  /// Every lab on this machine, found by the names of its namespaces, and of the folders of labs that a process owned.
  static var all: [LabNetwork] {
    var ids = entries(of: "/run").filter { $0.hasPrefix("sluice-pid") }.map { String($0.dropFirst(7)) }
    for name in entries(of: "/run/netns") where name.hasPrefix("sluice-") {
      for place in Place.allCases where name.hasSuffix("-\(place.rawValue)") {
        let id = String(name.dropFirst(7).dropLast(place.rawValue.count + 1))
        if !id.isEmpty && !ids.contains(id) { ids.append(id) }
      }
    }
    return ids.map(LabNetwork.init(id:))
  }

  /// Takes down the labs whose owner was killed before it could do so.
  /// - Returns: their ids.
  @discardableResult
  package static func removeLeftovers() -> [String] {
    let dead = all.filter { network in
      guard let owner = owner(ofID: network.id) else { return false }
      return owner <= 0 || (Glibc.kill(owner, 0) != 0 && errno == ESRCH)
    }
    for network in dead { network.down() }
    return dead.map(\.id)
  }

  /// Processes whose network namespace is this one: what `ip netns pids` lists, without a process of its own.
  static func processes(inNamespace name: String) -> [pid_t] {
    var wanted = stat()
    guard stat("/run/netns/\(name)", &wanted) == 0 else { return [] }
    return entries(of: "/proc").compactMap { pid_t($0) }.filter { pid in
      var found = stat()
      return stat("/proc/\(pid)/ns/net", &found) == 0 && found.st_ino == wanted.st_ino && found.st_dev == wanted.st_dev
    }
  }

  /// The names in a folder; none if it cannot be read.
  static func entries(of path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  /// All of a text file; empty if it cannot be read. Files of /proc do not tell their size.
  static func contents(ofFile path: String) -> String {
    guard let file = fopen(path, "re") else { return "" }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Writes a text file into the lab's folder.
  /// - Returns: its path.
  package func write(_ text: String, to name: String) throws -> String {
    let path = "\(folder)/\(name)"
    guard let file = fopen(path, "we") else {
      throw LabError("cannot write \(path): \(String(cString: strerror(errno)))")
    }
    let written = fputs(text, file)
    guard fclose(file) == 0, written >= 0 else { throw LabError("cannot write \(path)") }
    return path
  }
}
