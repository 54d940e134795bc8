import CLinux
import Engine
import Glibc

/// A device as rings are opened on it.
public struct RingLink: Sendable {
  public var device: PacketDevice
  /// The MAC addresses of the interfaces on it; empty on a raw-IP device, or to get what is for others too.
  public var macs: [MACAddress]
  public var peer: Steering.Peer

  public init(device: PacketDevice, macs: [MACAddress], peer: Steering.Peer) {
    self.device = device
    self.macs = macs
    self.peer = peer
  }
}

/// The rings of all workers: how the frames of each link are shared out among them, and with `ring = "auto"` between the two
/// rings of each. The control thread's.
public struct RingSharing: Sendable {
  private let links: [RingLink]
  private let kind: Plan.Ring
  private let geometry: RingGeometry
  /// nil where one socket gets all.
  private var steerings: [Steering?]
  /// For each worker, by link.
  private var switches: [[RingSwitch]] = []
  /// What each worker has now, by link: blocks or slots.
  private var hasBlocks: [[Bool]] = []
  private let rates: RingRates
  /// For each link, how often a worker has changed from slots to blocks or back.
  public private(set) var changes: [Int]
  /// Readable when a worker wants its other ring; -1 where there is none.
  public let descriptor: Int32

  /// - Parameter workers: how many will call `open`.
  public init(
    _ links: [RingLink], kind: Plan.Ring, workers: Int, rates: RingRates = RingRates(),
    geometry: RingGeometry = RingGeometry()
  ) throws(SystemError) {
    self.links = links
    self.kind = kind
    self.rates = rates
    self.geometry = geometry
    changes = links.map { _ in 0 }
    let isShared = workers > 1 || kind == .auto
    steerings = links.map { isShared ? Steering(peer: $0.peer) : nil }
    descriptor =
      kind == .auto ? try checked(eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)), "making an event descriptor") : -1
  }

  /// Opens the rings of the next worker.
  public mutating func open() throws(SystemError) -> RingSet {
    let own = links.map { _ in RingSwitch(wakeUp: descriptor) }
    let set = try RingSet(count: links.count) { (link) throws(SystemError) in
      let ring = links[link]
      return try ReceiveRing(
        device: ring.device, macs: ring.macs, kind: kind, both: own[link], rates: rates,
        steering: &steerings[link], geometry: geometry)
    }
    switches.append(own)
    hasBlocks.append(links.map { _ in false })
    return set
  }

  /// Shares the frames out, after the last `open`: until then the first worker gets them all.
  public func start() throws(SystemError) {
    for link in links.indices { try steer(link) }
  }

  /// Gives the workers the rings that they want. Waits for the kernel, some milliseconds for each link that changes.
  public mutating func serve() throws(SystemError) {
    guard kind == .auto else { return }
    var count: UInt64 = 0
    _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    for link in links.indices {
      let wanted = switches.map { $0[link].isBlocksWanted }
      guard wanted != hasBlocks.map({ $0[link] }) else { continue }
      for worker in wanted.indices where hasBlocks[worker][link] != wanted[worker] {
        hasBlocks[worker][link] = wanted[worker]
        changes[link] += 1
      }
      try steer(link)
      for worker in wanted.indices { switches[worker][link].settle(blocks: wanted[worker]) }
    }
  }

  /// Members were admitted worker by worker, with both kinds the slots before the blocks.
  private func steer(_ link: Int) throws(SystemError) {
    let ringsOfWorker = kind == .auto ? 2 : 1
    try steerings[link]?.steer(
      to: hasBlocks.indices.map { $0 * ringsOfWorker + (hasBlocks[$0][link] ? 1 : 0) })
  }

  /// After the workers have ended.
  public func deallocate() {
    for own in switches { for ring in own { ring.deallocate() } }
    if descriptor >= 0 { close(descriptor) }
  }
}
