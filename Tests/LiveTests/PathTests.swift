import Lab
import Testing

extension Live {
  /// The gateway as a router between real stacks: forwards in every form, masquerade, hairpin, echo, hops and MTU.
  @Suite struct PathTests {
    @Test("a port, a list, a range and a whole host lead where the configuration says; nothing else does")
    func forwards() throws {
      try Rig.with("forwards") { rig in
        let outside = LabNetwork.gatewayOutside
        let wanted = [
          "\(outside):80": "192.168.1.10:8080", "\(outside):8820": "192.168.1.10:8820",
          "\(outside):8840": "192.168.1.10:8840", "\(outside):9000": "192.168.1.10:9100",
          "\(outside):9003": "192.168.1.10:9103", "\(LabNetwork.wholeHostOutside):9102": "192.168.1.20:9102",
        ]
        for (from, to) in wanted {
          let answer = try rig.fetch(.client, "\(from)/")
          #expect(answer.hasPrefix("server \(to) sees client \(LabNetwork.client):"), "\(from): \(answer)")
        }
        for closed in ["\(outside):81", "\(outside):8821", "\(outside):9004", "203.0.113.6:80"] {
          let probe = "curl -sS --max-time 1 http://\(closed)/"
          let outcome = try rig.network.run(in: .client, ["bash", "-c", probe])
          // 28: no answer in time; 7: no route to the host, where nobody answers ARP either.
          #expect([28, 7].contains(outcome.status), "\(closed): \(outcome.complaint)")
          #expect(!outcome.errors.contains("refused"), "a reset came back from \(closed)")
        }
      }
    }

    @Test("inside hosts reach out by masquerade, and are seen with the gateway's address")
    func masquerade() throws {
      try Rig.with("masquerade") { rig in
        let answer = try rig.fetch(.server, "\(LabNetwork.client):8000/")
        #expect(answer.contains("sees client \(LabNetwork.gatewayOutside):"))
        try #expect(rig.digest(.server, "\(LabNetwork.client):8000", bytes: 50_000_000) == rig.truth(bytes: 50_000_000))
        let ping = try rig.shell(.server, "ping -n -c 3 -i 0.2 \(LabNetwork.client)")
        #expect(ping.contains(" 0% packet loss"))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("T12 U13 an inside host reaches a forward by its outside address (hairpin), and sees no inside address")
    func hairpin() throws {
      try Rig.with("hairpin") { rig in
        let answer = try rig.fetch(.server, "\(LabNetwork.gatewayOutside)/")
        #expect(answer.hasPrefix("server 192.168.1.10:8080 sees client \(LabNetwork.gatewayOutside):"))
        try #expect(
          rig.digest(.server, LabNetwork.gatewayOutside, bytes: 20_000_000) == rig.truth(bytes: 20_000_000))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test(
      "F10 traceroute shows the gateway as a hop, from outside and from inside", arguments: ["-U", "-I", "-T -p 80"])
    func hops(method: String) throws {
      try Rig.with("hops") { rig in
        let trace = "traceroute -n -q 1 -w 2 -m 4 \(method) "
        let inward = try rig.shell(.client, trace + LabNetwork.wholeHostOutside)
        #expect(inward.contains(" 1  \(LabNetwork.gatewayOutside) "), "\(inward)")
        #expect(inward.contains(" 2  \(LabNetwork.wholeHostOutside) "), "\(inward)")
        let outward = try rig.shell(.server, trace + LabNetwork.client)
        #expect(outward.contains(" 1  \(LabNetwork.gatewayInside) "), "\(outward)")
        #expect(outward.contains(" 2  \(LabNetwork.client) "), "\(outward)")
      }
    }

    @Test("F1 F6 datagrams in up to 45 pieces, both ways: pings of 4000 and 40000 bytes, UDP of 65000")
    func pieces() throws {
      try Rig.with("pieces") { rig in
        for size in [4000, 40_000] {
          for (place, target) in [
            (LabNetwork.Place.client, LabNetwork.wholeHostOutside), (.server, LabNetwork.client),
          ] {
            let answer = try rig.shell(place, "ping -n -c 3 -i 0.2 -s \(size) \(target)")
            #expect(answer.contains(" 3 received"), "\(answer)")
          }
        }
        let echo =
          "head -c 65000 /dev/zero | socat -b 66000 -t 2 - UDP:\(LabNetwork.gatewayOutside):7007,shut-none | wc -c"
        #expect(try rig.shell(.client, echo).contains("65000"))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("F5 the sender of too big packets learns the MTU of a 1280-byte link, to the server and from it")
    func pathMTU() throws {
      let count = 5_000_000
      var narrow = LabNetwork.Shape()
      narrow.lanMTU = 1280
      try Rig.with("mtu", narrow) { rig in
        try #expect(rig.uploadDigest(bytes: count) == rig.truth(bytes: count))
        let route = try rig.shell(.client, "ip route get \(LabNetwork.gatewayOutside)")
        #expect(route.contains("mtu 1280"), "\(route)")
        let ping = try rig.network.run(
          in: .client, ["ping", "-n", "-c", "2", "-i", "0.2", "-M", "do", "-s", "1400", LabNetwork.wholeHostOutside])
        #expect((ping.output + ping.errors).contains("mtu=1280") || (ping.output + ping.errors).contains("mtu = 1280"))
        try #expect(rig.checksumErrors() == 0)
      }
      narrow = LabNetwork.Shape()
      narrow.wanMTU = 1280
      try Rig.with("mtu", narrow) { rig in
        try #expect(rig.digest(.client, LabNetwork.gatewayOutside, bytes: count) == rig.truth(bytes: count))
        let route = try rig.shell(.server, "ip route get \(LabNetwork.client)")
        #expect(route.contains("mtu 1280"), "\(route)")
        try #expect(rig.checksumErrors() == 0)
      }
    }
  }
}
