import Engine

/// A recorded entry as a replay sees it.
public struct RecordedAnswer {
  fileprivate let record: FlightRecord
  fileprivate let isWhole: Bool

  /// Engine time.
  public var time: UInt64 { record.time }

  /// In what an answer differs from the recorded one; nil where it is the same.
  ///
  /// - Parameter slot: as the engine left it; nil where timers were let run.
  public func difference(_ slot: UnsafePointer<FrameSlot>?, _ outbox: UnsafeBufferPointer<OutboxFrame>) -> String? {
    var header = [UInt8](repeating: 0, count: FlightRecord.headerBytes)
    return header.withUnsafeMutableBytes { memory in
      // The answer, recorded the same way.
      let again = FlightRecord(start: memory.baseAddress!)
      again.write(
        captured: 0, length: 0, tag: 0, sequence: 0, time: 0, offload: OffloadHeader(), link: record.link)
      let limits = FlightRecorder.limits(isWhole: isWhole)
      if let slot { again.answer(slot, digest: limits.left) }
      for frame in outbox { again.add(frame, digest: limits.made) }
      func text(_ verdict: UInt8, _ reason: UInt8) -> String {
        let name = Verdict(rawValue: verdict)?.name ?? "\(verdict)"
        return verdict == Verdict.drop.rawValue
          ? "\(name) (\(DropReason(rawValue: reason)?.name ?? "\(reason)"))" : name
      }
      let (was, now) = (text(record.verdict, record.reason), text(again.verdict, again.reason))
      if was != now { return "verdict: recorded \(was), replayed \(now)" }
      if record.egress != again.egress { return "egress: recorded \(record.egress), replayed \(again.egress)" }
      if record.left != again.left { return "length: recorded \(record.left), replayed \(again.left)" }
      if record.digest != again.digest { return "the bytes that left" }
      if record.made != again.made { return "frames made: recorded \(record.made), replayed \(again.made)" }
      return record.madeDigest == again.madeDigest ? nil : "the bytes of frames made"
    }
  }
}

extension FlightRecording {
  /// Gives the replayable entries in order: a slot for the engine, or nil where timers were let run until the entry's time.
  public func replay(
    _ body: (_ slot: UnsafeMutablePointer<FrameSlot>?, _ record: RecordedAnswer) throws -> Void
  ) rethrows {
    let room = UnsafeMutableRawPointer.allocate(byteCount: Forwarder.headroom + 1 << 18, alignment: 64)
    let slot = UnsafeMutablePointer<FrameSlot>.allocate(capacity: 1)
    defer {
      room.deallocate()
      slot.deallocate()
    }
    var before = entries - replayable
    try forEach { record in
      before -= 1
      if before >= 0 { return }
      let answer = RecordedAnswer(record: record, isWhole: isWhole)
      guard record.link != FlightRecord.timers else { return try body(nil, answer) }
      let bytes = room + Forwarder.headroom
      bytes.copyMemory(from: record.bytes, byteCount: record.captured)
      // What was not kept is payload, which decides nothing.
      (bytes + record.captured).initializeMemory(as: UInt8.self, repeating: 0, count: record.length - record.captured)
      slot.initialize(
        to: FrameSlot(
          bytes: bytes, length: record.length, headroom: Forwarder.headroom, link: Int(record.link), time: record.time))
      slot.pointee.tag = record.tag
      slot.pointee.offload = record.offload
      try body(slot, answer)
    }
  }
}
