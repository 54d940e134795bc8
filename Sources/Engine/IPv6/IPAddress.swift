/// An address of either family.
public enum IPAddress: Hashable, Sendable, CustomStringConvertible {
  case v4(IPv4Address)
  case v6(IPv6Address)

  public var description: String {
    switch self {
    case .v4(let address): "\(address)"
    case .v6(let address): "\(address)"
    }
  }
}

/// One end of a session: an address with a port (for echo: the identifier, 0 on the answering side).
public struct SessionEnd: Hashable, Sendable, CustomStringConvertible {
  public var address: IPAddress
  public var port: UInt16

  public init(_ address: IPAddress, _ port: UInt16) {
    self.address = address
    self.port = port
  }

  /// "192.0.2.1:80", "[2001:db8::1]:80".
  public var description: String {
    switch address {
    case .v4(let address): "\(address):\(port)"
    case .v6(let address): "[\(address)]:\(port)"
    }
  }
}
