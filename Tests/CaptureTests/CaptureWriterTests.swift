import Capture
import PacketTestKit
import Testing

@Suite struct CaptureWriterTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test(arguments: [(CaptureLink.ethernet, UInt32(1)), (.rawIP, 101)])
  func `the file is the pcap of the specification`(link: CaptureLink, type: UInt32) throws {
    let writer = try CaptureWriter(path: directory("out.pcap"), link: link)
    let frames: [[UInt8]] = [[1, 2, 3], [], [UInt8](repeating: 5, count: 1514)]
    for (index, frame) in frames.enumerated() {
      try frame.withUnsafeBytes {
        let start = $0.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
        try writer.append(start, length: frame.count, time: UInt64(index) * 1_500_000_001)
      }
    }
    try writer.finish()
    let records = [
      CaptureBytes.Record(frames[0]), .init(frames[1], seconds: 1, fraction: 500_000_001),
      .init(frames[2], seconds: 3, fraction: 2),
    ]
    #expect(try directory.read("out.pcap") == CaptureBytes.pcap(records, linkType: type))
  }

  @Test func `any number of frames of any size comes back`() throws {
    let writer = try CaptureWriter(path: directory("out.pcap"), link: .ethernet)
    let sizes = [60, 1514, 262_144, 65_535, 1, 0, 200_000] + (0..<5000).map { $0 % 1500 }
    let source = [UInt8]((0..<262_144).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    try source.withUnsafeBytes {
      for (index, size) in sizes.enumerated() {
        try writer.append($0.baseAddress!, length: size, time: UInt64(index))
      }
    }
    try writer.finish()
    let reader = try CaptureReader(path: directory("out.pcap"))
    for (index, size) in sizes.enumerated() {
      let frame = try #require(try reader.next())
      #expect(frame.time == UInt64(index))
      #expect(UnsafeRawBufferPointer(start: frame.bytes, count: frame.length).elementsEqual(source.prefix(size)))
    }
    #expect(try reader.next() == nil)
  }

  @Test func `a capture takes its name when it is whole`() throws {
    do {
      let writer = try CaptureWriter(path: directory("out.pcap"), link: .ethernet)
      #expect(try directory.list() == ["out.pcap.part"])
      try writer.append([1, 2], length: 2, time: 0)
    }
    #expect(try directory.list().isEmpty, "an unfinished one is taken away")
    let writer = try CaptureWriter(path: directory("out.pcap"), link: .ethernet)
    try writer.finish()
    #expect(try directory.list() == ["out.pcap"])
  }

  @Test func `a time past 2106 is refused at its record`() throws {
    let writer = try CaptureWriter(path: directory("out.pcap"), link: .ethernet)
    try writer.append([1, 2, 3], length: 3, time: 4_294_967_295_999_999_999)
    #expect(throws: CaptureError.self) { try writer.append([1], length: 1, time: 4_294_967_296_000_000_000) }
    do {
      try writer.append([1], length: 1, time: .max)
    } catch {
      #expect(error.offset == 24 + 16 + 3)
      #expect(error.message.contains("time that pcap cannot hold"))
    }
  }

  @Test func `errors of the system name the file`() throws {
    do throws(CaptureError) {
      _ = try CaptureWriter(path: directory("missing/out.pcap"), link: .ethernet)
      Issue.record("created in a directory that is not there")
    } catch {
      #expect(error.description.contains("missing/out.pcap.part: No such file or directory"))
    }
  }
}
