import Lab
import Testing

extension Live {
  /// The gateway as a router between real stacks: forwards in every form, masquerade, hairpin, echo, hops and MTU.
  @Suite struct PathTests {
    @Test(
      "a port, a list, a range and a whole host lead where the configuration says; nothing else does",
      arguments: Way.allCases)
    func forwards(way: Way) throws {
      try way.with("forwards") { rig in
        let wanted = [
          (way.web, way.server, 8080), (way.at(8820), way.server, 8820), (way.at(8840), way.server, 8840),
          (way.at(way.range), way.server, 9100), (way.at(way.range + 3), way.server, 9103),
          ("\(Way.host(way.wholeHostOutside)):9102", way.wholeHost, 9102),
        ]
        for (from, host, port) in wanted {
          let answer = try rig.fetch(.client, "\(from)/")
          let told = "server \(Way.host(host)):\(port) sees client \(Way.host(way.client)):"
          #expect(answer.hasPrefix(told), "\(from): \(answer)")
        }
        var closed = [81, 8821, way.range + 4].map(way.at) + ["\(Way.host(way.nobody)):80"]
        // An inside address that is known outside by another one is not reached by its own (A21).
        if way != .routed { closed.append("\(Way.host(way.server)):8080") }
        try expectNoAnswer(rig, closed)
        let ping = try rig.network.run(in: .client, ["ping", "-n", "-c", "1", "-W", "1", way.outside])
        #expect(ping.status == 1, "\(ping.output)")
      }
    }

    private func expectNoAnswer(_ rig: Rig, _ endpoints: [String]) throws {
      let probe = "curl -sS --max-time 1 http://$place/ 2>&1; echo status $?"
      // By a pipe, where lines that are written at once all arrive.
      let outcomes = try rig.shell(
        .client, "for place in \(endpoints.joined(separator: " ")); do (echo $place: $(\(probe))) & done | cat")
      let lines = outcomes.split(separator: "\n")
      #expect(lines.count == endpoints.count)
      for line in lines {
        // 28: no answer in time; 7: no route to the host, where nobody answers ARP either.
        #expect(line.hasSuffix("status 28") || line.hasSuffix("status 7"), "\(line)")
        #expect(!line.contains("refused"), "a reset came back from \(line)")
      }
    }

    @Test("inside hosts reach out, and are seen with their outside address", arguments: Way.allCases)
    func outward(way: Way) throws {
      try way.with("outward") { rig in
        let web = "\(Way.host(way.client)):8000"
        let answer = try rig.fetch(.server, "\(web)/")
        #expect(answer.contains("sees client \(Way.host(way.outside)):"), "\(answer)")
        let count = way.bulk(50_000_000)
        try #expect(rig.digest(.server, web, bytes: count) == rig.truth(bytes: count))
        let ping = try rig.shell(.server, "ping -n -c 3 -i 0.2 \(way.client)")
        #expect(ping.contains(" 0% packet loss"))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test(
      "T12 U13 an inside host reaches a forward by its outside address (hairpin), and sees no inside address",
      arguments: [Way.ipv4, .prefix, .masqueraded])
    func hairpin(way: Way) throws {
      try way.with("hairpin") { rig in
        let answer = try rig.fetch(.server, "\(way.web)/")
        let told = "server \(Way.host(way.server)):8080 sees client \(Way.host(way.outside)):"
        #expect(answer.hasPrefix(told), "\(answer)")
        let count = way.bulk(20_000_000)
        try #expect(rig.digest(.server, way.web, bytes: count) == rig.truth(bytes: count))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test(
      "F10 V1 traceroute by UDP, ICMP and TCP shows the gateway as a hop, from outside and from inside",
      arguments: Way.allCases)
    func hops(way: Way) throws {
      try way.with("hops") { rig in
        for method in ["-U", "-I", "-T -p 8080"] {
          let trace = "traceroute -n -q 1 -w 5 -m 4 \(method) "
          let inward = try rig.shell(.client, trace + way.wholeHostOutside, seconds: 60)
          #expect(inward.contains(" 1  \(way.gatewayOutside) "), "\(method): \(inward)")
          #expect(inward.contains(" 2  \(way.wholeHostOutside) "), "\(method): \(inward)")
          let outward = try rig.shell(.server, trace + way.client, seconds: 60)
          #expect(outward.contains(" 1  \(way.gatewayInside) "), "\(method): \(outward)")
          #expect(outward.contains(" 2  \(way.client) "), "\(method): \(outward)")
        }
      }
    }

    @Test(
      "F1 F6 V3 datagrams in up to 45 pieces, both ways: pings of 4000 and 40000 bytes, UDP of 65000",
      arguments: Way.allCases)
    func pieces(way: Way) throws {
      try way.with("pieces") { rig in
        for size in [4000, 40_000] {
          for (place, target) in [(LabNetwork.Place.client, way.wholeHostOutside), (.server, way.client)] {
            let answer = try rig.shell(place, "ping -n -c 3 -i 0.2 -s \(size) \(target)")
            #expect(answer.contains(" 3 received"), "\(answer)")
          }
        }
        // No end is ever read of UDP: whoever counts does not wait for socat's.
        let socat = "socat -b 66000 -t 5 - UDP:\(way.at(7007)),shut-none"
        let echo = "head -c 65000 <(head -c 65000 /dev/zero | \(socat)) | wc -c"
        #expect(try rig.shell(.client, echo).contains("65000"))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test(
      "F5 V2 the sender of too big packets learns the MTU of a 1280-byte link, to the server and from it",
      arguments: Way.allCases)
    func pathMTU(way: Way) throws {
      let count = way.bulk(5_000_000)
      var narrow = LabNetwork.Shape()
      narrow.lanMTU = 1280
      try way.with("mtu", narrow) { rig in
        try #expect(rig.uploadDigest(to: Way.host(way.outside), bytes: count) == rig.truth(bytes: count))
        let route = try rig.shell(.client, "ip route get \(way.outside)")
        #expect(route.contains("mtu 1280"), "\(route)")
        let ping = try rig.network.run(
          in: .client, ["ping", "-n", "-c", "2", "-i", "0.2", "-M", "do", "-s", "1400", way.wholeHostOutside])
        #expect((ping.output + ping.errors).contains(/mtu ?= ?1280/), "\(ping.output)\(ping.errors)")
        try #expect(rig.checksumErrors() == 0)
      }
      narrow = LabNetwork.Shape()
      narrow.wanMTU = 1280
      try way.with("mtu", narrow) { rig in
        try #expect(rig.digest(.client, way.web, bytes: count) == rig.truth(bytes: count))
        let route = try rig.shell(.server, "ip route get \(way.client)")
        #expect(route.contains("mtu 1280"), "\(route)")
        try #expect(rig.checksumErrors() == 0)
      }
    }
  }
}
