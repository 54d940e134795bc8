/// Counts of one ingress interface: received = forwarded + dropped + consumed + passed + held, always.
public struct InterfaceCounts: Sendable, Equatable {
  public var received: UInt64 = 0
  public var forwarded: UInt64 = 0
  public var dropped: UInt64 = 0
  public var consumed: UInt64 = 0
  public var passed: UInt64 = 0
  /// A gauge: frames that wait for a neighbour now.
  public var held: UInt64 = 0
  /// Frames made by the engine, counted where they leave.
  public var generated: UInt64 = 0

  public init() {}

  /// A gauge may have gone up in one worker and down in another.
  public static func += (left: inout Self, right: Self) {
    left.received &+= right.received
    left.forwarded &+= right.forwarded
    left.dropped &+= right.dropped
    left.consumed &+= right.consumed
    left.passed &+= right.passed
    left.held &+= right.held
    left.generated &+= right.generated
  }
}

public struct SessionCounts: Sendable, Equatable {
  public var created: UInt64 = 0
  /// Ended by its timer, judged by the clock whether swept or not.
  public var expired: UInt64 = 0
  public var live: UInt64 = 0

  public init() {}
}

/// How full the tables are. Each number by itself: workers go on while they are read.
public struct TableUse: Sendable, Equatable {
  /// Places of sessions, and as many of mappings.
  public var capacity = 0
  /// Places in use, those of sessions that are over and not swept yet included.
  public var sessions = 0
  public var mappings = 0
  /// Places for mappings that peers take, of mappings that have several: see `Permits.swift`.
  public var permits = 0
  /// TCP sessions that both sides have not acknowledged yet.
  public var halfOpen = 0
  /// Sessions that have given way to others.
  public var evicted: UInt64 = 0

  public init() {}

  init(_ tables: FlowTables) {
    capacity = Int(tables.sessions.places.capacity)
    sessions = tables.sessions.places.used
    permits = max(0, Int(Int64(bitPattern: tables.words.permits.plain)))
    mappings = max(0, tables.mappings.places.used - permits)
    halfOpen = max(0, Int(Int64(bitPattern: tables.words.halfOpen.plain)))
    evicted = tables.words.evictedSessions.plain
  }

  /// In per cent, of the fuller one of both tables.
  public var fill: Int { max(sessions, mappings + permits) * 100 / max(1, capacity) }
}

/// Reads how full the tables are, from any thread, for as long as the engine lives.
public struct TableGauge: Sendable {
  let tables: FlowTables

  public var use: TableUse { TableUse(tables) }
}

/// An address with a port (for echo: the identifier, 0 on the answering side).
public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
  public var address: IPv4Address
  public var port: UInt16

  public init(_ address: IPv4Address, _ port: UInt16) {
    self.address = address
    self.port = port
  }

  public var description: String { "\(address):\(port)" }
}

/// One live session, copied out for people and tools.
public struct SessionReport: Sendable {
  /// What made it.
  public enum Origin: Sendable, Equatable {
    /// Index into `Plan.forwards`.
    case forward(Int)
    /// Index into `Plan.masquerades`.
    case masquerade(Int)
    case hairpin
    /// Index into `Plan.triggers`.
    case trigger(Int)
    /// IPv6 from inside, which needs no rule.
    case outbound
  }

  public struct Direction: Sendable {
    /// As it arrives.
    public var source: SessionEnd
    public var destination: SessionEnd
    public var interface: Int
    public var packets: UInt64
    public var bytes: UInt64
  }

  /// What reads the session's payload, and what that has done to its numbers.
  public struct Helper: Sendable, Equatable {
    public var name: String
    /// Bytes that a direction has more on the far side of the gateway than on the near one.
    public var originalShift: Int32
    public var replyShift: Int32

    public init(name: String, originalShift: Int32, replyShift: Int32) {
      self.name = name
      self.originalShift = originalShift
      self.replyShift = replyShift
    }
  }

  /// Stable while the session lives.
  public var identity: UInt64
  /// IP protocol number: 6, 17 or 1.
  public var ipProtocol: UInt8
  /// "open", "opening", "established", "closing", "reset".
  public var state: String
  public var origin: Origin
  public var original: Direction
  public var reply: Direction
  public var helper: Helper?
  /// Nanoseconds since its last packet, and until it expires if none follows.
  public var idle: UInt64
  public var remaining: UInt64
}
