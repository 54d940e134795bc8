import Foundation
import Lab
import Testing

extension Live {
  /// What is left behind when a process is killed: nothing that the next start does not take away.
  @Suite struct CrashTests {
    @Test("kill -9 and restart leave no nft table, address or namespace behind, and forward again, both families")
    func killedGateway() throws {
      try Way.masqueraded.with("crash") { rig in
        let outside = LabNetwork.gatewayOutside
        let gateway = try #require(rig.gateway)
        _ = try rig.fetch(.client, "\(outside)/")
        _ = try rig.fetch(.client, "\(Way.masqueraded.web)/")
        let namespaces = try namespaces()
        try #expect(rig.shell(.gateway, "nft list tables").isEmpty == false, "nothing keeps the kernel quiet")
        gateway.process.kill()

        try gateway.start()
        for web in [outside, Way.masqueraded.web] {
          #expect(try rig.fetch(.client, "\(web)/").contains("sees client"))
        }
        let end = gateway.process.stop()
        #expect(end.succeeded, "\(end.complaint)")
        try #expect(rig.shell(.gateway, "nft list ruleset") == "")
        try #expect(rig.shell(.gateway, "ip -o address show | grep -vw lo || true") == "")
        try #expect(self.namespaces() == namespaces)
        try gateway.start()  // the rig expects its gateway to run until the end
      }
    }

    @Test(
      "L6 the kernel answers nothing itself while sluice runs: no reset, no ARP, no ICMP of its own, of either family")
    func quietKernel() throws {
      try Way.masqueraded.with("quiet") { rig in
        // Packets for the gateway's own stack would make these rise.
        let before = try rig.counters(.gateway)
        _ = try? rig.shell(.client, "curl -sS --max-time 1 http://\(LabNetwork.gatewayOutside):81/")
        _ = try rig.fetch(.client, "\(LabNetwork.gatewayOutside)/")
        _ = try? rig.shell(.client, "curl -sS --max-time 1 http://\(Way.masqueraded.at(81))/")
        _ = try rig.fetch(.client, "\(Way.masqueraded.web)/")
        let after = try rig.counters(.gateway)
        for name in [
          "IpInReceives", "IpOutRequests", "TcpOutRsts", "IcmpOutMsgs", "IpForwDatagrams", "Ip6InReceives",
          "Ip6OutRequests", "Icmp6OutMsgs", "Ip6OutForwDatagrams",
        ] {
          #expect(after[name] != nil)
          #expect(after[name] == before[name], "\(name) rose")
        }
      }
    }

    @Test("a killed demo's namespaces are removed by the next one; an interrupted demo removes its own")
    func killedDemo() throws {
      for signal in [SIGKILL, SIGINT] {
        let demo = try Child([Rig.executable, "lab", "demo"])
        let prefix = "sluice-pid\(demo.pid)-demo-"
        let isUp = try Interruption.wait(seconds: 10) { try namespaces().contains("\(prefix)server") }
        try #require(isUp, "\(demo.errors)")
        let end = demo.stop(signal: signal, seconds: 20)
        if signal == SIGINT { #expect(end.status == 130) }
        if signal == SIGKILL { LabNetwork.removeLeftovers() }
        try #expect(namespaces().filter { $0.hasPrefix(prefix) } == [])
      }
    }

    @Test("lab up makes a lab that outlives its command, and lab down ends it")
    func upAndDown() throws {
      let name = "test-\(ProcessInfo.processInfo.processIdentifier)"
      defer { _ = try? run([Rig.executable, "lab", "down", "--name", name]) }
      try demand([Rig.executable, "lab", "up", "--name", name], seconds: 30)
      let second = try run([Rig.executable, "lab", "up", "--name", name])
      #expect(second.status == 1 && second.errors.contains("is up already"))
      let answer = try demand(
        ["ip", "netns", "exec", "sluice-\(name)-client", "curl", "-sS", "http://\(LabNetwork.gatewayOutside)/"])
      #expect(answer.contains("sees client"))
      try demand([Rig.executable, "lab", "down", "--name", name])
      try #expect(namespaces().filter { $0.contains(name) } == [])
    }

    private func namespaces() throws -> [String] {
      try demand(["ip", "netns", "list"]).split(separator: "\n").map { String($0.split(separator: " ")[0]) }.sorted()
    }
  }
}
