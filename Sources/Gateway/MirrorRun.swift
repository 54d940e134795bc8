import CLinux
import Engine
import Glibc
import PacketIO

/// `sluice mirror`: the gateway's loop between two devices with nothing in the place of the engine, to measure by.
public enum MirrorRun {
  /// Runs until SIGTERM or SIGINT.
  ///
  /// - Parameters:
  ///   - devices: what comes in on one goes out unchanged on the other.
  ///   - spinMicroseconds: how long to watch the rings after the last frame.
  ///   - ring: how frames come in.
  ///   - rates: when `ring = "auto"` changes.
  ///   - isReady: called when frames are being mirrored.
  /// - Returns: for each device what was counted, by name.
  public static func run(
    devices: (String, String), spinMicroseconds: Int, ring: Plan.Ring, rates: RingRates, isReady: () -> Void
  ) throws(GatewayError) -> [(name: String, count: UInt64)] {
    try Privileges.require()
    do {
      let signals = try HostSignals()
      let both = [try device(devices.0), try device(devices.1)]
      let quieting = try HostQuieting(both.map { ($0, .dedicated(isAutomatic: false)) })
      var sharing = try RingSharing(
        both.map { RingLink(device: $0, macs: [], peer: .either) }, kind: ring, workers: 1, rates: rates)
      defer { sharing.deallocate() }
      let rings = try sharing.open()
      try sharing.start()
      let transmitter = try Transmitter.open(devices: both)
      let descriptors = rings.descriptors
      var options = WorkerOptions()
      options.spin = UInt64(spinMicroseconds) * 1000
      try Privileges.drop()
      let mailbox = try Mailbox()
      let worker = try WorkerThread.start(
        Worker(
          judge: Mirror(), rings: rings, transmitter: transmitter, interfaceCount: 2, mailbox: mailbox,
          options: options))
      isReady()
      while true {
        var entries = [signals.descriptor, sharing.descriptor].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        _ = sluice_poll(&entries, 2, .max)
        try sharing.serve()
        if let signal = signals.next(), signal != SIGHUP { break }
      }
      var statistics = [RingStatistics(), RingStatistics()]
      for index in 0..<2 { statistics[index].update(descriptors: descriptors[index]) }
      let report = worker.stop()
      quieting.remove()
      return (0..<2).flatMap { index in
        let name = both[index].name
        return [
          ("\(name) received", report.counts[index].received), ("\(name) forwarded", report.counts[index].forwarded),
          ("\(name) dropped", report.counts[index].dropped), ("\(name) ring frames", statistics[index].frames),
          ("\(name) ring drops", statistics[index].drops), ("\(name) ring changes", UInt64(sharing.changes[index])),
        ]
      }
    } catch let error as GatewayError {
      throw error
    } catch let error as SystemError {
      throw GatewayError(error)
    } catch {
      throw .failed("\(error)")
    }
  }

  private static func device(_ name: String) throws(GatewayError) -> PacketDevice {
    do { return try PacketDevice(named: name) } catch { throw .failed("\(error)") }
  }
}
