import Capture
import PacketTestKit
import Testing

@testable import Explain

/// IPv6 frames taken apart for people.
@Suite struct IPv6FieldsTests {
  private let host: Host6 = "2001:db8:2::10"
  private let peer: Host6 = "2001:db8:3::10"

  private func frame(_ datagram: Datagram6) -> [UInt8] {
    datagram.frame(from: "02:00:00:00:00:01", to: "02:00:00:00:00:02")
  }

  @Test func `every byte belongs to one field, wherever the frame ends`() {
    let datagrams: [Datagram6] = [
      .udp(host, 1000, peer, 2000), .tcp(host, 1000, peer, 80, .syn), .ping(host, peer),
      .solicitation(host, for: peer, station: "02:00:00:00:00:01"),
      .icmp(peer, host, type: 1, code: 4, 0, Datagram6.udp(host, 1000, peer, 2000).bytes),
      Datagram6.udp(host, 1, peer, 2).with { $0.extensions = [(60, [0, 0, 0, 0, 0, 0, 0])] },
    ]
    for datagram in datagrams {
      let whole = frame(datagram) + [1, 2, 3]
      for count in 0...whole.count {
        let part = Array(whole[..<count])
        let fields = FrameField.all(of: part, link: .ethernet)
        #expect(fields.flatMap { Array($0.range) } == Array(0..<count))
        _ = FrameSummary.text(part, .ethernet)
      }
    }
  }

  @Test func `a frame in one line`() {
    func text(_ datagram: Datagram6) -> String { FrameSummary.text(frame(datagram), .ethernet) }
    #expect(text(.udp(host, 1000, peer, 2000)) == "UDP [2001:db8:2::10]:1000 > [2001:db8:3::10]:2000")
    #expect(text(.ping(host, peer)) == "ICMPv6 type 128 code 0 2001:db8:2::10 > 2001:db8:3::10")
    #expect(text(Datagram6(host, peer, 50, [1, 2, 3, 4])) == "IP protocol 50 2001:db8:2::10 > 2001:db8:3::10")
  }

  @Test func `what differs has its name`() {
    let datagram = Datagram6.ping(host, peer)
    func names(_ other: Datagram6) -> [String] {
      FrameField.differences(frame(datagram), frame(other), link: .ethernet).map(\.name)
    }
    #expect(names(datagram.hopped) == ["ipv6 hop limit"])
    #expect(names(datagram.with { $0.source = "2001:db8:2::11" }) == ["ipv6 source"])
    #expect(names(datagram.with { $0.payload[7] = 9 }) == ["icmpv6 sequence number"])
  }
}
