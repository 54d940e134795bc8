import CLinux
import Engine
import Glibc
import Testing

@testable import PacketIO

/// The kernel itself runs the program here: on a pair of Unix datagram sockets, which take filters like packet sockets do.
@Suite struct PrefilterTests {
  private static let own = MACAddress(0x0200_0000_0101)
  private static let second = MACAddress(0x0200_0000_0102)

  /// Whether a frame of these header bytes passes the filter for `macs`.
  private func passes(_ macs: [MACAddress], _ destination: MACAddress, _ types: [UInt16]) throws -> Bool {
    var ends: (Int32, Int32) = (-1, -1)
    let made = withUnsafeMutablePointer(to: &ends) {
      $0.withMemoryRebound(to: Int32.self, capacity: 2) {
        socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, $0)
      }
    }
    try #require(made == 0)
    defer {
      close(ends.0)
      close(ends.1)
    }
    var program = Prefilter.program(macs: macs)
    let attached = program.withUnsafeMutableBufferPointer { code in
      var filter = sock_fprog(len: UInt16(code.count), filter: code.baseAddress)
      return setsockopt(
        ends.1, SOL_SOCKET, SO_ATTACH_FILTER, &filter, socklen_t(MemoryLayout<sock_fprog>.size))
    }
    try #require(attached == 0)
    var frame = (0..<6).map { UInt8(truncatingIfNeeded: destination.value >> UInt64(40 - 8 * $0)) }
    frame += [2, 0, 0, 0, 9, 9]
    for type in types { frame += [UInt8(type >> 8), UInt8(type & 255), 0, 100] }
    frame += [UInt8](repeating: 0, count: 40)
    // Where the filter refuses it, a Unix datagram counts as sent and never arrives.
    _ = send(ends.0, frame, frame.count, 0)
    var received = [UInt8](repeating: 0, count: 200)
    let count = recv(ends.1, &received, received.count, 0)
    if count > 0 { #expect(Array(received[..<count]) == frame, "the frame is cut") }
    return count > 0
  }

  @Test func `frames to one of our addresses pass whatever they carry`() throws {
    let macs = [Self.own, Self.second]
    for destination in macs {
      for type: UInt16 in [0x0800, 0x0806, 0x86DD, 0x8100, 0x88CC] {
        #expect(try passes(macs, destination, [type]), "\(destination) \(type)")
      }
    }
  }

  @Test(arguments: [0, 8, 16, 24, 32, 40])
  func `an address that differs in one byte is not ours`(shift: UInt64) throws {
    #expect(try !passes([Self.own, Self.second], MACAddress(Self.own.value ^ 0x40 << shift), [0x0800]))
  }

  @Test func `of frames to groups only ARP passes, tagged or not`() throws {
    #expect(try passes([Self.own], .broadcast, [0x0806]))
    #expect(try passes([Self.own], .broadcast, [0x8100, 0x0806]))
    #expect(try !passes([Self.own], .broadcast, [0x0800]))
    #expect(try !passes([Self.own], .broadcast, [0x8100, 0x0800]))
    #expect(try !passes([Self.own], MACAddress(0x0180_C200_000E), [0x88CC]))
    #expect(try !passes([Self.own], MACAddress(0x3333_0000_0001), [0x86DD]))
  }

  @Test func `of frames to groups of IPv6 those that we listen to pass`() throws {
    let macs = [Self.own, MACAddress(0x3333_0000_0001), MACAddress(0x3333_FF00_0001)]
    for destination in macs { #expect(try passes(macs, destination, [0x86DD])) }
    #expect(try !passes(macs, MACAddress(0x3333_FF00_0002), [0x86DD]))
    #expect(try !passes(macs, MACAddress(0x3333_0000_0002), [0x86DD]))
  }

  @Test func `more addresses than jumps can reach let everything in`() throws {
    let macs = (0..<100).map { MACAddress(0x0200_0000_1000 + $0) }
    #expect(try passes(macs, MACAddress(0x0200_0000_9999), [0x0800]))
    #expect(try passes(Array(macs[..<60]), macs[0], [0x0800]) && !passes(Array(macs[..<60]), macs[60], [0x0800]))
  }

  @Test func `ARP to somebody else is not ours`() throws {
    #expect(try !passes([Self.own], MACAddress(0x0200_0000_0999), [0x0806]))
  }

  @Test func `without addresses everything passes`() throws {
    #expect(try passes([], MACAddress(0x0200_0000_0999), [0x0800]))
  }
}

@Suite struct RingGeometryTests {
  @Test func `slots hold a super-frame, fill their blocks, and start in different cache sets`() {
    let geometry = RingGeometry(slots: 512)
    #expect(geometry.slots == 512)
    // 64 KiB of IP, an Ethernet header with two tags, and everything in front of the frame.
    #expect(RingGeometry.slotBytes >= 65_535 + 22 + 160)
    #expect(RingGeometry.slotBytes % Int(TPACKET_ALIGNMENT) == 0)
    #expect(RingGeometry.slotBytes % 64 == 0)
    #expect(geometry.blockBytes % Int(getpagesize()) == 0)
    #expect(Set((0..<64).map { $0 * RingGeometry.slotBytes / 64 % 64 }).count == 64)
    #expect(geometry.bytes == 512 * RingGeometry.slotBytes)
  }

  @Test func `the number of slots is rounded up to whole blocks`() {
    #expect(RingGeometry(slots: 1).slots == 64)
    #expect(RingGeometry(slots: 65).slots == 128)
  }

  @Test func `there is room for the longest link header in front of a frame, and for the virtio header`() {
    let ethernetOffset = 80 + RingGeometry.reserve + 10 - 14
    #expect(ethernetOffset - RingGeometry.usedHeader >= Forwarder.headroom)
  }
}
