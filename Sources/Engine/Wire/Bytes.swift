/// Unaligned loads and stores on packet bytes, by byte offset.
///
/// `raw` values are the bytes as they stand, loaded in machine order: what tables hold, what one's complement sums add
/// (RFC 1071 section 2(B): the sum does not depend on byte order), and what is compared with byte-swapped
/// constants. `big` values are numbers in host order.
extension UnsafeMutableRawPointer {
  @inline(__always)
  func byte(_ offset: Int) -> UInt8 { load(fromByteOffset: offset, as: UInt8.self) }

  @inline(__always)
  func raw16(_ offset: Int) -> UInt16 { loadUnaligned(fromByteOffset: offset, as: UInt16.self) }

  @inline(__always)
  func raw32(_ offset: Int) -> UInt32 { loadUnaligned(fromByteOffset: offset, as: UInt32.self) }

  @inline(__always)
  func raw64(_ offset: Int) -> UInt64 { loadUnaligned(fromByteOffset: offset, as: UInt64.self) }

  @inline(__always)
  func big16(_ offset: Int) -> UInt16 { raw16(offset).bigEndian }

  @inline(__always)
  func big32(_ offset: Int) -> UInt32 { raw32(offset).bigEndian }

  @inline(__always)
  func put(_ value: UInt8, _ offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt8.self) }

  @inline(__always)
  func putRaw(_ value: UInt16, _ offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt16.self) }

  @inline(__always)
  func putRaw(_ value: UInt32, _ offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt32.self) }

  @inline(__always)
  func putRaw(_ value: UInt64, _ offset: Int) { storeBytes(of: value, toByteOffset: offset, as: UInt64.self) }

  @inline(__always)
  func putBig(_ value: UInt16, _ offset: Int) { putRaw(value.bigEndian, offset) }

  @inline(__always)
  func putBig(_ value: UInt32, _ offset: Int) { putRaw(value.bigEndian, offset) }

  /// The six bytes at `offset`, the first in the lowest byte of the result.
  @inline(__always)
  func rawMAC(_ offset: Int) -> UInt64 { UInt64(raw32(offset)) | UInt64(raw16(offset &+ 4)) &<< 32 }

  @inline(__always)
  func putMAC(_ raw: UInt64, _ offset: Int) {
    putRaw(UInt32(truncatingIfNeeded: raw), offset)
    putRaw(UInt16(truncatingIfNeeded: raw &>> 32), offset &+ 4)
  }
}

extension MACAddress {
  /// As `rawMAC` loads it.
  @inline(__always)
  var raw: UInt64 { value.byteSwapped &>> 16 }

  @inline(__always)
  init(raw: UInt64) { self.init(raw.byteSwapped &>> 16) }
}
