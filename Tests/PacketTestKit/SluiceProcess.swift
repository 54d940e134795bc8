import Foundation

/// The executable, run as users run it.
public enum SluiceProcess {
  public struct Ended {
    public var status: Int32
    public var output: String
    public var errors: String
  }

  /// Beside the test bundle, in whatever folder both were built.
  public static var path: String {
    URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
      .appendingPathComponent("sluice").path
  }

  public static func run(_ arguments: [String]) throws -> Ended {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    let (output, errors) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    // Both are short: far less than a pipe holds, so that reading one after the other cannot block.
    let (text, complaints) = (
      try output.fileHandleForReading.readToEnd() ?? Data(), try errors.fileHandleForReading.readToEnd() ?? Data()
    )
    process.waitUntilExit()
    return Ended(
      status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
      errors: String(decoding: complaints, as: UTF8.self))
  }
}
