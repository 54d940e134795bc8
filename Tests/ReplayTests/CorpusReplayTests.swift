import Capture
import Engine
import PacketTestKit
import Testing

@testable import Replay

/// Every public capture through the gateway, in several roles, with the invariants of the engine checked from scratch.
@Suite(.enabled(if: Corpus.shared != nil, "no ../shared/corpus")) struct CorpusReplayTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private struct Tally {
    var wellFormed = 0
    var forwarded = 0
    var files = 0
    var share: Double { Double(forwarded) / Double(max(1, wellFormed)) }
  }

  @Test(arguments: CorpusRole.Side.allCases)
  func `most frames find their way, and every invariant holds`(side: CorpusRole.Side) throws {
    let corpus = try #require(Corpus.shared)
    var tally = Tally()
    for file in corpus.files {
      let path = try corpus.open(file, into: directory)
      guard (try? CaptureReader(path: path)) != nil else { continue }
      let played = try play(path, as: side, file)
      let wellFormed = played.inputs.map { Decoded($0.bytes, isRawIP: played.isRawIP).isWellFormedUnicast }
      let forwarded = played.finding.pairs.count { wellFormed[$0.input] }
      tally.wellFormed += wellFormed.count { $0 }
      tally.forwarded += forwarded
      tally.files += forwarded > 0 ? 1 : 0
    }
    #expect(tally.share >= 0.6, "forwarded \(tally.forwarded) of \(tally.wellFormed) well-formed unicast frames")
    #expect(tally.files >= 100, "\(tally.files) files forward something")
  }

  /// One capture split into what the originators sent and what they were answered, and both replayed.
  private func play(
    _ path: String, as side: CorpusRole.Side, _ file: Corpus.File
  ) throws -> (inputs: [CapturedBytes], finding: Invariants.Finding, isRawIP: Bool) {
    let link = try CaptureReader(path: path).link
    let isRawIP = link == .rawIP
    let frames = try Played.frames(path, on: "")
    let decoded = frames.map { Decoded($0.bytes, isRawIP: isRawIP) }
    let role = CorpusRole(side, frames: decoded)
    #expect(role.clashes.isEmpty, "\(file)")
    let forward = zip(frames, decoded).filter { role.isForward($1) }.map(\.0)
    let answer = zip(frames, decoded).filter { !role.isForward($1) }.map(\.0)
    try write(forward, link, [], directory("forward"))
    try write(answer, link, role.answerMap, directory("answer"))
    let plan = role.plan
    var run = ReplayRun(
      plan: plan,
      inputs: [
        ReplayInput(interface: plan.index(of: role.interfaces.forward), path: directory("forward")),
        ReplayInput(interface: plan.index(of: role.interfaces.answer), path: directory("answer")),
      ], outputDirectory: nil)
    run.takesEveryFrame = true
    run.map = role.map
    run.end = .idle
    let played = try Played(run, in: directory)
    var invariants = role.invariants
    if isRawIP { invariants.rawIP = ["lan", "wan"] }
    let finding = invariants.check(inputs: played.inputs, outputs: played.outputs)
    let problems = finding.problems + played.counterProblems(finding, isIdle: true)
    #expect(problems.isEmpty, "\(file) as \(side): \(problems.prefix(3).joined(separator: "\n"))")
    return (played.inputs, finding, isRawIP)
  }

  private func write(_ frames: [CapturedBytes], _ link: CaptureLink, _ map: [AddressRule], _ path: String) throws {
    let writer = try CaptureWriter(path: path, link: link)
    let edit = InputEdit(map: map.isEmpty ? nil : AddressMap(map), isEthernet: link == .ethernet)
    for frame in frames {
      var bytes = frame.bytes
      try bytes.withUnsafeMutableBytes { buffer in
        guard let start = buffer.baseAddress else { return }
        var slot = FrameSlot(bytes: start, length: buffer.count, headroom: 0, link: 0, time: frame.time)
        edit.apply(to: &slot)
        try writer.append(start, length: buffer.count, time: frame.time)
      }
    }
    try writer.finish()
  }

  /// The whole file into one interface, as it stands: little of it fits, nothing of it may do harm. Damaged files are played up
  /// to the damage, which the result names.
  @Test(arguments: ["lan", "wan"]) func `whole captures into one interface`(name: String) throws {
    let corpus = try #require(Corpus.shared)
    var failures = 0
    for file in corpus.files {
      var plan = CorpusRole.network
      plan.neighbor("51.78.0.254")
      plan.masquerade()
      plan.forward("all", [.tcp, .udp, .echo], ports: "all", to: "10.203.1.0")
      let path = try corpus.open(file, into: directory)
      let inputs = [ReplayInput(interface: plan.index(of: name), path: path)]
      var run = ReplayRun(plan: plan, inputs: inputs, outputDirectory: nil)
      run.takesEveryFrame = true
      run.end = .idle
      let played = try Played(run, in: directory)
      var invariants = Invariants(
        ownAddresses: [CorpusRole.gateway, "10.203.0.1"], hidden: [Host("10.203.0.0")...Host("10.203.255.255")],
        outside: ["wan"])
      if (try? CaptureReader(path: path))?.link == .rawIP { invariants.rawIP = [name] }
      let finding = invariants.check(inputs: played.inputs, outputs: played.outputs)
      let isWhole = played.result.failure == nil
      let problems = finding.problems + played.counterProblems(finding, isIdle: isWhole)
      #expect(problems.isEmpty, "\(file) into \(name): \(problems.prefix(3).joined(separator: "\n"))")
      if file.isDamaged { #expect(!isWhole, "\(file)") }
      if !isWhole { failures += 1 }
    }
    #expect(failures > 0)
  }

  @Test func `the size of bursts and the run have no influence on a byte`() throws {
    let corpus = try #require(Corpus.shared)
    for file in corpus.files where file.frames < 300 {
      var plan = CorpusRole.network
      plan.masquerade()
      plan.forward("all", [.tcp, .udp, .echo], ports: "all", to: "10.203.1.0")
      let path = try corpus.open(file, into: directory)
      var run = ReplayRun(plan: plan, inputs: [.init(interface: 1, path: path)], outputDirectory: nil)
      run.takesEveryFrame = true
      // Every address becomes an inside one but one half, which is the world: many sessions, many drops.
      run.map = [try AddressRule("0.0.0.0/1=10.203.2.2"), try AddressRule("128.0.0.0/1=51.77.2.2")]
      run.end = .after(nanoseconds: 300_000_000_000)
      let reference = try Played(run, in: directory, "reference")
      for burst in [1, 7, 32] {
        run.burstFrames = burst
        let played = try Played(run, in: directory)
        #expect(played.files == reference.files, "\(file) in bursts of \(burst)")
        #expect(played.result.report.interfaces == reference.result.report.interfaces, "\(file)")
        #expect(played.result.report.sessions == reference.result.report.sessions, "\(file)")
      }
    }
  }
}
