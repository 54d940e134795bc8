import Capture
import Engine

/// A frame in one line.
package enum FrameSummary {
  /// "TCP 198.51.100.7:4000 > 203.0.113.1:80", "ARP request for 192.168.1.10".
  package static func text(_ frame: [UInt8], _ link: CaptureLink) -> String {
    var fields: [String: String] = [:]
    for field in FrameField.all(of: frame, link: link) { fields[field.name] = field.text(in: frame) }
    if let operation = fields["arp operation"], let target = fields["arp target address"],
      let sender = fields["arp sender address"]
    {
      return operation == "1" ? "ARP request for \(target) from \(sender)" : "ARP reply of \(sender) to \(target)"
    }
    let isIPv6 = fields["ipv6 source"] != nil
    let version = isIPv6 ? "ipv6" : "ipv4"
    guard let source = fields["\(version) source"], let destination = fields["\(version) destination"] else {
      return "EtherType \(fields["ethernet type"] ?? "none"), \(frame.count) bytes"
    }
    for name in ["tcp", "udp"] {
      guard let from = fields["\(name) source port"], let to = fields["\(name) destination port"] else { continue }
      let ends = isIPv6 ? ("[\(source)]", "[\(destination)]") : (source, destination)
      return "\(name.uppercased()) \(ends.0):\(from) > \(ends.1):\(to)"
    }
    for name in ["icmp", "icmpv6"] {
      guard let type = fields["\(name) type"], let code = fields["\(name) code"] else { continue }
      return "\(name == "icmp" ? "ICMP" : "ICMPv6") type \(type) code \(code) \(source) > \(destination)"
    }
    let number = fields["ipv4 protocol"] ?? fields["ipv6 next header"] ?? "?"
    return "IP protocol \(number) \(source) > \(destination)"
  }
}
