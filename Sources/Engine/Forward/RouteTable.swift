/// Where a destination is reached: longest prefix first, then the order of the file. Slow path only.
struct RouteTable {
  struct Route {
    var destination: IPv4Prefix
    /// nil: on the link itself.
    var via: IPv4Address?
    var interface: Int
  }

  /// Ordered by prefix length, longest first.
  private let routes: UnsafeBufferPointer<Route>

  init(_ plan: Plan) {
    var routes: [Route] = []
    for (index, interface) in plan.interfaces.enumerated() {
      for address in interface.addresses where address.length > 0 {
        routes.append(Route(destination: address, via: nil, interface: index))
      }
    }
    for route in plan.routes {
      routes.append(Route(destination: route.destination, via: route.via, interface: route.interface))
    }
    for (index, interface) in plan.interfaces.enumerated() {
      for gateway in interface.gateways {
        routes.append(
          Route(destination: IPv4Prefix(IPv4Address(0), length: 0), via: gateway, interface: index))
      }
      // A link without addresses (tun, WireGuard) reaches everything behind it, if nothing else does.
      if interface.link == .rawIP, interface.role == .outside, interface.gateways.isEmpty {
        routes.append(Route(destination: IPv4Prefix(IPv4Address(0), length: 0), via: nil, interface: index))
      }
    }
    let sorted = routes.enumerated().sorted {
      ($1.element.destination.length, $0.offset) < ($0.element.destination.length, $1.offset)
    }
    self.routes = UnsafeBufferPointer(copying: sorted.map(\.element))
  }

  func release() { routes.deallocate() }

  struct Hop {
    var interface: Int
    /// The next hop's address.
    var address: IPv4Address
  }

  func find(_ destination: IPv4Address) -> Hop? {
    for route in routes where route.destination.contains(destination) {
      return Hop(interface: route.interface, address: route.via ?? destination)
    }
    return nil
  }

  /// The way over one given interface: for replies, which leave by the interface of arrival.
  func find(_ destination: IPv4Address, over interface: Int) -> Hop? {
    for route in routes where route.interface == interface && route.destination.contains(destination) {
      return Hop(interface: interface, address: route.via ?? destination)
    }
    return nil
  }
}
