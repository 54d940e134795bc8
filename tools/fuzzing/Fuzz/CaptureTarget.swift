import CLibFuzzer
import Capture
import Glibc

/// Any bytes as a capture file: read to the end or refused, never with frames longer than the file.
enum CaptureTarget {
  static func play(_ input: Input) -> CInt {
    var input = input
    let bytes = input.all()
    let file = fuzz_memory_file()
    defer { close(file) }
    require(file >= 0 && write(file, bytes.baseAddress, bytes.count) == bytes.count, "no file in memory")
    do throws(CaptureError) {
      let reader = try CaptureReader(path: "/proc/self/fd/\(file)")
      var sum = 0
      while let frame = try reader.next() {
        // Every byte is there to be read.
        sum += UnsafeRawBufferPointer(start: frame.bytes, count: frame.length).reduce(0) { $0 &+ Int($1) }
        require(frame.length <= bytes.count, "a frame of \(frame.length) bytes")
      }
      require(sum >= 0 && reader.count <= bytes.count, "more frames than bytes")
    } catch {
      require(!error.message.isEmpty, "refused without a word")
      if let offset = error.offset { require(offset <= bytes.count, "byte \(offset) of \(bytes.count)") }
    }
    return 0
  }
}
