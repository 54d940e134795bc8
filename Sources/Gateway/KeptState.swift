import Engine
import Logging

/// The state file of a gateway that is starting, with room made for its tables.
struct KeptState {
  let file: StateFile
  let store: RegionStore

  /// Opens the file that is configured, or this network namespace's own; nil where the sessions are to be kept nowhere.
  ///
  /// Without room for the file that nobody has asked for, the gateway runs all the same.
  static func open(_ plan: Plan, _ options: GatewayOptions, _ logger: Logger) throws(GatewayError) -> KeptState? {
    let path = options.statePath ?? plan.state
    if path == "off" { return nil }
    let file = try StateFile(path: path ?? StateFile.defaultPath)
    do throws(GatewayError) {
      let bytes: Int
      do { bytes = try Forwarder.regionBytes(for: plan) } catch { throw GatewayError.failed("\(error)") }
      return KeptState(
        file: file, store: RegionStore(memory: try file.make(bytes: bytes), boot: StateFile.boot))
    } catch {
      if path != nil { throw error }
      logger.warning("sessions will not outlive this process: \(error)")
      return nil
    }
  }

  /// What an earlier gateway has left, if it can be used; says so where it cannot.
  func saved(_ logger: Logger) -> SavedRegion? {
    do {
      return try file.saved()
    } catch {
      logger.warning("\(file.path) is left aside, and no session goes on: \(error)")
      return nil
    }
  }

  /// Has the engine take over what an earlier gateway has left, and says what came of it.
  func adopt(_ saved: SavedRegion, into engines: inout CrewEngines, _ logger: Logger) {
    let report = engines.adopt(saved)
    logger.notice(
      """
      \(file.path): \(report.sessions) sessions and \(report.mappings) mappings go on, \(report.expired) are over, \
      \(report.refused) do not fit the configuration, \(report.damaged) are damaged
      """)
  }
}
