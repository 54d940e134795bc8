import Glibc

/// client - gateway - server: three network namespaces and two veth links, real kernel TCP stacks at both ends.
///
///     client                      gateway                          server
///     eth0 ======== outside ==== wan0    lan0 ==== inside ======== eth0
///     203.0.113.10        203.0.113.1    192.168.1.1       192.168.1.10, .20
///
/// The server is the inside host. The gateway's devices carry no kernel address: in `dedicated` mode sluice answers ARP
/// itself. Everything is made by running `ip`; namespaces are entered by `ip netns exec`, never by this process.
package struct LabNetwork: Sendable {
  package enum Place: String, Sendable, CaseIterable {
    case client, gateway, server
  }

  /// What a network may differ in.
  package struct Shape: Sendable {
    /// Checksum and segmentation offloads on every device, as veth has them by default.
    package var offloads = true
    /// MTU of the gateway's devices; the hosts' stay at 1500, so that only path MTU discovery tells them.
    package var wanMTU = 1500
    package var lanMTU = 1500
    package init() {}
  }

  package static let client = "203.0.113.10"
  package static let gatewayOutside = "203.0.113.1"
  /// An address of the gateway's outside network that belongs to a whole-host forward.
  package static let wholeHostOutside = "203.0.113.5"
  package static let gatewayInside = "192.168.1.1"
  package static let server = "192.168.1.10"
  /// The server's second address: the target of the whole-host forward.
  package static let wholeHost = "192.168.1.20"

  /// Fixed, so that captures read well and raw frames can be addressed.
  package static let clientMAC = "02:00:00:00:01:10"
  package static let wanMAC = "02:00:00:00:01:01"
  package static let lanMAC = "02:00:00:00:02:01"
  package static let serverMAC = "02:00:00:00:02:10"

  /// Tells this network from others on the machine; part of every name.
  package let id: String

  /// A network that lives until somebody takes it down by its name.
  package init(name: String) throws(LabError) {
    let allowed = name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    guard allowed, (1...32).contains(name.count), Self.owner(ofID: name) == nil else {
      throw LabError(
        "\(name.shellQuoted) cannot name a lab: up to 32 letters, digits and hyphens would, not 'pid' and a number")
    }
    id = name
  }

  /// A network that belongs to this process: once the process is gone, the next lab removes what it left.
  package init(ownedFor purpose: String) {
    id = "pid\(getpid())-\(purpose)"
  }

  init(id: String) { self.id = id }

  /// The process that a network of this id belongs to; nil if it lives until it is taken down.
  static func owner(ofID id: String) -> pid_t? {
    guard id.hasPrefix("pid") else { return nil }
    return pid_t(id.dropFirst(3).prefix { $0.isNumber })
  }

  package func namespace(_ place: Place) -> String { "sluice-\(id)-\(place.rawValue)" }

  /// Small files of this network: configuration, control socket, captures. Gone with it.
  package var folder: String { "/run/sluice-\(id)" }

  /// The file that its gateway keeps its sessions in; gone with it.
  package var statePath: String { "/dev/shm/sluice-\(id).state" }

  /// The command that runs `argv` inside a namespace.
  package func command(in place: Place, _ argv: [String]) -> [String] {
    ["ip", "netns", "exec", namespace(place)] + argv
  }

  /// Runs a program inside a namespace to its end.
  @discardableResult
  package func run(in place: Place, _ argv: [String], seconds: Double = 10) throws -> Outcome {
    try Lab.run(command(in: place, argv), seconds: seconds)
  }

  /// Runs a program inside a namespace that has to succeed, and returns what it wrote to standard output.
  @discardableResult
  package func demand(in place: Place, _ argv: [String], seconds: Double = 10) throws -> String {
    try Lab.demand(command(in: place, argv), seconds: seconds)
  }

  /// Starts a program inside a namespace.
  /// - Parameter log: a file that takes its output, for programs that outlive this process.
  package func start(in place: Place, _ argv: [String], log: String? = nil) throws -> Child {
    try Child(command(in: place, argv), log: log)
  }

  // MARK: - Up and down

  /// Whether any namespace of this network exists.
  package var exists: Bool {
    Place.allCases.contains { access("/run/netns/\(namespace($0))", F_OK) == 0 }
  }

  /// Makes the namespaces, links, addresses and routes; half of it is never left behind.
  package func up(_ shape: Shape = Shape()) throws {
    try Self.demandPrivileges()
    guard !exists else {
      throw LabError("lab \(id) is up already; `sluice lab down --name \(id)` takes it down")
    }
    do {
      guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
        throw LabError("cannot make \(folder): \(String(cString: strerror(errno)))")
      }
      for place in Place.allCases { try makeNamespace(place) }
      try makeLink(from: .gateway, device: "wan0", mac: Self.wanMAC, to: .client, peerMAC: Self.clientMAC)
      try makeLink(from: .gateway, device: "lan0", mac: Self.lanMAC, to: .server, peerMAC: Self.serverMAC)
      try ip(.gateway, "link set wan0 mtu \(shape.wanMTU)")
      try ip(.gateway, "link set lan0 mtu \(shape.lanMTU)")
      if !shape.offloads { try switchOffloadsOff() }
      try ip(.client, "address add \(Self.client)/24 dev eth0")
      try ip(.client, "route add default via \(Self.gatewayOutside)")
      try ip(.server, "address add \(Self.server)/24 dev eth0")
      try ip(.server, "address add \(Self.wholeHost)/24 dev eth0")
      try ip(.server, "route add default via \(Self.gatewayInside) src \(Self.server)")
    } catch {
      down()
      throw error
    }
  }

  /// Ends every process in the namespaces and removes them, whatever state they are in. Harmless if there is nothing.
  package func down() {
    for place in Place.allCases {
      let name = namespace(place)
      guard access("/run/netns/\(name)", F_OK) == 0 else { continue }
      // A process that lives in a namespace keeps it, and its devices, after its name is gone.
      for pid in Self.processes(inNamespace: name) { kill(pid, SIGKILL) }
      for argv in [["ip", "netns", "delete", name], ["umount", "-l", "/run/netns/\(name)"]] {
        guard access("/run/netns/\(name)", F_OK) == 0, let child = try? Child(argv) else { continue }
        child.stop(signal: 0, seconds: 10)  // signal 0 only waits: clean-up goes on when we are interrupted
      }
      unlink("/run/netns/\(name)")
    }
    for file in Self.entries(of: folder) { unlink("\(folder)/\(file)") }
    rmdir(folder)
    for suffix in ["", ".new", ".lock"] { unlink(statePath + suffix) }
  }

  private func makeNamespace(_ place: Place) throws {
    try Lab.demand(["ip", "netns", "add", namespace(place)])
    try ip(place, "link set lo up")
  }

  private func makeLink(from near: Place, device: String, mac: String, to far: Place, peerMAC: String) throws {
    try Lab.demand(
      [
        "ip", "link", "add", "name", device, "address", mac, "netns", namespace(near),
        "type", "veth", "peer", "name", "eth0", "address", peerMAC, "netns", namespace(far),
      ])
    for (place, name) in [(near, device), (far, "eth0")] {
      // No link-local address: no router solicitations or duplicate address detection among the frames we count.
      // Fails where the kernel has no IPv6, which does as well.
      try run(in: place, ["ip", "link", "set", "dev", name, "addrgenmode", "none"])
      try ip(place, "link set dev \(name) up")
    }
  }

  private func switchOffloadsOff() throws {
    let devices: [(Place, String)] = [(.client, "eth0"), (.gateway, "wan0"), (.gateway, "lan0"), (.server, "eth0")]
    let features = ["rx", "tx", "sg", "tso", "gso", "gro"].flatMap { [$0, "off"] }
    for (place, device) in devices {
      try demand(in: place, ["ethtool", "-K", device] + features)
    }
  }

  private func ip(_ place: Place, _ words: String) throws {
    try Lab.demand(["ip", "-n", namespace(place)] + words.split(separator: " ").map(String.init))
  }
}
