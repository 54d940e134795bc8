import CLinux
import Glibc

/// Why the lab could not do something, in words for people.
package struct LabError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// How a program ended and what it said.
package struct Outcome: Sendable {
  /// The program and its arguments, as a shell would take them.
  package let commandLine: String
  /// The exit status; 128 + the signal's number if a signal ended it, as a shell counts.
  package let status: Int32
  /// Whether it was killed because its time was up.
  package let timedOut: Bool
  package let output: String
  package let errors: String

  package var succeeded: Bool { status == 0 && !timedOut }

  /// One line that says what went wrong.
  package var complaint: String {
    let reason = timedOut ? "took too long" : "ended with status \(status)"
    let said = errors.isEmpty ? output : errors
    return "`\(commandLine)` \(reason)" + (said.isEmpty ? "" : ": \(said.trimmed)")
  }
}

/// A program that was started: leader of a process group of its own, its output kept in memory files.
///
/// Files rather than pipes: nobody has to read while it runs, and a grandchild that inherits the output delays no one.
package final class Child {
  package let commandLine: String
  package let pid: pid_t
  private let pidfd: Int32
  private let outputFile: Int32
  private let errorFile: Int32
  private var ended: (status: Int32, timedOut: Bool)?
  private var outlivesUs = false

  /// - Parameters:
  ///   - argv: the program, looked up in PATH, and its arguments.
  ///   - log: a file that takes its standard output and error, for programs that outlive this process.
  package init(_ argv: [String], log: String? = nil) throws(LabError) {
    commandLine = argv.map(\.shellQuoted).joined(separator: " ")
    if let log {
      outputFile = open(log, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
      errorFile = outputFile
    } else {
      outputFile = sluice_memory_file("output")
      errorFile = sluice_memory_file("errors")
    }
    let input = open("/dev/null", O_RDONLY | O_CLOEXEC)
    var cStrings = argv.map { strdup($0) } + [nil]
    pid = sluice_spawn(&cStrings, input, outputFile, errorFile)
    cStrings.forEach { free($0) }
    close(input)
    pidfd = pid > 0 ? sluice_pidfd(pid) : -1
    guard pid > 0 else {
      throw LabError("cannot start `\(argv.first ?? "")`: \(String(cString: strerror(-pid)))")
    }
  }

  deinit {
    if !outlivesUs { kill() }
    for descriptor in Set([pidfd, outputFile, errorFile]) where descriptor >= 0 { close(descriptor) }
  }

  /// Leaves it running when this object or this process goes.
  package func detach() { outlivesUs = true }

  /// What it has written to standard output so far.
  package var output: String { contents(of: outputFile) }
  /// What it has written to standard error so far.
  package var errors: String { contents(of: errorFile) }
  package var isRunning: Bool { ended == nil && !reap(afterMilliseconds: 0) }

  /// Waits for its end, at most `seconds`; then the whole group is killed.
  /// - Throws: `Interruption` if somebody asked us to stop meanwhile; the group is killed then too.
  @discardableResult
  package func wait(seconds: Double) throws(Interruption) -> Outcome {
    let deadline = Clock.now + seconds
    while ended == nil {
      if Interruption.isRequested {
        kill()
        throw Interruption()
      }
      let left = deadline - Clock.now
      if left <= 0 {
        kill()
        ended?.timedOut = true
      } else {
        _ = reap(afterMilliseconds: Int32(min(left * 1000, 100)) + 1)
      }
    }
    return outcome
  }

  /// Asks it to end by `signal`, and kills the group if it has not after `seconds`.
  @discardableResult
  package func stop(signal: Int32 = SIGTERM, seconds: Double = 5) -> Outcome {
    if ended == nil { Glibc.kill(pid, signal) }
    let deadline = Clock.now + seconds
    while ended == nil && Clock.now < deadline { _ = reap(afterMilliseconds: 100) }
    kill()
    return outcome
  }

  /// Kills the whole group at once (SIGKILL) and waits for the leader's end.
  package func kill() {
    guard pid > 0, ended == nil else { return }
    Glibc.kill(-pid, SIGKILL)
    while ended == nil { _ = reap(afterMilliseconds: 1000) }
  }

  private var outcome: Outcome {
    Outcome(
      commandLine: commandLine, status: ended?.status ?? -1, timedOut: ended?.timedOut ?? false, output: output,
      errors: errors)
  }

  /// Collects the exit status if the process has ended or does within this time.
  private func reap(afterMilliseconds limit: Int32) -> Bool {
    var item = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
    guard poll(&item, 1, limit) > 0 else { return false }
    var raw: Int32 = 0
    guard waitpid(pid, &raw, 0) == pid else { return false }
    // wait(2): the low seven bits hold the signal, the second byte the exit status.
    ended = (raw & 0x7F == 0 ? (raw >> 8) & 0xFF : 128 + (raw & 0x7F), false)
    return true
  }

  private func contents(of file: Int32) -> String {
    var status = stat()
    guard fstat(file, &status) == 0, status.st_size > 0 else { return "" }
    let size = Int(status.st_size)
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      count = max(0, pread(file, buffer.baseAddress, size, 0))
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// Runs a program to its end.
/// - Parameter seconds: after that long its whole process group is killed.
@discardableResult
package func run(_ argv: [String], seconds: Double = 10) throws -> Outcome {
  try Child(argv).wait(seconds: seconds)
}

/// Runs a program that has to succeed, and returns what it wrote to standard output.
@discardableResult
package func demand(_ argv: [String], seconds: Double = 10) throws -> String {
  let outcome = try run(argv, seconds: seconds)
  guard outcome.succeeded else { throw LabError(outcome.complaint) }
  return outcome.output
}

enum Clock {
  /// Seconds of a clock that never jumps.
  static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}

extension String {
  var trimmed: String {
    guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace }) else {
      return ""
    }
    return String(self[first...last])
  }

  /// In quotes where a shell would need them.
  var shellQuoted: String {
    let plain = !isEmpty && allSatisfy { $0.isLetter || $0.isNumber || "-_./:=,+@%".contains($0) }
    return plain ? self : "'" + split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }
}
