import Engine

/// The rings of one worker, one for each link, in the order of the links.
public struct RingSet: ~Copyable {
  public let count: Int
  private let rings: UnsafeMutablePointer<ReceiveRing>

  /// Opens every ring, or none.
  ///
  /// - Parameters:
  ///   - links: each device with the MAC addresses of the interfaces on it.
  ///   - kind: how the frames come in.
  public static func open(
    links: [(device: PacketDevice, macs: [MACAddress])], kind: Plan.Ring, geometry: RingGeometry = RingGeometry()
  ) throws(SystemError) -> RingSet {
    let rings = UnsafeMutablePointer<ReceiveRing>.allocate(capacity: max(1, links.count))
    for (number, link) in links.enumerated() {
      do {
        let ring = try ReceiveRing(device: link.device, macs: link.macs, kind: kind, geometry: geometry)
        (rings + number).initialize(to: ring)
      } catch {
        rings.deinitialize(count: number).deallocate()
        throw error
      }
    }
    return RingSet(rings: rings, count: links.count)
  }

  private init(rings: UnsafeMutablePointer<ReceiveRing>, count: Int) {
    self.rings = rings
    self.count = count
  }

  deinit { rings.deinitialize(count: count).deallocate() }

  /// The ring of link `link`; valid as long as this set.
  @inline(__always)
  public subscript(link: Int) -> UnsafeMutablePointer<ReceiveRing> { rings + link }

  /// The sockets, for `poll` and statistics.
  public var descriptors: [Int32] { (0..<count).map { rings[$0].descriptor } }
}
