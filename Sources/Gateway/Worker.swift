import CLinux
import Capture
import Engine
import Glibc
import PacketIO

/// How a worker trades latency against a core.
struct WorkerOptions: Sendable {
  /// Frames that are judged at once: more hide the memory's latency better, fewer keep the first frame waiting less.
  var burst = 64
  /// Nanoseconds to watch the rings after the last frame before sleeping: waking an idle core costs both sides about
  /// 1.5 us a frame.
  var spin: UInt64 = 50_000
  /// The only core to run on; nil for any.
  var core: Int?
}

/// One thread of the gateway: takes bursts out of its rings, has them judged, sends them from where they lie.
///
/// Lives behind an `UnsafeMutablePointer` that is given to `pthread_create`: after that only its own thread touches it, the
/// control thread asks through the mailbox. Nothing in the loop allocates or counts references.
struct Worker<J: Judge & ~Copyable>: ~Copyable {
  var judge: J
  private var transmitter: Transmitter
  private let rings: RingSet
  private let slots: UnsafeMutablePointer<FrameSlot>
  private let pollSet: UnsafeMutablePointer<pollfd>
  private let pollCount: Int
  let mailbox: Mailbox
  let options: WorkerOptions
  private let interfaceCount: Int
  /// Frames that a client wants explained.
  private var watch: FrameWatch?
  /// Keeps the last frames.
  private let recorder: FlightRecorder?
  /// Nanoseconds to sleep at most while memory of this worker waits for the others.
  private static var shortSleep: UInt64 { 10_000_000 }

  /// - Parameter transmitter: its destinations are the interfaces.
  init(
    judge: consuming J, rings: consuming RingSet, transmitter: consuming Transmitter, interfaceCount: Int,
    mailbox: Mailbox, options: WorkerOptions, recorder: FlightRecorder? = nil
  ) {
    self.recorder = recorder
    self.judge = judge
    self.transmitter = transmitter
    self.interfaceCount = interfaceCount
    self.mailbox = mailbox
    self.options = options
    slots = .allocate(capacity: options.burst)
    slots.initialize(
      repeating: FrameSlot(bytes: UnsafeMutableRawPointer(slots), length: 0, headroom: 0, link: 0, time: 0),
      count: options.burst)
    let watched = rings.descriptors.joined() + [mailbox.wakeUp]
    pollCount = watched.count
    pollSet = .allocate(capacity: pollCount)
    for (index, descriptor) in watched.enumerated() {
      pollSet[index] = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    }
    self.rings = rings
  }

  deinit {
    slots.deallocate()
    pollSet.deallocate()
  }

  /// Forwards until it is told to stop.
  mutating func run() {
    var now = monotonicTime()
    var lastFrame = now
    judge.wake()
    while true {
      if mailbox.isAsked && !answer() {
        _ = judge.sleep()
        return
      }
      var isBusy = false
      for link in 0..<rings.count where rings[link].pointee.isReady(at: now) {
        forward(link: link, time: monotonicTime())
        isBusy = true
      }
      now = monotonicTime()
      if judge.nextDeadline <= now {
        recordState()
        judge.advance(to: now)
        recorder?.didAdvance(to: now, outbox: judge.outbox)
        sendOutbox()
      }
      if isBusy {
        lastFrame = now
      } else if now &- lastFrame < options.spin {
        sluice_pause()
      } else {
        sleep(now: now)
      }
    }
  }

  /// One burst of one ring: judged, sent, and its slots given back.
  private mutating func forward(link: Int, time: UInt64) {
    let ring = rings[link]
    let count = ring.pointee.collect(
      into: slots, limit: watch == nil ? options.burst : 1, link: UInt16(truncatingIfNeeded: link), time: time)
    recordState()
    recorder?.willJudge(slots, count: count)
    if watch == nil || count == 0 { judge.process(slots, count: count) } else { judgeWatched(time) }
    recorder?.didJudge(slots, count: count, outbox: judge.outbox)
    let outbox = judge.outbox
    var nextMade = 0
    var released = 0
    for index in 0..<count {
      while nextMade < outbox.count && Int(outbox[nextMade].position) <= index {
        send(outbox[nextMade])
        nextMade &+= 1
      }
      let slot = slots + index
      guard slot.pointee.verdict == .forward else { continue }
      if transmitter.mustFlush(before: slot.pointee.length) {
        flush()
        // Everything before this frame is settled: the kernel may have those slots back now.
        ring.pointee.release(index &- released)
        released = index
      }
      transmitter.append(slot)
    }
    while nextMade < outbox.count {
      send(outbox[nextMade])
      nextMade &+= 1
    }
    flush()
    ring.pointee.release(count &- released)
  }

  /// What frames to come will meet, where the recorder wants to know.
  private mutating func recordState() {
    guard let recorder, recorder.wantsState else { return }
    recorder.keepState { judge.save(to: &$0) }
  }

  /// One frame under a client's eyes. It may take its time: the watch is bounded.
  @inline(never)
  private mutating func judgeWatched(_ now: UInt64) { watch!.judge(slots, with: &judge, now: now) }

  private mutating func sendOutbox() {
    for frame in judge.outbox { send(frame) }
    flush()
  }

  private mutating func send(_ frame: OutboxFrame) {
    if transmitter.mustFlush(before: frame.length) { flush() }
    transmitter.append(frame)
  }

  private mutating func flush() {
    if transmitter.isEmpty { return }
    let failed = transmitter.flush()
    for index in 0..<failed {
      let failure = transmitter.failure(index)
      if failure.owner >= 0 { judge.takeBack(ingress: Int(failure.owner), reason: failure.reason) }
    }
  }

  /// Sleeps until a frame, a question or a timer comes.
  private mutating func sleep(now: UInt64) {
    let deadline = judge.nextDeadline
    var wait = deadline == .max ? UInt64.max : deadline > now ? deadline &- now : 0
    if !judge.sleep() { wait = min(wait, Self.shortSleep) }
    let ready = sluice_poll(pollSet, UInt(pollCount), wait)
    judge.wake()
    if ready <= 0 { return }
    for index in 0..<pollCount where pollSet[index].revents & Int16(POLLERR) != 0 {
      // A device went down or away. The error is reported once; frames come again when the device is up again.
      for link in 0..<rings.count { _ = rings[link].pointee.takeError() }
    }
  }

  /// Answers the question in the mailbox; false when it was to stop.
  private mutating func answer() -> Bool {
    let question = mailbox.take()
    switch question {
    case .report(let limit):
      mailbox.reply(judge.report(interfaces: interfaceCount, sessionLimit: limit))
      return true
    case .watch(let wanted):
      let isFree = watch?.isOver(at: monotonicTime()) ?? true
      if isFree { watch = wanted }
      var report = EngineReport()
      report.isWatching = isFree
      mailbox.reply(report)
      return true
    case .watched:
      var report = EngineReport()
      report.explained = watch?.take() ?? []
      if watch?.isOver(at: monotonicTime()) == true { watch = nil }
      report.isWatching = watch != nil
      mailbox.reply(report)
      return true
    case .stop:
      mailbox.reply(judge.report(interfaces: interfaceCount, sessionLimit: 0))
      return false
    case .recording:
      var report = EngineReport()
      report.recording = recorder?.copy()
      mailbox.reply(report)
      return true
    case .replace:
      recorder?.interrupt()
      watch?.end()
      let answer = judge.answer(question)
      sendOutbox()
      mailbox.reply(answer)
      return true
    case .cut:
      recorder?.interrupt()
      mailbox.reply(judge.answer(question))
      return true
    case .forecast, .session, .drops:
      mailbox.reply(judge.answer(question))
      return true
    }
  }
}
