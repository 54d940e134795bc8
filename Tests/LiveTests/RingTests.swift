import Foundation
import Lab
import Testing

extension Live {
  /// Every way for frames to come in and go out carries the same traffic.
  @Suite struct RingTests {
    private static func configuration(_ engine: String) -> String {
      "[engine]\n\(engine)\n\n" + LabNetwork.configuration
    }

    @Test(
      "bulk, many connections and single packets, both ways, by each kind of ring",
      arguments: ["throughput", "auto"], [true, false])
    func carriesEverything(ring: String, offloads: Bool) throws {
      var shape = LabNetwork.Shape()
      shape.offloads = offloads
      let configuration = "[engine]\nring = \"\(ring)\"\n\n" + LabNetwork.configuration
      try Rig.with("ring", shape, forwarder: .sluice(configuration)) { rig in
        let outside = LabNetwork.gatewayOutside
        let count = offloads ? 200_000_000 : 20_000_000
        let truth = try rig.truth(bytes: count)
        try #expect(rig.digest(.client, outside, bytes: count) == truth)
        try #expect(rig.uploadDigest(bytes: count) == truth)
        let codes = try rig.shell(
          .client,
          "curl -sS --fail --parallel --parallel-immediate --parallel-max 100 -o /dev/null "
            + "-w '%{http_code}\\n' 'http://\(outside)/bytes/[1001-1100]' | sort | uniq -c")
        #expect(codes == "100 200")
        try #expect(rig.fetch(.server, "\(LabNetwork.client):8000/").contains(outside))
        #expect(try rig.shell(.server, "ping -n -c 3 -i 0.2 -W 2 \(LabNetwork.client)").contains(" 0% packet loss"))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("auto changes from slots to blocks and back by load, and loses, doubles and overtakes nothing")
    func changesByLoad() throws {
      try Rig.with("ring-auto", forwarder: .nothing) { rig in
        _ = try rig.shell(.client, "ip address add 10.9.9.1/24 dev eth0")
        _ = try rig.shell(.server, "ip address add 10.9.9.2/24 dev eth0")
        let mirror = try rig.network.start(
          in: .gateway, [Rig.executable, "mirror", "wan0", "lan0", "--ring", "auto", "--flood-rate", "3000"])
        #expect(try Interruption.wait(seconds: 10) { mirror.errors.contains("ready") }, "\(mirror.errors)")
        let receiver = try rig.network.start(in: .server, ["python3", Self.script, "receive"])
        #expect(try Interruption.wait(seconds: 10) { receiver.output.contains("ready") })
        // A datagram sent while the neighbour is being asked for may be overtaken in the sender's own kernel.
        _ = try rig.shell(.client, "ping -n -c 1 -W 5 10.9.9.2")
        let sent = try rig.shell(.client, "python3 \(Self.script) send 10.9.9.2 5")
        let received = try receiver.wait(seconds: 20).output
        #expect(received == "ready\n\(sent) 0 0 0\n", "received, lost, doubled, overtaken")
        let counts = mirror.stop().output
        let changes = try #require(counts.firstMatch(of: /wan0 ring changes (\d+)/)).1
        #expect(try #require(Int(changes)) >= 2, "\(counts)")
      }
    }

    @Test("a worker runs on the core that it is given; a core that is not there is an error at its place")
    func cores() throws {
      func engine(_ core: Int) -> String {
        "[engine]\nspin-microseconds = 0\ncores = [\(core)]\n\n" + LabNetwork.configuration
      }
      try Rig.with("cores", forwarder: .sluice(engine(0))) { rig in
        let process = try #require(rig.gateway?.process.pid)
        let cores = try rig.shell(.gateway, "grep -h Cpus_allowed_list /proc/\(process)/task/*/status | sort -u")
        #expect(cores.split(separator: "\n").contains { $0.hasSuffix("\t0") }, "\(cores)")
        try #expect(rig.fetch(.client, "\(LabNetwork.gatewayOutside)/") != "")
        let path = try rig.network.write(engine(1000), to: "bad.toml")
        let refused = try rig.network.run(in: .gateway, [Rig.executable, "run", "-c", path])
        #expect(refused.status == 2 && refused.errors.contains("bad.toml:3:9: "), "\(refused.errors)")
      }
    }

    private static var script: String {
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("sequence.py").path
    }
  }
}
