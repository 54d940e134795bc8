/// What became of a received frame.
public enum Verdict: UInt8, Sendable, CaseIterable {
  /// Not judged yet: the state of a slot before the engine sees it.
  case none
  /// Goes out on `FrameSlot.egress`, rewritten in place.
  case forward
  /// Goes nowhere; `FrameSlot.reason` says why.
  case drop
  /// Was for us: ARP, echo to an own address and the like.
  case consume
  /// Was copied by the engine and waits for a neighbour.
  case hold
  /// Left to the host's own stack (`alongside` mode only).
  case pass
  /// Goes out as several smaller frames that stand in the outbox (RFC 791 fragmentation). Counts as forwarded.
  case split
}

/// Why a frame was dropped: counter index, metric label and text at once.
///
/// The order is the order in which causes win (the first one that applies is reported).
public enum DropReason: UInt8, Sendable, CaseIterable {
  case none
  // Frame, MAC, tag.
  case truncated
  case notOurMAC
  case unknownVLAN
  case unknownEthertype
  case malformedARP
  // IP header.
  case malformedIPv4
  case malformedFragment
  case malformedIPv6
  case ipv6Off
  case sourceRoute
  case martian
  // Session, forward, filtering.
  case fragment
  case fragmentOverlap
  case malformedTCP
  case malformedUDP
  case malformedICMP
  case unknownProtocol
  case icmpUnmatched
  case icmpForged
  case icmpUnsupported
  case sessionCut
  case helperOrder
  case tcpNotSYN
  case toUs
  case noForward
  case triggerClosed
  case notAllowed
  case filtered
  case hairpinOff
  case insideFromOutside
  case outsideToOutside
  // TTL, route, MTU.
  case ttlExceeded
  case noRoute
  case noMasquerade
  case untranslatable
  case fragmentationNeeded
  // Limits and table.
  case sessionLimit
  case halfOpenLimit
  case portLimit
  case noPort
  case tableFull
  case insertContention
  case fragmentLimit
  case outboxFull
  // Neighbour.
  case noNeighbor
  case neighborQueueFull
  case neighborTableFull
  // Found by whoever sends the frame, after the engine's verdict.
  case egressFull
  case egressError
  case fragmentTimeout

  /// The name that users read in `sluice drops`, in reports and as a metric label.
  public var name: String { Self.texts[Int(rawValue)].name }

  /// One sentence for people.
  public var explanation: String { Self.texts[Int(rawValue)].explanation }

  private static let texts: [(name: String, explanation: String)] = allCases.map(\.text)

  private var text: (name: String, explanation: String) {
    switch self {
    case .none: ("none", "not dropped")
    case .truncated: ("truncated", "the frame ends before its headers or its stated length do")
    case .notOurMAC: ("not-our-mac", "sent to another station (replay only; live the kernel filters it)")
    case .unknownVLAN: ("unknown-vlan", "its VLAN tags belong to no interface")
    case .unknownEthertype: ("unknown-ethertype", "neither IPv4, IPv6 nor ARP")
    case .malformedARP: ("malformed-arp", "an ARP packet that contradicts itself")
    case .malformedIPv4: ("malformed-ipv4", "IPv4 version, lengths or header checksum are wrong (RFC 1812 5.2.2)")
    case .malformedFragment:
      ("malformed-fragment", "a piece that fits no datagram, or cuts a TCP header (RFC 791 3.2, RFC 1858, RFC 3128)")
    case .malformedIPv6:
      ("malformed-ipv6", "IPv6 version, lengths or extension headers are wrong, or those are too many (RFC 8200 3, 4)")
    case .ipv6Off: ("ipv6-off", "IPv6, and its interface has no IPv6 address")
    case .sourceRoute: ("source-route", "carries a source route (RFC 7126 4.3, 4.4; RFC 5095)")
    case .martian: ("martian", "a source or destination that cannot be here (RFC 1812 5.3.7, RFC 6890)")
    case .fragment: ("fragment", "a piece of a datagram that no session fits any more, or of an ICMP error")
    case .fragmentOverlap: ("fragment-overlap", "shares bytes with another piece of its datagram (RFC 1858, RFC 3128)")
    case .malformedTCP: ("malformed-tcp", "the TCP header does not fit the datagram")
    case .malformedUDP: ("malformed-udp", "the UDP header does not fit the datagram")
    case .malformedICMP: ("malformed-icmp", "the ICMP message is too short or its checksum is wrong (RFC 5508 REQ-3)")
    case .unknownProtocol: ("unknown-protocol", "neither TCP, UDP nor ICMP, and no rule for other protocols")
    case .icmpUnmatched: ("icmp-unmatched", "an ICMP error or echo reply about no live session (RFC 5508 REQ-4, REQ-5)")
    case .icmpForged:
      ("icmp-forged", "an ICMP error about a TCP segment never sent, or with an impossible MTU (RFC 5927)")
    case .icmpUnsupported: ("icmp-unsupported", "an ICMP type that is not forwarded")
    case .sessionCut: ("session-cut", "belongs to a TCP session that a change of the rules, or flow kill, has ended")
    case .helperOrder:
      ("helper-order", "came before what lies in front of it, or cuts a text that a helper has changed: sent again")
    case .tcpNotSYN: ("tcp-not-syn", "a TCP segment that can start no session")
    case .toUs: ("to-us", "for one of our own addresses, where nothing listens")
    case .noForward: ("no-forward", "no forward names this outside address, protocol and port")
    case .triggerClosed: ("trigger-closed", "the port is a trigger's, which is open for no inside host now")
    case .notAllowed: ("not-allowed", "the forward's allow and deny lists refuse this source")
    case .filtered: ("filtered", "the mapping's filtering refuses this source (RFC 4787 REQ-8)")
    case .hairpinOff: ("hairpin-off", "from inside, to a forward that has hairpin = false")
    case .insideFromOutside: ("inside-from-outside", "from outside, straight to an inside address")
    case .outsideToOutside: ("outside-to-outside", "between outside interfaces, which is not routed")
    case .ttlExceeded: ("ttl-exceeded", "its time to live ran out here (RFC 1812 5.3.1)")
    case .noRoute: ("no-route", "no route to the destination")
    case .noMasquerade: ("no-masquerade", "from inside to outside without a masquerade for that pair")
    case .untranslatable:
      ("untranslatable", "prefix translation has nothing for its address, such as subnet 0xffff (RFC 6296 3.4, 3.5)")
    case .fragmentationNeeded:
      (
        "fragmentation-needed",
        "larger than the next link's MTU, and not to be cut: DF is set (RFC 1191), or it is IPv6 (RFC 8201)"
      )
    case .sessionLimit: ("session-limit", "its inside host has as many sessions as one may have (RFC 6888 REQ-5)")
    case .halfOpenLimit: ("half-open-limit", "as many TCP sessions are half open as may be, and none near gives way")
    case .portLimit: ("port-limit", "its inside host has as many outside ports as one may have (RFC 6888 REQ-4)")
    case .noPort: ("no-port", "no free outside port or identifier is left")
    case .tableFull: ("table-full", "the session table is full")
    case .insertContention: ("insert-contention", "another worker held the table lane for too long")
    case .fragmentLimit: ("fragment-limit", "no room for another piece, or more than 64 of one datagram")
    case .outboxFull: ("outbox-full", "more engine-made frames in one burst than there is room for")
    case .noNeighbor: ("no-neighbor", "the next hop did not answer")
    case .neighborQueueFull: ("neighbor-queue-full", "gave way to newer frames that wait for the same next hop")
    case .neighborTableFull: ("neighbor-table-full", "no room for another neighbour")
    case .egressFull: ("egress-full", "the egress device had no room")
    case .egressError: ("egress-error", "the egress device refused the frame")
    case .fragmentTimeout: ("fragment-timeout", "the first fragment did not come in time")
    }
  }
}

/// Things worth counting that are no drops.
public enum Event: UInt8, Sendable, CaseIterable {
  case portChanged
  case sessionCreated
  case sessionExpired
  case mappingCreated
  case mappingExpired
  case neighborResolved
  case neighborFailed
  case errorSent
  case errorLimited
  case hairpin
  case sessionRetargeted
  case sessionCut
  case resetSent
  case triggerOpened
  case triggerStolen
  case triggerRefused
  case sessionEvicted
  case hostUncounted
  case helperOpened
  case helperRefused

  /// Counted by the table that all workers share, not by each of them.
  public var isOfTable: Bool {
    switch self {
    case .sessionCreated, .sessionExpired, .mappingCreated, .mappingExpired, .sessionEvicted: true
    default: false
    }
  }

  public var name: String {
    switch self {
    case .portChanged: "port-changed"
    case .sessionCreated: "session-created"
    case .sessionExpired: "session-expired"
    case .mappingCreated: "mapping-created"
    case .mappingExpired: "mapping-expired"
    case .neighborResolved: "neighbor-resolved"
    case .neighborFailed: "neighbor-failed"
    case .errorSent: "icmp-error-sent"
    case .errorLimited: "icmp-error-limited"
    case .hairpin: "hairpin"
    case .sessionRetargeted: "session-retargeted"
    case .sessionCut: "session-cut"
    case .resetSent: "reset-sent"
    case .triggerOpened: "trigger-opened"
    case .triggerStolen: "trigger-stolen"
    case .triggerRefused: "trigger-refused"
    case .sessionEvicted: "session-evicted"
    case .hostUncounted: "host-uncounted"
    case .helperOpened: "helper-opened"
    case .helperRefused: "helper-refused"
    }
  }
}
