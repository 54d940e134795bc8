/// A capture file that cannot be read or written on, and where.
public struct CaptureError: Error, Equatable, CustomStringConvertible {
  /// The file as it was named.
  public var path: String
  /// Bytes from the start of the file to the damaged part; nil where no byte of it was reached or it cannot be told
  /// (a pipe).
  public var offset: Int?
  /// What is wrong.
  public var message: String

  /// An error in the file at `path`.
  public init(path: String, offset: Int?, message: String) {
    self.path = path
    self.offset = offset
    self.message = message
  }

  /// `FILE: byte OFFSET: what is wrong`.
  public var description: String {
    guard let offset else { return "\(path): \(message)" }
    return "\(path): byte \(offset): \(message)"
  }
}

/// What a capture's frames begin with.
public enum CaptureLink: String, Sendable {
  /// LINKTYPE_ETHERNET.
  case ethernet
  /// LINKTYPE_RAW, LINKTYPE_IPV4, LINKTYPE_IPV6: an IP header at once.
  case rawIP
}

/// Seconds that the unsigned 32-bit field of a pcap record can hold (until 2106-02-07).
let lastSecond = UInt64(UInt32.max)
let nanosecondsPerSecond: UInt64 = 1_000_000_000
