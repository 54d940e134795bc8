import Glibc

/// A file that is written through a buffer of its own and takes its name only when it is whole.
///
/// Until `finish()` it is `PATH.part`, so that nobody mistakes half a capture for a whole one, and a capture may be
/// replayed into the place it is read from.
struct OutputFile {
  let path: String
  private let partPath: String
  /// What changes with every frame: in memory of its own, which no access is checked for at run time.
  private let state: UnsafeMutablePointer<State>
  private let buffer: UnsafeMutableRawPointer

  private struct State {
    /// -1 when it is closed.
    var descriptor: CInt
    var used = 0
    /// Bytes of the file that have left the buffer.
    var written = 0
  }

  private static let bufferBytes = 1 << 18

  init(path: String) throws(CaptureError) {
    self.path = path
    partPath = path + ".part"
    let descriptor = open(partPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw CaptureError(path: partPath, offset: nil, message: String(cString: strerror(errno)))
    }
    state = .allocate(capacity: 1)
    state.initialize(to: State(descriptor: descriptor))
    buffer = .allocate(byteCount: Self.bufferBytes, alignment: 64)
  }

  /// Gives its memory back; an unfinished file is removed.
  func release() {
    if state.pointee.descriptor >= 0 {
      close(state.pointee.descriptor)
      unlink(partPath)
    }
    state.deallocate()
    buffer.deallocate()
  }

  /// Makes room for `count` bytes, at most a few words, that `put` then needs no check for.
  @inline(__always)
  func reserve(_ count: Int) throws(CaptureError) {
    if Self.bufferBytes &- state.pointee.used < count { try flush() }
  }

  /// Adds a little-endian word; room for it was reserved.
  @inline(__always)
  func put(_ word: UInt32) {
    (buffer + state.pointee.used).storeBytes(of: word.littleEndian, as: UInt32.self)
    state.pointee.used &+= 4
  }

  /// Adds any number of bytes.
  @inline(__always)
  func append(_ bytes: UnsafeRawPointer, count: Int) throws(CaptureError) {
    if Self.bufferBytes &- state.pointee.used < count {
      try flush()
      if count > Self.bufferBytes { return try write(bytes, count: count) }
    }
    (buffer + state.pointee.used).copyMemory(from: bytes, byteCount: count)
    state.pointee.used &+= count
  }

  /// Writes what is buffered and gives the file its name. Nothing may be added afterwards.
  func finish() throws(CaptureError) {
    try flush()
    let status = close(state.pointee.descriptor)
    state.pointee.descriptor = -1
    guard status == 0, rename(partPath, path) == 0 else {
      let error = failure(String(cString: strerror(errno)))
      unlink(partPath)
      throw error
    }
  }

  func failure(_ message: String) -> CaptureError {
    CaptureError(path: path, offset: state.pointee.written + state.pointee.used, message: message)
  }

  private func flush() throws(CaptureError) {
    let count = state.pointee.used
    state.pointee.used = 0
    try write(buffer, count: count)
  }

  private func write(_ bytes: UnsafeRawPointer, count: Int) throws(CaptureError) {
    var done = 0
    while done < count {
      let step = Glibc.write(state.pointee.descriptor, bytes + done, count - done)
      if step < 0 {
        if errno == EINTR { continue }
        throw failure(String(cString: strerror(errno)))
      }
      done += step
      state.pointee.written += step
    }
  }
}
