import Engine
import Testing

@testable import Settings

/// A good configuration becomes the plan that it says.
@Suite struct LoadingTests {
  @Test func manualExampleBecomesItsPlan() throws {
    for purpose in [SettingsFile.Purpose.run, .check, .replay] {
      let plan = try load(manualExample, for: purpose).plan
      #expect(plan.mode == .dedicated)
      #expect(plan.sessions == 1_048_576)
      #expect(plan.interfaces.map(\.name) == ["wan", "lan"])
      let wan = plan.interfaces[0]
      #expect(wan.tags == [VLANTag(protocolID: 0x8100, vlan: 100)])
      #expect(wan.addresses == [IPv4Prefix("203.0.113.1/24")!])
      #expect(wan.addresses6 == [IPv6Prefix(high: 0x2001_0db8_0000_0000, low: 1, length: 64)])
      #expect(wan.gateways == [IPv4Address(203, 0, 113, 254)])
      #expect(wan.mac == MACAddress(0x0200_0000_0101))
      #expect(wan.mtu == 1500)
      #expect(!wan.ping)
      #expect(plan.interfaces[1].ping)
      #expect(
        plan.routes == [
          RoutePlan(destination: IPv4Prefix("10.0.0.0/8")!, via: IPv4Address(192, 168, 1, 254), interface: 1)
        ])
      #expect(
        plan.neighbors == [
          NeighborPlan(address: IPv4Address(192, 168, 1, 10), mac: MACAddress(0x0200_0000_0010), interface: 1)
        ])
      #expect(plan.masquerades == [MasqueradePlan(from: 1, to: 0)])
      #expect(plan.timeouts == TimeoutPlan())
      let web = try #require(plan.forwards.first)
      #expect(web.name == "web" && web.line == 31)
      #expect(web.protocols == .tcp && web.isOnInterface && web.externals == [IPv4Address(203, 0, 113, 1)])
      #expect(web.spans.map(\.ports) == [PortRange(8840, 8840), PortRange(8820, 8820), PortRange(8810, 8815)])
      #expect(web.spans.map(\.target) == [8840, 8820, 8810])
      #expect(web.spans.map(\.isParallel) == [true, true, true])
    }
  }

  @Test func targetPortsAreCountedBeforeExcept() throws {
    let plan = try load(
      twoInterfaces + """
        [[forward]]
        name = "a"
        protocol = "tcp+udp"
        on = "wan"
        ports = "90, 100-109"
        except = "102-103, 109"
        to = "192.168.1.10:9000-9010"
        """
    ).plan
    #expect(plan.forwards[0].protocols == [.tcp, .udp])
    #expect(
      plan.forwards[0].spans == [
        PortSpan(ports: PortRange(90, 90), target: 9000, isParallel: true),
        PortSpan(ports: PortRange(100, 101), target: 9001, isParallel: true),
        PortSpan(ports: PortRange(104, 108), target: 9005, isParallel: true),
      ])
  }
}
