/// What a device's frames are matched with before anything else: plain data for the burst loop.
struct Link {
  /// Raw; the destination that a frame must have.
  var mac: UInt64 = 0
  /// The interface of frames without tags, where it is Ethernet and has none.
  var untagged: UInt16 = Link.none
  /// Of `untagged`, as it stands in a key.
  var scope: UInt64 = 0
  /// As the first eight bytes of a frame to `untagged` are, shifted left by 16; 1, which none are, where there is none.
  var untaggedMAC: UInt64 = 1
  /// The only interface, on a raw-IP link.
  var rawIP: UInt16 = Link.none
  /// Counts frames that belong to no interface.
  var first: UInt16 = 0

  static let none = UInt16.max
}

/// The tags of one interface, as looked for in frames.
struct TagEntry {
  let link: UInt16
  let interface: UInt16
  /// TPID << 16 | VID, 0 for none.
  let outer: UInt32
  let inner: UInt32
  /// Raw.
  let mac: UInt64

  init(link: UInt16, interface: UInt16, _ tags: [VLANTag], _ mac: UInt64) {
    self.link = link
    self.interface = interface
    self.mac = mac
    outer = tags.count > 0 ? UInt32(tags[0].protocolID) &<< 16 | UInt32(tags[0].vlan) : 0
    inner = tags.count > 1 ? UInt32(tags[1].protocolID) &<< 16 | UInt32(tags[1].vlan) : 0
  }
}

/// Which interface a frame belongs to, and where its payload starts.
struct Locator {
  /// `Link.none` where its tags belong to no interface.
  var interface: UInt16
  /// Offset of what follows the EtherType.
  var network: UInt16
  /// In host order; 0 where the frame ends before it.
  var etherType: UInt16

  /// Reads the tags, the one in the ring's metadata before those in the frame. A lone VID 0 (a priority tag) counts as
  /// untagged (802.1Q section 6.9.1).
  @inline(never)
  static func locate(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ link: UnsafeMutablePointer<Link>,
    _ tags: UnsafeMutableBufferPointer<TagEntry>
  ) -> Locator {
    let frame = slot.pointee.bytes
    let length = Int(slot.pointee.length)
    if link.pointee.rawIP != Link.none {
      let isIPv6 = length != 0 && frame.byte(0) &>> 4 == 6
      return Locator(interface: link.pointee.rawIP, network: 0, etherType: isIPv6 ? EtherType.ipv6 : EtherType.ipv4)
    }
    var outer: UInt32 = 0
    var inner: UInt32 = 0
    var count = 0
    if slot.pointee.tag != 0 {
      outer = slot.pointee.tag & 0xFFFF_0FFF
      count = 1
    }
    var offset = 12
    while offset &+ 2 <= length {
      let etherType = frame.big16(offset)
      guard etherType == EtherType.vlan || etherType == EtherType.serviceVLAN else {
        let interface = find(slot.pointee.link, outer, inner, count, link, tags)
        return Locator(interface: interface, network: UInt16(truncatingIfNeeded: offset &+ 2), etherType: etherType)
      }
      guard offset &+ 4 <= length, count < 3 else { break }
      let tag = UInt32(etherType) &<< 16 | UInt32(frame.big16(offset &+ 2) & 0x0FFF)
      if count == 0 { outer = tag } else { inner = tag }
      count &+= 1
      offset &+= 4
    }
    return Locator(
      interface: count > 2 ? Link.none : find(slot.pointee.link, outer, inner, count, link, tags), network: 0,
      etherType: 0)
  }

  @inline(__always)
  private static func find(
    _ number: UInt16, _ outer: UInt32, _ inner: UInt32, _ count: Int, _ link: UnsafeMutablePointer<Link>,
    _ tags: UnsafeMutableBufferPointer<TagEntry>
  ) -> UInt16 {
    if count > 2 { return Link.none }
    let isUntagged = count == 0 || (count == 1 && outer & 0x0FFF == 0)
    if isUntagged { return link.pointee.untagged }
    guard let entries = tags.baseAddress else { return Link.none }
    var i = 0
    while i < tags.count {
      let entry = entries + i
      if entry.pointee.link == number, entry.pointee.outer == outer, entry.pointee.inner == inner {
        return entry.pointee.interface
      }
      i &+= 1
    }
    return Link.none
  }

  /// PCP and DEI of the outermost tag as raw TCI bits; 0 for a frame without tags.
  @inline(__always)
  static func priority(_ slot: UnsafeMutablePointer<FrameSlot>, _ network: Int) -> UInt16 {
    if slot.pointee.tag != 0 { return (UInt16(truncatingIfNeeded: slot.pointee.tag) & 0xF000).bigEndian }
    return network > 14 ? slot.pointee.bytes.raw16(14) & UInt16(0xF000).bigEndian : 0
  }
}
