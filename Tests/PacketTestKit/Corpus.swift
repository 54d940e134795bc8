import Foundation

/// The public captures that lie beside the project and are no part of it: `../shared/corpus`, or where
/// SLUICE_CORPUS says.
package struct Corpus: Sendable {
  /// One capture, as MANIFEST.md describes it.
  package struct File: Sendable, CustomStringConvertible {
    /// Relative to the corpus.
    package var name: String
    package var path: String
    /// Frames that a reader gets out of it.
    package var frames: Int
    /// tcpdump refuses it or stops early: any reader on libpcap must report an error.
    package var isDamaged: Bool

    package var description: String { name }
  }

  package var files: [File]

  /// nil where there is no corpus.
  package static let shared: Corpus? = {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let path =
      ProcessInfo.processInfo.environment["SLUICE_CORPUS"]
      ?? root.deletingLastPathComponent().appendingPathComponent("shared/corpus").path
    guard let manifest = try? String(contentsOfFile: path + "/MANIFEST.md", encoding: .utf8) else { return nil }
    return Corpus(files: manifest.split(separator: "\n").compactMap { File(row: $0, corpus: path) })
  }()

  /// Unpacks what is compressed; the path to read.
  package func open(_ file: File, into directory: TemporaryDirectory) throws -> String {
    guard file.path.hasSuffix(".gz") else { return file.path }
    let gzip = Process()
    gzip.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    gzip.arguments = ["gzip", "-dc", file.path]
    let output = Pipe()
    gzip.standardOutput = output
    try gzip.run()
    let bytes = try output.fileHandleForReading.readToEnd() ?? Data()
    gzip.waitUntilExit()
    return try directory.write([UInt8](bytes), as: file.name.replacing("/", with: "-") + ".pcap")
  }
}

extension Corpus.File {
  /// `| file | source | licence | packets | what is in it |`, where packets may be followed by `td!` and `ci!`.
  fileprivate init?(row: Substring, corpus: String) {
    let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
    guard row.hasPrefix("|"), cells.count == 5, cells[0].contains("/"), cells[0].contains(".") else { return nil }
    let notes = cells[3].split(separator: " ")
    guard let first = notes.first, let frames = Int(first) else { return nil }
    self.init(name: cells[0], path: corpus + "/" + cells[0], frames: frames, isDamaged: notes.contains("td!"))
  }
}
