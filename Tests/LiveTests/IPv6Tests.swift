import Foundation
import Lab
import Testing

extension Live {
  /// IPv6 between real stacks: from inside everything, from outside what a pinhole names, with hops and path MTU.
  @Suite struct IPv6Tests {
    private static let client = "2001:db8:1::7"
    private static let server = "2001:db8:2::10"
    private static let outside = "2001:db8:1::1"
    private static let inside = "2001:db8:2::1"

    /// The lab's configuration with IPv6 beside IPv4, and a pinhole to port 8088 of the server.
    private static var configuration: String {
      LabNetwork.configuration
        .replacingOccurrences(
          of: "address = [\"203.0.113.1/24\"]", with: "address = [\"203.0.113.1/24\", \"\(outside)/64\"]"
        )
        .replacingOccurrences(
          of: "address = [\"192.168.1.1/24\"]", with: "address = [\"192.168.1.1/24\", \"\(inside)/64\"]")
          + """

          [[forward]]
          name     = "six"
          protocol = "tcp"
          on       = "wan"
          ports    = "8088"
          to       = "\(server)"
          """
    }

    private func with(_ purpose: String, _ shape: LabNetwork.Shape = .init(), _ body: (Rig) throws -> Void) throws {
      try Rig.with(purpose, shape, forwarder: .sluice(Self.configuration)) { rig in
        for (place, address, router) in [
          (LabNetwork.Place.client, Self.client, Self.outside), (.server, Self.server, Self.inside),
        ] {
          try rig.network.demand(in: place, ["ip", "-6", "address", "add", "\(address)/64", "dev", "eth0", "nodad"])
          try rig.network.demand(in: place, ["ip", "-6", "route", "add", "default", "via", router])
        }
        var services: [Child] = []
        for (place, port) in [(LabNetwork.Place.server, 8088), (.server, 8089), (.client, 8088)] {
          services.append(try rig.network.start(in: place, ["python3", Self.script, "\(port)"]))
          try rig.waitForListener(place, port: port)
        }
        defer { for service in services { service.stop() } }
        // The neighbours are known before anything is measured.
        _ = try rig.shell(.server, "ping -6 -n -c 5 -i 0.2 -W 5 \(Self.client)", seconds: 60)
        try body(rig)
      }
    }

    private static var script: String {
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("http6.py").path
    }

    private func digest(_ rig: Rig, _ place: LabNetwork.Place, _ address: String) throws -> String {
      try rig.shell(place, "curl -sS --fail -g http://[\(address)]:8088/file | sha256sum", seconds: 120)
    }

    @Test("a pinhole lets in what it names, inside hosts reach out, and nobody else comes in")
    func firewall() throws {
      try with("six") { rig in
        try #expect(digest(rig, .client, Self.server) == digest(rig, .server, "::1"))
        try #expect(digest(rig, .server, Self.client) == digest(rig, .client, "::1"))
        let closed = try rig.network.run(
          in: .client, ["curl", "-sS", "-g", "--max-time", "2", "http://[\(Self.server)]:8089/file"])
        #expect(closed.status == 28, "\(closed.complaint)")
        let ping = try rig.network.run(in: .client, ["ping", "-6", "-n", "-c", "2", "-W", "1", Self.server])
        #expect(ping.status == 1, "\(ping.output)")
        #expect(try rig.shell(.server, "ping -6 -n -c 3 -i 0.2 -W 5 \(Self.client)").contains(" 0% packet loss"))
        #expect(try rig.shell(.server, "ping -6 -n -c 3 -i 0.2 -W 5 \(Self.inside)").contains(" 0% packet loss"))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("traceroute shows the gateway as a hop, and an answer from behind it")
    func hops() throws {
      try with("six") { rig in
        let trace = "traceroute -6 -n -q 1 -w 5 -m 4"
        let outward = try rig.shell(.server, "\(trace) -I \(Self.client)", seconds: 60)
        #expect(outward.contains(" 1  \(Self.inside) ") && outward.contains(" 2  \(Self.client) "), "\(outward)")
        let datagrams = try rig.shell(.server, "\(trace) \(Self.client)", seconds: 60)
        #expect(datagrams.contains(" 1  \(Self.inside) ") && datagrams.contains(" 2  \(Self.client) "), "\(datagrams)")
        let inward = try rig.shell(.client, "\(trace) -T -p 8088 \(Self.server)", seconds: 60)
        #expect(inward.contains(" 1  \(Self.outside) ") && inward.contains(" 2  \(Self.server) "), "\(inward)")
      }
    }

    @Test("the sender of too big packets learns the MTU of a 1280-byte link, in both directions")
    func pathMTU() throws {
      for narrowsLAN in [true, false] {
        var shape = LabNetwork.Shape()
        if narrowsLAN { shape.lanMTU = 1280 } else { shape.wanMTU = 1280 }
        try with("six", shape) { rig in
          let (near, address): (LabNetwork.Place, String) = narrowsLAN ? (.server, Self.server) : (.client, Self.client)
          let far: LabNetwork.Place = narrowsLAN ? .client : .server
          try #expect(digest(rig, near, narrowsLAN ? Self.client : Self.server) == digest(rig, far, "::1"))
          let route = try rig.shell(far, "ip -6 route get \(address)")
          #expect(route.contains("mtu 1280"), "\(route)")
          try #expect(rig.checksumErrors() == 0)
        }
      }
    }
  }
}
