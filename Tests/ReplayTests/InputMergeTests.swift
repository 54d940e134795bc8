import Capture
import PacketTestKit
import Testing

@testable import Replay

@Suite struct InputMergeTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Frames of one byte each, which names them.
  private func capture(_ frames: [(name: UInt8, time: UInt32)], _ file: String, cut: Int = 0) throws -> String {
    let bytes = CaptureBytes.pcap(frames.map { .init([$0.name], fraction: $0.time) })
    return try directory.write(Array(bytes.dropLast(cut)), as: file)
  }

  private func names(_ merge: inout InputMerge) -> [String] {
    var list: [String] = []
    while let (frame, interface) = merge.next() {
      list.append("\(frame.bytes.load(as: UInt8.self))@\(interface)")
    }
    return list
  }

  @Test func `heads are taken by time, equal ones by option, and nothing is sorted`() throws {
    let first = try capture([(1, 10), (2, 5), (3, 30), (4, 40)], "a")
    let second = try capture([(11, 10), (12, 30), (13, 35), (14, 1)], "b")
    var merge = InputMerge([.init(interface: 7, path: first), .init(interface: 3, path: second)])
    #expect(merge.nextTime() == 10)
    #expect(names(&merge) == ["1@7", "2@7", "11@3", "3@7", "12@3", "13@3", "14@3", "4@7"])
    #expect(merge.failure == nil)
    #expect(merge.nextTime() == nil)
    var other = InputMerge([.init(interface: 3, path: second), .init(interface: 7, path: first)])
    #expect(names(&other) == ["11@3", "1@7", "2@7", "12@3", "3@7", "13@3", "14@3", "4@7"])
  }

  @Test func `damage ends the stream where it is met`() throws {
    let whole = try capture([(1, 10), (2, 20), (3, 30)], "a")
    let damaged = try capture([(11, 12), (12, 22), (13, 23)], "b", cut: 1)
    var merge = InputMerge([.init(interface: 0, path: whole), .init(interface: 1, path: damaged)])
    #expect(names(&merge) == ["1@0", "11@1", "2@0", "12@1"])
    #expect(merge.failure?.path == damaged)
    #expect(merge.failure?.offset == 24 + 2 * 17)
  }

  @Test func `of inputs that cannot be opened the first is named, and nothing is read`() throws {
    let whole = try capture([(1, 10)], "a")
    let missing = [ReplayInput(interface: 1, path: directory("x")), .init(interface: 2, path: directory("y"))]
    var merge = InputMerge([.init(interface: 0, path: whole)] + missing)
    #expect(names(&merge).isEmpty)
    #expect(merge.failure?.path == directory("x"))
    #expect(merge.links == [0: .ethernet])
  }

  @Test func `no inputs and empty ones are an empty stream`() throws {
    var none = InputMerge([])
    #expect(names(&none).isEmpty && none.failure == nil)
    var empty = InputMerge([.init(interface: 0, path: try capture([], "a"))])
    #expect(names(&empty).isEmpty && empty.failure == nil)
  }
}
