import Engine
import Settings

/// The gateway that targets play on: its addresses, its configuration, and one frame or burst at a time.
enum Stage {
  static let epoch: UInt64 = 1_700_000_000_000_000_000
  static let second: UInt64 = 1_000_000_000
  static let links = [[0], [1]]
  static let (wan, lan) = (0, 1)
  static let stations: [[UInt8]] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 2, 1]]

  static let outside: UInt32 = 0xCB00_7101  // 203.0.113.1
  static let client: UInt32 = 0xC633_6407  // 198.51.100.7
  /// 192.168.1.N
  static func host(_ number: UInt32) -> UInt32 { 0xC0A8_0100 + number }

  /// Small in everything (a port takes time to reserve), with one of each: a forward, a whole host, a hidden client, a masquerade, a narrow link.
  static let text = """
    [engine]
    sessions = 16
    [interface.wan]
    role = "outside"
    device = "wan0"
    address = ["203.0.113.1/24"]
    gateway = ["203.0.113.254"]
    mac = "02:00:00:00:01:01"
    mtu = 576
    ping = true
    unsolicited = "unreachable"
    [interface.lan]
    role = "inside"
    device = "lan0"
    address = ["192.168.1.1/24"]
    mac = "02:00:00:00:02:01"
    [[neighbor]]
    address = "203.0.113.254"
    mac = "02:00:00:00:01:fe"
    [[neighbor]]
    address = "192.168.1.10"
    mac = "02:00:00:00:02:10"
    [[neighbor]]
    address = "192.168.1.11"
    mac = "02:00:00:00:02:11"
    [[forward]]
    name = "web"
    protocol = "tcp+udp"
    on = "wan"
    ports = "8000-8003"
    to = "192.168.1.10:9000-9003"
    [[forward]]
    name = "hidden"
    protocol = "tcp+udp"
    on = "wan"
    ports = "8100"
    to = "192.168.1.12"
    source = "gateway"
    [[forward]]
    name = "whole"
    protocol = "any"
    external = "203.0.113.5"
    ports = "all"
    except = "100-65535"
    to = "192.168.1.11"
    [[masquerade]]
    from = "lan"
    to = "wan"
    filtering = "endpoint-independent"

    """

  static func plan(_ text: String = Stage.text) -> Plan {
    do {
      return try SettingsFile(text: text, file: "stage.toml", purpose: .replay).plan
    } catch {
      fatalError("\(error)")
    }
  }
}

/// One frame to be judged, in heap memory of exactly its size with the headroom before it.
struct Arrival {
  var bytes: [UInt8]
  var link: Int
  var tag: UInt32 = 0
  var offload = OffloadHeader()
}

extension Forwarder {
  /// Judges a burst. `body` sees the slots before their memory is gone.
  mutating func play(
    _ arrivals: [Arrival], at time: UInt64, _ body: (borrowing Forwarder, UnsafeMutableBufferPointer<FrameSlot>) -> Void
  ) {
    let slots = UnsafeMutableBufferPointer<FrameSlot>.allocate(capacity: max(1, arrivals.count))
    defer { slots.deallocate() }
    let memory = arrivals.map {
      UnsafeMutableRawPointer.allocate(byteCount: Forwarder.headroom + $0.bytes.count, alignment: 16)
    }
    defer { memory.forEach { $0.deallocate() } }
    for (index, arrival) in arrivals.enumerated() {
      let start = memory[index] + Forwarder.headroom
      start.copyMemory(from: arrival.bytes, byteCount: arrival.bytes.count)
      var slot = FrameSlot(
        bytes: start, length: arrival.bytes.count, headroom: Forwarder.headroom, link: arrival.link, time: time)
      slot.tag = arrival.tag
      slot.offload = arrival.offload
      slots.initializeElement(at: index, to: slot)
    }
    process(slots.baseAddress!, count: arrivals.count)
    body(self, slots)
  }

  /// Judges one datagram for us.
  @discardableResult
  mutating func play(_ datagram: Datagram, on link: Int, at time: UInt64) -> Verdict {
    var verdict = Verdict.none
    play([Arrival(bytes: datagram.frame(to: Stage.stations[link]), link: link)], at: time) {
      verdict = $1[0].verdict
    }
    return verdict
  }
}
