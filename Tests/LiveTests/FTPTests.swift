import Foundation
import Lab
import Testing

extension Live {
  /// FTP through translation: vsftpd at one end, lftp and curl at the other, and texts that become shorter on their way.
  @Suite struct FTPTests {
    /// Who is inside.
    enum Role: String, CaseIterable {
      case client, server

      /// Where the server runs and where its clients do.
      var server: LabNetwork.Place { self == .server ? .server : .client }
      var client: LabNetwork.Place { self == .server ? .client : .server }
      /// What clients connect to.
      var address: String { self == .server ? LabNetwork.gatewayOutside : LabNetwork.client }
    }

    private static let configuration =
      LabNetwork.configuration.replacing(
        "from = \"lan\"\nto   = \"wan\"", with: "from = \"lan\"\nto   = \"wan\"\nhelper = \"ftp\"")
        + """

        [[forward]]
        name     = "ftp"
        protocol = "tcp"
        on       = "wan"
        ports    = "21"
        to       = "192.168.1.10"
        helper   = "ftp"

        """

    private struct Status: Decodable { var events: [String: Int] }

    private struct Flow: Decodable {
      struct Helper: Decodable {
        var name: String
        var originalShift: Int
        var replyShift: Int

        enum CodingKeys: String, CodingKey {
          case name
          case originalShift = "original_shift"
          case replyShift = "reply_shift"
        }
      }
      struct Direction: Decodable { var destination: String }

      var helper: Helper?
      var original: Direction
    }

    private func ask<T: Decodable>(_ gateway: LabGateway, _ words: [String]) throws -> T {
      let outcome = try gateway.ask(words + ["--json"])
      try #require(outcome.succeeded, "\(outcome.complaint)")
      return try JSONDecoder().decode(T.self, from: Data(outcome.output.utf8))
    }

    @Test("active and passive, with PORT, EPRT, PASV and EPSV: what arrives is what was sent", arguments: Role.allCases)
    func transfers(role: Role) throws {
      try Rig.with("ftp", forwarder: .sluice(Self.configuration)) { rig in
        let gateway = try #require(rig.gateway)
        try withServer(rig, in: role.server) { truth in
          let (small, big) = (truth[0], truth[1])
          let (passive, active) = ("set ftp:passive-mode on; set ftp:prefer-epsv", "set ftp:passive-mode off")
          try #expect(lftp(rig, role, "\(passive) no", ["small", "big", "small"]) == [small, big, small])
          try #expect(lftp(rig, role, active, ["small", "big", "small"]) == [small, big, small])
          try #expect(lftp(rig, role, "\(passive) yes", ["small"]) == [small])
          // curl says EPRT over IPv4 too.
          let fetched = try rig.shell(
            role.client,
            "curl -sSv --fail --max-time 20 --ftp-port - ftp://\(role.address)/small 2> >(grep EPRT >&2) | sha256sum")
          #expect(fetched == small)
          try expectHelped(gateway, role)
          try #expect(rig.checksumErrors() == 0)
        }
      }
    }

    /// Each announcement of an inside host was opened, none was refused, and the shorter texts show in the shifts.
    private func expectHelped(_ gateway: LabGateway, _ role: Role) throws {
      let status: Status = try ask(gateway, ["status"])
      #expect(status.events["helper-refused"] == nil)
      // Inside clients: three by PORT, one by EPRT. An inside server: three by PASV, one by EPSV.
      #expect(status.events["helper-opened"] == 4)
      let flows: [Flow] = try ask(gateway, ["flow", "list"])
      let controls = flows.filter { $0.original.destination.hasSuffix(":21") }.compactMap(\.helper)
      #expect(controls.count == 4 && flows.compactMap(\.helper).count == 4)
      let shifts = controls.map { role == .client ? $0.originalShift : $0.replyShift }.sorted()
      // "192,168,1,10" becomes "203,0,113,1" three times, and once "192.168.1.10" "203.0.113.1" for the client's EPRT.
      #expect(shifts == (role == .client ? [-3, -1, 0, 0] : [-3, 0, 0, 0]))
    }

    /// vsftpd with two files, `small` and `big`, gone with the body.
    private func withServer(_ rig: Rig, in place: LabNetwork.Place, _ body: (_ truth: [String]) throws -> Void) throws {
      let folder = try rig.shell(place, "mktemp -d")
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let settings = """
        listen=YES
        listen_ipv6=NO
        background=NO
        anonymous_enable=YES
        no_anon_password=YES
        anon_root=\(folder)/files
        secure_chroot_dir=\(folder)/empty
        connect_from_port_20=YES
        seccomp_sandbox=NO
        isolate=NO
        isolate_network=NO
        xferlog_enable=NO

        """
      try settings.write(toFile: "\(folder)/vsftpd.conf", atomically: false, encoding: .utf8)
      _ = try rig.shell(
        place,
        "cd \(folder) && chmod 755 . && mkdir files empty && head -c 1000003 /dev/urandom > files/small"
          + " && head -c 100000000 /dev/urandom > files/big && chmod 644 files/*")
      let server = try rig.network.start(in: place, ["vsftpd", "\(folder)/vsftpd.conf"])
      defer { server.kill() }
      try rig.waitForListener(place, port: 21)
      try body(["small", "big"].map { name in try rig.shell(place, "sha256sum < \(folder)/files/\(name)") })
    }

    /// One control connection, several transfers; the sums of what came.
    private func lftp(_ rig: Rig, _ role: Role, _ settings: String, _ names: [String]) throws -> [String] {
      let always = "set net:timeout 20; set net:max-retries 1; set ftp:ssl-allow no; set cmd:fail-exit yes; "
      let folder = try rig.shell(role.client, "mktemp -d")
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let gets = names.enumerated().map { "get -O \(folder) \($1) -o \($0)" }.joined(separator: "; ")
      _ = try rig.shell(
        role.client,
        "HOME=\(folder) lftp -c '\(always)\(settings); open -u anonymous,a ftp://\(role.address); \(gets)'",
        seconds: 120)
      return try names.indices.map { try rig.shell(role.client, "sha256sum < \(folder)/\($0)") }
    }
  }
}
