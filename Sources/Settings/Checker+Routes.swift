import Engine

extension Checker {
  /// `[[route]]`: none by default.
  mutating func readRoutes(_ node: Node?) {
    var lines: [IPv4Prefix: Int] = [:]
    var lines6: [IPv6Prefix: Int] = [:]
    for element in elements(of: node, name: "route") {
      let part = SettingsFile.Part.route(plan.routes.count)
      guard let fields = fields(of: element, title: "[[route]]", keys: ["destination", "via"], places: part) else {
        continue
      }
      let hasBoth = [
        require("destination", in: fields, "destination = \"10.0.0.0/8\""),
        require("via", in: fields, "via = \"192.168.1.254\", the next router"),
      ]
      if let via = fields["via"], case .string(let text) = via.value, text.contains(":") {
        readRoute6(fields, &lines6)
        continue
      }
      let destination = routeDestination(fields, &lines)
      let interface = nextHop(fields)
      guard !hasBoth.contains(false), let destination, let (via, interface) = interface else {
        areRoutesKnown = false
        continue
      }
      plan.routes.append(RoutePlan(destination: destination, via: via, interface: interface))
    }
  }

  private mutating func routeDestination(_ fields: Fields, _ lines: inout [IPv4Prefix: Int]) -> IPv4Prefix? {
    guard let piece = string(fields, "destination", like: "\"10.0.0.0/8\"") else { return nil }
    guard let prefix = IPv4Prefix(piece.text) else {
      fail(piece, "\(quoted(piece.text)) is no prefix; write it like destination = \"10.0.0.0/8\"")
      return nil
    }
    guard prefix.address == prefix.network else {
      fail(piece, "\(prefix) has bits below its length; write \"\(prefix.networkPrefix)\", or \"\(prefix.address)/32\"")
      return nil
    }
    if let line = lines[prefix] {
      fail(piece, "there is a route to \(prefix) already (line \(line)); leave one of the two")
      return nil
    }
    lines[prefix] = fields.place.line
    return prefix
  }

  private mutating func nextHop(_ fields: Fields) -> (IPv4Address, Int)? {
    guard let piece = string(fields, "via", like: "\"192.168.1.254\"") else { return nil }
    guard let address = IPv4Address(piece.text) else {
      fail(piece, "\(quoted(piece.text)) is no address; write the next router's, like via = \"192.168.1.254\"")
      return nil
    }
    return neighborInterface(address, piece, "via").map { (address, $0) }
  }

  /// `[[neighbor]]`: none by default; the interface follows from the address.
  mutating func readNeighbors(_ node: Node?) {
    var lines: [IPv4Address: Int] = [:]
    var lines6: [NeighborKey6: Int] = [:]
    for element in elements(of: node, name: "neighbor") {
      let part = SettingsFile.Part.neighbor(plan.neighbors.count)
      guard let fields = fields(of: element, title: "[[neighbor]]", keys: ["address", "mac"], places: part) else {
        continue
      }
      _ = require("address", in: fields, "address = \"192.168.1.10\"")
      _ = require("mac", in: fields, "mac = \"02:00:00:00:00:10\"")
      let mac = mac(fields, "mac")
      guard let piece = string(fields, "address", like: "\"192.168.1.10\"") else { continue }
      if piece.text.contains(":") {
        readNeighbor6(piece, mac, line: fields.place.line, &lines6)
        continue
      }
      guard let address = IPv4Address(piece.text) else {
        fail(piece, "\(quoted(piece.text)) is no address; write a host's, like address = \"192.168.1.10\"")
        continue
      }
      if let line = lines[address] {
        fail(piece, "\(address) has an entry already (line \(line)); leave one of the two")
        continue
      }
      lines[address] = fields.place.line
      guard let interface = neighborInterface(address, piece, "neighbor"), let mac else { continue }
      plan.neighbors.append(NeighborPlan(address: address, mac: mac, interface: interface))
    }
  }

  enum Egress: Equatable {
    case interface(Int)
    case none
    /// Depends on addresses or routes that are not known.
    case unknown
  }

  /// The interface by which packets to `address` leave: the longest of interface prefixes, routes and default gateways.
  func egress(to address: IPv4Address) -> Egress {
    for (index, interface) in plan.interfaces.enumerated()
    where interface.addresses.contains(where: { $0.contains(address) }) {
      // A route may be narrower than the interface's prefix.
      let connected = interface.addresses.filter { $0.contains(address) }.map(\.length).max() ?? 0
      let route = plan.routes.filter { $0.destination.contains(address) && $0.destination.length > connected }
      guard areRoutesKnown else { return .unknown }
      return .interface(route.max { $0.destination.length < $1.destination.length }?.interface ?? index)
    }
    guard areRoutesKnown, notes.allSatisfy(\.areAddressesKnown) else { return .unknown }
    let routes = plan.routes.filter { $0.destination.contains(address) }
    if let best = routes.max(by: { $0.destination.length < $1.destination.length }) {
      return .interface(best.interface)
    }
    let gateway = plan.interfaces.firstIndex { !$0.gateways.isEmpty }
    return gateway.map { .interface($0) } ?? .none
  }
}
