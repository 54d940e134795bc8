import CLinux
import Explain
import Foundation
import PacketIO

/// The other end of the control socket.
public enum ControlClient {
  private static let patienceNanoseconds: UInt64 = 10_000_000_000

  /// Has frames explained by the gateway at `path`, and tells each as soon as it is known.
  ///
  /// - Parameter began: called once frames are watched.
  public static func watch(
    _ request: WatchRequest, at path: String, began: () -> Void, _ tell: (ExplanationReport) -> Void
  ) throws(GatewayError) {
    var isWatching = try ask(ControlRequest(.explain, watch: request), at: path).isWatching == true
    began()
    while isWatching {
      usleep(100_000)
      let answer = try ask(ControlRequest(.explained), at: path)
      answer.explained?.forEach(tell)
      isWatching = answer.isWatching == true
    }
  }

  /// Asks the gateway that listens at `path`.
  public static func ask(_ request: ControlRequest, at path: String) throws(GatewayError) -> ControlAnswer {
    let descriptor = try ControlSocket.connect(to: path)
    defer { close(descriptor) }
    guard let line = try? JSONEncoder().encode(request) else { throw .failed("the request cannot be encoded") }
    let bytes = Array(line) + [UInt8(ascii: "\n")]
    guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      throw GatewayError(SystemError("asking the gateway at \(path)"))
    }
    var received: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    let deadline = monotonicTime() + patienceNanoseconds
    while true {
      let now = monotonicTime()
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard now < deadline, sluice_poll(&entry, 1, deadline - now) > 0 else {
        throw .failed("the gateway at \(path) does not answer")
      }
      let count = recv(descriptor, &chunk, chunk.count, 0)
      if count <= 0 { break }
      received += chunk[..<count]
    }
    guard let answer = try? JSONDecoder().decode(ControlAnswer.self, from: Data(received)) else {
      throw .failed("the gateway at \(path) broke off its answer")
    }
    if let mistakes = answer.mistakes { throw .mistakes(mistakes) }
    if let error = answer.error { throw .failed(error) }
    return answer
  }
}
