import CLinux
import Foundation
import PacketIO

/// Serves the control socket from the main thread: never blocks on a client, keeps no more of one than a bounded request
/// and its answer, and lets none stay for long.
final class ControlServer {
  private struct Client {
    let descriptor: Int32
    var request: [UInt8] = []
    var answer: [UInt8] = []
    var sent = 0
    let deadline: UInt64
  }

  private static let maximumClients = 8
  /// Nanoseconds that a client may take for all.
  private static let patience: UInt64 = 10_000_000_000

  private let path: String
  private let listener: Int32
  private var clients: [Client] = []

  init(path: String) throws(GatewayError) {
    self.path = path
    listener = try ControlSocket.listen(at: path)
    _ = fcntl(listener, F_SETFL, O_NONBLOCK)
  }

  deinit {
    for client in clients { close(client.descriptor) }
    close(listener)
    unlink(path)
  }

  /// What to wait for; when one of them is ready, or a second has passed, `serve` is to be called.
  var pollEntries: [pollfd] {
    var entries = clients.map {
      pollfd(fd: $0.descriptor, events: Int16($0.answer.isEmpty ? POLLIN : POLLOUT), revents: 0)
    }
    // One too many stays in the backlog until there is room.
    if clients.count < Self.maximumClients { entries.append(pollfd(fd: listener, events: Int16(POLLIN), revents: 0)) }
    return entries
  }

  /// Moves every client on as far as it goes now.
  func serve(answer: (ControlRequest) -> ControlAnswer) {
    while clients.count < Self.maximumClients, case let descriptor = accept(listener, nil, nil), descriptor >= 0 {
      _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
      _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
      clients.append(Client(descriptor: descriptor, deadline: monotonicTime() + Self.patience))
    }
    var index = 0
    while index < clients.count {
      if step(&clients[index], answer) {
        index += 1
      } else {
        close(clients[index].descriptor)
        clients.remove(at: index)
      }
    }
  }

  /// False when the client is done with.
  private func step(_ client: inout Client, _ answer: (ControlRequest) -> ControlAnswer) -> Bool {
    if client.answer.isEmpty {
      guard receive(&client) else { return false }
      guard let end = client.request.firstIndex(of: UInt8(ascii: "\n")) else {
        if client.request.count > ControlRequest.maximumBytes { return false }
        return monotonicTime() < client.deadline
      }
      client.answer = Self.encode(
        Self.decode(client.request[..<end]).map(answer) ?? ControlAnswer(error: "not a request"))
    }
    while client.sent < client.answer.count {
      let count = client.answer.withUnsafeBytes {
        send(client.descriptor, $0.baseAddress! + client.sent, $0.count - client.sent, Int32(MSG_NOSIGNAL))
      }
      if count > 0 {
        client.sent += count
      } else {
        return count < 0 && (errno == EAGAIN || errno == EINTR) && monotonicTime() < client.deadline
      }
    }
    return false
  }

  /// Reads what has come; false when the client has gone.
  private func receive(_ client: inout Client) -> Bool {
    var chunk = [UInt8](repeating: 0, count: 1024)
    while client.request.count <= ControlRequest.maximumBytes {
      let count = recv(client.descriptor, &chunk, chunk.count, 0)
      if count == 0 { return false }
      if count < 0 { return errno == EAGAIN || errno == EINTR }
      client.request += chunk[..<count]
    }
    return true
  }

  private static func decode(_ line: ArraySlice<UInt8>) -> ControlRequest? {
    try? JSONDecoder().decode(ControlRequest.self, from: Data(line))
  }

  private static func encode(_ answer: ControlAnswer) -> [UInt8] {
    guard let data = try? JSONEncoder().encode(answer) else { preconditionFailure("an answer is plain data") }
    return Array(data) + [UInt8(ascii: "\n")]
  }
}
