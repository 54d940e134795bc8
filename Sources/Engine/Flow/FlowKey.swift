/// What a frame's flow is looked up by: addresses, ports, protocol and ingress interface, as two words.
///
/// `addresses` holds the eight bytes at offset 12 of the IPv4 header, as loaded: source in the low half. `rest` holds
/// the source port (raw) in bits 0-15, the destination port in 16-31, the scope in 32-47, the protocol in 48-55 and the
/// address family in 56-63 (0 for IPv4; an IPv6 key keeps a digest in `addresses` and its 32 bytes in a side line).
/// For an echo request the source port is the identifier and the destination port 0; for a reply the other way round, and
/// `echoReply` is set, without which the two directions of identifier 0 would be one.
struct FlowKey: Equatable {
  /// Marks the answering direction of an echo session, in `rest`.
  static let echoReply: UInt64 = 1 &<< 60

  var addresses: UInt64
  var rest: UInt64

  @inline(__always)
  init(addresses: UInt64, rest: UInt64) {
    self.addresses = addresses
    self.rest = rest
  }

  @inline(__always)
  /// `ports` may carry `echoReply`.
  init(addresses: UInt64, ports: UInt64, scope: UInt16, ipProtocol: UInt8) {
    self.addresses = addresses
    rest = ports | Self.scope(scope) | Self.ipProtocol(ipProtocol)
  }

  /// As they stand in `rest`.
  @inline(__always)
  static func scope(_ interface: UInt16) -> UInt64 { UInt64(interface) &<< 32 }
  @inline(__always)
  static func ipProtocol(_ number: UInt8) -> UInt64 { UInt64(number) &<< 48 }

  @inline(__always)
  init(
    source: UInt32, sourcePort: UInt16, destination: UInt32, destinationPort: UInt16, scope: UInt16, ipProtocol: UInt8,
    isEchoReply: Bool = false
  ) {
    self.init(
      addresses: UInt64(source) | UInt64(destination) &<< 32,
      ports: UInt64(sourcePort) | UInt64(destinationPort) &<< 16 | (isEchoReply ? Self.echoReply : 0), scope: scope,
      ipProtocol: ipProtocol)
  }

  @inline(__always)
  var source: UInt32 { UInt32(truncatingIfNeeded: addresses) }
  @inline(__always)
  var destination: UInt32 { UInt32(truncatingIfNeeded: addresses &>> 32) }
  @inline(__always)
  var ports: UInt32 { UInt32(truncatingIfNeeded: rest) }
  @inline(__always)
  var sourcePort: UInt16 { UInt16(truncatingIfNeeded: rest) }
  @inline(__always)
  var destinationPort: UInt16 { UInt16(truncatingIfNeeded: rest &>> 16) }
  @inline(__always)
  var scope: UInt16 { UInt16(truncatingIfNeeded: rest &>> 32) }
  @inline(__always)
  var ipProtocol: UInt8 { UInt8(truncatingIfNeeded: rest &>> 48) }
}

/// Keyed hash: two 64x64 -> 128 bit multiplications folded by xor, under a secret.
///
/// A linear hash (CRC, xor) can be flooded whatever its seed; this one cannot be without the secret (REQUIREMENTS A6),
/// and costs a quarter of SipHash-1-3.
struct HashSecret {
  let a: UInt64
  let b: UInt64
  let c: UInt64
  let d: UInt64

  init(a: UInt64, b: UInt64, c: UInt64, d: UInt64) {
    self.a = a
    self.b = b
    self.c = c
    self.d = d
  }

  init(seed: UInt64) {
    var random = SplitMix64(state: seed)
    a = random.next()
    b = random.next()
    c = random.next()
    d = random.next() | 1
  }

  @inline(__always)
  func hash(_ x: UInt64, _ y: UInt64) -> UInt64 {
    let first = (x ^ a).multipliedFullWidth(by: y ^ b)
    let second = (first.low ^ first.high ^ c).multipliedFullWidth(by: d)
    return second.low ^ second.high
  }

  /// Two words of an address in one.
  @inline(__always)
  func digest(_ address: IPv6Address) -> UInt64 { hash(address.high, address.low) }

  @inline(__always)
  func hash(_ key: FlowKey) -> UInt64 { hash(key.addresses, key.rest) }
}

/// SplitMix64 (Steele, Lea, Flood 2014): every random choice of the engine comes from one seed through this.
struct SplitMix64 {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Self.mix(state)
  }

  @inline(__always)
  static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ z &>> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z &>> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z &>> 31
  }
}
