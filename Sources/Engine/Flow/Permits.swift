import Synchronization

// With address-dependent filtering a mapping lets in whom it has a session with, whatever the port. The sessions of one
// remote address are counted: in the mapping's own line, if no other peer is counted there; else in a place of their own,
// a permit, found by (mapping, remote address).
//
// A permit stands among the mappings, as a free place to whoever goes through them:
//
//     offset  0  mapping  UInt32
//            24  life     UInt64  of a free place
//            44  witness  UInt32  as a mapping's
//            56  peer     UInt64  as a mapping's
//
// Whatever counts has a session, so there are mostly no more mappings and permits than sessions. More are those in
// quarantine, and mappings that the peer in their line has left.
//
// A peer may be counted at two places: in a permit, and in the line that has become free since. That harms nothing: no
// count is moved, and who is counted finds a place to be taken off.

/// A remote address, and how many sessions have it. One word: whoever counts itself counts itself for this address.
///
///     bits  0  users   sessions; 0 = none, and the word is 0
///          32  remote  UInt32  raw, of IPv6 a digest
struct PeerCount: Equatable {
  var rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }
  init(_ remote: UInt32, users: UInt32) { rawValue = UInt64(users) | UInt64(remote) &<< 32 }

  static let none = PeerCount(rawValue: 0)

  var users: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  var remote: UInt32 { UInt32(truncatingIfNeeded: rawValue &>> 32) }

  func counts(_ remote: UInt32) -> Bool { self.remote == remote && users != 0 }
}

extension MappingLine {
  /// The mapping that a permit belongs to.
  var owner: UInt32 {
    get { load(0) }
    nonmutating set { store(0, newValue) }
  }
  var witness: UnsafeMutablePointer<Atomic<UInt32>> { shared32(line, 44) }
  var peer: UnsafeMutablePointer<Atomic<UInt64>> { shared64(line, 56) }

  func counts(_ remote: UInt32) -> Bool { PeerCount(rawValue: peer.pointee.load(ordering: .acquiring)).counts(remote) }

  /// Counts a session more with this peer; false where it is not the one that is counted here.
  func count(_ remote: UInt32) -> Bool {
    exchangePeer { $0.counts(remote) ? PeerCount(remote, users: $0.users &+ 1) : nil } != nil
  }

  /// Begins to count this peer; false where there is one.
  func begin(_ remote: UInt32) -> Bool {
    exchangePeer { $0 == .none ? PeerCount(remote, users: 1) : nil } != nil
  }

  /// Counts one less, and returns how many are left; nil where it is not this peer that is counted here.
  func uncount(_ remote: UInt32) -> UInt32? {
    exchangePeer {
      !$0.counts(remote) ? nil : $0.users == 1 ? PeerCount.none : PeerCount(remote, users: $0.users &- 1)
    }?.users
  }

  /// Changes the peer from whatever it is; nil where `change` has nothing to change.
  @inline(__always)
  private func exchangePeer(_ change: (PeerCount) -> PeerCount?) -> PeerCount? {
    var before = PeerCount(rawValue: peer.pointee.load(ordering: .acquiring))
    while let after = change(before) {
      let (isChanged, now) = peer.pointee.compareExchange(
        expected: before.rawValue, desired: after.rawValue, ordering: .acquiringAndReleasing)
      if isChanged { return after }
      before = PeerCount(rawValue: now)
    }
    return nil
  }
}

extension MappingTable {
  private static func permitKey(_ mapping: UInt32, _ remote: UInt32) -> FlowKey {
    FlowKey(addresses: UInt64(remote) | UInt64(mapping) &<< 32, rest: 3 &<< 56)
  }

  private func isPermit(_ value: UInt32, _ mapping: UInt32, _ remote: UInt32) -> Bool {
    value & 3 == Self.permit && self[value &>> 2].owner == mapping && self[value &>> 2].counts(remote)
  }

  func findPermit(_ mapping: UInt32, _ remote: UInt32) -> UInt32? {
    var candidates = index.candidates(secret.hash(Self.permitKey(mapping, remote)))
    while let value = candidates.next() {
      if isPermit(value, mapping, remote) { return value &>> 2 }
    }
    return nil
  }

  fileprivate func publish(permit: UInt32, _ mapping: UInt32, _ remote: UInt32) -> SessionTable.Publication {
    let hash = secret.hash(Self.permitKey(mapping, remote))
    guard let claim = index.claim(hash) else { return .full }
    switch index.contest(hash, claim, hasKey: { isPermit($0, mapping, remote) }) {
    case .clear:
      claim.publish(permit &<< 2 | Self.permit)
      return .made
    case .taken, .contended:
      index.withdraw(hash, claim)
      return .contended
    }
  }

  fileprivate func unpublish(permit: UInt32, _ mapping: UInt32, _ remote: UInt32) {
    index.remove(secret.hash(Self.permitKey(mapping, remote)), permit &<< 2 | Self.permit)
  }
}

extension Flows {
  /// The place that counts the sessions of a mapping with this remote address; nil where there are none.
  func place(of remote: UInt32, _ mapping: UInt32) -> UInt32? {
    mappings[mapping].counts(remote) ? mapping : mappings.findPermit(mapping, remote)
  }

  /// True where the mapping has a live session with this remote address.
  mutating func hasSession(_ mapping: UInt32, with remote: UInt32, at tick: UInt32) -> Bool {
    guard let place = place(of: remote, mapping) else { return false }
    let line = mappings[place]
    let witness = line.witness.plain
    let common = sessions.common(witness)
    if witness != 0, common.mapping == mapping, common.remote == remote, sessions.isLive(witness, at: tick) {
      return true
    }
    guard let found = walk(mapping, at: tick, until: .remote(remote)) else { return false }
    line.witness.plain = found
    return true
  }

  /// Counts a session of the mapping with this remote address.
  mutating func addPermit(
    _ mapping: UInt32, _ remote: UInt32, _ session: UInt32, at tick: UInt32
  ) -> SessionTable.Publication {
    let first = mappings[mapping]
    if first.count(remote) { return .made }
    if first.begin(remote) {
      first.witness.plain = session
      return .made
    }
    if let permit = mappings.findPermit(mapping, remote), mappings[permit].count(remote) { return .made }
    guard let permit = allocateMapping(at: tick) else { return .full }
    let line = mappings[permit]
    line.owner = mapping
    line.witness.plain = session
    line.peer.plain = PeerCount(remote, users: 1).rawValue
    let publication = mappings.publish(permit: permit, mapping, remote)
    if publication == .made {
      tables.words.permits.pointee.wrappingAdd(1, ordering: .relaxed)
    } else {
      line.peer.plain = PeerCount.none.rawValue
      mappingPlaces.discard(permit)
    }
    return publication
  }

  /// Takes back what `addPermit` has counted.
  mutating func dropPermit(_ mapping: UInt32, _ remote: UInt32) {
    // It is counted somewhere, though others may count themselves here and there between two looks.
    while true {
      if mappings[mapping].uncount(remote) != nil { return }
      guard let permit = mappings.findPermit(mapping, remote), let left = mappings[permit].uncount(remote) else {
        continue
      }
      guard left == 0 else { return }
      mappings.unpublish(permit: permit, mapping, remote)
      tables.words.permits.pointee.wrappingSubtract(1, ordering: .relaxed)
      return mappingPlaces.retire(permit)
    }
  }
}
