/// Super-frames and unfinished checksums, as the virtio header tells of them.
enum Offload {
  /// Bytes of the largest IP datagram that a super-frame becomes on the wire: its headers and one segment, never its
  /// own length. A UFO frame becomes fragments, which fit any link.
  @inline(never)
  static func wireLength(_ offload: OffloadHeader, _ transport: UnsafeMutableRawPointer, _ ipProtocol: UInt8) -> Int {
    switch offload.segmentation & 0x7F {
    case OffloadHeader.segmentTCP4:
      20 &+ Int(transport.byte(TCPHeader.dataOffset) &>> 4) &* 4 &+ Int(offload.segmentSize)
    case OffloadHeader.segmentUDPL4: 20 &+ UDPHeader.length &+ Int(offload.segmentSize)
    default: 0
    }
  }

  /// The same for a header of any length.
  static func wireLength(_ offload: OffloadHeader, _ header: IPv4Header) -> Int {
    let length = wireLength(offload, header.payload, header.ipProtocol)
    return length == 0 ? 0 : length &- 20 &+ header.length
  }

  /// The header after the link header has become `change` bytes longer: its offsets count from the frame's first byte.
  @inline(__always)
  static func shifted(_ offload: OffloadHeader, by change: Int) -> OffloadHeader {
    var shifted = offload
    if offload.flags & OffloadHeader.needsChecksum != 0 {
      shifted.checksumStart = UInt16(truncatingIfNeeded: Int(offload.checksumStart) &+ change)
    }
    if offload.headerLength != 0 {
      shifted.headerLength = UInt16(truncatingIfNeeded: Int(offload.headerLength) &+ change)
    }
    return shifted
  }
}
