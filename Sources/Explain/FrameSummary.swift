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
    guard let source = fields["ipv4 source"], let destination = fields["ipv4 destination"] else {
      return "EtherType \(fields["ethernet type"] ?? "none"), \(frame.count) bytes"
    }
    for name in ["tcp", "udp"] {
      guard let from = fields["\(name) source port"], let to = fields["\(name) destination port"] else { continue }
      return "\(name.uppercased()) \(source):\(from) > \(destination):\(to)"
    }
    if let type = fields["icmp type"], let code = fields["icmp code"] {
      return "ICMP type \(type) code \(code) \(source) > \(destination)"
    }
    return "IP protocol \(fields["ipv4 protocol"] ?? "?") \(source) > \(destination)"
  }
}
