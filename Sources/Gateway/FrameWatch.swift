import Capture
import Engine
import Explain
import PacketIO
import Synchronization

/// What a client wants explained: the next frames that match, bounded in number and time.
public struct WatchRequest: Codable, Sendable {
  /// A libpcap filter; "" for every frame.
  public var match: String
  public var count: Int
  public var seconds: Int

  public init(match: String, count: Int, seconds: Int) {
    self.match = match
    self.count = count
    self.seconds = seconds
  }

  /// Every explanation is kept until it is fetched.
  public static let mostFrames = 1000
  public static let mostSeconds = 600

  var isSound: Bool {
    match.utf8.count <= 2048 && (1...Self.mostFrames).contains(count) && (1...Self.mostSeconds).contains(seconds)
  }
}

/// A watch over the frames of all workers, each of which has a copy. While it lasts a worker judges them one at a time;
/// before and after it costs one comparison a burst.
struct FrameWatch: Sendable {
  /// How many frames have been explained, by whichever worker.
  private final class Count: Sendable {
    let frames = Atomic(0)
  }

  private let filter: CaptureFilter?
  private let explainer: Explainer
  /// What the frames of each link begin with.
  private let links: [CaptureLink]
  private let deadline: UInt64
  private let most: Int
  private let count = Count()
  private var hasEnded = false
  private(set) var reports: [ExplanationReport] = []

  /// - Throws: libpcap's complaint about the filter.
  init(
    _ request: WatchRequest, _ explainer: Explainer, links: [CaptureLink], now: UInt64
  ) throws(CaptureFilter.Mistake) {
    self.links = links
    filter = request.match.isEmpty ? nil : try CaptureFilter(request.match)
    self.explainer = explainer
    deadline = now + UInt64(request.seconds) * 1_000_000_000
    most = request.count
  }

  func isOver(at now: UInt64) -> Bool {
    hasEnded || now >= deadline || count.frames.load(ordering: .relaxed) >= most
  }

  /// The rules are others now, and it knows the names of the old ones.
  mutating func end() { hasEnded = true }

  /// Takes what has been explained so far.
  mutating func take() -> [ExplanationReport] {
    defer { reports = [] }
    return reports
  }

  /// Has one frame judged, and explained if it is one of those wanted.
  mutating func judge<J: Judge & ~Copyable>(_ slot: UnsafeMutablePointer<FrameSlot>, with judge: inout J, now: UInt64) {
    let link = links[Int(slot.pointee.link)]
    let isWanted =
      !isOver(at: now)
      && (filter?.matches(slot.pointee.bytes, length: Int(slot.pointee.length), link: link) ?? true)
    let number = isWanted ? count.frames.wrappingAdd(1, ordering: .relaxed).newValue : .max
    guard number <= most, let report = judge.explain(slot, number: number, by: explainer) else {
      return judge.process(slot, count: 1)
    }
    reports.append(report)
  }
}
