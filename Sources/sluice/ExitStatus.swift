import ArgumentParser
import Glibc
import Settings

/// What `sluice` ends with.
enum ExitStatus: Int32 {
  case done = 0
  /// It failed while running; a damaged capture too.
  case failed = 1
  /// Bad usage, or an invalid configuration.
  case usage = 2
  /// A comparison found differences.
  case differs = 3
  /// Not permitted: no CAP_NET_RAW or CAP_NET_ADMIN.
  case notPermitted = 4

  var code: ExitCode { ExitCode(rawValue) }
}

/// An end of a command that is not success, with what to say about it.
struct Failure: Error {
  var status: ExitStatus
  /// Lines without the program's name.
  var messages: [String]

  init(_ status: ExitStatus, _ messages: String...) {
    self.status = status
    self.messages = messages
  }
}

/// Writes `sluice: TEXT` to standard error.
func complain(_ text: String) {
  let line = Array("sluice: \(text)\n".utf8)
  var written = 0
  while written < line.count {
    let count = line[written...].withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    if count < 0 && errno == EINTR { continue }
    if count <= 0 { return }
    written += count
  }
}

extension Sluice {
  /// Runs the command line. ArgumentParser ends with 64 for bad usage (sysexits.h); here that is 2.
  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      failure.messages.forEach(complain)
      Glibc.exit(failure.status.rawValue)
    } catch let errors as SettingsErrors {
      errors.messages.forEach(complain)
      Glibc.exit(ExitStatus.usage.rawValue)
    } catch {
      end(withParserError: error)
    }
  }

  /// Help and version requests, bad usage, and what a command throws as `ExitCode`.
  private static func end(withParserError error: any Error) -> Never {
    let code = exitCode(for: error)
    let message = fullMessage(for: error)
    if code == .success {
      print(message)
    } else if !message.isEmpty {
      let prefix = "Error: "
      complain(message.hasPrefix(prefix) ? String(message.dropFirst(prefix.count)) : message)
    }
    Glibc.exit(code == .validationFailure ? ExitStatus.usage.rawValue : code.rawValue)
  }
}
