import CLinux
import Glibc
import PacketIO

/// SIGTERM, SIGINT and SIGHUP as things to read, blocked for every thread that is started afterwards.
struct HostSignals: ~Copyable {
  let descriptor: Int32

  init() throws(SystemError) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    descriptor = try checked(
      signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK)), "making a signal descriptor")
  }

  deinit { close(descriptor) }

  /// The next signal that came; nil for none.
  func next() -> Int32? {
    var information = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    return read(descriptor, &information, size) == size ? Int32(information.ssi_signo) : nil
  }
}
