import PacketTestKit

/// What the model is set to do, in the words of the configuration file, and the file itself (`toml`).
///
/// The model reads this, the engine reads the file: nothing of the way from text to plan is shared.
package struct Setup: Sendable {
  package struct Interface: Sendable {
    package var name: String
    package var isOutside: Bool
    package var addresses: [Host]
    package var prefixLength: Int
    package var gateway: Host?
    package var mtu = 1500
    package var ping: Bool
    /// `unsolicited = "unreachable"`.
    package var isFrank = false

    package init(_ name: String, outside: Bool, _ addresses: [Host], _ prefixLength: Int, gateway: Host? = nil) {
      self.name = name
      isOutside = outside
      self.addresses = addresses
      self.prefixLength = prefixLength
      self.gateway = gateway
      ping = !outside
    }

    package var station: Station { .of(addresses[0]) }
    func holds(_ host: Host) -> Bool { Prefix(addresses[0], prefixLength).contains(host) }
  }

  package struct Prefix: Sendable, CustomStringConvertible {
    package var host: Host
    package var length: Int

    package init(_ host: Host, _ length: Int) {
      let mask: UInt32 = length == 0 ? 0 : ~0 << UInt32(32 - length)
      self.host = Host(number: host.number & mask)
      self.length = length
    }

    package func contains(_ other: Host) -> Bool { Prefix(other, length).host == host }
    package var description: String { "\(host)/\(length)" }
  }

  package enum Kind: String, CaseIterable, Sendable { case tcp, udp, echo }

  package struct Forward: Sendable {
    package var name: String
    package var kinds: Set<Kind>
    /// `on` this interface, or `external`, one address.
    package var on = "wan"
    package var external: Host?
    /// External port to target port, in the order of the file; nil is a whole host.
    package var ports: [(from: UInt16, to: UInt16)]?
    package var except: [UInt16] = []
    package var target: Host
    /// `source = "gateway"`.
    package var hidesClient = false
    package var allow: [Prefix] = [Prefix("0.0.0.0", 0)]
    package var deny: [Prefix] = []
    package var hairpin = true
    package var isEnabled = true

    package init(_ name: String, _ kinds: Set<Kind>, ports: [(UInt16, UInt16)]?, to target: Host) {
      self.name = name
      self.kinds = kinds
      self.ports = ports?.map { (from: $0.0, to: $0.1) }
      self.target = target
    }

    /// The target port of an external one.
    package func targetPort(of port: UInt16) -> UInt16? {
      guard port > 0, !except.contains(port) else { return nil }
      return ports.map { $0.first { $0.from == port }?.to } ?? port
    }

    var isOneToOne: Bool { ports.map { Set($0.map(\.to)).count == $0.count } ?? true }
  }

  package enum Rule: String, CaseIterable, Sendable {
    case endpointIndependent = "endpoint-independent"
    case addressDependent = "address-dependent"
    case addressAndPortDependent = "address-and-port-dependent"

    /// True where, by this rule, an endpoint is as good as one that is known.
    func matches(_ remote: Peer, _ known: Peer) -> Bool {
      switch self {
      case .endpointIndependent: true
      case .addressDependent: remote.host == known.host
      case .addressAndPortDependent: remote == known
      }
    }
  }

  package struct Masquerade: Sendable {
    package var from: String
    package var to: String
    package var pool: ClosedRange<UInt16> = 1...65535
    package var mapping = Rule.endpointIndependent
    package var filtering = Rule.addressDependent
    /// A pool in place of the interface's first address.
    package var externals: [Host] = []
    /// Destinations that are not translated.
    package var except: [Prefix] = []

    package init(from: String, to: String) {
      self.from = from
      self.to = to
    }
  }

  package var interfaces: [Interface] = []
  package var routes: [(to: Prefix, via: Host)] = []
  package var forwards: [Forward] = []
  package var masquerades: [Masquerade] = []
  /// Seconds.
  package var (udp, dns, established, transitory, icmp, fragment) = (300, 10, 7440, 240, 60, 15)
  /// Every host of the play that is somebody's neighbour.
  package var neighbors: [Host] = []

  package init() {}

  // MARK: Questions

  package func index(_ name: String) -> Int { interfaces.firstIndex { $0.name == name }! }

  /// The interface that an outside address of ours lives on; nil where it is none of ours.
  package func home(of host: Host) -> Int? {
    if let own = interfaces.firstIndex(where: { $0.addresses.contains(host) }) { return own }
    guard
      forwards.contains(where: { $0.isEnabled && $0.external == host })
        || masquerades.contains(where: { $0.externals.contains(host) })
    else { return nil }
    return interfaces.firstIndex { $0.isOutside && $0.holds(host) }
  }

  /// Longest prefix first, then the order of the file. With `only`, the way there by one interface.
  package func route(to host: Host, only: Int? = nil) -> (interface: Int, nextHop: Host)? {
    var best: (interface: Int, nextHop: Host, length: Int)?
    func offer(_ interface: Int, _ nextHop: Host, _ length: Int) {
      if only ?? interface == interface, length > best?.length ?? -1 { best = (interface, nextHop, length) }
    }
    for (index, interface) in interfaces.enumerated() where interface.holds(host) {
      offer(index, host, interface.prefixLength)
    }
    for route in routes where route.to.contains(host) {
      offer(interfaces.firstIndex { $0.holds(route.via) }!, route.via, route.to.length)
    }
    for (index, interface) in interfaces.enumerated() { interface.gateway.map { offer(index, $0, 0) } }
    return best.map { ($0.interface, $0.nextHop) }
  }

  /// The forward that an outside endpoint belongs to: a narrower one wins over a whole host.
  package func forward(_ kind: Kind, _ outside: Peer) -> Forward? {
    let matching = forwards.filter {
      $0.isEnabled && $0.kinds.contains(kind) && covers($0, outside.host)
        && (kind == .echo ? $0.ports == nil : $0.targetPort(of: outside.port) != nil)
    }
    return matching.first { $0.ports != nil } ?? matching.first
  }

  func covers(_ forward: Forward, _ host: Host) -> Bool {
    forward.external.map { $0 == host } ?? interfaces[index(forward.on)].addresses.contains(host)
  }

  func homeInterface(of forward: Forward) -> Int { forward.external.flatMap { home(of: $0) } ?? index(forward.on) }

  // MARK: The file

  package var toml: String {
    var text = ""
    for interface in interfaces {
      text += """
        [interface.\(interface.name)]
        role = "\(interface.isOutside ? "outside" : "inside")"
        device = "\(interface.name)0"
        address = \(Self.list(interface.addresses.map { "\($0)/\(interface.prefixLength)" }))
        mac = "\(interface.station)"
        mtu = \(interface.mtu)
        ping = \(interface.ping)
        unsolicited = "\(interface.isFrank ? "unreachable" : "silent")"

        """
      if let gateway = interface.gateway { text += "gateway = [\"\(gateway)\"]\n" }
    }
    for route in routes { text += "[[route]]\ndestination = \"\(route.to)\"\nvia = \"\(route.via)\"\n" }
    for host in neighbors { text += "[[neighbor]]\naddress = \"\(host)\"\nmac = \"\(Station.of(host))\"\n" }
    forwards.forEach { text += lines($0) }
    for masquerade in masquerades {
      text += """
        [[masquerade]]
        from = "\(masquerade.from)"
        to = "\(masquerade.to)"
        ports = "\(masquerade.pool.lowerBound)-\(masquerade.pool.upperBound)"
        mapping = "\(masquerade.mapping.rawValue)"
        filtering = "\(masquerade.filtering.rawValue)"
        except = \(Self.list(masquerade.except))

        """
      if !masquerade.externals.isEmpty { text += "external = \(Self.list(masquerade.externals))\n" }
    }
    return text + """
      [timeouts]
      udp = "\(udp)s"
      udp-dns = "\(dns)s"
      tcp-established = "\(established)s"
      tcp-transitory = "\(transitory)s"
      icmp = "\(icmp)s"
      fragment = "\(fragment)s"

      """
  }

  private static func list<T>(_ items: [T]) -> String {
    "[" + items.map { "\"\($0)\"" }.joined(separator: ", ") + "]"
  }

  private func lines(_ forward: Forward) -> String {
    let kinds = forward.kinds.contains(.echo) ? "any" : forward.kinds.map(\.rawValue).sorted().joined(separator: "+")
    var text = "[[forward]]\nname = \"\(forward.name)\"\nprotocol = \"\(kinds)\"\n"
    text += forward.external.map { "external = \"\($0)\"\n" } ?? "on = \"\(forward.on)\"\n"
    var target = "\(forward.target)"
    if let ports = forward.ports {
      text += "ports = \"\(ports.map { "\($0.from)" }.joined(separator: ", "))\"\n"
      let to = ports.map(\.to)
      if to != ports.map(\.from) { target += ":\(to.min()!)" + (to.min() == to.max() ? "" : "-\(to.max()!)") }
    } else {
      text += "ports = \"all\"\n"
      if !forward.except.isEmpty {
        text += "except = \"\(forward.except.map { "\($0)" }.joined(separator: ", "))\"\n"
      }
    }
    return text + """
      to = "\(target)"
      source = "\(forward.hidesClient ? "gateway" : "preserve")"
      allow = \(Self.list(forward.allow))
      deny = \(Self.list(forward.deny))
      hairpin = \(forward.hairpin)
      enabled = \(forward.isEnabled)

      """
  }
}
