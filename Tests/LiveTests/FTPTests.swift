import Foundation
import Lab
import Testing

extension Live {
  /// FTP of both families: vsftpd at one end, lftp and curl at the other, and commands that change their length on the way.
  @Suite struct FTPTests {
    /// Who is inside, and how the inside is known outside.
    struct Role: CustomTestStringConvertible {
      var isServerInside: Bool
      var way: Way

      static let all = Way.allCases.flatMap { way in [false, true].map { Role(isServerInside: $0, way: way) } }

      var testDescription: String { "\(isServerInside ? "server" : "client") inside, \(way)" }

      /// Where the server runs and where its clients do.
      var server: LabNetwork.Place { isServerInside ? .server : .client }
      var client: LabNetwork.Place { isServerInside ? .client : .server }
      /// What clients connect to.
      var address: String { Way.host(isServerInside ? way.outside : way.client) }

      /// By how much each command of the four connections that `transfers` makes is shifted, summed up.
      var shifts: [Int] {
        switch (way, isServerInside) {
        // "192,168,1,10" becomes "203,0,113,1" three times, and once "192.168.1.10" "203.0.113.1" for a client's EPRT.
        case (.ipv4, true): [-3, 0, 0, 0]
        case (.ipv4, false): [-3, -1, 0, 0]
        // "2001:db8:2::10" becomes "2001:db8:1::1", "fd01:203:405:1::10" "2001:db8:b:d546::10"; 229 has no address.
        case (.masqueraded, false): [-3, -1, 0, 0]
        case (.prefix, false): [0, 0, 1, 3]
        default: [0, 0, 0, 0]
        }
      }
    }

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

    @Test("A1 active and passive, with PORT, EPRT, PASV and EPSV: what arrives is what was sent", arguments: Role.all)
    func transfers(role: Role) throws {
      try role.way.with("ftp", helper: true) { rig in
        let gateway = try #require(rig.gateway)
        try withServer(rig, in: role.server, isIPv6: role.way != .ipv4) { truth in
          let (small, big) = (truth[0], truth[1])
          let (passive, active) = ("set ftp:passive-mode on; set ftp:prefer-epsv", "set ftp:passive-mode off")
          try #expect(lftp(rig, role, "\(passive) no", ["small", "big", "small"]) == [small, big, small])
          try #expect(lftp(rig, role, active, ["small", "big", "small"]) == [small, big, small])
          try #expect(lftp(rig, role, "\(passive) yes", ["small"]) == [small])
          // curl says EPRT over IPv4 too.
          let fetched = try rig.shell(
            role.client,
            "curl -gsSv --fail --max-time 20 --ftp-port - ftp://\(role.address)/small 2> >(grep EPRT >&2) | sha256sum")
          #expect(fetched == small)
          try expectHelped(gateway, role)
          try #expect(rig.checksumErrors() == 0)
        }
      }
    }

    /// Each announcement of an inside host was opened, none was refused, and the lengths show in the shifts.
    private func expectHelped(_ gateway: LabGateway, _ role: Role) throws {
      let status: Status = try ask(gateway, ["status"])
      #expect(status.events["helper-refused"] == nil)
      // Inside clients: three by PORT or EPRT, one by EPRT. An inside server: three by PASV or EPSV, one by EPSV.
      #expect(status.events["helper-opened"] == 4)
      let flows: [Flow] = try ask(gateway, ["flow", "list"])
      let controls = flows.filter { $0.original.destination.hasSuffix(":21") }.compactMap(\.helper)
      #expect(controls.count == 4 && flows.compactMap(\.helper).count == 4)
      #expect(controls.map { role.isServerInside ? $0.replyShift : $0.originalShift }.sorted() == role.shifts)
    }

    /// vsftpd with two files, `small` and `big`, gone with the body.
    private func withServer(
      _ rig: Rig, in place: LabNetwork.Place, isIPv6: Bool, _ body: (_ truth: [String]) throws -> Void
    ) throws {
      let folder = try rig.shell(place, "mktemp -d")
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let settings = """
        listen=\(isIPv6 ? "NO" : "YES")
        listen_ipv6=\(isIPv6 ? "YES" : "NO")
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
