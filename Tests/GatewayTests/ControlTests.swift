import Foundation
import PacketTestKit
import Testing

@testable import Gateway

/// The control server with real sockets, stepped by the test itself as the gateway's main loop steps it.
@Suite struct ControlTests {
  private let directory: TemporaryDirectory
  private let path: String

  init() throws {
    directory = try TemporaryDirectory()
    path = directory("control.sock")
  }

  private func answer(_ request: ControlRequest) -> ControlAnswer {
    ControlAnswer(error: "\(request.command) \(request.limit ?? -1)")
  }

  private func client(sending text: String) throws -> Int32 {
    let descriptor = try ControlSocket.connect(to: path)
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    #expect(send(descriptor, text, text.utf8.count, Int32(MSG_NOSIGNAL)) == text.utf8.count)
    return descriptor
  }

  /// What the server has sent so far, and whether it has closed the connection.
  private func received(_ descriptor: Int32) -> (text: String, isClosed: Bool) {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = recv(descriptor, &chunk, chunk.count, 0)
      if count <= 0 { return (String(decoding: bytes, as: UTF8.self), count == 0) }
      bytes += chunk[..<count]
    }
  }

  @Test func `a request gets one line, and the connection closes`() throws {
    let server = try ControlServer(path: path)
    let descriptor = try client(sending: "{\"command\":\"flows\",\"limit\":7}\n")
    defer { close(descriptor) }
    server.serve(answer: answer)
    #expect(received(descriptor) == ("{\"error\":\"flows 7\"}\n", true))
  }

  @Test func `a request may come in pieces`() throws {
    let server = try ControlServer(path: path)
    let descriptor = try client(sending: "{\"comm")
    defer { close(descriptor) }
    server.serve(answer: answer)
    #expect(received(descriptor) == ("", false))
    _ = send(descriptor, "and\":\"status\"}\n", 15, 0)
    server.serve(answer: answer)
    #expect(received(descriptor) == ("{\"error\":\"status -1\"}\n", true))
  }

  @Test(arguments: ["hello\n", "{}\n", "{\"command\":\"reboot\"}\n", "\n", "\0\n"])
  func `what is no request is answered by an error`(text: String) throws {
    let server = try ControlServer(path: path)
    let descriptor = try client(sending: text)
    defer { close(descriptor) }
    server.serve(answer: answer)
    #expect(received(descriptor) == ("{\"error\":\"not a request\"}\n", true))
  }

  @Test func `an endless request is cut off`() throws {
    let server = try ControlServer(path: path)
    let descriptor = try client(sending: String(repeating: "x", count: 20_000))
    defer { close(descriptor) }
    server.serve(answer: answer)
    var isOpen = false
    var byte: UInt8 = 0
    if recv(descriptor, &byte, 1, 0) < 0 { isOpen = errno == EAGAIN }
    #expect(!isOpen)
  }

  @Test func `a client that does not read holds up nobody else`() throws {
    let server = try ControlServer(path: path)
    let long = String(repeating: "x", count: 4 << 20)
    let slow = try client(sending: "{\"command\":\"status\"}\n")
    defer { close(slow) }
    server.serve { _ in ControlAnswer(error: long) }
    let quick = try client(sending: "{\"command\":\"status\"}\n")
    defer { close(quick) }
    server.serve(answer: answer)
    #expect(received(quick) == ("{\"error\":\"status -1\"}\n", true))
    var text = ""
    for _ in 0..<100_000 {
      let (more, isClosed) = received(slow)
      text += more
      if isClosed { break }
      server.serve(answer: answer)
    }
    #expect(text == "{\"error\":\"\(long)\"}\n")
  }

  @Test func `more clients than places wait for their turn`() throws {
    let server = try ControlServer(path: path)
    var idle = try (0..<8).map { _ in try client(sending: "") }
    defer { idle.forEach { close($0) } }
    server.serve(answer: answer)
    let late = try client(sending: "{\"command\":\"status\"}\n")
    defer { close(late) }
    server.serve(answer: answer)
    #expect(received(late) == ("", false))
    close(idle.removeLast())
    server.serve(answer: answer)
    server.serve(answer: answer)
    #expect(received(late) == ("{\"error\":\"status -1\"}\n", true))
  }

  @Test func `a second gateway at the same path is refused, a dead one's socket is replaced`() throws {
    do {
      let server = try ControlServer(path: path)
      _ = withExtendedLifetime(server) {
        #expect {
          try ControlServer(path: path)
        } throws: {
          "\($0)".contains("another sluice answers at \(path)")
        }
      }
    }
    #expect(try directory.list().isEmpty, "the socket goes with its server")
    // A socket that nobody listens at is what a killed process leaves.
    close(try ControlSocket.listen(at: path))
    #expect(try directory.list() == ["control.sock"])
    let server = try ControlServer(path: path)
    let descriptor = try client(sending: "{\"command\":\"status\"}\n")
    defer { close(descriptor) }
    server.serve(answer: answer)
    #expect(received(descriptor).isClosed)
  }

  @Test func `only the owner may open it`() throws {
    let server = try ControlServer(path: path)
    var facts = stat()
    #expect(stat(path, &facts) == 0)
    #expect(facts.st_mode & 0o777 == 0o600)
    withExtendedLifetime(server) {}
  }

  @Test func `a path that is too long is an error, not a shorter path`() {
    let path = directory(String(repeating: "x", count: 200))
    #expect(throws: GatewayError.self) { try ControlServer(path: path) }
    #expect(throws: GatewayError.self) { try ControlClient.ask(ControlRequest(.status), at: path) }
  }
}
