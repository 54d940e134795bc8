import Capture

/// A capture and the interface that it is received on.
public struct ReplayInput: Sendable {
  /// Index into the plan's interfaces.
  public var interface: Int
  /// The capture file.
  public var path: String

  /// The frames of the capture at `path`, received on `interface`.
  public init(interface: Int, path: String) {
    self.interface = interface
    self.path = path
  }
}

/// Several captures as one stream: always the head with the earliest time, of equal ones the earliest option's.
///
/// A capture is never sorted: a frame that is older than the one before it waits for its turn at the head.
struct InputMerge {
  private struct Input {
    /// One of `readers`, not counted as a reference: that would cost as much as reading a small frame.
    unowned(unsafe) let reader: CaptureReader
    let interface: Int
    var head: CapturedFrame
  }

  private var inputs: ContiguousArray<Input> = []
  private var readers: ContiguousArray<CaptureReader> = []
  /// The input whose head was given out last, to be replaced before the next choice: its bytes had to stay valid.
  private var taken: Int?
  /// What ended the stream before the ends of its captures. Nothing is read from any capture after it: frames that came after a
  /// hole would meet an engine that has not seen what was in it.
  private(set) var failure: CaptureError?
  /// Link type of each interface that has an input that could be opened.
  private(set) var links: [Int: CaptureLink] = [:]

  /// Bytes of all captures; nil where one of them is a pipe.
  private(set) var totalBytes: Int? = 0
  /// Bytes of the captures that were read to their ends.
  private var finishedBytes = 0

  /// Opens every input and reads its first frame.
  ///
  /// - Parameter filter: frames that do not match are passed over.
  init(_ list: [ReplayInput], filter: CaptureFilter? = nil) {
    for input in list {
      do throws(CaptureError) {
        let reader = try CaptureReader(path: input.path, filter: filter)
        readers.append(reader)
        links[input.interface] = reader.link
        totalBytes = totalBytes.flatMap { total in reader.fileBytes.map { total + $0 } }
        if let head = try reader.next() {
          inputs.append(Input(reader: reader, interface: input.interface, head: head))
        }
      } catch {
        failure = failure ?? error
      }
    }
  }

  /// Bytes read so far.
  var readBytes: Int { inputs.reduce(finishedBytes) { $0 + ($1.reader.position ?? 0) } }

  /// Time of the next frame; nil at the end.
  mutating func nextTime() -> UInt64? { choose().map { inputs[$0].head.time } }

  /// The next frame and its interface; its bytes stay valid until the next call. nil at the end.
  mutating func next() -> (frame: CapturedFrame, interface: Int)? {
    guard let index = choose() else { return nil }
    taken = index
    return (inputs[index].head, inputs[index].interface)
  }

  private mutating func choose() -> Int? {
    if let index = taken { refill(index) }
    guard failure == nil, var best = inputs.indices.first else { return nil }
    for index in inputs.indices.dropFirst() where inputs[index].head.time < inputs[best].head.time { best = index }
    return best
  }

  private mutating func refill(_ index: Int) {
    taken = nil
    do throws(CaptureError) {
      if let head = try inputs[index].reader.next() {
        inputs[index].head = head
      } else {
        finishedBytes += inputs[index].reader.fileBytes ?? 0
        inputs.remove(at: index)
      }
    } catch {
      failure = error
    }
  }
}
