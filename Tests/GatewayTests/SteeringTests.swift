import CLinux
import Engine
import Testing

@testable import PacketIO

/// Which worker gets a frame. The program runs in an interpreter here: the kernel runs such programs in fanout groups only.
@Suite struct SteeringTests {
  /// An IPv4 packet from its header on, of `words` 32-bit words of header.
  private func packet(
    _ source: UInt32, _ destination: UInt32, _ ports: (UInt16, UInt16), ipProtocol: UInt8 = 17, fragment: UInt16 = 0,
    words: UInt8 = 5
  ) -> [UInt8] {
    var bytes: [UInt8] = [
      0x40 | words, 0, 0, 60, 0, 1, UInt8(fragment >> 8), UInt8(fragment & 255), 64, ipProtocol, 0, 0,
    ]
    for address in [source, destination] { bytes += (0..<4).map { UInt8(address >> (24 - 8 * UInt32($0)) & 255) } }
    bytes += [UInt8](repeating: 1, count: Int(words) * 4 - 20)
    for port in [ports.0, ports.1] { bytes += [UInt8(port >> 8), UInt8(port & 255)] }
    return bytes + [UInt8](repeating: 0, count: 16)
  }

  private func worker(
    _ peer: Steering.Peer, _ packet: [UInt8], type: Int32 = ETH_P_IP, targets: [Int] = [0, 1, 2, 3]
  ) throws -> Int {
    try Int(#require(ClassicBPF(Steering.program(peer: peer, targets: targets)).run(packet, etherType: UInt32(type))))
  }

  private static let client: UInt32 = 0xC633_6407, outside: UInt32 = 0xCB00_7101, inside: UInt32 = 0xC0A8_010A

  @Test(arguments: [6, 17] as [UInt8])
  func `both directions of a session meet the same worker, whatever NAT makes of the inside`(ipProtocol: UInt8) throws {
    var workers: Set<Int> = []
    for port in UInt16(40000)..<40064 {
      let incoming = packet(Self.client, Self.outside, (port, 80), ipProtocol: ipProtocol)
      let answer = packet(Self.inside, Self.client, (8080, port), ipProtocol: ipProtocol, words: 7)
      let chosen = try worker(.source, incoming)
      #expect(try worker(.destination, answer) == chosen)
      workers.insert(chosen)
    }
    #expect(workers == [0, 1, 2, 3])
  }

  @Test func `all pieces of a datagram meet the same worker`() throws {
    for client in Self.client..<Self.client + 16 {
      let first = try worker(.source, packet(client, Self.outside, (5, 6), fragment: 0x2000))
      #expect(try worker(.source, packet(client, Self.outside, (0x4141, 0x4242), fragment: 0x00B9)) == first)
    }
  }

  @Test func `a device of both roles is steered by both addresses, either way round`() throws {
    for client in Self.client..<Self.client + 16 {
      #expect(
        try worker(.either, packet(client, Self.outside, (5, 6)))
          == worker(.either, packet(Self.outside, client, (6, 5))))
    }
  }

  @Test func `a tag that is still in the frame is looked behind`() throws {
    for port in UInt16(40000)..<40016 {
      let plain = packet(Self.client, Self.outside, (port, 80))
      #expect(try worker(.source, [0, 100, 8, 0] + plain, type: ETH_P_8021Q) == worker(.source, plain))
    }
  }

  /// An IPv6 packet from its header on.
  private func packet6(
    _ source: [UInt8], _ destination: [UInt8], _ ports: (UInt16, UInt16), next: UInt8 = 17
  ) -> [UInt8] {
    let header: [UInt8] = [0x60, 0, 0, 0, 0, 20, next, 64] + source + destination
    return header + [ports.0, ports.1].flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] } + [UInt8](repeating: 0, count: 16)
  }

  private static func address(_ prefix: UInt8, _ last: UInt8) -> [UInt8] {
    [0x20, 0x01, 0x0D, 0xB8, 0, prefix] + [UInt8](repeating: 0, count: 9) + [last]
  }

  @Test(arguments: [6, 17] as [UInt8])
  func `IPv6 too: both directions of a session meet the same worker, by the outside peer`(next: UInt8) throws {
    let (outside, inside) = (Self.address(1, 1), Self.address(2, 16))
    var (byPort, byAddress): (Set<Int>, Set<Int>) = ([], [])
    for number in UInt8(0)..<64 {
      for (peer, port) in [(Self.address(9, 7), 40000 + UInt16(number)), (Self.address(9, number), 443)] {
        let incoming = packet6(peer, outside, (port, 80), next: next)
        let answer = packet6(inside, peer, (8080, port), next: next)
        let chosen = try worker(.source, incoming, type: ETH_P_IPV6)
        #expect(try worker(.destination, answer, type: ETH_P_IPV6) == chosen)
        #expect(try worker(.source, [0, 100, 0x86, 0xDD] + incoming, type: ETH_P_8021Q) == chosen)
        if port == 443 { byAddress.insert(chosen) } else { byPort.insert(chosen) }
        #expect(
          try worker(.either, incoming, type: ETH_P_IPV6)
            == worker(.either, packet6(outside, peer, (80, port)), type: ETH_P_IPV6))
      }
    }
    #expect(byPort == [0, 1, 2, 3] && byAddress == [0, 1, 2, 3])
  }

  @Test func `all pieces of an IPv6 datagram meet the same worker, and echo goes by the address`() throws {
    for next: UInt8 in [44, 58, 0] {
      let chosen = (UInt16(1)..<16).map {
        packet6(Self.address(9, 7), Self.address(1, 1), ($0 &* 4099, $0), next: next)
      }
      #expect(try Set(chosen.map { try worker(.source, $0, type: ETH_P_IPV6) }).count == 1)
    }
  }

  @Test func `what is no IP goes to the first worker, and so does a frame cut short`() throws {
    let targets = [2, 0, 4]
    #expect(try worker(.source, [0, 1, 8, 0, 6, 4, 0, 1], type: ETH_P_ARP, targets: targets) == 2)
    #expect(try worker(.source, [0, 100, 0x88, 0x63, 0x60, 0], type: ETH_P_8021Q, targets: targets) == 2)
    #expect(try worker(.source, [0, 100, 0x86, 0xDD, 0x60, 0], type: ETH_P_8021Q, targets: targets) == 0)
    #expect(try worker(.source, [0x45, 0], targets: targets) == 0)
  }

  @Test func `each worker's member is its own to choose`() throws {
    let frame = packet(Self.client, Self.outside, (40000, 80))
    let chosen = try worker(.source, frame, targets: [0, 1])
    #expect(try worker(.source, frame, targets: [2, 3]) == chosen + 2)
    #expect(try worker(.source, frame, targets: [7]) == 7)
  }
}

/// As much of classic BPF as `Steering` writes.
private struct ClassicBPF {
  let code: [sock_filter]

  init(_ code: [sock_filter]) { self.code = code }

  /// What the program returns; 0 where it looks behind the end, as in the kernel. Nil for what is not understood.
  func run(_ packet: [UInt8], etherType: UInt32) -> UInt32? {
    var a: UInt32 = 0, x: UInt32 = 0, stored: UInt32 = 0
    var at = 0
    func load(_ offset: UInt32, _ count: Int) -> UInt32? {
      if offset == UInt32(bitPattern: SKF_AD_OFF + SKF_AD_PROTOCOL) { return etherType }
      guard Int(offset) + count <= packet.count else { return nil }
      return packet[Int(offset)..<Int(offset) + count].reduce(0) { $0 << 8 | UInt32($1) }
    }
    while at < code.count {
      let step = code[at]
      at += 1
      switch Int32(step.code) {
      case BPF_LD | BPF_W | BPF_ABS: if let value = load(step.k, 4) { a = value } else { return 0 }
      case BPF_LD | BPF_H | BPF_ABS: if let value = load(step.k, 2) { a = value } else { return 0 }
      case BPF_LD | BPF_B | BPF_ABS: if let value = load(step.k, 1) { a = value } else { return 0 }
      case BPF_LD | BPF_H | BPF_IND: if let value = load(x &+ step.k, 2) { a = value } else { return 0 }
      case BPF_LDX | BPF_B | BPF_MSH: if let value = load(step.k, 1) { x = (value & 15) * 4 } else { return 0 }
      case BPF_LD | BPF_MEM: a = stored
      case BPF_LDX | BPF_MEM: x = stored
      case BPF_ST: stored = a
      case BPF_MISC | BPF_TAX: x = a
      case BPF_ALU | BPF_XOR | BPF_X: a ^= x
      case BPF_ALU | BPF_ADD | BPF_X: a &+= x
      case BPF_ALU | BPF_MUL | BPF_K: a &*= step.k
      case BPF_ALU | BPF_RSH | BPF_K: a >>= step.k
      case BPF_ALU | BPF_MOD | BPF_K: a %= step.k
      case BPF_JMP | BPF_JA: at += Int(step.k)
      case BPF_JMP | BPF_JEQ | BPF_K: at += Int(a == step.k ? step.jt : step.jf)
      case BPF_JMP | BPF_JSET | BPF_K: at += Int(a & step.k != 0 ? step.jt : step.jf)
      case BPF_RET | BPF_K: return step.k
      default: return nil
      }
    }
    return nil
  }
}

@Suite struct RingPressureTests {
  /// What suits after `milliseconds` at `rate` frames a second, taken up a millisecond's worth at a time.
  private func verdicts(_ pressure: inout RingPressure, _ rate: Int, milliseconds: ClosedRange<Int>) -> [Bool?] {
    milliseconds.map { pressure.count(rate / 1000, at: UInt64($0) * 1_000_000) }
  }

  @Test func `a flood that lasts asks for blocks, a lull that lasts for slots, and nothing in between for anything`() {
    var pressure = RingPressure(rates: RingRates())
    _ = pressure.count(0, at: 0)
    let flood = verdicts(&pressure, 400_000, milliseconds: 1...40)
    #expect(flood.prefix(18).allSatisfy { $0 != true } && flood.contains(true))
    #expect(verdicts(&pressure, 100_000, milliseconds: 41...1000).allSatisfy { $0 == nil })
    let lull = verdicts(&pressure, 10_000, milliseconds: 1001...1300)
    #expect(lull.prefix(190).allSatisfy { $0 == nil } && lull.contains(false))
  }

  @Test func `a pause is a lull`() {
    var pressure = RingPressure(rates: RingRates())
    _ = verdicts(&pressure, 400_000, milliseconds: 1...40)
    #expect(pressure.count(1, at: 1_000_000_000) == false)
  }
}
