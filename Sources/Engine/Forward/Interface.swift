/// An interface as the slow path sees it.
struct Interface {
  let plan: InterfacePlan
  let isOutside: Bool
  let mtu: UInt32
  /// The largest MSS of TCP connections that begin through here; nil: as they say.
  let clampMSS: UInt16?
  let header: LinkHeader
  /// Raw, see `UnsafeMutableRawPointer.rawMAC`.
  let mac: UInt64
  /// Outside addresses of forwards inside this interface's prefixes, besides its own: answered for by ARP. Raw.
  let externals: Set<UInt32>

  init(_ plan: InterfacePlan, externals: Set<UInt32>) {
    self.plan = plan
    self.externals = externals
    isOutside = plan.role == .outside
    mtu = UInt32(clamping: plan.mtu ?? 1500)
    clampMSS =
      switch plan.clampMSS {
      case .mtu: UInt16(clamping: Int(mtu) - 40)
      case .bytes(let bytes): UInt16(clamping: bytes)
      case nil: nil
      }
    mac = plan.mac?.raw ?? 0
    header = LinkHeader(mac: mac, tags: plan.tags, link: plan.link)
  }

  /// Source of the frames that we make on this interface, raw.
  var firstAddress: UInt32? { plan.addresses.first?.address.wire }

  func owns(_ address: UInt32) -> Bool {
    externals.contains(address) || plan.addresses.contains { $0.address.wire == address }
  }

  /// The prefix that an address is on the link by.
  func prefix(of address: IPv4Address) -> IPv4Prefix? { plan.addresses.first { $0.contains(address) } }

  /// Network or directed broadcast address of one of the prefixes.
  func isBroadcast(_ address: IPv4Address) -> Bool {
    plan.addresses.contains { $0.length <= 30 && ($0.network == address || $0.last == address) }
  }
}
