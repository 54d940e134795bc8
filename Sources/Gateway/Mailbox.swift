import CLinux
import Engine
import Glibc
import PacketIO
import Synchronization

/// How the control thread asks a running worker: one question at a time, answered between two bursts, so that the engine's
/// state is only ever touched by the worker's own thread.
///
/// The worker pays one load per turn of its loop. While it sleeps an eventfd wakes it. Both sides hold this handle; the
/// memory behind it lives until `deallocate`.
struct Mailbox: @unchecked Sendable {
  enum Question: Sendable {
    case report(sessionLimit: Int)
    /// Explains frames from now on. The answer's `isWatching` is false where another watch is not over yet.
    case watch(FrameWatch)
    /// What has been explained since the last time.
    case watched
    /// Take over these rules, whose owner the engine is from then on; the old ones come back.
    case replace(Rules)
    /// What these rules would make of the sessions in these places.
    case forecast(Rules, places: Range<Int>)
    /// What the recorder has kept.
    case recording
    /// Drops for these reasons so far, over all interfaces.
    case drops([DropReason])
    case session(identity: UInt64)
    case cut(identity: UInt64)
    case stop
  }

  private enum Phase {
    static let empty: UInt32 = 0
    static let asked: UInt32 = 1
    static let answered: UInt32 = 2
  }

  private let phase: UnsafeMutablePointer<Atomic<UInt32>>
  private let question: UnsafeMutablePointer<Question>
  private let answer: UnsafeMutablePointer<EngineReport>
  /// Readable for the worker when a question waits.
  let wakeUp: Int32
  /// Readable for the control thread when the answer is there.
  private let done: Int32

  init() throws(SystemError) {
    let flags = Int32(EFD_CLOEXEC | EFD_NONBLOCK)
    wakeUp = try checked(eventfd(0, flags), "making an event descriptor")
    done = try checked(eventfd(0, flags), "making an event descriptor")
    phase = .allocate(capacity: 1)
    phase.initialize(to: Atomic(Phase.empty))
    question = .allocate(capacity: 1)
    question.initialize(to: .stop)
    answer = .allocate(capacity: 1)
    answer.initialize(to: EngineReport())
  }

  func deallocate() {
    close(wakeUp)
    close(done)
    phase.deinitialize(count: 1).deallocate()
    question.deinitialize(count: 1).deallocate()
    answer.deinitialize(count: 1).deallocate()
  }

  // MARK: The worker's side.

  /// Whether a question waits.
  @inline(__always)
  var isAsked: Bool { phase.pointee.load(ordering: .acquiring) == Phase.asked }

  /// The question that waits. Clears the wake-up.
  func take() -> Question {
    Self.drain(wakeUp)
    return question.pointee
  }

  func reply(_ report: EngineReport) {
    answer.pointee = report
    phase.pointee.store(Phase.answered, ordering: .releasing)
    Self.signal(done)
  }

  // MARK: The control thread's side.

  /// Asks and waits for the answer; nil if the worker did not come by within `milliseconds`. Its answer to that question,
  /// when it does come, is thrown away by the next call.
  func ask(_ question: Question, within milliseconds: Int32) -> EngineReport? {
    if phase.pointee.load(ordering: .acquiring) == Phase.asked && !waitForAnswer(milliseconds) { return nil }
    Self.drain(done)
    self.question.pointee = question
    phase.pointee.store(Phase.asked, ordering: .releasing)
    Self.signal(wakeUp)
    return waitForAnswer(milliseconds) ? answer.pointee : nil
  }

  /// Asks and waits for as long as it takes: where a question that is given up would be answered all the same.
  func demand(_ question: Question) -> EngineReport { ask(question, within: .max) ?? EngineReport() }

  private func waitForAnswer(_ milliseconds: Int32) -> Bool {
    let deadline = monotonicTime() + UInt64(milliseconds) * 1_000_000
    while phase.pointee.load(ordering: .acquiring) != Phase.answered {
      let now = monotonicTime()
      if now >= deadline { return false }
      var entry = pollfd(fd: done, events: Int16(POLLIN), revents: 0)
      _ = sluice_poll(&entry, 1, deadline - now)
    }
    return true
  }

  private static func signal(_ descriptor: Int32) {
    var one: UInt64 = 1
    _ = write(descriptor, &one, 8)
  }

  private static func drain(_ descriptor: Int32) {
    var count: UInt64 = 0
    _ = read(descriptor, &count, 8)
  }
}
