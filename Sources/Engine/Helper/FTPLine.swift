/// What a line of an FTP control connection says of data connections (RFC 959 section 4.1.2, RFC 2428): read strictly, to
/// the letter, from its first byte, or not at all.
enum FTPLine: Equatable {
  /// Nothing that concerns us.
  case other
  /// The client asks its server for an endpoint.
  case asks(FTPForm)
  /// The sender will be at this endpoint.
  case names(FTPEndpoint)
  /// Begins like one of those, and is none: an endpoint of another family too.
  case malformed
  /// The client asks for encryption, which its server grants (RFC 4217): nothing behind that can be read.
  case securing
  case secured

  /// Bytes of the longest line that is read, without its end.
  static let longest = 512

  /// - Parameters:
  ///   - bytes: the line's first byte, at the beginning of a line.
  ///   - count: without CR and LF.
  ///   - isIPv6: the connection is: what it names is of its own family.
  init(_ bytes: UnsafeMutableRawPointer, count: Int, isReply: Bool, isIPv6: Bool = false) {
    guard count >= 4, count <= Self.longest else {
      self = .other
      return
    }
    var scan = FTPScan(bytes: bytes, end: count, isIPv6: isIPv6)
    scan.at = 4
    // Letters of either case: the bit that tells them apart is set in all of them.
    let word = bytes.big32(0)
    if isReply {
      self = Self.reply(word, &scan)
    } else {
      self = Self.command(word | 0x2020_2020, &scan)
    }
  }

  private static func command(_ word: UInt32, _ scan: inout FTPScan) -> FTPLine {
    switch word {
    case FTPScan.word("port"): scan.skips(0x20) ? scan.list(.port, isWhole: true) : .other
    case FTPScan.word("eprt"): scan.skips(0x20) ? scan.extended() : .other
    case FTPScan.word("pasv"): scan.isAtEnd ? .asks(.passive) : .other
    case FTPScan.word("epsv"): scan.isAtEnd || scan.asksForOwnFamily() ? .asks(.extendedPassive) : .other
    case FTPScan.word("auth"): scan.skips(0x20) ? .securing : .other
    default: .other
    }
  }

  private static func reply(_ word: UInt32, _ scan: inout FTPScan) -> FTPLine {
    switch word {
    case FTPScan.word("227 "):
      // The text around the numbers is anybody's: the first digit begins them (RFC 1123 section 4.1.2.6).
      scan.skip { !FTPScan.isDigit($0) }
      return scan.list(.passive, isWhole: false)
    case FTPScan.word("229 "):
      scan.skip { $0 != UInt8(ascii: "(") }
      return scan.extendedPassive()
    case FTPScan.word("234 "): return .secured
    default: return .other
    }
  }
}

/// How an endpoint is written.
enum FTPForm: UInt8 {
  /// PORT 192,168,1,10,4,1
  case port = 1
  /// EPRT |1|192.168.1.10|1025|, EPRT |2|2001:db8::10|1025|
  case extendedPort
  /// 227 Entering Passive Mode (192,168,1,10,4,1)
  case passive
  /// 229 Entering Extended Passive Mode (|||1025|)
  case extendedPassive
}

/// An endpoint, and where in the line it stands.
struct FTPEndpoint: Equatable {
  let form: FTPForm
  /// Of the text that address and port take, from the line's first byte.
  let offset: Int
  let length: Int
  /// nil where the form has none.
  let address: IPAddress?
  /// Host order.
  let port: UInt16
  /// Between address and port.
  let delimiter: UInt8

  /// Bytes of the longest text: an IPv6 address, a delimiter and a port.
  static let longest = IPv6Address.longestText + 6
  /// Of the longest one over IPv4: six numbers.
  static let longestIPv4 = 23

  /// Writes an endpoint in this form; returns how many bytes it takes.
  static func write(
    _ form: FTPForm, _ address: IPAddress, _ port: UInt16, _ delimiter: UInt8, to bytes: UnsafeMutableRawPointer
  ) -> Int {
    var at = 0
    func put(_ byte: UInt8) {
      bytes.put(byte, at)
      at &+= 1
    }
    func put(number: UInt32) {
      var divisor: UInt32 = 10_000
      while divisor > 1, number < divisor { divisor /= 10 }
      while divisor > 0 {
        put(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: number / divisor % 10))
        divisor /= 10
      }
    }
    let isList = form == .port || form == .passive
    switch address {
    case _ where form == .extendedPassive: break
    case .v4(let address):
      for shift: UInt32 in [24, 16, 8, 0] {
        put(number: address.value &>> shift & 0xFF)
        if shift > 0 { put(isList ? UInt8(ascii: ",") : UInt8(ascii: ".")) }
      }
      put(isList ? UInt8(ascii: ",") : delimiter)
    case .v6(let address):
      at = address.write(to: bytes)
      put(delimiter)
    }
    if isList {
      put(number: UInt32(port &>> 8))
      put(UInt8(ascii: ","))
      put(number: UInt32(port & 0xFF))
    } else {
      put(number: UInt32(port))
    }
    return at
  }
}

/// Reads a line from left to right, and never past its end.
private struct FTPScan {
  let bytes: UnsafeMutableRawPointer
  let end: Int
  let isIPv6: Bool
  var at = 0

  static func word(_ text: StaticString) -> UInt32 {
    let start = text.utf8Start
    return UInt32(start[0]) &<< 24 | UInt32(start[1]) &<< 16 | UInt32(start[2]) &<< 8 | UInt32(start[3])
  }

  static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

  var isAtEnd: Bool { at >= end }
  private var next: UInt8? { at < end ? bytes.byte(at) : nil }

  mutating func skip(while isSkipped: (UInt8) -> Bool) {
    while let byte = next, isSkipped(byte) { at &+= 1 }
  }

  /// True, and one further, where this byte is next.
  mutating func skips(_ byte: UInt8) -> Bool {
    guard next == byte else { return false }
    at &+= 1
    return true
  }

  /// A decimal number up to `limit`, of at most as many digits as that has.
  ///
  /// - Parameter isPlain: no zero before other digits, which some take for octal.
  private mutating func number(upTo limit: UInt32, isPlain: Bool = false) -> UInt32? {
    let start = at
    var value: UInt32 = 0
    while let byte = next, Self.isDigit(byte), at &- start < 5 {
      value = value &* 10 &+ UInt32(byte &- UInt8(ascii: "0"))
      at &+= 1
    }
    guard at > start, value <= limit, limit > 255 || at &- start <= 3 else { return nil }
    return isPlain && at &- start > 1 && bytes.byte(start) == UInt8(ascii: "0") ? nil : value
  }

  /// h1,h2,h3,h4,p1,p2
  mutating func list(_ form: FTPForm, isWhole: Bool) -> FTPLine {
    guard !isIPv6 else { return .malformed }
    let start = at
    var value: UInt64 = 0
    for place in 0..<6 {
      if place > 0, !skips(UInt8(ascii: ",")) { return .malformed }
      guard let number = number(upTo: 255) else { return .malformed }
      value = value &<< 8 | UInt64(number)
    }
    // More of it would be another number.
    if isWhole ? !isAtEnd : next == UInt8(ascii: ",") || next.map(Self.isDigit) == true { return .malformed }
    let address = IPv4Address(UInt32(truncatingIfNeeded: value &>> 16))
    return .names(
      FTPEndpoint(
        form: form, offset: start, length: at &- start, address: .v4(address), port: UInt16(truncatingIfNeeded: value),
        delimiter: 0))
  }

  /// A delimiter is a printable character, and no part of what it delimits (RFC 2428 section 2).
  private mutating func delimiter() -> UInt8? {
    guard let byte = next, byte > 0x20, byte < 0x7F, !Self.isDigit(byte), byte != UInt8(ascii: "."),
      !isIPv6 || byte != UInt8(ascii: ":") && Self.hexadecimal(byte) == nil
    else { return nil }
    at &+= 1
    return byte
  }

  /// |1|192.168.1.10|1025|, |2|2001:db8::10|1025|
  mutating func extended() -> FTPLine {
    guard let delimiter = delimiter(), skips(family), skips(delimiter) else { return .malformed }
    let start = at
    guard let address = isIPv6 ? address6().map(IPAddress.v6) : address4().map(IPAddress.v4), skips(delimiter),
      let port = number(upTo: 65_535, isPlain: true)
    else { return .malformed }
    let length = at &- start
    guard skips(delimiter), isAtEnd else { return .malformed }
    return .names(
      FTPEndpoint(
        form: .extendedPort, offset: start, length: length, address: address,
        port: UInt16(truncatingIfNeeded: port), delimiter: delimiter))
  }

  /// (|||1025|)
  mutating func extendedPassive() -> FTPLine {
    guard skips(UInt8(ascii: "(")), let delimiter = delimiter(), skips(delimiter), skips(delimiter) else {
      return .malformed
    }
    let start = at
    guard let port = number(upTo: 65_535, isPlain: true) else { return .malformed }
    let length = at &- start
    guard skips(delimiter), skips(UInt8(ascii: ")")) else { return .malformed }
    return .names(
      FTPEndpoint(
        form: .extendedPassive, offset: start, length: length, address: nil, port: UInt16(truncatingIfNeeded: port),
        delimiter: delimiter))
  }

  /// "EPSV 1" over IPv4, "EPSV 2" over IPv6: the same as without a number.
  mutating func asksForOwnFamily() -> Bool { skips(0x20) && skips(family) && isAtEnd }

  /// The connection's address family (RFC 2428 section 2).
  private var family: UInt8 { isIPv6 ? UInt8(ascii: "2") : UInt8(ascii: "1") }

  private mutating func address4() -> IPv4Address? {
    var address: UInt32 = 0
    for place in 0..<4 {
      if place > 0, !skips(UInt8(ascii: ".")) { return nil }
      guard let number = number(upTo: 255, isPlain: true) else { return nil }
      address = address &<< 8 | number
    }
    return IPv4Address(address)
  }

  /// The notation of RFC 4291 section 2.2, in hexadecimal alone: with IPv4's in it, it is no address of a host's.
  private mutating func address6() -> IPv6Address? {
    var (head, tail): (UInt128, UInt128) = (0, 0)
    var (before, after, hasGap) = (0, 0, false)
    while true {
      if skipsGap() {
        if hasGap { return nil }
        hasGap = true
        if next.flatMap(Self.hexadecimal) == nil { break }
      } else if before &+ after > 0, !skips(UInt8(ascii: ":")) {
        break
      }
      guard let word = word() else { return nil }
      if hasGap {
        (tail, after) = (tail &<< 16 | UInt128(word), after &+ 1)
      } else {
        (head, before) = (head &<< 16 | UInt128(word), before &+ 1)
      }
      guard before &+ after <= 8 else { return nil }
    }
    // A gap stands for one word at least.
    guard hasGap ? before &+ after < 8 : before == 8 else { return nil }
    let value = (before == 0 ? 0 : head &<< UInt128(16 &* (8 &- before))) | tail
    return IPv6Address(high: UInt64(truncatingIfNeeded: value &>> 64), low: UInt64(truncatingIfNeeded: value))
  }

  private mutating func skipsGap() -> Bool {
    guard at &+ 1 < end, bytes.raw16(at) == 0x3A3A else { return false }
    at &+= 2
    return true
  }

  /// One to four hexadecimal digits.
  private mutating func word() -> UInt16? {
    let start = at
    var value: UInt16 = 0
    while at &- start < 4, let digit = next.flatMap(Self.hexadecimal) {
      value = value &<< 4 | digit
      at &+= 1
    }
    return at > start ? value : nil
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt16? {
    if isDigit(byte) { return UInt16(byte &- UInt8(ascii: "0")) }
    let letter = byte | 0x20
    return letter >= UInt8(ascii: "a") && letter <= UInt8(ascii: "f") ? UInt16(letter &- UInt8(ascii: "a") &+ 10) : nil
  }
}
