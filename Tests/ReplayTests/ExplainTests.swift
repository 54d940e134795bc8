import Capture
import Engine
import Explain
import Foundation
import PacketTestKit
import Settings
import Testing

@testable import Replay

/// `sluice explain` names the right cause, at the right place of the configuration, and agrees with the engine always.
@Suite struct ExplainTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// The situation's configuration, and the explanation of its last frame.
  private func explain(_ situation: Situation) throws -> (text: String, report: ExplanationReport) {
    let (settings, replay, last) = try prepare(situation)
    var reports: [ExplanationReport] = []
    let run = ExplainRun(
      replay, settings: settings, choice: .numbers([last.number], interface: last.interface), limit: 10)
    let result = try run.run { reports.append($0) }
    #expect(result.failure == nil)
    return (situation.text, try #require(reports.first))
  }

  private func prepare(_ situation: Situation) throws -> (SettingsFile, ReplayRun, (interface: Int, number: Int)) {
    let settings = try SettingsFile(text: situation.text, file: "sluice.toml", purpose: .replay)
    var rig = try Rig(settings.plan)
    for frame in situation.frames { rig.receive(frame.packet, on: frame.interface, at: frame.second) }
    let interface = situation.frames.last!.interface
    let number = situation.frames.count { $0.interface == interface }
    let inputs = try rig.inputs().map { input in
      // The rig's directory goes with it.
      let path = directory("\(input.interface).pcap")
      try Data(contentsOf: URL(fileURLWithPath: input.path)).write(to: URL(fileURLWithPath: path))
      return ReplayInput(interface: input.interface, path: path)
    }
    let replay = ReplayRun(plan: settings.plan, inputs: inputs, outputDirectory: nil)
    return (settings, replay, (settings.plan.index(of: interface), number))
  }

  @Test(arguments: Situation.all) func `the right cause, and what would help`(situation: Situation) throws {
    let (text, report) = try explain(situation)
    #expect(report.cause == situation.cause, "\(report.text)")
    #expect(report.verdict == situation.verdict, "\(report.text)")
    for words in situation.says { #expect(report.conclusion.contains(words), "\(report.text)") }
    if let remedy = situation.remedy {
      let found = try #require(report.remedies.first { $0.text.contains(remedy.words) }, "\(report.text)")
      if !remedy.line.isEmpty {
        let line = try #require(
          text.split(separator: "\n", omittingEmptySubsequences: false).firstIndex { $0 == remedy.line })
        #expect(found.place == "sluice.toml:\(line + 1)", "\(report.text)")
      }
    } else if situation.verdict == "drop" {
      #expect(report.remedies.isEmpty, "\(report.text)")
    }
    // Nothing of it is lost on the way to tools.
    let json = try JSONEncoder().encode(report)
    #expect(try JSONDecoder().decode(ExplanationReport.self, from: json) == report)
    #expect(report.text.contains(report.conclusion))
  }

  @Test func `there are enough of them, and each is another one`() {
    #expect(Situation.all.count >= 20)
    #expect(Set(Situation.all.map(\.name)).count == Situation.all.count)
    #expect(Set(Situation.all.map(\.cause)).count >= 20)
  }

  @Test func `the whole ladder of a forwarded frame`() throws {
    let (_, report) = try explain(Situation.all.first { $0.name == "a narrower forward wins" }!)
    #expect(report.candidates.map(\.name) == ["narrow", "host", "web"])
    #expect(report.candidates.map(\.won) == [true, false, false])
    #expect(report.candidates[1].text.contains("\"narrow\" is narrower"))
    #expect(report.steps.map(\.stage).contains("neighbour") && report.steps.allSatisfy { $0.outcome == "passed" })
    let session = try #require(report.session)
    #expect(session.isNew && session.rule == "narrow" && session.state == "opening" && session.remainingSeconds > 60)
    #expect(session.original.destination == "203.0.113.5:80" && session.reply.source == "192.168.1.10:80")
    #expect(report.changes.contains { $0.field == "ipv4 time to live" && $0.before == "64" && $0.after == "63" })
    #expect(report.changes.contains { $0.field == "ipv4 destination" && $0.after == "192.168.1.10" })
    let hop = try #require(report.nextHop)
    #expect(hop.address == "192.168.1.10" && hop.mac == "02:00:00:00:02:10" && hop.state == "permanent")
    #expect(report.headers.contains { $0.name == "tcp destination port" && $0.value == "80" })
  }

  @Test func `a trigger as a candidate: who has it, for how long, and what a second host gets`() throws {
    let (_, open) = try explain(Situation.all.first { $0.name == "a trigger that is open" }!)
    let game = try #require(open.candidates.first { $0.name == "game" })
    #expect(game.won && game.text.contains("192.168.1.10 has it, and for 500 s more"), "\(open.text)")
    #expect(open.session?.rule == "game" && open.session?.original.destination == "203.0.113.1:6881")
    let (text, closed) = try explain(Situation.all.first { $0.name == "a trigger that has closed" }!)
    let line = try #require(
      text.split(separator: "\n", omittingEmptySubsequences: false).firstIndex(of: "when = \"6112\""))
    let loser = try #require(closed.candidates.first { $0.name == "game" })
    #expect(!loser.won && loser.text.contains("for 600 s") && loser.place == "sluice.toml:\(line + 1)")
    let (_, aside) = try explain(Situation.all.first { $0.name == "a trigger that stands aside for a mapping" }!)
    let second = try #require(aside.candidates.first { $0.name == "game" })
    #expect(!second.won && second.text.contains("192.168.1.11 has it") && second.text.contains("belongs to a mapping"))
    let (_, refused) = try explain(.contested)
    #expect(
      refused.steps.contains { $0.text == "trigger \"game\" is not opened: 192.168.1.10 has it, for 400 s more" },
      "\(refused.text)")
  }

  @Test(arguments: [
    ("an endpoint that a helper tells otherwise", "192.168.1.10:51210 is told as a port of 203.0.113.1"),
    ("an endpoint that is another's", "192.168.1.11:51210 stays as it is: its address is not its sender's"),
    ("a command cut in two", "a line that goes on in another segment is not read"),
    ("a connection that a helper expects", "192.168.1.10:51210 was announced to 198.51.100.7"),
    ("a segment before its turn", "reads in order"),
  ])
  func `what a helper makes of it`(name: String, words: String) throws {
    let (_, report) = try explain(try #require(Situation.helpers.first { $0.name == name }))
    #expect(report.steps.contains { $0.text.hasPrefix("helper ftp") && $0.text.contains(words) }, "\(report.text)")
  }

  @Test func `what the engine makes is told`() throws {
    let (_, report) = try explain(Situation.all.first { $0.name == "the target does not answer ARP" }!)
    #expect(report.made.map(\.text) == ["ARP request for 192.168.1.20 from 192.168.1.1"])
  }

  /// Every frame of every public capture: the survey foresees what the engine then does, in so far as it can be foreseen,
  /// and being asked changes nothing.
  @Test(.enabled(if: Corpus.shared != nil, "no ../shared/corpus"), arguments: ["lan", "wan"])
  func `every frame of the corpus`(name: String) throws {
    let corpus = try #require(Corpus.shared)
    let settings = try SettingsFile(text: Self.corpusConfiguration, file: "sluice.toml", purpose: .replay)
    let unforeseeable: Set<String> = [
      "no-port", "table-full", "session-limit", "port-limit", "half-open-limit", "outbox-full", "neighbor-queue-full",
      "neighbor-table-full", "fragment",
      "fragment-overlap",
      "fragment-limit", "malformed-arp",
    ]
    var explained = 0
    for file in corpus.files {
      let path = try corpus.open(file, into: directory)
      let plan = settings.plan
      var run = ReplayRun(
        plan: plan, inputs: [.init(interface: plan.index(of: name), path: path)], outputDirectory: directory("plain"))
      run.takesEveryFrame = true
      run.map = [try AddressRule("0.0.0.0/1=10.203.2.2"), try AddressRule("128.0.0.0/1=51.77.2.2")]
      guard let plain = try? run.run() else { continue }
      run.outputDirectory = directory("watched")
      let observer = Foresight()
      let watched = try run.run { _ in observer }
      for interface in plan.interfaces {
        #expect(
          try directory.read("plain/\(interface.name).pcap") == directory.read("watched/\(interface.name).pcap"),
          "\(file)")
      }
      #expect(plain.report.drops == watched.report.drops, "\(file)")
      let wrong = observer.surprises.filter { !unforeseeable.contains($0.reason) }
      #expect(wrong.isEmpty, "\(file): \(wrong.prefix(3))")
      explained += observer.count
    }
    #expect(explained > 10_000)
  }

  static let corpusConfiguration = """
    [engine]
    sessions = 4096

    [interface.wan]
    role = "outside"
    device = "eth0"
    address = ["51.78.0.1/16"]
    gateway = ["51.78.0.254"]
    mac = "02:00:00:00:01:01"

    [interface.lan]
    role = "inside"
    device = "eth1"
    address = ["10.203.0.1/16"]
    mac = "02:00:00:00:02:01"

    [[neighbor]]
    address = "51.78.0.254"
    mac = "02:00:00:00:01:fe"

    [[forward]]
    name = "all"
    protocol = "any"
    on = "wan"
    ports = "all"
    to = "10.203.1.0"

    [[masquerade]]
    from = "lan"
    to = "wan"
    """
}

/// Explains every frame and notes where the survey said something else than the engine.
final class Foresight: ReplayObserver {
  struct Surprise { var number: Int, foreseen: String, reason: String }

  var surprises: [Surprise] = []
  var count = 0
  var isDone: Bool { false }

  func judge(_ slot: UnsafeMutablePointer<FrameSlot>, number: Int, with forwarder: inout Forwarder) {
    let account = forwarder.explain(slot)
    count += 1
    let reason = account.verdict == .drop ? account.reason : .none
    if account.foreseen != reason {
      surprises.append(Surprise(number: number, foreseen: account.foreseen.name, reason: reason.name))
    }
  }

  func timersFired(_ forwarder: borrowing Forwarder) {}
}
