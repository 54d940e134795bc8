import Engine

/// What `--mac`, `--map` and `--offloads` do to the frames of one input before the engine sees them.
struct InputEdit {
  /// The station that every frame is sent to; nil leaves frames to whom they were sent.
  var station: MACAddress?
  var map: AddressMap?
  /// The interface's MTU where unfinished frames are taken as such.
  var offloadMTU: Int?
  var isEthernet: Bool

  /// True where there is nothing to do.
  var isIdle: Bool { station == nil && map == nil && offloadMTU == nil }

  func apply(to slot: inout FrameSlot) {
    let bytes = slot.bytes
    let length = Int(slot.length)
    guard let layout = FrameLayout(bytes, length: length, isEthernet: isEthernet) else { return }
    if let station, isEthernet { readdress(bytes, layout, length, to: station) }
    if layout.etherType == 0x0806, let map {
      mapARP(bytes, at: layout.network, length: length, map)
    } else if layout.etherType == 0x0800, let ip = IPv4Layout(bytes, at: layout.network, end: length) {
      // Before addresses change: whether a sum is unfinished is told from the addresses it was begun with.
      if let offloadMTU { slot.offload = offload(bytes, ip, mtu: offloadMTU) }
      if let map { mapIPv4(bytes, ip, isUnfinished: slot.offload.flags & OffloadHeader.needsChecksum != 0, map) }
    }
  }

  // MARK: --mac

  /// Frames to a group stay so where the network layer speaks to a group as well: ARP requests, multicast, the limited
  /// broadcast, and whatever is no IPv4.
  private func readdress(_ bytes: UnsafeMutableRawPointer, _ layout: FrameLayout, _ length: Int, to station: MACAddress)
  {
    if bytes.byte(0) & 1 == 1 {
      guard layout.etherType == 0x0800, layout.network + 20 <= length else { return }
      let first = bytes.byte(layout.network + 16)
      if first >> 4 == 14 || bytes.wire32(layout.network + 16) == .max { return }
    }
    for index in 0..<6 {
      let byte = UInt8(truncatingIfNeeded: station.value >> UInt64(40 - 8 * index))
      bytes.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
    }
  }

  // MARK: --map

  /// Sender and target protocol address of an Ethernet/IPv4 ARP packet (RFC 826).
  private func mapARP(_ bytes: UnsafeMutableRawPointer, at start: Int, length: Int, _ map: AddressMap) {
    guard start + 28 <= length, bytes.number16(start + 2) == 0x0800, bytes.number16(start + 4) == 0x0604 else { return }
    bytes.setWire32(map(bytes.wire32(start + 14)), at: start + 14)
    bytes.setWire32(map(bytes.wire32(start + 24)), at: start + 24)
  }

  private func mapIPv4(_ bytes: UnsafeMutableRawPointer, _ ip: IPv4Layout, isUnfinished: Bool, _ map: AddressMap) {
    mapHeader(bytes, ip, isUnfinished: isUnfinished, map)
    // The addresses in a quote are the same hosts' addresses.
    guard ip.isError(bytes), let quoted = IPv4Layout(bytes, at: ip.transport + 8, end: ip.end) else { return }
    let delta = mapHeader(bytes, quoted, isUnfinished: false, map)
    let checksum = ip.transport + 2
    bytes.setWire16(delta.applied(to: bytes.wire16(checksum)), at: checksum)
  }

  /// Maps both addresses and corrects the checksums over them.
  ///
  /// - Returns: every change made to the bytes, for a checksum that covers them all.
  @discardableResult
  private func mapHeader(
    _ bytes: UnsafeMutableRawPointer, _ ip: IPv4Layout, isUnfinished: Bool, _ map: AddressMap
  ) -> ChecksumDelta {
    var addresses = ChecksumDelta()
    for offset in stride(from: ip.start + 12, to: ip.start + 20, by: 4) {
      let old = bytes.wire32(offset)
      let new = map(old)
      bytes.setWire32(new, at: offset)
      addresses.add(old, new)
    }
    var all = addresses
    change(ip.start + 10) { addresses.applied(to: $0) }
    if let offset = ip.addressChecksum {
      change(offset) { sum in
        if isUnfinished { return addresses.appliedToSum(sum) }
        guard ip.ipProtocol == 17 else { return addresses.applied(to: sum) }
        // RFC 768: zero says that there is none, and a computed zero is sent as its other form.
        let adjusted = addresses.applied(to: sum)
        return sum == 0 ? 0 : adjusted == 0 ? 0xFFFF : adjusted
      }
    }
    func change(_ offset: Int, _ transform: (UInt16) -> UInt16) {
      let old = bytes.wire16(offset)
      let new = transform(old)
      bytes.setWire16(new, at: offset)
      all.add(old, new)
    }
    return all
  }

  // MARK: --offloads

  /// The virtio header that a ring would have given: a sum that was only begun (CHECKSUM_PARTIAL), and the size of the segments
  /// that a TCP datagram over the MTU was to be cut into.
  private func offload(_ bytes: UnsafeMutableRawPointer, _ ip: IPv4Layout, mtu: Int) -> OffloadHeader {
    var header = OffloadHeader()
    guard !ip.isFragment, ip.start + ip.totalLength == ip.end, let checksum = ip.addressChecksum else { return header }
    if isUnfinished(bytes, ip, checksum) {
      header.flags = OffloadHeader.needsChecksum
      header.checksumStart = UInt16(ip.transport)
      header.checksumOffset = UInt16(checksum - ip.transport)
    }
    if ip.ipProtocol == 6, ip.totalLength > mtu {
      let tcpHeader = Int(bytes.byte(ip.transport + 12) >> 4) * 4
      let room = mtu - ip.headerLength - tcpHeader
      if tcpHeader >= 20, ip.transport + tcpHeader <= ip.end, room > 0 {
        header.segmentation = OffloadHeader.segmentTCP4
        header.segmentSize = UInt16(room)
        header.headerLength = UInt16(ip.transport + tcpHeader)
      }
    }
    return header
  }

  /// The field holds the pseudo-header's sum, and is not by chance the right checksum at the same time.
  private func isUnfinished(_ bytes: UnsafeMutableRawPointer, _ ip: IPv4Layout, _ checksum: Int) -> Bool {
    let length = ip.end - ip.transport
    var sum = UInt64(UInt16(ip.ipProtocol).bigEndian) + UInt64(UInt16(truncatingIfNeeded: length).bigEndian)
    for offset in stride(from: ip.start + 12, to: ip.start + 20, by: 2) { sum += UInt64(bytes.wire16(offset)) }
    guard bytes.wire16(checksum) == ChecksumDelta.fold(sum) else { return false }
    for offset in stride(from: ip.transport, to: ip.end - 1, by: 2) { sum += UInt64(bytes.wire16(offset)) }
    if length & 1 == 1 { sum += UInt64(UInt16(bytes.byte(ip.end - 1)).littleEndian) }
    return ChecksumDelta.fold(sum) != 0xFFFF
  }
}
