import Glibc

/// What the lab's hosts offer: a small HTTP/1.0 server on any number of ports, and UDP echo, over IPv4 and IPv6.
///
/// `GET /` tells both ends of the connection as the server sees them; `GET /bytes/N` sends N bytes of a fixed
/// pseudo-random stream, so that a transfer can be compared without a file.
package enum LabService {
  /// Serves until the process is killed; a thread for every connection.
  package static func serve(httpPorts: [UInt16], echoPorts: [UInt16]) throws -> Never {
    var items: [pollfd] = []
    for port in httpPorts { items.append(try listener(SOCK_STREAM, port: port)) }
    for port in echoPorts { items.append(try listener(SOCK_DGRAM, port: port)) }
    signal(SIGPIPE, SIG_IGN)
    print("serving HTTP on \(httpPorts), UDP echo on \(echoPorts)")
    fflush(nil)
    while true {
      poll(&items, nfds_t(items.count), -1)
      for (index, item) in items.enumerated() where item.revents != 0 {
        if index < httpPorts.count { acceptAll(item.fd) } else { echoAll(item.fd) }
      }
    }
  }

  /// "80, 8810-8815" as single ports.
  package static func ports(_ text: String) throws(LabError) -> [UInt16] {
    var ports: [UInt16] = []
    for part in text.split(separator: ",") {
      let ends = String(part).trimmed.split(separator: "-").map { UInt16($0) }
      guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last else {
        throw LabError("\(text.shellQuoted) is no list of ports; \"80, 8810-8815\" would be")
      }
      ports += first...last
    }
    return ports
  }

  /// Of both families, or of IPv4 alone where the kernel has no IPv6.
  private static func listener(_ type: __socket_type, port: UInt16) throws -> pollfd {
    let kind = Int32(type.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    var family = AF_INET6
    var descriptor = socket(family, kind, 0)
    if descriptor < 0 {
      family = AF_INET
      descriptor = socket(family, kind, 0)
    }
    var (on, off): (Int32, Int32) = (1, 0)
    let size = socklen_t(MemoryLayout<Int32>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, size)
    if family == AF_INET6 { setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, size) }
    // Family and port stand where IPv4's do, and zeros behind them are every address of either.
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(family)
    address.sin6_port = port.bigEndian
    let bound = withSockAddress(&address) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) }
    guard descriptor >= 0, bound == 0, type == SOCK_DGRAM || listen(descriptor, 1024) == 0 else {
      throw LabError("cannot serve port \(port): \(String(cString: strerror(errno)))")
    }
    return pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  }

  private static func echoAll(_ descriptor: Int32) {
    var bytes = [UInt8](repeating: 0, count: 65536)
    // Room for either family.
    var peer = sockaddr_in6()
    while true {
      var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      let count = withSockAddress(&peer) { recvfrom(descriptor, &bytes, bytes.count, 0, $0, &length) }
      guard count >= 0 else { return }
      _ = withSockAddress(&peer) { sendto(descriptor, bytes, count, 0, $0, length) }
    }
  }

  private static func acceptAll(_ listener: Int32) {
    while case let connection = accept(listener, nil, nil), connection >= 0 {
      var attributes = pthread_attr_t()
      pthread_attr_init(&attributes)
      pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
      pthread_attr_setstacksize(&attributes, 256 * 1024)
      var thread = pthread_t()
      let started = pthread_create(
        &thread, &attributes,
        { argument in
          LabService.answer(Int32(Int(bitPattern: argument)))
          return nil
        }, UnsafeMutableRawPointer(bitPattern: Int(connection)))
      pthread_attr_destroy(&attributes)
      if started != 0 { close(connection) }
    }
  }

  /// One request, one answer, and the connection is closed.
  private static func answer(_ connection: Int32) {
    defer { close(connection) }
    var limit = timeval(tv_sec: 30, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(connection, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    var head: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
      let count = recv(connection, &chunk, chunk.count, 0)
      guard count > 0, head.count < 65536 else { return }
      head += chunk[..<count]
    }
    let words = String(decoding: head, as: UTF8.self).split(separator: " ", maxSplits: 2)
    guard words.count == 3, words[0] == "GET" else {
      send("HTTP/1.0 501 Not Implemented\r\n\r\n", to: connection)
      return
    }
    if words[1].hasPrefix("/bytes/"), let count = Int(words[1].dropFirst(7)), count >= 0 {
      send("HTTP/1.0 200 OK\r\nContent-Length: \(count)\r\n\r\n", to: connection)
      sendStream(count, to: connection)
    } else {
      let text = "server \(endpoint(connection, getsockname)) sees client \(endpoint(connection, getpeername))\n"
      send("HTTP/1.0 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\r\n" + text, to: connection)
    }
  }

  private static func sendStream(_ count: Int, to connection: Int32) {
    let words = 32768
    let chunk = UnsafeMutablePointer<UInt64>.allocate(capacity: words)
    defer { chunk.deallocate() }
    var left = count
    var state: UInt64 = 0
    while left > 0 {
      var index = 0
      while index < words {
        // SplitMix64: every word differs from every other, so that a lost, doubled or swapped piece shows.
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word &>> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word &>> 27)) &* 0x94D0_49BB_1331_11EB
        chunk[index] = word ^ (word &>> 31)
        index &+= 1
      }
      let piece = min(left, words * 8)
      guard sendAll(connection, chunk, piece) else { return }
      left -= piece
    }
  }

  private static func send(_ text: String, to connection: Int32) {
    let bytes = Array(text.utf8)
    _ = sendAll(connection, bytes, bytes.count)
  }

  private static func sendAll(_ connection: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
    var done = 0
    while done < count {
      let sent = Glibc.send(connection, bytes + done, count - done, Int32(MSG_NOSIGNAL))
      guard sent > 0 else { return false }
      done += sent
    }
    return true
  }

  private typealias NameLookup = (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32

  /// "192.0.2.1:80", "[2001:db8::1]:80".
  private static func endpoint(_ connection: Int32, _ lookup: NameLookup) -> String {
    var address = sockaddr_in6()
    var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
    _ = withSockAddress(&address) { lookup(connection, $0, &length) }
    let port = UInt16(bigEndian: address.sin6_port)
    // An IPv4 address stands right behind the port, or at the end of a mapped one (RFC 4291 section 2.5.5.2).
    let bytes = withUnsafeBytes(of: &address) { Array($0) }
    let isMapped = bytes[8..<18].allSatisfy { $0 == 0 } && bytes[18..<20].allSatisfy { $0 == 0xFF }
    let octets: [UInt8]? =
      address.sin6_family == sa_family_t(AF_INET) ? Array(bytes[4..<8]) : isMapped ? Array(bytes[20..<24]) : nil
    if let octets { return octets.map { String($0) }.joined(separator: ".") + ":\(port)" }
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    inet_ntop(AF_INET6, &address.sin6_addr, &text, socklen_t(text.count))
    return "[\(String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))]:\(port)"
  }

  private static func withSockAddress<R>(
    _ address: inout sockaddr_in6, _ body: (UnsafeMutablePointer<sockaddr>) -> R
  ) -> R {
    withUnsafeMutablePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
  }
}
