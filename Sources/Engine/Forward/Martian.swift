/// Addresses that cannot be in a forwarded datagram (RFC 1812 section 5.3.7, RFC 6890; REQUIREMENTS F13).
enum Martian {
  /// True for a source or destination that is never forwarded, whoever we are.
  static func isNever(source: IPv4Address, destination: IPv4Address) -> Bool {
    source == destination || isSpecial(source) || isSpecial(destination)
  }

  /// 0/8, 127/8, 169.254/16, 224/4, 240/4 with 255.255.255.255.
  private static func isSpecial(_ address: IPv4Address) -> Bool {
    let first = address.value &>> 24
    return first == 0 || first == 127 || first >= 224 || address.value &>> 16 == 0xA9FE
  }
}
