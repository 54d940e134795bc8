import Engine
import PacketIO
import Settings

/// Why a running gateway keeps what it has.
struct Refusal: Error {
  /// One line for each thing that is wrong.
  var mistakes: [String]
}

// Another configuration in the place of the one that runs: checked as a whole first, taken over between two bursts, or
// refused as a whole.
extension GatewayRun {
  /// Reads the file again and takes it over. False where it says what it said before.
  mutating func reload() throws(Refusal) -> Bool { try takeOver(reread()) }

  private func reread() throws(Refusal) -> SettingsFile {
    do {
      return try options.reread?() ?? settings
    } catch let errors as SettingsErrors {
      throw Refusal(mistakes: errors.messages)
    } catch {
      throw Refusal(mistakes: ["\(error)"])
    }
  }

  /// What the plan of `new` would be, if a running gateway can take it over.
  private func candidate(_ new: SettingsFile) throws(Refusal) -> CompletePlan {
    var next: CompletePlan
    do {
      next = try CompletePlan(new, running: complete)
    } catch {
      throw Refusal(mistakes: ["\(error)"])
    }
    let changes = next.plan.fixedChanges(from: complete.plan)
    guard changes.isEmpty else { throw Refusal(mistakes: changes.map { Self.restart($0, new, complete.plan) }) }
    for link in next.links.links where !complete.links.links.contains(where: { $0.device.index == link.device.index }) {
      throw Refusal(mistakes: ["device \(link.device.name) is not the one of the start any more; restart needed"])
    }
    next.plan = next.plan.arranged(like: complete.plan)
    next.links = complete.links
    return next
  }

  /// Where a part stands that only a restart can change, and why.
  private static func restart(_ part: Plan.FixedPart, _ new: SettingsFile, _ old: Plan) -> String {
    let error =
      switch part {
      case .engine(let key):
        new.error(at: .key(of: .engine, key), "restart needed: \(key) is another one in the running gateway")
      case .interface(let index, let key):
        new.error(
          at: .key(of: .interface(index), key),
          "restart needed: \(key) of interface \(new.plan.interfaces[index].name) is another one in the running gateway"
        )
      case .forward(let index, let key):
        new.error(at: .key(of: .forward(index), key), "restart needed: the running gateway began without a \(key)")
      case .masquerade(let index, let key):
        new.error(at: .key(of: .masquerade(index), key), "restart needed: the running gateway began without a \(key)")
      case .newInterface(let index):
        new.error(
          at: .interface(index),
          "restart needed: the running gateway has no interface \(new.plan.interfaces[index].name)")
      case .missingInterface(let name):
        new.error(
          at: .interface(0), "restart needed: the running gateway has an interface \(name), which is missing here")
      }
    return "\(error)"
  }

  /// Takes over another configuration: all of it, or nothing. False where it means what runs already.
  ///
  /// The host is kept from what either configuration takes, until the engine has changed over.
  mutating func takeOver(_ new: SettingsFile) throws(Refusal) -> Bool {
    let next = try candidate(new)
    guard next.plan != complete.plan else {
      settings = new
      return false
    }
    let before = quieting.rules
    let after = QuietingRules.rules(for: next.plan, links: next.links)
    do {
      try quieting.replace(zip(before, after).map { $0.union($1) })
    } catch {
      putBack(before)
      throw Refusal(mistakes: ["\(error)"])
    }
    if let refusal = crew.replace(next.plan) {
      putBack(before)
      throw Refusal(mistakes: ["restart needed: \(refusal)"])
    }
    settings = new
    complete = next
    do { try quieting.replace(after) } catch { logger.error("\(error)") }
    return true
  }

  private func putBack(_ rules: [QuietingRules]) {
    do { try quieting.replace(rules) } catch { logger.error("\(error)") }
  }

  /// An automatic interface follows the addresses of its device.
  mutating func followAddresses() {
    do {
      guard try takeOver(settings) else { return }
      for interface in complete.plan.interfaces where interface.isAutomatic {
        let list = interface.addresses.map(\.description).joined(separator: ", ")
        logger.notice("interface \(interface.name) has the addresses of its device: \(list.isEmpty ? "none" : list)")
      }
    } catch {
      for mistake in error.mistakes { logger.error("addresses have changed, and are not followed: \(mistake)") }
    }
  }

  // MARK: What clients ask

  /// What a reload would do to each live session; the worker stands still for a part of the table at a time.
  mutating func forecast(limit: Int) throws(Refusal) -> ForecastReport {
    let next = try candidate(reread())
    var report = ForecastReport(changed: next.plan != complete.plan)
    let rules: Rules
    do { rules = try Rules(next.plan) } catch { throw Refusal(mistakes: ["\(error)"]) }
    defer { rules.release() }
    var kept: [ForecastReport.Session] = []
    let places = crew.demand(.report(sessionLimit: 0)).places
    for start in stride(from: 0, to: places, by: 4096) {
      let part = crew.demand(.forecast(rules, places: start..<min(start + 4096, places)))
      for forecast in part.forecasts {
        switch forecast.fate {
        case .kept: report.kept += 1
        case .retargeted: report.retargeted += 1
        case .cut: report.cut += 1
        }
        let list = forecast.fate == .kept ? kept.count : report.sessions.count
        guard list < limit else { continue }
        let session = ForecastReport.Session(
          fate: forecast.fate.rawValue, flow: FlowReport(forecast.session, complete.plan))
        if forecast.fate == .kept { kept.append(session) } else { report.sessions.append(session) }
      }
    }
    report.sessions += kept.prefix(limit - report.sessions.count)
    return report
  }

  /// Answers what changes something, or asks what a change would do.
  mutating func answerChange(_ request: ControlRequest, limit: Int) -> ControlAnswer {
    do {
      switch request.command {
      case .reload: return ControlAnswer(reload: ReloadReport(changed: try reloadLogged()))
      case .forecast: return ControlAnswer(forecast: try forecast(limit: limit))
      case .forward:
        guard let edit = request.edit else { return ControlAnswer(error: "no change is named") }
        return ControlAnswer(reload: ReloadReport(changed: try change(edit)))
      default: return ControlAnswer(error: "not a change")
      }
    } catch {
      return ControlAnswer(mistakes: error.mistakes)
    }
  }

  /// A change at run time: it lasts until the file is read again.
  private mutating func change(_ edit: ForwardEdit) throws(Refusal) -> Bool {
    let new: SettingsFile
    do { new = try settings.applying(edit) } catch { throw Refusal(mistakes: error.messages) }
    let hasChanged = try takeOver(new)
    logger.notice("forward \(edit.name): \(edit.kind.rawValue)")
    return hasChanged
  }

  /// The same as `reload`, told to the log.
  mutating func reloadLogged() throws(Refusal) -> Bool {
    do {
      let hasChanged = try reload()
      logger.notice("configuration re-read: \(hasChanged ? "in use now" : "nothing has changed")")
      return hasChanged
    } catch {
      for mistake in error.mistakes { logger.error("configuration re-read, the old one runs on: \(mistake)") }
      throw error
    }
  }
}
