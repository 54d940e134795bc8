import CPcap

/// A libpcap filter expression (pcap-filter(7)), compiled for the links that Sluice knows.
public final class CaptureFilter: @unchecked Sendable {
  /// Why a text is no filter.
  public struct Mistake: Error, CustomStringConvertible {
    /// What is wrong, in libpcap's words.
    public var description: String
  }

  /// The expression as it was given.
  public let text: String
  // Never changed after the initialiser, and only read by `pcap_offline_filter`.
  private var programs: [CaptureLink: bpf_program] = [:]

  /// Compiles the expression.
  ///
  /// - Throws: `Mistake` where it fits neither link.
  public init(_ text: String) throws(Mistake) {
    self.text = text
    var mistake = ""
    for link in [CaptureLink.rawIP, .ethernet] {
      guard let handle = pcap_open_dead(link == .ethernet ? DLT_EN10MB : DLT_RAW, CInt(CaptureReader.longestFrame))
      else { throw Mistake(description: "no memory") }
      defer { pcap_close(handle) }
      var program = bpf_program()
      if pcap_compile(handle, &program, text, 1, PCAP_NETMASK_UNKNOWN) == 0 {
        programs[link] = program
      } else {
        mistake = String(cString: pcap_geterr(handle))
      }
    }
    guard programs[.ethernet] != nil else { throw Mistake(description: mistake) }
  }

  deinit { for link in programs.keys { pcap_freecode(&programs[link]!) } }

  /// True where a frame of `length` bytes matches. On raw IP an expression about Ethernet matches nothing.
  public func matches(_ bytes: UnsafeRawPointer, length: Int, link: CaptureLink) -> Bool {
    guard var program = programs[link] else { return false }
    var header = pcap_pkthdr()
    header.caplen = UInt32(truncatingIfNeeded: length)
    header.len = header.caplen
    return pcap_offline_filter(&program, &header, bytes.assumingMemoryBound(to: UInt8.self)) != 0
  }
}
