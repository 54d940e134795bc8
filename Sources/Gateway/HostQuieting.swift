import CLinux
import Glibc
import PacketIO

/// Keeps the host's stack from seeing what the engine takes, for as long as this object and this process live.
///
/// A child process, `nft -i`, makes one table for each device with `flags owner`: the kernel itself removes such a table when
/// the process that made it ends, and lets nobody else touch it. The child ends when its end of our socket closes. So
/// nothing is ever left behind, not even after `kill -9`, and the table doubles as the lock on its device. Only the
/// child needs CAP_NET_ADMIN from then on.
final class HostQuieting {
  private let nft: pid_t
  /// Our end of nft's standard input and output.
  let descriptor: Int32
  private var isOpen = true
  private var installed: [(device: PacketDevice, rules: QuietingRules)] = []

  /// Milliseconds that another gateway's table may outlive it, after it was killed: nft must see its input end.
  private static let leaseMilliseconds = 2000
  private static let answerMilliseconds = 10_000

  /// - Throws: with every rule undone.
  init(_ rules: [(device: PacketDevice, rules: QuietingRules)]) throws(GatewayError) {
    var ends: (Int32, Int32) = (-1, -1)
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let made = withUnsafeMutablePointer(to: &ends) {
      $0.withMemoryRebound(to: Int32.self, capacity: 2) { socketpair(AF_UNIX, kind, 0, $0) }
    }
    guard made == 0 else { throw GatewayError(SystemError("making a socket pair")) }
    nft = Self.spawnNft(on: ends.1)
    close(ends.1)
    descriptor = ends.0
    guard nft > 0 else {
      close(descriptor)
      throw .failed("cannot start nft: \(String(cString: strerror(-nft))); install the package nftables")
    }
    for (device, rules) in rules { try install(rules, on: device) }
    installed = rules
  }

  /// Puts other rules in the place of those of each device, in one step for each.
  ///
  /// - Throws: where nft refuses; the device has its old rules then, earlier ones have their new ones.
  func replace(_ rules: [QuietingRules]) throws(GatewayError) {
    for (index, new) in rules.enumerated() where installed[index].rules != new {
      let device = installed[index].device
      let chain = "netdev sluice_\(device.index) ingress"
      let commands = ["flush chain \(chain)"] + new.rules.map { "add rule \(chain) \($0)" }
      let said = try run(commands.joined(separator: "; ")).joined(separator: "\n")
      guard said.isEmpty else {
        throw .failed("nft refuses to hide what sluice takes on \(device.name) from the host: \(said)")
      }
      installed[index].rules = new
    }
  }

  /// The rules of each device.
  var rules: [QuietingRules] { installed.map(\.rules) }

  deinit { remove() }

  /// Removes every rule; the kernel has done so when this returns.
  func remove() {
    guard isOpen else { return }
    isOpen = false
    close(descriptor)
    var status: Int32 = 0
    while waitpid(nft, &status, 0) < 0 && errno == EINTR {}
  }

  /// Whether nft still runs; reads and forgets what it says of its own accord.
  var isAlive: Bool {
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = recv(descriptor, &chunk, chunk.count, Int32(MSG_DONTWAIT))
      if count == 0 { return false }
      if count < 0 { return errno == EAGAIN || errno == EINTR }
    }
  }

  /// `nft` is in sbin, which a user's PATH may not name.
  private static func spawnNft(on end: Int32) -> pid_t {
    var result: pid_t = -ENOENT
    for path in ["nft", "/usr/sbin/nft", "/sbin/nft"] where result == -ENOENT {
      var arguments = [strdup(path), strdup("-i"), nil]
      result = sluice_spawn(&arguments, end, end, end)
      arguments.forEach { free($0) }
    }
    return result
  }

  private func install(_ rules: QuietingRules, on device: PacketDevice) throws(GatewayError) {
    let table = "netdev sluice_\(device.index)"
    let deadline = monotonicTime() + UInt64(Self.leaseMilliseconds) * 1_000_000
    while try run("list tables netdev").contains("table \(table)") {
      guard monotonicTime() < deadline else {
        throw .failed(
          "device \(device.name) is in use by another sluice; stop it first, or give this one another device")
      }
      usleep(20_000)
    }
    // One line is one transaction. Priority -500: before everything else at ingress, so that nothing is wasted on what
    // is not for the host.
    let commands =
      [
        "create table \(table) { flags owner; }",
        "add chain \(table) ingress { type filter hook ingress device \"\(device.name)\" priority -500; "
          + "policy \(rules.policy.rawValue); }",
      ] + rules.rules.map { "add rule \(table) ingress \($0)" }
    let said = try run(commands.joined(separator: "; ")).joined(separator: "\n")
    guard said.isEmpty else {
      let text = "nft refuses to hide what sluice takes on \(device.name) from the host: \(said)"
      throw said.contains("not permitted") ? .notPermitted(text) : .failed(text)
    }
  }

  /// Runs one line of commands and returns the lines that nft says.
  private func run(_ line: String) throws(GatewayError) -> [Substring] {
    // `describe` of anything always answers, after everything before it.
    let mark = "payload expression, datatype inet_service"
    try write(Array("\(line)\ndescribe tcp dport\n".utf8))
    let deadline = monotonicTime() + UInt64(Self.answerMilliseconds) * 1_000_000
    var said: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let now = monotonicTime()
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard now < deadline, sluice_poll(&entry, 1, deadline - now) > 0 else { throw .failed("nft does not answer") }
      let count = recv(descriptor, &chunk, chunk.count, 0)
      guard count > 0 else { throw .failed("nft ended: \(String(decoding: said, as: UTF8.self))") }
      said += chunk[..<count]
      guard said.last == UInt8(ascii: "\n") else { continue }
      let lines = String(decoding: said, as: UTF8.self).split(separator: "\n")
      if lines.last?.hasPrefix(mark) == true { return lines.dropLast() }
    }
  }

  private func write(_ bytes: [UInt8]) throws(GatewayError) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        send(descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw .failed("nft ended while it was needed") }
      sent += count
    }
  }
}
