import PacketTestKit

/// The golden case of the FTP helper: a client inside that uses PORT, and a server inside that answers PASV. Texts and every
/// number are written down here as each side must see them; nothing of it is the engine's.
enum FTPCase {
  static let name = "ftp-tcp-helper"

  private static let wan: Host = "203.0.113.1"
  private static let host: Host = "192.168.1.10"
  private static let far: Peer = "198.51.100.7:21"
  private static let caller: Peer = "198.51.100.7:40000"

  static let configuration =
    "# \(name): written by FTPCase.swift.\n\n" + twoInterfaces
    + ["203.0.113.254", "192.168.1.10"].map { (host: Host) in
      "\n[[neighbor]]\naddress = \"\(host)\"\nmac = \"\(Station.of(host))\"\n"
    }.joined() + """

      [[forward]]
      name = "ftp"
      protocol = "tcp"
      on = "wan"
      ports = "21"
      to = "192.168.1.10"
      helper = "ftp"

      [[masquerade]]
      from = "lan"
      to = "wan"
      helper = "ftp"

      """

  static var files: GoldenFiles {
    GoldenFiles(
      configuration: configuration, steps: client + server, reason: "filtered",
      sessions: .init(created: 4, expired: 0, live: 4))
  }

  // MARK: The client inside: 26 bytes become 25

  private static let client: [GoldenFiles.Step] = [
    outward(.syn, 1000, 0),
    inward([.syn, .ack], 5000, 1001),
    outward(.ack, 1001, 5001),
    inward([.ack, .psh], 5001, 1001, "220 ready\r\n"),
    outward(
      [.ack, .psh], 1001, 5012, "PORT 192,168,1,10,200,10\r\n", becomes: "PORT 203,0,113,1,200,10\r\n", at: 1001),
    // The server has one byte less.
    inward([.ack, .psh], 5012, 1026, "200 ok\r\n", becomes: 1027),
    // Sent again, the same leaves.
    outward(
      [.ack, .psh], 1001, 5012, "PORT 192,168,1,10,200,10\r\n", becomes: "PORT 203,0,113,1,200,10\r\n", at: 1001),
    step(
      .tcp("198.51.100.7:20", Peer(wan, 51_210), .syn, sequence: 7), "wan",
      .tcp("198.51.100.7:20", Peer(host, 51_210), .syn, sequence: 7)),
    step(
      .tcp(Peer(host, 51_210), "198.51.100.7:20", [.syn, .ack], sequence: 9, acknowledgment: 8), "lan",
      .tcp(Peer(wan, 51_210), "198.51.100.7:20", [.syn, .ack], sequence: 9, acknowledgment: 8)),
    // It is open for the server alone.
    step(.tcp("198.51.100.99:20", Peer(wan, 51_210), .syn), "wan", nil),
    outward([.ack, .psh], 1027, 5020, "QUIT\r\n", becomes: "QUIT\r\n", at: 1026),
    inward([.fin, .ack], 5020, 1032, becomes: 1033),
  ]

  private static func outward(
    _ flags: TCPHeader.Flags, _ sequence: UInt32, _ got: UInt32, _ text: String = "", becomes new: String = "",
    at place: UInt32? = nil
  ) -> GoldenFiles.Step {
    step(
      .tcp(Peer(host, 5000), far, flags, sequence: sequence, acknowledgment: got, text), "lan",
      .tcp(Peer(wan, 5000), far, flags, sequence: place ?? sequence, acknowledgment: got, new))
  }

  private static func inward(
    _ flags: TCPHeader.Flags, _ sequence: UInt32, _ got: UInt32, _ text: String = "",
    becomes acknowledged: UInt32? = nil
  ) -> GoldenFiles.Step {
    step(
      .tcp(far, Peer(wan, 5000), flags, sequence: sequence, acknowledgment: got, text), "wan",
      .tcp(far, Peer(host, 5000), flags, sequence: sequence, acknowledgment: acknowledged ?? got, text))
  }

  // MARK: The server inside: 52 bytes become 51

  private static let server: [GoldenFiles.Step] = [
    asks(.syn, 2000, 0),
    answers([.syn, .ack], 8000, 2001, at: 8000),
    asks(.ack, 2001, 8001),
    asks([.ack, .psh], 2001, 8001, "PASV\r\n"),
    answers(
      [.ack, .psh], 8001, 2007, "227 Entering Passive Mode (192,168,1,10,200,11).\r\n",
      becomes: "227 Entering Passive Mode (203,0,113,1,200,11).\r\n", at: 8001),
    asks(.ack, 2007, 8050, becomes: 8051),
    step(
      .tcp("198.51.100.7:40001", Peer(wan, 51_211), .syn, sequence: 7), "wan",
      .tcp("198.51.100.7:40001", Peer(host, 51_211), .syn, sequence: 7)),
    answers([.ack, .psh], 8051, 2007, "150 here\r\n", becomes: "150 here\r\n", at: 8050),
  ]

  private static func asks(
    _ flags: TCPHeader.Flags, _ sequence: UInt32, _ got: UInt32, _ text: String = "",
    becomes acknowledged: UInt32? = nil
  ) -> GoldenFiles.Step {
    step(
      .tcp(caller, Peer(wan, 21), flags, sequence: sequence, acknowledgment: got, text), "wan",
      .tcp(caller, Peer(host, 21), flags, sequence: sequence, acknowledgment: acknowledged ?? got, text))
  }

  private static func answers(
    _ flags: TCPHeader.Flags, _ sequence: UInt32, _ got: UInt32, _ text: String = "", becomes new: String = "",
    at place: UInt32
  ) -> GoldenFiles.Step {
    step(
      .tcp(Peer(host, 21), caller, flags, sequence: sequence, acknowledgment: got, text), "lan",
      .tcp(Peer(wan, 21), caller, flags, sequence: place, acknowledgment: got, new))
  }

  private static func step(_ packet: Packet, _ interface: String, _ result: Packet?) -> GoldenFiles.Step {
    let isInward = interface == "wan"
    let (outside, inside) = (Station.of("203.0.113.254"), Station.of(host))
    return GoldenFiles.step(
      packet, interface, from: isInward ? outside : inside, result?.with { $0.ip.ttl -= 1 }, isInward ? "lan" : "wan",
      to: isInward ? inside : outside)
  }
}
