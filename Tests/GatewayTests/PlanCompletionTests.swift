import Settings
import Testing

@testable import Gateway

/// Devices that every Linux host has, and one that none has.
@Suite struct PlanCompletionTests {
  private func complaint(device: String) throws -> String {
    let text = """
      [interface.wan]
      role = "outside"
      device = "\(device)"
      address = ["203.0.113.1/24"]
      """
    let settings = try SettingsFile(text: text, file: "test.toml", purpose: .run)
    do {
      _ = try CompletePlan(settings)
      return ""
    } catch {
      guard case .configuration = error else { return "not a mistake of the configuration: \(error)" }
      return "\(error)"
    }
  }

  @Test func `a missing device is a mistake at its place in the file`() throws {
    let text = try complaint(device: "nosuchdevice0")
    #expect(text.hasPrefix("test.toml:3:"))
    #expect(text.contains("there is no device nosuchdevice0 in this network namespace"))
  }

  @Test func `a device that is neither Ethernet nor raw IP is refused by its type's name`() throws {
    let text = try complaint(device: "lo")
    #expect(text.hasPrefix("test.toml:3:"))
    #expect(text.contains("device lo is a loopback device"))
  }
}
