/// Super-frames and unfinished checksums, as the virtio header tells of them.
enum Offload {
  /// Bytes of the largest IP datagram that a frame becomes on the wire: of a super-frame its headers and one segment,
  /// never its own length. A UFO frame becomes fragments, which fit any link.
  @inline(never)
  static func wireLength(_ offload: OffloadHeader, _ header: IPv4Header) -> Int {
    switch offload.segmentation & 0x7F {
    case 0: header.totalLength
    case OffloadHeader.segmentTCP4:
      header.length &+ Int(header.payload.byte(TCPHeader.dataOffset) &>> 4) &* 4 &+ Int(offload.segmentSize)
    case OffloadHeader.segmentUDPL4: header.length &+ UDPHeader.length &+ Int(offload.segmentSize)
    default: 0
    }
  }

  /// Whether the transport checksum, of a header at `transport` bytes of the frame, is an unfinished sum.
  @inline(__always)
  static func isPartial(_ offload: OffloadHeader, transport: Int) -> Bool {
    offload.flags & OffloadHeader.needsChecksum != 0 && Int(offload.checksumStart) == transport
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
