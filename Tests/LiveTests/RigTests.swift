import Lab
import Testing

extension Live {
  /// The rig itself, with the kernel's NAT in the middle: where these fail, the rig is to blame and not sluice.
  @Suite struct RigTests {
    @Test("a transfer through the kernel arrives whole") func wholeTransfer() throws {
      try Rig.with("rig", forwarder: .kernel) { rig in
        let count = 20_000_000
        try #expect(rig.digest(.client, LabNetwork.gatewayOutside, bytes: count) == rig.truth(bytes: count))
        try #expect(rig.uploadDigest(bytes: count) == rig.truth(bytes: count))
        try #expect(rig.checksumErrors() == 0)
      }
    }

    @Test("a wrong checksum is counted") func wrongChecksum() throws {
      var shape = LabNetwork.Shape()
      shape.offloads = false
      try Rig.with("rig", shape, forwarder: .kernel) { rig in
        // A datagram that the gateway spoils after its checksum was made.
        try rig.network.demand(
          in: .gateway,
          [
            "nft",
            "add table ip spoil; add chain ip spoil out { type filter hook postrouting priority 300; };"
              + "add rule ip spoil out udp dport 7007 @th,64,8 set 0x21",
          ])
        _ = try? rig.shell(.client, "echo datagram | socat -t 0.3 - UDP:\(LabNetwork.gatewayOutside):7007")
        try #expect(rig.checksumErrors() == 1)
      }
    }

    @Test("the frames of both ends match") func matchingFrames() throws {
      var shape = LabNetwork.Shape()
      shape.offloads = false
      try Rig.with("rig", shape, forwarder: .kernel) { rig in
        let audit = try CaptureAudit(rig) {
          _ = try rig.digest(.client, LabNetwork.gatewayOutside, bytes: 1_000_000)
        }
        #expect(audit.problems(allowsLoss: true) == [])
        #expect(audit.forwardedFrames > 500)
      }
    }

    @Test("taking down ends what runs and leaves nothing") func down() throws {
      let network = LabNetwork(ownedFor: "leftover")
      try network.up()
      let sleeper = try network.start(in: .gateway, ["sleep", "600"])
      network.down()
      #expect(!network.exists)
      #expect(!sleeper.isRunning)
    }
  }
}
