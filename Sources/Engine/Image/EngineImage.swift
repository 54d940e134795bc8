/// A copy of everything that changes in an engine: another one goes on from there as this one would have, bit for bit. For
/// one worker that is alone.
///
/// In machine order, of this version of the program, without a pointer in it. A table is written page by page, and pages
/// that hold nothing but zero are left out. It is as good as the memory it was copied from: the engine checks that it fits,
/// not that it makes sense, so it is to be read from where one would take a program from.
public struct EngineImage: @unchecked Sendable {
  private let pages: Pages
  /// Bytes written.
  public fileprivate(set) var count = 0

  /// - Parameter capacity: most bytes; memory is taken when it is written to.
  public init(capacity: Int) throws(PlanError) { pages = try Pages(bytes: capacity) }

  /// A copy of `bytes`.
  public init(_ bytes: UnsafeRawBufferPointer) throws(PlanError) {
    try self.init(capacity: bytes.count)
    if let start = bytes.baseAddress { pages.start.copyMemory(from: start, byteCount: bytes.count) }
    count = bytes.count
  }

  public func release() { pages.release() }

  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pages.start, count: count) }

  fileprivate var memory: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: pages.start, count: pages.bytes)
  }
}

/// One way through the engine's state: every part of it gives its words and memory to the pass, which writes them to an
/// image or takes them from there.
struct StatePass {
  private static let page = 4096
  private static let noPage = UInt32.max

  private let memory: UnsafeMutableRawBufferPointer
  private let isLoading: Bool
  private var offset = 0
  /// False where an image was too small, or is no image of such an engine.
  private(set) var fits = true

  fileprivate init(_ image: EngineImage, isLoading: Bool) {
    self.isLoading = isLoading
    memory =
      isLoading ? UnsafeMutableRawBufferPointer(start: image.memory.baseAddress, count: image.count) : image.memory
  }

  fileprivate var count: Int { offset }
  fileprivate var isAtEnd: Bool { offset == memory.count }

  /// The next `bytes` of the image; nil where there are no more.
  private mutating func room(_ bytes: Int) -> UnsafeMutableRawPointer? {
    guard fits, memory.count &- offset >= bytes, let start = memory.baseAddress else {
      fits = false
      return nil
    }
    defer { offset &+= bytes }
    return start + offset
  }

  mutating func word<T: BitwiseCopyable>(_ word: inout T) {
    guard let room = room(MemoryLayout<T>.size) else { return }
    if isLoading {
      word = room.loadUnaligned(as: T.self)
    } else {
      withUnsafeBytes(of: word) { room.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }
  }

  /// What must be the same in both engines.
  mutating func same<T: BitwiseCopyable & Equatable>(_ own: T) {
    var word = own
    self.word(&word)
    if word != own { fits = false }
  }

  mutating func words(_ words: inout [UInt64]) {
    words.withUnsafeMutableBytes { bytes in
      if let start = bytes.baseAddress { memory(start, bytes.count) }
    }
  }

  mutating func memory<T>(_ start: UnsafeMutablePointer<T>, _ count: Int) {
    memory(UnsafeMutableRawPointer(start), count &* MemoryLayout<T>.stride)
  }

  mutating func memory(_ pages: Pages) { memory(pages.start, pages.bytes) }

  mutating func memory(_ start: UnsafeMutableRawPointer, _ bytes: Int) {
    if isLoading { load(start, bytes) } else { save(start, bytes) }
  }

  private mutating func save(_ start: UnsafeMutableRawPointer, _ bytes: Int) {
    var page: UInt32 = 0
    var done = 0
    while done < bytes {
      let count = min(Self.page, bytes &- done)
      if !Self.isZero(start + done, count) {
        word(&page)
        guard let room = room(count) else { return }
        room.copyMemory(from: start + done, byteCount: count)
      }
      page &+= 1
      done &+= count
    }
    var end = Self.noPage
    word(&end)
  }

  private mutating func load(_ start: UnsafeMutableRawPointer, _ bytes: Int) {
    var done = 0
    while true {
      var page = Self.noPage
      word(&page)
      guard fits else { return }
      let next = page == Self.noPage ? bytes : Int(page) &* Self.page
      guard next >= done, next <= bytes else {
        fits = false
        return
      }
      (start + done).initializeMemory(as: UInt8.self, repeating: 0, count: next &- done)
      if page == Self.noPage { return }
      let count = min(Self.page, bytes &- next)
      guard count > 0, let room = room(count) else {
        fits = false
        return
      }
      (start + next).copyMemory(from: room, byteCount: count)
      done = next &+ count
    }
  }

  private static func isZero(_ start: UnsafeMutableRawPointer, _ bytes: Int) -> Bool {
    var offset = 0
    while offset &+ 8 <= bytes {
      if start.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { return false }
      offset &+= 8
    }
    while offset < bytes {
      if start.load(fromByteOffset: offset, as: UInt8.self) != 0 { return false }
      offset &+= 1
    }
    return true
  }
}

/// What must be known of an engine to make another one for its image.
private struct ImageHead: Equatable, BitwiseCopyable {
  private static let version = RegionHeader.magic &+ UInt64(RegionLayout.version)

  var version = Self.version
  var seed: UInt64
  var capacity: UInt64
  var pools: UInt64
  /// See `RegionLayout.parts`.
  var parts: UInt64

  init(_ layout: RegionLayout, seed: UInt64) {
    self.seed = seed
    capacity = UInt64(layout.capacity)
    pools = UInt64(layout.pools)
    parts = layout.parts
  }

  /// nil for what is no image of this version.
  init?(_ image: EngineImage) {
    guard image.count >= MemoryLayout<Self>.size, let start = image.bytes.baseAddress else { return nil }
    self = start.loadUnaligned(as: Self.self)
    guard version == Self.version else { return nil }
  }

  var layout: RegionLayout? { RegionLayout(capacity: capacity, pools: pools, parts: parts) }
}

extension Forwarder {
  /// Writes what changes in the engine to an image, between two bursts; nothing of it is changed but the outbox of the call
  /// before, which is gone. False, and the image is empty, where it is too small, or this is one worker of several.
  public mutating func save(to image: inout EngineImage) -> Bool {
    image.count = 0
    guard core.pointee.isAlone else { return false }
    core.pointee.begin()
    var pass = StatePass(image, isLoading: false)
    pass.same(core.pointee.head)
    core.pointee.pass(&pass)
    if pass.fits { image.count = pass.count }
    return pass.fits
  }

  /// An engine that goes on from an image.
  ///
  /// - Parameters:
  ///   - plan: of the rules that the other engine had then.
  ///   - links: the other engine's.
  public init(plan: Plan, links: [[Int]], image: EngineImage) throws(PlanError) {
    guard let head = ImageHead(image), let layout = head.layout, layout.capacity == plan.sessions else {
      throw .foreignImage
    }
    let state = try EngineState(plan: plan, layout: layout, seed: head.seed, clock: 0)
    do {
      try self.init(plan: plan, links: links, sharing: state, worker: 0, owns: state, image: image)
    } catch {
      state.release()
      throw error
    }
  }
}

extension Core {
  fileprivate var head: ImageHead { ImageHead(tables.region.layout, seed: shared.pointee.seed) }

  /// Takes an image over.
  mutating func load(_ image: EngineImage) throws(PlanError) {
    var pass = StatePass(image, isLoading: true)
    pass.same(head)
    self.pass(&pass)
    guard pass.fits, pass.isAtEnd else { throw .foreignImage }
    flows.pools.refresh()
    flows.openings.follow(rules.triggers.askings)
  }
}
