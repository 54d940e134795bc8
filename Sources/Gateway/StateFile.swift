import CLinux
import Engine
import Glibc
import PacketIO

/// The file that holds the session table, so that it outlives the process, however that ends.
///
/// A new one is filled beside the old one and takes its place by its name, so that at every moment there is a whole one. A
/// lock on a third file, which the kernel gives back with the process, keeps a second gateway away.
final class StateFile {
  let path: String
  private let lock: Int32
  /// The mapped region that is in use.
  private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  /// What an earlier gateway has left; read-only, until it has been adopted.
  private var old = UnsafeMutableRawBufferPointer(start: nil, count: 0)

  private static let directory = "/dev/shm/sluice"
  /// The path for this network namespace.
  static var defaultPath: String { "\(directory)/\(HostFacts.namespaceNumber).state" }

  /// Which boot this is: what the kernel's clock counts from.
  static var boot: BootIdentity {
    let text = HostFacts.contents(of: "/proc/sys/kernel/random/boot_id")
    let digits = text.filter(\.isHexDigit)
    return BootIdentity(
      high: UInt64(digits.prefix(16), radix: 16) ?? 0, low: UInt64(digits.dropFirst(16), radix: 16) ?? 0)
  }

  /// Takes the file for this process alone.
  init(path: String) throws(GatewayError) {
    self.path = path
    if path == Self.defaultPath { mkdir(Self.directory, 0o700) }
    lock = open("\(path).lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard lock >= 0 else { throw GatewayError(SystemError("opening \(path).lock")) }
    guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      let isTaken = errno == EWOULDBLOCK
      let error = SystemError("locking \(path).lock")
      close(lock)
      throw isTaken
        ? .failed("another sluice uses \(path); stop it first, or give this one a path of its own with --state")
        : GatewayError(error)
    }
  }

  deinit {
    Self.unmap(memory)
    Self.unmap(old)
    close(lock)
  }

  /// Makes room for a new region, all of it taken now: a page that is missing later would end the process.
  func make(bytes: Int) throws(GatewayError) -> UnsafeMutableRawPointer {
    let file = open(newPath, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard file >= 0 else { throw GatewayError(SystemError("making \(newPath)")) }
    defer { close(file) }
    let code = posix_fallocate(file, 0, off_t(bytes))
    guard code == 0 else {
      unlink(newPath)
      throw .failed(
        "no room for the session table: \(bytes >> 20) MiB in \(path): \(String(cString: strerror(code))); give it "
          + "another place with [engine] state, or fewer sessions")
    }
    guard let mapped = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), mapped != MAP_FAILED else {
      unlink(newPath)
      throw GatewayError(SystemError("mapping \(newPath)"))
    }
    memory = UnsafeMutableRawBufferPointer(start: mapped, count: bytes)
    return mapped
  }

  /// What an earlier gateway has left; nil where there is none.
  ///
  /// - Throws: `SavedRegion.Refusal` where there is something that cannot be used.
  func saved() throws -> SavedRegion? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    if file < 0 && errno == ENOENT { return nil }
    guard file >= 0 else { throw SystemError("opening \(path)") }
    defer { close(file) }
    var facts = stat()
    guard fstat(file, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG, facts.st_uid == geteuid() else {
      throw SavedRegion.Refusal.foreign
    }
    let bytes = Int(facts.st_size)
    // A file with holes was cut short or never finished: reading one may need memory that is not there.
    guard bytes >= 8192, Int(facts.st_blocks) * 512 >= bytes else { throw SavedRegion.Refusal.damaged }
    guard let mapped = mmap(nil, bytes, PROT_READ, MAP_SHARED, file, 0), mapped != MAP_FAILED else {
      throw SystemError("mapping \(path)")
    }
    old = UnsafeMutableRawBufferPointer(start: mapped, count: bytes)
    return try SavedRegion(old, boot: Self.boot)
  }

  /// The new region takes the place of what was there before.
  func replace() throws(GatewayError) {
    guard rename(newPath, path) == 0 else { throw GatewayError(SystemError("renaming \(newPath)")) }
    Self.unmap(old)
    old = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  }

  private var newPath: String { "\(path).new" }

  private static func unmap(_ bytes: UnsafeMutableRawBufferPointer) {
    if let start = bytes.baseAddress { munmap(start, bytes.count) }
  }
}
