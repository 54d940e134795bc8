/// The segments of a super-frame, one after the other, as the device would have sent them: what Linux calls GSO.
struct Segments {
  private let header: IPv4Header
  private let length: Int
  /// Bytes of both headers.
  private let headers: Int
  private let size: Int
  private let isTCP: Bool
  /// Payload bytes in the segments before.
  private var done = 0
  private(set) var index = 0

  init(_ header: IPv4Header, length: Int, _ offload: OffloadHeader) {
    self.header = header
    self.length = length
    size = max(1, Int(offload.segmentSize))
    isTCP = header.ipProtocol == IPProtocol.tcp
    let transport =
      isTCP ? Int(header.payload.byte(TCPHeader.dataOffset) &>> 4) &* 4 : UDPHeader.length
    headers = header.length &+ transport
  }

  /// Bytes of the next segment's datagram; nil where there is none.
  var nextLength: Int? {
    let left = length &- headers &- done
    guard left > 0 else { return nil }
    return headers &+ min(size, left)
  }

  /// Writes the next segment's datagram, with all checksums finished.
  mutating func write(at ip: UnsafeMutableRawPointer) {
    let count = (nextLength ?? headers) &- headers
    ip.copyMemory(from: header.start, byteCount: headers)
    (ip + headers).copyMemory(from: header.start + (headers &+ done), byteCount: count)
    ip.putBig(UInt16(truncatingIfNeeded: headers &+ count), 2)
    let transport = ip + header.length
    let bytes = headers &- header.length &+ count
    if isTCP {
      let sequence = transport.big32(TCPHeader.sequenceOffset) &+ UInt32(truncatingIfNeeded: done)
      transport.putRaw(sequence.bigEndian, TCPHeader.sequenceOffset)
      var flags = transport.byte(TCPHeader.flagsOffset)
      // FIN and PSH belong to the last segment, CWR to the first (RFC 3168 section 6.1.2).
      if headers &+ done &+ count < length { flags &= ~(TCPHeader.fin | TCPHeader.psh) }
      if index > 0 { flags &= ~TCPHeader.cwr }
      transport.put(flags, TCPHeader.flagsOffset)
    } else {
      transport.putBig(UInt16(truncatingIfNeeded: bytes), UDPHeader.lengthOffset)
    }
    let offset = isTCP ? TCPHeader.checksumOffset : UDPHeader.checksumOffset
    transport.putRaw(UInt16(0), offset)
    var sum = ~Checksum.fold(
      Checksum.sum(transport, count: bytes)
        &+ Checksum.pseudoHeader(ip, ipProtocol: header.ipProtocol, length: bytes))
    if !isTCP, sum == 0 { sum = 0xFFFF }
    transport.putRaw(sum, offset)
    IPv4Header(ip).finishChecksum()
    done &+= count
    index &+= 1
  }
}
