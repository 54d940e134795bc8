import Engine
import Explain
import Glibc

/// The worker's floor: what comes in on one of two links goes out unchanged on the other.
///
/// It measures everything but the engine: rings, sending, the loop.
struct Mirror: Judge, ~Copyable {
  private var received: (UInt64, UInt64) = (0, 0)
  private var refused: (UInt64, UInt64) = (0, 0)
  private var full: (UInt64, UInt64) = (0, 0)

  mutating func process(_ slots: UnsafeMutablePointer<FrameSlot>, count: Int) {
    for index in 0..<count {
      let slot = slots + index
      let isFirst = slot.pointee.link == 0
      if isFirst { received.0 &+= 1 } else { received.1 &+= 1 }
      slot.pointee.ingress = slot.pointee.link
      slot.pointee.egress = isFirst ? 1 : 0
      slot.pointee.verdict = .forward
      if slot.pointee.tag != 0 { Self.restoreTag(slot) }
    }
  }

  /// Puts the tag that the kernel took out back in front of the EtherType, four bytes of headroom further down.
  private static func restoreTag(_ slot: UnsafeMutablePointer<FrameSlot>) {
    let old = slot.pointee.bytes
    let new = old - 4
    memmove(new, old, 12)
    new.storeBytes(of: slot.pointee.tag.bigEndian, toByteOffset: 12, as: UInt32.self)
    slot.pointee.bytes = new
    slot.pointee.length &+= 4
    if slot.pointee.offload.flags & OffloadHeader.needsChecksum != 0 { slot.pointee.offload.checksumStart &+= 4 }
    if slot.pointee.offload.headerLength != 0 { slot.pointee.offload.headerLength &+= 4 }
  }

  mutating func advance(to time: UInt64) {}
  mutating func sleep() -> Bool { true }
  mutating func wake() {}
  var nextDeadline: UInt64 { .max }
  var outbox: UnsafeBufferPointer<OutboxFrame> { UnsafeBufferPointer(start: nil, count: 0) }

  mutating func takeBack(ingress: Int, reason: DropReason) {
    if ingress == 0 { refused.0 &+= 1 } else { refused.1 &+= 1 }
    if reason == .egressFull { if ingress == 0 { full.0 &+= 1 } else { full.1 &+= 1 } }
  }

  mutating func explain(
    _ slot: UnsafeMutablePointer<FrameSlot>, number: Int, by explainer: Explainer
  ) -> ExplanationReport? { nil }

  mutating func save(to image: inout EngineImage) -> Bool { false }

  /// It has no rules and no sessions.
  mutating func answer(_ question: Mailbox.Question) -> EngineReport { EngineReport() }

  func report(interfaces: Int, sessionLimit: Int) -> EngineReport {
    var report = EngineReport()
    for (received, refused, full) in [(received.0, refused.0, full.0), (received.1, refused.1, full.1)] {
      var counts = InterfaceCounts()
      counts.received = received
      counts.forwarded = received - refused
      counts.dropped = refused
      report.counts.append(counts)
      var drops = [UInt64](repeating: 0, count: DropReason.allCases.count)
      drops[Int(DropReason.egressFull.rawValue)] = full
      drops[Int(DropReason.egressError.rawValue)] = refused - full
      report.drops.append(drops)
    }
    return report
  }
}
