/// Where an IPv6 destination is reached: longest prefix first, then the order of the file. Slow path only.
struct RouteTable6 {
  struct Hop {
    var interface: Int
    /// The next hop's address.
    var address: IPv6Address
  }

  private struct Route {
    var destination: IPv6Prefix
    /// nil: on the link itself.
    var via: IPv6Address?
    var interface: Int
  }

  /// Ordered by prefix length, longest first. Without link-local prefixes, which are on every link.
  private let routes: UnsafeBufferPointer<Route>

  init(_ plan: Plan) {
    let everywhere = IPv6Prefix(.unspecified, length: 0)
    var routes: [Route] = []
    for (index, interface) in plan.interfaces.enumerated() {
      for prefix in interface.addresses6 where !prefix.address.isLinkLocal {
        routes.append(Route(destination: prefix, via: nil, interface: index))
      }
    }
    routes += plan.routes6.map { Route(destination: $0.destination, via: $0.via, interface: $0.interface) }
    for (index, interface) in plan.interfaces.enumerated() where !interface.addresses6.isEmpty {
      routes += interface.gateways6.map { Route(destination: everywhere, via: $0, interface: index) }
      // A link without addresses (tun, WireGuard) reaches everything behind it, if nothing else does.
      if interface.link == .rawIP, interface.role == .outside, interface.gateways6.isEmpty {
        routes.append(Route(destination: everywhere, via: nil, interface: index))
      }
    }
    let sorted = routes.enumerated().sorted {
      ($1.element.destination.length, $0.offset) < ($0.element.destination.length, $1.offset)
    }
    self.routes = UnsafeBufferPointer(copying: sorted.map(\.element))
  }

  func release() { routes.deallocate() }

  func find(_ destination: IPv6Address) -> Hop? {
    for route in routes where route.destination.contains(destination) {
      return Hop(interface: route.interface, address: route.via ?? destination)
    }
    return nil
  }

  /// The way over one given interface: for replies, which leave by the interface of arrival.
  func find(_ destination: IPv6Address, over interface: Int) -> Hop? {
    if destination.isLinkLocal { return Hop(interface: interface, address: destination) }
    for route in routes where route.interface == interface && route.destination.contains(destination) {
      return Hop(interface: interface, address: route.via ?? destination)
    }
    return nil
  }
}
