/// Why a plan cannot run.
public enum PlanError: Error, CustomStringConvertible {
  case noMAC(interface: String)
  case tooMany(String)
  case noMemory(bytes: Int)

  public var description: String {
    switch self {
    case .noMAC(let interface): "interface \(interface) is Ethernet and has no MAC address"
    case .tooMany(let what): "too many \(what)"
    case .noMemory(let bytes): "cannot reserve \(bytes) bytes for the session table"
    }
  }
}

/// The engine: bytes, ingress and time in; rewritten bytes, verdict and egress out. It never reads a clock, a file or a socket.
public struct Forwarder: ~Copyable {
  /// Headroom that every received frame needs: room for the longest link header in place of none, and a virtio header.
  public static let headroom = 64

  /// - Parameters:
  ///   - plan: every Ethernet interface has a MAC, every interface an MTU.
  ///   - links: for each link (`FrameSlot.link`), the interfaces whose frames come in by it.
  ///   - seed: settles every random choice and the hash secret.
  ///   - clock: first time, in nanoseconds.
  public init(plan: Plan, links: [[Int]], seed: UInt64, clock: UInt64) throws(PlanError) {
  }

  /// Judges `count` frames in order. The outbox of the call before is gone with it.
  public mutating func process(_ slots: UnsafeMutablePointer<FrameSlot>, count: Int) {
  }

  /// Fires every timer due at or before `time`. The outbox of the call before is gone with it.
  public mutating func advance(to time: UInt64) {
  }

  /// When the next timer is due that would do something visible; `UInt64.max` for none.
  public var nextDeadline: UInt64 { .max }

  /// When the last live session expires, if no frame comes any more; the clock if there is none.
  public var idleDeadline: UInt64 { 0 }

  /// Frames made or released by the last call of `process` or `advance`, in order.
  public var outbox: UnsafeBufferPointer<OutboxFrame> { UnsafeBufferPointer(start: nil, count: 0) }

  /// The sender could not send a forwarded frame: it is counted as dropped instead.
  public mutating func takeBack(ingress: Int, reason: DropReason) {
  }

  public func counts(interface: Int) -> InterfaceCounts { InterfaceCounts() }
  public func drops(interface: Int, reason: DropReason) -> UInt64 { 0 }
  public func count(of event: Event) -> UInt64 { 0 }
  public var sessionCounts: SessionCounts { SessionCounts() }
  /// At most `limit` live sessions, in table order.
  public func sessions(limit: Int) -> [SessionReport] { [] }
  /// Bytes reserved for the session table and its indexes.
  public var tableBytes: Int { 0 }
}
