/// The addresses of IPv6 mappings: a side line of 32 bytes for each mapping place, written before the mapping can be found
/// and never changed.
///
///     offset  0  inside address  16 bytes
///            16  remote address  16 bytes; unspecified where the mapping is endpoint-independent
///
/// In the mapping's own line a keyed digest stands in the place of inside and remote address, whose low half is of the
/// inside address alone, as `HostTable` counts it; and the outside address is a number, see `IPv6Address.number`. So
/// mappings, ports and hosts of both families are found, kept and given back by the same means.
struct MappingSides {
  static let bytes = 32

  struct Line: Equatable {
    var inside: IPv6Address
    var remote = IPv6Address.unspecified
  }

  /// First byte of the line of place 0; of no meaning where the region has none.
  let start: UnsafeMutableRawPointer

  subscript(mapping: UInt32) -> Line {
    get {
      let line = start + Int(mapping) &* Self.bytes
      return Line(inside: IPv6Address(at: line), remote: IPv6Address(at: line + 16))
    }
    nonmutating set {
      let line = start + Int(mapping) &* Self.bytes
      newValue.inside.put(at: line)
      newValue.remote.put(at: line + 16)
    }
  }
}

/// The uppermost byte of a mapping's inside key: of IPv6 it says who shares the mapping too.
enum MappingKind {
  static let ipv4: UInt8 = 1
  private static let firstIPv6: UInt8 = 4
  private static let rules = EndpointRule.allCases

  static func ipv6(_ rule: EndpointRule) -> UInt8 {
    firstIPv6 &+ UInt8(truncatingIfNeeded: rules.firstIndex(of: rule) ?? 0)
  }

  static func isIPv6(_ kind: UInt8) -> Bool { kind >= firstIPv6 && kind < firstIPv6 &+ UInt8(rules.count) }

  static func rule(_ kind: UInt8) -> EndpointRule {
    isIPv6(kind) ? rules[Int(kind &- firstIPv6)] : .endpointIndependent
  }
}

extension MappingLine {
  var isIPv6: Bool { MappingKind.isIPv6(kind) }
}

extension MappingTable {
  /// The key of an inside endpoint of IPv6. `ports` as for IPv4.
  func insideKey(
    _ line: MappingSides.Line, ports: UInt64, pool: UInt16, ipProtocol: UInt8, rule: EndpointRule
  ) -> FlowKey {
    let host = UInt64(secret.host(line.inside))
    let rest = secret.digest(line.inside) ^ (line.remote == .unspecified ? 0 : secret.digest(line.remote))
    return Self.insideKey(
      addresses: rest & ~0xFFFF_FFFF | host, ports: ports, pool: pool, ipProtocol: ipProtocol,
      kind: MappingKind.ipv6(rule))
  }
}

extension HashSecret {
  /// What an IPv6 address is in the place of an IPv4 address, where nothing depends on its being the only one: as a host
  /// that is counted, or as a remote address that is looked at itself then. Never 0.
  func host(_ address: IPv6Address) -> UInt32 { UInt32(truncatingIfNeeded: digest(address)) | 1 }
}

extension IPv6Address {
  /// What stands for an outside address of ours where IPv4's stand, raw: one of 240.0.0.0/4, which no interface can have.
  /// The same for each engine, so that tables which outlive one are still right. Rules with two addresses of one number
  /// are refused.
  var number: UInt32 { UInt32(truncatingIfNeeded: SplitMix64.mix(high ^ SplitMix64.mix(low))) | 0xF0 }
}
