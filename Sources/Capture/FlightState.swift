import Engine
import Foundation

/// What a recording's replay needs besides the frames and the engine's state: what its devices had told.
public struct FlightState: Codable, Equatable, Sendable {
  /// What a device told of an interface.
  public struct Interface: Codable, Equatable, Sendable {
    public var name: String
    public var mac: String?
    public var mtu: Int
    public var isRawIP: Bool
    /// ADDRESS/LENGTH.
    public var addresses: [String]

    enum CodingKeys: String, CodingKey {
      case name, mac, mtu, addresses
      case isRawIP = "raw_ip"
    }
  }

  /// Of the entries' layout.
  public static let version = 2

  public var version = Self.version
  public var isWhole: Bool
  public var entries: Int
  /// How many of them, the last ones, followed on the engine's state that is kept with them: these can be replayed.
  public var replayable: Int
  /// Interfaces of each link.
  public var links: [[Int]]
  public var interfaces: [Interface]

  enum CodingKeys: String, CodingKey {
    case version, entries, replayable, links, interfaces
    case isWhole = "whole_frames"
  }

  public init(plan: Plan, links: [[Int]], recording: FlightRecording) {
    self.links = links
    isWhole = recording.isWhole
    entries = recording.entries
    replayable = recording.replayable
    interfaces = plan.interfaces.map { interface in
      Interface(
        name: interface.name, mac: interface.mac.map { "\($0)" }, mtu: interface.mtu ?? 1500,
        isRawIP: interface.link == .rawIP, addresses: interface.addresses.map { "\($0)" })
    }
  }

  /// The plan with what the devices had told; nil where its interfaces are others.
  public func completed(_ plan: Plan) -> Plan? {
    guard plan.interfaces.map(\.name) == interfaces.map(\.name) else { return nil }
    var plan = plan
    for (index, interface) in interfaces.enumerated() {
      plan.interfaces[index].mac = interface.mac.flatMap { MACAddress($0) }
      plan.interfaces[index].mtu = interface.mtu
      plan.interfaces[index].link = interface.isRawIP ? .rawIP : .ethernet
      plan.interfaces[index].addresses = interface.addresses.compactMap { IPv4Prefix($0) }
    }
    for index in plan.forwards.indices where plan.forwards[index].isOnInterface {
      plan.forwards[index].externals = plan.interfaces[plan.forwards[index].interface].addresses.map(\.address)
    }
    return plan
  }
}

/// A recording as a directory: `sluice.toml`, `state.json`, `engine.sluice` (the engine's state before the entries that can
/// be replayed), `frames.sluice` (every entry), and for people `IF.pcap`, what each link received.
public enum FlightDirectory {
  public static let configuration = "sluice.toml"
  public static let state = "state.json"
  public static let engine = "engine.sluice"
  public static let frames = "frames.sluice"

  /// Writes a recording; the directory has its name only when it is whole.
  ///
  /// - Parameter wallOffset: nanoseconds from the engine's time to the time of day.
  public static func write(
    _ recording: FlightRecording, _ state: FlightState, configuration text: String, to path: String, wallOffset: UInt64
  ) throws {
    let part = path + ".part"
    let files = FileManager.default
    guard !files.fileExists(atPath: path) else {
      throw CaptureError(path: path, offset: nil, message: "is there already; name a directory that is not")
    }
    try? files.removeItem(atPath: part)
    do {
      try files.createDirectory(atPath: part, withIntermediateDirectories: true)
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try encoder.encode(state).write(to: URL(fileURLWithPath: "\(part)/\(Self.state)"))
      try Data(recording.bytes).write(to: URL(fileURLWithPath: "\(part)/\(frames)"))
      try Data(FlightDigest.sealed(recording.state)).write(to: URL(fileURLWithPath: "\(part)/\(engine)"))
      try Data(text.utf8).write(to: URL(fileURLWithPath: "\(part)/\(configuration)"))
      try writeCaptures(recording, state, to: part, wallOffset)
      try files.moveItem(atPath: part, toPath: path)
    } catch {
      try? files.removeItem(atPath: part)
      throw CaptureError(path: path, offset: nil, message: "the recording cannot be written there: \(error)")
    }
  }

  private static func writeCaptures(
    _ recording: FlightRecording, _ state: FlightState, to path: String, _ wallOffset: UInt64
  ) throws {
    let writers = try state.links.map { interfaces in
      let first = state.interfaces[interfaces[0]]
      return try CaptureWriter(path: "\(path)/\(first.name).pcap", link: first.isRawIP ? .rawIP : .ethernet)
    }
    try recording.forEach { record in
      guard Int(record.link) < writers.count else { return }
      var bytes = [UInt8](UnsafeRawBufferPointer(start: record.bytes, count: record.captured))
      if record.tag != 0, bytes.count >= 12 {
        bytes.insert(contentsOf: withUnsafeBytes(of: record.tag.bigEndian) { Array($0) }, at: 12)
      }
      try bytes.withUnsafeBytes { buffer in
        guard let start = buffer.baseAddress else { return }
        try writers[Int(record.link)].append(
          start, length: buffer.count, time: record.time &+ wallOffset,
          original: Int(record.length) + buffer.count - record.captured)
      }
    }
    for writer in writers { try writer.finish() }
  }

  /// Reads what `write` wrote.
  ///
  /// - Throws: `CaptureError` for what is none, or another version's.
  public static func read(_ path: String) throws(CaptureError) -> (recording: FlightRecording, state: FlightState) {
    let statePath = "\(path)/\(state)"
    guard let data = FileManager.default.contents(atPath: statePath),
      let read = try? JSONDecoder().decode(FlightState.self, from: data), read.version == FlightState.version
    else {
      throw CaptureError(path: statePath, offset: nil, message: "no state of a recording of this version")
    }
    let framesPath = "\(path)/\(frames)"
    guard let bytes = FileManager.default.contents(atPath: framesPath) else {
      throw CaptureError(path: framesPath, offset: nil, message: "cannot be read")
    }
    let enginePath = "\(path)/\(engine)"
    guard let sealed = FileManager.default.contents(atPath: enginePath) else {
      throw CaptureError(path: enginePath, offset: nil, message: "cannot be read")
    }
    guard let engine = FlightDigest.opened(Array(sealed)), (0...read.entries).contains(read.replayable) else {
      throw CaptureError(path: enginePath, offset: nil, message: "damaged")
    }
    var recording = FlightRecording(bytes: Array(bytes), entries: read.entries, isWhole: read.isWhole)
    recording.state = engine
    recording.replayable = read.replayable
    let linkCount = read.links.count
    guard read.links.allSatisfy({ !$0.isEmpty && $0.allSatisfy(read.interfaces.indices.contains) }) else {
      throw CaptureError(path: statePath, offset: nil, message: "its links name interfaces that are not there")
    }
    if let offset = recording.firstFault(links: linkCount) {
      throw CaptureError(path: framesPath, offset: offset, message: "a damaged entry")
    }
    return (recording, read)
  }
}

extension FlightRecording {
  /// Every entry in order. The bytes must be sound.
  func forEach(_ body: (FlightRecord) throws -> Void) rethrows {
    var copy = bytes
    try copy.withUnsafeMutableBytes { buffer in
      guard let start = buffer.baseAddress else { return }
      var offset = 0
      while offset < buffer.count {
        let record = FlightRecord(start: start + offset)
        try body(record)
        offset += record.size
      }
    }
  }

  /// Offset of the first entry that contradicts itself; nil where all are sound.
  func firstFault(links: Int) -> Int? {
    var offset = 0
    var found = 0
    while offset < bytes.count {
      guard bytes.count - offset >= FlightRecord.headerBytes else { return offset }
      let isSound = bytes.withUnsafeBytes { buffer in
        let record = FlightRecord(start: UnsafeMutableRawPointer(mutating: buffer.baseAddress! + offset))
        let isKnown = Int(record.link) < links || record.link == FlightRecord.timers
        guard isKnown, record.size == FlightRecord.size(captured: record.captured),
          record.size <= buffer.count - offset,
          record.captured <= record.length, record.length <= 1 << 17
        else { return 0 }
        return record.size
      }
      guard isSound > 0 else { return offset }
      offset += isSound
      found += 1
    }
    return found == entries ? nil : offset
  }
}
