import Glibc
import Testing

@testable import Gateway

/// What a process can still do once it has given everything up (REQUIREMENTS A24). It holds for one thread and those that
/// it starts, so a thread of its own is tried.
@Suite struct PrivilegeTests {
  private struct Trial {
    var hasDropped = false
    /// errno after each attempt.
    var program: Int32 = 0
    var root: Int32 = 0
    var file: Int32 = 0
    var status = ""
  }

  @Test func `A24 after the start no other program can be run, no root changed, and files can be read`() throws {
    var trial = Trial()
    var thread = pthread_t()
    try withUnsafeMutablePointer(to: &trial) { place in
      let made = pthread_create(
        &thread, nil,
        { place in
          let trial = place!.assumingMemoryBound(to: Trial.self)
          trial.pointee.hasDropped = (try? Privileges.drop()) != nil
          // Nothing has these names: without the filter the answer would be ENOENT.
          var arguments: [UnsafeMutablePointer<CChar>?] = [nil]
          trial.pointee.program = execv("/nonexistent/program", &arguments) == 0 ? 0 : errno
          trial.pointee.root = chroot("/nonexistent/root") == 0 ? 0 : errno
          trial.pointee.file = access("/nonexistent/file", F_OK) == 0 ? 0 : errno
          trial.pointee.status = PrivilegeTests.ownStatus()
          return nil
        }, place)
      try #require(made == 0)
      pthread_join(thread, nil)
    }
    #expect(trial.hasDropped)
    #expect(trial.program == EPERM && trial.root == EPERM && trial.file == ENOENT)
    let lines = trial.status.split(separator: "\n").map { $0.split(whereSeparator: \.isWhitespace).map(String.init) }
    for line in ["CapInh: 0000000000000000", "CapPrm: 0000000000000000", "CapEff: 0000000000000000", "NoNewPrivs: 1"] {
      #expect(lines.contains(line.split(separator: " ").map(String.init)), "\(line) in \(trial.status)")
    }
    #expect(lines.contains(["Seccomp:", "2"]))
  }

  private static func ownStatus() -> String {
    guard let file = fopen("/proc/thread-self/status", "r") else { return "" }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}
