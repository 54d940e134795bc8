import CLinux
import Engine
import Glibc
import PacketIO

/// A running worker, as the control thread knows it.
struct WorkerThread {
  let mailbox: Mailbox
  private let thread: pthread_t

  /// Starts `worker` on a thread of its own, which inherits the caller's signal mask and capabilities.
  static func start(_ worker: consuming Worker<Forwarder>) throws(GatewayError) -> WorkerThread {
    let mailbox = worker.mailbox
    let core = worker.options.core
    let place = UnsafeMutablePointer<Worker<Forwarder>>.allocate(capacity: 1)
    place.initialize(to: worker)
    return try start(place, mailbox, core) { Worker<Forwarder>.main($0!) }
  }

  static func start(_ worker: consuming Worker<Mirror>) throws(GatewayError) -> WorkerThread {
    let mailbox = worker.mailbox
    let core = worker.options.core
    let place = UnsafeMutablePointer<Worker<Mirror>>.allocate(capacity: 1)
    place.initialize(to: worker)
    return try start(place, mailbox, core) { Worker<Mirror>.main($0!) }
  }

  /// `body` is the one thing that differs: a C function cannot be generic.
  private static func start(
    _ place: UnsafeMutableRawPointer, _ mailbox: Mailbox, _ core: Int?,
    _ body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?
  ) throws(GatewayError) -> WorkerThread {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    if let core { sluice_pin(&attributes, UInt32(core)) }
    var thread = pthread_t()
    let code = pthread_create(&thread, &attributes, body, place)
    guard code == 0 else {
      throw GatewayError(SystemError("starting a worker thread" + (core.map { " on core \($0)" } ?? ""), code: code))
    }
    return WorkerThread(mailbox: mailbox, thread: thread)
  }

  /// Stops it, waits for its end, and returns its last report.
  func stop() -> EngineReport {
    var report = mailbox.ask(.stop, within: 5000)
    while report == nil { report = mailbox.ask(.stop, within: 5000) }
    pthread_join(thread, nil)
    mailbox.deallocate()
    return report!
  }
}

extension Worker where J: ~Copyable {
  /// The thread's whole life: runs the worker at `place`, then takes it away.
  fileprivate static func main(_ place: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
    let worker = place.assumingMemoryBound(to: Self.self)
    worker.pointee.run()
    worker.deinitialize(count: 1).deallocate()
    return nil
  }
}
