import Engine
import PacketTestKit
import Testing

enum FTPEnd: Int {
  case client, server
  var other: Self { self == .client ? .server : .client }
}

/// One stack.
struct FTPStack<Endpoint> {
  var own: Endpoint
  /// As it knows the other one.
  var peer: Endpoint
  var interface: String
  /// Its next number, and the next that it waits for.
  var next: UInt32
  var heard: UInt32 = 0
}

/// Two TCP stacks that speak FTP through a gateway: each numbers its own bytes, and acknowledges what it has really got.
/// Addresses and segments are those of `FTPTalk` and `FTPTalk6`.
protocol FTPConversation: AnyObject {
  associatedtype Endpoint
  associatedtype Segment

  /// Client and server.
  var ends: [FTPStack<Endpoint>] { get set }

  /// The segment that is due.
  func segment(_ end: FTPEnd, _ flags: TCPHeader.Flags, _ text: String) -> Segment
  /// What the gateway makes of a segment.
  func receive(
    _ segment: Segment, from end: FTPEnd, at time: Double?, offload: OffloadHeader, sourceLocation: SourceLocation
  ) -> TestGateway.Outcome
  /// The other end takes one segment in order; its text.
  func take(_ got: [TestGateway.Emitted], from end: FTPEnd, _ sourceLocation: SourceLocation) -> String?
}

extension FTPConversation {
  typealias End = FTPEnd
  typealias Stack = FTPStack<Endpoint>

  subscript(_ end: End) -> Stack {
    get { ends[end.rawValue] }
    set { ends[end.rawValue] = newValue }
  }

  func open(sourceLocation: SourceLocation = #_sourceLocation) {
    for (end, flags) in [(End.client, TCPHeader.Flags.syn), (.server, [.syn, .ack]), (.client, .ack)] {
      let got = offer(segment(end, flags, ""), from: end, sourceLocation: sourceLocation)
      guard let tcp = got.last?.decoded.tcp else { return }
      if flags.contains(.syn) {
        self[end].next &+= 1
        self[end.other].heard = tcp.sequence &+ 1
      }
      check(tcp.flags.contains(.ack) ? tcp.acknowledgment : self[end.other].next, at: end.other, sourceLocation)
    }
  }

  /// Sends the next bytes, and has the other end take them; what it got.
  @discardableResult
  func say(
    _ end: End, _ text: String, at time: Double? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) -> String? {
    let segment = segment(end, [.ack, .psh], text)
    self[end].next &+= UInt32(text.utf8.count)
    return take(offer(segment, from: end, at: time, sourceLocation: sourceLocation), from: end, sourceLocation)
  }

  /// Sends any segment; every frame that left for the other end.
  func offer(
    _ segment: Segment, from end: End, at time: Double? = nil, offload: OffloadHeader = OffloadHeader(),
    sourceLocation: SourceLocation = #_sourceLocation
  ) -> [TestGateway.Emitted] {
    let outcome = receive(segment, from: end, at: time, offload: offload, sourceLocation: sourceLocation)
    let left = [outcome.forwarded].compactMap { $0 } + outcome.made
    for frame in left where frame.interface == self[end.other].interface {
      let isPartial = frame.offload.flags & OffloadHeader.needsChecksum != 0
      for problem in frame.decoded.checksumProblems(isPartial: isPartial) + frame.decoded.problems {
        Issue.record("\(problem) in \(frame.decoded)", sourceLocation: sourceLocation)
      }
    }
    return left.filter { $0.interface == self[end.other].interface }
  }

  func take(
    _ got: [TestGateway.Emitted], from end: End, _ sourceLocation: SourceLocation = #_sourceLocation
  ) -> String? { takeNext(got, from: end, sourceLocation) }

  /// The other end takes one segment in order: number and acknowledgement must be what it knows.
  func takeNext(
    _ got: [TestGateway.Emitted], from end: End, _ sourceLocation: SourceLocation
  ) -> String? {
    guard got.count == 1, let tcp = got[0].decoded.tcp else { return nil }
    if tcp.sequence != self[end.other].heard {
      Issue.record("number \(tcp.sequence), waits for \(self[end.other].heard)", sourceLocation: sourceLocation)
    }
    check(tcp.acknowledgment, at: end.other, sourceLocation)
    self[end.other].heard = tcp.sequence &+ UInt32(tcp.payload.count)
    return got[0].decoded.text
  }

  /// All that an end has sent is acknowledged, and no more.
  private func check(_ number: UInt32, at end: End, _ sourceLocation: SourceLocation) {
    if number != self[end].next {
      Issue.record("acknowledges \(number) of \(self[end].next)", sourceLocation: sourceLocation)
    }
  }

  /// A line from each end in turn.
  func chat(_ count: Int, sourceLocation: SourceLocation = #_sourceLocation) {
    for index in 0..<count {
      #expect(say(.client, "NOOP \(index)\r\n", sourceLocation: sourceLocation) == "NOOP \(index)\r\n")
      #expect(say(.server, "200 \(index)\r\n", sourceLocation: sourceLocation) == "200 \(index)\r\n")
    }
  }
}
