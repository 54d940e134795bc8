import ArgumentParser
import Capture
import Engine
import Replay
import Settings

/// What every command over captures takes: who receives which capture, and what is done to the frames before.
struct ReplayOptions: ParsableArguments {
  @Option(
    name: .customLong("in"),
    help: ArgumentHelp(
      "What interface IF receives: a pcap or pcapng file. Once for each interface that receives; merged by time.",
      valueName: "IF=PCAP"))
  var inputs: [String] = []

  @Option(help: "Settles every random choice.")
  var seed: UInt64 = 0

  @Flag(help: "Take every frame as sent to the interface that receives it.")
  var mac = false

  @Option(
    help: ArgumentHelp(
      "Change IPv4 addresses before the engine sees them: an address or prefix by another one, or a prefix by one "
        + "address. Repeatable, the first that matches wins.", valueName: "OLD=NEW"),
    transform: { text in
      do throws(AddressRule.Mistake) { return try AddressRule(text) } catch { throw ValidationError("\(error)") }
    })
  var map: [AddressRule] = []

  @Flag(help: "Take TCP over the MTU as a super-frame, and unfinished checksums as such.")
  var offloads = false

  @Option(help: ArgumentHelp("Only frames that match this libpcap filter, as in tcpdump.", valueName: "expression"))
  var filter: String?

  /// A replay of the captures by a configuration that was read from `config`.
  func run(_ settings: SettingsFile, config: String, outputDirectory: String?) throws -> ReplayRun {
    var replay = ReplayRun(
      plan: settings.plan, inputs: try receivers(settings.plan, config: config), outputDirectory: outputDirectory)
    replay.seed = seed
    replay.takesEveryFrame = mac
    replay.map = map
    replay.hasOffloads = offloads
    replay.filter = try captureFilter(filter)
    return replay
  }

  private func receivers(_ plan: Plan, config: String) throws -> [ReplayInput] {
    var list: [ReplayInput] = []
    for text in inputs {
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2, !parts[1].isEmpty else {
        throw Failure(.usage, "--in \"\(text)\" is not IF=PCAP, an interface and a capture file")
      }
      guard let index = plan.interfaces.firstIndex(where: { $0.name == parts[0] }) else {
        let names = plan.interfaces.map(\.name).joined(separator: ", ")
        throw Failure(.usage, "--in \(text): no interface \"\(parts[0])\" in \(config); there are: \(names)")
      }
      guard !list.contains(where: { $0.interface == index }) else {
        throw Failure(
          .usage, "--in \(text): interface \(parts[0]) has a capture already; merge the two first (mergecap)")
      }
      list.append(ReplayInput(interface: index, path: parts[1]))
    }
    guard !list.isEmpty else {
      throw Failure(.usage, "nothing to read; name a capture and the interface that receives it: --in IF=PCAP")
    }
    return list
  }
}

/// The filter that an option names.
func captureFilter(_ text: String?, option: String = "--filter") throws -> CaptureFilter? {
  guard let text else { return nil }
  do throws(CaptureFilter.Mistake) {
    return try CaptureFilter(text)
  } catch {
    throw Failure(.usage, "\(option) \"\(text)\" is no libpcap filter (pcap-filter(7)): \(error)")
  }
}

/// Runs what reads captures by a configuration, and gives what goes wrong its exit status.
func runReplay<Result>(_ settings: SettingsFile, _ body: () throws -> Result) throws -> Result {
  do {
    return try body()
  } catch ReplayError.noMAC(let links) {
    try settings.requireMACs(links: links)
    throw Failure(.usage, "\(ReplayError.noMAC(links: links))")
  } catch let error as ReplayError {
    throw Failure(.usage, "\(settings.path): \(error)")
  } catch let error as PlanError {
    if case .noMemory = error { throw Failure(.failed, "\(error)") }
    throw Failure(.usage, "\(settings.path): \(error)")
  } catch let error as CaptureError {
    throw Failure(.failed, "\(error)")
  }
}
