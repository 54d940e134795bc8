import Capture
import Engine

/// What another configuration would change on a capture, flow by flow.
public struct WhatIf: Sendable, Codable {
  /// How a flow's fate differs.
  public enum Change: String, Sendable, Codable, CaseIterable {
    case forwarded = "newly forwarded"
    case dropped = "newly dropped"
    /// To another destination, or out by another interface.
    case retargeted
    /// The target sees another source.
    case resourced = "re-sourced"
    case unchanged
  }

  /// One flow under both.
  public struct Row: Sendable, Codable {
    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public var flow: FlowName
    public var change: Change
    public var old: FlowOutcome
    public var new: FlowOutcome
  }

  /// Flows that differ, by name.
  public var changed: [Row]
  /// Flows of each kind, by its name.
  public var counts: [String: Int]

  /// True where nothing differs.
  public var isSame: Bool { changed.isEmpty }

  /// Plays the same captures under both; the options of the replays are the caller's to make equal.
  ///
  /// - Throws: as `ReplayRun.run` does, and the failure of a capture.
  public init(old: ReplayRun, new: ReplayRun) throws {
    let (before, after) = (try Self.flows(old), try Self.flows(new))
    var counts = Dictionary(uniqueKeysWithValues: Change.allCases.map { ($0.rawValue, 0) })
    changed = []
    for flow in Set(before.keys).union(after.keys).sorted() {
      let (old, new) = (before[flow] ?? FlowOutcome(), after[flow] ?? FlowOutcome())
      let change = Self.change(old, new)
      counts[change.rawValue]! += 1
      if change != .unchanged { changed.append(Row(flow: flow, change: change, old: old, new: new)) }
    }
    self.counts = counts
  }

  private static func flows(_ replay: ReplayRun) throws -> [FlowName: FlowOutcome] {
    var tally: FlowTally?
    let result = try replay.run { plan in
      tally = FlowTally(plan)
      return tally
    }
    if let failure = result.failure { throw failure }
    return tally?.flows ?? [:]
  }

  static func change(_ old: FlowOutcome, _ new: FlowOutcome) -> Change {
    switch (old.isLetThrough, new.isLetThrough) {
    case (false, false): .unchanged
    case (false, true): .forwarded
    case (true, false): .dropped
    case (true, true):
      if old.egress == nil || new.egress == nil {
        // What waits for its next hop shows no target.
        .unchanged
      } else if old.destination != new.destination || old.egress != new.egress {
        .retargeted
      } else if old.source != new.source {
        .resourced
      } else if new.forwarded < old.forwarded {
        .dropped
      } else {
        new.forwarded > old.forwarded ? .forwarded : .unchanged
      }
    }
  }
}
