/// What a region's first page says of the engine that fills it, behind the `RegionHeader`: enough for another one to
/// take its records over.
///
///     offset 128  checksum    UInt64  of all other bytes of the page
///            136  base tick   UInt64  of the clock: what ticks in the tables count from
///            144  boot        2 x UInt64  which boot that clock belongs to
///            160  seed        UInt64  which settles, with the hash secret, what outside address a host has
///            168  names       UInt32  bytes
///            172  ...         interfaces by number, each name with a newline behind it
struct RegionNote {
  private static let checksumOffset = RegionHeader.keeperOffset
  private static let namesOffset = 172
  private static let capacity = RegionLayout.pageBytes - namesOffset

  let start: UnsafeMutableRawPointer

  /// Written once, when the rest of the header stands. Names that do not fit are left out: then nobody can adopt it.
  func write(baseTick: UInt64, boot: BootIdentity, seed: UInt64, interfaces: [String]) {
    let names = interfaces.map { Array("\($0)\n".utf8) }.joined()
    start.storeBytes(of: baseTick, toByteOffset: 136, as: UInt64.self)
    start.storeBytes(of: boot.high, toByteOffset: 144, as: UInt64.self)
    start.storeBytes(of: boot.low, toByteOffset: 152, as: UInt64.self)
    let count = names.count <= Self.capacity ? names.count : 0
    start.storeBytes(of: UInt32(truncatingIfNeeded: count), toByteOffset: 168, as: UInt32.self)
    start.storeBytes(of: seed, toByteOffset: 160, as: UInt64.self)
    for (index, byte) in names.prefix(count).enumerated() { start.put(byte, Self.namesOffset + index) }
    seal()
  }

  /// Writes the checksum of the page as it stands.
  func seal() { start.storeBytes(of: checksum, toByteOffset: Self.checksumOffset, as: UInt64.self) }

  var isIntact: Bool { start.load(fromByteOffset: Self.checksumOffset, as: UInt64.self) == checksum }
  var baseTick: UInt64 { start.load(fromByteOffset: 136, as: UInt64.self) }
  var boot: BootIdentity {
    BootIdentity(
      high: start.load(fromByteOffset: 144, as: UInt64.self), low: start.load(fromByteOffset: 152, as: UInt64.self))
  }
  var seed: UInt64 { start.load(fromByteOffset: 160, as: UInt64.self) }
  var interfaces: [String] {
    let count = min(Int(start.load(fromByteOffset: 168, as: UInt32.self)), Self.capacity)
    let bytes = UnsafeRawBufferPointer(start: start + Self.namesOffset, count: count)
    return bytes.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
  }

  private var checksum: UInt64 {
    var sum: UInt64 = 0
    for offset in stride(from: 0, to: RegionLayout.pageBytes, by: 8) where offset != Self.checksumOffset {
      // Each step can be undone: no single change is lost on the way.
      sum = SplitMix64.mix(sum ^ start.load(fromByteOffset: offset, as: UInt64.self)) &+ 0x9E37_79B9_7F4A_7C15
    }
    return sum
  }
}

/// Which boot of the machine a clock counts from.
public struct BootIdentity: Equatable, Sendable {
  public var high: UInt64
  public var low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
}

/// A region that an engine has left behind, at whatever moment it ended. Only its records are read, one by one, and each
/// is believed only as far as it proves itself: indexes, lists, bitmaps and counts are made anew.
public struct SavedRegion {
  /// Why nothing of a region can be used.
  public enum Refusal: Error, Equatable, CustomStringConvertible {
    case foreign
    case version
    case damaged
    case otherBoot

    public var description: String {
      switch self {
      case .foreign: "it is no session table of sluice"
      case .version: "another version of sluice has written it"
      case .damaged: "its header is damaged"
      case .otherBoot: "it is from before this machine was started"
      }
    }
  }

  /// That of the engine that wrote it. Another one has to have it too for hosts to keep their outside addresses.
  public let seed: UInt64
  let interfaces: [String]
  let baseTick: UInt64
  let sessions: SessionTable
  let mappings: MappingTable
  let openings: Openings
  /// Places ever used, as far as they can be.
  let sessionPlaces: UInt32
  let mappingPlaces: UInt32
  let createdSessions: UInt64
  let hasIPv6: Bool
  /// nil where it has none.
  let helpers: HelperTable?
  let expectations6: Expectations6?

  /// - Parameters:
  ///   - bytes: a whole region, page-aligned; only read, and only while it is adopted.
  ///   - boot: of the clock that the adopting engine runs by.
  public init(_ bytes: UnsafeMutableRawBufferPointer, boot: BootIdentity) throws(Refusal) {
    guard let start = bytes.baseAddress, bytes.count >= 2 * RegionLayout.pageBytes else { throw .foreign }
    let header = RegionHeader(start: start)
    guard header.isOurs else { throw .foreign }
    guard header.isOfThisVersion else { throw .version }
    let note = RegionNote(start: start)
    guard let layout = header.layout(bytes: bytes.count), note.isIntact else { throw .damaged }
    guard note.boot == boot else { throw .otherBoot }
    let region = Region(layout, at: start)
    seed = note.seed
    interfaces = note.interfaces
    baseTick = note.baseTick
    sessions = SessionTable(region, secret: header.secret)
    mappings = MappingTable(region, secret: header.secret)
    openings = Openings(region)
    // A count that cannot be is that of a damaged page: every place is looked at then.
    sessionPlaces = min(sessions.highWater &- 1, UInt32(layout.capacity))
    mappingPlaces = min(mappings.highWater &- 1, UInt32(layout.capacity))
    createdSessions = region.words.createdSessions.plain
    hasIPv6 = layout.hasIPv6
    helpers = layout.hasHelpers ? region.helpers : nil
    expectations6 = layout.hasHelpers && layout.hasIPv6 ? region.expectations6 : nil
  }
}

extension RegionHeader {
  fileprivate var isOurs: Bool { start.load(as: UInt64.self) == Self.magic }
  fileprivate var isOfThisVersion: Bool {
    start.load(fromByteOffset: 8, as: UInt32.self) == RegionLayout.version
  }
}
