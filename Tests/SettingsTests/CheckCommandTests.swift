import Engine
import Foundation
import PacketTestKit
import Testing

@testable import Settings

/// `sluice check` as users run it.
@Suite struct CheckCommandTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func check(_ text: String, _ options: String...) throws -> (path: String, ended: SluiceProcess.Ended) {
    let path = try directory.write(Array(text.utf8), as: "gateway.toml")
    return (path, try SluiceProcess.run(["check", "-c", path] + options))
  }

  @Test func printsWhatItAcceptsAgain() throws {
    let first = try check(manualExample).ended
    #expect(first.status == 0 && first.errors.isEmpty)
    #expect(first.output == (try load(manualExample).normalised))
    let second = try check(first.output).ended
    #expect(second.status == 0 && second.output == first.output)
  }

  @Test func printsJSON() throws {
    let ended = try check(manualExample, "--json").ended
    #expect(ended.status == 0)
    let root = try JSONSerialization.jsonObject(with: Data(ended.output.utf8)) as? [String: Any]
    let interfaces = try #require(root?["interface"] as? [String: [String: Any]])
    #expect(interfaces["wan"]?["vlan"] as? Int == 100)
    #expect(interfaces["wan"]?["ping"] as? Bool == false)
    #expect(interfaces["lan"]?["mtu"] is NSNull)
    let forwards = try #require(root?["forward"] as? [[String: Any]])
    #expect(forwards.first?["ports"] as? String == "8840, 8820, 8810-8815")
    #expect((root?["timeouts"] as? [String: String])?["tcp-established"] == "2h4m")
  }

  @Test func reportsEveryMistakeAndEndsWithTwo() throws {
    let text = manualExample.replacingFirst("mtu     = 1500", "mtu     = 9")
      .replacingFirst("8810-8815", "8815-8810")
    let (path, ended) = try check(text)
    #expect(ended.status == 2 && ended.output.isEmpty)
    let expected = messages(text).map { "sluice: \(path)\($0.dropFirst("test.toml".count))" }
    #expect(expected.count == 2)
    #expect(ended.errors == expected.map { $0 + "\n" }.joined())
  }

  @Test func unreadableFileIsOneError() throws {
    let ended = try SluiceProcess.run(["check", "-c", directory("missing.toml")])
    #expect(ended.status == 2 && ended.output.isEmpty)
    #expect(ended.errors.hasPrefix("sluice: \(directory("missing.toml")): cannot be read: No such file or directory"))
    #expect(ended.errors.count { $0 == "\n" } == 1)
  }

  @Test(arguments: [["check"], ["check", "--bogus"], ["bogus"], ["check", "-c"], ["--bogus"]])
  func badUsageEndsWithTwo(_ arguments: [String]) throws {
    let ended = try SluiceProcess.run(arguments)
    #expect(ended.status == 2 && ended.output.isEmpty)
    #expect(ended.errors.hasPrefix("sluice: ") && ended.errors.contains("Usage: sluice"))
  }

  @Test(arguments: [["--help"], ["check", "--help"], ["help", "check"], ["--version"]])
  func askedForHelpIsNoMistake(_ arguments: [String]) throws {
    let ended = try SluiceProcess.run(arguments)
    #expect(ended.status == 0 && ended.errors.isEmpty && !ended.output.isEmpty)
  }
}
