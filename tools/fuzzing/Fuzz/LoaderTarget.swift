@testable import Engine

/// The state file of a gateway that was killed, damaged in some way, and the next gateway that takes it over.
///
/// An input is a list of changes to a good file, which keeps every byte of it worth something: the first byte says what
/// the next gateway is like and whether the header's checksum is put right afterwards, the others what is changed where.
/// With the first byte at 0xFF the rest is the file itself.
enum LoaderTarget {
  private static let boot = BootIdentity(high: 1, low: 2)
  private static let start = Stage.epoch + 400 * Stage.second

  /// A file as a gateway leaves it, and memory to damage it in.
  private struct Good: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer
    let copy: UnsafeMutableRawBufferPointer
    /// Where something stands: header, counts, and the records of both tables.
    let parts: [Range<Int>]
  }

  private static let good = makeGood()

  /// What the next gateway may be set to: the same, other rules, less room, other names.
  private static let plans = [
    Stage.plan(),
    Stage.plan(
      Stage.text.replacing("ports = \"8000-8003\"", with: "ports = \"8002-8005\"").replacing(
        "filtering = \"endpoint-independent\"", with: "mapping = \"address-dependent\"")),
    Stage.plan(Stage.text.replacing("sessions = 16", with: "sessions = 3")),
    Stage.plan(
      Stage.text.replacing("interface.wan", with: "interface.uplink").replacing("\"wan\"", with: "\"uplink\"")),
  ]

  static func play(_ input: Input) -> CInt {
    var input = input
    let flags = input.byte()
    if flags == 0xFF {
      playForeign(input.all())
      return 0
    }
    // Behind the last part there are bitmaps, which nobody changes here.
    good.copy.copyMemory(from: UnsafeRawBufferPointer(rebasing: good.bytes[..<good.parts.map(\.upperBound).max()!]))
    while !input.isEmpty { change(&input) }
    if flags & 0x80 == 0 { RegionNote(start: good.copy.baseAddress!).seal() }
    guard let saved = try? SavedRegion(good.copy, boot: boot) else { return 0 }
    adopt(saved, plans[Int(flags & 3)], isSame: flags & 3 == 0, fills: flags & 4 != 0)
    return 0
  }

  /// Anything at all as a file.
  private static func playForeign(_ bytes: UnsafeRawBufferPointer) {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 4096)
    defer { memory.deallocate() }
    memory.copyMemory(from: bytes)
    guard let saved = try? SavedRegion(memory, boot: boot) else { return }
    adopt(saved, plans[0], isSame: false, fills: false)
  }

  // MARK: Damage

  private static func change(_ input: inout Input) {
    let (how, part) = (input.byte(), good.parts[Int(input.byte()) % good.parts.count])
    let bytes = good.copy
    func place(_ width: Int) -> Int {
      part.lowerBound + Int(input.number(UInt16.self)) % (part.count / width) * width
    }
    switch how % 6 {
    case 0: bytes[place(1)] = input.byte()
    case 1: bytes.storeBytes(of: input.number(), toByteOffset: place(2), as: UInt16.self)
    case 2: bytes.storeBytes(of: input.number(), toByteOffset: place(4), as: UInt32.self)
    case 3: bytes.storeBytes(of: input.number(), toByteOffset: place(8), as: UInt64.self)
    case 4: bytes[place(1)] ^= 1 << (input.byte() & 7)
    default:
      // One line in the place of another: records twice, or those of two sessions mixed.
      let (from, to) = (place(64), place(64))
      let line = Array(bytes[from..<from + 64])
      bytes.baseAddress!.advanced(by: to).copyMemory(from: line, byteCount: 64)
    }
  }

  // MARK: The next gateway

  private static func forwarder(_ plan: Plan, _ memory: UnsafeMutableRawPointer, seed: UInt64) -> Forwarder {
    do {
      return try Forwarder(
        plan: plan, links: Stage.links, seed: seed, clock: start, store: RegionStore(memory: memory, boot: boot))
    } catch {
      fatalError("\(error)")
    }
  }

  private static func adopt(_ saved: SavedRegion, _ plan: Plan, isSame: Bool, fills: Bool) {
    guard let size = try? Forwarder.regionBytes(for: plan), let pages = try? Pages(bytes: 2 * size) else {
      fatalError("no room")
    }
    defer { pages.release() }
    checkNext(saved, plan, (pages.start, pages.start + size), isSame: isSame, fills: fills)
  }

  private static func checkNext(
    _ saved: SavedRegion, _ plan: Plan, _ memory: (UnsafeMutableRawPointer, UnsafeMutableRawPointer), isSame: Bool,
    fills: Bool
  ) {
    var next = forwarder(plan, memory.0, seed: saved.seed)
    let report = next.adopt(saved)
    let sessions = next.sessions(limit: .max)
    require(report.sessions == sessions.count, "\(report) of \(sessions.count) sessions")
    require(sessions.count <= plan.sessions, "more sessions than places")
    checkDistinct(sessions)
    if isSame { checkAgain(plan, memory, saved.seed, report, sessions) }
    checkTraffic(&next, sessions)
    checkEnd(&next, fills ? plan.sessions : 0)
  }

  /// No two sessions answer to one tuple, and each has an end that is ours.
  private static func checkDistinct(_ sessions: [SessionReport]) {
    var tuples: Set<[UInt64]> = []
    for session in sessions {
      for way in [session.original, session.reply] {
        let tuple = [UInt64(session.ipProtocol), UInt64(way.interface), way.source.number, way.destination.number]
        require(tuples.insert(tuple).inserted, "two sessions share \(way.source) > \(way.destination)")
      }
      let ends = [session.original.destination, session.reply.destination].map(\.ipv4)
      require(ends.contains { $0 >> 8 == Stage.outside >> 8 }, "\(session) has no end of ours")
    }
  }

  /// What has been taken over is whole: a third gateway takes over all of it.
  private static func checkAgain(
    _ plan: Plan, _ memory: (UnsafeMutableRawPointer, UnsafeMutableRawPointer), _ seed: UInt64, _ first: AdoptionReport,
    _ sessions: [SessionReport]
  ) {
    let region = UnsafeMutableRawBufferPointer(start: memory.0, count: memory.1 - memory.0)
    guard let saved = try? SavedRegion(region, boot: boot) else { fatalError("broken: what was made is refused") }
    var third = forwarder(plan, memory.1, seed: seed)
    let report = third.adopt(saved)
    var expected = AdoptionReport()
    expected.sessions = first.sessions
    expected.mappings = first.mappings
    require(report == expected, "first \(first), then \(report)")
    func ends(_ sessions: [SessionReport]) -> [String] {
      sessions.map { "\($0.ipProtocol) \($0.original.source) \($0.reply.source) \($0.state) \($0.remaining)" }.sorted()
    }
    require(ends(sessions) == ends(third.sessions(limit: .max)), "other sessions the second time")
  }

  /// Every session that was taken over carries traffic both ways, or is judged; nothing is held or lost.
  private static func checkTraffic(_ forwarder: inout Forwarder, _ sessions: [SessionReport]) {
    for session in sessions {
      for way in [session.original, session.reply] where way.interface < 2 {
        let (source, destination) = (way.source, way.destination)
        switch session.ipProtocol {
        case 6:
          forwarder.play(
            .tcp(
              from: source.ipv4, source.port, to: destination.ipv4, destination.port, flags: 16,
              sequence: 1, acknowledgment: 1), on: way.interface, at: start)
        case 17:
          forwarder.play(
            .udp(from: source.ipv4, source.port, to: destination.ipv4, destination.port),
            on: way.interface, at: start)
        default:
          forwarder.play(
            .ping(from: source.ipv4, source.port, to: destination.ipv4), on: way.interface, at: start)
        }
      }
    }
    for port in [8001, 4001, 4002, 4003] as [UInt16] {
      forwarder.play(.udp(from: Stage.client, port, to: Stage.outside, port), on: Stage.wan, at: start)
      forwarder.play(.udp(from: Stage.host(10), port, to: Stage.client, port), on: Stage.lan, at: start)
    }
    checkCounts(forwarder)
  }

  private static func checkCounts(_ forwarder: borrowing Forwarder) {
    for interface in 0..<forwarder.interfaceCount {
      let counts = forwarder.counts(interface: interface)
      require(
        counts.received == counts.forwarded + counts.dropped + counts.consumed + counts.passed + counts.held,
        "conservation: \(counts)")
    }
  }

  /// Everything ends, and every place is there for others.
  private static func checkEnd(_ forwarder: inout Forwarder, _ places: Int) {
    let end = start + 100_000 * Stage.second
    forwarder.advance(to: end)
    require(forwarder.sessionCounts.live == 0, "\(forwarder.sessionCounts.live) sessions do not end")
    for place in 0..<places {
      let verdict = forwarder.play(
        .udp(from: Stage.host(10), UInt16(20_000 + place), to: Stage.client, 9), on: Stage.lan, at: end)
      require(verdict == .forward, "\(verdict) for new session \(place) of \(places)")
    }
    checkCounts(forwarder)
  }

  // MARK: A good file

  private static func makeGood() -> Good {
    let plan = Stage.plan()
    guard let size = try? Forwarder.regionBytes(for: plan) else { fatalError("no room") }
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)
    memory.initializeMemory(as: UInt8.self, repeating: 0)
    let store = RegionStore(memory: memory.baseAddress!, boot: boot)
    guard var first = try? Forwarder(plan: plan, links: Stage.links, seed: 7, clock: Stage.epoch, store: store) else {
      fatalError("no forwarder")
    }
    live(&first)
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)
    let good = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)
    good.copyMemory(from: UnsafeRawBufferPointer(memory))
    memory.deallocate()
    let layout = RegionLayout(capacity: plan.sessions, pools: 2 + PortPools.spare)
    require(layout.bytes == size, "the layout of another plan")
    let parts = [
      layout.sessionsOffset..<layout.mappingIndexOffset, layout.mappingsOffset..<layout.openingsOffset, 0..<320,
      layout.wordsOffset..<layout.wordsOffset + 320, layout.sessionIndexOffset..<layout.sessionsOffset,
      layout.openingsOffset..<layout.poolsOffset,
    ]
    return Good(bytes: good, copy: copy, parts: parts)
  }

  /// A connection, streams, pings, hairpin sessions, a protocol without ports, and a port in quarantine.
  private static func live(_ first: inout Forwarder) {
    let (client, outside) = (Stage.client, Stage.outside)
    first.play(.udp(from: Stage.host(10), 4003, to: client, 9), on: Stage.lan, at: Stage.epoch)
    let now = start - 5 * Stage.second
    for (flags, sequence) in [(2, 1), (16, 2)] as [(UInt8, UInt32)] {
      first.play(
        .tcp(from: client, 40_000, to: outside, 8000, flags: flags, sequence: sequence, acknowledgment: 1),
        on: Stage.wan, at: now)
      first.play(
        .tcp(
          from: Stage.host(10), 9000, to: client, 40_000, flags: flags | 16, sequence: sequence,
          acknowledgment: sequence + 1),
        on: Stage.lan, at: now)
    }
    first.play(.udp(from: client, 4000, to: outside, 8001), on: Stage.wan, at: now)
    first.play(.udp(from: Stage.host(10), 4001, to: client, 53), on: Stage.lan, at: now)
    first.play(.udp(from: Stage.host(11), 4002, to: client, 9), on: Stage.lan, at: now)
    first.play(.ping(from: Stage.host(10), 77, to: client), on: Stage.lan, at: now)
    first.play(.ping(from: client, 78, to: outside + 4), on: Stage.wan, at: now)
    first.play(.udp(from: Stage.host(10), 4004, to: outside, 4001), on: Stage.lan, at: now)
    first.play(.tcp(from: Stage.host(10), 4005, to: outside + 4, 22, flags: 2, sequence: 9), on: Stage.lan, at: now)
    first.play(Datagram(47, from: client, to: outside + 4, [0, 0, 8, 0, 1, 2]), on: Stage.wan, at: now)
  }
}

extension SessionEnd {
  /// The address: of a gateway that speaks no IPv6 there is no other.
  fileprivate var ipv4: UInt32 {
    guard case .v4(let address) = address else { fatalError("broken: a session of \(address) without IPv6") }
    return address.value
  }

  /// Address and port.
  fileprivate var number: UInt64 { UInt64(ipv4) << 16 | UInt64(port) }
}
