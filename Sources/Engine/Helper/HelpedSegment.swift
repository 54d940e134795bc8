/// A TCP segment, or a piece of one, of a connection that a helper reads: numbers as its sender has them, taken before
/// anything is changed, and where they stand.
struct HelpedSegment {
  let slot: UnsafeMutablePointer<FrameSlot>
  /// First byte of the IP header, and its offset in the frame.
  let ip: UnsafeMutableRawPointer
  let network: Int
  let isIPv6: Bool
  let tcp: UnsafeMutableRawPointer
  let payload: UnsafeMutableRawPointer
  /// Bytes of payload.
  let count: Int
  let sequence: UInt32
  let acknowledgement: UInt32
  /// A piece of a datagram.
  let isPiece: Bool
  /// The checksum is an unfinished pseudo-header sum.
  let isPartial: Bool
  /// Bytes of the datagram, as its header says.
  let totalLength: Int
  /// Raw TCI bits of PCP and DEI.
  let priority: UInt16
  private let flags: UInt8
  /// Its destination is a stop on its way (RFC 8200 section 4.4).
  private let isRouted: Bool

  /// How far ahead of what was read a segment may be, and have something lost in front of it: a window of a megabyte.
  static let farthest: Int32 = 1 &<< 20

  init(_ packet: Packet) {
    self.init(
      packet.slot, packet.header.start, packet.network, isIPv6: false, tcp: packet.transport,
      length: packet.transportLength, totalLength: packet.totalLength, isPiece: packet.header.isFragment,
      isPartial: packet.isPartial, priority: packet.priority, isRouted: false)
  }

  init(_ packet: Packet6) {
    self.init(
      packet.slot, packet.header.start, packet.network, isIPv6: true, tcp: packet.transport,
      length: packet.transportLength, totalLength: packet.totalLength, isPiece: packet.chain.isFragment,
      isPartial: packet.isPartial, priority: packet.priority, isRouted: packet.chain.finalDestination != 0)
  }

  private init(
    _ slot: UnsafeMutablePointer<FrameSlot>, _ ip: UnsafeMutableRawPointer, _ network: Int, isIPv6: Bool,
    tcp: UnsafeMutableRawPointer, length: Int, totalLength: Int, isPiece: Bool, isPartial: Bool, priority: UInt16,
    isRouted: Bool
  ) {
    self.slot = slot
    self.ip = ip
    self.network = network
    self.isIPv6 = isIPv6
    self.tcp = tcp
    let headerLength = Int(tcp.byte(TCPHeader.dataOffset) &>> 4) &* 4
    payload = tcp + headerLength
    count = length &- headerLength
    flags = tcp.byte(TCPHeader.flagsOffset)
    sequence = tcp.big32(TCPHeader.sequenceOffset)
    acknowledgement = tcp.big32(TCPHeader.acknowledgementOffset)
    self.isPiece = isPiece
    self.isPartial = isPartial
    self.totalLength = totalLength
    self.priority = priority
    self.isRouted = isRouted
  }

  var hasSYN: Bool { flags & TCPHeader.syn != 0 }
  var hasACK: Bool { flags & TCPHeader.ack != 0 }
  /// Behind the last byte of payload.
  var end: UInt32 { sequence &+ UInt32(truncatingIfNeeded: count) }
  private var headerLength: Int { payload - tcp }
  private var isSuperFrame: Bool { slot.pointee.offload.segmentation != 0 }

  /// The checksum is right, or will be. That of a routed one, which is of another address, is not asked for.
  var isIntact: Bool {
    if isPartial { return !isRouted }
    let length = headerLength &+ count
    let pseudoHeader =
      isIPv6
      ? IPv6Header(ip).pseudoHeader(ipProtocol: IPProtocol.tcp, length: length)
      : Checksum.pseudoHeader(ip, ipProtocol: IPProtocol.tcp, length: length)
    return !isRouted && Checksum.fold(Checksum.sum(tcp, count: length) &+ pseudoHeader) == 0xFFFF
  }

  /// The longest text would still fit: into the link's MTU, or into a super-frame, whose segments are cut anew.
  func mayGrow(to mtu: Int) -> Bool {
    let longest = isIPv6 ? FTPEndpoint.longest : FTPEndpoint.longestIPv4
    return totalLength &+ longest <= (isSuperFrame ? 0xFFFF : mtu)
  }

  /// Writes a number of the header or its options, and what that does to the checksum.
  func put(_ number: UInt32, _ offset: Int) {
    let old = tcp.raw32(offset)
    guard old != number.bigEndian else { return }
    tcp.putBig(number, offset)
    // An unfinished sum has only the pseudo-header in it.
    if isPartial { return }
    let change = Checksum.delta(old, number.bigEndian)
    // At an odd offset its bytes are the other halves of two words (RFC 1071 section 2, B).
    tcp.putRaw(
      Checksum.adjust(
        tcp.raw16(TCPHeader.checksumOffset), by: offset % 2 == 0 ? change : change.byteSwapped),
      TCPHeader.checksumOffset)
  }

  /// Calls `body` with the offset of each number in SACK options (RFC 2018 section 3). A length that does not fit ends the
  /// walk.
  func eachSelective(_ body: (Int) -> Void) {
    var offset = TCPHeader.minimumLength
    while offset < headerLength {
      let kind = tcp.byte(offset)
      if kind == 0 { return }
      if kind == 1 {
        offset &+= 1
        continue
      }
      guard offset &+ 1 < headerLength else { return }
      let length = Int(tcp.byte(offset &+ 1))
      guard length >= 2, offset &+ length <= headerLength else { return }
      if kind == 5 {
        var number = offset &+ 2
        while number &+ 4 <= offset &+ length {
          body(number)
          number &+= 4
        }
      }
      offset &+= length
    }
  }
}

/// The lines that end in a segment and have begun in it, without their ends.
struct HelpedLines {
  let segment: HelpedSegment
  fileprivate(set) var at: Int
  /// The next byte is not the first one of a line.
  fileprivate(set) var isInLine: Bool

  init(segment: HelpedSegment, at: Int, isInLine: Bool) {
    self.segment = segment
    self.at = at
    self.isInLine = isInLine
  }

  mutating func next() -> Range<Int>? {
    while at < segment.count {
      let start = at
      var end = at
      while end < segment.count, segment.payload.byte(end) != UInt8(ascii: "\n") { end &+= 1 }
      at = end &+ 1
      let hasBegun = !isInLine
      isInLine = end == segment.count
      if isInLine { return nil }
      let hasReturn = end > start && segment.payload.byte(end &- 1) == UInt8(ascii: "\r")
      if hasBegun { return start..<(hasReturn ? end &- 1 : end) }
    }
    return nil
  }
}

/// A segment whose text is to be changed: where, and into what.
struct Rewording {
  let segment: HelpedSegment
  /// Of the text, in the payload.
  let offset: Int
  let oldLength: Int
  let newLength: Int
  private let form: FTPForm
  private let address: IPAddress
  private let port: UInt16
  private let delimiter: UInt8

  /// - Parameters:
  ///   - side: whose changed text the segment has all of.
  ///   - address: as the receiver knows the sender.
  init?(_ segment: HelpedSegment, _ side: HelperLine.Side, as address: IPAddress) {
    guard let form = side.form else { return nil }
    self.segment = segment
    self.form = form
    self.address = address
    offset = Int(side.place &- segment.sequence)
    oldLength = Int(side.oldLength)
    newLength = Int(side.newLength)
    port = side.port
    delimiter = side.delimiter
  }

  var growth: Int { newLength &- oldLength }

  /// Writes the whole datagram with its new text to `ip`, which has room for it. A finished checksum is off by as much
  /// afterwards as it was before.
  func write(to ip: UnsafeMutableRawPointer) {
    let (from, length) = (segment.ip, segment.totalLength)
    let head = (segment.payload - from) &+ offset
    ip.copyMemory(from: from, byteCount: head)
    _ = FTPEndpoint.write(form, address, port, delimiter, to: ip + head)
    (ip + (head &+ newLength)).copyMemory(from: from + (head &+ oldLength), byteCount: length &- head &- oldLength)
    writeLength(ip)
    let tcp = ip + (segment.tcp - from)
    let (before, after) = (length &- (segment.tcp - from), length &+ growth &- (segment.tcp - from))
    // The pseudo-header has the length in it.
    let change = Checksum.delta(
      UInt16(truncatingIfNeeded: before).bigEndian, UInt16(truncatingIfNeeded: after).bigEndian)
    let checksum = tcp.raw16(TCPHeader.checksumOffset)
    guard !segment.isPartial else {
      return tcp.putRaw(Checksum.adjustPartial(checksum, by: change), TCPHeader.checksumOffset)
    }
    let sums = Checksum.delta(
      Checksum.fold(Checksum.sum(segment.tcp, count: before)), Checksum.fold(Checksum.sum(tcp, count: after)))
    tcp.putRaw(Checksum.adjust(checksum, by: Checksum.combine(change, sums)), TCPHeader.checksumOffset)
  }

  /// How long the datagram is now.
  private func writeLength(_ ip: UnsafeMutableRawPointer) {
    let total = segment.totalLength &+ growth
    guard !segment.isIPv6 else {
      return ip.putBig(
        UInt16(truncatingIfNeeded: total &- IPv6Header.length), IPv6Header.payloadLengthOffset)
    }
    let old = ip.raw16(IPv4Header.totalLengthOffset)
    ip.putBig(UInt16(truncatingIfNeeded: total), IPv4Header.totalLengthOffset)
    let delta = Checksum.delta(old, ip.raw16(IPv4Header.totalLengthOffset))
    ip.putRaw(Checksum.adjust(ip.raw16(IPv4Header.checksumOffset), by: delta), IPv4Header.checksumOffset)
  }
}

extension Core {
  /// Sends a datagram with its new text from the outbox's room, since it may be longer than its frame.
  mutating func deliver(_ changed: Rewording, over place: UInt16) {
    let segment = changed.segment
    let slot = segment.slot
    let length = segment.totalLength &+ changed.growth
    // What fits into one segment is no super-frame any more.
    if segment.count &+ changed.growth <= Int(slot.pointee.offload.segmentSize) {
      slot.pointee.offload.segmentation = 0
      slot.pointee.offload.segmentSize = 0
    }
    // More than was let grow: of what is sent again, which may be cut otherwise the next time. IPv6 goes in one piece.
    let isWhole = segment.isIPv6 && slot.pointee.offload.segmentation == 0
    guard length <= (isWhole ? Int(adjacencies[place].mtu) : 0xFFFF) else { return drop(slot, .helperOrder) }
    guard let ip = outbox.room(for: length) else { return drop(slot, .outboxFull) }
    changed.write(to: ip)
    guard canSend(place) else {
      return hold(
        slot, ip, length: length, network: segment.network, priority: segment.priority, place, nil)
    }
    let isSent = emit(
      ip, length: length, offload: Offload.shifted(slot.pointee.offload, by: -segment.network), over: place,
      priority: segment.priority)
    guard isSent else { return drop(slot, .outboxFull) }
    slot.pointee.verdict = .split
    slot.pointee.egress = adjacencies[place].egress
    counters.add(slot.pointee.ingress, Counters.forwarded)
  }
}
