import Engine

/// The rings of one worker, one for each link, in the order of the links.
public struct RingSet: ~Copyable {
  public let count: Int
  private let rings: UnsafeMutablePointer<ReceiveRing>

  /// Opens every ring, or none.
  ///
  /// - Parameter open: opens the ring of a link.
  init(count: Int, open: (Int) throws(SystemError) -> ReceiveRing) throws(SystemError) {
    rings = .allocate(capacity: max(1, count))
    self.count = count
    for link in 0..<count {
      do {
        let ring = try open(link)
        (rings + link).initialize(to: ring)
      } catch {
        rings.deinitialize(count: link).deallocate()
        throw error
      }
    }
  }

  deinit { rings.deinitialize(count: count).deallocate() }

  /// The ring of link `link`; valid as long as this set.
  @inline(__always)
  public subscript(link: Int) -> UnsafeMutablePointer<ReceiveRing> { rings + link }

  /// The sockets of each link, for `poll` and statistics.
  public var descriptors: [[Int32]] { (0..<count).map { rings[$0].descriptors } }
}
