import Foundation
import Lab
import Testing

/// How the inside of R2 is known outside: over IPv4, and over IPv6 beside it.
enum Way: String, CaseIterable, CustomTestStringConvertible {
  /// By the gateway's address, through the lab's forwards and masquerade.
  case ipv4
  /// By its own addresses, through pinholes.
  case routed
  /// By those of another prefix, through pinholes too.
  case prefix
  /// By the gateway's address, through forwards and masquerade.
  case masqueraded

  var testDescription: String { rawValue }

  /// Whether clients see the gateway's address, and ports of its own.
  var isTranslated: Bool { self == .ipv4 || self == .masqueraded }

  // MARK: - Addresses

  var client: String { self == .ipv4 ? LabNetwork.client : "2001:db8:1::7" }
  var gatewayOutside: String { self == .ipv4 ? LabNetwork.gatewayOutside : "2001:db8:1::1" }
  /// An address of the outside network that nobody has.
  var nobody: String { self == .ipv4 ? "203.0.113.6" : "2001:db8:1::6" }
  var gatewayInside: String { self == .ipv4 ? LabNetwork.gatewayInside : inside + "1" }
  var server: String { self == .ipv4 ? LabNetwork.server : inside + "10" }
  /// The target of the whole-host forward.
  var wholeHost: String { self == .ipv4 ? LabNetwork.wholeHost : inside + "20" }
  /// What clients reach the server by, and what its own clients come from.
  var outside: String {
    switch self {
    case .ipv4, .masqueraded: gatewayOutside
    case .routed: server
    // What the prefixes differ by is taken back in the subnet (RFC 6296 section 3.4).
    case .prefix: "2001:db8:b:d546::10"
    }
  }
  var wholeHostOutside: String {
    switch self {
    case .ipv4: LabNetwork.wholeHostOutside
    case .routed, .masqueraded: wholeHost
    case .prefix: "2001:db8:b:d546::20"
    }
  }

  private var inside: String { self == .prefix ? "fd01:203:405:1::" : "2001:db8:2::" }

  /// "203.0.113.1" and "[2001:db8:1::1]": what ports stand behind.
  static func host(_ address: String) -> String { address.contains(":") ? "[\(address)]" : address }

  /// A port of `outside`.
  func at(_ port: Int) -> String { "\(Self.host(outside)):\(port)" }

  // MARK: - Forwards

  /// Where HTTP is served for clients, with its port.
  var web: String { at(isTranslated ? 80 : 8080) }
  /// Where a range of four ports begins for clients; it is 9100-9103 inside.
  var range: Int { isTranslated ? 9000 : 9100 }

  /// As many bytes as over IPv4, or a tenth where nobody has much time: the ways differ in headers, not in bulk.
  func bulk(_ count: Int) -> Int { self == .ipv4 || isLong ? count : count / 10 }

  /// The lab's configuration, with IPv6 beside IPv4.
  ///
  /// - Parameter helper: FTP's, at port 21 and for inside hosts.
  func configuration(helper: Bool = false) -> String {
    let help = helper ? "helper = \"ftp\"\n" : ""
    let masquerade = "from = \"lan\"\nto   = \"wan\"\n"
    let ftp = helper ? forward("ftp", "21", to: server) + help : ""
    if self == .ipv4 { return LabNetwork.configuration.replacing(masquerade, with: masquerade + help) + ftp }
    let own = self == .masqueraded ? "external = \"\(gatewayOutside)\"\n" : ""
    var text = LabNetwork.configuration
      .replacing("[\"203.0.113.1/24\"]", with: "[\"203.0.113.1/24\", \"\(gatewayOutside)/64\"]")
      .replacing("[\"192.168.1.1/24\"]", with: "[\"192.168.1.1/24\", \"\(gatewayInside)/64\"]")
      .replacing(masquerade, with: masquerade + own + help)
    if self == .prefix {
      text += """

        [[prefix-translation]]
        on      = "wan"
        inside  = "fd01:203:405::/48"
        outside = "2001:db8:b::/48"

        """
    }
    text += forward("six-web", isTranslated ? "80" : "8080", to: isTranslated ? "[\(server)]:8080" : server)
    text += forward("six-list", "8820, 8840, 5201", to: server, protocols: "tcp+udp")
    text += forward(
      "six-range", "\(range)-\(range + 3)", to: isTranslated ? "[\(server)]:9100-9103" : server)
    text += forward("six-echo", "7007", to: server, protocols: "udp")
    text += forward("six-host", "all", to: wholeHost, protocols: "any", isWhole: true)
    return text + ftp
  }

  private func forward(
    _ name: String, _ ports: String, to target: String, protocols: String = "tcp", isWhole: Bool = false
  ) -> String {
    let place = self == .masqueraded && !isWhole ? "external = \"\(gatewayOutside)\"" : "on       = \"wan\""
    return """

      [[forward]]
      name     = "\(name)"
      protocol = "\(protocols)"
      \(place)
      ports    = "\(ports)"
      to       = "\(target)"

      """
  }

  // MARK: - The rig

  /// A rig with this configuration, addresses and routes at both ends, and neighbours that know one another.
  func with(
    _ purpose: String, _ shape: LabNetwork.Shape = .init(), helper: Bool = false, workers: Int = Rig.usualWorkers,
    _ body: (Rig) throws -> Void
  ) throws {
    let configuration = configuration(helper: helper)
    let text = workers == 1 ? configuration : Rig.with(workers: workers, configuration)
    try Rig.with(purpose, shape, forwarder: .sluice(text)) { rig in
      if self != .ipv4 { try addAddresses(to: rig) }
      // The first packets wait for neighbours: not among what is counted. Each ping ends with the first answer.
      _ = try rig.shell(.server, "ping -n -c 1 -i 0.2 -w 20 \(client)")
      _ = try rig.shell(.client, "ping -n -c 1 -i 0.2 -w 20 \(wholeHostOutside)")
      try body(rig)
    }
  }

  private func addAddresses(to rig: Rig) throws {
    for (place, addresses, router) in [
      (LabNetwork.Place.client, [client], gatewayOutside), (.server, [wholeHost, server], gatewayInside),
    ] {
      var script = "set -e"
      for address in addresses { script += "; ip -6 address add \(address)/64 dev eth0 nodad" }
      script += "; ip -6 route add default via \(router) src \(addresses.last!)"
      _ = try rig.shell(place, script)
    }
  }
}
