/// A forward as a new session asks for it.
struct ForwardRule {
  /// Raw.
  let target: UInt32
  let source: ForwardPlan.Source
  let hairpin: Bool
  let helper: Helper?
  /// The outside interface that it belongs to.
  let interface: Int
  /// Idle times of its sessions.
  let timeouts: TickTimeouts
  private let externals: UnsafeBufferPointer<UInt32>
  private let allow: UnsafeBufferPointer<IPv4Prefix>
  private let deny: UnsafeBufferPointer<IPv4Prefix>

  /// - Parameter externals: its outside addresses, raw.
  init(_ plan: ForwardPlan, externals: [UInt32], _ timeouts: TimeoutPlan) {
    target = plan.target.wire
    source = plan.source
    hairpin = plan.hairpin
    helper = plan.helper
    interface = plan.interface
    self.externals = UnsafeBufferPointer(copying: externals)
    self.timeouts = TickTimeouts(plan.timeouts ?? timeouts)
    allow = UnsafeBufferPointer(copying: plan.allow)
    deny = UnsafeBufferPointer(copying: plan.deny)
  }

  func release() {
    externals.deallocate()
    allow.deallocate()
    deny.deallocate()
  }

  /// `deny` wins over `allow`.
  func allows(_ source: IPv4Address) -> Bool {
    !deny.contains { $0.contains(source) } && allow.contains { $0.contains(source) }
  }

  /// The outside address (raw) that its target sends from: the one in use if the rule has it, else its first.
  func outsideAddress(inUse address: UInt32) -> UInt32? { externals.contains(address) ? address : externals.first }
}

/// A masquerade as a new session asks for it.
struct MasqueradeRule {
  /// Inside and outside interface.
  let from: Int
  let to: Int
  let mapping: EndpointRule
  let filtering: EndpointRule
  let otherProtocols: Bool
  let inboundRefresh: Bool
  let helper: Helper?
  /// Outside ports to choose from.
  let pool: UnsafeBufferPointer<PortRange>
  /// Outside addresses, raw.
  let addresses: UnsafeBufferPointer<UInt32>
  /// The number of its IPv6 address; 0 for none.
  let number6: UInt32
  private let except: UnsafeBufferPointer<IPv4Prefix>

  /// - Parameter own: the outside interface.
  init(_ plan: MasqueradePlan, own: Interface) {
    from = plan.from
    to = plan.to
    mapping = plan.mapping
    filtering = plan.filtering
    otherProtocols = plan.otherProtocols
    inboundRefresh = plan.inboundRefresh
    helper = plan.helper
    pool = UnsafeBufferPointer(copying: plan.pool)
    addresses = UnsafeBufferPointer(
      copying: plan.externals.isEmpty ? own.firstAddress.map { [$0] } ?? [] : plan.externals.map(\.wire))
    number6 = plan.external6?.number ?? 0
    except = UnsafeBufferPointer(copying: plan.except)
  }

  func release() {
    pool.deallocate()
    addresses.deallocate()
    except.deallocate()
  }

  /// The outside address (raw) of an inside host: always the same one of the pool (RFC 4787 REQ-2, "paired").
  func address(of inside: UInt32, _ secret: HashSecret) -> UInt32? {
    guard addresses.count > 1 else { return addresses.first }
    let choice = secret.hash(UInt64(inside), 0x7061_6972)
    return addresses[Int(truncatingIfNeeded: choice % UInt64(addresses.count))]
  }

  /// Whether a destination is sent to without translation.
  func excepts(_ destination: IPv4Address) -> Bool { except.contains { $0.contains(destination) } }
}
