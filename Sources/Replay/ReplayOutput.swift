import Capture
import Engine
import Foundation

/// The captures that a replay writes: one for each interface, whether anything leaves there or not.
final class ReplayOutput {
  private let writers: ContiguousArray<CaptureWriter>

  /// Makes the directory where it is missing, and a file `IF.pcap` in it for every interface.
  init(directory: String, plan: Plan) throws {
    for interface in plan.interfaces where interface.name.hasPrefix(".") || interface.name.contains("/") {
      throw ReplayError.noFileName(interface: interface.name)
    }
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw CaptureError(path: directory, offset: nil, message: "cannot be made a directory")
    }
    var writers: ContiguousArray<CaptureWriter> = []
    for interface in plan.interfaces {
      let path = Self.path(of: interface.name, in: directory)
      writers.append(try CaptureWriter(path: path, link: interface.link == .ethernet ? .ethernet : .rawIP))
    }
    self.writers = writers
  }

  static func path(of interface: String, in directory: String) -> String { "\(directory)/\(interface).pcap" }

  /// Everything that one burst sends, in the order of the wire: what the engine made before a frame, then the frame.
  func write(
    _ slots: UnsafeMutablePointer<FrameSlot>, count: Int, outbox: UnsafeBufferPointer<OutboxFrame>
  ) throws(CaptureError) {
    guard !writers.isEmpty else { return }
    var made = 0
    // Looked up again only where it changes: counting references costs more than a small frame's copy.
    var egress = 0
    var writer = writers[egress]
    for index in 0..<count {
      while made < outbox.count, Int(outbox[made].position) <= index {
        try write(outbox[made])
        made += 1
      }
      let slot = slots + index
      assert(slot.pointee.verdict != .none, "the engine left a frame without a verdict")
      guard slot.pointee.verdict == .forward else { continue }
      if Int(slot.pointee.egress) != egress {
        egress = Int(slot.pointee.egress)
        writer = writers[egress]
      }
      try writer.append(slot.pointee.bytes, length: Int(slot.pointee.length), time: slot.pointee.time)
    }
    while made < outbox.count {
      try write(outbox[made])
      made += 1
    }
  }

  /// What timers made.
  func writeOutbox(_ outbox: UnsafeBufferPointer<OutboxFrame>) throws(CaptureError) {
    for index in outbox.indices { try write(outbox[index]) }
  }

  private func write(_ frame: OutboxFrame) throws(CaptureError) {
    try writers[Int(frame.egress)].append(frame.bytes, length: Int(frame.length), time: frame.time)
  }

  /// Gives every file its name, those behind a failing one too; the first failure.
  func finish() -> CaptureError? {
    var failure: CaptureError?
    for writer in writers {
      do throws(CaptureError) {
        try writer.finish()
      } catch {
        failure = failure ?? error
      }
    }
    return failure
  }
}
