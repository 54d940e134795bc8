import Engine
import Explain
import Foundation
import PacketTestKit
import Settings
import Testing

@testable import Replay

/// `sluice explain` of IPv6: the ladder, and that it agrees with the engine always.
@Suite struct Explain6Tests {
  private static let (host, other): (Host6, Host6) = ("2001:db8:2::10", "2001:db8:2::11")
  private static let (server, second): (Host6, Host6) = ("2001:db8:f::7", "2001:db8:f::8")
  private static let (router, wan): (Host6, Host6) = ("2001:db8:1::fe", "2001:db8:1::1")
  private static let macs: [String: Station] = ["wan": "02:00:00:00:01:01", "lan": "02:00:00:00:02:01"]

  private static let configuration = """
    [interface.wan]
    role = "outside"
    address = "2001:db8:1::1/64"
    gateway = "2001:db8:1::fe"
    mac = "02:00:00:00:01:01"

    [interface.lan]
    role = "inside"
    address = ["2001:db8:2::1/64", "fd01:203:405:1::1/64"]
    mac = "02:00:00:00:02:01"
    mtu = 1400

    [[neighbor]]
    address = "2001:db8:1::fe"
    mac = "\(Station.of6(router))"

    [[neighbor]]
    address = "2001:db8:2::10"
    mac = "\(Station.of6(host))"

    [[route]]
    destination = "2001:db8:78::/48"
    via = "2001:db8:2::12"

    [[prefix-translation]]
    on = "wan"
    inside = "fd01:203:405::/48"
    outside = "2001:db8:b::/48"

    [[forward]]
    name = "pinhole"
    protocol = "tcp"
    on = "wan"
    ports = "80, 8000-8010"
    to = "2001:db8:2::10"
    deny = "2001:db8:f::8"

    [[forward]]
    name = "web"
    protocol = "tcp"
    external = "2001:db8:1::1"
    ports = "8080"
    to = "[2001:db8:2::10]:80"

    [[masquerade]]
    from = "lan"
    to = "wan"
    external = "2001:db8:1::1"

    """

  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private typealias Frame = (datagram: Datagram6, interface: String)

  /// A replay of these frames, a millisecond apart.
  private func replay(_ frames: [Frame], _ settings: SettingsFile) throws -> ReplayRun {
    let inputs = try ["wan", "lan"].map { interface in
      let records = frames.enumerated().filter { $1.interface == interface }.map { index, frame in
        let sender = interface == "wan" ? Self.router : frame.datagram.source
        return CaptureBytes.Record(
          frame.datagram.frame(from: .of6(sender), to: Self.macs[interface]!),
          seconds: 1_700_000_000 + UInt64(index / 1000), fraction: UInt32(index % 1000 * 1_000_000 + 1))
      }
      let path = directory("\(interface).pcap")
      try Data(CaptureBytes.pcap(records)).write(to: URL(fileURLWithPath: path))
      return ReplayInput(interface: settings.plan.index(of: interface), path: path)
    }
    return ReplayRun(plan: settings.plan, inputs: inputs, outputDirectory: nil)
  }

  /// The explanation of the last of these frames.
  private func explain(_ frames: [Frame]) throws -> ExplanationReport {
    let settings = try SettingsFile(text: Self.configuration, file: "sluice.toml", purpose: .replay)
    let last = frames.last!.interface
    let run = ExplainRun(
      try replay(frames, settings), settings: settings,
      choice: .numbers([frames.count { $0.interface == last }], interface: settings.plan.index(of: last)), limit: 10)
    var reports: [ExplanationReport] = []
    let result = try run.run { reports.append($0) }
    #expect(result.failure == nil)
    return try #require(reports.first)
  }

  // MARK: The ladder

  @Test func `a packet through a pinhole: session, rule, way and next hop`() throws {
    let report = try explain([(.tcp(Self.server, 4000, Self.host, 80, .syn), "wan")])
    #expect(report.verdict == "forward" && report.cause == "forwarded", "\(report.text)")
    let session = try #require(report.session)
    #expect(session.isNew && session.rule == "pinhole" && session.original.destination == "[2001:db8:2::10]:80")
    #expect(report.nextHop?.address == "2001:db8:2::10" && report.nextHop?.mac == "\(Station.of6(Self.host))")
    #expect(report.candidates.contains { $0.name == "pinhole" && $0.won })
    #expect(report.steps.map(\.stage).contains("mtu") && report.text.contains("hop limit 64 becomes 63"))
    #expect(report.changes.contains { $0.field == "ipv6 hop limit" && $0.after == "63" }, "\(report.text)")
  }

  @Test func `a next hop has the line that names it: a route, a gateway, an interface's address`() throws {
    let lines = Self.configuration.split(separator: "\n", omittingEmptySubsequences: false)
    func place(_ line: String) -> String? { lines.firstIndex { $0 == line }.map { "sluice.toml:\($0 + 1)" } }
    for (target, line) in [
      ("2001:db8:78::1", "[[route]]"), (Self.server, "gateway = \"2001:db8:1::fe\""),
      (Self.other, "address = [\"2001:db8:2::1/64\", \"fd01:203:405:1::1/64\"]"),
    ] as [(Host6, String)] {
      let report = try explain([(.udp(Self.host, 1, target, 2), "lan")])
      #expect(report.nextHop?.place != nil && report.nextHop?.place == place(line), "\(report.text)")
    }
  }

  @Test func `masquerade, its mapping, and who it keeps out`() throws {
    let out: Frame = (.udp(Self.host, 5000, Self.server, 53), "lan")
    let report = try explain([out])
    #expect(report.text.contains("masqueraded from lan to wan as 2001:db8:1::1"), "\(report.text)")
    #expect(report.session?.reply.destination == "[2001:db8:1::1]:5000", "\(report.text)")
    let refused = try explain([out, (.udp(Self.second, 53, Self.wan, 5000), "wan")])
    #expect(refused.cause == "filtered" && refused.conclusion.contains("the mapping of [2001:db8:2::10]:5000"))
    let remedy = try #require(refused.remedies.first)
    let line = Self.configuration.split(separator: "\n", omittingEmptySubsequences: false)
      .firstIndex { $0 == "[[masquerade]]" }
    #expect(
      remedy.text.contains("let [2001:db8:2::10]:5000 send to \(Self.second) first")
        && remedy.place == "sluice.toml:\(line! + 1)", "\(refused.text)")
    let inside = try explain([out, (.udp(Self.server, 54, Self.wan, 5000), "wan")])
    #expect(inside.text.contains("the mapping of [2001:db8:2::10]:5000 lets 2001:db8:f::7 in"), "\(inside.text)")
    let answer = try explain([out, (.udp(Self.server, 53, Self.wan, 5000), "wan")])
    #expect(answer.session?.isNew == false && answer.text.contains("in its reply direction"), "\(answer.text)")
  }

  @Test(
    arguments: [
      (Datagram6.tcp(server, 1, host, 81, .syn), "wan", "no-forward", "add 81 to ports"),
      (.udp(server, 1, host, 80), "wan", "no-forward", "tcp+udp"),
      (.tcp(server, 1, wan, 8081, .syn), "wan", "no-forward", "add 8081 to ports"),
      (.tcp(second, 1, host, 80, .syn), "wan", "not-allowed", "let 2001:db8:f::8 use it"),
      (.udp(server, 1, "2001:db8:f::9", 80), "wan", "outside-to-outside", ""),
      (.udp(server, 1, "fd01:203:405:1::5", 80), "wan", "inside-from-outside", "the address that is translated"),
      (.udp(host, 1, server, 2).with { $0.hopLimit = 1 }, "lan", "ttl-exceeded", "larger hop limit"),
      (.udp("2001:db8:9::1", 1, server, 2), "lan", "martian", "add a [[route]]"),
      (.udp(wan, 1, server, 2), "lan", "martian", ""),
      (.ping(server, wan), "wan", "to-us", "set ping = true"),
      (.tcp(host, 80, server, 1, [.syn, .ack]), "lan", "tcp-not-syn", "both directions"),
      (Datagram6(host, server, 50, [1, 2, 3, 4]), "lan", "unknown-protocol", ""),
      (.udp("fd01:203:405:ffff::1", 1, server, 2), "lan", "martian", ""),
      (.icmp(host, server, type: 1, code: 0, 0, [UInt8](repeating: 0, count: 48)), "lan", "icmp-unmatched", ""),
      (.icmp(host, server, type: 133), "lan", "icmp-unsupported", ""),
      (.ping(server, wan, isAnswer: true), "wan", "icmp-unmatched", ""),
      (
        .udp(host, 1, server, 2).with { $0.extensions = [(43, [0, 0, 1, 0, 0, 0, 0])] }, "lan", "source-route", ""
      ),
    ] as [(Datagram6, String, String, String)])
  func `the right cause, and what would help`(
    _ one: (datagram: Datagram6, interface: String, cause: String, remedy: String)
  ) throws {
    let report = try explain([(one.datagram, one.interface)])
    #expect(report.verdict == "drop" && report.cause == one.cause, "\(report.text)")
    if !one.remedy.isEmpty {
      #expect(report.remedies.contains { $0.text.contains(one.remedy) }, "\(report.text)")
    }
  }

  @Test func `a way that answers nobody, and an MTU that is too small`() throws {
    let held = try explain([(.udp(Self.server, 1, Self.wan, 5000), "wan"), (.udp(Self.host, 1, Self.router, 2), "lan")])
    #expect(held.verdict == "forward", "\(held.text)")
    let web: Frame = (.tcp(Self.server, 4000, Self.host, 80, .syn), "wan")
    let large = Datagram6.tcp(
      Self.server, 4000, Self.host, 80, .ack, sequence: 1001, acknowledgment: 1, String(repeating: "x", count: 1350))
    let report = try explain([web, (large, "wan")])
    #expect(report.cause == "frag-needed" || report.cause == "fragmentation-needed", "\(report.text)")
    #expect(report.remedies.contains { $0.text.contains("packet too big") })
  }

  // MARK: Foresight

  private static let unforeseeable: Set<String> = [
    "no-port", "table-full", "session-limit", "port-limit", "half-open-limit", "outbox-full", "neighbor-queue-full",
    "neighbor-table-full", "fragment", "fragment-overlap", "fragment-limit", "malformed-arp", "session-cut",
  ]

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `random traffic: what the survey foresees is what the engine does`(seed: UInt64) throws {
    var random = Dice(state: seed)
    func pick<T>(_ all: [T]) -> T { all[Int(random.next() % UInt64(all.count))] }
    let insides: [Host6] = [
      Self.host, Self.other, "fd01:203:405:1::5", "fd01:203:405:ffff::5", "2001:db8:2::1", "2001:db8:77::1",
    ]
    let outsides: [Host6] = [Self.server, Self.second, Self.router, Self.wan, "2001:db8:b::5", "2001:db8:b:d546::5"]
    let frames: [Frame] = (0..<1500).map { _ in
      let interface = pick(["lan", "wan"])
      let inner = interface == "lan" || random.next() % 3 == 0
      let target = interface == "lan" ? pick(outsides + [Self.host]) : pick(insides + [Self.wan, Self.wan])
      let source = interface == "lan" ? pick(insides) : inner ? pick(outsides) : pick([Self.server, Self.second])
      let ports: [UInt16] = [80, 8005, 8080, 5000, 5001]
      let (from, to) = (pick(ports), pick(ports))
      var datagram: Datagram6
      switch random.next() % 8 {
      case 0, 1, 2: datagram = .udp(source, from, target, to)
      case 3: datagram = .tcp(source, from, target, to, pick([.syn, .ack, [.syn, .ack], .rst]))
      case 4: datagram = .ping(source, target, from, isAnswer: random.next() % 2 == 0)
      case 5:
        let quoted = Datagram6.udp(target, to, source, from).bytes
        datagram = .icmp(source, target, type: pick([1, 2, 3]), code: 0, 1400, quoted)
      case 6: datagram = Datagram6(source, target, pick([50, 47]), [1, 2, 3, 4])
      default: datagram = .udp(source, from, target, to, String(repeating: "y", count: 1380))
      }
      if random.next() % 16 == 0 { datagram.hopLimit = 1 }
      if random.next() % 16 == 0 { datagram.extensions = [(60, [0, 1, 4, 0, 0, 0, 0])] }
      return (datagram, interface)
    }
    let settings = try SettingsFile(text: Self.configuration, file: "sluice.toml", purpose: .replay)
    let observer = Foresight()
    let result = try replay(frames, settings).run { _ in observer }
    #expect(result.failure == nil && observer.count == frames.count)
    let wrong = observer.surprises.filter { !Self.unforeseeable.contains($0.reason) }
    #expect(wrong.isEmpty, "\(wrong.prefix(5))")
  }

  @Test(.enabled(if: Corpus.shared != nil, "no ../shared/corpus"), arguments: ["lan", "wan"])
  func `every frame of the corpus`(name: String) throws {
    let corpus = try #require(Corpus.shared)
    // What is inside comes from everywhere, so that more of it goes on.
    let text =
      Self.configuration + (name == "lan" ? "[[route]]\ndestination = \"::/0\"\nvia = \"2001:db8:2::10\"\n" : "")
    let settings = try SettingsFile(text: text, file: "sluice.toml", purpose: .replay)
    var explained = 0
    for file in corpus.files {
      let path = try corpus.open(file, into: directory)
      var run = ReplayRun(
        plan: settings.plan, inputs: [.init(interface: settings.plan.index(of: name), path: path)],
        outputDirectory: nil)
      run.takesEveryFrame = true
      let observer = Foresight()
      guard let result = try? run.run(observed: { _ in observer }), result.failure == nil else { continue }
      // Later pieces share the fate of the first one, and malformed discovery is the engine's to find.
      let wrong = observer.surprises.filter {
        !Self.unforeseeable.contains($0.reason)
          && !(["malformed-icmp", "to-us"].contains($0.reason) && $0.foreseen == "none")
      }
      #expect(wrong.isEmpty, "\(file): \(wrong.prefix(3))")
      explained += observer.count
    }
    #expect(explained > 5_000)
  }
}

/// Numbers that are the same for the same seed (Marsaglia's xorshift).
private struct Dice {
  var state: UInt64

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state >> 8
  }
}
