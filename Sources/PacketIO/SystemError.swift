import CLinux
import Glibc

/// A system call that failed.
public struct SystemError: Error, Equatable, CustomStringConvertible {
  /// What was attempted, for people: a call with what it was about.
  public var call: String
  /// errno.
  public var code: Int32

  public init(_ call: String, code: Int32 = errno) {
    self.call = call
    self.code = code
  }

  public var description: String { "\(call): \(String(cString: strerror(code)))" }

  /// The kernel refused for want of a privilege.
  public var isPermission: Bool { code == EPERM || code == EACCES }
}

/// `result` where it is not negative; else errno as an error.
@discardableResult
public func checked(_ result: Int32, _ call: @autoclosure () -> String) throws(SystemError) -> Int32 {
  if result < 0 { throw SystemError(call(), code: errno) }
  return result
}

/// CLOCK_BOOTTIME in nanoseconds: the engine's time, which no clock setting moves. It counts a suspension too, like the
/// timers at the other ends, and means the same for the next process.
@inline(__always)
public func monotonicTime() -> UInt64 {
  var now = timespec()
  clock_gettime(CLOCK_BOOTTIME, &now)
  return UInt64(truncatingIfNeeded: now.tv_sec) &* 1_000_000_000 &+ UInt64(truncatingIfNeeded: now.tv_nsec)
}
