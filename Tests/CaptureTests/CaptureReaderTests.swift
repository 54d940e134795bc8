import Capture
import PacketTestKit
import Testing

/// What a reader made of a file.
private struct Reading: Equatable {
  struct Frame: Equatable {
    var bytes: [UInt8]
    var time: UInt64
  }
  var link: CaptureLink?
  var frames: [Frame] = []
  var error: CaptureError?

  init(path: String) {
    do throws(CaptureError) {
      let reader = try CaptureReader(path: path)
      link = reader.link
      while let frame = try reader.next() {
        let bytes = UnsafeRawBufferPointer(start: frame.bytes, count: frame.length)
        frames.append(Frame(bytes: [UInt8](bytes), time: frame.time))
      }
    } catch {
      self.error = error
    }
  }
}

@Suite struct CaptureReaderTests {
  private let directory: TemporaryDirectory
  private let records = [
    CaptureBytes.Record([1, 2, 3, 4, 5], seconds: 7, fraction: 123_456),
    CaptureBytes.Record([9], seconds: 6, fraction: 0),
    CaptureBytes.Record([UInt8](repeating: 0xAB, count: 1500), seconds: 4_000_000_000, fraction: 999_999),
  ]

  init() throws { directory = try TemporaryDirectory() }

  private func read(_ bytes: [UInt8]) throws -> Reading { Reading(path: try directory.write(bytes, as: "in.pcap")) }

  @Test(arguments: CaptureBytes.Order.allCases)
  func `L9 every form of a capture gives the same frames in nanoseconds, past 2038 too`(order: CaptureBytes.Order)
    throws
  {
    let nano = records.map { Reading.Frame(bytes: $0.bytes, time: $0.seconds * 1_000_000_000 + UInt64($0.fraction)) }
    let micro = records.map {
      Reading.Frame(bytes: $0.bytes, time: $0.seconds * 1_000_000_000 + UInt64($0.fraction) * 1000)
    }
    for (bytes, frames) in [
      (CaptureBytes.pcap(records, order: order), nano),
      (CaptureBytes.pcap(records, order: order, isNano: false), micro),
      (CaptureBytes.pcapng(records, order: order), nano),
    ] {
      let reading = try read(bytes)
      #expect(reading.error == nil)
      #expect(reading.link == .ethernet)
      #expect(reading.frames == frames)
    }
  }

  @Test func `L9 a capture without frames is a capture`() throws {
    #expect(try read(CaptureBytes.pcap([])).error == nil)
    #expect(try read(CaptureBytes.pcapng([])).error == nil)
  }

  @Test func `L9 L4 a frame cut by the snap length has the bytes that are there`() throws {
    let reading = try read(CaptureBytes.pcap([.init([1, 2, 3], originalLength: 900)]))
    #expect(reading.frames.map(\.bytes) == [[1, 2, 3]])
    #expect(reading.error == nil)
  }

  @Test(arguments: [(UInt32(1), CaptureLink.ethernet), (101, .rawIP), (228, .rawIP), (229, .rawIP)])
  func `known link types`(type: UInt32, link: CaptureLink) throws {
    #expect(try read(CaptureBytes.pcap([], linkType: type)).link == link)
    #expect(try read(CaptureBytes.pcapng([], linkType: UInt16(type))).link == link)
  }

  @Test func `L9 other link types are refused by name, with the place that says so`() throws {
    let classic = try #require(try read(CaptureBytes.pcap([], linkType: 113)).error)
    #expect(classic.offset == 20)
    #expect(classic.path == directory("in.pcap"))
    #expect(classic.message.contains("113 (LINUX_SLL)"))
    #expect(classic.description == "\(directory("in.pcap")): byte 20: \(classic.message)")
    let next = try #require(try read(CaptureBytes.pcapng([], linkType: 113)).error)
    #expect(next.offset == 28 + 32)  // behind the section header and the interface block
    #expect(next.message.contains("LINUX_SLL"))
  }

  @Test func `L9 files that are no captures are refused`() throws {
    for bytes: [UInt8] in [[], [1], [UInt8](repeating: 0, count: 100), [UInt8]("not a capture at all".utf8)] {
      let error = try #require(try read(bytes).error)
      #expect(error.offset == 0)
    }
    #expect(try read([0x1F, 0x8B, 8, 0]).error?.message.contains("gzip") == true)
    let missing = try #require(Reading(path: directory("missing.pcap")).error)
    #expect(missing.description.contains("missing.pcap: No such file"))
    #expect(Reading(path: directory.path).error != nil)
  }

  /// Cut anywhere, a capture gives the whole records before the cut, and an error unless the cut is between records.
  @Test(arguments: CaptureBytes.Order.allCases) func `L9 a cut capture`(order: CaptureBytes.Order) throws {
    let small = [records[0], records[1], CaptureBytes.Record([7, 7], seconds: 9)]
    let file = CaptureBytes.pcap(small, order: order)
    var ends = [24]
    for record in small { ends.append(ends.last! + 16 + record.bytes.count) }
    for cut in 0..<file.count {
      let reading = try read([UInt8](file.prefix(cut)))
      #expect(reading.frames.count == max(0, ends.filter { $0 <= cut }.count - 1))
      if ends.contains(cut) {
        #expect(reading.error == nil)
      } else {
        let error = try #require(reading.error)
        #expect(error.offset == ends.last { $0 <= cut } ?? 0)
      }
    }
    let next = CaptureBytes.pcapng(small, order: order)
    for cut in 0..<next.count { #expect(try read([UInt8](next.prefix(cut))).frames.count <= small.count) }
  }

  @Test func `L9 damaged lengths are errors at their record`() throws {
    var file = CaptureBytes.pcap([records[0], records[0]])
    for index in 0..<4 { file[24 + 16 + 5 + 8 + index] = 0xFF }
    let reading = try read(file)
    #expect(reading.frames.count == 1)
    #expect(reading.error?.offset == 24 + 16 + 5)
  }

  @Test func `a frame longer than any link carries`() throws {
    let long = CaptureBytes.Record([UInt8](repeating: 1, count: CaptureReader.longestFrame))
    for bytes in [CaptureBytes.pcap([long]), CaptureBytes.pcapng([long])] { #expect(try read(bytes).frames.count == 1) }
    let longer = CaptureBytes.Record(long.bytes + [1])
    for bytes in [CaptureBytes.pcap([long, longer]), CaptureBytes.pcapng([long, longer])] {
      let reading = try read(bytes)
      #expect(reading.frames.count == 1)
      #expect(reading.error != nil)
    }
  }

  @Test func `L9 times that pcap cannot hold are errors, not traps`() throws {
    let late = CaptureBytes.Record([1], seconds: UInt64(UInt32.max) + 1)
    let reading = try read(CaptureBytes.pcapng([records[0], late]))
    #expect(reading.frames.count == 1)
    let error = try #require(reading.error)
    #expect(error.message.contains("time that pcap cannot hold"))
    #expect(error.offset == 28 + 32 + 12 + 20 + 8)

    // The last second, and beyond it by way of a fraction that is no fraction.
    let last = CaptureBytes.Record([1], seconds: UInt64(UInt32.max), fraction: 999_999_999)
    #expect(try read(CaptureBytes.pcap([last])).frames.map(\.time) == [4_294_967_295_999_999_999])
    var beyond = last
    beyond.fraction += 1
    #expect(try read(CaptureBytes.pcap([beyond])).error?.offset == 24)
    beyond.fraction = .max
    #expect(try read(CaptureBytes.pcap([beyond])).error?.offset == 24)
    #expect(try read(CaptureBytes.pcap([beyond], isNano: false)).error?.offset == 24)
  }

  /// A resolution of whole seconds makes every 64-bit number a time.
  @Test func `L9 pcapng times of any size`() throws {
    var file = CaptureBytes.pcapng([.init([1])])
    file[28 + 8 + 8 + 4] = 0
    for index in 0..<8 { file[28 + 32 + 12 + index] = 0xFF }
    #expect(try read(file).error?.message.contains("time that pcap cannot hold") == true)
  }
}
