import Settings
import Testing

/// RFC 4787 REQ-7: an inside and an outside network with the same addresses.
@Suite struct OverlapTests {
  @Test(arguments: ["192.168.1.1/24", "192.168.0.1/16", "192.168.1.129/25"])
  func `U18 an inside prefix that overlaps an outside one is refused, with both places`(inside: String) {
    let text = """
      [interface.wan]
      role = "outside"
      device = "eth0"
      address = ["192.168.1.2/24"]
      [interface.lan]
      role = "inside"
      device = "eth1"
      address = ["\(inside)"]
      """
    let errors = #expect(throws: SettingsErrors.self) {
      try SettingsFile(text: text, file: "overlap.toml", purpose: .check)
    }
    let messages = errors?.messages ?? []
    #expect(messages.count == 1 && messages[0].hasPrefix("overlap.toml:8:12: "), "\(messages)")
    #expect(messages.first?.contains("overlaps 192.168.1.0/24, interface wan's (line 1)") == true)
  }
}
