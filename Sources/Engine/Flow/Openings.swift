import Synchronization

/// Which inside host a trigger is open for, and when that host last sent what it is opened by.
///
///     bits  0  last asked  tick, rounded up
///          32  owner       UInt32  raw; 0 = closed
struct Opening: Equatable {
  var rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(owner: UInt32, lastAsked: UInt32) { rawValue = UInt64(lastAsked) | UInt64(owner) &<< 32 }

  static let closed = Opening(rawValue: 0)

  var isClosed: Bool { rawValue == 0 }
  var owner: UInt32 { UInt32(truncatingIfNeeded: rawValue &>> 32) }
  var lastAsked: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

  /// Takes over when a session of its owner's has last sent, where that is later.
  mutating func follow(_ original: FlowLine) {
    let seen = original.lastSeen
    if original.key.source == owner, Int32(bitPattern: seen &- lastAsked) > 0 {
      self = Opening(owner: owner, lastAsked: seen)
    }
  }
}

/// What of a trigger concerns sessions: which of them ask for it, and how long it stays open after they did.
struct Asking {
  /// Of everything that says what the trigger is: one that is changed is another one.
  let key: UInt64
  /// The inside interface.
  let interface: UInt16
  let ipProtocols: [UInt8]
  /// Ports that inside hosts send to.
  let ports: [PortRange]
  /// Ticks.
  let duration: UInt32
}

/// Who the triggers are open for: a place in the region for each, so that all workers and the next process see it.
///
///     offset  0  key      UInt64  Asking.key; 0 = free
///             8  opening  UInt64  Opening, changed by compare-and-swap
///
/// What established sessions send goes by the burst loop, which writes nothing here. Their lines tell when they last
/// sent: whoever needs to know at the end of an opening looks there, and a session that ends leaves its word here.
struct Openings: @unchecked Sendable {
  static let capacity = 256
  static let placeBytes = 16
  /// Half of the places are left for the triggers of the next rules.
  static let mostTriggers = capacity / 2

  private let start: UnsafeMutableRawPointer
  /// The triggers of the current rules, and the place of each.
  private(set) var askings: [Asking] = []
  private(set) var places: [Int] = []
  /// By inside interface and protocol: a bit for each port that any trigger is asked for by.
  private var asked: [UInt32: [UInt64]] = [:]

  init(_ region: Region) { start = region.openings }

  /// There is no trigger: looked at for every new session, so a word of its own.
  private(set) var isEmpty = true

  private func key(_ place: Int) -> UnsafeMutablePointer<Atomic<UInt64>> { shared64(start, place &* Self.placeBytes) }
  private func word(_ place: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    shared64(start, place &* Self.placeBytes &+ 8)
  }

  // MARK: Places

  /// Gives each trigger a place: its own where it has one, with what is open. Triggers that are gone are closed.
  ///
  /// A place is not given away in the same step that frees it: another worker may still have the rules before.
  mutating func assign(_ new: [Asking]) {
    let wanted = Set(new.map(\.key))
    var known: Set<UInt64> = []
    var free: [Int] = []
    var gone: [Int] = []
    for place in 0..<Self.capacity {
      let key = key(place).plain
      if key == 0 { free.append(place) } else if !wanted.contains(key) { gone.append(place) } else { known.insert(key) }
    }
    for (place, asking) in zip(free, new.filter { !known.contains($0.key) }) {
      word(place).plain = 0
      key(place).plain = asking.key
    }
    for place in gone {
      key(place).plain = 0
      word(place).plain = 0
    }
    follow(new)
  }

  /// Finds the places that another worker has assigned.
  mutating func follow(_ new: [Asking]) {
    var placeOf: [UInt64: Int] = [:]
    for place in 0..<Self.capacity { placeOf[key(place).plain] = place }
    askings = new
    isEmpty = new.isEmpty
    places = new.map { placeOf[$0.key] ?? 0 }
    asked = [:]
    for asking in new {
      for ipProtocol in asking.ipProtocols {
        let bits = Self.bits(asking.interface, ipProtocol)
        var words = asked[bits] ?? [UInt64](repeating: 0, count: 1024)
        for range in asking.ports {
          for port in Int(range.first)...Int(range.last) { words[port / 64] |= 1 &<< UInt64(port % 64) }
        }
        asked[bits] = words
      }
    }
  }

  private static func bits(_ interface: UInt16, _ ipProtocol: UInt8) -> UInt32 {
    UInt32(interface) &<< 8 | UInt32(ipProtocol)
  }

  // MARK: One opening

  subscript(trigger: Int) -> Opening {
    Opening(rawValue: word(places[trigger]).pointee.load(ordering: .acquiring))
  }

  func exchange(_ trigger: Int, _ expected: Opening, _ desired: Opening) -> Bool {
    word(places[trigger]).pointee.compareExchange(
      expected: expected.rawValue, desired: desired.rawValue, ordering: .acquiringAndReleasing
    ).exchanged
  }

  /// Open at `tick`, as far as is known here: established sessions may have asked later.
  func isOpen(_ opening: Opening, _ trigger: Int, at tick: UInt32) -> Bool {
    !opening.isClosed && Int32(bitPattern: opening.lastAsked &+ askings[trigger].duration &- tick) > 0
  }

  /// The owner has asked at `tick`; false where somebody else has it now.
  @discardableResult
  func renew(_ trigger: Int, for owner: UInt32, at tick: UInt32) -> Bool {
    while true {
      let before = self[trigger]
      guard before.owner == owner else { return false }
      if Int32(bitPattern: tick &- before.lastAsked) <= 0 { return true }
      if exchange(trigger, before, Opening(owner: owner, lastAsked: tick)) { return true }
    }
  }

  func closeAll() {
    for place in places { word(place).plain = 0 }
  }

  // MARK: What another engine has left

  /// The opening that stood under this key; nil for none.
  func saved(_ key: UInt64) -> Opening? {
    guard let place = (0..<Self.capacity).first(where: { self.key($0).plain == key }) else { return nil }
    let opening = Opening(rawValue: word(place).plain)
    return opening.isClosed ? nil : opening
  }

  // MARK: Sessions

  /// The first trigger from `index` on that the original direction of a session asks for; nil where there is no other.
  ///
  /// Only what an inside host has begun asks: a session that was let in is answered to whatever port an outsider likes.
  /// It is masqueraded where its source alone has changed. IPv6 has no triggers.
  func trigger(from index: Int, askedBy line: FlowLine) -> Int? {
    let key = line.key
    let port = key.destinationPort.bigEndian
    guard key.rest &>> 56 == 0, line.newSource != key.source, line.newDestination == key.destination,
      line.newDestinationPort == key.destinationPort, let words = asked[Self.bits(key.scope, key.ipProtocol)],
      words[Int(port) / 64] &>> UInt64(port % 64) & 1 == 1
    else { return nil }
    return askings.indices[index...].first { trigger in
      let asking = askings[trigger]
      return asking.interface == key.scope && asking.ipProtocols.contains(key.ipProtocol)
        && asking.ports.contains { $0.first <= port && port <= $0.last }
    }
  }

  /// A session ends: what its host has sent since its opening was last renewed counts all the same.
  func remember(_ line: FlowLine) {
    var next = trigger(from: 0, askedBy: line)
    while let trigger = next {
      renew(trigger, for: line.key.source, at: line.lastSeen)
      next = self.trigger(from: trigger &+ 1, askedBy: line)
    }
  }
}
