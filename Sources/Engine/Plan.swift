/// A checked configuration, ready to run: what `Settings` makes of a TOML file and `Forwarder` compiles into its tables.
///
/// Every reference between parts is an index. IPv6 parts stand beside those of IPv4 and have a 6 behind their name.
public struct Plan: Sendable, Equatable {
  public enum Mode: String, Sendable { case dedicated, alongside }
  /// What becomes of a session that the current rules would make otherwise: its client's next packet begins it anew
  /// (`keep`), or it ends (`cut`).
  public enum OnChange: String, Sendable { case keep, cut }

  /// How a live gateway's frames come in.
  public enum Ring: String, Sendable {
    /// A slot for each frame (TPACKET_V2): the shortest way through.
    case latency
    /// Frames packed into blocks (TPACKET_V3): more of them a second, each up to some milliseconds later.
    case throughput
    /// Both open, switched by load.
    case auto
  }

  public var mode: Mode = .dedicated
  public var workers = 1
  public var ring: Ring = .latency
  /// How long a worker watches its rings after the last frame before it sleeps; nil: as the number of cores allows.
  public var spinMicroseconds: Int?
  /// The core of each worker; empty for any.
  public var cores: [Int] = []
  /// Session capacity.
  public var sessions = 1_048_576
  public var onChange: OnChange = .keep
  /// File that holds the session table over a restart; nil for the gateway's own choice, "off" for none.
  public var state: String?
  public var interfaces: [InterfacePlan] = []
  public var routes: [RoutePlan] = []
  public var neighbors: [NeighborPlan] = []
  public var routes6: [RoutePlan6] = []
  public var neighbors6: [NeighborPlan6] = []
  public var forwards: [ForwardPlan] = []
  public var masquerades: [MasqueradePlan] = []
  public var triggers: [TriggerPlan] = []
  public var prefixes: [PrefixPlan] = []
  public var timeouts = TimeoutPlan()
  public var limits = LimitPlan()
  /// A TCP connection older than we are is picked up by an ACK.
  public var picksUpTCP = true
  /// nil: nothing is recorded.
  public var recorder: RecorderPlan?

  public init() {}

  /// Some interface speaks IPv6.
  public var hasIPv6: Bool { interfaces.contains { !$0.addresses6.isEmpty } }

  /// Some rule has a helper.
  public var hasHelpers: Bool { forwards.contains { $0.helper != nil } || masquerades.contains { $0.helper != nil } }
}

/// An 802.1Q or 802.1ad tag.
public struct VLANTag: Hashable, Sendable {
  /// 0x8100 (802.1Q, the inner or only one) or 0x88A8 (802.1ad, the outer of two).
  public var protocolID: UInt16
  /// 1...4094.
  public var vlan: UInt16

  public init(protocolID: UInt16, vlan: UInt16) {
    self.protocolID = protocolID
    self.vlan = vlan
  }
}

public struct InterfacePlan: Sendable, Equatable {
  public enum Role: String, Sendable { case inside, outside }
  public enum Unsolicited: String, Sendable { case silent, unreachable }
  public enum Link: String, Sendable { case ethernet, rawIP }
  public enum ClampMSS: Sendable, Equatable {
    /// To what fits the interface's MTU.
    case mtu
    case bytes(Int)
  }

  public var name: String
  public var role: Role
  public var device: String
  /// Outermost first; empty for untagged.
  public var tags: [VLANTag] = []
  /// The interface's own addresses with their prefixes, in the order of the file.
  public var addresses: [IPv4Prefix] = []
  /// `address = "auto"`: addresses follow the device's (live only).
  public var isAutomatic = false
  public var gateways: [IPv4Address] = []
  /// The same for IPv6. An interface without an IPv6 address has no IPv6.
  public var addresses6: [IPv6Prefix] = []
  public var gateways6: [IPv6Address] = []
  /// nil: the device's own. An Ethernet interface needs one before it is given to `Forwarder`.
  public var mac: MACAddress?
  /// nil: the device's own (live), 1500 (replay).
  public var mtu: Int?
  /// Answer echo requests to this interface's addresses.
  public var ping: Bool
  public var unsolicited: Unsolicited = .silent
  /// How far the MSS of TCP connections that begin through this interface is lowered; nil: not at all.
  public var clampMSS: ClampMSS?
  /// Decided by the device or the capture's link type.
  public var link: Link = .ethernet

  public init(name: String, role: Role, device: String) {
    self.name = name
    self.role = role
    self.device = device
    ping = role == .inside
  }
}

public struct RoutePlan: Sendable, Equatable {
  public var destination: IPv4Prefix
  public var via: IPv4Address
  /// Index of the interface whose prefix holds `via`.
  public var interface: Int

  public init(destination: IPv4Prefix, via: IPv4Address, interface: Int) {
    self.destination = destination
    self.via = via
    self.interface = interface
  }
}

public struct NeighborPlan: Sendable, Equatable {
  public var address: IPv4Address
  public var mac: MACAddress
  public var interface: Int

  public init(address: IPv4Address, mac: MACAddress, interface: Int) {
    self.address = address
    self.mac = mac
    self.interface = interface
  }
}

public struct RoutePlan6: Sendable, Equatable {
  public var destination: IPv6Prefix
  public var via: IPv6Address
  /// Index of the interface that has `via` on its link.
  public var interface: Int

  public init(destination: IPv6Prefix, via: IPv6Address, interface: Int) {
    self.destination = destination
    self.via = via
    self.interface = interface
  }
}

public struct NeighborPlan6: Sendable, Equatable {
  public var address: IPv6Address
  public var mac: MACAddress
  public var interface: Int

  public init(address: IPv6Address, mac: MACAddress, interface: Int) {
    self.address = address
    self.mac = mac
    self.interface = interface
  }
}

/// Ports `first...last`, both included.
public struct PortRange: Hashable, Sendable {
  public var first: UInt16
  public var last: UInt16

  public init(_ first: UInt16, _ last: UInt16) {
    self.first = first
    self.last = last
  }

  public var count: Int { Int(last) - Int(first) + 1 }
}

/// A run of outside ports and where it goes, after `except` has been taken out.
public struct PortSpan: Hashable, Sendable {
  /// Outside ports.
  public var ports: PortRange
  /// Target port of the first outside port.
  public var target: UInt16
  /// True: the k-th port goes to `target` + k. False: all go to `target`.
  public var isParallel: Bool

  public init(ports: PortRange, target: UInt16, isParallel: Bool) {
    self.ports = ports
    self.target = target
    self.isParallel = isParallel
  }
}

/// What reads the payload of a rule's connections, since they carry endpoints in it. Without one no payload is touched.
public enum Helper: String, Sendable, CaseIterable {
  /// FTP control connections (RFC 959, RFC 2428): what their ends announce for data connections.
  case ftp
}

public struct ForwardPlan: Sendable, Equatable {
  public enum Source: String, Sendable { case preserve, gateway }
  public struct Protocols: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let tcp = Protocols(rawValue: 1)
    public static let udp = Protocols(rawValue: 2)
    /// ICMP echo (part of "any").
    public static let echo = Protocols(rawValue: 4)
    /// Every other IP protocol, by address alone (part of "all").
    public static let other = Protocols(rawValue: 8)
  }

  public var name: String
  public var protocols: Protocols
  /// The outside interface that it belongs to.
  public var interface: Int
  /// The outside addresses: all of the interface's own (`on`), or the one given (`external`).
  public var externals: [IPv4Address]
  /// True where `on` was given: `externals` then follows the interface's addresses.
  public var isOnInterface: Bool
  /// `ports = "all"`: a narrower forward wins over it.
  public var isWholeHost: Bool
  public var spans: [PortSpan]
  public var target: IPv4Address
  public var source: Source = .preserve
  public var allow: [IPv4Prefix] = [IPv4Prefix(IPv4Address(0), length: 0)]
  public var deny: [IPv4Prefix] = []
  public var hairpin = true
  public var isEnabled = true
  /// Its IPv6 side. Where it has no other, `protocols` is empty and `target` of no meaning.
  public var pinhole: PinholePlan?
  /// Of its TCP connections.
  public var helper: Helper?
  /// Idle times of its sessions; nil: the plan's.
  public var timeouts: TimeoutPlan?
  /// 1-based line in the configuration file.
  public var line: Int = 0

  public init(
    name: String, protocols: Protocols, interface: Int, externals: [IPv4Address], isOnInterface: Bool = true,
    isWholeHost: Bool, spans: [PortSpan], target: IPv4Address
  ) {
    self.name = name
    self.protocols = protocols
    self.interface = interface
    self.externals = externals
    self.isOnInterface = isOnInterface
    self.isWholeHost = isWholeHost
    self.spans = spans
    self.target = target
  }

  /// All target ports are different: the target also *sends* from the outside endpoint.
  public var isOneToOne: Bool {
    spans.allSatisfy { $0.isParallel || $0.ports.count == 1 } && Self.areDistinct(spans)
  }

  private static func areDistinct(_ spans: [PortSpan]) -> Bool {
    let runs = spans.map { ($0.target, $0.target &+ ($0.ports.last &- $0.ports.first)) }.sorted { $0.0 < $1.0 }
    return zip(runs, runs.dropFirst()).allSatisfy { $0.1 < $1.0 }
  }
}

/// Who shares a mapping, and who may use one from outside (RFC 4787 sections 4.1 and 5).
public enum EndpointRule: String, Sendable, CaseIterable {
  case endpointIndependent = "endpoint-independent"
  case addressDependent = "address-dependent"
  case addressAndPortDependent = "address-and-port-dependent"
}

public struct MasqueradePlan: Sendable, Equatable {
  /// Inside interface.
  public var from: Int
  /// Outside interface.
  public var to: Int
  /// Outside addresses, of which every inside host keeps one; empty: the first address of `to`.
  public var externals: [IPv4Address] = []
  /// Outside IPv6 address; nil: IPv6 is not masqueraded.
  public var external6: IPv6Address?
  /// Destinations that are sent to without translation.
  public var except: [IPv4Prefix] = []
  /// Outside ports to choose from, less the forwards.
  public var pool: [PortRange] = [PortRange(1, 65535)]
  public var mapping: EndpointRule = .endpointIndependent
  public var filtering: EndpointRule = .addressDependent
  /// Other IP protocols than TCP, UDP and echo go out by address alone: one inside host for each (peer, protocol).
  public var otherProtocols = false
  /// Accepted datagrams from outside keep a UDP mapping alive too (RFC 4787 REQ-6a).
  public var inboundRefresh = true
  /// Of its TCP connections to port 21.
  public var helper: Helper?

  public init(from: Int, to: Int) {
    self.from = from
    self.to = to
  }
}

/// Port triggering: what an inside host sends to the ports `when` opens the ports `open` from outside to it.
public struct TriggerPlan: Sendable, Equatable {
  /// What becomes of a second host that asks: nothing, or the trigger is its own from then on.
  public enum Conflict: String, Sendable, CaseIterable { case refuse, steal }

  public var name: String
  /// Inside interface.
  public var from: Int
  /// TCP, UDP or both, of what is sent as of what is opened.
  public var protocols: ForwardPlan.Protocols
  /// Ports that inside hosts send to.
  public var when: [PortRange]
  /// Ports that are opened, at the outside addresses that `from` is masqueraded as.
  public var open: [PortRange]
  /// How long after the last packet that asked.
  public var seconds = 600
  public var conflict = Conflict.refuse
  /// 1-based line in the configuration file.
  public var line = 0

  public init(
    name: String, from: Int, protocols: ForwardPlan.Protocols, when: [PortRange], open: [PortRange]
  ) {
    self.name = name
    self.from = from
    self.protocols = protocols
    self.when = when
    self.open = open
  }
}

/// Idle times in seconds.
public struct TimeoutPlan: Sendable, Equatable {
  public var udp = 300
  public var udpDNS = 10
  public var tcpEstablished = 7440
  /// From the first segment until both sides have acknowledged.
  public var tcpOpening = 240
  /// After FIN from both sides.
  public var tcpClosing = 240
  /// After a RST that may have ended the connection.
  public var tcpReset = 240
  public var icmp = 60
  /// Other IP protocols.
  public var other = 600
  /// A SYN that nothing is configured for is answered no sooner (RFC 5382 REQ-4).
  public var unsolicited = 6
  /// A freed port waits for its former owner (RFC 6888 REQ-8).
  public var quarantine = 120
  /// Pieces of a datagram wait for the first one.
  public var fragment = 15
  /// The IPv4 identification of a datagram in pieces belongs to it.
  public var identification = 120

  public init() {}
}

/// How much of the tables may be taken. For new sessions: nothing ends because a limit has become lower.
public struct LimitPlan: Sendable, Equatable {
  /// Sessions that one inside host may have begun; nil: any number (RFC 6888 REQ-5).
  public var sessionsPerHost: Int?
  /// Outside ports and identifiers that one inside host may have; nil: any number (RFC 6888 REQ-4).
  public var portsPerHost: Int?
  /// TCP sessions that both sides have not acknowledged yet; nil: half of all.
  public var halfOpen: Int?

  public init() {}

  /// How many half-open sessions a table of this capacity may have.
  public func halfOpen(of sessions: Int) -> Int { halfOpen ?? max(1, sessions / 2) }
}

/// What a running gateway keeps of the last frames.
public struct RecorderPlan: Sendable, Equatable {
  /// Of each device, in bytes.
  public var memory = 16 << 20
  /// Of each of the two images of the engine's state, in bytes.
  public var state = 64 << 20
  /// Whole frames, not headers alone.
  public var isWhole = false
  /// Where a recording goes by itself when one of `triggers` moves; nil for nowhere.
  public var directory: String?
  /// Drop reasons that say that something is wrong with the gateway itself.
  public var triggers: [DropReason] = [.tableFull, .noPort, .outboxFull, .neighborTableFull, .insertContention]

  public init() {}
}
