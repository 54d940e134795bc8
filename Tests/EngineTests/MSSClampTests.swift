import Engine
import PacketTestKit
import Testing

/// T15: the MSS that a SYN announces is lowered, and nothing else (RFC 9293 section 3.7.1).
@Suite struct MSSClampTests {
  private func gateway(_ clamp: InterfacePlan.ClampMSS?, mtu: Int = 1500) throws -> TestGateway {
    try TestGateway(
      .masqueraded(more: {
        $0.change("wan") {
          $0.clampMSS = clamp
          $0.mtu = mtu
        }
      }))
  }

  private func syn(_ options: [UInt8], _ flags: TCPHeader.Flags = .syn) -> Packet {
    .tcp("192.168.1.10:5000", client, flags) { $0.tcp.options = options }
  }

  /// MSS 1460 and what it becomes, before and behind other options.
  private static let layouts: [([UInt8], [UInt8])] = [
    ([2, 4, 5, 180], [2, 4, 5, 0x50]),
    ([1, 2, 4, 5, 180, 1, 1, 0], [1, 2, 4, 5, 0x50, 1, 1, 0]),
    ([3, 3, 7, 2, 4, 5, 180, 0], [3, 3, 7, 2, 4, 5, 0x50, 0]),
    // Two of them: both.
    ([2, 4, 5, 180, 2, 4, 255, 255], [2, 4, 5, 0x50, 2, 4, 5, 0x50]),
    // Smaller already, or none: as it was.
    ([2, 4, 2, 24], [2, 4, 2, 24]),
    ([1, 1, 1, 0], [1, 1, 1, 0]),
    ([], []),
    // Broken off: untouched.
    ([1, 1, 2, 4], [1, 1, 2, 4]),
    ([2, 3, 255, 0], [2, 3, 255, 0]),
    ([2, 0, 255, 255], [2, 0, 255, 255]),
  ]

  @Test(arguments: layouts)
  func `T15 at any offset, twice, absent, truncated`(before: [UInt8], after: [UInt8]) throws {
    let gateway = try gateway(.bytes(1360))
    let out = syn(before)
    gateway.receive(out, on: "lan").expectForward(
      out.translated(from: "203.0.113.1:5000").with { $0.tcp.options = after }, on: "wan")
    // The answer comes in by the same interface.
    let back = Packet.tcp(client, "203.0.113.1:5000", [.syn, .ack]) { $0.tcp.options = before }
    gateway.receive(back, on: "wan").expectForward(
      back.translated(to: "192.168.1.10:5000").with { $0.tcp.options = after }, on: "lan")
  }

  @Test func `T15 by the MTU, and not at all by default`() throws {
    let out = syn([2, 4, 5, 180])
    let passed = out.translated(from: "203.0.113.1:5000")
    try gateway(nil, mtu: 1400).receive(out, on: "lan").expectForward(passed, on: "wan")
    try gateway(.mtu, mtu: 1400).receive(out, on: "lan").expectForward(
      passed.with { $0.tcp.options = [2, 4, 5, 0x50] }, on: "wan")
  }

  @Test func `T15 of a segment that is no SYN nothing is touched, nor an unfinished sum`() throws {
    let gateway = try gateway(.bytes(1360))
    let out = syn([2, 4, 5, 180], .ack)
    gateway.receive(out, on: "lan").expectForward(out.translated(from: "203.0.113.1:5000"), on: "wan")
    let partial = syn([2, 4, 5, 180]).with {
      $0.tcp.isPartial = true
      $0.tcp.sourcePort = 6000
    }
    var offload = OffloadHeader()
    offload.flags = OffloadHeader.needsChecksum
    offload.checksumStart = 34
    offload.checksumOffset = 16
    gateway.receive(partial, on: "lan", offload: offload).expectForward(
      partial.translated(from: "203.0.113.1:6000").with { $0.tcp.options = [2, 4, 5, 0x50] }, on: "wan")
  }
}
