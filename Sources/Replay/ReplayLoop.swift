import Capture
import Engine

/// Whoever looks over a replay's shoulder: it has each frame judged itself, one at a time.
///
/// The size of a burst has no influence on the outcome, so frames may be judged singly where somebody looks.
protocol ReplayObserver: AnyObject {
  /// Has one frame judged. `number` is its place in its capture, from 1.
  func judge(_ slot: UnsafeMutablePointer<FrameSlot>, number: Int, with forwarder: inout Forwarder) throws(CaptureError)
  /// Timers after the last frame have fired: the outbox holds what they made.
  func timersFired(_ forwarder: borrowing Forwarder) throws(CaptureError)
  /// True where no further frame needs to be judged.
  var isDone: Bool { get }
}

/// The replay itself: bursts out of the merged captures, through the engine, to the writers.
struct ReplayLoop: ~Copyable {
  private let run: ReplayRun
  private let edits: [InputEdit]
  /// Frames are judged as they were read.
  private let isUnedited: Bool
  private let burst: ReplayBurst
  private let burstFrames: Int
  private let output: ReplayOutput?
  private let observer: (any ReplayObserver)?
  private var pace: ReplayPace?
  private let start = machineTime()
  private var progress = ReplayProgress()
  /// Bytes of the passes before this one.
  private var passedBytes = 0
  private var nextReport: UInt64 = 0
  /// Added to the times of this pass.
  private var shift: UInt64 = 0
  /// Place of the last frame of a burst in its capture.
  private var number = 0
  /// The latest time that any frame had.
  private(set) var clock: UInt64
  var forwarder: Forwarder

  /// Frames between two looks at the clock for the progress.
  private static let reportFrames: UInt64 = 1 << 14
  /// Each pass begins so many nanoseconds after the one before has ended.
  static let passGap: UInt64 = 1_000_000

  init(
    _ run: ReplayRun, plan: Plan, forwarder: consuming Forwarder, clock: UInt64, output: ReplayOutput?,
    observer: (any ReplayObserver)?
  ) {
    self.run = run
    self.forwarder = forwarder
    self.clock = clock
    self.output = output
    self.observer = observer
    edits = plan.interfaces.map { interface in
      InputEdit(
        station: run.takesEveryFrame ? interface.mac : nil, map: run.map.isEmpty ? nil : AddressMap(run.map),
        offloadMTU: run.hasOffloads ? interface.mtu : nil, isEthernet: interface.link == .ethernet)
    }
    isUnedited = edits.allSatisfy(\.isIdle)
    burstFrames = observer == nil ? run.burstFrames : 1
    burst = ReplayBurst(frames: burstFrames)
    pace = ReplayPace(run.speed)
  }

  deinit { burst.deallocate() }

  /// What each part of the work has cost so far.
  var times: StageTimes { progress.times }

  /// Plays everything the captures hold, as often as it is wanted. The first failure of a capture ends it.
  mutating func play(_ first: consuming InputMerge) throws(CaptureError) -> CaptureError? {
    let base = clock
    var merge = first
    progress.totalBytes = merge.totalBytes.map { $0 * run.loops }
    for pass in 0..<run.loops {
      if pass > 0 {
        passedBytes += merge.readBytes
        // The first frame of this pass comes right behind the last of the one before.
        shift = clock &- base &+ Self.passGap
        merge = InputMerge(run.inputs, filter: run.filter)
      }
      try forward(&merge)
      if let failure = merge.failure { return failure }
      if observer?.isDone == true { return nil }
    }
    report(merge, isLast: true)
    return nil
  }

  private mutating func forward(_ merge: inout InputMerge) throws(CaptureError) {
    var began = machineTime()
    while true {
      let waited = pace?.waited ?? 0
      let count = gather(&merge)
      if count == 0 { return }
      let read = machineTime()
      if let observer {
        try observer.judge(burst.slots, number: number, with: &forwarder)
      } else {
        forwarder.process(burst.slots, count: count)
      }
      let judged = machineTime()
      try output?.write(burst.slots, count: count, outbox: forwarder.outbox)
      let written = machineTime()
      progress.times.read += read - began - ((pace?.waited ?? 0) - waited)
      progress.times.engine += judged - read
      progress.times.write += written - judged
      progress.frames += UInt64(count)
      began = written
      report(merge)
      if observer?.isDone == true { return }
    }
  }

  /// Fills the burst's slots with the next frames and returns how many there are; 0 at the end.
  private mutating func gather(_ merge: inout InputMerge) -> Int {
    var count = 0
    var used = 0
    while count < burstFrames, burst.hasRoom(behind: used) {
      if pace != nil {
        guard let time = merge.nextTime() else { break }
        // A frame that is not due yet begins the next burst.
        if count > 0, pace!.due(time &+ shift, now: 0) > machineTime() { break }
        pace!.wait(for: time &+ shift)
      }
      guard let (frame, interface) = merge.next() else { break }
      let slot = burst.slots + count
      slot.pointee = burst.copy(frame, interface: interface, behind: &used)
      slot.pointee.time &+= shift
      if !isUnedited, !edits[interface].isIdle { edits[interface].apply(to: &slot.pointee) }
      clock = max(clock, slot.pointee.time)
      number = frame.number
      count += 1
    }
    return count
  }

  private mutating func report(_ merge: borrowing InputMerge, isLast: Bool = false) {
    guard let tell = run.onProgress, isLast || progress.frames >= nextReport else { return }
    nextReport = progress.frames + (pace == nil ? Self.reportFrames : 1)
    progress.readBytes = passedBytes + merge.readBytes
    progress.elapsed = machineTime() - start
    tell(progress)
  }

  // MARK: After the last frame

  /// Fires the timers that are due by the replay's end, each at its own time.
  mutating func runOn() throws(CaptureError) {
    let last: UInt64
    switch run.end {
    case .lastFrame: return
    case .after(let nanoseconds):
      let (sum, isBeyond) = clock.addingReportingOverflow(nanoseconds)
      last = isBeyond ? Self.endOfTime : min(sum, Self.endOfTime)
    case .idle: last = Self.endOfTime
    }
    var clock = clock
    while true {
      var next = forwarder.nextDeadline
      // Sessions end unseen: their deadline counts only where somebody waits for the last of them.
      if run.end == .idle, forwarder.idleDeadline > clock { next = min(next, forwarder.idleDeadline) }
      if next > last { break }
      clock = max(clock, next)
      try advance(to: clock)
      precondition(forwarder.nextDeadline > clock, "a timer that is due again at once would never let the clock go on")
    }
    if run.end != .idle { try advance(to: last) }
  }

  private mutating func advance(to time: UInt64) throws(CaptureError) {
    forwarder.advance(to: time)
    try output?.writeOutbox(forwarder.outbox)
    try observer?.timersFired(forwarder)
  }

  /// The year 2262: far behind what a capture can hold, and far from overflow.
  private static let endOfTime = UInt64(Int64.max)
}
