import Engine
import PacketTestKit
import Testing

/// `[timeouts]`: what waits, waits as long as is configured (idle times of UDP and TCP stand with their own tests).
@Suite struct ConfiguredTimesTests {
  private let syn = Packet.tcp(client, "203.0.113.1:80", .syn)

  @Test func `T4 a SYN that nobody asked for is answered after the time that is set`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.change("wan") { $0.unsolicited = .unreachable }
        $0.timeouts.unsolicited = 9
      }))
    gateway.receive(syn, on: "wan").expectDrop(.noForward)
    #expect(gateway.advance(to: 8.9).isEmpty)
    #expect(gateway.advance(to: 9).count == 1)
  }

  @Test func `A2 a freed port waits for its former owner as long as is set`() throws {
    let gateway = try TestGateway(
      .masqueraded({
        $0.filtering = .endpointIndependent
        $0.pool = [PortRange(2000, 2000)]
      }) { $0.timeouts.quarantine = 200 })
    let (first, second) = (Packet.udp("192.168.1.10:4000", client), Packet.udp("192.168.1.11:4000", client))
    gateway.receive(first, on: "lan").expect(.forward)
    #expect(gateway.receive(second, on: "lan", at: 499.9).reason == .noPort)
    gateway.receive(second, on: "lan", at: 500.1).expect(.forward)
  }

  @Test func `F4 an identification is somebody else's after the time that is set`() throws {
    let gateway = try TestGateway(
      .masqueraded(more: {
        $0.change("wan") { $0.mtu = 1000 }
        $0.timeouts.identification = 150
      }))
    func identification(_ source: Peer, at time: Double) -> UInt16? {
      let packet = Packet.udp(source, client) {
        $0.ip.identification = 9
        $0.ip.dontFragment = false
        $0.udp.payload = [UInt8](repeating: 7, count: 1400)
      }
      return gateway.receive(packet, on: "lan", at: time).made.first?.decoded.ip?.identification
    }
    #expect(identification("192.168.1.10:4000", at: 0) == 9)
    #expect(identification("192.168.1.11:4001", at: 149) != 9)
    #expect(identification("192.168.1.12:4002", at: 151) == 9)
  }

  @Test func `I1 P11 echo and other protocols are idle as long as is set`() throws {
    let gateway = try TestGateway(
      .masqueraded({ $0.otherProtocols = true }) {
        $0.timeouts.icmp = 90
        $0.timeouts.other = 30
      })
    gateway.receive(.ping("192.168.1.10:7", client.host), on: "lan").expect(.forward)
    gateway.receive(.other(protocol: 47, server, client.host, [0, 0, 8, 0]), on: "lan").expect(.forward)
    for (time, live) in [(29.9, 2), (30, 1), (89.9, 1), (90, 0)] {
      gateway.advance(to: time)
      #expect(gateway.live == live, "at \(time) s")
    }
  }
}
