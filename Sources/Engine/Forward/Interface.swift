/// An interface as the slow path sees it: what of the plan is asked for a packet, with nothing to count references to.
struct Interface {
  let isOutside: Bool
  /// No link header, no neighbours.
  let isRawIP: Bool
  /// It answers echo requests to its own addresses.
  let answersEcho: Bool
  /// It tells senders of what nothing is configured for.
  let tellsUnreachable: Bool
  let mtu: UInt32
  /// The largest MSS of TCP connections that begin through here, 65,535 where they may say what they like.
  let clampMSS: UInt16
  /// The same over IPv6, whose header is longer (RFC 6691 section 2).
  let clampMSS6: UInt16
  let header: LinkHeader
  /// Raw, see `UnsafeMutableRawPointer.rawMAC`.
  let mac: UInt64
  /// Its own addresses with their prefixes.
  let prefixes: UnsafeBufferPointer<IPv4Prefix>
  /// Outside addresses of forwards inside this interface's prefixes, besides its own: answered for by ARP.
  let externals: AddressTable

  init(_ plan: InterfacePlan, externals: Set<UInt32>) {
    isOutside = plan.role == .outside
    isRawIP = plan.link == .rawIP
    answersEcho = plan.ping
    tellsUnreachable = plan.unsolicited == .unreachable
    mtu = UInt32(clamping: plan.mtu ?? 1500)
    func clamp(headers: Int) -> UInt16 {
      switch plan.clampMSS {
      case .mtu: UInt16(clamping: (plan.mtu ?? 1500) - headers)
      case .bytes(let bytes): UInt16(clamping: bytes)
      case nil: .max
      }
    }
    clampMSS = clamp(headers: 40)
    clampMSS6 = clamp(headers: 60)
    mac = plan.mac?.raw ?? 0
    header = LinkHeader(mac: mac, tags: plan.tags, link: plan.link)
    prefixes = UnsafeBufferPointer(copying: plan.addresses)
    self.externals = AddressTable([UInt32: Int](uniqueKeysWithValues: externals.map { ($0, 0) }))
  }

  func release() {
    header.release()
    prefixes.deallocate()
    externals.release()
  }

  /// Source of the frames that we make on this interface, raw.
  var firstAddress: UInt32? { prefixes.first?.address.wire }

  /// Whether an address (raw) is its own, not one of a forward.
  func isOwn(_ address: UInt32) -> Bool { prefixes.contains { $0.address.wire == address } }

  func owns(_ address: UInt32) -> Bool { externals.contains(address) || isOwn(address) }

  /// The prefix that an address is on the link by.
  func prefix(of address: IPv4Address) -> IPv4Prefix? { prefixes.first { $0.contains(address) } }
}
