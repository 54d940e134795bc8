import Capture
import PacketTestKit
import Testing

/// Every public capture through the reader: whole ones whole, damaged ones up to an error, none with a crash.
@Suite(.enabled(if: Corpus.shared != nil, "no ../shared/corpus")) struct CorpusReadingTests {
  @Test func `whole captures are read whole, damaged ones are errors`() throws {
    let corpus = try #require(Corpus.shared)
    #expect(corpus.files.count > 200)
    let directory = try TemporaryDirectory()
    var (whole, damaged, foreign) = (0, 0, 0)
    for file in corpus.files {
      var count = 0
      do throws(CaptureError) {
        let reader = try CaptureReader(path: try! corpus.open(file, into: directory))
        while let frame = try reader.next() {
          count += 1
          #expect(frame.length <= CaptureReader.longestFrame, "\(file)")
        }
        #expect(!file.isDamaged, "\(file) was read without an error")
        #expect(count == file.frames, "\(file)")
        whole += 1
      } catch {
        #expect(error.offset != nil, "\(file)")
        if error.message.contains("link type") {
          #expect(count == 0, "\(file)")
          foreign += 1
        } else {
          #expect(file.isDamaged, "\(error)")
          damaged += 1
        }
      }
    }
    #expect(
      damaged > 0 && foreign > 0 && whole > 200, "whole \(whole), damaged \(damaged), other link types \(foreign)")
  }
}
